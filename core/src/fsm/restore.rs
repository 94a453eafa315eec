//! A saved state comes back: in parts, and then in force at once.
//!
//! The state that takes the place of the present one is in the log, like all that changes it: whoever
//! leads may be lost at any moment, and no server ever has a state that a quorum does not.
//!
//! Invariants
//! - parts come in their order, and those of two uploads are never mixed;
//! - what is refused changes no table but that of the parts, which are dropped;
//! - only a state of this cluster that is not younger than the log is taken: no id is used twice;
//! - every job that may run something is evaluated after a restore.
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::eval::{self, Cause};
use super::{Outcome, invalid};
use crate::api::Rejection;
use crate::digest::Digest;
use crate::limits::{RESTORE_PART_BYTES, RESTORE_PARTS_MAX};
use crate::state::txn::{Txn, holds_room};
use crate::state::{Saved, State, Upload};
use crate::types::{Job, JobId, Trigger};

pub(super) fn take_part(
    txn: &mut Txn<'_>,
    of: Digest,
    nth: u32,
    bytes: &Arc<[u8]>,
) -> Result<Outcome, Rejection> {
    if bytes.is_empty() || RESTORE_PART_BYTES < bytes.len() {
        let why = format!("a part has 1 to {RESTORE_PART_BYTES} bytes");
        return Err(invalid("part", &why));
    }
    if RESTORE_PARTS_MAX <= nth {
        let why = format!("a saved state has at most {RESTORE_PARTS_MAX} parts");
        return Err(invalid("part", &why));
    }
    if nth == 0 {
        txn.drop_upload();
    } else {
        upload_with(txn.state(), of, nth)?;
    }
    txn.put_part(of, Arc::clone(bytes));
    Ok(Outcome::DONE)
}

/// The upload that is under way, if it is this one and this far.
fn upload_with(state: &State, of: Digest, parts: u32) -> Result<Upload, Rejection> {
    let upload = state.upload().filter(|upload| upload.of == of && upload.parts == parts);
    upload.ok_or_else(|| Rejection::Conflict { index: state.index() })
}

pub(super) fn put_in_force(
    txn: &mut Txn<'_>,
    of: Digest,
    parts: u32,
) -> Result<Outcome, Rejection> {
    upload_with(txn.state(), of, parts)?;
    let bytes = txn.state().uploaded();
    txn.drop_upload();
    if Digest::of(&bytes) != of {
        return Err(invalid("", "the saved state did not come as it was sent: send it again"));
    }
    let saved = Saved::read(&bytes)
        .map_err(|fault| invalid("", &format!("the saved state does not read: {fault:?}")))?;
    saved.check_origin(txn.state()).map_err(|why| invalid("", &why))?;
    txn.restore(saved);
    evaluate_jobs(txn);
    Ok(Outcome::DONE)
}

/// What each job runs by now is not what the saved state says.
fn evaluate_jobs(txn: &mut Txn<'_>) {
    let state = txn.state();
    let jobs = state.jobs().filter(|job| may_run(state, job) && !is_due(state, job.id));
    let jobs: Vec<JobId> = jobs.map(|job| job.id).collect();
    for job in jobs {
        if planted!(RestoreEvaluatesNothing) {
            break;
        }
        eval::create(txn, job, Cause::of(Trigger::NodeUpdate));
    }
}

fn may_run(state: &State, job: &Job) -> bool {
    let runs = !job.stopped && !job.newest().spec.launch.makes_children();
    runs || state.allocs_of_job(job.id).any(holds_room)
}

/// Whether an evaluation of the job is scheduled at once anyway.
fn is_due(state: &State, job: JobId) -> bool {
    state.pending_evals_of_job(job).any(|eval| eval.wait_until.is_none())
}
