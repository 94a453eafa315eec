//! What users read in a task's history, in the words that they know from Nomad.
//!
//! Invariants
//! - a text from a driver is cut to `TASK_EVENT_BYTES_MAX`.
use alloc::format;
use alloc::string::{String, ToString};

use crate::limits::TASK_EVENT_BYTES_MAX;
use crate::time::{WallTime, go_duration};
use crate::types::{TaskEvent, TaskEventKind};

pub(super) const RECEIVED: &str = "Task received by client";
pub(super) const SETUP: &str = "Building Task Directory";
pub(super) const STARTED: &str = "Task started by client";
pub(super) const KILLED: &str = "Task successfully killed";
pub(super) const LEADER_DEAD: &str = "Leader Task in Group dead";
pub(super) const RESTART_ASKED: &str = "User requested restart";
pub(super) const SIGNALING: &str = "Task being sent a signal";
pub(super) const LOST: &str = "Task was lost while the agent was not running";
pub(super) const TOO_MANY: &str = "The client already runs as many allocs as it may";

/// One line of history; what is too long is cut.
pub(super) fn event(at: WallTime, kind: TaskEventKind, message: &str) -> TaskEvent {
    let mut end = message.len().min(TASK_EVENT_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    TaskEvent { at, kind, message: message[..end].to_string() }
}

pub(super) fn exited(exit_code: i32, signal: i32) -> String {
    if signal == 0 {
        format!("Exit Code: {exit_code}")
    } else {
        format!("Exit Code: {exit_code}, Signal: {signal}")
    }
}

pub(super) fn restarting(delay_ms: u64, reason: Option<&str>) -> String {
    let delay = go_duration(delay_ms);
    match reason {
        Some(reason) => format!("{reason} - Task restarting in {delay}"),
        None => format!("Task restarting in {delay}"),
    }
}

pub(super) fn killing(timeout_ms: u64) -> String {
    if timeout_ms == 0 {
        return "Sent interrupt".to_string();
    }
    format!("Sent interrupt. Waiting {} before force killing", go_duration(timeout_ms))
}

pub(super) fn sibling_failed(task: &str) -> String {
    format!("Task's sibling \"{task}\" failed")
}

pub(super) fn attempts_exceeded(attempts: u32, interval_ms: u64) -> String {
    let interval = go_duration(interval_ms);
    format!("Exceeded allowed attempts {attempts} in interval {interval} and mode is \"fail\"")
}
