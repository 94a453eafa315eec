//! What the driver does with processes.
use drover_core::client::Output;
use drover_core::types::{Remedy, TaskChange, TaskKey};

use super::{Process, World, pick};

impl World {
    /// The driver does what it was asked for first.
    pub(super) fn drive(&mut self) {
        let Some(output) = self.to_driver.pop_front() else { return };
        match output {
            Output::StartTask { key, .. } => self.start(key),
            Output::Reattach { key, .. } => {
                let change = match self.processes.get(&key) {
                    Some(Process::Alive) => TaskChange::Started { pid: 1 },
                    Some(&Process::Ended { exit_code }) => {
                        TaskChange::Exited { exit_code, signal: 0 }
                    }
                    None => TaskChange::Lost,
                };
                self.from_driver.push_back((key, change));
            }
            Output::StopTask { key, .. } => {
                self.asked_to_stop.insert(key);
            }
            Output::KillTask { key } => self.end(key, 137),
            other => panic!("not for a driver: {other:?}"),
        }
    }

    fn start(&mut self, key: TaskKey) {
        assert!(!self.processes.contains_key(&key), "a key is used once: {key:?}");
        let is_other_alive = self.processes.iter().any(|(other, process)| {
            (other.alloc, other.task) == (key.alloc, key.task) && *process == Process::Alive
        });
        assert!(!is_other_alive, "at most one process of a task lives: {key:?}");
        let change = if self.rng.chance(100) {
            self.processes.insert(key, Process::Ended { exit_code: 127 });
            self.troubled.insert(key.alloc);
            let remedy = if self.rng.chance(500) { Remedy::Retry } else { Remedy::None };
            TaskChange::StartFailed { why: "no such file".into(), remedy }
        } else {
            self.processes.insert(key, Process::Alive);
            TaskChange::Started { pid: 1 }
        };
        self.from_driver.push_back((key, change));
    }

    pub(super) fn hear_driver(&mut self) {
        if let Some((key, change)) = self.from_driver.pop_front() {
            self.step(|client, at, out| client.on_task(at, key, &change, out));
        }
    }

    pub(super) fn process_ends(&mut self) {
        let alive: Vec<_> = self.alive().collect();
        if let Some(&key) = pick(&mut self.rng, &alive) {
            let exit_code = i32::from(self.rng.chance(500));
            self.end(key, exit_code);
        }
    }

    pub(super) fn end(&mut self, key: TaskKey, exit_code: i32) {
        if self.processes.get(&key) == Some(&Process::Alive) {
            self.processes.insert(key, Process::Ended { exit_code });
            self.troubled.insert(key.alloc);
            self.from_driver.push_back((key, TaskChange::Exited { exit_code, signal: 0 }));
        }
    }

    pub(super) fn alive(&self) -> impl Iterator<Item = TaskKey> {
        self.processes.iter().filter(|(_, p)| **p == Process::Alive).map(|(&key, _)| key)
    }
}
