//! The plan's lines: who dies, who is cut off, and when that ends.
//!
//! What a ground cannot do is counted as left out, by the name of the act:
//! - turmoil lets no host stand still (`pause`) and has no processor that could be slow (`slow-cpu`): all
//!   its hosts live by one clock, and their tasks run when they want to;
//! - no ground gives a host another address: whoever should `move` starts again where it was.
//!
//! Invariants
//! - every fault that lasts has an end;
//! - whoever adds an act must say here what becomes of it.
use drover_core::agent::{Event, TaskAsk};
use drover_core::types::Incarnation;
use drover_shell::run::Inbox;
use drover_sim::ladder::faults::{Aim, AtLeader};
use drover_sim::network::{Harm, HostId, links_between, links_of};
use drover_sim::plan::{Act, Way, Who};
use drover_sim::strikes::{STRIKE_MS_MAX, When};

use crate::lock;
use crate::scenario::{End, Scenario, Todo};
use crate::stage::ToAgent;

impl Scenario {
    fn note(&self, act: &Act) {
        let whom = act.whom();
        let leader = if whom.contains(&Who::Leader) { AtLeader::Yes } else { AtLeader::No };
        let hosts: Vec<HostId> = whom.into_iter().filter_map(|who| self.find(who)).collect();
        let up = hosts.iter().all(|&host| self.stage.machine(host).is_up);
        let aim = Aim { hosts, leader, up: up || act.reaches_the_dead() };
        let now = self.now();
        if let Some(ladder) = &mut self.stage.book().ladder {
            ladder.on_act(now, act, &aim);
        }
    }

    pub(crate) fn act(&mut self, at: usize) {
        let Some(act) = self.stage.plan.lines.get(at).map(|line| line.act.clone()) else { return };
        if self.puts_off(at, &act) {
            return;
        }
        self.note(&act);
        match act {
            Act::Crash { who, for_ms } => {
                if let Some(host) = self.up(who) {
                    self.stage.book().counters.crashes += 1;
                    self.take_down(host, for_ms);
                }
            }
            Act::Move { who, for_ms } => {
                self.count_left_out("move", false);
                if let Some(host) = self.up(who) {
                    self.take_down(host, for_ms);
                }
            }
            Act::Leave { who, for_ms } => self.tell_to_leave(who, for_ms),
            Act::Power { who, for_ms } => {
                if let Some(host) = self.up(who) {
                    self.stage.book().counters.power_failures += 1;
                    self.lose_power(host);
                    self.take_down(host, for_ms);
                }
            }
            Act::Pause { who, for_ms } => self.pause(who, for_ms),
            Act::Isolate { who, way, for_ms } => self.harm_host(who, way, Harm::Cut, for_ms),
            Act::Split { side, for_ms } => self.split(&side, for_ms),
            Act::Cut { from, to, for_ms } => {
                if let Some(pair) = self.find(from).zip(self.find(to)) {
                    self.harm(vec![pair], Harm::Cut, for_ms);
                }
            }
            Act::SlowLinks { who, by_ms, for_ms } => {
                self.harm_host(who, Way::Both, Harm::SlowMs(by_ms), for_ms);
            }
            Act::LoseMessages { who, permille, for_ms } => {
                self.harm_host(who, Way::Both, Harm::LosePermille(permille), for_ms);
            }
            Act::SlowCpu { who, times, for_ms } => {
                if let Some(host) = self.find(who) {
                    let is_done = self.ground.slow_cpu(host, times.max(1));
                    self.count_left_out("slow-cpu", is_done);
                    self.todo.push(self.now().plus_ms(for_ms), Todo::End(End::FastCpu(host)));
                }
            }
            Act::SlowDisk { who, for_ms } => {
                if let Some(host) = self.find(who) {
                    self.stage.machine(host).host.disk_is_slow = true;
                    self.todo.push(self.now().plus_ms(for_ms), Todo::End(End::FastDisk(host)));
                }
            }
            Act::FillDisk { who, for_ms } => {
                if let Some(host) = self.find(who) {
                    let mut machine = self.stage.machine(host);
                    machine.host.disk.is_full = true;
                    machine.host.may_halt = true;
                    self.todo.push(self.now().plus_ms(for_ms), Todo::End(End::RoomOnDisk(host)));
                }
            }
            Act::BreakDisk { who } => {
                if let Some(host) = self.up(who) {
                    self.stage.machine(host).host.disk.is_broken = true;
                }
            }
            Act::JumpClock { who, by_ms } => {
                if let Some(host) = self.find(who) {
                    self.stage.book().counters.clock_jumps += 1;
                    lock(&self.stage.clock(host)).jump_wall(by_ms);
                }
            }
            Act::Join { who } => {
                if let Some(host) = self.find(who) {
                    self.start(host, Incarnation(0));
                }
            }
            Act::RestartAlloc { nth } => self.restart_alloc(nth),
            Act::Refit { client, mark } => self.refit(client, mark),
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
            | Act::Care { .. } => self.ask(&act),
            Act::Wipe { who, for_ms } => self.wipe(who, for_ms),
            Act::Rot { who, damage, for_ms } => self.damage_log(who, damage, for_ms),
            Act::Save => self.save(),
            Act::Restore => self.restore(),
        }
    }

