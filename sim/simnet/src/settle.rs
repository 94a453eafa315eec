//! The end of all faults, and whether everything has come to rest since.
//!
//! Invariants
//! - after `heal` nothing breaks any more: what does not come right then never will.
use std::collections::BTreeSet;

use drover_core::types::ServerId;
use drover_core::wire::PeerId;
use drover_sim::checkers::Violation;
use drover_sim::plan::Knobs;
use drover_sim::world::SETTLE_MS_MAX;

use crate::network::Weather;
use crate::scenario::Scenario;

/// How often it is looked whether everything is right.
const LOOK_MS: u64 = 500;

impl Scenario {
    pub(crate) fn heal(&mut self) {
        self.stage.heal();
        let now = self.now();
        if let Some(ladder) = &mut self.stage.book().ladder {
            ladder.on_heal(now);
        }
        self.end_all_faults();
        self.ground.set_weather(Weather::of(&Knobs::default()));
        for host in self.stage.hosts() {
            self.stage.machine(host).host.disk.is_broken = false;
        }
    }

    /// Runs until everything is right.
    pub(crate) fn settle(&mut self) -> Result<(), Violation> {
        let bound = self.now().plus_ms(SETTLE_MS_MAX);
        loop {
            let next = self.now().plus_ms(LOOK_MS);
            self.stage.book().wants_verdict = true;
            self.run_until(next)?;
            match self.check_settled() {
                Ok(()) => return Ok(()),
                Err(violation) if bound < next => return Err(violation),
                Err(_) => (),
            }
        }
    }

    fn check_settled(&self) -> Result<(), Violation> {
        let fail = |checker, message| Err(Violation { checker, message });
        let mut book = self.stage.book();
        let verdict = book.verdict.take();
        let is_server = |host: &_| matches!(self.stage.machine(*host).host.peer, PeerId::Server(_));
        let (mut leaders, mut states, mut servers) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for host in self.stage.hosts().filter(is_server) {
            let Some(standing) = &book.standings[host.0] else {
                let name = self.stage.machine(host).host.name.clone();
                return fail("one_leader", format!("{name} is down"));
            };
            leaders.insert(standing.leader);
            states.insert(standing.applied);
            servers.insert(standing.server);
        }
        let leader = book.leader().and_then(|host| book.standings[host.0].as_ref());
        let leader = leader.filter(|leader| leader.is_open && leaders.len() == 1);
        let Some(leader) = leader.filter(|leader| leaders.contains(&Some(leader.server))) else {
            return fail("one_leader", format!("servers follow {leaders:?}"));
        };
        if states.len() != 1 {
            return fail("states_equal", format!("servers have states {states:?}"));
        }
        let voters: BTreeSet<ServerId> = leader.voters.iter().copied().collect();
        if leader.is_joint || servers != voters {
            return fail("everyone_votes", format!("{servers:?} are there, {voters:?} vote"));
        }
        if !self.asked.is_empty() {
            return fail("answered_once", format!("{} requests are unanswered", self.asked.len()));
        }
        verdict.unwrap_or_else(|| fail("one_leader", "nobody looked at its tables".into()))
    }
}
