//! A plan drawn from a seed, or from bytes.
//!
//! Swarm testing (Groce et al. 2012): each seed switches some kinds of faults off, because a run in which
//! everything breaks at once never gets far enough to break in an interesting way.
//!
//! Invariants
//! - the same seed and size give the same plan, for ever.
use std::cell::Cell;

use drover_core::limits::CLOCK_DRIFT_PERMILLE_MAX;
use drover_core::types::JobKind;

use super::entropy::Entropy;
use super::{
    Act, Damage, Freshness, JobAsk, Knobs, Line, PiecesAsk, Plan, Spread, Subject, UpdateAsk, Way,
    Who,
};

mod drains;
mod everywhere;
mod gates;
mod launches;
mod leaves;
mod moves;
mod pieces;
mod rebalances;
mod regions;
mod updates;
mod volumes;

/// Nothing breaks before the servers had time to meet.
const QUIET_MS: u64 = 3_000;
const JOBS: u64 = 6;

/// What a plan is drawn for.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub servers: u64,
    pub clients: u64,
    /// How long everything may break.
    pub fault_ms: u64,
}

impl Plan {
    /// The plan of `seed`.
    #[must_use]
    pub fn draw(seed: u64, size: Size) -> Self {
        Self::draw_by(seed, &Entropy::from_seed(seed), size)
    }

    /// The plan that `bytes` stand for: each choice takes some, and when none are left, chance decides.
    #[must_use]
    pub fn draw_from(bytes: &[u8], size: Size) -> Self {
        let bytes = Cell::new(bytes);
        let mut entropy = Entropy::from_bytes(&bytes);
        let seed = entropy.between(0, u64::MAX);
        Self::draw_by(seed, &entropy, size)
    }

    fn draw_by(seed: u64, entropy: &Entropy<'_>, size: Size) -> Self {
        let rng = entropy.fork("plan");
        let mut lines = Vec::new();
        draw_faults(&rng.fork("faults"), size, &mut lines);
        draw_unrest(&mut rng.fork("unrest"), size, &mut lines);
        draw_requests(&mut rng.fork("requests"), size, &mut lines);
        updates::draw(&mut rng.fork("updates"), size, JOBS, &mut lines);
        everywhere::draw(&mut rng.fork("everywhere"), size, JOBS, &mut lines);
        drains::draw(&mut rng.fork("drains"), size, &mut lines);
        rebalances::draw(&mut rng.fork("rebalances"), size, &mut lines);
        launches::draw(&mut rng.fork("launches"), size, JOBS, &mut lines);
        updates::draw_builds(&mut rng.fork("builds"), &mut lines);
        gates::draw(&mut rng.fork("gates"), JOBS + 2, &mut lines);
        pieces::draw(&mut rng.fork("pieces"), &mut lines);
        draw_reads(&mut rng.fork("reads"), size, &mut lines);
        draw_orders(&mut rng.fork("orders"), size, &mut lines);
        draw_restores(&mut rng.fork("restores"), size, &mut lines);
        leaves::draw(&mut rng.fork("leaves"), size, &mut lines);
        let foreigners = regions::draw(&mut rng.fork("regions"), size, &mut lines);
        moves::draw(&mut rng.fork("moves"), size, foreigners, &mut lines);
        let spares = draw_spares(&mut rng.fork("spares"), size, &mut lines);
        volumes::draw(&mut rng.fork("volumes"), &mut lines);
        lines.sort_by_key(|line: &Line| line.at_ms);
        let Size { servers, clients, fault_ms } = size;
        let knobs = draw_knobs(&mut rng.fork("knobs"));
        let faults_until_ms = fault_ms;
        Self { seed, servers, clients, spares, foreigners, faults_until_ms, knobs, lines }
    }

    /// A plan in which nothing breaks and nobody asks for anything.
    #[must_use]
    pub fn calm(seed: u64, size: Size) -> Self {
        let Size { servers, clients, fault_ms } = size;
        let knobs = Knobs::default();
        Self {
            seed,
            servers,
            clients,
            spares: 0,
            foreigners: 0,
            faults_until_ms: fault_ms,
            knobs,
            lines: Vec::new(),
        }
    }
}

