//! What a server says must run here.
//!
//! Invariants
//! - an assignment with a sequence number already heard changes nothing;
//! - an alloc whose id was made by an entry that was already heard is known, or was forgotten: it is
//!   not started again;
//! - of a tombstone for an alloc that is not known the servers hear that nothing of it runs;
//! - only a tombstone stops an alloc; but servers that were made anew from an old state have forgotten
//!   what they told this node since: their first full set is all there is to run.
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::alloc_run::AllocRun;
use super::report::Urgency;
use super::{Client, ClientRecord, Moment, NodeMessage, Output};
use crate::emit::Emit;
use crate::limits::{CLIENT_ALLOCS_MAX, RECOVERY_LEAP};
use crate::types::{
    AllocId, AllocSpec, AssignedAlloc, Assignment, Index, ORDINAL_BITS, ServerId, WriteSeq,
};

impl Client {
    pub(super) fn on_assignment(
        &mut self,
        at: Moment,
        from: ServerId,
        assignment: Assignment,
        out: &mut impl Emit<Output>,
    ) {
        // `wire` refuses what is malformed; whoever lets it through must not stop the node.
        if !assignment.is_well_formed() {
            return;
        }
        if assignment.after.is_some_and(|after| self.heard.latest < after) {
            out.emit(Output::Send { to: from, message: NodeMessage::AskFullSet });
            return;
        }
        if assignment.after.is_some() && self.is_leap(assignment.seq) {
            out.emit(Output::Send { to: from, message: NodeMessage::AskFullSet });
            return;
        }
        self.heard.acknowledge.insert(from);
        if self.heard.latest < assignment.seq {
            self.take_assignment(at, assignment, out);
        } else if assignment.seq < self.heard.latest {
            // It says nothing about now: whether a lost task was replaced is not known from it.
            return;
        }
        if !self.ground.has_heard_servers {
            self.ground.has_heard_servers = true;
            self.look_at_ready(at, out);
        }
    }

    /// A lost task waits for a word that is not old. Servers that had to begin again tell what they knew
    /// before the node did, and nothing more when they have caught up with it: so they are asked.
    pub(super) fn ask_what_runs(&self, server: ServerId, out: &mut impl Emit<Output>) {
        if !self.ground.has_heard_servers && self.allocs.values().any(AllocRun::has_ready) {
            out.emit(Output::Send { to: server, message: NodeMessage::AskFullSet });
        }
    }

    fn take_assignment(&mut self, at: Moment, assignment: Assignment, out: &mut impl Emit<Output>) {
        let Assignment { seq, after: _, specs, runs, mut tombstones } = assignment;
        let mut heard_until = self.heard.latest;
        if self.is_leap(seq) {
            // An alloc that ended here and was forgotten may run in that old state: it runs again.
            heard_until = Index::default();
            self.tell_all_again(at);
        }
        if self.is_leap(seq) || planted!(PartTakenForWhole) {
            let is_absent = |id: &&AllocId| runs.iter().all(|run| run.id != **id);
            tombstones.extend(self.allocs.keys().filter(is_absent));
        }
        let is_news = |run: &AssignedAlloc| self.is_news(run, &specs, heard_until);
        let runs: Vec<_> = runs.into_iter().filter(is_news).collect();
        for id in &tombstones {
            // The servers wait to hear what they were told once, or by a client that has forgotten it.
            if self.allocs.get(id).is_some_and(AllocRun::has_ended) {
                self.reports.on_changed(at.now, *id, Urgency::Batched);
            }
        }
        let is_here = |alloc| runs.iter().any(|run| run.id == alloc);
        tombstones.retain(|&alloc| !self.is_stopping(alloc) || is_here(alloc));
        let record = ClientRecord::Assigned {
            seq,
            specs: specs.clone(),
            runs: runs.clone(),
            tombstones: tombstones.clone(),
        };
        let written = self.journal.write(record, out);
        self.heard.latest = seq;
        self.heard.written = written;
        for run in runs {
            let spec = usize::try_from(run.spec).expect("invariant: a well-formed assignment");
            self.take_run(at, run, Arc::clone(&specs[spec]), written);
        }
        for alloc in tombstones {
            if planted!(TombstoneIgnored) {
                break;
            }
            match self.allocs.get_mut(&alloc) {
                Some(run) => run.on_tombstoned(written),
                None => self.note_stranger(at, alloc),
            }
        }
        let touched: Vec<_> = self
            .allocs
            .iter()
            .filter(|(_, run)| run.written() == written)
            .map(|(&id, _)| id)
            .collect();
        for alloc in touched {
            self.look_at(at, alloc, out);
        }
    }

    /// It must not run, and nothing is known of it here.
    pub(super) fn note_stranger(&mut self, at: Moment, id: AllocId) {
        self.strangers.insert(id);
        self.reports.on_changed(at.now, id, Urgency::Batched);
    }

    /// Whether servers that say `seq` were made anew since this node last heard of any.
    const fn is_leap(&self, seq: Index) -> bool {
        self.heard.latest.0 + RECOVERY_LEAP / 2 <= seq.0
    }

    /// The servers may have forgotten what was reported to them.
    fn tell_all_again(&mut self, at: Moment) {
        self.ended.clear();
        for &id in self.allocs.keys() {
            self.reports.on_changed(at.now, id, Urgency::Batched);
        }
    }

    fn take_run(
        &mut self,
        at: Moment,
        run: AssignedAlloc,
        spec: Arc<AllocSpec>,
        written: WriteSeq,
    ) {
        let id = run.id;
        if let Some(known) = self.allocs.get_mut(&id) {
            known.on_updated(at, (run, spec), written);
            return;
        }
        let live = self.allocs.len() - self.ended.len();
        self.strangers.remove(&id);
        let mut alloc = AllocRun::new(at, run, spec, written);
        if CLIENT_ALLOCS_MAX <= live {
            alloc.refuse(at);
        }
        self.allocs.insert(id, alloc);
        self.reports.on_changed(at.now, id, Urgency::Batched);
    }

    /// Whether an assigned alloc is new, or is known and changed in a way that needs no new process.
    fn is_news(&self, run: &AssignedAlloc, specs: &[Arc<AllocSpec>], heard_until: Index) -> bool {
        let spec = usize::try_from(run.spec).ok().and_then(|spec| specs.get(spec));
        let spec = spec.expect("invariant: a well-formed assignment");
        match self.allocs.get(&run.id) {
            Some(known) => {
                let is_same = known.spec == *spec && known.run.is_canary == run.is_canary;
                !is_same && known.has_tasks_of(spec)
            }
            None => heard_until < made_by(run.id),
        }
    }

    fn is_stopping(&self, alloc: AllocId) -> bool {
        self.allocs.get(&alloc).is_some_and(|known| known.is_tombstoned)
    }
}

/// The entry of the log that made the alloc.
const fn made_by(alloc: AllocId) -> Index {
    Index(alloc.0 >> ORDINAL_BITS)
}
