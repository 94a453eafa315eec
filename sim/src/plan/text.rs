//! A plan as text: one knob, fault or request a line.
//!
//! ```text
//! seed 17
//! servers 3
//! clients 10
//! faults-until 60.000s
//! knob loss_permille 12
//! 6.100s crash leader for 3.200s
//! 7.000s register job1 service anywhere count=3 tasks=1 cpu=500 memory=256 ports=1 fixed=0 mark=9
//! ```
//!
//! Invariants
//! - what is printed is read back the same;
//! - what cannot be read is refused with its line.
use std::fmt;

use drover_core::types::DrainDeadline;
use drover_core::types::JobKind;
mod launches;
mod pieces;
mod who;

use super::{
    Act, Damage, Freshness, JobAsk, Knobs, Line, Plan, Promotion, Spread, Steering, Subject,
    UpdateAsk, Way, Who,
};
use who::read as read_who;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        writeln!(f, "servers {}", self.servers)?;
        writeln!(f, "clients {}", self.clients)?;
        writeln!(f, "spares {}", self.spares)?;
        if self.foreigners != 0 {
            writeln!(f, "foreigners {}", self.foreigners)?;
        }
        writeln!(f, "faults-until {}", Seconds(self.faults_until_ms))?;
        let calm = Knobs::default();
        for ((name, value), (_, calm)) in self.knobs.list().into_iter().zip(calm.list()) {
            if value != calm {
                writeln!(f, "knob {name} {value}")?;
            }
        }
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Seconds(self.at_ms), self.act)
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash { who, for_ms } => write!(f, "crash {who} for {}", Seconds(*for_ms)),
            Self::Leave { who, for_ms } => write!(f, "leave {who} for {}", Seconds(*for_ms)),
            Self::Move { who, for_ms } => write!(f, "move {who} for {}", Seconds(*for_ms)),
            Self::Power { who, for_ms } => write!(f, "power {who} for {}", Seconds(*for_ms)),
            Self::Pause { who, for_ms } => write!(f, "pause {who} for {}", Seconds(*for_ms)),
            Self::Isolate { who, way, for_ms } => {
                let word = match way {
                    Way::Both => "isolate",
                    Way::Deaf => "deafen",
                    Way::Mute => "mute",
                };
                write!(f, "{word} {who} for {}", Seconds(*for_ms))
            }
            Self::Cut { from, to, for_ms } => {
                write!(f, "cut {from} to {to} for {}", Seconds(*for_ms))
            }
            Self::SlowLinks { who, by_ms, for_ms } => {
                write!(f, "slow-links {who} by {} for {}", Seconds(*by_ms), Seconds(*for_ms))
            }
            Self::LoseMessages { who, permille, for_ms } => {
                write!(f, "lose {permille} of {who} for {}", Seconds(*for_ms))
            }
            Self::SlowCpu { who, times, for_ms } => {
                write!(f, "slow-cpu {who} {times} times for {}", Seconds(*for_ms))
            }
            Self::Split { side, for_ms } => {
                let side: Vec<String> = side.iter().map(ToString::to_string).collect();
                write!(f, "split {} for {}", side.join(","), Seconds(*for_ms))
            }
            Self::SlowDisk { who, for_ms } => write!(f, "slow-disk {who} for {}", Seconds(*for_ms)),
            Self::FillDisk { who, for_ms } => write!(f, "fill-disk {who} for {}", Seconds(*for_ms)),
            Self::BreakDisk { who } => write!(f, "break-disk {who}"),
            Self::JumpClock { who, by_ms } => write!(f, "jump-clock {who} by {by_ms}"),
            Self::Register(ask) => write!(f, "register {ask}"),
            Self::StopJob { job, purge: false } => write!(f, "stop {job}"),
            Self::StopJob { job, purge: true } => write!(f, "purge {job}"),
            Self::Evaluate { job } => write!(f, "evaluate {job}"),
            Self::Steer { job, how } => write!(f, "{} {job}", steering_word(*how)),
            Self::StopAlloc { nth } => write!(f, "stop-alloc {nth}"),
            Self::SetEligible { client, eligible: true } => write!(f, "admit c{client}"),
            Self::SetEligible { client, eligible: false } => write!(f, "bar c{client}"),
            Self::Drain { client, deadline: DrainDeadline::Force } => {
                write!(f, "drain c{client} by force")
            }
            Self::Drain { client, deadline: DrainDeadline::After { ms } } => {
                write!(f, "drain c{client} within {}", Seconds(*ms))
            }
            Self::Drain { client, deadline: DrainDeadline::Never } => write!(f, "drain c{client}"),
            Self::Undrain { client, mark_eligible: true } => {
                write!(f, "undrain c{client} and admit")
            }
            Self::Undrain { client, mark_eligible: false } => write!(f, "undrain c{client}"),
            Self::Rebalance { budget, gain_permille, nth } => {
                write!(f, "rebalance {budget} gain={gain_permille} and {nth}")
            }
            Self::Collect => write!(f, "collect"),
            Self::Read { what, how } => {
                let how = match how {
                    Freshness::Stale => " stale",
                    Freshness::Default => "",
                    Freshness::Consistent => " consistent",
                };
                match what {
                    Subject::Job(job) => write!(f, "read {job}{how}"),
                    Subject::Client(client) => write!(f, "read-node c{client}{how}"),
                }
            }
            Self::HandOver { to } => write!(f, "hand-over {to}"),
            Self::RemoveServer { who } => write!(f, "remove {who}"),
            Self::ForceOut { who, prune: false } => write!(f, "force-out {who}"),
            Self::ForceOut { who, prune: true } => write!(f, "forget {who}"),
            Self::Care { cleanup, min_quorum, stable_ms } => {
                let failed = if *cleanup { "clean-up" } else { "keep" };
                write!(f, "care {failed} min={min_quorum} stable={}", Seconds(*stable_ms))
            }
            Self::RestartAlloc { nth } => write!(f, "restart-alloc {nth}"),
            Self::Refit { client, mark } => write!(f, "refit c{client} mark={mark}"),
            Self::Wipe { who, for_ms } => write!(f, "wipe {who} for {}", Seconds(*for_ms)),
            Self::Rot { who, damage, for_ms } => {
                write!(f, "{} {who} for {}", damage_word(*damage), Seconds(*for_ms))
            }
            Self::Save => write!(f, "save"),
            Self::Restore => write!(f, "restore"),
            Self::Join { who } => write!(f, "join {who}"),
            Self::Launch { job, what } => launches::write(f, job, *what),
        }
    }
}

