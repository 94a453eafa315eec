//! Answers to writes, and the small objects that need no file of their own.
//!
//! Invariants
//! - `Index` of an answer to a write is the entry that did it.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Absent;
use super::alloc::{Metrics, Stub};
use super::job::Job;
use super::what_if::WhatIf;

/// A job was registered or evaluated.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Registered {
    #[serde(rename = "EvalID")]
    pub eval_id: String,
    pub eval_create_index: u64,
    pub job_modify_index: u64,
    pub warnings: String,
    pub index: u64,
    pub last_contact: u64,
    pub known_leader: bool,
}

/// A job was stopped.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Deregistered {
    #[serde(rename = "EvalID")]
    pub eval_id: String,
    pub eval_create_index: u64,
    pub job_modify_index: u64,
    #[serde(rename = "VolumeEvalID")]
    pub volume_eval_id: &'static str,
    pub volume_eval_index: u64,
    pub index: u64,
    pub last_contact: u64,
    pub known_leader: bool,
}

/// A deployment was steered.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeploymentUpdated {
    #[serde(rename = "EvalID")]
    pub eval_id: String,
    pub eval_create_index: u64,
    pub deployment_modify_index: u64,
    pub reverted_job_version: Option<u64>,
    pub index: u64,
}

/// A version was called stable, or not.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Stability {
    pub job_modify_index: u64,
    pub index: u64,
}

/// An alloc was stopped.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Stopped {
    #[serde(rename = "EvalID")]
    pub eval_id: String,
    pub index: u64,
}

/// A node's eligibility or drain was changed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeUpdated {
    #[serde(rename = "EvalIDs")]
    pub eval_ids: Option<Vec<String>>,
    pub eval_create_index: u64,
    pub node_modify_index: u64,
    pub index: u64,
}

/// Something was done to a task.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Done {
    pub index: u64,
}

/// A job was validated.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Validated {
    pub driver_config_validated: bool,
    pub validation_errors: Option<Vec<String>>,
    pub error: String,
    pub warnings: String,
}

/// A job's kept versions, newest first.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Versions {
    pub versions: Vec<Job>,
    pub diffs: Option<Vec<Diff>>,
    pub index: u64,
    pub last_contact: u64,
    pub known_leader: bool,
}

/// What registering a job would do.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Planned {
    pub annotations: Annotations,
    #[serde(rename = "FailedTGAllocs")]
    pub failed_tg_allocs: Option<BTreeMap<String, Metrics>>,
    pub job_modify_index: u64,
    pub created_evals: Absent,
    pub diff: Option<Diff>,
    /// When the calendar would launch the first child.
    pub next_periodic_launch: Option<String>,
    pub warnings: String,
    pub index: u64,
    /// Ours: what had been supposed, and what would come of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what_if: Option<WhatIf>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Annotations {
    #[serde(rename = "DesiredTGUpdates")]
    pub desired_tg_updates: BTreeMap<String, Updates>,
    pub preempted_allocs: Option<Vec<Stub>>,
}

/// What would happen to a group's allocs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Updates {
    pub ignore: u64,
    pub place: u64,
    pub migrate: u64,
    pub stop: u64,
    pub in_place_update: u64,
    pub destructive_update: u64,
    pub canary: u64,
    pub preemptions: u64,
}

/// How two versions of a job differ.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Diff {
    #[serde(rename = "Type")]
    pub kind: &'static str,
    #[serde(rename = "ID")]
    pub id: String,
    pub fields: Option<Vec<FieldDiff>>,
    pub objects: Option<Vec<ObjectDiff>>,
    pub task_groups: Option<Vec<GroupDiff>>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GroupDiff {
    #[serde(rename = "Type")]
    pub kind: &'static str,
    pub name: String,
    pub fields: Option<Vec<FieldDiff>>,
    pub objects: Option<Vec<ObjectDiff>>,
    pub tasks: Option<Vec<TaskDiff>>,
    pub updates: Option<BTreeMap<&'static str, u64>>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TaskDiff {
    #[serde(rename = "Type")]
    pub kind: &'static str,
    pub name: String,
    pub fields: Option<Vec<FieldDiff>>,
    pub objects: Option<Vec<ObjectDiff>>,
    pub annotations: Option<Vec<&'static str>>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ObjectDiff {
    #[serde(rename = "Type")]
    pub kind: &'static str,
    pub name: String,
    pub fields: Option<Vec<FieldDiff>>,
    pub objects: Option<Vec<Self>>,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct FieldDiff {
    #[serde(rename = "Type")]
    pub kind: &'static str,
    pub name: String,
    pub old: String,
    pub new: String,
    pub annotations: Option<Vec<&'static str>>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Namespace {
    pub name: &'static str,
    pub description: &'static str,
    pub quota: &'static str,
    pub hash: &'static str,
    pub create_index: u64,
    pub modify_index: u64,
}

impl Namespace {
    /// The only one there is.
    pub const DEFAULT: Self = Self {
        name: "default",
        description: "Default shared namespace",
        quota: "",
        hash: "",
        create_index: 1,
        modify_index: 1,
    };
}

/// What somebody looks for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SearchAsk {
    pub prefix: Option<String>,
    pub text: Option<String>,
    pub context: Option<String>,
}

/// What was found, by kind.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Found<M> {
    pub matches: BTreeMap<&'static str, M>,
    pub truncations: BTreeMap<&'static str, bool>,
    pub index: u64,
    pub last_contact: u64,
    pub known_leader: bool,
}

/// One object found by a part of its name, with what leads to it.
#[derive(Clone, Debug, Serialize)]
pub struct FuzzyMatch {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Scope", skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
}
