//! The end of all faults, and whether everything has come to rest since.
//!
//! Invariants
//! - after `heal` nothing breaks any more: what does not come right then never will.
use std::collections::BTreeSet;

use drover_core::digest::Digest;
use drover_core::state::State;
use drover_core::types::{Index, NodeStatus, ServerId};
use drover_core::wire::PeerId;

use super::World;
use super::acts::End;
use crate::checkers::{
    Verdict, Violation, deployments_end, desired_is_running, eval_is_settled, named,
};
use crate::clock::Moment;
use crate::network::{HostId, Weather};

/// How long it may take from the end of all faults until everything is right: a dead node's
/// time-to-live and grace, some delays of rescheduling, tasks that ignore their stop, and updates of six
/// allocs that come just in time one after the other.
pub const SETTLE_MS_MAX: u64 = 300_000;
/// How often it is looked whether everything is right.
const LOOK_MS: u64 = 500;

impl World {
    /// All faults end, and nothing breaks any more.
    ///
    /// # Errors
    /// A host cannot start.
    pub fn heal(&mut self) -> Result<(), Violation> {
        if let Some(ladder) = &mut self.ladder {
            ladder.on_heal(self.queue.now());
        }
        self.has_healed = true;
        let calm = crate::plan::Knobs::default();
        self.network.weather = Weather {
            delay_us_min: calm.delay_us_min,
            delay_us_max: calm.delay_us_max,
            loss_permille: 0,
            duplicate_permille: 0,
            reorder_permille: 0,
            bytes_per_ms: 0,
        };
        self.network.mend_all(&mut self.queue);
        for host in (0..self.hosts.len()).map(HostId) {
            self.end(End::FastDisk(host));
            self.end(End::FastCpu(host));
            self.end(End::RoomOnDisk(host));
            let healed = &mut self.hosts[host.0];
            healed.disk.is_broken = false;
            if healed.agent.is_none() {
                let after = healed.incarnation;
                self.start(host, after)?;
            }
        }
        Ok(())
    }

    /// Runs until everything is right.
    ///
    /// # Errors
    /// What is still not right when the time is up, or a property that broke meanwhile.
    pub fn settle(&mut self) -> Result<Moment, Violation> {
        let bound = self.queue.now().plus_ms(SETTLE_MS_MAX);
        loop {
            let next = self.queue.now().plus_ms(LOOK_MS);
            self.run_until(next)?;
            match self.check_settled() {
                Ok(()) => break,
                Err(violation) if bound < next => return Err(violation),
                Err(_) => (),
            }
        }
        self.check_no_loss()?;
        Ok(self.queue.now())
    }

    fn check_settled(&self) -> Result<(), Violation> {
        let fail = |checker, message| Err(Violation { checker, message });
        let mut leaders: BTreeSet<Option<ServerId>> = BTreeSet::new();
        let mut states: BTreeSet<(Index, Digest)> = BTreeSet::new();
        for host in self.hosts.iter().filter(|host| host.is_server()) {
            let agent = host.agent.as_ref();
            let Some((raft, state)) = agent.and_then(|agent| agent.raft().zip(agent.state()))
            else {
                return fail("one_leader", format!("{} is down", host.name));
            };
            leaders.insert(raft.leader());
            states.insert((state.index(), state.digest()));
        }
        let is_open =
            |host: HostId| self.hosts[host.0].agent.as_ref().is_some_and(|agent| agent.is_open());
        let leader = self.leader().filter(|&leader| is_open(leader));
        let Some(leader) = leader.filter(|_| leaders.len() == 1 && !leaders.contains(&None)) else {
            return fail("one_leader", format!("servers follow {leaders:?}"));
        };
        if states.len() != 1 {
            return fail("states_equal", format!("servers have states {states:?}"));
        }
        let agent = self.hosts[leader.0].agent.as_ref();
        if let Some(raft) = agent.and_then(|agent| agent.raft()) {
            let servers = self.hosts.iter().map(|host| host.peer);
            let servers = servers.filter(|peer| matches!(peer, PeerId::Server(_)));
            let voters = raft.configuration().voters.iter().copied().map(PeerId::Server);
            let (servers, voters) = (servers.collect::<BTreeSet<_>>(), voters.collect());
            if raft.configuration().is_joint() || servers != voters {
                return fail("everyone_votes", format!("{servers:?} are there, {voters:?} vote"));
            }
        }
        if self.waiting() != 0 {
            return fail("answered_once", format!("{} requests are unanswered", self.waiting()));
        }
        let agent = self.hosts[leader.0].agent.as_ref();
        let Some(state) = agent.and_then(|agent| agent.state()) else { return Ok(()) };
        named("everyone_is_ready", self.check_nodes(state))?;
        named("eval_is_settled", eval_is_settled::check(state))?;
        named("deployments_end", deployments_end::check(state))?;
        let live = self.checkers.alloc_runs_once.live().map(|key| key.alloc).collect();
        named("desired_is_running", desired_is_running::check(state, &live))
    }

    /// Every client is there by now, and its node must be ready.
    fn check_nodes(&self, state: &State) -> Verdict {
        for host in &self.hosts {
            let PeerId::Client(id) = host.peer else { continue };
            let status = state.node(id).map(|node| node.status);
            if status != Some(NodeStatus::Ready) {
                return Err(format!("{} is there, and its node's status is {status:?}", host.name));
            }
        }
        Ok(())
    }
}
