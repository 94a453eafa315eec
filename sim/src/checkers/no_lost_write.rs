//! ∀ request r answered `Applied { index }`: the entry committed at index is r, and what r made is in
//! every later state that anyone reads, stale reads too, unless a later request unmade it, or a restore;
//! ∀ read asked after r was answered: its point ≥ index.
//!
//! Whether all that callers were told has one order is judged by `linearizable`, which knows nothing of
//! the log.
//!
//! Invariants
//! - an answer that says neither yes nor no (`Unknown`) binds nobody.
use std::collections::BTreeMap;

use drover_core::api::Request;
use drover_core::fsm::Command;
use drover_core::state::State;
use drover_core::types::Index;

use super::Verdict;
use crate::ladder::{words_of_command, words_of_request};
use crate::launching;
use crate::steering;
use crate::workload::{NAMESPACE, mark_of};

/// What was done to a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Change {
    Registered { mark: u64 },
    Stopped,
}

/// Acknowledged writes.
#[derive(Debug, Default)]
pub struct NoLostWrite {
    /// By job: what was acknowledged of it.
    jobs: BTreeMap<String, BTreeMap<Index, Change>>,
    /// The last acknowledged write of all.
    last: Index,
    /// What was done before the last restore may be undone, whether or not its state was taken.
    restored_at: Index,
}

impl NoLostWrite {
    /// The last acknowledged write: a read that begins now must see it.
    #[must_use]
    pub const fn last(&self) -> Index {
        self.last
    }

    /// `request` was answered "applied at `index`", where the committed log holds `command`.
    pub fn on_acknowledged(
        &mut self,
        request: &Request,
        index: Index,
        command: Option<&Command>,
    ) -> Verdict {
        if !command.is_some_and(|command| is_what_was_asked(request, command)) {
            let held =
                command.map_or_else(|| "nothing".to_owned(), |held| words_of_command(held, index));
            return Err(format!(
                "acknowledged at index {}: {}; the log holds there: {held}",
                index.0,
                words_of_request(request)
            ));
        }
        self.last = self.last.max(index);
        if let Request::RegisterJob { spec, .. } = request {
            self.note_job(&spec.id, index, Change::Registered { mark: mark_of(spec) });
        }
        if let Request::DeregisterJob { job, .. } = request {
            self.note_job(job, index, Change::Stopped);
        }
        Ok(())
    }

    /// A read that was asked for when `floor` had been acknowledged was told to read at `index`.
    pub fn on_read(&self, floor: Index, index: Index) -> Verdict {
        if floor <= index {
            return Ok(());
        }
        Err(format!("a read at {} misses the write acknowledged at {}", index.0, floor.0))
    }

    /// Any server's state shows what was acknowledged of the job before, or what came after it.
    pub fn check_job(&self, state: &State, name: &str) -> Verdict {
        let changes = self.jobs.get(name);
        let last = changes.and_then(|changes| changes.range(..=state.index()).next_back());
        let Some((&index, &change)) = last else { return Ok(()) };
        // Stopped by a request whose answer was lost it may be collected by now.
        let Some(job) = state.job_named(NAMESPACE, name) else { return Ok(()) };
        let is_shown = match change {
            Change::Registered { mark } => !job.stopped && mark == mark_of(&job.newest().spec),
            Change::Stopped => job.stopped,
        };
        // To ask for what is there already changes nothing.
        if is_shown || index < job.spec_index {
            return Ok(());
        }
        let (at, shown) = (index.0, job.spec_index.0);
        Err(format!("{name} was {change:?} at {at} and shows {shown} at {}", state.index().0))
    }

    /// The entry at `index` has put a saved state in force.
    pub fn on_restore(&mut self, index: Index) {
        self.restored_at = self.restored_at.max(index);
        for changes in self.jobs.values_mut() {
            *changes = changes.split_off(&index);
        }
    }

    fn note_job(&mut self, name: &str, index: Index, change: Change) {
        if index < self.restored_at {
            return;
        }
        self.jobs.entry(name.to_owned()).or_default().insert(index, change);
    }
}

