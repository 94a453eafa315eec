//! The plan's lines: who dies, who is cut off, and when that ends.
//!
//! Invariants
//! - every fault that lasts has an end.
use std::sync::Arc;

use drover_core::agent::{Event, TaskAsk};
use drover_core::types::Incarnation;
use drover_shell::run::Inbox;
use drover_sim::ladder::faults::{Aim, AtLeader};
use drover_sim::network::HostId;
use drover_sim::plan::{Act, Way, Who};

use crate::lock;
use crate::scenario::{End, Scenario, Todo};
use crate::stage::ToAgent;

/// How often a crash waits a tenth of a millisecond for a write.
const CRASH_PUT_OFF_MAX: u32 = 2_000;

impl Scenario {
    fn note(&self, act: &Act) {
        let whom = match act {
            Act::Crash { who, .. }
            | Act::Power { who, .. }
            | Act::Pause { who, .. }
            | Act::Isolate { who, .. }
            | Act::SlowDisk { who, .. }
            | Act::FillDisk { who, .. }
            | Act::BreakDisk { who }
            | Act::JumpClock { who, .. }
            | Act::Join { who } => self.find(*who),
            _ => None,
        };
        let up = whom.is_none_or(|host| self.stage.machine(host).is_up);
        let says_leader = act.to_string().contains("leader");
        let leader = if says_leader { AtLeader::Yes } else { AtLeader::No };
        let aim = Aim { hosts: whom.into_iter().collect(), leader, up };
        let now = self.now();
        if let Some(ladder) = &mut self.stage.book().ladder {
            ladder.on_act(now, act, &aim);
        }
    }

    pub(crate) fn act(&mut self, at: usize) {
        let Some(act) = self.stage.plan.lines.get(at).map(|line| line.act.clone()) else { return };
        if self.puts_off(&act) {
            return self.todo.push(self.now().plus_us(100), Todo::Line(at));
        }
        self.note(&act);
        match act {
            Act::Crash { who, for_ms } => {
                if let Some(host) = self.up(who) {
                    self.stage.book().counters.crashes += 1;
                    self.take_down(host, for_ms);
                }
            }
            Act::Power { who, for_ms } => {
                if let Some(host) = self.up(who) {
                    self.stage.book().counters.power_failures += 1;
                    self.lose_power(host);
                    self.take_down(host, for_ms);
                }
            }
            Act::Pause { who, for_ms } => {
                if let Some(host) = self.up(who) {
                    let is_done = self.ground.pause(host, for_ms);
                    self.stage.book().counters.pauses += u64::from(is_done);
                    self.left_out += u64::from(!is_done);
                }
            }
            Act::Isolate { who, way, for_ms } => self.isolate(who, way, for_ms),
            Act::Split { side, for_ms } => self.split(&side, for_ms),
            Act::Cut { from, to, for_ms } => {
                if let Some((from, to)) = self.find(from).zip(self.find(to)) {
                    self.cut(vec![(from, to)], for_ms);
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
            | Act::StopAlloc { .. }
            | Act::SetEligible { .. }
            | Act::Collect
            | Act::Read { .. }
            | Act::HandOver { .. }
            | Act::RemoveServer { .. } => self.ask(&act),
            // What a start finds damaged is set aside by file operations, which are not simulated.
            Act::Wipe { .. } | Act::Rot { .. } | Act::Save | Act::Restore => self.left_out += 1,
            // Links differ in nothing but cuts, and the processor's time costs nothing here.
            Act::SlowLinks { .. } | Act::LoseMessages { .. } | Act::SlowCpu { .. } => {
                self.left_out += 1;
            }
        }
    }

    /// A crash is most interesting while a write is on its way, which is seldom: it waits for one a while.
    fn puts_off(&mut self, act: &Act) -> bool {
        let (Act::Crash { who, .. } | Act::Power { who, .. }) = act else { return false };
        let Some(host) = self.up(*who) else { return false };
        let is_late = CRASH_PUT_OFF_MAX <= self.crash_put_off;
        if is_late || self.stage.machine(host).host.disk.is_writing() {
            self.crash_put_off = 0;
            return false;
        }
        self.crash_put_off += 1;
        true
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

    fn isolate(&mut self, who: Who, way: Way, for_ms: u64) {
        let Some(host) = self.find(who) else { return };
        let others = self.stage.hosts().filter(|&other| other != host);
        let cuts = others.flat_map(|other| match way {
            Way::Both => vec![(host, other), (other, host)],
            Way::Deaf => vec![(other, host)],
            Way::Mute => vec![(host, other)],
        });
        self.cut(cuts.collect(), for_ms);
    }

    fn split(&mut self, side: &[Who], for_ms: u64) {
        let side: Vec<HostId> = side.iter().filter_map(|&who| self.find(who)).collect();
        let pairs = self.stage.hosts().flat_map(|a| self.stage.hosts().map(move |b| (a, b)));
        let cuts = pairs.filter(|(a, b)| side.contains(a) != side.contains(b)).collect();
        self.cut(cuts, for_ms);
    }

    fn cut(&mut self, cuts: Vec<(HostId, HostId)>, for_ms: u64) {
        self.stage.book().counters.partitions += 1;
        for &(from, to) in &cuts {
            self.ground.cut(from, to);
        }
        self.todo.push(self.now().plus_ms(for_ms), Todo::End(End::Mend(cuts)));
    }

    pub(crate) fn end(&mut self, end: End) {
        match end {
            End::Mend(cuts) => cuts.into_iter().for_each(|(from, to)| self.ground.mend(from, to)),
            End::FastDisk(host) => self.stage.machine(host).host.disk_is_slow = false,
            End::RoomOnDisk(host) => self.stage.machine(host).host.disk.is_full = false,
        }
    }

    fn restart_alloc(&self, nth: u64) {
        let book = self.stage.book();
        let live: Vec<_> = book.checkers.alloc_runs_once.live().map(|key| key.alloc).collect();
        let at = usize::try_from(nth).ok().and_then(|nth| nth.checked_rem(live.len()));
        let Some(alloc) = at.and_then(|at| live.get(at).copied()) else { return };
        let home = book.checkers.alloc_runs_once.home(alloc);
        drop(book);
        if let Some(host) = home {
            self.tell(host, Event::TaskAsked { alloc, task: None, ask: TaskAsk::Restart });
        }
    }

    fn refit(&self, client: u64, mark: u64) {
        let Some(host) = self.find(Who::Client(client)) else { return };
        let mut machine = self.stage.machine(host);
        let Some(node) = &mut machine.host.node else { return };
        Arc::make_mut(node).meta.insert("mark".into(), mark.to_string());
        let node = Arc::clone(node);
        drop(machine);
        self.tell(host, Event::Fingerprinted(node));
    }

    fn tell(&self, host: HostId, event: Event) {
        if let Some(inbox) = &self.stage.machine(host).inbox {
            let _the_agent_may_have_ended = inbox.send(ToAgent::Tell(Inbox::Event(event)));
        }
    }
}