impl fmt::Display for JobAsk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, count, tasks, cpu_mhz, memory_mib, ports, fixed_port, mark, build, .. } =
            self;
        let kind = kind_word(self.kind);
        write!(f, "{job} {kind} {} count={count} tasks={tasks} ", spread_word(self.spread))?;
        write!(f, "cpu={cpu_mhz} memory={memory_mib} ports={ports} ")?;
        write!(f, "fixed={fixed_port} mark={mark}")?;
        if build != mark {
            write!(f, " build={build}")?;
        }
        if self.update != UpdateAsk::default() {
            let UpdateAsk { parallel, canaries, promotion } = self.update;
            let by = promotion_word(promotion);
            write!(f, " parallel={parallel} canaries={canaries} by={by}")?;
        }
        pieces::write(f, self.pieces)?;
        pieces::write_volume(f, self.volume)?;
        self.after.as_ref().map_or(Ok(()), |job| write!(f, " after={job}"))
    }
}

const fn steering_word(how: Steering) -> &'static str {
    match how {
        Steering::Promote => "promote",
        Steering::Pause => "hold",
        Steering::Resume => "resume",
        Steering::GiveUp => "give-up",
    }
}

const fn promotion_word(promotion: Promotion) -> &'static str {
    match promotion {
        Promotion::Operator => "operator",
        Promotion::Themselves => "themselves",
    }
}

const fn damage_word(damage: Damage) -> &'static str {
    match damage {
        Damage::Bit => "rot",
        Damage::LostWrite => "lose-write",
        Damage::Misdirected => "misdirect",
    }
}

const KINDS: [JobKind; 4] = [JobKind::Service, JobKind::Batch, JobKind::System, JobKind::Sysbatch];

