//! What registering a job would do: a registration and a scheduling on a state of their own.
//!
//! Invariants
//! - nothing of it is proposed or kept;
//! - it is the same code that registers and schedules in earnest.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drover_core::fsm::{self, Command, Entry, Outcome};
use drover_core::planner::InFlight;
use drover_core::scheduler::{View, schedule};
use drover_core::state::State;
use drover_core::types::{AllocId, Allocation, DesiredStatus, JobSpec, Plan, StopReason, Verdict};
use serde::Deserialize;

use super::Http;
use super::answer::{Answer, Failure};
use super::diff;
use super::jobs::decode;
use super::query::{Freshness, Query};
use super::write::{body, written};
use crate::api::alloc::{Detail, Metrics, Stub, group_of};
use crate::api::job::{Job, Row};
use crate::api::jobs::whole;
use crate::api::misc::{Annotations, Diff, Planned, Updates};
use crate::api::time::rfc3339;
use crate::api::warnings::warnings;
use crate::api::what_if::WhatIf;
use crate::forecast::{Forecast, Supposition};

/// Chance decides between equal nodes only.
const SEED: u64 = 1;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PlanAsk {
    diff: Option<bool>,
    /// Ours: what is supposed to have happened before, such as `drain n1`.
    what_if: Vec<String>,
}

impl Http {
    /// The answer to a dry run of the job in `bytes`, which is called `name`.
    pub(super) async fn plan(&self, query: &Query, name: &str, bytes: &[u8]) -> Answer {
        let ask: PlanAsk = body(bytes)?;
        let spec = self.spec(query, &decode(bytes)?)?;
        if spec.id != name {
            return Err(Failure::bad("Job ID does not match"));
        }
        let suppositions = ask.what_if.iter().map(|text| text.parse::<Supposition>());
        let suppositions: Vec<Supposition> =
            suppositions.collect::<Result<_, String>>().map_err(Failure::bad)?;
        let _one_of_few = self.plans.acquire().await;
        let (shadow, _) = self.fresh(Freshness::default()).await?;
        let shadow = shadow.clone();
        let wants_diff = ask.diff.unwrap_or(false);
        let planned = tokio::task::spawn_blocking(move || {
            let state = shadow.read().clone();
            if suppositions.is_empty() {
                return dry_run(state, spec, wants_diff);
            }
            let (state, what_if) = suppose(state, &suppositions)?;
            let planned = dry_run(state, spec, wants_diff)?;
            Ok(Planned { what_if: Some(what_if), ..planned })
        });
        let planned = planned
            .await
            .map_err(|why| Failure::broken(format!("the job could not be scheduled: {why}")))??;
        written(drover_core::types::Index(planned.index), &planned)
    }
}

/// What would have become of the cluster by then.
fn suppose(state: State, suppositions: &[Supposition]) -> Result<(State, WhatIf), Failure> {
    let mut forecast = Forecast::of(state);
    for what in suppositions {
        forecast.suppose(what).map_err(Failure::bad)?;
    }
    let what_if = WhatIf::of(forecast.state(), &forecast.told(), suppositions);
    Ok((forecast.into_state(), what_if))
}

fn dry_run(mut state: State, spec: JobSpec, wants_diff: bool) -> Result<Planned, Failure> {
    let spec = Arc::new(spec);
    let old = state.job_named(&spec.namespace, &spec.id);
    let spec_index = old.map_or(0, |job| job.spec_index.0);
    let old = old.map(|job| whole(&state, job, job.newest()));
    let new = Job::of(&spec, &Row::default());
    let command = Command::RegisterJob { spec: Arc::clone(&spec), check_index: None };
    let entry = Entry { stamp: state.clock(), session: None, command };
    let index = state.index().next();
    let eval = match fsm::apply(&mut state, index, &entry, &mut Vec::new()) {
        Outcome::Applied { eval, .. } => eval.and_then(|id| state.eval(id)).cloned(),
        Outcome::Refused(rejection) => return Err(rejection.into()),
        Outcome::Repeated { .. } => None,
    };
    let plan = eval.map(|eval| {
        let view = View { state: &state, in_flight: &InFlight::default() };
        schedule(&view, &eval, SEED, usize::MAX)
    });
    // A job that makes children has no evaluation, and nothing happens to allocs.
    let updates = plan.as_ref().map_or_else(BTreeMap::new, |plan| updates(&state, plan, &spec));
    let warnings = warnings(&state, &spec);
    let next = state.job_named(&spec.namespace, &spec.id).and_then(|job| job.lineage.next_launch);
    let diff = wants_diff.then(|| annotated(diff::jobs(old.as_ref(), &new), &updates));
    Ok(Planned {
        annotations: Annotations {
            desired_tg_updates: updates,
            preempted_allocs: plan.as_ref().and_then(|plan| preempted(&state, plan)),
        },
        failed_tg_allocs: plan.as_ref().and_then(|plan| failures(&state, plan)),
        job_modify_index: spec_index,
        created_evals: (),
        diff,
        next_periodic_launch: next.map(rfc3339),
        warnings,
        index: spec_index,
        what_if: None,
    })
}

