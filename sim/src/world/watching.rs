//! What the ladder is told beside steps: lines of the plan, hosts that go and come.
//!
//! Invariants
//! - without a ladder nothing is looked up and nothing is formatted.
use drover_core::types::TaskKey;

use super::World;
use crate::ladder::{Aim, AtLeader};
use crate::network::HostId;
use crate::plan::{Act, Who};

impl World {
    /// A line of the plan is about to happen.
    pub(super) fn watch_act(&mut self, act: &Act) {
        if self.ladder.is_none() {
            return;
        }
        let who = act.whom();
        let leader = if who.contains(&Who::Leader) { AtLeader::Yes } else { AtLeader::No };
        let hosts: Vec<HostId> = who.into_iter().filter_map(|who| self.find(who)).collect();
        let mut agents = hosts.iter().map(|host| &self.hosts[host.0].agent);
        let up = agents.all(Option::is_some) || act.reaches_the_dead();
        let (now, aim) = (self.queue.now(), Aim { hosts, leader, up });
        if let Some(ladder) = &mut self.ladder {
            ladder.on_act(now, act, &aim);
        }
    }

    /// A host's agent is about to be gone.
    pub(super) fn watch_down(&mut self, host: HostId) {
        if let Some(ladder) = &mut self.ladder {
            ladder.on_down(self.queue.now(), &self.hosts[host.0]);
        }
    }

    /// A process of `key` lives, or has ended.
    pub(super) fn watch_task(&mut self, host: HostId, key: TaskKey, lives: bool) {
        if let Some(ladder) = &mut self.ladder {
            ladder.on_task(self.queue.now(), host, key, lives);
        }
    }

    /// A host's agent is there again.
    pub(super) fn watch_up(&mut self, host: HostId) {
        if let Some(ladder) = &mut self.ladder {
            ladder.on_up(self.queue.now(), host);
        }
    }
}
