//! Faults as stretches of time on a host, and how a run ends.
//!
//! Invariants
//! - a fault ends when the plan says so, when its host starts again, or when all faults end.
use std::sync::Arc;

use drover_core::types::TaskKey;

use super::rung::{Kind, Rung, Way};
use super::words::{Dull, Said};
use super::{Awaited, Ladder, Life, promises};
use crate::clock::Moment;
use crate::host::Host;
use crate::network::HostId;
use crate::plan::Act;

/// What is wrong with a host for a while.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum FaultKind {
    /// Its agent is gone.
    Down,
    /// Its machine is.
    PowerOff,
    /// It stands still.
    Paused,
    /// Messages to it, from it, or both are lost.
    CutOff,
    /// They come late.
    SlowLinks,
    /// Some of them are lost.
    LossyLinks,
    SlowCpu,
    SlowDisk,
    FullDisk,
    /// At one moment: a disk that fails a write, a clock that jumps.
    Blow,
}

impl FaultKind {
    /// As people say it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::PowerOff => "power off",
            Self::Paused => "paused",
            Self::CutOff => "cut off",
            Self::SlowLinks => "slow links",
            Self::LossyLinks => "lossy links",
            Self::SlowCpu => "slow CPU",
            Self::SlowDisk => "slow disk",
            Self::FullDisk => "full disk",
            Self::Blow => "blow",
        }
    }
}

/// Something is wrong with a host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    pub host: HostId,
    pub kind: FaultKind,
    pub from: Moment,
    /// `None`: to the end.
    pub until: Option<Moment>,
    /// The plan's line.
    pub text: String,
}

/// Whom a line of the plan is about.
#[derive(Clone, Debug)]
pub struct Aim {
    pub hosts: Vec<HostId>,
    pub leader: AtLeader,
    /// Whether they are all up, if that matters.
    pub up: bool,
}

/// Whether a line of the plan is about whoever leads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AtLeader {
    No,
    Yes,
}

/// Before a line of the plan that stands at the host that it is about.
const PLANNED: &str = "plan: ";

impl Ladder {
    /// The world begins.
    pub fn on_world(&mut self, hosts: &[Host]) {
        for host in hosts {
            self.names.meet(host.id, &host.name, host.peer);
        }
    }

    /// A line of the plan is about to happen.
    pub fn on_act(&mut self, at: Moment, act: &Act, aim: &Aim) {
        let Aim { hosts, leader, up } = aim;
        let whose = match (leader, hosts.as_slice()) {
            (AtLeader::No, _) => String::new(),
            (AtLeader::Yes, []) => "  (nobody leads)".to_owned(),
            (AtLeader::Yes, [host]) => format!("  (leader: {})", self.names.host(*host)),
            (AtLeader::Yes, hosts) => {
                let names: Vec<&str> = hosts.iter().map(|&host| self.names.host(host)).collect();
                format!("  (namely {})", names.join(", "))
            }
        };
        let void = if *up { "" } else { "  (it is down already)" };
        let prefix = if hosts.len() == 1 { PLANNED } else { "" };
        let text = format!("{prefix}{act}{whose}{void}");
        let sort = sort_of(act);
        let kind = if matches!(sort, Sort::Request) { Kind::Request } else { Kind::Fault };
        let id = self.push(Rung {
            at,
            host: if let [host] = hosts[..] { Some(host) } else { None },
            peer: None,
            kind,
            sort: "plan",
            text: text.into(),
            jobs: job_of(act).into_iter().collect(),
            allocs: Vec::new(),
            cause: None,
            way: Way::Whole,
            is_dull: false,
        });
        self.planned = Some((id, at));
        let Sort::Fault(kind, for_ms) = sort else { return };
        let needs_life = matches!(kind, FaultKind::Paused | FaultKind::Blow);
        if needs_life && !*up {
            return;
        }
        let until = Some(at.plus_ms(for_ms));
        for &host in hosts {
            self.faults.push(Fault { host, kind, from: at, until, text: act.to_string() });
        }
    }

    /// The host's agent is about to be gone.
    pub fn on_down(&mut self, at: Moment, host: &Host) {
        let id = host.id;
        let planned = self.planned.filter(|(_, then)| *then == at).map(|(id, _)| id);
        let cause = planned.or(self.stepping);
        let text = planned
            .and_then(|id| self.rung(id))
            .map(|rung| rung.text.trim_start_matches(PLANNED).to_owned());
        let text = text.unwrap_or_else(|| "it stopped itself".into());
        let kind = if host.has_lost_power { FaultKind::PowerOff } else { FaultKind::Down };
        let lost = self.unwritten(id);
        let lost = if lost.is_empty() {
            "nothing was being written".to_owned()
        } else {
            format!("on the way to its disk: {}", lost.join("; "))
        };
        let verb = if host.has_lost_power { "LOSES POWER" } else { "GOES DOWN" };
        let said = Said::new(Kind::Fault, "down", format!("{verb}; {lost}"), Dull::Never);
        self.note(at, id, cause, said);
        self.faults.push(Fault { host: id, kind, from: at, until: None, text });
        self.end_reign(at, id);
        self.standings.remove(&id);
        let is_task = |awaited: &Awaited| matches!(awaited, Awaited::Alloc(_));
        self.waiting.retain(|(waiter, awaited), _| *waiter != id || is_task(awaited));
        if host.has_lost_power {
            for life in self.lives.iter_mut().filter(|life| life.host == id) {
                life.until.get_or_insert(at);
            }
        }
        for fault in &mut self.faults {
            if fault.host == id && fault.kind == FaultKind::Paused {
                fault.until = fault.until.map(|until| until.min(at));
            }
        }
    }

