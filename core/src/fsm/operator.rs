//! What concerns the cluster as a whole.
//!
//! Invariants
//! - a cluster is given its identity once;
//! - the feature level only rises.
use super::{Outcome, invalid};
use crate::api::Rejection;
use crate::limits::SERVERS_MAX;
use crate::state::txn::Txn;
use crate::types::{AutopilotConfig, ClusterId, ConfigRow, Index, SchedulerConfig};

pub(super) fn bootstrap(txn: &mut Txn<'_>, cluster: ClusterId) -> Result<Outcome, Rejection> {
    let known = txn.state().cluster();
    if cluster == ClusterId(0) {
        return Err(invalid("cluster", "zero stands for a cluster that is not bootstrapped"));
    }
    if known == cluster {
        return Ok(Outcome::DONE);
    }
    if known != ClusterId(0) {
        return Err(Rejection::Conflict { index: txn.state().index() });
    }
    txn.set_cluster(cluster);
    Ok(Outcome::DONE)
}

pub(super) fn raise_feature_level(txn: &mut Txn<'_>, level: u32) -> Result<Outcome, Rejection> {
    if level < txn.state().feature_level() {
        return Err(invalid("level", "the feature level only rises"));
    }
    if txn.state().feature_level() < level {
        txn.raise_feature_level(level);
    }
    Ok(Outcome::DONE)
}

/// With `check_index`, only if that is the last entry that set it.
pub(super) fn set_scheduler(
    txn: &mut Txn<'_>,
    config: SchedulerConfig,
    check_index: Option<Index>,
) -> Result<Outcome, Rejection> {
    check_unchanged(txn.state().scheduler(), check_index)?;
    txn.set_scheduler(config);
    Ok(Outcome::DONE)
}

/// With `check_index`, only if that is the last entry that set it.
pub(super) fn set_autopilot(
    txn: &mut Txn<'_>,
    config: AutopilotConfig,
    check_index: Option<Index>,
) -> Result<Outcome, Rejection> {
    check_unchanged(txn.state().autopilot(), check_index)?;
    let voters_max = u32::try_from(SERVERS_MAX).unwrap_or(u32::MAX);
    if voters_max < config.min_quorum {
        return Err(invalid("MinQuorum", "a cluster has at most fifteen servers"));
    }
    txn.set_autopilot(config);
    Ok(Outcome::DONE)
}

fn check_unchanged<C>(row: &ConfigRow<C>, check_index: Option<Index>) -> Result<(), Rejection> {
    let found = row.modify_index;
    if check_index.is_some_and(|expected| expected != found) {
        return Err(Rejection::Conflict { index: found });
    }
    Ok(())
}

/// Refuse to register anything while an operator wants that.
pub(super) fn check_registration(txn: &Txn<'_>) -> Result<(), Rejection> {
    if txn.state().scheduler().config.reject_job_registration {
        let why = "registration of jobs is switched off: drover operator scheduler set-config \
                   -reject-job-registration=false lets it happen again";
        return Err(invalid("job", why));
    }
    Ok(())
}

pub(super) fn set_cut_bytes(txn: &mut Txn<'_>, bytes: u64) -> Result<Outcome, Rejection> {
    if bytes == 0 {
        return Err(invalid("bytes", "a cut has something to cut"));
    }
    if txn.state().cut_bytes() != bytes {
        txn.set_cut_bytes(bytes);
    }
    Ok(Outcome::DONE)
}
