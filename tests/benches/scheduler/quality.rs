//! How well machines are filled: what is in use of the scarcest resource when something finds no room for
//! the first time, and how much of what is asked for finds none once 98 % of the fleet is asked for and
//! things come and go.
//!
//! Each node is looked at for each request, by the scheduler's score: that its answers are those of such a
//! look is checked by the other parts and by properties. Devices that requests share are here what they are
//! to it: each is a make of its own, of a thousand slices.
//!
//! The trace of GPUs (Alibaba's of 2023, "openb") is no part of this repository: `DROVER_BENCH_DATA` names the
//! directory with its two files, or they lie in `../shared/data`.
//!
//! Source of Nomad's figures: the same three fleets, requests and seeds, with its score and its sampling.
use std::cmp::Reverse;
use std::path::PathBuf;

use drover_core::scheduler::score::{
    Against, DEVICES_KEPT, DevicesLeft, Terms, fit, fit_with_devices, score_with,
};
use drover_core::state::fits::Amounts;
use drover_core::types::Algorithm;

use crate::Row;

const SEEDS: u64 = 3;
/// Of a device: the whole.
const SLICES: u32 = 1_000;
/// Azure's types of virtual machines: cores, and how often they are asked for, in thousandths.
const CORES: [(u64, u32); 7] =
    [(1, 300), (2, 300), (4, 200), (8, 100), (16, 50), (32, 30), (48, 20)];
/// GiB for each core, and how often, in thousandths.
const GIB_PER_CORE: [(u64, u32); 3] = [(2, 250), (4, 500), (8, 250)];
const MODELS: [&str; 9] = ["", "P100", "T4", "V100M16", "V100M32", "G1", "G2", "G3", "A10"];

/// The generator that Nomad's figures were made with (xorshift64*), so that requests are the same.
struct Draw(u64);

impl Draw {
    const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: usize) -> usize {
        let share = u128::from(self.next() >> 32) * bound as u128;
        usize::try_from(share >> 32).expect("less than the bound")
    }

    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let (one, other) = (self.share().max(1e-300), self.share());
        (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * other).cos()
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Request {
    amounts: Amounts,
    devices: usize,
    /// Of each.
    slices: u32,
    /// Bits of the models that would do; zero: all.
    models: u16,
}

#[derive(Clone, Debug, Default)]
struct Machine {
    total: Amounts,
    used: Amounts,
    model: u8,
    /// Slices left, by device.
    devices: Vec<u32>,
}

impl Machine {
    fn of(cpu_mhz: u64, memory_mib: u64, disk_mib: u64) -> Self {
        let total = Amounts { cpu_mhz, memory_mib, disk_mib };
        Self { total, ..Self::default() }
    }

    /// The devices that it would give, the ones with the fewest slices left; `None`: it has no room.
    fn chosen(&self, request: &Request) -> Option<Vec<usize>> {
        let mut used = self.used;
        used.add(request.amounts);
        if !used.is_within(self.total) {
            return None;
        }
        if request.devices == 0 {
            return Some(Vec::new());
        }
        if request.models != 0 && request.models >> self.model & 1 == 0 {
            return None;
        }
        let would_do = |&at: &usize| request.slices <= self.devices[at];
        let mut free: Vec<usize> = (0..self.devices.len()).filter(would_do).collect();
        free.sort_by_key(|&at| self.devices[at]);
        free.truncate(request.devices);
        (free.len() == request.devices).then_some(free)
    }

    /// Its score, if it has room.
    fn score(&self, algorithm: Algorithm, request: &Request) -> Option<i64> {
        let chosen = self.chosen(request)?;
        let mut used = self.used;
        used.add(request.amounts);
        let (mut own, mut terms) = (fit(algorithm, self.total, used), Terms::default());
        if algorithm == Algorithm::Pack && !self.devices.is_empty() {
            if chosen.is_empty() {
                terms = terms.with(DEVICES_KEPT);
            } else {
                let taken = request.slices * small(chosen.len());
                let left = DevicesLeft {
                    free: self.devices.iter().sum::<u32>() - taken,
                    total: SLICES * small(self.devices.len()),
                    is_begun: chosen.iter().all(|&at| self.devices[at] < SLICES),
                };
                own = fit_with_devices(own, left);
            }
        }
        Some(score_with(own, Against::default(), terms))
    }

    fn take(&mut self, request: &Request) -> Vec<usize> {
        let chosen = self.chosen(request).expect("it has room");
        self.used.add(request.amounts);
        chosen.iter().for_each(|&at| self.devices[at] -= request.slices);
        chosen
    }

    fn give_back(&mut self, request: &Request, devices: &[usize]) {
        self.used.remove(request.amounts);
        devices.iter().for_each(|&at| self.devices[at] += request.slices);
    }
}

