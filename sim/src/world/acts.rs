//! The plan's faults: who dies, who is cut off, and when that ends.
//!
//! Invariants
//! - every fault that lasts has an end, and `heal` ends them all.
use drover_core::agent::{Event, TaskAsk};
use drover_core::types::Incarnation;
use drover_core::wire::PeerId;

use super::{Happening, World};
use crate::checkers::{Violation, named};
use crate::drivers::Turn;
use crate::host::Kept;
use crate::marks::Mark;
use crate::network::{Harm, HostId, links_between, links_of};
use crate::plan::{Act, Damage, Line, Way, Who};
use crate::strikes::{STRIKE_MS_MAX, When};

/// What ends when a fault ends.
#[derive(Debug)]
pub enum End {
    /// Messages arrive as before.
    Mend(Vec<(HostId, HostId)>, Harm),
    FastCpu(HostId),
    FastDisk(HostId),
    RoomOnDisk(HostId),
}

/// A host that stands still for longer has lost its links when it goes on.
const PAUSE_LINKS_MS: u64 = 500;
impl World {
    /// The line of the plan at this position.
    pub(super) fn act(&mut self, at: usize) -> Result<(), Violation> {
        let Some(Line { act, .. }) = self.plan.lines.get(at).cloned() else { return Ok(()) };
        if self.puts_off(at, &act) {
            return Ok(());
        }
        self.watch_act(&act);
        match act {
            Act::Crash { who, for_ms } => {
                if let Some(host) = self.up(who) {
                    self.counters.crashes += 1;
                    return self.take_down(host, for_ms);
                }
            }
            Act::Leave { who, for_ms } => self.tell_to_leave(who, for_ms),
            Act::Move { who, for_ms } => {
                if let Some(host) = self.up(who) {
                    self.take_down(host, for_ms)?;
                    self.relocate(host);
                }
            }
            Act::Power { who, for_ms } => {
                if let Some(host) = self.up(who) {
                    self.counters.power_failures += 1;
                    let is_writing = self.hosts[host.0].disk.is_writing();
                    self.marks.reach_if(is_writing, Mark::PowerLostInWrite);
                    self.lose_power(host);
                    return self.take_down(host, for_ms);
                }
            }
            Act::Pause { who, for_ms } => self.pause(who, for_ms),
            Act::Isolate { who, way, for_ms } => {
                self.harm(self.links_of(who, way), Harm::Cut, for_ms);
            }
            Act::Split { side, for_ms } => self.split(&side, for_ms),
            Act::Cut { from, to, for_ms } => {
                if let Some(pair) = self.find(from).zip(self.find(to)) {
                    self.harm(vec![pair], Harm::Cut, for_ms);
                }
            }
            Act::SlowLinks { who, by_ms, for_ms } => {
                self.harm(self.links_of(who, Way::Both), Harm::SlowMs(by_ms), for_ms);
            }
            Act::LoseMessages { who, permille, for_ms } => {
                self.harm(self.links_of(who, Way::Both), Harm::LosePermille(permille), for_ms);
            }
            Act::SlowCpu { who, times, for_ms } => {
                if let Some(host) = self.find(who) {
                    self.hosts[host.0].cpu_slowness = times.max(1);
                    let end = Happening::End(End::FastCpu(host));
                    self.queue.push(self.queue.now().plus_ms(for_ms), end);
                }
            }
            Act::SlowDisk { who, for_ms } => self.change_disk(who, for_ms, End::FastDisk),
            Act::FillDisk { who, for_ms } => self.change_disk(who, for_ms, End::RoomOnDisk),
            Act::BreakDisk { who } => {
                if let Some(host) = self.up(who) {
                    self.hosts[host.0].disk.is_broken = true;
                }
            }
            Act::JumpClock { who, by_ms } => {
                if let Some(host) = self.find(who) {
                    self.counters.clock_jumps += 1;
                    self.hosts[host.0].clock.jump_wall(by_ms);
                }
            }
            Act::RestartAlloc { nth } => return self.restart_alloc(nth),
            Act::Refit { client, mark } => return self.refit(client, mark),
            Act::Wipe { who, for_ms } => {
                if let Some(host) = self.up(who).filter(|&host| self.can_spare(host)) {
                    self.counters.disks_lost += 1;
                    self.take_down(host, for_ms)?;
                    self.begin_anew(host, Kept::Nothing);
                }
            }
            Act::Rot { who, damage, for_ms } => return self.damage_log(who, damage, for_ms),
            Act::Join { who } => {
                if let Some(host) = self.find(who) {
                    return self.start(host, Incarnation(0));
                }
            }
            Act::Save => self.save(),
            Act::Restore => return self.restore(),
            Act::Register(_)
            | Act::StopJob { .. }
            | Act::Evaluate { .. }
            | Act::Steer { .. }
            | Act::Launch { .. }
            | Act::StopAlloc { .. }
            | Act::SetEligible { .. }
            | Act::Drain { .. }
            | Act::Undrain { .. }
            | Act::Rebalance { .. }
            | Act::Collect
            | Act::Read { .. }
            | Act::HandOver { .. }
            | Act::RemoveServer { .. }
            | Act::ForceOut { .. }
            | Act::Care { .. } => return self.ask(&act),
        }
        Ok(())
    }