fn draw_knobs(rng: &mut Entropy<'_>) -> Knobs {
    let calm = Knobs::default();
    let mut maybe = |permille: u64, max: u64, calm: u64| {
        let is_on = rng.chance(permille);
        let drawn = rng.between(1, max);
        if is_on { drawn } else { calm }
    };
    Knobs {
        delay_us_max: maybe(300, 80_000, calm.delay_us_max).max(calm.delay_us_min),
        loss_permille: maybe(400, 50, 0),
        duplicate_permille: maybe(400, 50, 0),
        reorder_permille: maybe(400, 50, 0),
        disk_us_max: maybe(300, 60_000, calm.disk_us_max).max(calm.disk_us_min),
        drift_ppm_max: maybe(500, CLOCK_DRIFT_PERMILLE_MAX * 1_000, calm.drift_ppm_max),
        skew_ms_max: maybe(500, 30_000, calm.skew_ms_max),
        start_failure_permille: maybe(400, 200, 0),
        task_failure_permille: maybe(500, 300, 0),
        stubborn_permille: maybe(400, 500, 0),
        cut_bytes: maybe(700, 100 << 10, calm.cut_bytes).max(4 << 10),
        retained_bytes: maybe(700, 30 << 10, calm.retained_bytes),
        snapshot_chunk_bytes: maybe(700, 20 << 10, calm.snapshot_chunk_bytes).max(1 << 10),
        low_priority_servers: maybe(250, 2, calm.low_priority_servers),
        link_bytes_per_ms: maybe(200, 2_000, calm.link_bytes_per_ms),
        start_ms_max: maybe(300, 15_000, calm.start_ms_max),
        flapping_permille: maybe(250, 200, calm.flapping_permille),
        append_bytes: maybe(200, 20_000, calm.append_bytes),
        inflight_bytes: maybe(200, 40_000, calm.inflight_bytes),
        plans_in_flight: maybe(300, 2, calm.plans_in_flight),
        placements_per_step: maybe(300, 3, calm.placements_per_step),
        heartbeat_ttl_ms: maybe(300, 10_000, calm.heartbeat_ttl_ms).max(2_500),
        heartbeat_grace_ms: maybe(300, 10_000, calm.heartbeat_grace_ms).max(1_000),
        garbage_collect_ms: maybe(400, 60_000, calm.garbage_collect_ms).max(1_000),
        ended_kept_ms: maybe(600, 900_000, calm.ended_kept_ms).max(5_000),
        stabilization_ms: maybe(300, 10_000, calm.stabilization_ms),
        trailing_logs: maybe(300, 250, calm.trailing_logs),
        asked_bytes: maybe(300, 2_000, calm.asked_bytes),
        ..calm
    }
}

