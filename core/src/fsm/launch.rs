//! Children: made by their parent's calendar, by force, or by dispatch.
//!
//! | what | child's name |
//! |---|---|
//! | a moment of the calendar, or force | `PARENT/periodic-<unix seconds>` |
//! | dispatch | `PARENT/dispatch-[PREFIX-]<unix seconds>-<8 digits>` |
//!
//! Invariants
//! - a moment of a calendar makes at most one child, however often the log asks for it;
//! - of several moments that were missed, the newest makes a child;
//! - a token makes one child while that child exists.
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;

use super::eval::{self, Cause};
use super::job::{self, Birth};
use super::{Outcome, check_length, invalid, not_found};
use crate::api::Rejection;
use crate::cron::Calendar;
use crate::limits::{
    DISPATCH_META_BYTES_MAX, DISPATCH_PREFIX_BYTES_MAX, DISPATCH_TOKEN_BYTES_MAX, PAYLOAD_BYTES_MAX,
};
use crate::state::txn::Txn;
use crate::state::{JobStatus, State};
use crate::time::WallTime;
use crate::types::{
    Child, EvalId, Job, JobId, JobSpec, Launch, Made, Parameterized, PayloadRule, Periodic, Shift,
    Trigger,
};

/// What is dispatched.
pub(super) struct Dispatch<'a> {
    pub(super) payload: &'a Arc<[u8]>,
    pub(super) meta: &'a BTreeMap<String, String>,
    pub(super) id_prefix: &'a str,
    pub(super) token: &'a str,
}

pub(super) fn check(spec: &JobSpec) -> Result<(), Rejection> {
    match &spec.launch {
        Launch::Periodic(periodic) => {
            Calendar::of(periodic).map_err(|why| invalid("periodic", &why))?;
            if periodic.crons.is_empty() {
                return Err(invalid("periodic", "a periodic job has a cron expression"));
            }
            let grows = periodic.zone.is_sorted_by(|older, newer| older.unix_s < newer.unix_s);
            let is_near = |shift: &Shift| shift.offset_s.unsigned_abs() <= 86_400;
            if !grows || !periodic.zone.iter().all(is_near) {
                return Err(invalid("time_zone", "its shifts come in order, each within a day"));
            }
        }
        Launch::AtOnce | Launch::Parameterized(_) => {}
    }
    Ok(())
}

/// The moments of these jobs that have come, as the entry's stamp has it.
pub(super) fn launch_due(txn: &mut Txn<'_>, jobs: &[JobId]) -> Result<Outcome, Rejection> {
    check_length("jobs", jobs.len())?;
    let mut first = None;
    for &id in jobs {
        let made = launch_one(txn, id);
        first = first.or(made);
    }
    Ok(Outcome::with_eval(first))
}

fn launch_one(txn: &mut Txn<'_>, id: JobId) -> Option<EvalId> {
    let clock = txn.state().clock();
    let job = txn.state().job(id)?.clone();
    let due = job.lineage.next_launch.filter(|due| *due <= clock)?;
    let parent = Arc::clone(&job.newest().spec);
    let Launch::Periodic(periodic) = &parent.launch else { return None };
    let calendar = Calendar::of(periodic).ok()?;
    let moment = calendar.newest_until(due, clock);
    let mut job = job;
    job.lineage.next_launch = calendar.next_after(clock);
    if planted!(PeriodicLaunchesTwice) {
        job.lineage.next_launch = Some(moment.plus_ms(1));
    }
    txn.put_job(job);
    if is_held_back(txn.state(), &parent, periodic) {
        return None;
    }
    let moment = if planted!(PeriodicLaunchesTwice) { clock } else { moment };
    let (child, is_new) = child_at(txn, &parent, moment, Made::At(moment));
    is_new.then(|| eval::create(txn, child, Cause::of(Trigger::PeriodicJob)))
}

/// Whether an older child is in the way.
fn is_held_back(state: &State, parent: &JobSpec, periodic: &Periodic) -> bool {
    let lives = |job: &Job| state.job_status(job) != JobStatus::Dead;
    periodic.overlap_prohibited
        && state.children_of(&parent.namespace, &parent.id).rev().any(lives)
        && !planted!(OverlapIgnored)
}

/// The child of this moment, and whether it was made now.
fn child_at(txn: &mut Txn<'_>, parent: &JobSpec, moment: WallTime, made: Made) -> (JobId, bool) {
    let name = format!("{}/periodic-{}", parent.id, moment.unix_ms / 1_000);
    if let Some(known) = txn.state().job_named(&parent.namespace, &name) {
        return (known.id, false);
    }
    let id = JobId(txn.new_id());
    let spec = JobSpec { id: name.clone(), name, launch: Launch::AtOnce, ..parent.clone() };
    let made = Child { parent: parent.id.clone(), made };
    job::create(txn, Birth { id, child: Some(made) }, &Arc::new(spec));
    (id, true)
}

/// Launch a periodic job now, whatever its calendar says and whatever else runs.
pub(super) fn force(txn: &mut Txn<'_>, namespace: &str, job: &str) -> Result<Outcome, Rejection> {
    let known = txn.state().job_named(namespace, job).ok_or_else(|| not_found("job"))?;
    let (parent, clock) = (Arc::clone(&known.newest().spec), txn.state().clock());
    if !matches!(parent.launch, Launch::Periodic(_)) {
        return Err(invalid("job", "only a periodic job can be forced to launch"));
    }
    if known.stopped {
        return Err(invalid("job", "the job is stopped: register it again to launch it"));
    }
    let (child, is_new) = child_at(txn, &parent, clock, Made::Forced(clock));
    if is_new {
        let made = eval::create(txn, child, Cause::of(Trigger::PeriodicJob));
        return Ok(Outcome::evaluated(child, made));
    }
    // A child of this very second is what was asked for.
    let eval = txn.state().evals_of_job(child).next().map(|eval| eval.id);
    Ok(Outcome::Applied { eval, job: Some(child), refused_placements: 0, more: false })
}

