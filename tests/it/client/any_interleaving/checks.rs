//! What must hold whenever the client says something, and in the end.
use std::collections::BTreeSet;

use drover_core::client::{NodeMessage, Recovered, ServerMessage};
use drover_core::types::{AllocId, AllocSpec, Boot, ClientStatus, TaskKey, TaskPhase};

use super::{World, is_forgotten};

impl World {
    pub(super) fn check_start(&self, key: TaskKey) {
        let recovered = Recovered::from_records(self.durable.clone(), Boot::Same);
        let alloc = recovered.allocs.get(&key.alloc).expect("its assignment is durable");
        assert!(!alloc.row.tombstoned, "what has a tombstone does not start");
        let attempt = alloc.row.tasks.get(usize::from(key.task)).map_or(0, |task| task.attempt);
        assert_eq!(attempt, key.attempt, "the attempt is durable");
        assert!(!self.reported_ends.contains_key(&key.alloc), "what has ended does not start");
    }

    pub(super) fn check_stop(&self, key: TaskKey) {
        let wanted = &self.wanted[&key.alloc];
        let is_group_ending =
            1 < wanted.spec.group.tasks.len() && self.troubled.contains(&key.alloc);
        assert!(wanted.tombstoned.is_some() || is_group_ending, "stopped without reason: {key:?}");
    }

    pub(super) fn check_hidden(&self, key: TaskKey) {
        let stands = self.advertised.get(&key.alloc);
        let is_found = stands.is_some_and(|tasks| tasks.contains(&format!("t{}", key.task)));
        assert!(!is_found, "{key:?} ends while others are sent there");
    }

    pub(super) fn check_advertised(&self, alloc: AllocId, tasks: &BTreeSet<String>) {
        for task in tasks {
            let has_begun = |key: &TaskKey| key.alloc == alloc && format!("t{}", key.task) == *task;
            assert!(self.processes.keys().any(has_begun), "{task} of {alloc:?} has not begun");
        }
    }

    pub(super) fn note_confirmed(&mut self, message: &ServerMessage) {
        if let ServerMessage::ReportAck { report } = message {
            for alloc in self.reports.get(report).into_iter().flatten() {
                self.unconfirmed.remove(alloc);
            }
        }
    }

    pub(super) fn check_report(&mut self, message: &NodeMessage) {
        if let NodeMessage::Heartbeat { is_behind: false, .. } = message {
            assert_eq!(self.unconfirmed, BTreeSet::new(), "it says that it is not behind");
        }
        let NodeMessage::Report { report, updates } = message else { return };
        self.reports.insert(*report, updates.iter().map(|update| update.id).collect());
        for update in updates {
            if update.status.is_terminal() {
                let first = *self.reported_ends.entry(update.id).or_insert(update.status);
                assert!(first == update.status || is_forgotten(update), "an end is final");
            } else {
                assert!(!self.reported_ends.contains_key(&update.id), "an end is final");
            }
        }
    }

    pub(super) fn check_outcome(&self) {
        for (id, wanted) in &self.wanted {
            let known = self.known.get(id);
            let alive: Vec<_> = self.alive().filter(|key| key.alloc == *id).collect();
            let Some(known) = known else {
                assert!(wanted.tombstoned.is_some(), "{id:?} was assigned and never reported");
                assert_eq!(alive, [], "what nobody knows does not run");
                continue;
            };
            if known.status.is_terminal() {
                assert_eq!(alive, [], "{id:?} has ended");
                continue;
            }
            assert_eq!(wanted.tombstoned, None, "{id:?} was to be stopped");
            assert_eq!(known.status, ClientStatus::Running, "{id:?} is wanted");
            let running = known.tasks.values().filter(|task| task.phase == TaskPhase::Running);
            assert_eq!(running.count(), alive.len(), "{id:?}: the servers know what runs");
            self.check_found(*id, &alive, &wanted.spec);
        }
    }

    /// Of what runs, what is to be found can be; and nothing else of it.
    fn check_found(&self, alloc: AllocId, alive: &[TaskKey], spec: &AllocSpec) {
        let tasks = alive.iter().map(|key| &spec.group.tasks[usize::from(key.task)]);
        let to_be_found = tasks.filter(|task| !task.services.is_empty());
        let names: BTreeSet<_> = to_be_found.map(|task| task.name.clone()).collect();
        assert_eq!(self.advertised.get(&alloc).cloned().unwrap_or_default(), names, "{alloc:?}");
    }
}
