//! Jobs: registered, registered again, stopped, purged.
//!
//! Invariants
//! - a name belongs to one job that is not purged;
//! - a specification never changes: what differs is a new version;
//! - a version is kept while it is among the newest, an alloc points at it, or it is the newest that
//!   is stable.
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;

use super::eval::{self, Cause};
use super::{Outcome, deployment, invalid, not_found};
use crate::api::Rejection;
use crate::limits::{GROUP_COUNT_MAX, JOB_VERSIONS_MAX};
use crate::state::State;
use crate::state::txn::Txn;
use crate::types::{Index, Job, JobId, JobSpec, JobVersion, Trigger};

/// What becomes of a job's row when the job is deregistered.
pub(super) enum Fate {
    /// Users still see it, and can register it again.
    Stopped,
    /// Its name is free at once.
    Purged,
}

pub(super) fn register(
    txn: &mut Txn<'_>,
    spec: &Arc<JobSpec>,
    check_index: Option<Index>,
) -> Result<Outcome, Rejection> {
    check_spec(spec)?;
    let known = txn.state().job_named(&spec.namespace, &spec.id);
    let found = known.map_or(Index(0), |job| job.spec_index);
    if check_index.is_some_and(|expected| expected != found) {
        return Err(Rejection::Conflict { index: found });
    }
    let kind = known.map(|job| job.newest().spec.kind);
    if kind.is_some_and(|kind| kind != spec.kind) {
        let why = "a job's type stays as it is: purge the job first, or give this one another name";
        return Err(invalid("type", why));
    }
    let id = match known {
        None => create(txn, spec),
        Some(job) if !job.stopped && *job.newest().spec == **spec => job.id,
        Some(job) => {
            let job = job.clone();
            add_version(txn, job, spec)
        }
    };
    let made = eval::create(txn, id, Cause::of(Trigger::JobRegister));
    Ok(Outcome::evaluated(id, made))
}

fn create(txn: &mut Txn<'_>, spec: &Arc<JobSpec>) -> JobId {
    let (id, index) = (JobId(txn.new_id()), txn.state().index());
    let version = new_version(txn.state(), 0, spec);
    txn.put_job(Job {
        id,
        versions: vec![version],
        stopped: false,
        purged: false,
        create_index: index,
        modify_index: index,
        spec_index: index,
    });
    id
}

/// The version that is asked for now takes over from the newest, and whoever watched over that one
/// is relieved.
pub(super) fn add_version(txn: &mut Txn<'_>, mut job: Job, spec: &Arc<JobSpec>) -> JobId {
    let (id, index) = (job.id, txn.state().index());
    deployment::cancel(txn, id, "Cancelled due to newer version of job");
    // Versions count entries of the log, so this cannot reach the end of 64 bits.
    let number = job.newest().version + 1;
    job.versions.push(new_version(txn.state(), number, spec));
    let newest = job.versions.len().saturating_sub(JOB_VERSIONS_MAX);
    let (mut position, fallback) = (0, latest_stable(&job, number).map(|kept| kept.version));
    job.versions.retain(|version| {
        position += 1;
        let is_used = 0 < txn.state().uses_of_version(id, version.version);
        newest < position || is_used || fallback == Some(version.version)
    });
    job.stopped = false;
    job.spec_index = index;
    txn.put_job(job);
    id
}

/// The newest stable version before this one: what a failed deployment goes back to.
pub(super) fn latest_stable(job: &Job, before: u64) -> Option<&JobVersion> {
    job.versions.iter().rev().find(|kept| kept.stable && kept.version < before)
}

fn new_version(state: &State, version: u64, spec: &Arc<JobSpec>) -> JobVersion {
    let (submitted_at, create_index) = (state.clock(), state.index());
    JobVersion { version, spec: Arc::clone(spec), submitted_at, stable: false, create_index }
}