fn is_what_was_asked(request: &Request, command: &Command) -> bool {
    if let Some(is_it) = steering::is_what_was_asked(request, command) {
        return is_it;
    }
    if let Some(is_it) = launching::is_what_was_asked(request, command) {
        return is_it;
    }
    match (request, command) {
        (Request::RegisterJob { spec, .. }, Command::RegisterJob { spec: entered, .. }) => {
            spec == entered
        }
        (Request::DeregisterJob { job, .. }, Command::DeregisterJob { job: entered, .. })
        | (Request::EvaluateJob { job, .. }, Command::EvaluateJob { job: entered, .. }) => {
            job == entered
        }
        (Request::StopAlloc { alloc }, Command::StopAlloc { alloc: entered }) => alloc == entered,
        (
            Request::SetNodeEligible { node, eligible },
            Command::SetNodeEligible { node: entered, eligible: how },
        ) => node == entered && eligible == how,
        (
            Request::SetNodeDrain { node, spec, mark_eligible, .. },
            Command::SetNodeDrain { node: entered, spec: how, mark_eligible: admit, .. },
        ) => (node, spec, mark_eligible) == (entered, how, admit),
        (Request::CollectGarbage, Command::CollectGarbage { .. }) => true,
        (
            Request::SetAutopilotConfig { config, .. },
            Command::SetAutopilotConfig { config: entered, .. },
        ) => config == entered,
        (
            Request::Rebalance { moves, gain_permille_min },
            Command::Rebalance { moves: entered, gain_permille_min: least },
        ) => (moves, gain_permille_min) == (entered, least),
        (
            Request::RestorePart { of, nth, bytes },
            Command::RestorePart { of: name, nth: place, bytes: entered },
        ) => (of, nth, bytes) == (name, place, entered),
        (Request::Restore { of, parts }, Command::Restore { of: name, parts: count }) => {
            (of, parts) == (name, count)
        }
        (Request::RegisterNode { spec }, Command::RegisterNode { spec: entered }) => {
            spec == entered
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use drover_core::types::AllocId;

    use super::*;
    use crate::workload::register_in;

    #[test]
    fn it_fires_when_the_log_holds_something_else_than_was_acknowledged() {
        let mut checker = NoLostWrite::default();
        let request = Request::StopAlloc { alloc: AllocId(1) };
        let same = Command::StopAlloc { alloc: AllocId(1) };
        let other = Command::StopAlloc { alloc: AllocId(2) };
        assert_eq!(checker.on_acknowledged(&request, Index(5), Some(&same)), Ok(()));
        assert!(checker.on_acknowledged(&request, Index(6), Some(&other)).is_err());
        assert!(checker.on_acknowledged(&request, Index(7), None).is_err());
    }

    #[test]
    fn it_fires_when_a_read_misses_an_acknowledged_write() {
        let mut checker = NoLostWrite::default();
        let command = Command::StopAlloc { alloc: AllocId(1) };
        let request = Request::StopAlloc { alloc: AllocId(1) };
        assert_eq!(checker.on_acknowledged(&request, Index(5), Some(&command)), Ok(()));
        assert_eq!(checker.on_read(checker.last(), Index(5)), Ok(()));
        assert!(checker.on_read(checker.last(), Index(4)).is_err());
    }

    #[test]
    fn what_was_done_before_a_restore_binds_nobody() {
        let mut checker = NoLostWrite::default();
        checker.note_job("a", Index(5), Change::Stopped);
        checker.note_job("b", Index(9), Change::Stopped);
        checker.on_restore(Index(7));
        checker.note_job("c", Index(6), Change::Stopped);
        let bound = checker.jobs.iter().filter(|(_, changes)| !changes.is_empty());
        let bound: Vec<&str> = bound.map(|(name, _)| name.as_str()).collect();
        assert_eq!(bound, ["b"], "an answer may come after the restore that undid it");
    }

    #[test]
    fn it_fires_when_a_state_lacks_what_was_acknowledged_before_it() {
        let mut checker = NoLostWrite::default();
        let mut state = State::new();
        register_in(&mut state, 4, 1);
        let named = |checker: &NoLostWrite, state: &State| checker.check_job(state, "job1");
        assert_eq!(named(&checker, &state), Ok(()));
        checker.note_job("job1", Index(3), Change::Registered { mark: 7 });
        assert_eq!(named(&checker, &state), Ok(()), "something came after it");
        checker.note_job("job1", Index(5), Change::Stopped);
        assert_eq!(named(&checker, &state), Ok(()), "the state is older");
        checker.note_job("job1", Index(4), Change::Registered { mark: 2 });
        assert!(named(&checker, &state).is_err(), "another was acknowledged there");
        checker.note_job("job1", Index(4), Change::Registered { mark: 1 });
        assert_eq!(named(&checker, &state), Ok(()));
        state.pass(Index(6));
        assert!(named(&checker, &state).is_err(), "it was stopped since");
    }
}
