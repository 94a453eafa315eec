//! Evaluations.
//!
//! Invariants
//! - what an evaluation has not got is left out, as Nomad does.
use std::collections::BTreeMap;

use drover_core::state::State;
use drover_core::types::{EvalId, EvalStatus, Evaluation, Trigger};
use serde::Serialize;

use super::alloc::{self, Metrics};
use super::some;
use super::time::{rfc3339, unix_ns};

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Eval {
    #[serde(rename = "ID")]
    pub id: String,
    pub namespace: String,
    pub priority: u8,
    #[serde(rename = "Type")]
    pub kind: &'static str,
    pub triggered_by: &'static str,
    #[serde(rename = "JobID")]
    pub job_id: String,
    pub job_modify_index: u64,
    #[serde(rename = "NodeID", skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    pub status: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status_description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_eval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_eval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_eval: Option<String>,
    #[serde(rename = "DeploymentID", skip_serializing_if = "Option::is_none")]
    pub deployment_id: Option<String>,
    #[serde(rename = "FailedTGAllocs", skip_serializing_if = "Option::is_none")]
    pub failed_tg_allocs: Option<BTreeMap<String, Metrics>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued_allocations: Option<BTreeMap<String, u32>>,
    pub snapshot_index: u64,
    pub create_index: u64,
    pub modify_index: u64,
    pub create_time: i64,
    pub modify_time: i64,
}

impl Eval {
    #[must_use]
    pub fn of(state: &State, eval: &Evaluation) -> Self {
        let job = state.job(eval.job).expect("invariant: an evaluation's job exists");
        let spec = &job.newest().spec;
        let other = |id: Option<EvalId>| id.map(|EvalId(id)| state.uuid(id).to_string());
        let failures = eval.failures.iter();
        let failures: BTreeMap<_, _> = failures
            .map(|(group, failure)| {
                (group.clone(), Metrics::of_group(state, (eval.job, group), failure))
            })
            .collect();
        Self {
            id: state.uuid(eval.id.0).to_string(),
            namespace: spec.namespace.clone(),
            priority: eval.priority,
            kind: alloc::kind(spec.kind),
            triggered_by: trigger(eval.trigger),
            job_id: spec.id.clone(),
            job_modify_index: job.spec_index.0,
            node_id: eval.node.map(|node| node.uuid().to_string()),
            status: status(eval.status),
            status_description: eval.status_description.clone(),
            wait_until: eval.wait_until.map(rfc3339),
            next_eval: other(eval.next),
            previous_eval: other(eval.previous),
            blocked_eval: other(eval.blocked),
            deployment_id: eval.deployment.map(|id| state.uuid(id.0).to_string()),
            failed_tg_allocs: (!failures.is_empty()).then_some(failures),
            queued_allocations: some(&eval.queued),
            snapshot_index: eval.create_index.0,
            create_index: eval.create_index.0,
            modify_index: eval.modify_index.0,
            create_time: unix_ns(eval.create_time),
            modify_time: unix_ns(eval.modify_time),
        }
    }
}

const fn trigger(trigger: Trigger) -> &'static str {
    match trigger {
        // Nomad says of an operator's wish what it says of a registration.
        Trigger::JobRegister | Trigger::Manual => "job-register",
        Trigger::JobDeregister => "job-deregister",
        Trigger::NodeUpdate => "node-update",
        // In Nomad a failed evaluation has the follow-up; a failed alloc's delay is part of its failure.
        Trigger::AllocFailure | Trigger::FailedFollowUp => "alloc-failure",
        Trigger::QueuedAllocs => "queued-allocs",
        Trigger::PlanRefused => "max-plan-attempts",
        Trigger::AllocStop => "alloc-stop",
        Trigger::DeploymentWatcher => "deployment-watcher",
        Trigger::RollingUpdate => "rolling-update",
        Trigger::NodeDrain => "node-drain",
        Trigger::PeriodicJob => "periodic-job",
        Trigger::JobScaling => "job-scaling",
        Trigger::Preemption => "preemption",
        Trigger::Rebalance => "rebalance",
    }
}

/// The word for a status.
#[must_use]
pub const fn status(status: EvalStatus) -> &'static str {
    match status {
        EvalStatus::Pending => "pending",
        EvalStatus::Blocked => "blocked",
        EvalStatus::Complete => "complete",
        EvalStatus::Failed => "failed",
        EvalStatus::Cancelled => "canceled",
    }
}
