//! Drover's consensus machine, driven as its agent drives it: one input at a time, then `on_time`, what
//! it says carried out in order; a write counts when the disk has said so. The agent's queue between
//! its machines is left out: there is only one machine here.
//!
//! A batch is one frame: its payloads are gathered in a buffer that is used again, and copied once
//! into the frame that three logs, two messages and three disks share. In production each follower
//! has a copy of its own, made by the decoder: `Weight::Wire` makes it too.
use std::collections::VecDeque;
use std::sync::Arc;

use drover_core::digest::Digest;
use drover_core::emit::Emit;
use drover_core::raft::{
    Body, Config, Configuration, Frame, Message, Output, Payload, Position, Raft, Recovered,
    SnapshotMark,
};
use drover_core::rng::Rng;
use drover_core::time::MonoTime;
use drover_core::types::{Index, ServerId, WriteSeq};
use drover_core::wire;

mod disk;

use crate::load::{CUT_ENTRIES, Cluster, Load, RETAINED_ENTRIES, Traffic, Watch};
use disk::Disk;

const SERVERS: [ServerId; 3] = [ServerId(1), ServerId(2), ServerId(3)];
const LEADER: ServerId = SERVERS[0];
/// What `Frame::cost_bytes` adds to a body.
const FRAME_COST_BYTES: u64 = 64;
/// Between two batches: heartbeats come now and then, as in a busy cluster.
const BATCH_NS: u64 = 10_000;

/// How much of the way to the disk and the network is walked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Weight {
    /// The machine alone.
    Machine,
    /// Each voter takes the checksum of the frame.
    Checksum,
    /// Each voter encodes the record, appends it to a write-ahead log and seals the block.
    Journal,
    /// The same, and each message is encoded and decoded.
    Wire,
}

struct Voter {
    raft: Raft,
    disk: Disk,
    applied: Applied,
}

#[derive(Default)]
struct Applied {
    entries: u64,
    uncut: u64,
    frame: Option<Arc<Frame>>,
}

struct Letter {
    from: ServerId,
    to: ServerId,
    text: Text,
}

enum Text {
    Said(Message),
    Encoded(Vec<u8>),
}

/// What lies between the voters.
struct Network {
    weight: Weight,
    under_way: VecDeque<Letter>,
    watched: Option<Traffic>,
}

/// Carries out what a machine says, at the moment it says it.
struct Carrier<'a> {
    id: ServerId,
    disk: &'a mut Disk,
    applied: &'a mut Applied,
    network: &'a mut Network,
}

/// Three of them.
pub(crate) struct Ours {
    load: Load,
    voters: [Voter; 3],
    network: Network,
    now: MonoTime,
    payload: Vec<u8>,
    body: Vec<u8>,
    proposed: u64,
}

impl Emit<Output> for Carrier<'_> {
    fn emit(&mut self, output: Output) {
        match output {
            Output::Persist { seq, record } => self.disk.write(seq, &record),
            Output::Send(to, message) => self.network.send(self.id, to, message),
            Output::Commit(frame) => self.applied.apply(frame),
            Output::Compacted { upto } => self.disk.on_compacted(upto),
            Output::LeadWon(_) | Output::LeadReady(_) | Output::Configured(_) => (),
            Output::LeadLost
            | Output::ReadReady { .. }
            | Output::ReadFailed { .. }
            | Output::ReadChunk { .. }
            | Output::StoreChunk { .. }
            | Output::InstallSnapshot(_) => panic!("nobody asked for this: {output:?}"),
        }
    }
}

impl Applied {
    fn apply(&mut self, frame: Arc<Frame>) {
        if let Payload::Commands { count, .. } = &frame.payload {
            self.entries += u64::from(*count);
            self.uncut += u64::from(*count);
        }
        self.frame = Some(frame);
    }

    /// Where the log should be cut now, if so.
    fn take_cut(&mut self) -> Option<Position> {
        if self.uncut < CUT_ENTRIES {
            return None;
        }
        self.uncut = 0;
        self.frame.as_ref().map(|frame| frame.position())
    }
}

impl Network {
    fn send(&mut self, from: ServerId, to: ServerId, message: Message) {
        let is_encoded = self.weight == Weight::Wire;
        if self.watched.is_none() && !is_encoded {
            self.under_way.push_back(Letter { from, to, text: Text::Said(message) });
            return;
        }
        let entries = entries_of(&message);
        let message = wire::Message::Raft(message);
        let bytes = message.encode();
        if let Some(traffic) = &mut self.watched {
            traffic.note(bytes.len() as u64, entries);
        }
        let text = match message {
            wire::Message::Raft(message) if !is_encoded => Text::Said(message),
            _ => Text::Encoded(bytes),
        };
        self.under_way.push_back(Letter { from, to, text });
    }
}

impl Voter {
    fn new(id: ServerId, load: Load, weight: Weight) -> Self {
        let rng = Rng::from_seed(7).fork_number(id.0);
        Self {
            raft: Raft::new(config(id, load), rng, Recovered::default(), MonoTime::default()),
            disk: Disk::new(weight),
            applied: Applied::default(),
        }
    }

