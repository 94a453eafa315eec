//! When enough servers have met to found a cluster, and which of them does.
//!
//! A server knows who else waits, and hears from each whom *it* has met. The lowest id founds the
//! cluster once all who were met have met the very same set. Were counting enough, two servers that
//! have not met could each found a cluster with the others' votes. So as long as nobody fails, two
//! servers with a common acquaintance never both found one, however messages are lost, delayed or
//! reordered: the acquaintance met one of them first and told the other, and what one server tells
//! the other of whom it met was said either before it founded (then it founded with the other) or
//! after (then it said so).
//!
//! Invariants
//! - the cluster is founded by this server at most once, and never if a known member has a cluster;
//! - the founding members are all alive, all expect the same number, and are at least that many;
//! - who expects no number waits to join: it founds nothing, is no founding member, and keeps nobody
//!   from founding.
use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Gossip, Message, Output, Stage, Status, status_of};
use crate::emit::Emit;
use crate::limits::SERVERS_MAX;
use crate::types::{ClusterId, ServerId};

impl Gossip {
    /// This server and those founders who are alive and have spoken to it, sorted.
    pub(super) fn met(&self) -> Vec<ServerId> {
        let others = self.swim.others().filter(|(outline, said)| {
            let has_spoken = self.meetings.contains_key(&outline.id);
            has_spoken && outline.state.is_active() && said.expect != 0
        });
        let mut met: Vec<_> = others.map(|(outline, _)| outline.id).collect();
        met.push(self.own.id);
        met.sort_unstable();
        met
    }

    /// While a cluster is waited for, whom we met is news that others wait for.
    pub(super) fn tell_whom_we_met(&mut self, out: &mut impl Emit<Output>) {
        if self.stage == Stage::Settled {
            return;
        }
        let met = self.met();
        if met == self.told_met {
            return;
        }
        self.told_met = met;
        self.speak_to_all(out);
    }

    pub(super) fn try_bootstrap(&mut self, out: &mut impl Emit<Output>) {
        if self.own.expect == 0 || self.stage != Stage::Waiting {
            return;
        }
        let voters = self.met();
        if !self.may_bootstrap(&voters) {
            return;
        }
        assert!(self.own.cluster == ClusterId::default(), "who has a cluster founds none");
        assert!(voters.len() <= SERVERS_MAX, "a configuration is bounded");
        self.stage = Stage::Settled;
        // Said at once: a lower id that meets us now must not found another.
        let word = Box::new(self.word());
        for &peer in &self.links {
            out.emit(Output::Send(peer, Message::Pull(word.clone())));
        }
        out.emit(Output::Bootstrap(voters));
    }

    fn may_bootstrap(&self, voters: &[ServerId]) -> bool {
        let expect = self.own.expect;
        let enough = usize::try_from(expect).is_ok_and(|expect| expect <= voters.len());
        let is_lowest = voters.first() == Some(&self.own.id);
        let nobody = ClusterId::default();
        let may_found_with = |(outline, said): (super::swim::Outline, &super::Said)| {
            let meeting = self.meetings.get(&outline.id);
            let has_none = said.cluster == nobody
                && meeting.is_none_or(|meeting| meeting.stage == Stage::Waiting);
            match status_of(outline.state, said) {
                // It joins whatever is founded, and must not keep the others from it.
                Status::Alive if said.expect == 0 => has_none,
                Status::Alive => {
                    let met = meeting.is_some_and(|meeting| meeting.met == voters);
                    has_none && met && said.expect == expect
                }
                // It may have founded a cluster and gone before anyone heard of it.
                Status::Failed | Status::Left | Status::Leaving => has_none,
            }
        };
        is_lowest && enough && voters.len() <= SERVERS_MAX && self.swim.others().all(may_found_with)
    }
}
