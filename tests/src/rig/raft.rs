//! Consensus machines with a network, disks and a clock that only move when a test says so.
//!
//! A host's disk keeps the records that were written, in order, and those that are still under way;
//! a crash keeps any prefix of the latter. Every output passes the oracle.
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use drover_core::digest::Digest;
use drover_core::raft::{
    Chunk, Config, Configuration, Frame, HardState, Message, Output, Payload, Position, Priority,
    Raft, Record, Recovered, Role, SnapshotMark,
};
use drover_core::rng::Rng;
use drover_core::time::MonoTime;
use drover_core::types::{Index, ServerId, Term, WriteSeq};

use super::raft_ladder;
use super::raft_oracle::Oracle;

/// A message under way.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Who sent it.
    pub from: ServerId,
    /// Who should get it.
    pub to: ServerId,
    /// The message.
    pub message: Message,
}

/// One server: its machine while it runs, and what survives it.
#[derive(Clone, Debug)]
pub struct Host {
    /// The machine; none while crashed.
    pub raft: Option<Raft>,
    /// What is on disk.
    pub records: Vec<Record>,
    /// What is being written.
    pub pending: VecDeque<(WriteSeq, Record)>,
    /// How fast its clock runs, in thousandths: none, or less than a thousand.
    pub drift_permille: i64,
    /// From the next start on.
    pub priority: Priority,
    /// Whether writes wait for `persist` even when all settles.
    pub is_disk_held: bool,
    /// The state machine: what was applied, and up to where.
    pub state: Vec<Position>,
    snapshot: Option<(SnapshotMark, Arc<[u8]>)>,
    incoming: Vec<u8>,
    boots: u64,
}

impl Host {
    fn new() -> Self {
        Self {
            raft: None,
            records: Vec::new(),
            pending: VecDeque::new(),
            drift_permille: 0,
            priority: Priority::Normal,
            is_disk_held: false,
            state: Vec::new(),
            snapshot: None,
            incoming: Vec::new(),
            boots: 0,
        }
    }

    /// What a restart would find.
    #[must_use]
    pub fn recovered(&self) -> Recovered {
        let snapshot = self.snapshot.as_ref().map(|(mark, _)| mark.clone());
        Recovered::from_records(self.records.iter().cloned(), snapshot)
    }

    /// The machine.
    ///
    /// # Panics
    /// If the host is crashed.
    #[must_use]
    pub fn running(&self) -> &Raft {
        self.raft.as_ref().expect("the host runs")
    }

    /// What its clock shows at a moment of the world.
    fn clock(&self, at: MonoTime) -> MonoTime {
        MonoTime {
            ns: at.ns.saturating_add_signed(at.ns.cast_signed() / 1_000 * self.drift_permille),
        }
    }

    /// When its clock shows `time`, or just has.
    fn moment_of(&self, time: MonoTime) -> MonoTime {
        let speed =
            1_000_u64.checked_add_signed(self.drift_permille).expect("a clock goes forward");
        MonoTime { ns: time.ns.div_ceil(speed) * 1_000 }
    }

    fn deadline(&self) -> Option<MonoTime> {
        let raft = self.raft.as_ref()?;
        raft.next_deadline().map(|at| self.moment_of(at))
    }
}

/// Several servers and what lies between them.
#[derive(Debug)]
pub struct Cluster {
    /// The world's time; hosts have clocks of their own.
    pub now: MonoTime,
    /// The servers.
    pub hosts: BTreeMap<ServerId, Host>,
    /// Messages under way, oldest first.
    pub wire: VecDeque<Letter>,
    /// What happened since it was last taken, as lines.
    pub ladder: Vec<String>,
    /// Who cannot reach whom.
    pub cuts: BTreeSet<(ServerId, ServerId)>,
    /// Watches everything.
    pub oracle: Oracle,
    /// What servers added from now on are configured to.
    pub tune: fn(&mut Config),
    seed: u64,
}

impl Cluster {
    /// No servers yet.
    #[must_use]
    pub fn new(seed: u64, tune: fn(&mut Config)) -> Self {
        Self {
            now: MonoTime::default().plus_ms(10_000),
            hosts: BTreeMap::new(),
            wire: VecDeque::new(),
            ladder: Vec::new(),
            cuts: BTreeSet::new(),
            oracle: Oracle::default(),
            seed,
            tune,
        }
    }

    /// A server with a log of one-entry frames in these terms; the first holds `configuration`.
    /// It has stood long enough to vote.
    pub fn add(&mut self, id: ServerId, terms: &[u64], term: u64, configuration: &Configuration) {
        let mut host = Host::new();
        if 0 < term {
            let hard_state = HardState { term: Term(term), voted_for: None };
            host.records.push(Record::HardState(hard_state));
        }
        for (index, &term) in (1..).zip(terms) {
            let payload = match index {
                1 => Payload::Configuration(Box::new(configuration.clone())),
                _ => Payload::Commands { count: 1, bytes: [].into() },
            };
            let frame = Arc::new(Frame { first: Index(index), term: Term(term), payload });
            host.records.push(Record::Frame { truncate_from: None, frame });
        }
        self.hosts.insert(id, host);
        let real_now = self.now;
        self.now = MonoTime::default();
        self.restart(id);
        self.now = real_now;
        self.ladder.clear();
    }

