//! The leader's care for who votes: from gossip and progress to a change of Raft's configuration.
//!
//! Invariants
//! - nothing is changed before the office is open, nor while a change is under way.
use alloc::vec::Vec;

use super::Agent;
use crate::gossip::Status;
use crate::limits::ROSTER_REVIEW_MS;
use crate::raft::{Configuration, Payload};
use crate::roster::{self, Candidate, Life, Log, Roster};
use crate::types::ServerId;

impl Agent {
    pub(super) fn review_roster(&mut self) {
        let now = self.now;
        let Some(server) = &mut self.server else { return };
        let Some(leader) = server.leader.as_mut().filter(|leader| leader.is_open()) else { return };
        if now < leader.roster_at || server.raft.configuration().is_joint() {
            return;
        }
        leader.roster_at = now.plus_ms(ROSTER_REVIEW_MS);
        let committed = server.raft.commit_index();
        let peers = server.raft.peers();
        let holds_log =
            |id: ServerId| peers.iter().any(|peer| peer.id == id && committed <= peer.match_index);
        let candidates = server.gossip.members().map(|member| Candidate {
            id: member.id,
            life: if member.status == Status::Alive { Life::Alive } else { Life::Failed },
            log: if holds_log(member.id) { Log::Whole } else { Log::Behind },
        });
        let candidates: Vec<Candidate> = candidates.collect();
        let Configuration { voters, learners, outgoing: _ } = server.raft.configuration().clone();
        let founded = server.gossip.members().map(|member| member.expect).max();
        let founded = founded.and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
        let next = roster::next(&Roster { voters, learners }, &candidates, founded);
        if let Some(Roster { voters, learners }) = next {
            let payload = Payload::Configuration(Configuration::new(&voters, &learners));
            // Refused while the last change is not committed: the next review tries again.
            let _taken = server.raft.on_propose(now, payload, &mut self.pending);
        }
    }
}
