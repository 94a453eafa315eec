//! What is said of a job beside its specification: rows of lists, summaries, versions.
//!
//! Invariants
//! - a job runs while an alloc of it should run and has not ended; else it is pending while an
//!   evaluation is open; else it is dead; one that makes children runs until it is stopped.
use std::collections::BTreeMap;

use drover_core::state::{JobStatus, State};
use drover_core::types::{Allocation, ClientStatus, Job as Stored, JobVersion, Launch};
use serde::Serialize;

use super::Absent;
use super::alloc::{group_of, kind};
use super::job::{Job, Row};
use super::time::{rfc3339, unix_ns};

/// What a list says of a job.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Stub {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "ParentID")]
    pub parent_id: String,
    pub name: String,
    pub namespace: String,
    pub datacenters: Vec<String>,
    pub node_pool: String,
    pub multiregion: Absent,
    #[serde(rename = "Type")]
    pub kind: &'static str,
    pub priority: u8,
    pub periodic: bool,
    pub parameterized_job: bool,
    pub stop: bool,
    pub status: &'static str,
    pub status_description: &'static str,
    pub job_summary: Summary,
    pub create_index: u64,
    pub modify_index: u64,
    pub job_modify_index: u64,
    pub submit_time: i64,
}

/// How many allocs of each group are in which condition.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Summary {
    #[serde(rename = "JobID")]
    pub job_id: String,
    pub namespace: String,
    pub summary: BTreeMap<String, GroupSummary>,
    pub children: Children,
    pub create_index: u64,
    pub modify_index: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GroupSummary {
    pub queued: u32,
    pub complete: u32,
    pub failed: u32,
    pub running: u32,
    pub starting: u32,
    pub lost: u32,
    pub unknown: u32,
}

/// The jobs that a job has made.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Children {
    pub pending: u64,
    pub running: u64,
    pub dead: u64,
}

impl Stub {
    #[must_use]
    pub fn of(state: &State, job: &Stored) -> Self {
        let newest = job.newest();
        let spec = &newest.spec;
        Self {
            id: spec.id.clone(),
            parent_id: job.lineage.child.as_ref().map_or_else(String::new, |c| c.parent.clone()),
            name: spec.name.clone(),
            namespace: spec.namespace.clone(),
            datacenters: spec.datacenters.clone(),
            node_pool: spec.node_pool.to_string(),
            multiregion: (),
            kind: kind(spec.kind),
            priority: spec.priority,
            periodic: matches!(spec.launch, Launch::Periodic(_)),
            parameterized_job: matches!(spec.launch, Launch::Parameterized(_)),
            stop: job.stopped,
            status: status(state, job),
            status_description: "",
            job_summary: Summary::of(state, job),
            create_index: job.create_index.0,
            modify_index: job.modify_index.0,
            job_modify_index: job.spec_index.0,
            submit_time: unix_ns(newest.submitted_at),
        }
    }
}

impl Summary {
    #[must_use]
    pub fn of(state: &State, job: &Stored) -> Self {
        let spec = &job.newest().spec;
        let groups = spec.groups.iter().map(|group| (group.name.clone(), GroupSummary::default()));
        let mut summary: BTreeMap<String, GroupSummary> = groups.collect();
        let mut modify_index = job.modify_index;
        for alloc in state.allocs_of_job(job.id) {
            modify_index = modify_index.max(alloc.modify_index);
            let (group, _) = group_of(state, alloc);
            // Looked up before it is inserted: a name is copied once a group, not once an alloc.
            if let Some(counts) = summary.get_mut(&group.name) {
                counts.count(alloc);
            } else {
                summary.entry(group.name.clone()).or_default().count(alloc);
            }
        }
        for (group, &queued) in state.blocked_eval_of_job(job.id).iter().flat_map(|e| &e.queued) {
            summary.entry(group.clone()).or_default().queued = queued;
        }
        Self {
            job_id: spec.id.clone(),
            namespace: spec.namespace.clone(),
            summary,
            children: Children::of(state, job),
            create_index: job.create_index.0,
            modify_index: modify_index.0,
        }
    }
}

impl Children {
    fn of(state: &State, job: &Stored) -> Self {
        let mut counts = Self::default();
        let spec = &job.newest().spec;
        if !spec.launch.makes_children() {
            return counts;
        }
        for child in state.children_of(&spec.namespace, &spec.id) {
            match state.job_status(child) {
                JobStatus::Pending => counts.pending += 1,
                JobStatus::Running => counts.running += 1,
                JobStatus::Dead => counts.dead += 1,
            }
        }
        counts
    }
}

impl GroupSummary {
    fn count(&mut self, alloc: &Allocation) {
        match alloc.client_status {
            ClientStatus::Pending => self.starting += 1,
            ClientStatus::Running => self.running += 1,
            ClientStatus::Complete => self.complete += 1,
            ClientStatus::Failed => self.failed += 1,
            ClientStatus::Lost => self.lost += 1,
        }
    }
}

/// `pending`, `running` or `dead`.
#[must_use]
pub fn status(state: &State, job: &Stored) -> &'static str {
    match state.job_status(job) {
        JobStatus::Pending => "pending",
        JobStatus::Running => "running",
        JobStatus::Dead => "dead",
    }
}

/// One version of a job, as the API writes a job.
#[must_use]
pub fn whole(state: &State, job: &Stored, version: &JobVersion) -> Job {
    let is_newest = job.newest().version == version.version;
    let next = job.lineage.next_launch.filter(|_| is_newest).map(rfc3339);
    let whole = Job::of(
        &version.spec,
        &Row {
            status: status(state, job).to_owned(),
            version: version.version,
            stopped: is_newest && job.stopped,
            stable: version.stable,
            submitted_at_unix_ms: version.submitted_at.unix_ms,
            create_index: job.create_index.0,
            modify_index: if is_newest { job.modify_index.0 } else { version.create_index.0 },
            spec_index: if is_newest { job.spec_index.0 } else { version.create_index.0 },
        },
    );
    Job { next_periodic_launch: next, ..whole.with_child(job.lineage.child.as_ref()) }
}