fn small(count: usize) -> u32 {
    u32::try_from(count).expect("a small number")
}

/// Of cpu, memory, disk and devices.
type Dimensions = [f64; 4];

fn dimensions(amounts: Amounts, slices: u32) -> Dimensions {
    let Amounts { cpu_mhz, memory_mib, disk_mib } = amounts;
    [cpu_mhz as f64, memory_mib as f64, disk_mib as f64, f64::from(slices)]
}

fn demand(request: &Request) -> Dimensions {
    dimensions(request.amounts, request.slices * small(request.devices))
}

struct Fleet {
    name: &'static str,
    machines: Vec<Machine>,
    draw: Box<dyn Fn(&mut Draw) -> Request>,
}

/// In percent: in use when something is refused first, and lost while things come and go.
#[derive(Default)]
struct Quality {
    first: f64,
    lost: f64,
}

impl Fleet {
    /// The dimension that runs out, how much of it there is, and how many requests that is.
    fn scarcest(&self) -> (usize, f64, f64) {
        let mut total = [0.0; 4];
        for machine in &self.machines {
            let all = dimensions(machine.total, SLICES * small(machine.devices.len()));
            total.iter_mut().zip(all).for_each(|(sum, more)| *sum += more);
        }
        let (mut draw, mut mean) = (Draw(11), [0.0; 4]);
        for _ in 0..20_000 {
            let asked = demand(&(self.draw)(&mut draw));
            mean.iter_mut().zip(asked).for_each(|(sum, more)| *sum += more / 20_000.0);
        }
        let there = (0..4).filter(|&at| 0.0 < total[at]);
        let scarce = there.max_by(|&a, &b| (mean[a] / total[a]).total_cmp(&(mean[b] / total[b])));
        let scarce = scarce.expect("there are machines");
        (scarce, total[scarce], total[scarce] / mean[scarce])
    }

    fn measure(&self, algorithm: Algorithm) -> Quality {
        let mut quality = Quality::default();
        for seed in 0..SEEDS {
            quality.first += self.first(algorithm, seed) / SEEDS as f64;
            quality.lost += self.lost(algorithm, seed) / SEEDS as f64;
        }
        quality
    }

    fn first(&self, algorithm: Algorithm, seed: u64) -> f64 {
        let (scarce, total, _) = self.scarcest();
        let (mut machines, mut draw) = (self.machines.clone(), Draw(100 + seed));
        let mut used = 0.0;
        loop {
            let request = (self.draw)(&mut draw);
            let Some(best) = best(&machines, algorithm, &request) else {
                return used / total * 100.0;
            };
            machines[best].take(&request);
            used += demand(&request)[scarce];
        }
    }

    fn lost(&self, algorithm: Algorithm, seed: u64) -> f64 {
        let (scarce, _, whole) = self.scarcest();
        let (mut machines, mut draw) = (self.machines.clone(), Draw(200 + seed));
        let target = 0.98 * whole;
        let mut live: Vec<(usize, Request, Vec<usize>)> = Vec::new();
        let (mut offered, mut lost, mut step) = (0.0, 0.0, 0.0);
        while step < (target * 3.0).floor() {
            let is_full = target < step;
            step += 1.0;
            let leaves = is_full && draw.share() < live.len() as f64 / target;
            if leaves && !live.is_empty() {
                let (at, request, devices) = live.swap_remove(draw.below(live.len()));
                machines[at].give_back(&request, &devices);
            }
            let request = (self.draw)(&mut draw);
            let asked = if is_full { demand(&request)[scarce] } else { 0.0 };
            offered += asked;
            match best(&machines, algorithm, &request) {
                Some(at) => live.push((at, request, machines[at].take(&request))),
                None => lost += asked,
            }
        }
        lost / offered * 100.0
    }
}

fn best(machines: &[Machine], algorithm: Algorithm, request: &Request) -> Option<usize> {
    let scored = machines
        .iter()
        .enumerate()
        .filter_map(|(at, machine)| Some((machine.score(algorithm, request)?, Reverse(at))));
    scored.max().map(|(_, Reverse(at))| at)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "amounts are small")]
const fn whole(amount: f64) -> u64 {
    amount as u64
}