    fn tell_to_leave(&mut self, who: Who, for_ms: u64) {
        let Some(host) = self.up(who) else { return };
        let leaving = &mut self.hosts[host.0];
        leaving.leaving_for_ms = Some(for_ms);
        let (incarnation, event) = (leaving.incarnation, Box::new(Event::LeaveAsked));
        self.queue.push(self.queue.now(), Happening::Tell { host, incarnation, event });
    }

    /// The agent has gone with grace, as it was told to.
    pub(super) fn depart(&mut self, host: HostId, is_unfinished: bool) -> Result<(), Violation> {
        let departed = &self.hosts[host.0];
        let Some(for_ms) = departed.leaving_for_ms else {
            let message = format!("{} goes, and nobody has told it to", departed.name);
            return Err(Violation { checker: "halt", message });
        };
        self.counters.departures += 1;
        if let PeerId::Server(server) = departed.peer {
            self.marks.reach_if(is_unfinished, Mark::LeftUnfinished);
            self.marks.reach_if(!is_unfinished, Mark::LeftWithGrace);
            if !is_unfinished {
                named("left_is_out", self.checkers.left_is_out.on_left(server))?;
            }
        }
        self.take_down(host, for_ms)
    }

    /// Whether the line strikes later, or has struck.
    fn puts_off(&mut self, line: usize, act: &Act) -> bool {
        let (Act::Crash { who, .. } | Act::Power { who, .. }) = act else { return false };
        let idle = self.up(*who).filter(|host| !self.hosts[host.0].disk.is_writing());
        let when = self.strikes.on_line(line, idle);
        if when == When::Later {
            let at_last = self.queue.now().plus_ms(STRIKE_MS_MAX);
            self.queue.push(at_last, Happening::Line(line));
        }
        when != When::Now
    }

    /// `host` writes, for the next `us`: whoever waited for that strikes meanwhile.
    pub(super) fn strike_during_write(&mut self, host: HostId, us: u64) {
        for line in self.strikes.on_write(host) {
            let at = self.queue.now().plus_us(self.rng.between(0, us));
            self.queue.push(at, Happening::Line(line));
        }
    }

    /// The agent is gone, and starts again after `for_ms`.
    pub(super) fn take_down(&mut self, host: HostId, for_ms: u64) -> Result<(), Violation> {
        self.watch_down(host);
        let gone = &mut self.hosts[host.0];
        let after = gone.incarnation;
        gone.forget_agent();
        let mut rng = gone.rng.fork("keepers").fork_number(after.0);
        let begun = gone.drivers.on_agent_gone(&mut rng);
        self.drop_waiting(host);
        self.network.on_gone(&mut self.queue, host);
        self.forget_asked(host)?;
        self.queue.push(self.queue.now().plus_ms(for_ms), Happening::Start { host, after });
        for key in begun {
            self.turn_task(host, key, Turn::Begins)?;
        }
        Ok(())
    }

    fn lose_power(&mut self, host: HostId) {
        let gone = &mut self.hosts[host.0];
        gone.has_lost_power = true;
        for key in gone.drivers.on_power_lost() {
            self.checkers.alloc_runs_once.on_ended(key);
        }
    }

    /// Start, unless it did since `after`.
    pub(super) fn start(&mut self, host: HostId, after: Incarnation) -> Result<(), Violation> {
        let starting = &mut self.hosts[host.0];
        if starting.agent.is_some() || starting.incarnation != after {
            return Ok(());
        }
        if let Some(recording) = &mut self.recording {
            recording[host.0].clear();
        }
        let started = starting.start();
        let node = starting.node.clone();
        let (recovered, torn) = started
            .map_err(|fault| Violation { checker: "recovery", message: fault.to_string() })?;
        self.counters.torn_writes += u64::from(torn);
        self.marks.reach_if(torn, Mark::TornWrite);
        self.counters.restarts += u64::from(after != Incarnation(0));
        self.network.on_start(host);
        if let PeerId::Server(server) = self.hosts[host.0].peer {
            self.checkers.left_is_out.on_start(server);
        }
        self.checkers.advertised_is_running.on_agent(host);
        self.watch_up(host);
        self.step(host, Event::Booted(Box::new(recovered)))?;
        match node {
            Some(node) => self.step(host, Event::Fingerprinted(node)),
            None => Ok(()),
        }
    }

    /// Whether the server's disk can be lost and nothing with it.
    fn can_spare(&self, host: HostId) -> bool {
        // Those who stay may be just enough.
        if self.hosts.iter().any(|host| host.is_server() && host.leaving_for_ms.is_some()) {
            return false;
        }
        let leader = self.leader().and_then(|leader| self.hosts[leader.0].standing());
        let PeerId::Server(lost) = self.hosts[host.0].peer else { return false };
        leader.is_some_and(|leader| {
            leader.can_spare(lost, |voter| {
                let voter = &self.hosts[self.host_of(PeerId::Server(voter))?.0];
                Some((voter.standing()?, voter.disk.log.last_index()))
            })
        })
    }

