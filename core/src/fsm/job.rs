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
use super::{Outcome, deployment, gate, invalid, launch, not_found, operator, pool, scale};
use crate::api::Rejection;
use crate::limits::{GROUP_COUNT_MAX, JOB_VERSIONS_MAX};
use crate::state::State;
use crate::state::children::next_launch;
use crate::state::txn::Txn;
use crate::types::{Child, Index, Job, JobId, JobSpec, JobVersion, Launch, Lineage, Trigger};

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
    operator::check_registration(txn)?;
    pool::check_job(txn.state(), spec)?;
    gate::check(txn.state(), spec)?;
    let known = txn.state().job_named(&spec.namespace, &spec.id);
    check_change(known, spec)?;
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
        None => {
            let id = JobId(txn.new_id());
            create(txn, Birth { id, child: None }, spec);
            id
        }
        Some(job) if !job.stopped && *job.newest().spec == **spec => job.id,
        Some(job) => {
            let job = job.clone();
            add_version(txn, job, spec)
        }
    };
    Ok(evaluated(txn, id, Trigger::JobRegister))
}

/// An evaluation of the job is made, if there is something to schedule.
fn evaluated(txn: &mut Txn<'_>, id: JobId, trigger: Trigger) -> Outcome {
    let job = txn.state().job(id).expect("invariant: only a job that exists is evaluated");
    if job.newest().spec.launch.makes_children() {
        return Outcome::Applied { eval: None, job: Some(id), refused_placements: 0, more: false };
    }
    let made = eval::create(txn, id, Cause::of(trigger));
    Outcome::evaluated(id, made)
}

/// What makes a job run stays for as long as the job: its allocs, or its children, rest on it.
fn check_change(known: Option<&Job>, spec: &JobSpec) -> Result<(), Rejection> {
    let Some(known) = known else { return Ok(()) };
    let words = |launch: &Launch| match launch {
        Launch::AtOnce => "neither periodic nor parameterized",
        Launch::Periodic(_) => "periodic",
        Launch::Parameterized(_) => "parameterized",
    };
    let (was, is) = (words(&known.newest().spec.launch), words(&spec.launch));
    if was == is {
        return Ok(());
    }
    let why = format!("the job is {was} and cannot become {is}: stop it with -purge first");
    Err(invalid("job", &why))
}

/// A new job's id, and who made it.
pub(super) struct Birth {
    pub(super) id: JobId,
    pub(super) child: Option<Child>,
}

pub(super) fn create(txn: &mut Txn<'_>, birth: Birth, spec: &Arc<JobSpec>) {
    let (Birth { id, child }, index) = (birth, txn.state().index());
    let version = new_version(txn.state(), 0, spec);
    let next_launch = next_launch(spec, txn.state().clock());
    txn.put_job(Job {
        id,
        versions: vec![version],
        stopped: false,
        purged: false,
        create_index: index,
        modify_index: index,
        spec_index: index,
        lineage: Lineage { child, next_launch, ..Lineage::default() },
    });
}

/// The version that is asked for now takes over from the newest, and whoever watched over that one
/// is relieved.
pub(super) fn add_version(txn: &mut Txn<'_>, mut job: Job, spec: &Arc<JobSpec>) -> JobId {
    let (id, index) = (job.id, txn.state().index());
    deployment::cancel(txn, id, "Cancelled due to newer version of job");
    // Versions count entries of the log, so this cannot reach the end of 64 bits.
    let number = job.newest().version + 1;
    job.lineage.opened = gate::carried_over(&job, spec);
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
    let clock = txn.state().clock();
    // A moment that has come and was not looked at yet is not lost.
    let is_owed = job.lineage.next_launch.is_some_and(|due| due <= clock);
    if !is_owed || !spec.launch.makes_children() {
        job.lineage.next_launch = next_launch(spec, clock);
    }
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
    launch::check(spec)?;
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
        if let Some(scaling) = &group.scaling {
            scale::check_bounds(scaling, group.count).map_err(|why| invalid("count", &why))?;
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
        job.lineage.next_launch = None;
    }
    match fate {
        Fate::Stopped => {}
        Fate::Purged => job.purged = true,
    }
    deployment::cancel(txn, id, "Cancelled because job is stopped");
    txn.put_job(job);
    eval::cancel_blocked(txn, id, "job was deregistered");
    Ok(evaluated(txn, id, Trigger::JobDeregister))
}

pub(super) fn evaluate(
    txn: &mut Txn<'_>,
    namespace: &str,
    job: &str,
) -> Result<Outcome, Rejection> {
    let known = txn.state().job_named(namespace, job).ok_or_else(|| not_found("job"))?;
    let id = known.id;
    match known.newest().spec.launch {
        Launch::AtOnce => {}
        Launch::Periodic(_) => {
            let why = "a periodic job runs nothing itself: launch it with job periodic force";
            return Err(invalid("job", why));
        }
        Launch::Parameterized(_) => {
            let why = "a parameterized job runs nothing itself: launch it with job dispatch";
            return Err(invalid("job", why));
        }
    }
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
    pool::check_job(txn.state(), &spec)?;
    gate::check(txn.state(), &spec)?;
    let id = add_version(txn, job, &spec);
    Ok(evaluated(txn, id, Trigger::JobRegister))
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