type Fault = fn(&mut Entropy<'_>, Size) -> Act;

/// Every kind of fault, each switched off in about half of the seeds.
const FAULTS: [Fault; 22] = [
    |rng, size| Act::Wipe { who: server(rng, size), for_ms: short(rng) },
    |rng, size| Act::Crash { who: server(rng, size), for_ms: short_or_long(rng) },
    |rng, size| Act::Power { who: server(rng, size), for_ms: short_or_long(rng) },
    |rng, size| Act::Pause { who: server(rng, size), for_ms: rng.between(50, 5_000) },
    |rng, size| Act::Isolate { who: server(rng, size), way: Way::Both, for_ms: short_or_long(rng) },
    |rng, size| Act::Isolate { who: server(rng, size), way: one_way(rng), for_ms: short(rng) },
    |rng, size| Act::Split { side: side(rng, size), for_ms: short_or_long(rng) },
    |rng, size| Act::SlowDisk { who: server(rng, size), for_ms: short_or_long(rng) },
    |rng, size| Act::FillDisk { who: anyone(rng, size), for_ms: short_or_long(rng) },
    |rng, size| Act::BreakDisk { who: anyone(rng, size) },
    |rng, size| Act::JumpClock { who: anyone(rng, size), by_ms: jump(rng) },
    |rng, size| Act::Crash { who: client(rng, size), for_ms: short_or_long(rng) },
    |rng, size| Act::Power { who: client(rng, size), for_ms: short_or_long(rng) },
    |rng, size| Act::Isolate { who: client(rng, size), way: Way::Both, for_ms: short_or_long(rng) },
    |rng, size| Act::Pause { who: client(rng, size), for_ms: rng.between(50, 30_000) },
    |rng, size| rot(rng, size, Damage::Bit),
    |rng, size| rot(rng, size, Damage::LostWrite),
    |rng, size| rot(rng, size, Damage::Misdirected),
    |rng, size| Act::Cut {
        from: server(rng, size),
        to: anyone(rng, size),
        for_ms: short_or_long(rng),
    },
    |rng, size| Act::SlowLinks {
        who: anyone(rng, size),
        by_ms: slow(rng),
        for_ms: short_or_long(rng),
    },
    |rng, size| Act::LoseMessages {
        who: anyone(rng, size),
        permille: rng.between(20, 600),
        for_ms: short_or_long(rng),
    },
    |rng, size| Act::SlowCpu {
        who: anyone(rng, size),
        times: rng.between(10, 2_000),
        for_ms: short_or_long(rng),
    },
];

fn draw_faults(rng: &Entropy<'_>, size: Size, lines: &mut Vec<Line>) {
    for (kind, fault) in FAULTS.iter().enumerate() {
        let mut rng = rng.fork_number(kind as u64);
        let (is_off, gap_ms) = (rng.chance(500), rng.between(6_000, 60_000));
        if is_off {
            continue;
        }
        let mut at_ms = QUIET_MS + rng.between(0, gap_ms);
        while at_ms < size.fault_ms {
            lines.push(Line { at_ms, act: fault(&mut rng, size) });
            at_ms += rng.between(gap_ms / 4, 2 * gap_ms);
        }
    }
}

/// In a third of the clusters leaders follow each other fast, for a while and again: each is struck soon
/// after it wrote something that the others have not got. Raft's figure 8 needs three such in a row.
fn draw_unrest(rng: &mut Entropy<'_>, size: Size, lines: &mut Vec<Line>) {
    if rng.chance(670) {
        return;
    }
    let mut at_ms = QUIET_MS + rng.between(0, 20_000);
    while at_ms < size.fault_ms {
        let until_ms = size.fault_ms.min(at_ms + rng.between(5_000, 20_000));
        let gap_ms = rng.between(400, 3_000);
        while at_ms < until_ms {
            let (who, for_ms) = (Who::Leader, rng.between(100, 4_000));
            let blow = match rng.between(0, 3) {
                0 => Act::Crash { who, for_ms },
                1 => Act::Power { who, for_ms },
                2 => Act::Isolate { who, way: Way::Both, for_ms },
                _ => Act::Isolate { who, way: one_way(rng), for_ms },
            };
            lines.push(Line { at_ms, act: blow });
            let job = format!("job{}", rng.between(1, JOBS));
            let asked_at_ms = until_ms.min(at_ms + rng.between(0, gap_ms));
            lines.push(Line { at_ms: asked_at_ms, act: Act::Evaluate { job } });
            at_ms += rng.between(gap_ms / 2, gap_ms * 3 / 2);
        }
        at_ms += rng.between(10_000, 60_000);
    }
}

/// In half of the clusters operators have wishes about the servers. Whom they strike off has mostly just
/// failed.
fn draw_orders(rng: &mut Entropy<'_>, size: Size, lines: &mut Vec<Line>) {
    if rng.chance(500) {
        return;
    }
    let gap_ms = rng.between(2_000, 40_000);
    let mut at_ms = QUIET_MS + rng.between(0, gap_ms);
    while at_ms < size.fault_ms {
        let number = rng.between(1, size.servers);
        if rng.chance(700) {
            let to = if rng.chance(300) { Who::Leader } else { Who::Server(number) };
            lines.push(Line { at_ms, act: Act::HandOver { to } });
        } else {
            let who = Who::Server(number);
            if rng.chance(700) {
                let for_ms = rng.between(5_000, 60_000);
                lines.push(Line { at_ms, act: Act::Crash { who, for_ms } });
            }
            // It takes a while until it counts as failed.
            let at_ms = at_ms + rng.between(0, 10_000);
            let act = match rng.between(0, 9) {
                0..=5 => Act::RemoveServer { who },
                kind => Act::ForceOut { who, prune: kind == 9 },
            };
            lines.push(Line { at_ms, act });
        }
        if rng.chance(150) {
            let cleanup = rng.chance(700);
            let min_quorum = u32::try_from(rng.between(0, size.servers)).unwrap_or(u32::MAX);
            let stable_ms = rng.between(0, 10_000);
            let act = Act::Care { cleanup, min_quorum, stable_ms };
            lines.push(Line { at_ms, act });
        }
        at_ms += rng.between(gap_ms / 4, 2 * gap_ms);
    }
}

/// In a third of the clusters operators go back to what they saved, now and then.
fn draw_restores(rng: &mut Entropy<'_>, size: Size, lines: &mut Vec<Line>) {
    if rng.chance(670) {
        return;
    }
    // Each costs as much as seconds of all else.
    let gap_ms = rng.between(5_000, 60_000.max(size.fault_ms / 12));
    let mut at_ms = QUIET_MS + rng.between(0, gap_ms);
    while at_ms < size.fault_ms {
        let act = if rng.chance(500) { Act::Save } else { Act::Restore };
        lines.push(Line { at_ms, act });
        at_ms += rng.between(gap_ms / 4, gap_ms);
    }
}

/// A third of the clusters grow.
fn draw_spares(rng: &mut Entropy<'_>, size: Size, lines: &mut Vec<Line>) -> u64 {
    let spares = if rng.chance(330) { rng.between(1, 2) } else { 0 };
    for spare in 1..=spares {
        let at_ms = rng.between(QUIET_MS.min(size.fault_ms), size.fault_ms);
        lines.push(Line { at_ms, act: Act::Join { who: Who::Server(size.servers + spare) } });
    }
    spares
}

fn draw_requests(rng: &mut Entropy<'_>, size: Size, lines: &mut Vec<Line>) {
    let gap_ms = rng.between(200, 8_000);
    let mut at_ms = 1_000;
    let mut mark = 0;
    while at_ms < size.fault_ms {
        mark += 1;
        let act = draw_request(rng, size, mark);
        lines.push(Line { at_ms, act });
        at_ms += rng.between(1, 2 * gap_ms);
    }
    // Half of the clients may join late.
    for client in size.clients / 2 + 1..=size.clients {
        if rng.chance(300) {
            let at_ms = rng.between(0, size.fault_ms);
            lines.push(Line { at_ms, act: Act::Join { who: Who::Client(client) } });
        }
    }
}

fn draw_request(rng: &mut Entropy<'_>, size: Size, mark: u64) -> Act {
    let number = rng.between(1, JOBS);
    let job = format!("job{number}");
    match rng.between(0, 99) {
        0..=44 => Act::Register(JobAsk {
            job,
            kind: if number.is_multiple_of(3) { JobKind::Batch } else { JobKind::Service },
            spread: draw_spread(rng),
            count: rng.between(0, 6),
            tasks: if rng.chance(250) { 2 } else { 1 },
            cpu_mhz: rng.between(50, 1_200),
            memory_mib: rng.between(32, 1_500),
            ports: rng.between(0, 2),
            fixed_port: if rng.chance(150) { rng.between(8_080, 8_082) } else { 0 },
            mark,
            update: UpdateAsk::default(),
            build: mark,
            after: None,
            pieces: PiecesAsk::default(),
            volume: None,
        }),
        45..=54 => Act::StopJob { job, purge: rng.chance(300) },
        55..=61 => Act::Evaluate { job },
        62..=72 => Act::StopAlloc { nth: rng.between(0, 20) },
        73..=79 => {
            let client = rng.between(1, size.clients.max(1));
            Act::SetEligible { client, eligible: rng.chance(600) }
        }
        80..=82 => Act::Collect,
        83..=86 => Act::RestartAlloc { nth: rng.between(0, 20) },
        87..=89 => Act::Refit { client: rng.between(1, size.clients.max(1)), mark },
        _ => {
            let is_strict = rng.chance(300);
            let how = if is_strict { Freshness::Consistent } else { Freshness::Default };
            Act::Read { what: Subject::Job(job), how }
        }
    }
}

/// Whoever writes is read by others meanwhile.
fn draw_reads(rng: &mut Entropy<'_>, size: Size, lines: &mut Vec<Line>) {
    let gap_ms = rng.between(300, 8_000);
    let mut at_ms = 1_000 + rng.between(0, gap_ms);
    while at_ms < size.fault_ms {
        let what = if rng.chance(850) {
            Subject::Job(format!("job{}", rng.between(1, JOBS)))
        } else {
            Subject::Client(rng.between(1, size.clients.max(1)))
        };
        let how = match rng.between(0, 9) {
            0..=3 => Freshness::Default,
            4..=6 => Freshness::Consistent,
            _ => Freshness::Stale,
        };
        lines.push(Line { at_ms, act: Act::Read { what, how } });
        at_ms += rng.between(1, 2 * gap_ms);
    }
}

fn draw_spread(rng: &mut Entropy<'_>) -> Spread {
    match rng.between(0, 9) {
        0 => Spread::OneDatacenter,
        1 => Spread::DistinctHosts,
        2 => Spread::OverDatacenters,
        3 => Spread::RatherSecond,
        4 => Spread::OnePool,
        _ => Spread::Anywhere,
    }
}

fn server(rng: &mut Entropy<'_>, size: Size) -> Who {
    if rng.chance(400) { Who::Leader } else { Who::Server(rng.between(1, size.servers)) }
}

fn client(rng: &mut Entropy<'_>, size: Size) -> Who {
    if size.clients == 0 { Who::Leader } else { Who::Client(rng.between(1, size.clients)) }
}

fn anyone(rng: &mut Entropy<'_>, size: Size) -> Who {
    if rng.chance(600) { server(rng, size) } else { client(rng, size) }
}

fn side(rng: &mut Entropy<'_>, size: Size) -> Vec<Who> {
    let servers = (1..=size.servers).map(Who::Server);
    let everyone = servers.chain((1..=size.clients).map(Who::Client));
    everyone.filter(|_| rng.chance(500)).collect()
}

fn one_way(rng: &mut Entropy<'_>) -> Way {
    if rng.chance(500) { Way::Deaf } else { Way::Mute }
}

fn rot(rng: &mut Entropy<'_>, size: Size, damage: Damage) -> Act {
    Act::Rot { who: server(rng, size), damage, for_ms: short(rng) }
}

/// Up to what makes a leader's word come later than an election.
fn slow(rng: &mut Entropy<'_>) -> u64 {
    if rng.chance(700) { rng.between(1, 100) } else { rng.between(100, 1_500) }
}

fn short(rng: &mut Entropy<'_>) -> u64 {
    rng.between(100, 5_000)
}

fn short_or_long(rng: &mut Entropy<'_>) -> u64 {
    if rng.chance(300) { rng.between(5_000, 60_000) } else { short(rng) }
}

fn jump(rng: &mut Entropy<'_>) -> i64 {
    let max_ms = if rng.chance(300) { 400 * 24 * 3_600_000 } else { 120_000 };
    let by_ms = i64::try_from(rng.between(0, max_ms)).expect("invariant: below 2^63");
    if rng.chance(500) { by_ms } else { -by_ms }
}
