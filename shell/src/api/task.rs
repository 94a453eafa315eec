//! The state of a task and its history.
//!
//! Invariants
//! - every kind of event has the name that Nomad's clients know.
use std::collections::BTreeMap;

use drover_core::types::{TaskEvent, TaskEventKind, TaskPhase, TaskState};
use serde::Serialize;

use super::Absent;
use super::time::{duration_ns, rfc3339, unix_ns};
use crate::jobspec::duration::show_ms;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Task {
    pub state: &'static str,
    pub failed: bool,
    pub restarts: u32,
    pub last_restart: Option<String>,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    pub events: Vec<Event>,
    pub task_handle: Absent,
}

/// Nomad's clients read `Type`, `Time`, `DisplayMessage` and `Details`; the other keys are its past.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Event {
    #[serde(rename = "Type")]
    pub kind: &'static str,
    pub time: i64,
    pub message: String,
    pub display_message: String,
    pub details: BTreeMap<&'static str, String>,
    pub fails_task: bool,
    pub restart_reason: String,
    pub setup_error: String,
    pub driver_error: String,
    pub driver_message: String,
    pub exit_code: i32,
    pub signal: i32,
    pub kill_timeout: i64,
    pub kill_error: String,
    pub kill_reason: String,
    pub start_delay: i64,
    pub download_error: String,
    pub validation_error: String,
    pub disk_limit: i64,
    pub failed_sibling: String,
    pub vault_error: String,
    pub task_signal: String,
    pub task_signal_reason: String,
    pub generic_source: String,
}

impl Task {
    #[must_use]
    pub fn of(task: &TaskState) -> Self {
        Self {
            state: match task.phase {
                TaskPhase::Pending => "pending",
                TaskPhase::Running => "running",
                TaskPhase::Dead => "dead",
            },
            failed: task.failed,
            restarts: task.restarts,
            last_restart: task.last_restart.map(rfc3339),
            started_at: task.started_at.map(rfc3339),
            finished_at: task.finished_at.map(rfc3339),
            events: task.events.iter().map(Event::of).collect(),
            task_handle: (),
        }
    }
}

impl Event {
    fn of(event: &TaskEvent) -> Self {
        let mut shown = Self {
            kind: name(event.kind),
            time: unix_ns(event.at),
            display_message: event.message.clone(),
            ..Self::default()
        };
        shown.explain(event.kind, &event.message);
        shown
    }

    /// What older clients look for beside the message.
    fn explain(&mut self, kind: TaskEventKind, message: &str) {
        match kind {
            TaskEventKind::TaskSetup => {
                message.clone_into(&mut self.message);
                self.details.insert("message", message.to_owned());
            }
            TaskEventKind::Terminated { exit_code, signal } => {
                (self.exit_code, self.signal) = (exit_code, signal);
                self.details.insert("exit_code", exit_code.to_string());
                self.details.insert("signal", signal.to_string());
                self.details.insert("oom_killed", "false".to_owned());
            }
            TaskEventKind::Restarting { delay_ms } => {
                self.start_delay = duration_ns(delay_ms);
                self.details.insert("start_delay", self.start_delay.to_string());
            }
            TaskEventKind::Killing { timeout_ms } => {
                self.kill_timeout = duration_ns(timeout_ms);
                self.details.insert("kill_timeout", show_ms(timeout_ms));
            }
            TaskEventKind::NotRestarting => {
                self.fails_task = true;
                message.clone_into(&mut self.restart_reason);
                self.details.insert("fails_task", "true".to_owned());
                self.details.insert("restart_reason", message.to_owned());
            }
            TaskEventKind::DriverFailure => {
                message.clone_into(&mut self.driver_error);
                self.details.insert("driver_error", message.to_owned());
            }
            TaskEventKind::SetupFailure => {
                message.clone_into(&mut self.setup_error);
                self.details.insert("setup_error", message.to_owned());
            }
            TaskEventKind::RestartSignaled => {
                message.clone_into(&mut self.restart_reason);
                self.details.insert("restart_reason", message.to_owned());
            }
            TaskEventKind::Received
            | TaskEventKind::Started
            | TaskEventKind::Killed
            | TaskEventKind::Signaling
            | TaskEventKind::LeaderTaskDead
            | TaskEventKind::SiblingFailed
            | TaskEventKind::Lost => (),
        }
    }
}

const fn name(kind: TaskEventKind) -> &'static str {
    match kind {
        TaskEventKind::Received => "Received",
        TaskEventKind::TaskSetup => "Task Setup",
        TaskEventKind::Started => "Started",
        TaskEventKind::Terminated { .. } => "Terminated",
        TaskEventKind::Restarting { .. } => "Restarting",
        TaskEventKind::NotRestarting => "Not Restarting",
        TaskEventKind::Killing { .. } => "Killing",
        TaskEventKind::Killed => "Killed",
        TaskEventKind::DriverFailure => "Driver Failure",
        TaskEventKind::SetupFailure => "Setup Failure",
        TaskEventKind::Signaling => "Signaling",
        TaskEventKind::RestartSignaled => "Restart Signaled",
        TaskEventKind::LeaderTaskDead => "Leader Task Dead",
        TaskEventKind::SiblingFailed => "Sibling Task Failed",
        TaskEventKind::Lost => "Lost",
    }
}
