//! The end of all faults, and whether everything has come to rest since.
//!
//! Invariants
//! - after `heal` nothing breaks any more: what does not come right then never will.
use drover_sim::checkers::{Violation, at_rest};
use drover_sim::network::HostId;
use drover_sim::plan::{Knobs, Who};
use drover_sim::standing::Standing;
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
                Ok(leader) => return self.check_no_loss(&leader),
                Err(violation) if bound < next => return Err(violation),
                Err(_) => (),
            }
        }
    }

    /// Every server by its name, and how it stands, if it is up.
    fn servers(&self) -> Vec<(String, Option<Standing>)> {
        let book = self.stage.book();
        let of = |host: HostId| {
            let machine = self.stage.machine(host);
            let standing = book.standings[host.0].clone();
            machine.host.is_server().then(|| (machine.host.name.clone(), standing))
        };
        self.stage.hosts().filter_map(of).collect()
    }

    fn check_settled(&self) -> Result<Standing, Violation> {
        let verdict = self.stage.book().verdict.take();
        let servers = self.servers();
        let servers = servers.iter().map(|(name, standing)| (&**name, standing.clone()));
        let leader = at_rest::check_servers(servers)?;
        at_rest::check_waiting(self.stage.book().requests.waiting())?;
        let why = || Violation { checker: "one_leader", message: "nobody looked on".into() };
        verdict.unwrap_or_else(|| Err(why()))?;
        Ok(leader)
    }

    /// Everything has come to rest: what readers of the leader see is what came of all that was asked.
    fn check_no_loss(&self, leader: &Standing) -> Result<(), Violation> {
        let host = self.find(Who::Leader);
        let shadow = host.and_then(|host| self.stage.machine(host).shadow.clone());
        let shadow = shadow.expect("invariant: whoever leads is up");
        self.stage.book().check_end(&shadow, leader.applied)
    }
}
