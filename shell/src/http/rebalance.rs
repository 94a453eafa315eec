//! Rebalancing: what would be better elsewhere, and the order to move it there.
//!
//! A plan is made from a state of its own, as new as a read. What is ordered is made the same way, by the
//! server that is asked, and entered as a list of allocs: those that may not move any more by then are
//! left out when it is applied, and each is compared with all nodes again when its turn comes.
//!
//! Invariants
//! - a plan changes nothing.
use axum::body::Bytes;
use axum::extract::State;
use drover_core::api::Request;
use drover_core::limits::{REBALANCE_MOVES_MAX, SCORE_PERMILLE_MAX};
use drover_core::state::{State as Tables, TableKind};
use drover_core::types::{Index, PoolName};

use super::answer::{Answer, Failure};
use super::query::{Freshness, Query};
use super::read::Seen;
use super::write::{body, written};
use super::{Http, Shared};
use crate::api::rebalance::{Ask, Rebalance, UnderWay};
use crate::forecast::Forecast;
use crate::forecast::rebalance;
use crate::shadow::Key;

/// Unless a budget is given.
const BUDGET: u64 = 10;
/// Unless another is given: less is not worth a restart.
const GAIN_PERMILLE_MIN: u32 = 50;

pub(super) async fn plan(State(http): State<Shared>, query: Query, bytes: Bytes) -> Answer {
    let (_, told) = http.rebalance(&query, &bytes).await?;
    written(Index(told.index), &told)
}

pub(super) async fn apply(State(http): State<Shared>, query: Query, bytes: Bytes) -> Answer {
    let (request, told) = http.rebalance(&query, &bytes).await?;
    let is_idle = http.shadow()?.read().rebalancing().next().is_none();
    if told.moves.is_empty() && is_idle {
        return written(Index(told.index), &told);
    }
    let index = http.submit(request).await?.index;
    written(index, &Rebalance { index: index.0, ..told })
}

/// What has not begun to move stays.
pub(super) async fn stop(State(http): State<Shared>, _: Query) -> Answer {
    let request = Request::Rebalance { moves: Vec::new(), gain_permille_min: GAIN_PERMILLE_MIN };
    let index = http.submit(request).await?.index;
    let under_way = UnderWay::of(&http.shadow()?.read());
    written(index, &under_way)
}

pub(super) async fn under_way(State(http): State<Shared>, query: Query) -> Answer {
    let look = |state: &Tables| Seen::of(state.table_index(TableKind::Allocs), UnderWay::of(state));
    http.read(&query, |_| vec![Key::Table(TableKind::Allocs)], look).await
}

impl Http {
    /// What is found, and what would order it.
    async fn rebalance(
        &self,
        query: &Query,
        bytes: &[u8],
    ) -> Result<(Request, Rebalance), Failure> {
        let written: Ask = body(bytes)?;
        let namespace = query.namespace.name().to_owned();
        let _one_of_few = self.plans.acquire().await;
        let (shadow, _) = self.fresh(Freshness::default()).await?;
        let shadow = shadow.clone();
        let found = tokio::task::spawn_blocking(move || {
            let state = shadow.read().clone();
            let ask = meant(&state, &namespace, &written)?;
            let found = Forecast::of(state.clone()).rebalance(&ask);
            let moves = found.moves.iter().map(|one| one.alloc).collect();
            let gain_permille_min = ask.gain_permille_min;
            let request = Request::Rebalance { moves, gain_permille_min };
            Ok((request, Rebalance::of(&state, &ask, &found)))
        });
        let gone = |why| Failure::broken(format!("the allocs could not be compared: {why}"));
        found.await.map_err(gone)?
    }
}

/// What is asked for, if that is something.
fn meant(state: &Tables, namespace: &str, ask: &Ask) -> Result<rebalance::Ask, Failure> {
    let budget = ask.budget.unwrap_or(BUDGET);
    let budget = usize::try_from(budget).ok().filter(|n| (1..=REBALANCE_MOVES_MAX).contains(n));
    let budget = budget.ok_or_else(|| {
        Failure::bad(format!("Budget: a number of moves from 1 to {REBALANCE_MOVES_MAX}"))
    })?;
    let job = ask.job_id.as_deref().filter(|job| !job.is_empty()).map(|name| {
        let job = state.job_named(namespace, name);
        let why = || format!("there is no job {name:?} in namespace {namespace:?}");
        job.map(|job| job.id).ok_or_else(|| Failure::bad(why()))
    });
    let pool = ask.node_pool.as_deref().filter(|name| !name.is_empty() && *name != PoolName::ALL);
    let pool = pool.map(|name| {
        let pool = PoolName::of(name);
        let why = format!("there is no node pool {name:?}: see drover node pool list");
        if state.has_pool(&pool) { Ok(pool) } else { Err(Failure::bad(why)) }
    });
    Ok(rebalance::Ask {
        budget,
        gain_permille_min: gain(ask.min_gain)?,
        job: job.transpose()?,
        pool: pool.transpose()?,
    })
}

fn gain(min_gain: Option<f64>) -> Result<u32, Failure> {
    let Some(gain) = min_gain else { return Ok(GAIN_PERMILLE_MIN) };
    let most = f64::from(SCORE_PERMILLE_MAX) / 1_000.0;
    if !(0.0..=most).contains(&gain) {
        return Err(Failure::bad(format!("MinGain: from 0 to {most}: scores are from -1 to 1")));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 2,000")]
    let permille = (gain * 1_000.0).round() as u32;
    Ok(permille.max(1))
}
