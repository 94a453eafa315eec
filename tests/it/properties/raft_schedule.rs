//! Random schedules: messages lost, doubled and reordered, writes finished late, servers crashed
//! with any prefix of their unfinished writes; then all heals, and the cluster must agree.
use std::sync::Arc;

use drover_core::limits::CLOCK_DRIFT_PERMILLE_MAX;
use drover_core::raft::{Config, Configuration, Payload, Proof, Role};
use drover_core::rng::Rng;
use drover_core::types::ServerId;
use drover_tests::rig::raft::Cluster;

/// Small bounds, so that windows fill and logs are cut.
fn tight(config: &mut Config) {
    config.append_bytes_max = 200;
    config.inflight_bytes_max = 600;
    config.uncommitted_bytes_max = 2_000;
    config.snapshot_chunk_bytes = 40;
    config.retained_bytes_max = 200;
}

/// What this seed has much of; elsewhere it may be little or none, so that rare things meet.
struct Weather {
    stride_ms_max: u64,
    crash_permille: u64,
    cut_permille: u64,
    lose_permille: u64,
    change_permille: u64,
}

impl Weather {
    fn draw(rng: &mut Rng) -> Self {
        let mut one_of = |choices: [u64; 4]| {
            choices[usize::try_from(rng.between(0, 3)).expect("a small number")]
        };
        Self {
            stride_ms_max: one_of([20, 100, 400, 800]),
            crash_permille: one_of([0, 10, 30, 60]),
            cut_permille: one_of([0, 10, 20, 60]),
            lose_permille: one_of([0, 20, 60, 200]),
            change_permille: one_of([0, 0, 5, 20]),
        }
    }
}