/// What the tables rely on. What users are told in detail is checked before a command is proposed.
fn check_spec(spec: &JobSpec) -> Result<(), Rejection> {
    if spec.id.is_empty() {
        return Err(invalid("id", "a job has a name"));
    }
    if spec.namespace.is_empty() {
        return Err(invalid("namespace", "a job has a namespace"));
    }
    if !(1..=100).contains(&spec.priority) {
        return Err(invalid("priority", "a priority lies between 1 and 100"));
    }
    if spec.groups.is_empty() || usize::from(u16::MAX) < spec.groups.len() {
        return Err(invalid("group", "a job has between one and 65,535 groups"));
    }
    let mut names = BTreeSet::new();
    for group in &spec.groups {
        if !names.insert(group.name.as_str()) {
            return Err(invalid("group", "a group's name is unique within its job"));
        }
        if spec.kind.is_on_every_node() && 1 < group.count {
            return Err(invalid("count", "a job that runs on every node has a count of 0 or 1"));
        }
        if GROUP_COUNT_MAX < group.count {
            return Err(invalid("count", "a group runs at most 50,000 allocs"));
        }
        if group.tasks.is_empty() {
            return Err(invalid("task", "a group has a task"));
        }
        if group.capacity().is_none() {
            return Err(invalid("resources", "a group's resources add up to less than 2^32"));
        }
    }
    Ok(())
}

pub(super) fn deregister(
    txn: &mut Txn<'_>,
    namespace: &str,
    job: &str,
    fate: Fate,
) -> Result<Outcome, Rejection> {
    let known = txn.state().job_named(namespace, job).ok_or_else(|| not_found("job"))?;
    let (mut job, index) = (known.clone(), txn.state().index());
    let id = job.id;
    if !job.stopped {
        job.stopped = true;
        job.spec_index = index;
    }
    match fate {
        Fate::Stopped => {}
        Fate::Purged => job.purged = true,
    }
    deployment::cancel(txn, id, "Cancelled because job is stopped");
    txn.put_job(job);
    eval::cancel_blocked(txn, id, "job was deregistered");
    let made = eval::create(txn, id, Cause::of(Trigger::JobDeregister));
    Ok(Outcome::evaluated(id, made))
}

pub(super) fn evaluate(
    txn: &mut Txn<'_>,
    namespace: &str,
    job: &str,
) -> Result<Outcome, Rejection> {
    let known = txn.state().job_named(namespace, job).ok_or_else(|| not_found("job"))?;
    let id = known.id;
    let made = eval::create(txn, id, Cause::of(Trigger::Manual));
    Ok(Outcome::evaluated(id, made))
}

/// Register an earlier version anew, under a new number.
pub(super) fn revert(
    txn: &mut Txn<'_>,
    (namespace, job): (&str, &str),
    version: u64,
    enforce_prior: Option<u64>,
) -> Result<Outcome, Rejection> {
    let known = txn.state().job_named(namespace, job).ok_or_else(|| not_found("job"))?;
    let newest = known.newest();
    if enforce_prior.is_some_and(|expected| expected != newest.version) {
        let why = format!("the newest version is {}, not the one expected", newest.version);
        return Err(invalid("EnforcePriorVersion", &why));
    }
    if version == newest.version && !known.stopped {
        let why = format!("{version} is the newest version: name an older one");
        return Err(invalid("JobVersion", &why));
    }
    let wanted = known.version(version).ok_or_else(|| not_found("job version"))?;
    let (job, spec) = (known.clone(), Arc::clone(&wanted.spec));
    let id = add_version(txn, job, &spec);
    let made = eval::create(txn, id, Cause::of(Trigger::JobRegister));
    Ok(Outcome::evaluated(id, made))
}

pub(super) fn set_stable(
    txn: &mut Txn<'_>,
    (namespace, job): (&str, &str),
    version: u64,
    stable: bool,
) -> Result<Outcome, Rejection> {
    let known = txn.state().job_named(namespace, job).ok_or_else(|| not_found("job"))?;
    known.version(version).ok_or_else(|| not_found("job version"))?;
    let id = known.id;
    mark_stable(txn, id, version, stable);
    Ok(Outcome::Applied { eval: None, job: Some(id), refused_placements: 0, more: false })
}

/// Whether a failed deployment may go back to the version. One that is not kept has no say.
pub(super) fn mark_stable(txn: &mut Txn<'_>, id: JobId, version: u64, stable: bool) {
    let Some(mut job) = txn.state().job(id).cloned() else { return };
    let kept = job.versions.iter_mut().find(|kept| kept.version == version);
    let Some(kept) = kept.filter(|kept| kept.stable != stable) else { return };
    kept.stable = stable;
    txn.put_job(job);
}
