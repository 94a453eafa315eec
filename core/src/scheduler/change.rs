//! What a new version of a job asks of allocs of an older one.
//!
//! Source: Nomad's rule that whatever a running task could see makes it start anew.
//!
//! Invariants
//! - an alloc keeps running under the new version only if nothing that its tasks, its room or its
//!   network were made from has changed, nor what it would rather have of its node.
use crate::types::{Group, JobSpec, Task};

/// What becomes of an alloc when its version is not the newest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    /// It takes the new version while it runs.
    InPlace,
    /// It is stopped and another takes its place.
    Destructive,
}

/// What the step from `old` to `new` means for allocs of `group` (of `old`) and `wanted` (of `new`).
pub(super) fn between(old: &JobSpec, group: &Group, new: &JobSpec, wanted: &Group) -> Change {
    let same_tasks = group.tasks.len() == wanted.tasks.len()
        && group.tasks.iter().zip(&wanted.tasks).all(|(task, other)| same_task(task, other));
    let same_group = group.disk_mib == wanted.disk_mib
        && group.network == wanted.network
        && group.meta == wanted.meta
        && group.volumes == wanted.volumes
        && group.affinities == wanted.affinities
        && group.spreads == wanted.spreads
        && old.node_pool == new.node_pool
        && old.affinities == new.affinities
        && old.spreads == new.spreads;
    if same_tasks && same_group && old.meta == new.meta && old.name == new.name {
        Change::InPlace
    } else {
        Change::Destructive
    }
}

/// Whether a process of `one` could be a process of `other`. Constraints are the scheduler's alone.
fn same_task(one: &Task, other: &Task) -> bool {
    // Taken apart, so that a new field cannot be forgotten here.
    let Task {
        name,
        driver,
        user,
        config_json,
        env,
        constraints: _,
        resources,
        meta,
        kill_timeout_ms,
        kill_signal,
        leader,
        shutdown_delay_ms,
        logs,
        payload_file,
        affinities,
        // Others find it elsewhere; to itself it is the same.
        services: _,
        volume_mounts,
    } = one;
    *name == other.name
        && *driver == other.driver
        && *user == other.user
        && *config_json == other.config_json
        && *env == other.env
        && *resources == other.resources
        && *meta == other.meta
        && *kill_timeout_ms == other.kill_timeout_ms
        && *kill_signal == other.kill_signal
        && *leader == other.leader
        && *shutdown_delay_ms == other.shutdown_delay_ms
        && *logs == other.logs
        && *payload_file == other.payload_file
        && *affinities == other.affinities
        && *volume_mounts == other.volume_mounts
}