/// A thousand machines of three sizes, and 64 shapes: cpu evenly over its logarithm, memory about four MiB
/// for each MHz.
fn mixed() -> Fleet {
    const SIZES: [u64; 10] = [1, 1, 1, 1, 1, 2, 2, 2, 4, 4];
    let mut draw = Draw(99);
    let shapes = (0..64).map(|_| {
        let cpu = 100.0 * 80_f64.powf(draw.share());
        let memory = (cpu * 4.0 * (0.7 * draw.normal()).exp()).clamp(64.0, 60_000.0);
        let disk = 300.0 * 100_f64.powf(draw.share());
        // A constraint, which is left out here.
        draw.below(8);
        let (cpu, memory, disk_mib) = (whole(cpu), whole(memory), whole(disk));
        let (cpu_mhz, memory_mib) = (cpu / 50 * 50 + 50, memory / 64 * 64 + 64);
        let amounts = Amounts { cpu_mhz, memory_mib, disk_mib };
        Request { amounts, ..Request::default() }
    });
    let shapes: Vec<Request> = shapes.collect();
    let machines = (0..1_000).map(|nth| SIZES[nth % 10]);
    Fleet {
        name: "mixed",
        machines: machines.map(|n| Machine::of(n * 16_000, n * 65_536, n * 500_000)).collect(),
        draw: Box::new(move |draw| shapes[draw.below(shapes.len())]),
    }
}

/// A thousand equal machines, and virtual machines of powers of two.
fn azure_like() -> Fleet {
    let types = CORES.iter().flat_map(|&(cores, often)| {
        GIB_PER_CORE.map(|(gib, as_often)| {
            let (cpu_mhz, memory_mib) = (cores * 1_000, cores * gib * 1_024);
            let amounts = Amounts { cpu_mhz, memory_mib, disk_mib: cores * 15_000 };
            let share = f64::from(often) / 1e3 * f64::from(as_often) / 1e3;
            (Request { amounts, ..Request::default() }, share)
        })
    });
    let types: Vec<(Request, f64)> = types.collect();
    Fleet {
        name: "Azure-like",
        machines: vec![Machine::of(96_000, 384 * 1_024, 3_000_000); 1_000],
        draw: Box::new(move |draw| {
            let mut left = draw.share();
            let found = types.iter().find(|(_, share)| {
                left -= share;
                left <= 0.0
            });
            found.unwrap_or(&types[0]).0
        }),
    }
}

/// The trace of GPUs; `Err`: why it cannot be read, and what to do.
fn traced() -> Result<Fleet, String> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let directory = std::env::var_os("DROVER_BENCH_DATA").map_or_else(beside, PathBuf::from);
    let read = |name| {
        std::fs::read_to_string(directory.join(name)).map_err(|error| {
            format!("not measured: {name}: {error}; name its directory in DROVER_BENCH_DATA")
        })
    };
    let number = |text: &str| text.parse().unwrap_or(0);
    let model = |name: &str| MODELS.iter().position(|known| *known == name).unwrap_or(0);
    let nodes = read("openb_nodes.csv")?;
    let machines = nodes.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        let devices = fields[3].parse().unwrap_or(0);
        Machine {
            model: u8::try_from(model(fields[4])).expect("one of nine"),
            devices: vec![SLICES; devices],
            ..Machine::of(number(fields[1]), number(fields[2]), 0)
        }
    });
    let pods = read("openb_pods.csv")?;
    let requests = pods.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        let (cpu_mhz, memory_mib) = (number(fields[1]), number(fields[2]));
        let named = fields[5].split('|').filter(|name| !name.is_empty());
        Request {
            amounts: Amounts { cpu_mhz, memory_mib, disk_mib: 0 },
            devices: fields[3].parse().unwrap_or(0),
            slices: fields[4].parse().unwrap_or(0),
            models: named.fold(0, |models, name| models | 1 << model(name)),
        }
    });
    let requests: Vec<Request> = requests.collect();
    Ok(Fleet {
        name: "GPU trace",
        machines: machines.collect(),
        draw: Box::new(move |draw| requests[draw.below(requests.len())]),
    })
}

/// Of Nomad, and the goals.
const MIXED: (&str, &str) = ("97.8, 5.21 %", "at most 2.4 % lost");
const AZURE: (&str, &str) = ("95.5, 6.32 %", "at most 2.4 % lost");
const TRACE: (&str, &str) = ("87.5, 5.39 %", "at least 93.9, at most 3.3 % lost");

pub(crate) fn rows() -> Vec<Row> {
    let fleets = [(Ok(mixed()), MIXED), (Ok(azure_like()), AZURE), (traced(), TRACE)];
    let mut rows = Vec::new();
    for (fleet, (nomad, goal)) in fleets {
        let name = fleet.as_ref().map_or("GPU trace", |fleet| fleet.name);
        let figure = fleet.as_ref().map_or_else(Clone::clone, |fleet| {
            let [ours, theirs] = [Algorithm::Pack, Algorithm::BinPack].map(|one| {
                let Quality { first, lost } = fleet.measure(one);
                format!("{first:.1} %, {lost:.2} % lost")
            });
            format!("{ours} (Nomad's score, exact: {theirs})")
        });
        let what =
            format!("{name}: in use when something is refused first; lost of 98 % asked for");
        rows.push(Row { what, figure, checked: 0, nomad, goal });
    }
    rows
}