    /// The host's agent is there again.
    pub fn on_up(&mut self, at: Moment, host: HostId) {
        for fault in &mut self.faults {
            if fault.host == host && matches!(fault.kind, FaultKind::Down | FaultKind::PowerOff) {
                fault.until.get_or_insert(at);
            }
        }
    }

    /// All faults end.
    pub fn on_heal(&mut self, at: Moment) {
        for fault in &mut self.faults {
            fault.until = fault.until.map(|until| until.min(at.max(fault.from)));
        }
        self.tell(at, Kind::Fault, "all faults end; everything must come right now".into());
    }

    /// The run is over: a promise was broken, or none.
    pub fn on_end(&mut self, at: Moment, broken: Option<(&str, &str)>) {
        self.ended_at = Some(at);
        if let Some((checker, message)) = broken {
            let message = self.names.say(&message.split_whitespace().collect::<Vec<_>>().join(" "));
            let promise = promises::of(checker);
            self.tell(at, Kind::Checker, format!("✗ {checker}: {message}"));
            self.tell(at, Kind::Checker, format!("  promised: {promise}"));
        }
    }

    /// When the run was over.
    #[must_use]
    pub fn ended_at(&self) -> Moment {
        self.ended_at.unwrap_or_else(|| self.rungs.back().map_or(Moment::default(), |rung| rung.at))
    }

    fn tell(&mut self, at: Moment, kind: Kind, text: String) {
        self.push(Rung {
            at,
            host: None,
            peer: None,
            kind,
            sort: kind.word(),
            text: text.into(),
            jobs: Vec::new(),
            allocs: Vec::new(),
            cause: None,
            way: Way::Whole,
            is_dull: false,
        });
    }

    /// What the host has begun to write of the log, and was not told to be safe.
    fn unwritten(&self, host: HostId) -> Vec<String> {
        let of_host = self.waiting.iter().filter(|((waiter, _), _)| *waiter == host);
        let writes = of_host.filter(|((_, awaited), _)| matches!(awaited, Awaited::Disk(_)));
        let rungs = writes.filter_map(|(_, id)| self.rung(*id)).filter(|rung| !rung.is_dull);
        rungs.map(|rung| rung.text.trim_start_matches("writes ").to_owned()).collect()
    }

    pub(super) fn mark_life(&mut self, at: Moment, host: HostId, key: TaskKey, lives: bool) {
        let TaskKey { alloc, task, .. } = key;
        if lives {
            self.lives.push(Life { host, alloc, task, from: at, until: None });
        } else if let Some(life) =
            self.lives.iter_mut().rev().find(|life| life.alloc == alloc && life.task == task)
        {
            life.until.get_or_insert(at);
        }
    }
}

/// The job that the act is about.
fn job_of(act: &Act) -> Option<Arc<str>> {
    if let Act::Register(ask) = act {
        Some(ask.job.as_str().into())
    } else if let Act::StopJob { job, .. }
    | Act::Evaluate { job }
    | Act::Steer { job, .. }
    | Act::Launch { job, .. } = act
    {
        Some(job.as_str().into())
    } else {
        None
    }
}

/// What a line of the plan is, to whoever reads the ladder.
enum Sort {
    /// Something is wrong for so many milliseconds.
    Fault(FaultKind, u64),
    /// An agent ends; the host says itself when it is down.
    End,
    /// Nothing breaks.
    Request,
}

const fn sort_of(act: &Act) -> Sort {
    match act {
        Act::Pause { for_ms, .. } => Sort::Fault(FaultKind::Paused, *for_ms),
        Act::Isolate { for_ms, .. } | Act::Split { for_ms, .. } | Act::Cut { for_ms, .. } => {
            Sort::Fault(FaultKind::CutOff, *for_ms)
        }
        Act::SlowLinks { for_ms, .. } => Sort::Fault(FaultKind::SlowLinks, *for_ms),
        Act::LoseMessages { for_ms, .. } => Sort::Fault(FaultKind::LossyLinks, *for_ms),
        Act::SlowCpu { for_ms, .. } => Sort::Fault(FaultKind::SlowCpu, *for_ms),
        Act::SlowDisk { for_ms, .. } => Sort::Fault(FaultKind::SlowDisk, *for_ms),
        Act::FillDisk { for_ms, .. } => Sort::Fault(FaultKind::FullDisk, *for_ms),
        Act::BreakDisk { .. } | Act::JumpClock { .. } => Sort::Fault(FaultKind::Blow, 0),
        Act::Crash { .. }
        | Act::Move { .. }
        | Act::Power { .. }
        | Act::Wipe { .. }
        | Act::Rot { .. } => Sort::End,
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
        | Act::Care { .. }
        | Act::RestartAlloc { .. }
        | Act::Leave { .. }
        | Act::Refit { .. }
        | Act::Save
        | Act::Restore
        | Act::Join { .. } => Sort::Request,
    }
}
