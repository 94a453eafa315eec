//! Why here and not there: where the next alloc of a job would go by what is now, and why an alloc is where
//! it is.
//!
//! Invariants
//! - nothing of it is proposed or kept;
//! - it is the scheduler that compares: this only makes the evaluation that it would be asked for.
use axum::extract::{Path, State};
use drover_core::fsm::{self, Command, Entry, Outcome};
use drover_core::planner::InFlight;
use drover_core::scheduler::{Sought, View, look};
use drover_core::state::State as Tables;
use drover_core::types::{
    AllocUpdate, Allocation, ClientStatus, EvalId, Evaluation, Index, Job, JobId, NodeSlot, Uuid,
};
use serde::Serialize;

use super::answer::{self, Answer, Failure};
use super::query::{self, Query};
use super::read::mark_read;
use super::{Http, Shared};
use crate::api::alloc::group_of;
use crate::api::explain::{AllocExplained, GroupExplained, JobExplained, Now};
use crate::forecast::find_node;

/// It decides nothing here: only which ports would be handed out.
const SEED: u64 = 1;
/// Candidates that are listed unless `per_page` says otherwise.
const BEST_COUNT: usize = 10;

/// What is asked about a job.
struct Ask {
    namespace: String,
    job: String,
    group: Option<String>,
    node: Option<String>,
    best_max: usize,
}

pub(super) async fn alloc(
    State(http): State<Shared>,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    let uuid = query::uuid(&id)?;
    let best_max = query.page.rows_max.unwrap_or(BEST_COUNT);
    http.explained(&query, move |state| explain_alloc(state, uuid, best_max)).await
}

impl Http {
    pub(super) async fn explain_job(&self, query: &Query, name: &str) -> Answer {
        let text = |key| query.text(key).map(str::to_owned);
        let ask = Ask {
            namespace: query.namespace.name().to_owned(),
            job: name.to_owned(),
            group: text("group"),
            node: text("node"),
            best_max: query.page.rows_max.unwrap_or(BEST_COUNT),
        };
        self.explained(query, move |state| explain_job(state, &ask)).await
    }

    /// What `explain` makes of a state of its own.
    async fn explained<T: Serialize + Send + 'static>(
        &self,
        query: &Query,
        explain: impl FnOnce(Tables) -> Result<T, Failure> + Send + 'static,
    ) -> Answer {
        let _one_of_few = self.plans.acquire().await;
        let (shadow, known_leader) = self.fresh(query.freshness).await?;
        let shadow = shadow.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let state = shadow.read().clone();
            let index = state.index();
            explain(state).map(|said| (index, said))
        });
        let (index, said): (Index, T) = looked
            .await
            .map_err(|why| Failure::broken(format!("it cannot be explained: {why}")))??;
        let mut response = answer::json(&said)?;
        mark_read(&mut response, index, known_leader);
        Ok(response)
    }
}

fn explain_job(mut state: Tables, ask: &Ask) -> Result<JobExplained, Failure> {
    let job = state.job_named(&ask.namespace, &ask.job).ok_or_else(|| Failure::missing("job"))?;
    if let Some((why, instead)) = never_placed(job) {
        return Err(Failure::bad(format!("{why}: {instead}")));
    }
    let mut explained = JobExplained::of(&state, job);
    let (id, spec) = (job.id, job.newest().spec.clone());
    let node = ask.node.as_deref().map(|node| find_node(&state, node)).transpose();
    let node = node.map_err(Failure::bad)?.map(|node| node.spec.id);
    let node = node.and_then(|id| state.slot_of(id));
    if let Some(name) = ask.group.as_deref().filter(|name| spec.group(name).is_none()) {
        let names: Vec<&str> = spec.groups.iter().map(|group| group.name.as_str()).collect();
        let why =
            format!("job {:?} has no group {name:?}; its groups: {}", ask.job, names.join(", "));
        return Err(Failure::bad(why));
    }
    let eval = evaluation(&mut state, id)?;
    for (at, group) in spec.groups.iter().enumerate() {
        if ask.group.as_ref().is_none_or(|name| *name == group.name) {
            let sought = Sought { group: at, node, without: None };
            explained.groups.push(compared(&state, &eval, sought, ask.best_max)?);
        }
    }
    Ok(explained)
}