const fn kind_word(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Service => "service",
        JobKind::Batch => "batch",
        JobKind::System => "system",
        JobKind::Sysbatch => "sysbatch",
    }
}

const fn spread_word(spread: Spread) -> &'static str {
    match spread {
        Spread::Anywhere => "anywhere",
        Spread::OneDatacenter => "dc1",
        Spread::DistinctHosts => "distinct",
        Spread::OverDatacenters => "even",
        Spread::RatherSecond => "rather-dc2",
        Spread::OnePool => "pool",
    }
}

/// Milliseconds, shown as seconds.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}s", self.0 / 1_000, self.0 % 1_000)
    }
}

impl Plan {
    /// Reads what `Display` prints. Empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// The line that cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut plan = Self {
            seed: 0,
            servers: 3,
            clients: 5,
            spares: 0,
            foreigners: 0,
            faults_until_ms: 0,
            knobs: Knobs::default(),
            lines: Vec::new(),
        };
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let read = plan.read(line);
                read.ok_or_else(|| format!("line {} says nothing known: {line}", at + 1))?;
            }
        }
        plan.lines.sort_by_key(|line| line.at_ms);
        Ok(plan)
    }

    fn read(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["seed", seed] => self.seed = seed.parse().ok()?,
            ["servers", servers] => self.servers = servers.parse().ok()?,
            ["clients", clients] => self.clients = clients.parse().ok()?,
            ["spares", spares] => self.spares = spares.parse().ok()?,
            ["foreigners", foreigners] => self.foreigners = foreigners.parse().ok()?,
            ["faults-until", until] => self.faults_until_ms = read_ms(until)?,
            ["knob", name, value] => *self.knobs.named(name)? = value.parse().ok()?,
            [at, ref act @ ..] => {
                let (at_ms, act) = (read_ms(at)?, read_act(act)?);
                self.lines.push(Line { at_ms, act });
            }
            [] => return None,
        }
        Some(())
    }
}

