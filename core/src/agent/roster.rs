//! The leader's care for who votes: from gossip and progress to a change of Raft's configuration.
//!
//! Invariants
//! - nothing is changed before the office is open, nor while a change is under way.
use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Agent, Server};
use crate::gossip::Status;
use crate::limits::{ROSTER_NEWCOMER_MS, ROSTER_REVIEW_MS, ROSTER_STRANGER_MS};
use crate::raft::{Configuration, Payload, PeerView};
use crate::roster::{self, Candidate, Life, Roster, Rules, Trial};
use crate::time::MonoTime;
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
        let knows_all = leader.since.plus_ms(ROSTER_STRANGER_MS) <= now;
        let may_take_in = leader.since.plus_ms(ROSTER_NEWCOMER_MS) <= now;
        server.look_at_health(now);
        let wanted = server.state.autopilot().config;
        let committed = server.raft.commit_index();
        let peers = server.raft.peers();
        let holds_log =
            |id: ServerId| peers.iter().any(|peer| peer.id == id && committed <= peer.match_index);
        let leader = server.leader.as_ref().expect("invariant: it leads");
        let is_stable = |id: ServerId| {
            let since = leader.healthy.get(&id);
            since.is_some_and(|since| since.plus_ms(wanted.stabilization_ms) <= now)
        };
        let candidates = server.gossip.members().map(|member| Candidate {
            id: member.id,
            life: server.life_of(now, member.id).unwrap_or(Life::Failed),
            trial: if holds_log(member.id) && is_stable(member.id) {
                Trial::Passed
            } else {
                Trial::Open
            },
        });
        // Of whom it has only heard, it may have heard late.
        let configuration = server.raft.configuration();
        let is_here = |one: &Candidate| {
            let is_new = !configuration.is_member(one.id);
            !is_new || may_take_in && server.gossip.is_linked(one.id)
        };
        let mut candidates: Vec<Candidate> = candidates.filter(is_here).collect();
        let Roster { voters, learners } = server.roster();
        // Servers forget in a restart whom gossip called failed; the configuration does not.
        if knows_all {
            let strangers = voters.iter().chain(&learners).filter(|&&id| !server.gossip.knows(id));
            let failed = |&id| Candidate { id, life: Life::Failed, trial: Trial::Open };
            candidates.extend(strangers.map(failed));
        }
        let founded = server.gossip.members().map(|member| member.expect).max();
        let founded = founded.and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
        let least = usize::try_from(wanted.min_quorum).unwrap_or(usize::MAX).max(founded);
        let rules = Rules { voters_min: least, cleans_up: wanted.cleanup_dead_servers };
        let has_left =
            |id: ServerId| candidates.iter().any(|one| one.id == id && one.life == Life::Left);
        let left = voters.iter().copied().find(|&id| id != server.id && has_left(id));
        let next = left.and_then(|left| server.after_departure(now, left, MonoTime::default()));
        let next = next.or_else(|| roster::next(&Roster { voters, learners }, &candidates, rules));
        if let Some(Roster { voters, learners }) = next {
            let payload = Payload::Configuration(Box::new(Configuration::new(&voters, &learners)));
            // Refused while the last change is not committed: the next review tries again.
            let _taken = server.raft.on_propose(now, payload, &mut self.pending);
        }
    }
}

impl Server {
    /// Notes who is healthy: it lives, has answered lately, and is not far behind.
    fn look_at_health(&mut self, now: MonoTime) {
        let wanted = self.state.autopilot().config;
        let (peers, last) = (self.raft.peers(), self.raft.last_index());
        let is_near = |peer: &PeerView| {
            let is_fresh = |at: MonoTime| now <= at.plus_ms(wanted.last_contact_ms_max);
            let is_level = last.0 <= peer.match_index.0.saturating_add(wanted.trailing_logs_max);
            is_level && peer.heard_at.is_some_and(is_fresh)
        };
        let is_healthy = |peer: &&PeerView| {
            self.life_of(now, peer.id) == Some(Life::Alive) && (peer.id == self.id || is_near(peer))
        };
        let healthy: Vec<ServerId> = peers.iter().filter(is_healthy).map(|peer| peer.id).collect();
        let Some(leader) = &mut self.leader else { return };
        leader.healthy.retain(|id, _| healthy.contains(id));
        for id in healthy {
            leader.healthy.entry(id).or_insert(now);
        }
    }
}

/// What gossip says of a server, to whoever decides who votes.
pub(super) const fn life_of(status: Status) -> Life {
    match status {
        Status::Alive => Life::Alive,
        Status::Leaving => Life::Leaving,
        Status::Failed => Life::Failed,
        Status::Left => Life::Left,
    }
}
