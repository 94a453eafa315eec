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
        let who = whose(act);
        let leader = if who.contains(&Who::Leader) { AtLeader::Yes } else { AtLeader::No };
        let hosts: Vec<HostId> = who.into_iter().filter_map(|who| self.find(who)).collect();
        let mut agents = hosts.iter().map(|host| &self.hosts[host.0].agent);
        let up = agents.all(Option::is_some) || matches!(act, Act::Split { .. } | Act::Join { .. });
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

/// Who is meant by the act.
fn whose(act: &Act) -> Vec<Who> {
    match act {
        Act::Crash { who, .. }
        | Act::Power { who, .. }
        | Act::Pause { who, .. }
        | Act::Isolate { who, .. }
        | Act::SlowLinks { who, .. }
        | Act::LoseMessages { who, .. }
        | Act::SlowCpu { who, .. }
        | Act::SlowDisk { who, .. }
        | Act::FillDisk { who, .. }
        | Act::BreakDisk { who }
        | Act::JumpClock { who, .. }
        | Act::Wipe { who, .. }
        | Act::Rot { who, .. }
        | Act::Join { who } => vec![*who],
        Act::Split { side, .. } => side.clone(),
        Act::Cut { from, to, .. } => vec![*from, *to],
        Act::SetEligible { client, .. } | Act::Refit { client, .. } => vec![Who::Client(*client)],
        Act::Register(_)
        | Act::StopJob { .. }
        | Act::Evaluate { .. }
        | Act::Steer { .. }
        | Act::StopAlloc { .. }
        | Act::Collect
        | Act::Read { .. }
        | Act::HandOver { .. }
        | Act::RemoveServer { .. }
        | Act::RestartAlloc { .. }
        | Act::Save
        | Act::Restore => Vec::new(),
    }
}