struct Run {
    weather: Weather,
    cluster: Cluster,
    rng: Rng,
    ids: Vec<ServerId>,
    tags: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::from_seed(seed);
        let servers = [3, 3, 5, 4][usize::try_from(rng.between(0, 3)).expect("a small number")];
        let ids: Vec<_> = (1..=servers).map(ServerId).collect();
        let mut cluster = Cluster::new(seed, tight);
        for &id in &ids {
            cluster.add_new(id);
        }
        let drift_max = CLOCK_DRIFT_PERMILLE_MAX.cast_signed();
        for host in cluster.hosts.values_mut() {
            let drift = [-drift_max, 0, 0, drift_max];
            host.drift_permille = drift[usize::try_from(rng.between(0, 3)).expect("small")];
        }
        let weather = Weather::draw(&mut rng);
        let mut run = Self { weather, cluster, rng, ids, tags: 0 };
        run.bootstrap();
        run
    }

    /// The first server is told of the cluster at every start; only the first time counts.
    fn bootstrap(&mut self) {
        let configuration = Configuration::new(&self.ids, &[]);
        let first = self.ids[0];
        self.cluster.step(first, |raft, now, out| raft.on_bootstrap(now, configuration, out));
    }

    fn restart(&mut self, id: ServerId) {
        self.cluster.restart(id);
        if id == self.ids[0] {
            self.bootstrap();
        }
    }

    fn pick(&mut self) -> ServerId {
        let slot = self.rng.between(0, self.ids.len() as u64 - 1);
        self.ids[usize::try_from(slot).expect("a small number")]
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.rng.between(0, bound.max(1) as u64 - 1)).expect("a small number")
    }

    fn act(&mut self) {
        let Weather { crash_permille, cut_permille, change_permille, .. } = self.weather;
        if self.rng.chance(crash_permille) {
            self.crash_or_restart();
        }
        if self.rng.chance(cut_permille) {
            self.cut_or_heal();
        }
        if self.rng.chance(change_permille) {
            self.change_configuration();
        }
        match self.rng.between(0, 999) {
            0..550 => self.carry(),
            550..760 => {
                let id = self.pick();
                let count = self.rng.between(1, 4);
                self.cluster.persist(id, usize::try_from(count).expect("a small number"));
            }
            760..850 => self.propose(),
            850..880 => self.read(),
            880..980 => {
                let ms = self.rng.between(1, self.weather.stride_ms_max);
                self.cluster.now = self.cluster.now.plus_ms(ms);
                self.cluster.wake_all();
            }
            980..993 => self.save_snapshot(),
            _ => self.transfer(),
        }
        // A network holds so much and no more.
        while 200 < self.cluster.wire.len() {
            self.cluster.wire.pop_front();
        }
    }

    /// One message arrives, mostly in order; or is lost, or doubled.
    fn carry(&mut self) {
        if self.cluster.wire.is_empty() {
            return;
        }
        let far = if self.rng.chance(150) { self.cluster.wire.len() } else { 3 };
        let slot = self.below(far.min(self.cluster.wire.len()));
        if self.rng.chance(self.weather.lose_permille) {
            self.cluster.wire.remove(slot);
            return;
        }
        if self.rng.chance(50) {
            let letter = self.cluster.wire[slot].clone();
            self.cluster.wire.push_back(letter);
        }
        self.cluster.deliver(slot);
    }

    fn propose(&mut self) {
        let id = self.cluster.leader().unwrap_or(self.ids[0]);
        let count = u32::try_from(self.rng.between(1, 3)).expect("a small number");
        let number = self.rng.next_u64();
        let bytes: Arc<[u8]> = number.to_le_bytes().repeat(self.below(8) + 1).into();
        let payload = Payload::Commands { count, bytes };
        self.cluster.step(id, |raft, now, out| {
            raft.on_propose(now, payload, out).ok();
        });
    }

    fn read(&mut self) {
        let id = self.pick();
        self.tags += 1;
        let tag = self.tags;
        if self.cluster.hosts[&id].raft.is_some() {
            self.cluster.oracle.note_read(id, tag);
            let proof = if self.rng.chance(500) { Proof::Lease } else { Proof::Round };
            self.cluster.step(id, |raft, now, out| raft.on_read(now, tag, proof, out));
        }
    }

    fn crash_or_restart(&mut self) {
        let id = self.pick();
        if self.cluster.hosts[&id].raft.is_none() {
            self.restart(id);
        } else {
            let pending = self.cluster.hosts[&id].pending.len();
            let kept = self.below(pending + 1);
            self.cluster.crash(id, kept);
        }
    }

    fn cut_or_heal(&mut self) {
        if self.rng.chance(400) {
            self.cluster.cuts.clear();
            return;
        }
        let (left, right) = (self.pick(), self.pick());
        if self.rng.chance(500) {
            self.cluster.cuts.insert((left, right));
        } else {
            self.cluster.cut(left, right);
        }
    }

    fn save_snapshot(&mut self) {
        let id = self.pick();
        let host = &self.cluster.hosts[&id];
        if host.raft.is_some() && !host.state.is_empty() {
            self.cluster.save_snapshot(id);
        }
    }

    fn change_configuration(&mut self) {
        let Some(id) = self.cluster.leader() else { return };
        let voters: Vec<_> = self.ids.iter().copied().filter(|_| self.rng.chance(800)).collect();
        let learners: Vec<_> = self.ids.iter().copied().filter(|id| !voters.contains(id)).collect();
        let payload = Payload::Configuration(Box::new(Configuration::new(&voters, &learners)));
        self.cluster.step(id, |raft, now, out| {
            raft.on_propose(now, payload, out).ok();
        });
    }

    fn transfer(&mut self) {
        let Some(id) = self.cluster.leader() else { return };
        let to = self.pick();
        self.cluster.step(id, |raft, now, out| {
            raft.on_transfer(now, to, out).ok();
        });
    }

    /// All faults end: within a bound there is one leader, and everyone has what it has.
    fn heal(&mut self) {
        self.cluster.cuts.clear();
        for id in self.ids.clone() {
            if self.cluster.hosts[&id].raft.is_none() {
                self.restart(id);
            }
        }
        self.cluster.settle();
        self.cluster.wait(20_000);
        let leaders: Vec<_> = self.ids.iter().copied().filter(|id| self.leads(*id)).collect();
        assert_eq!(leaders.len(), 1, "one leader");
        let marker = Payload::Commands { count: 1, bytes: (*b"healed").into() };
        self.cluster.step(leaders[0], |raft, now, out| {
            raft.on_propose(now, marker, out).expect("a leader at rest takes proposals");
        });
        self.cluster.settle();
        self.cluster.wait(3_000);
        let leader = self.cluster.hosts[&leaders[0]].running();
        assert_eq!(leader.commit_index(), leader.last_index(), "everything is committed");
        assert!(!leader.configuration().is_joint(), "a joint phase ends");
        for id in &self.ids {
            let host = &self.cluster.hosts[id];
            assert_eq!(host.running().last(), leader.last(), "s{}: logs are equal", id.0);
            assert_eq!(host.state, self.cluster.hosts[&leaders[0]].state, "s{}: states", id.0);
        }
    }

    fn leads(&self, id: ServerId) -> bool {
        self.cluster.hosts[&id].running().role() == Role::Leader
    }
}

#[test]
fn no_schedule_breaks_a_promise_and_every_cluster_heals() {
    let seeds = std::env::var("SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(150);
    let first = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let (mut leaders, mut committed, mut reads) = (0, 0, 0);
    for seed in first..first + seeds {
        let outcome = std::panic::catch_unwind(|| {
            let mut run = Run::new(seed);
            for _ in 0..3_000 {
                run.act();
            }
            run.heal();
            let oracle = &run.cluster.oracle;
            (oracle.leaders_count(), oracle.committed_index().0, oracle.reads_answered)
        });
        let (won, index, answered) = outcome.unwrap_or_else(|_| panic!("seed {seed}"));
        leaders += won;
        committed += index;
        reads += answered;
    }
    // A test that reaches nothing proves nothing.
    assert!(seeds * 2 < leaders as u64, "elections happen: {leaders}");
    assert!(seeds * 20 < committed, "frames are committed: {committed}");
    assert!(seeds < reads as u64, "reads are answered: {reads}");
}