    /// A server of a new cluster.
    pub fn add_new(&mut self, id: ServerId) {
        self.hosts.insert(id, Host::new());
        self.restart(id);
    }

    /// Starts a crashed server from its disk.
    ///
    /// # Panics
    /// If it runs.
    pub fn restart(&mut self, id: ServerId) {
        let host = self.hosts.get_mut(&id).expect("the host exists");
        assert!(host.raft.is_none(), "a running server is not started");
        host.boots += 1;
        let mut config = Config { priority: host.priority, ..Config::new(id) };
        (self.tune)(&mut config);
        let rng = Rng::from_seed(self.seed).fork_number(id.0 << 20 | host.boots);
        let recovered = host.recovered();
        let raft = Raft::new(config, rng, recovered, host.clock(self.now));
        raft.check_invariants();
        host.state = host.snapshot.as_ref().map_or_else(Vec::new, |(_, bytes)| decode(bytes));
        host.raft = Some(raft);
        self.ladder.push(format!("s{}      starts", id.0));
    }

    /// Stops a server; the first `kept` of the writes under way reach the disk.
    pub fn crash(&mut self, id: ServerId, kept: usize) {
        let host = self.hosts.get_mut(&id).expect("the host exists");
        host.raft = None;
        host.incoming.clear();
        let pending: Vec<_> = host.pending.drain(..).collect();
        host.records.extend(pending.into_iter().take(kept).map(|(_, record)| record));
        self.oracle.forget(id);
        self.ladder.push(format!("s{}      crashes", id.0));
    }

    /// Lets one machine do something, and carries out what it says.
    pub fn step(&mut self, id: ServerId, act: impl FnOnce(&mut Raft, MonoTime, &mut Vec<Output>)) {
        let mut out = Vec::new();
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let now = host.clock(self.now);
        let Some(raft) = &mut host.raft else { return };
        act(raft, now, &mut out);
        raft.check_invariants();
        self.oracle.check_machine(id, raft);
        for output in out {
            self.carry_out(id, output);
        }
    }

    fn carry_out(&mut self, id: ServerId, output: Output) {
        self.ladder.extend(raft_ladder::line(id, &output));
        let host = self.hosts.get_mut(&id).expect("the host exists");
        match output {
            Output::Persist { seq, record } => host.pending.push_back((seq, record)),
            Output::Send(to, message) => {
                if !self.cuts.contains(&(id, to)) {
                    self.wire.push_back(Letter { from: id, to, message });
                }
            }
            Output::Commit(frame) => {
                assert_eq!(host.state.last().map_or(Index(0), |at| at.index).next(), frame.first);
                host.state.push(frame.position());
                self.oracle.check_commit(&frame, &self.hosts);
            }
            Output::LeadWon(term) => self.oracle.check_leader(id, term, &self.hosts),
            Output::ReadReady { tag, index } => self.oracle.check_read(id, tag, Some(index)),
            Output::ReadFailed { tag } => self.oracle.check_read(id, tag, None),
            Output::ReadChunk { to, snapshot, offset, bytes_max } => {
                self.read_chunk(id, to, snapshot, offset..offset + bytes_max);
            }
            Output::StoreChunk { offset, bytes, .. } => {
                if offset == 0 {
                    host.incoming.clear();
                }
                assert_eq!(offset, host.incoming.len() as u64, "parts are stored in order");
                host.incoming.extend_from_slice(&bytes);
            }
            Output::InstallSnapshot(mark) => self.install(id, *mark),
            Output::LeadReady(_)
            | Output::LeadLost
            | Output::Compacted { .. }
            | Output::Configured(_) => (),
        }
    }

    fn read_chunk(
        &mut self,
        id: ServerId,
        to: ServerId,
        index: Index,
        range: std::ops::Range<u64>,
    ) {
        let (mark, bytes) = self.hosts[&id].snapshot.clone().expect("a snapshot was saved");
        if mark.index != index {
            self.step(id, |raft, now, out| raft.on_chunk_missing(now, to, index, out));
            return;
        }
        let at = |offset: u64| usize::try_from(offset).expect("a small snapshot").min(bytes.len());
        let bytes = bytes[at(range.start)..at(range.end)].into();
        let chunk = Chunk { snapshot: index, offset: range.start, bytes };
        self.step(id, |raft, now, out| raft.on_chunk_read(now, to, chunk, out));
    }