    /// Something happens to the machine, and its disk does what it was asked to.
    fn step(
        &mut self,
        (id, now): (ServerId, MonoTime),
        network: &mut Network,
        happen: impl FnOnce(&mut Raft, &mut Carrier<'_>),
    ) {
        let Self { raft, disk, applied } = self;
        let mut carrier = Carrier { id, disk, applied, network };
        happen(raft, &mut carrier);
        raft.on_time(now, &mut carrier);
        while let Some(upto) = carrier.disk.complete() {
            raft.on_persisted(now, upto, &mut carrier);
            raft.on_time(now, &mut carrier);
        }
        if let Some(position) = carrier.applied.take_cut() {
            let mark = mark_at(raft, position);
            raft.on_snapshot_saved(now, mark, &mut carrier);
        }
    }
}

impl Ours {
    pub(crate) fn new(load: Load, weight: Weight) -> Self {
        let mut ours = Self {
            load,
            voters: SERVERS.map(|id| Voter::new(id, load, weight)),
            network: Network { weight, under_way: VecDeque::new(), watched: None },
            now: MonoTime::default(),
            payload: load.payload(),
            body: Vec::new(),
            proposed: 0,
        };
        ours.found();
        ours
    }

    /// All are told of the cluster, and the first loses its patience.
    fn found(&mut self) {
        let now = self.now;
        for id in SERVERS {
            let configuration = Configuration::new(&SERVERS, &[]);
            self.step(id, |raft, out| raft.on_bootstrap(now, configuration, out));
        }
        self.settle();
        let deadline = self.voters[slot(LEADER)].raft.next_deadline();
        self.now = deadline.expect("a voter waits for a leader");
        self.step(LEADER, |_, _| ());
        self.settle();
        assert!(self.voters[slot(LEADER)].raft.is_ready(), "the first one leads");
    }

    fn step(&mut self, id: ServerId, happen: impl FnOnce(&mut Raft, &mut Carrier<'_>)) {
        self.voters[slot(id)].step((id, self.now), &mut self.network, happen);
    }

    fn propose(&mut self) {
        self.body.clear();
        for _ in 0..self.load.batch {
            self.body.extend_from_slice(&self.payload);
        }
        let count = u32::try_from(self.load.batch).expect("a batch fits into a frame");
        let (now, bytes) = (self.now, Arc::from(&self.body[..]));
        self.step(LEADER, |raft, out| {
            let mark = raft.on_propose(now, Payload::Commands { count, bytes }, out);
            assert!(mark.is_ok(), "a leader with an empty window takes what is proposed");
        });
        self.proposed += self.load.batch;
    }

    /// Lets everything happen that follows.
    fn settle(&mut self) {
        let now = self.now;
        while let Some(Letter { from, to, text }) = self.network.under_way.pop_front() {
            let message = open(from, text);
            self.step(to, |raft, out| raft.on_message(now, from, message, out));
        }
    }
}

impl Cluster for Ours {
    fn run(&mut self, batches: u64) {
        for _ in 0..batches {
            self.now.ns += BATCH_NS;
            self.propose();
            self.settle();
        }
    }

    fn watch(&mut self, watch: Watch) -> Traffic {
        let next = match watch {
            Watch::Begin => Some(Traffic::default()),
            Watch::End => None,
        };
        std::mem::replace(&mut self.network.watched, next).unwrap_or_default()
    }

    fn check(&self) {
        let held = |voter: &Voter| voter.applied.frame.as_ref().map(|frame| frame.position());
        for voter in &self.voters {
            voter.raft.check_invariants();
            assert_eq!(voter.applied.entries, self.proposed, "all that was proposed is applied");
            assert_eq!(held(voter), held(&self.voters[0]), "all are at the same place");
            let frame = voter.applied.frame.as_ref().expect("something was applied");
            let Payload::Commands { bytes, .. } = &frame.payload else {
                panic!("it holds commands")
            };
            assert!(bytes[..] == self.body[..], "what was applied is what was proposed");
            let kept: u64 = voter.raft.frames().map(|frame| u64::from(frame.count())).sum();
            assert!(RETAINED_ENTRIES <= kept, "only {kept} entries are in the log");
        }
    }
}

fn slot(id: ServerId) -> usize {
    SERVERS.iter().position(|&server| server == id).expect("there are three")
}

fn config(id: ServerId, load: Load) -> Config {
    let frame_bytes = load.batch * load.payload_bytes as u64 + FRAME_COST_BYTES;
    let frames = RETAINED_ENTRIES.div_ceil(load.batch);
    Config {
        // Nothing follows a batch that could carry its commit to the followers.
        commit_notice_ms: 0,
        retained_bytes_max: frames * frame_bytes,
        ..Config::new(id)
    }
}

fn mark_at(raft: &Raft, position: Position) -> SnapshotMark {
    let Position { term, index } = position;
    let configuration = raft.configuration_at(index).clone();
    SnapshotMark { index, term, digest: Digest::default(), bytes: 0, configuration }
}

fn entries_of(message: &Message) -> u64 {
    let Body::Append { frames, .. } = &message.body else { return 0 };
    frames.iter().map(|frame| u64::from(frame.count())).sum()
}

fn open(from: ServerId, text: Text) -> Message {
    match text {
        Text::Said(message) => message,
        Text::Encoded(bytes) => match wire::Message::decode(wire::PeerId::Server(from), &bytes) {
            Ok(wire::Message::Raft(message)) => message,
            other => panic!("what was sent does not come back: {other:?}"),
        },
    }
}

/// The last index that a record holds.
fn record_end(record: &drover_core::raft::Record) -> Index {
    match record {
        drover_core::raft::Record::Frame { frame, .. } => frame.last(),
        drover_core::raft::Record::HardState(_)
        | drover_core::raft::Record::SnapshotInstalled(_) => Index::default(),
    }
}

/// A machine's own count of its writes.
type Own = WriteSeq;
