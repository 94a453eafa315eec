//! Servers that lose their disks, or find their logs damaged, and begin anew beside the others.
//!
//! The bytes are damaged while the agent is down; the log's own recovery notices at the next start, and
//! that start decides as production's does (`life.rs`). What is simulated of it is the files' way aside.
//!
//! Invariants
//! - nothing is lost that no other server has.
use drover_core::rng::Rng;
use drover_core::wire::PeerId;
use drover_sim::host::Kept;
use drover_sim::network::HostId;
use drover_sim::plan::{Damage, Who};

use crate::scenario::Scenario;
use crate::stage::bytes_of;

impl Scenario {
    /// A server that can be spared loses its disk.
    pub(crate) fn wipe(&mut self, who: Who, for_ms: u64) {
        let Some(host) = self.up(who).filter(|&host| self.can_spare(host)) else { return };
        self.stage.book().counters.disks_lost += 1;
        self.take_down(host, for_ms);
        let mut machine = self.stage.machine(host);
        machine.host.lose_log(&self.stage.plan, Kept::Nothing);
        machine.starts.clear();
        let seed = machine.host.seed;
        machine.reset_key = bytes_of(&mut Rng::from_seed(seed).fork("keys"));
    }

    /// The log of a server that can be spared changes while it is down.
    pub(crate) fn damage_log(&mut self, who: Who, damage: Damage, for_ms: u64) {
        let Some(host) = self.up(who).filter(|&host| self.can_spare(host)) else { return };
        self.take_down(host, for_ms);
        let mut machine = self.stage.machine(host);
        let mut rng = machine.host.rng.fork("rot").fork_number(machine.host.incarnation.0);
        let noticed = machine.host.disk.damage(damage, &mut rng);
        if noticed == Ok(true) {
            machine.damage = Some(damage);
        }
        drop(machine);
        match noticed {
            Ok(is_noticed) if is_noticed => self.stage.book().counters.on_damage(damage),
            Ok(_) => (),
            Err(message) => self.stage.fail("rot_is_noticed", message),
        }
    }

    fn can_spare(&self, host: HostId) -> bool {
        let PeerId::Server(lost) = self.stage.machine(host).host.peer else { return false };
        // Those who stay may be just enough.
        let leaves = |host: HostId| {
            let machine = self.stage.machine(host);
            machine.host.is_server() && machine.host.leaving_for_ms.is_some()
        };
        if self.stage.hosts().any(leaves) {
            return false;
        }
        let book = self.stage.book();
        let leader = book.leader().and_then(|leader| book.standings[leader.0].as_ref());
        leader.is_some_and(|leader| {
            leader.can_spare(lost, |voter| {
                let is_voter =
                    |host: &HostId| self.stage.machine(*host).host.peer == PeerId::Server(voter);
                let host = self.stage.hosts().find(is_voter)?;
                let durable = self.stage.machine(host).host.disk.log.last_index();
                Some((book.standings[host.0].clone()?, durable))
            })
        })
    }
}
