//! ∀ request r answered `Applied { index }`: the entry committed at index is r, and what r made is in
//! every later state unless a later request unmade it, or a restore; ∀ read asked after r was answered: its point
//! ≥ index — linearizability of acknowledged writes (Herlihy, Wing 1990).
//!
//! Invariants
//! - an answer that says neither yes nor no (`Unknown`) binds nobody.
use std::collections::BTreeMap;

use drover_core::api::Request;
use drover_core::fsm::Command;
use drover_core::state::State;
use drover_core::types::Index;

use super::Verdict;

/// What was done to a job.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Change {
    Registered,
    Stopped,
}

/// Acknowledged writes.
#[derive(Debug, Default)]
pub struct NoLostWrite {
    /// By job: the last acknowledged change of it.
    jobs: BTreeMap<String, (Index, Change)>,
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
            return Err(format!(
                "{request:?} is acknowledged at index {}, where the log holds {command:?}",
                index.0
            ));
        }
        self.last = self.last.max(index);
        if let Request::RegisterJob { spec, .. } = request {
            self.note_job(&spec.id, index, Change::Registered);
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

    /// The state at the end holds what was acknowledged last of each job, or what came after it.
    pub fn check(&self, state: &State) -> Verdict {
        for (name, &(index, change)) in &self.jobs {
            // Stopped by a request whose answer was lost it may be collected by now, while an older one of
            // that name, purged long ago, still waits for its last alloc.
            let mut known = state.jobs().filter(|job| !job.purged);
            let Some(job) = known.find(|job| job.newest().spec.id == *name) else { continue };
            // To stop what is stopped changes nothing.
            let is_kept = index <= job.spec_index || (change == Change::Stopped && job.stopped);
            if !is_kept {
                let (at, shown) = (index.0, job.spec_index.0);
                return Err(format!("{name} was {change:?} at {at} and shows {shown}"));
            }
        }
        Ok(())
    }

    /// The entry at `index` has put a saved state in force.
    pub fn on_restore(&mut self, index: Index) {
        self.restored_at = self.restored_at.max(index);
        self.jobs.retain(|_, &mut (changed_at, _)| index < changed_at);
    }

    fn note_job(&mut self, name: &str, index: Index, change: Change) {
        if index < self.restored_at {
            return;
        }
        let known = self.jobs.entry(name.to_owned()).or_insert((index, change));
        *known = (index, change).max(*known);
    }
}

fn is_what_was_asked(request: &Request, command: &Command) -> bool {
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
        (Request::CollectGarbage, Command::CollectGarbage { .. }) => true,
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
    use super::*;
    use drover_core::types::AllocId;

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
        checker.note_job("a", Index(5), Change::Registered);
        checker.note_job("b", Index(9), Change::Registered);
        checker.on_restore(Index(7));
        checker.note_job("c", Index(6), Change::Registered);
        let bound: Vec<&str> = checker.jobs.keys().map(String::as_str).collect();
        assert_eq!(bound, ["b"], "an answer may come after the restore that undid it");
    }

    #[test]
    fn it_fires_when_the_state_forgot_a_job_change() {
        let mut checker = NoLostWrite::default();
        assert_eq!(checker.check(&State::new()), Ok(()));
        let job = "web".to_owned();
        checker.note_job(&job, Index(5), Change::Registered);
        let mut state = State::new();
        let spec = crate::workload::spec_of(&crate::plan::JobAsk {
            job,
            batch: false,
            count: 1,
            tasks: 1,
            cpu_mhz: 1,
            memory_mib: 1,
            ports: 0,
            fixed_port: 0,
            spread: crate::plan::Spread::Anywhere,
            mark: 1,
        });
        let command = Command::RegisterJob { spec, check_index: None };
        let stamp = drover_core::time::WallTime::default();
        let entry = drover_core::fsm::Entry { stamp, session: None, command };
        drover_core::fsm::apply(&mut state, Index(4), &entry, &mut Vec::new());
        assert!(checker.check(&state).is_err());
    }
}