    fn install(&mut self, id: ServerId, mark: SnapshotMark) {
        let host = self.hosts.get_mut(&id).expect("the host exists");
        let bytes: Arc<[u8]> = host.incoming.as_slice().into();
        assert_eq!(Digest::of(&bytes), mark.digest, "a snapshot is received as it was sent");
        host.state = decode(&bytes);
        host.snapshot = Some((mark.clone(), bytes));
        self.step(id, |raft, now, out| raft.on_snapshot_installed(now, mark, out));
    }

    /// Saves a snapshot of a server's state.
    ///
    /// # Panics
    /// If nothing was applied.
    pub fn save_snapshot(&mut self, id: ServerId) {
        let host = self.hosts.get_mut(&id).expect("the host exists");
        let at = *host.state.last().expect("something was applied");
        let bytes: Arc<[u8]> = encode(&host.state).into();
        let mark = SnapshotMark {
            index: at.index,
            term: at.term,
            digest: Digest::of(&bytes),
            bytes: bytes.len() as u64,
            configuration: host.running().configuration_at(at.index).clone(),
        };
        host.snapshot = Some((mark.clone(), bytes));
        self.step(id, |raft, now, out| raft.on_snapshot_saved(now, mark, out));
    }

    /// The oldest `count` writes under way are durable.
    pub fn persist(&mut self, id: ServerId, count: usize) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let done: Vec<_> = host.pending.drain(..count.min(host.pending.len())).collect();
        let Some(upto) = done.last().map(|&(seq, _)| seq) else { return };
        host.records.extend(done.into_iter().map(|(_, record)| record));
        self.step(id, |raft, now, out| raft.on_persisted(now, upto, out));
    }

    /// Delivers the message at `slot`.
    pub fn deliver(&mut self, slot: usize) {
        let Some(letter) = self.wire.remove(slot) else { return };
        self.receive(letter);
    }

    /// Lets a message arrive, if its sender can reach its receiver.
    pub fn receive(&mut self, letter: Letter) {
        let Letter { from, to, message } = letter;
        if !self.cuts.contains(&(from, to)) {
            self.step(to, |raft, now, out| raft.on_message(now, from, message, out));
        }
    }

    /// Delivers messages and finishes writes until nothing is left to do.
    ///
    /// # Panics
    /// If that does not come to an end.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            let busy = |host: &&ServerId| {
                let host = &self.hosts[host];
                !host.is_disk_held && !host.pending.is_empty()
            };
            if let Some(id) = self.hosts.keys().find(busy).copied() {
                self.persist(id, usize::MAX);
            } else if self.wire.is_empty() {
                return;
            } else {
                self.deliver(0);
            }
        }
        panic!("the cluster does not come to rest");
    }

    /// Time passes, deadline by deadline; all settles after each.
    pub fn wait(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        while let Some(at) = self.next_deadline().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.wake_all();
            self.settle();
        }
        self.now = end;
    }

    /// The earliest deadline of all.
    #[must_use]
    pub fn next_deadline(&self) -> Option<MonoTime> {
        self.hosts.values().filter_map(Host::deadline).min()
    }

    /// When a server must next be told the time.
    #[must_use]
    pub fn deadline_of(&self, id: ServerId) -> Option<MonoTime> {
        self.hosts[&id].deadline()
    }

    /// Tells every machine the time.
    pub fn wake_all(&mut self) {
        let ids: Vec<_> = self.hosts.keys().copied().collect();
        for id in ids {
            self.step(id, |raft, now, out| {
                if raft.next_deadline().is_some_and(|at| at <= now) {
                    raft.on_time(now, out);
                }
            });
        }
    }

    /// The leader of the latest term, if any leads.
    #[must_use]
    pub fn leader(&self) -> Option<ServerId> {
        let machines = self.hosts.iter().filter_map(|(&id, host)| Some((id, host.raft.as_ref()?)));
        let leaders = machines.filter(|(_, raft)| raft.role() == Role::Leader);
        leaders.max_by_key(|(_, raft)| raft.term()).map(|(id, _)| id)
    }

    /// Nobody of `left` reaches anybody of `right`, nor the other way round.
    pub fn cut(&mut self, left: ServerId, right: ServerId) {
        self.cuts.extend([(left, right), (right, left)]);
        let cuts = &self.cuts;
        self.wire.retain(|letter| !cuts.contains(&(letter.from, letter.to)));
    }
}

fn encode(state: &[Position]) -> Vec<u8> {
    state.iter().flat_map(|at| [at.term.0, at.index.0]).flat_map(u64::to_le_bytes).collect()
}

fn decode(bytes: &[u8]) -> Vec<Position> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let position = |bytes: &[u8]| Position {
        term: Term(number(&bytes[..8])),
        index: Index(number(&bytes[8..])),
    };
    bytes.chunks(16).map(position).collect()
}