fn explain_alloc(state: Tables, uuid: Uuid, best_max: usize) -> Result<AllocExplained, Failure> {
    let alloc = state.alloc_by_uuid(uuid).ok_or_else(|| Failure::missing("alloc"))?.clone();
    let explained = AllocExplained::of(&state, &alloc);
    Ok(match place_again(state, &alloc, best_max) {
        Ok(now) => AllocExplained { now: Some(now), ..explained },
        Err(why) => AllocExplained { never_now: why.why, ..explained },
    })
}

/// How the nodes compare for the alloc if it were not there.
fn place_again(mut state: Tables, alloc: &Allocation, best_max: usize) -> Result<Now, Failure> {
    let (index, group) = (state.index().0, group_of(&state, alloc).0.name.clone());
    let job = state.job(alloc.job).ok_or_else(|| Failure::missing("job"))?;
    if let Some((why, _)) = never_placed(job) {
        return Err(Failure::bad(why));
    }
    let newest = job.newest();
    let (job_version, found) = (newest.version, newest.spec.group(&group).map(|(at, _)| at));
    let gone = || Failure::bad(format!("version {job_version} of the job has no group {group:?}"));
    let at = found.ok_or_else(gone)?;
    let node: Option<NodeSlot> = state.slot_of(alloc.node);
    let node = node.ok_or_else(|| Failure::bad("its node has been forgotten"))?;
    if !alloc.client_status.is_terminal() {
        let ended = AllocUpdate {
            id: alloc.id,
            status: ClientStatus::Complete,
            description: String::new(),
            tasks: std::collections::BTreeMap::new(),
            health: None,
        };
        enter(&mut state, Command::UpdateAllocs { node: alloc.node, updates: vec![ended] })?;
    }
    let eval = evaluation(&mut state, alloc.job)?;
    let sought = Sought { group: at, node: Some(node), without: Some(alloc.id) };
    let group = compared(&state, &eval, sought, best_max)?;
    Ok(Now { index, job_version, group })
}

/// Why nothing of the job is ever placed, and what to do instead; `None`: something is.
fn never_placed(job: &Job) -> Option<(String, String)> {
    let id = &job.newest().spec.id;
    if job.stopped || job.purged {
        let instead = "run it again, or ask why an alloc was placed where it was: drover alloc explain \
                       ALLOC";
        return Some((
            format!("job {id:?} is stopped, so nothing of it is placed"),
            instead.to_owned(),
        ));
    }
    let makes_children = job.newest().spec.launch.makes_children();
    makes_children.then(|| {
        let instead = format!("ask about one of them: drover job status {id} lists them");
        (format!("job {id:?} runs nothing itself, but makes children"), instead)
    })
}

fn enter(state: &mut Tables, command: Command) -> Result<Option<EvalId>, Failure> {
    let entry = Entry { stamp: state.clock(), session: None, command };
    let index = state.index().next();
    match fsm::apply(state, index, &entry, &mut Vec::new()) {
        Outcome::Applied { eval, .. } => Ok(eval),
        Outcome::Refused(rejection) => Err(rejection.into()),
        Outcome::Repeated { .. } => Ok(None),
    }
}

/// The evaluation that is to be scheduled next, or waits for room; or one as if somebody asked for it.
fn evaluation(state: &mut Tables, job: JobId) -> Result<Evaluation, Failure> {
    let clock = state.clock();
    let is_due = |eval: &&Evaluation| eval.wait_until.is_none_or(|at| at <= clock);
    let next = state.pending_evals_of_job(job).rfind(is_due);
    if let Some(eval) = next.or_else(|| state.blocked_eval_of_job(job)) {
        return Ok(eval.clone());
    }
    let spec = state.job(job).map(|job| &job.newest().spec);
    let spec = spec.ok_or_else(|| Failure::missing("job"))?;
    let (namespace, job) = (spec.namespace.clone(), spec.id.clone());
    let eval = enter(state, Command::EvaluateJob { namespace, job })?;
    let eval = eval.and_then(|id| state.eval(id)).cloned();
    eval.ok_or_else(|| Failure::broken("the job has no evaluation: ask again"))
}

fn compared(
    state: &Tables,
    eval: &Evaluation,
    sought: Sought,
    best_max: usize,
) -> Result<GroupExplained, Failure> {
    let view = View { state, in_flight: &InFlight::default() };
    let seen = look(&view, eval, SEED, sought);
    let (Some(seen), Some(job)) = (seen, state.job(eval.job)) else {
        return Err(Failure::bad("nothing of the job is placed: it is stopped or makes children"));
    };
    let group = &job.newest().spec.groups[sought.group];
    Ok(GroupExplained::of(state, (job, group), &seen, (best_max, sought.node)))
}