fn failures(state: &State, plan: &Plan) -> Option<BTreeMap<String, Metrics>> {
    let Verdict::Done { failures, .. } = &plan.verdict else { return None };
    let shown = failures
        .iter()
        .map(|(group, why)| (group.clone(), Metrics::of_group(state, (plan.job, group), why)));
    (!failures.is_empty()).then(|| shown.collect())
}

/// Allocs of other jobs that make way.
fn preempted(state: &State, plan: &Plan) -> Option<Vec<Stub>> {
    let detail = Detail { resources: false, task_states: false };
    let allocs = plan.preempted.iter().filter_map(|one| state.alloc(one.alloc));
    let shown: Vec<Stub> = allocs.map(|alloc| Stub::of(state, alloc, detail)).collect();
    (!shown.is_empty()).then_some(shown)
}

/// What becomes of the allocs of each group.
fn updates(state: &State, plan: &Plan, spec: &JobSpec) -> BTreeMap<String, Updates> {
    let groups = spec.groups.iter().map(|group| (group.name.clone(), Updates::default()));
    let mut updates: BTreeMap<String, Updates> = groups.collect();
    let mut touched = BTreeSet::new();
    let mut replaced = BTreeSet::new();
    let mut of = |alloc: &Allocation, count: fn(&mut Updates) -> &mut u64| {
        let group = group_of(state, alloc).0.name.clone();
        *count(updates.entry(group).or_default()) += 1;
    };
    let row = |id: AllocId| state.alloc(id);
    for stop in &plan.stops {
        let Some(alloc) = row(stop.alloc) else { continue };
        touched.insert(stop.alloc);
        match stop.reason {
            StopReason::NotNeeded | StopReason::NodeLost => of(alloc, |u| &mut u.stop),
            StopReason::Updated => {
                replaced.insert(stop.alloc);
                of(alloc, |u| &mut u.destructive_update);
            }
            StopReason::Migrating | StopReason::Drained => {
                replaced.insert(stop.alloc);
                of(alloc, |u| &mut u.migrate);
            }
            // Its successor is counted as a placement.
            StopReason::Rescheduled => (),
        }
    }
    for &id in &plan.in_place {
        touched.insert(id);
        if let Some(alloc) = row(id) {
            of(alloc, |u| &mut u.in_place_update);
        }
    }
    let live = |alloc: &&Allocation| {
        alloc.desired == DesiredStatus::Run && !alloc.client_status.is_terminal()
    };
    for alloc in state.allocs_of_job(plan.job).filter(live) {
        if !touched.contains(&alloc.id) {
            of(alloc, |u| &mut u.ignore);
        }
    }
    for placement in &plan.placements {
        let anew = placement.previous.is_none_or(|previous| !replaced.contains(&previous));
        let older = placement.version.and_then(|version| state.job(plan.job)?.version(version));
        let of = older.map_or(spec, |older| &older.spec);
        if let (true, Some(group)) = (anew, of.groups.get(usize::from(placement.group))) {
            let counts = updates.entry(group.name.clone()).or_default();
            *if placement.canary { &mut counts.canary } else { &mut counts.place } += 1;
        }
    }
    for preempted in &plan.preempted {
        if let Some(group) = spec.groups.get(usize::from(preempted.group)) {
            updates.entry(group.name.clone()).or_default().preemptions += 1;
        }
    }
    // What found no room is wanted all the same.
    if let Verdict::Done { queued, .. } = &plan.verdict {
        for (group, &count) in queued {
            updates.entry(group.clone()).or_default().place += u64::from(count);
        }
    }
    updates
}

/// Each group's difference with what it does to the allocs.
fn annotated(mut diff: Diff, updates: &BTreeMap<String, Updates>) -> Diff {
    for group in diff.task_groups.iter_mut().flatten() {
        let Some(updates) = updates.get(&group.name) else { continue };
        let counts = [
            ("create", updates.place),
            ("destroy", updates.stop),
            ("migrate", updates.migrate),
            ("in-place update", updates.in_place_update),
            ("create/destroy update", updates.destructive_update),
            ("canary", updates.canary),
            ("ignore", updates.ignore),
            ("preemption", updates.preemptions),
        ];
        let said: BTreeMap<_, _> = counts.into_iter().filter(|&(_, count)| 0 < count).collect();
        if group.kind == "None" && said.keys().any(|&what| what != "ignore") {
            group.kind = "Edited";
            diff.kind = if diff.kind == "None" { "Edited" } else { diff.kind };
        }
        group.updates = (!said.is_empty()).then_some(said);
    }
    diff
}
