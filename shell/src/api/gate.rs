//! What a group waits for, and how far that has come.
//!
//! Invariants
//! - it is said as of now: what an evaluation found closed may be open by the time somebody asks.
use drover_core::state::{Approach, Bar, State};
use drover_core::types::{Gate, JobSpec};
use serde::Serialize;

use super::job::until_word;

/// One thing that a group waits for. Ours.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Waiting {
    #[serde(rename = "JobID")]
    pub job_id: String,
    /// Null: all of the job's.
    pub group: Option<String>,
    pub until: &'static str,
    /// It is as it should be by now.
    pub open: bool,
    /// Allocs that are as they should be, of those that are wanted.
    pub good: u32,
    pub wanted: u32,
    pub failed: u32,
    /// All of this in words: `group api waits for job db to be healthy (2 of 3 healthy)`.
    pub said: String,
}

impl Waiting {
    /// For a gate of a group of `spec`.
    #[must_use]
    pub fn of(state: &State, spec: &JobSpec, (group, gate): (&str, &Gate)) -> Self {
        let approach = state.approach(spec, gate);
        Self {
            job_id: spec.target_of(gate).to_owned(),
            group: gate.group.clone(),
            until: until_word(approach.until),
            open: approach.bar.is_none(),
            good: approach.good,
            wanted: approach.wanted,
            failed: approach.failed,
            said: format!("group {group} {}", words(gate, approach)),
        }
    }
}

/// The gate in words, with how far what it waits for has come.
#[must_use]
pub fn words(gate: &Gate, approach: Approach) -> String {
    let target = match (&gate.job, &gate.group) {
        (Some(job), None) => format!("job {job}"),
        (Some(job), Some(group)) => format!("group {group} of job {job}"),
        (None, Some(group)) => format!("group {group}"),
        (None, None) => "itself".to_owned(),
    };
    let until = until_word(approach.until);
    match approach.bar {
        None => format!("waited for {target} to be {until}"),
        // What is usual for it is not known yet.
        Some(Bar::NoJob) if gate.until.is_none() => {
            format!("waits for {target} ({})", progress(Bar::NoJob, approach))
        }
        Some(bar) => format!("waits for {target} to be {until} ({})", progress(bar, approach)),
    }
}

fn progress(bar: Bar, approach: Approach) -> String {
    let Approach { good, wanted, failed, until, .. } = approach;
    let failed = if failed == 0 { String::new() } else { format!(", {failed} failed") };
    let count = format!("{good} of {wanted} {}{failed}", until_word(until));
    match bar {
        Bar::NoJob => "there is no such job".to_owned(),
        Bar::NoGroup => "the job has no such group".to_owned(),
        Bar::Stopped => "the job is stopped".to_owned(),
        Bar::MakesChildren => "the job makes children and runs nothing itself".to_owned(),
        Bar::NeverEnds => "the job runs until it is stopped".to_owned(),
        Bar::NothingWanted => "nothing of it is wanted".to_owned(),
        Bar::TooFew => count,
        Bar::NotPlaced => format!("{count}, and not every node has been looked at"),
        Bar::DeploymentOpen => format!("{count}, and its deployment is not over"),
        Bar::DeploymentFailed => format!("{count}, and its deployment has failed"),
    }
}

/// What whoever registers `spec` should know: that it waits for something that may never come.
pub(super) fn warnings(state: &State, spec: &JobSpec) -> Vec<String> {
    let mut list = Vec::new();
    let groups = spec.groups.iter().flat_map(|group| &group.after);
    for gate in spec.after.iter().chain(groups) {
        let why = match state.approach(spec, gate).bar {
            Some(Bar::NoJob) => "which does not exist yet",
            Some(Bar::NoGroup) => "which has no such group yet",
            Some(Bar::Stopped) => "which is stopped",
            Some(Bar::MakesChildren) => {
                "which makes children and runs nothing itself: what waits for it never begins"
            }
            Some(
                Bar::NeverEnds
                | Bar::NothingWanted
                | Bar::TooFew
                | Bar::NotPlaced
                | Bar::DeploymentOpen
                | Bar::DeploymentFailed,
            )
            | None => continue,
        };
        let group = gate.group.as_ref().map(|group| format!("group {group} of "));
        let target = spec.target_of(gate);
        let line = format!("after waits for {}job {target}, {why}", group.unwrap_or_default());
        if !list.contains(&line) {
            list.push(line);
        }
    }
    list
}