    fn tell_to_leave(&self, who: Who, for_ms: u64) {
        if let Some(host) = self.up(who) {
            self.stage.machine(host).host.leaving_for_ms = Some(for_ms);
            self.tell(host, Event::LeaveAsked);
        }
    }

    fn pause(&mut self, who: Who, for_ms: u64) {
        if let Some(host) = self.up(who) {
            let is_done = self.ground.pause(host, for_ms);
            self.stage.book().counters.pauses += u64::from(is_done);
            self.count_left_out("pause", is_done);
        }
    }

    fn count_left_out(&mut self, what: &'static str, is_done: bool) {
        if !is_done {
            *self.left_out.entry(what).or_default() += 1;
        }
    }

    /// Whether the line strikes later, or has struck.
    fn puts_off(&mut self, line: usize, act: &Act) -> bool {
        let (Act::Crash { who, .. } | Act::Power { who, .. }) = act else { return false };
        let is_idle = |host: &HostId| !self.stage.machine(*host).host.disk.is_writing();
        let when = self.stage.on_line(line, self.up(*who).filter(is_idle));
        if when == When::Later {
            self.todo.push(self.now().plus_ms(STRIKE_MS_MAX), Todo::Line(line));
        }
        when != When::Now
    }

    fn lose_power(&self, host: HostId) {
        let mut machine = self.stage.machine(host);
        machine.host.has_lost_power = true;
        let ended = machine.host.drivers.on_power_lost();
        drop(machine);
        for key in ended {
            self.stage.book().checkers.alloc_runs_once.on_ended(key);
        }
    }

    fn harm_host(&mut self, who: Who, way: Way, harm: Harm, for_ms: u64) {
        if let Some(host) = self.find(who) {
            self.harm(links_of(self.stage.hosts().count(), host, way), harm, for_ms);
        }
    }

    fn split(&mut self, side: &[Who], for_ms: u64) {
        let side: Vec<HostId> = side.iter().filter_map(|&who| self.find(who)).collect();
        self.harm(links_between(self.stage.hosts().count(), &side), Harm::Cut, for_ms);
    }

    fn harm(&mut self, links: Vec<(HostId, HostId)>, harm: Harm, for_ms: u64) {
        if links.is_empty() {
            return;
        }
        self.stage.book().counters.on_harm(harm);
        for &link in &links {
            self.ground.harm(link, harm);
        }
        self.todo.push(self.now().plus_ms(for_ms), Todo::End(End::Mend(links, harm)));
    }

    pub(crate) fn end(&mut self, end: End) {
        match end {
            End::Mend(links, harm) => {
                links.into_iter().for_each(|link| self.ground.mend(link, harm));
            }
            End::FastCpu(host) => {
                self.ground.slow_cpu(host, 1);
            }
            End::FastDisk(host) => self.stage.machine(host).host.disk_is_slow = false,
            End::RoomOnDisk(host) => self.stage.machine(host).host.disk.is_full = false,
        }
    }

    fn restart_alloc(&self, nth: u64) {
        let found = self.stage.book().checkers.alloc_runs_once.nth(nth);
        if let Some((alloc, host)) = found {
            self.stage.book().checkers.stopped_for_a_reason.on_restart_asked(alloc);
            self.tell(host, Event::TaskAsked { alloc, task: None, ask: TaskAsk::Restart });
        }
    }

    fn refit(&self, client: u64, mark: u64) {
        let Some(host) = self.find(Who::Client(client)) else { return };
        let node = self.stage.machine(host).host.refit(mark);
        if let Some(node) = node {
            self.tell(host, Event::Fingerprinted(node));
        }
    }

    fn tell(&self, host: HostId, event: Event) {
        if let Some(inbox) = &self.stage.machine(host).inbox {
            let _the_agent_may_have_ended =
                inbox.send(ToAgent::Tell(Box::new(Inbox::Event(event))));
        }
    }
}