fn read_act(words: &[&str]) -> Option<Act> {
    Some(match *words {
        ["crash", who, "for", ms] => Act::Crash { who: read_who(who)?, for_ms: read_ms(ms)? },
        ["leave", who, "for", ms] => Act::Leave { who: read_who(who)?, for_ms: read_ms(ms)? },
        ["move", who, "for", ms] => Act::Move { who: read_who(who)?, for_ms: read_ms(ms)? },
        ["power", who, "for", ms] => Act::Power { who: read_who(who)?, for_ms: read_ms(ms)? },
        ["pause", who, "for", ms] => Act::Pause { who: read_who(who)?, for_ms: read_ms(ms)? },
        ["isolate", who, "for", ms] => isolate(who, Way::Both, ms)?,
        ["deafen", who, "for", ms] => isolate(who, Way::Deaf, ms)?,
        ["mute", who, "for", ms] => isolate(who, Way::Mute, ms)?,
        ["cut", from, "to", to, "for", ms] => {
            Act::Cut { from: read_who(from)?, to: read_who(to)?, for_ms: read_ms(ms)? }
        }
        ["slow-links", who, "by", by, "for", ms] => {
            Act::SlowLinks { who: read_who(who)?, by_ms: read_ms(by)?, for_ms: read_ms(ms)? }
        }
        ["lose", permille, "of", who, "for", ms] => Act::LoseMessages {
            who: read_who(who)?,
            permille: permille.parse().ok()?,
            for_ms: read_ms(ms)?,
        },
        ["slow-cpu", who, times, "times", "for", ms] => {
            Act::SlowCpu { who: read_who(who)?, times: times.parse().ok()?, for_ms: read_ms(ms)? }
        }
        ["split", "for", ms] => Act::Split { side: Vec::new(), for_ms: read_ms(ms)? },
        ["split", side, "for", ms] => {
            let side: Option<Vec<Who>> = side.split(',').map(read_who).collect();
            Act::Split { side: side?, for_ms: read_ms(ms)? }
        }
        ["slow-disk", who, "for", ms] => {
            Act::SlowDisk { who: read_who(who)?, for_ms: read_ms(ms)? }
        }
        ["fill-disk", who, "for", ms] => {
            Act::FillDisk { who: read_who(who)?, for_ms: read_ms(ms)? }
        }
        ["break-disk", who] => Act::BreakDisk { who: read_who(who)? },
        ["jump-clock", who, "by", by_ms] => {
            Act::JumpClock { who: read_who(who)?, by_ms: by_ms.parse().ok()? }
        }
        ["register", ref ask @ ..] => Act::Register(read_job(ask)?),
        ["stop", job] => Act::StopJob { job: job.into(), purge: false },
        ["purge", job] => Act::StopJob { job: job.into(), purge: true },
        ["evaluate", job] => Act::Evaluate { job: job.into() },
        [word, job] if read_steering(word).is_some() => {
            Act::Steer { job: job.into(), how: read_steering(word)? }
        }
        ["stop-alloc", nth] => Act::StopAlloc { nth: nth.parse().ok()? },
        ["admit", client] => Act::SetEligible { client: read_client(client)?, eligible: true },
        ["bar", client] => Act::SetEligible { client: read_client(client)?, eligible: false },
        ["drain", client] => drain(client, DrainDeadline::Never)?,
        ["drain", client, "by", "force"] => drain(client, DrainDeadline::Force)?,
        ["drain", client, "within", ms] => {
            drain(client, DrainDeadline::After { ms: read_ms(ms)? })?
        }
        ["undrain", client] => Act::Undrain { client: read_client(client)?, mark_eligible: false },
        ["undrain", client, "and", "admit"] => {
            Act::Undrain { client: read_client(client)?, mark_eligible: true }
        }
        ["rebalance", budget, gain, "and", nth] => Act::Rebalance {
            budget: budget.parse().ok()?,
            gain_permille: gain.strip_prefix("gain=")?.parse().ok()?,
            nth: nth.parse().ok()?,
        },
        ["collect"] => Act::Collect,
        ["read", job] => read_of(Subject::Job(job.into()), Freshness::Default),
        ["read", job, how] => read_of(Subject::Job(job.into()), read_freshness(how)?),
        ["read-node", client] => read_of(Subject::Client(read_client(client)?), Freshness::Default),
        ["read-node", client, how] => {
            read_of(Subject::Client(read_client(client)?), read_freshness(how)?)
        }
        ["hand-over", to] => Act::HandOver { to: read_who(to)? },
        ["remove", who] => Act::RemoveServer { who: read_who(who)? },
        ["force-out", who] => Act::ForceOut { who: read_who(who)?, prune: false },
        ["forget", who] => Act::ForceOut { who: read_who(who)?, prune: true },
        ["care", failed @ ("clean-up" | "keep"), min, stable] => Act::Care {
            cleanup: failed == "clean-up",
            min_quorum: min.strip_prefix("min=")?.parse().ok()?,
            stable_ms: read_ms(stable.strip_prefix("stable=")?)?,
        },
        ["restart-alloc", nth] => Act::RestartAlloc { nth: nth.parse().ok()? },
        ["refit", client, mark] => {
            let mark = mark.strip_prefix("mark=")?.parse().ok()?;
            Act::Refit { client: read_client(client)?, mark }
        }
        ["wipe", who, "for", ms] => Act::Wipe { who: read_who(who)?, for_ms: read_ms(ms)? },
        ["save"] => Act::Save,
        ["restore"] => Act::Restore,
        ["join", who] => Act::Join { who: read_who(who)? },
        [word, job, ref rest @ ..] if launches::WORDS.contains(&word) => {
            Act::Launch { job: job.into(), what: launches::read(word, rest)? }
        }
        [word, who, "for", ms] => {
            let damages = [Damage::Bit, Damage::LostWrite, Damage::Misdirected];
            let damage = damages.into_iter().find(|&known| damage_word(known) == word)?;
            Act::Rot { who: read_who(who)?, damage, for_ms: read_ms(ms)? }
        }
        _ => return None,
    })
}

fn drain(client: &str, deadline: DrainDeadline) -> Option<Act> {
    Some(Act::Drain { client: read_client(client)?, deadline })
}