    /// As the shell does it when it finds its log gone, or damaged.
    fn begin_anew(&mut self, host: HostId, kept: Kept) {
        self.wiped_at = self.queue.now();
        self.whereabouts.by_peer.remove(&self.hosts[host.0].peer);
        self.hosts[host.0].lose_log(&self.plan, kept);
        self.network.leave_address(host);
        self.whereabouts.by_peer.insert(self.hosts[host.0].peer, host);
    }

    fn restart_alloc(&mut self, nth: u64) -> Result<(), Violation> {
        let Some((alloc, host)) = self.checkers.alloc_runs_once.nth(nth) else { return Ok(()) };
        self.checkers.stopped_for_a_reason.on_restart_asked(alloc);
        self.step(host, Event::TaskAsked { alloc, task: None, ask: TaskAsk::Restart })
    }

    fn refit(&mut self, client: u64, mark: u64) -> Result<(), Violation> {
        let host = self.find(Who::Client(client));
        let node = host.and_then(|host| Some((host, self.hosts[host.0].refit(mark)?)));
        node.map_or(Ok(()), |(host, node)| self.step(host, Event::Fingerprinted(node)))
    }

    fn pause(&mut self, who: Who, for_ms: u64) {
        let Some(host) = self.up(who) else { return };
        self.counters.pauses += 1;
        let until = self.queue.now().plus_ms(for_ms);
        let paused = &mut self.hosts[host.0];
        paused.paused_until = until.max(paused.paused_until);
        if PAUSE_LINKS_MS < for_ms {
            for peer in (0..self.hosts.len()).map(HostId).filter(|&peer| peer != host) {
                self.network.break_link(&mut self.queue, host, peer);
            }
        }
    }

    /// Its links to all others, in some direction.
    fn links_of(&self, who: Who, way: Way) -> Vec<(HostId, HostId)> {
        self.find(who).map(|host| links_of(self.hosts.len(), host, way)).unwrap_or_default()
    }

    fn split(&mut self, side: &[Who], for_ms: u64) {
        let side: Vec<HostId> = side.iter().filter_map(|&who| self.find(who)).collect();
        self.harm(links_between(self.hosts.len(), &side), Harm::Cut, for_ms);
    }

    fn harm(&mut self, links: Vec<(HostId, HostId)>, harm: Harm, for_ms: u64) {
        if links.is_empty() {
            return;
        }
        self.counters.on_harm(harm);
        for &link in &links {
            self.network.harm(&mut self.queue, link, harm);
        }
        self.queue.push(self.queue.now().plus_ms(for_ms), Happening::End(End::Mend(links, harm)));
    }

    /// The log of a server that can be spared changes while it is down.
    fn damage_log(&mut self, who: Who, damage: Damage, for_ms: u64) -> Result<(), Violation> {
        let Some(host) = self.up(who).filter(|&host| self.can_spare(host)) else { return Ok(()) };
        self.take_down(host, for_ms)?;
        let damaged = &mut self.hosts[host.0];
        let mut rng = damaged.rng.fork("rot").fork_number(damaged.incarnation.0);
        let noticed = damaged.disk.damage(damage, &mut rng);
        let is_noticed =
            noticed.map_err(|message| Violation { checker: "rot_is_noticed", message })?;
        if is_noticed {
            self.counters.on_damage(damage);
            self.begin_anew(host, Kept::AllButTheLog);
        }
        Ok(())
    }

    fn change_disk(&mut self, who: Who, for_ms: u64, end: fn(HostId) -> End) {
        let Some(host) = self.find(who) else { return };
        let changed = &mut self.hosts[host.0];
        let end = end(host);
        match end {
            End::FastDisk(_) => changed.disk_is_slow = true,
            End::RoomOnDisk(_) => {
                changed.disk.is_full = true;
                changed.may_halt = true;
            }
            End::Mend(..) | End::FastCpu(_) => (),
        }
        self.queue.push(self.queue.now().plus_ms(for_ms), Happening::End(end));
    }

    pub(super) fn end(&mut self, end: End) {
        match end {
            End::Mend(links, harm) => {
                for link in links {
                    self.network.mend(&mut self.queue, link, harm);
                }
            }
            End::FastCpu(host) => self.hosts[host.0].cpu_slowness = 1,
            End::FastDisk(host) => self.hosts[host.0].disk_is_slow = false,
            End::RoomOnDisk(host) => self.hosts[host.0].disk.is_full = false,
        }
    }
}

impl Line {
    /// Who is not there before this line.
    pub(crate) const fn joins(&self) -> Option<Who> {
        if let Act::Join { who } = self.act { Some(who) } else { None }
    }
}
