//! Scaling: another count for one group, or a word of why not.
//!
//! Invariants
//! - a group's count stays within its `scaling` block;
//! - the last `SCALING_EVENTS_MAX` events of a group are kept.
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;

use super::eval::{self, Cause};
use super::{Outcome, invalid, job, not_found, shortened};
use crate::api::Rejection;
use crate::limits::{GROUP_COUNT_MAX, SCALING_EVENTS_MAX, SCALING_META_BYTES_MAX};
use crate::state::txn::Txn;
use crate::types::{Group, Job, JobSpec, Scaling, ScalingEvent, Trigger};

/// What is asked of a group.
pub(super) struct Scale<'a> {
    pub(super) group: &'a str,
    pub(super) count: Option<u32>,
    pub(super) message: &'a str,
    pub(super) error: bool,
    pub(super) meta_json: &'a str,
}

pub(super) fn scale(
    txn: &mut Txn<'_>,
    (namespace, job): (&str, &str),
    asked: &Scale<'_>,
) -> Result<Outcome, Rejection> {
    let known = txn.state().job_named(namespace, job).ok_or_else(|| not_found("job"))?;
    let (mut job, spec) = (known.clone(), Arc::clone(&known.newest().spec));
    let (at, group) = spec.group(asked.group).ok_or_else(|| no_such_group(&spec, asked.group))?;
    check(txn, &job, group, asked)?;
    let mut event = ScalingEvent {
        at: txn.state().clock(),
        count: asked.count,
        previous_count: group.count,
        message: shortened(asked.message),
        error: asked.error,
        meta_json: asked.meta_json.to_string(),
        eval: None,
    };
    let id = job.id;
    if let Some(count) = asked.count {
        if count != group.count {
            let mut wanted = (*spec).clone();
            wanted.groups[at].count = count;
            job::add_version(txn, job.clone(), &Arc::new(wanted));
            let written = txn.state().job(id).expect("invariant: just written");
            job = written.clone();
        }
        if !spec.launch.makes_children() {
            event.eval = Some(eval::create(txn, id, Cause::of(Trigger::JobScaling)));
        }
    }
    let eval = event.eval;
    let events = job.lineage.scaling_events.entry(asked.group.to_string()).or_default();
    events.push(event);
    let surplus = events.len().saturating_sub(SCALING_EVENTS_MAX);
    events.drain(..surplus);
    txn.put_job(job);
    Ok(Outcome::Applied { eval, job: Some(id), refused_placements: 0, more: false })
}

fn no_such_group(spec: &JobSpec, wanted: &str) -> Rejection {
    let known = spec.groups.iter().take(12).map(|group| format!("\"{}\"", group.name));
    let known = known.collect::<alloc::vec::Vec<String>>().join(", ");
    invalid("Target", &format!("the job has no group \"{wanted}\", but {known}"))
}

fn check(txn: &Txn<'_>, job: &Job, group: &Group, asked: &Scale<'_>) -> Result<(), Rejection> {
    if SCALING_META_BYTES_MAX < asked.meta_json.len() {
        return Err(invalid("Meta", &format!("at most {SCALING_META_BYTES_MAX} bytes are kept")));
    }
    let Some(count) = asked.count else {
        return if asked.error || !asked.message.is_empty() {
            Ok(())
        } else {
            Err(invalid("Count", "give a count, or a message that is to be kept"))
        };
    };
    if asked.error {
        return Err(invalid("Error", "an error comes without a count: it changes nothing"));
    }
    if job.stopped {
        return Err(invalid("job", "the job is stopped: register it again to scale it"));
    }
    if GROUP_COUNT_MAX < count {
        return Err(invalid("Count", "a group runs at most 50,000 allocs"));
    }
    if let Some(scaling) = &group.scaling {
        check_bounds(scaling, count).map_err(|why| invalid("Count", &why))?;
    }
    let deployment = txn.state().active_deployment(job.id);
    if deployment.is_some_and(|deployment| !deployment.only_waits()) {
        let why = "a deployment of the job is under way: wait until it has ended, or end it with \
                   drover deployment fail";
        return Err(invalid("job", why));
    }
    Ok(())
}

/// Whether a group's `scaling` block allows the count.
pub(super) fn check_bounds(scaling: &Scaling, count: u32) -> Result<(), String> {
    if count < scaling.min {
        return Err(format!("{count} is less than the group's scaling.min, {}", scaling.min));
    }
    if scaling.max < count {
        return Err(format!("{count} is more than the group's scaling.max, {}", scaling.max));
    }
    Ok(())
}
