//! The end of all faults, and whether everything has come to rest since.
//!
//! Invariants
//! - after `heal` nothing breaks any more: what does not come right then never will.
use drover_core::wire::PeerId;

use super::World;
use super::acts::End;
use crate::checkers::{Violation, at_rest, desired_is_running, named, regions_meet};
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

    /// Each region has all its servers, and each of these knows all of the other's.
    fn check_regions(&self) -> Result<(), Violation> {
        if self.plan.foreigners == 0 {
            return Ok(());
        }
        at_rest::check_servers(self.foreigners().map(|host| (&*host.name, host.standing())))?;
        let ours = || self.hosts.iter().filter(|host| host.is_server());
        let here = ours().map(regions_meet::Side::of);
        let there = self.foreigners().map(regions_meet::Side::of);
        let (here, there): (Vec<_>, Vec<_>) = (here.collect(), there.collect());
        named("regions_meet", regions_meet::check(&here, &there))?;
        named("regions_meet", regions_meet::check(&there, &here))
    }

    fn check_settled(&self) -> Result<(), Violation> {
        let servers = self.hosts.iter().filter(|host| host.is_server());
        let leader = at_rest::check_servers(servers.map(|host| (&*host.name, host.standing())))?;
        self.check_regions()?;
        let leaving = self.hosts.iter().filter(|host| host.leaving_for_ms.is_some());
        at_rest::check_leaving(leaving.map(|host| &*host.name))?;
        at_rest::check_waiting(self.requests.waiting())?;
        let leader = self.host_of(PeerId::Server(leader.server));
        let agent = leader.and_then(|leader| self.hosts[leader.0].agent.as_ref());
        let Some(tables) = agent.and_then(|agent| agent.state()) else { return Ok(()) };
        let clients = self.hosts.iter().filter_map(|host| match host.peer {
            PeerId::Client(node) => Some((&*host.name, node)),
            PeerId::Server(_) | PeerId::Foreign(_) => None,
        });
        at_rest::check_tables(tables, clients, &self.checkers)?;
        let here = |node, alloc| {
            let host = self.host_of(PeerId::Client(node))?;
            self.hosts[host.0].agent.as_ref()?.version_here(alloc)
        };
        named("desired_is_running", desired_is_running::check_versions(tables, here))?;
        let live = self.checkers.alloc_runs_once.live().map(|key| (key.alloc, key.task)).collect();
        let advertised = self.checkers.advertised_is_running.check(tables, &live);
        named("advertised_is_running", advertised)
    }
}