const fn read_of(what: Subject, how: Freshness) -> Act {
    Act::Read { what, how }
}

fn read_freshness(word: &str) -> Option<Freshness> {
    match word {
        "stale" => Some(Freshness::Stale),
        "consistent" => Some(Freshness::Consistent),
        _ => None,
    }
}

fn read_steering(word: &str) -> Option<Steering> {
    let all = [Steering::Promote, Steering::Pause, Steering::Resume, Steering::GiveUp];
    all.into_iter().find(|&how| steering_word(how) == word)
}

/// Plans of earlier versions say nothing of it.
fn read_update(words: &[&str]) -> Option<UpdateAsk> {
    let [parallel, canaries, by] = *words else {
        return words.is_empty().then(UpdateAsk::default);
    };
    let all = [Promotion::Operator, Promotion::Themselves];
    let by = by.strip_prefix("by=")?;
    Some(UpdateAsk {
        parallel: parallel.strip_prefix("parallel=")?.parse().ok()?,
        canaries: canaries.strip_prefix("canaries=")?.parse().ok()?,
        promotion: all.into_iter().find(|&one| promotion_word(one) == by)?,
    })
}

fn isolate(who: &str, way: Way, ms: &str) -> Option<Act> {
    Some(Act::Isolate { who: read_who(who)?, way, for_ms: read_ms(ms)? })
}

fn read_job(words: &[&str]) -> Option<JobAsk> {
    let [job, kind, spread, count, tasks, cpu, memory, ports, fixed, mark, ref update @ ..] =
        *words
    else {
        return None;
    };
    let spreads = [
        Spread::Anywhere,
        Spread::OneDatacenter,
        Spread::DistinctHosts,
        Spread::OverDatacenters,
        Spread::RatherSecond,
        Spread::OnePool,
    ];
    let number = |word: &str, name: &str| word.strip_prefix(name)?.parse().ok();
    let mark = number(mark, "mark=")?;
    // Where nothing is said each registration is a build of its own.
    let build = update.first().and_then(|word| number(word, "build="));
    let update = if build.is_some() { &update[1..] } else { update };
    let after = update.last().and_then(|word| word.strip_prefix("after="));
    let update = if after.is_some() { &update[..update.len() - 1] } else { update };
    let (update, volume) = pieces::read_volume(update)?;
    let (update, pieces) = pieces::read(update)?;
    Some(JobAsk {
        job: job.into(),
        kind: KINDS.into_iter().find(|&known| kind_word(known) == kind)?,
        spread: spreads.into_iter().find(|&known| spread_word(known) == spread)?,
        count: number(count, "count=")?,
        tasks: number(tasks, "tasks=")?,
        cpu_mhz: number(cpu, "cpu=")?,
        memory_mib: number(memory, "memory=")?,
        ports: number(ports, "ports=")?,
        fixed_port: number(fixed, "fixed=")?,
        mark,
        update: read_update(update)?,
        build: build.unwrap_or(mark),
        after: after.map(str::to_owned),
        pieces,
        volume,
    })
}

fn read_client(word: &str) -> Option<u64> {
    word.strip_prefix('c')?.parse().ok()
}

fn read_ms(word: &str) -> Option<u64> {
    let (seconds, rest) = word.strip_suffix('s')?.split_once('.')?;
    let ms: u64 = if rest.len() == 3 { rest.parse().ok()? } else { return None };
    Some(seconds.parse::<u64>().ok()? * 1_000 + ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::draw::Size;

    #[test]
    fn a_plan_is_read_back_as_it_was_printed() {
        for seed in 0..50 {
            let plan = Plan::draw(seed, Size { servers: 3, clients: 4, fault_ms: 300_000 });
            assert_eq!(Plan::parse(&plan.to_string()), Ok(plan));
        }
    }

    #[test]
    fn a_line_that_says_nothing_known_is_refused_with_its_number() {
        let refused = Plan::parse("seed 1\n\n6.100s crush leader for 1.000s\n");
        assert_eq!(
            refused,
            Err("line 3 says nothing known: 6.100s crush leader for 1.000s".into())
        );
    }
}
