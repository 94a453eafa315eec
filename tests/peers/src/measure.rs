//! Processor time per entry, memory asked for, words exchanged.
//!
//! Rounds are interleaved: a disturbance of the machine meets everybody. Processor time of the whole
//! process is taken, not time on the wall, because somebody else may be at work on the machine too.
use rustix::time::{ClockId, clock_gettime};

use crate::allocations::Allocations;
use crate::contender::Contender;
use crate::load::{Cluster, Load, Traffic, Watch};
use crate::options::Options;

/// Entries that are proposed while something other than time is counted.
const COUNTED_ENTRIES: u64 = 65_536;

/// What was seen of one contender under one load.
pub(crate) struct Figures {
    pub(crate) load: Load,
    /// Nanoseconds per entry of each round, sorted.
    pub(crate) ns: Vec<f64>,
    pub(crate) allocations: f64,
    pub(crate) allocated_bytes: f64,
    pub(crate) traffic: Traffic,
}

impl Figures {
    pub(crate) fn median_ns(&self) -> f64 {
        self.ns[self.ns.len() / 2]
    }

    /// Bytes beside the payload for each entry and follower, replies and notices included.
    pub(crate) fn overhead_bytes(&self) -> f64 {
        self.traffic.bytes as f64 / self.traffic.entries as f64 - self.load.payload_bytes as f64
    }

    /// The same of only the messages that hold entries.
    pub(crate) fn append_overhead_bytes(&self) -> f64 {
        let bytes = self.traffic.append_bytes as f64 / self.traffic.entries as f64;
        bytes - self.load.payload_bytes as f64
    }

    /// Messages for each batch, in the whole cluster.
    pub(crate) fn messages(&self) -> f64 {
        let batches = self.traffic.entries as f64 / (2 * self.load.batch) as f64;
        self.traffic.messages as f64 / batches
    }
}

/// A cluster in the middle of its measurement.
struct Subject {
    cluster: Box<dyn Cluster>,
    batches: u64,
    ns: Vec<f64>,
}

/// Everybody under `load`, side by side.
pub(crate) fn compare(load: Load, options: &Options) -> Vec<Figures> {
    let contenders = options.contenders.iter();
    let mut subjects: Vec<_> =
        contenders.map(|&contender| Subject::warm(contender, load, options)).collect();
    for _ in 0..options.rounds {
        for subject in &mut subjects {
            subject.run_round(load);
        }
    }
    subjects.into_iter().map(|subject| subject.finish(load)).collect()
}

/// The work that is measured; profilers know it by its name.
#[inline(never)]
pub(crate) fn drive(cluster: &mut dyn Cluster, batches: u64) {
    cluster.run(batches);
}

impl Subject {
    /// A cluster whose logs are full, and how many batches of it last for a round.
    fn warm(contender: Contender, load: Load, options: &Options) -> Self {
        let mut cluster = contender.found(load);
        cluster.run(load.warm_batches());
        let trial = (load.warm_batches() / 8).max(1);
        let before = cpu_ns();
        cluster.run(trial);
        let batch_ns = ((cpu_ns() - before) / trial).max(1);
        let batches = (options.round_ms * 1_000_000 / batch_ns).max(1);
        Self { cluster, batches, ns: Vec::new() }
    }

    fn run_round(&mut self, load: Load) {
        let before = cpu_ns();
        drive(self.cluster.as_mut(), self.batches);
        let spent = cpu_ns() - before;
        self.ns.push(spent as f64 / (self.batches * load.batch) as f64);
    }

    fn finish(mut self, load: Load) -> Figures {
        let batches = COUNTED_ENTRIES / load.batch;
        let allocations = Allocations::of(|| self.cluster.run(batches));
        self.cluster.watch(Watch::Begin);
        self.cluster.run(batches);
        let traffic = self.cluster.watch(Watch::End);
        self.cluster.check();
        self.ns.sort_by(f64::total_cmp);
        let entries = (batches * load.batch) as f64;
        Figures {
            load,
            ns: self.ns,
            allocations: allocations.count as f64 / entries,
            allocated_bytes: allocations.bytes as f64 / entries,
            traffic,
        }
    }
}

fn cpu_ns() -> u64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let whole = u64::try_from(spent.tv_sec).expect("processor time is positive");
    let part = u64::try_from(spent.tv_nsec).expect("processor time is positive");
    whole * 1_000_000_000 + part
}