pub(super) fn dispatch(
    txn: &mut Txn<'_>,
    (namespace, job): (&str, &str),
    asked: &Dispatch<'_>,
) -> Result<Outcome, Rejection> {
    let known = txn.state().job_named(namespace, job).ok_or_else(|| not_found("job"))?;
    let parent = Arc::clone(&known.newest().spec);
    let Launch::Parameterized(rules) = &parent.launch else {
        return Err(invalid("job", "only a parameterized job can be dispatched"));
    };
    if known.stopped {
        return Err(invalid("job", "the job is stopped: register it again to dispatch it"));
    }
    let earlier = txn.state().child_by_token(namespace, job, asked.token);
    if let Some(earlier) = earlier.filter(|_| !asked.token.is_empty() && !planted!(TokenIgnored)) {
        let (id, state) = (earlier.id, txn.state());
        let eval = state.evals_of_job(id).next().map(|eval| eval.id);
        return Ok(Outcome::Applied { eval, job: Some(id), refused_placements: 0, more: false });
    }
    check_dispatch(rules, asked)?;
    let id = JobId(txn.new_id());
    let name = dispatched_name(txn.state(), id, &parent, asked.id_prefix);
    let mut spec = JobSpec { id: name.clone(), name, launch: Launch::AtOnce, ..(*parent).clone() };
    spec.meta.extend(asked.meta.iter().map(|(key, value)| (key.clone(), value.clone())));
    let (payload, token) = (Arc::clone(asked.payload), asked.token.to_string());
    let made = Child { parent: job.to_string(), made: Made::Dispatched { payload, token } };
    job::create(txn, Birth { id, child: Some(made) }, &Arc::new(spec));
    let eval = eval::create(txn, id, Cause::of(Trigger::JobRegister));
    Ok(Outcome::evaluated(id, eval))
}

/// The digits are the first of the child's own id. Should another child have them, all of them are taken.
fn dispatched_name(state: &State, id: JobId, parent: &JobSpec, prefix: &str) -> String {
    let (unix_s, uuid) = (state.clock().unix_ms / 1_000, state.uuid(id.0).to_string());
    let dash = if prefix.is_empty() { "" } else { "-" };
    let begin = format!("{}/dispatch-{prefix}{dash}{unix_s}-", parent.id);
    let name = format!("{begin}{}", &uuid[..8]);
    let is_taken = state.job_named(&parent.namespace, &name).is_some();
    if is_taken { format!("{begin}{uuid}") } else { name }
}

fn check_dispatch(rules: &Parameterized, asked: &Dispatch<'_>) -> Result<(), Rejection> {
    let (payload, meta) = (asked.payload, asked.meta);
    match rules.payload {
        PayloadRule::Required if payload.is_empty() => {
            return Err(invalid("Payload", "this job must be dispatched with a payload"));
        }
        PayloadRule::Forbidden if !payload.is_empty() => {
            return Err(invalid("Payload", "this job forbids a payload: dispatch it without one"));
        }
        PayloadRule::Optional | PayloadRule::Required | PayloadRule::Forbidden => {}
    }
    if PAYLOAD_BYTES_MAX < payload.len() {
        let why = format!("{} bytes are more than {PAYLOAD_BYTES_MAX}", payload.len());
        return Err(invalid("Payload", &why));
    }
    let missing = rules.meta_required.iter().filter(|key| !meta.contains_key(*key));
    let missing = listed(missing);
    if !missing.is_empty() {
        return Err(invalid("Meta", &format!("this job must be dispatched with {missing}")));
    }
    let is_known =
        |key: &String| rules.meta_required.contains(key) || rules.meta_optional.contains(key);
    let unknown = listed(meta.keys().filter(|key| !is_known(key)));
    if !unknown.is_empty() {
        let known = listed(rules.meta_required.iter().chain(&rules.meta_optional));
        let known = if known.is_empty() { "no meta at all".to_string() } else { known };
        return Err(invalid("Meta", &format!("{unknown} is not expected: this job takes {known}")));
    }
    let meta_bytes: usize = meta.iter().map(|(key, value)| key.len() + value.len()).sum();
    if DISPATCH_META_BYTES_MAX < meta_bytes {
        let why = format!("{meta_bytes} bytes are more than {DISPATCH_META_BYTES_MAX}");
        return Err(invalid("Meta", &why));
    }
    if DISPATCH_TOKEN_BYTES_MAX < asked.token.len() {
        let why = format!("a token has at most {DISPATCH_TOKEN_BYTES_MAX} bytes");
        return Err(invalid("idempotency_token", &why));
    }
    let is_odd = |c: char| c.is_control() || c.is_whitespace();
    if DISPATCH_PREFIX_BYTES_MAX < asked.id_prefix.len() || asked.id_prefix.contains(is_odd) {
        let why = format!("a prefix is a word of at most {DISPATCH_PREFIX_BYTES_MAX} bytes");
        return Err(invalid("IdPrefixTemplate", &why));
    }
    Ok(())
}

/// Names for people, a dozen at most.
fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names = names.take(12).map(|name| format!("\"{name}\""));
    names.collect::<alloc::vec::Vec<_>>().join(", ")
}
