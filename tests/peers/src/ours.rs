//! Drover's consensus machine, driven as its agent drives it: one input at a time, what it says
//! carried out in order, then `on_time`; a write counts when the disk has said so.
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
const LEADER: usize = 0;
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
    inbox: VecDeque<(ServerId, Letter)>,
    applied: Applied,
}

#[derive(Default)]
struct Applied {
    entries: u64,
    uncut: u64,
    frame: Option<Arc<Frame>>,
}

enum Letter {
    Said(Message),
    Encoded(Vec<u8>),
}

/// What is said first is carried out first.
#[derive(Default)]
struct Said(VecDeque<Output>);

impl Emit<Output> for Said {
    fn emit(&mut self, output: Output) {
        self.0.push_back(output);
    }
}

/// Three of them.
pub(crate) struct Ours {
    load: Load,
    weight: Weight,
    voters: [Voter; 3],
    now: MonoTime,
    /// What a machine just said.
    said: Said,
    payload: Vec<u8>,
    body: Vec<u8>,
    proposed: u64,
    watched: Option<Traffic>,
}

impl Ours {
    pub(crate) fn new(load: Load, weight: Weight) -> Self {
        let voter = |id| Voter {
            raft: Raft::new(
                config(id, load),
                Rng::from_seed(7).fork_number(id.0),
                Recovered::default(),
                MonoTime::default(),
            ),
            disk: Disk::new(weight),
            inbox: VecDeque::new(),
            applied: Applied::default(),
        };
        let mut ours = Self {
            load,
            weight,
            voters: SERVERS.map(voter),
            now: MonoTime::default(),
            said: Said::default(),
            payload: load.payload(),
            body: Vec::new(),
            proposed: 0,
            watched: None,
        };
        ours.found();
        ours
    }

    /// All are told of the cluster, and the first loses its patience.
    fn found(&mut self) {
        let configuration = Configuration::new(&SERVERS, &[]);
        for at in 0..SERVERS.len() {
            let now = self.now;
            self.voters[at].raft.on_bootstrap(now, configuration.clone(), &mut self.said);
            self.carry_out(at);
        }
        self.settle();
        let raft = &self.voters[LEADER].raft;
        self.now = raft.next_deadline().expect("a voter waits for a leader");
        self.pass_time(LEADER);
        self.settle();
        assert!(self.voters[LEADER].raft.is_ready(), "the first one leads");
    }

    fn propose(&mut self) {
        self.body.clear();
        for _ in 0..self.load.batch {
            self.body.extend_from_slice(&self.payload);
        }
        let count = u32::try_from(self.load.batch).expect("a batch fits into a frame");
        let payload = Payload::Commands { count, bytes: Arc::from(&self.body[..]) };
        let raft = &mut self.voters[LEADER].raft;
        let mark = raft.on_propose(self.now, payload, &mut self.said);
        assert!(mark.is_ok(), "a leader with an empty window takes what is proposed");
        self.proposed += self.load.batch;
        self.finish_step(LEADER);
    }

    /// Lets everything happen that follows.
    fn settle(&mut self) {
        let mut is_quiet = false;
        while !is_quiet {
            is_quiet = true;
            for at in 0..SERVERS.len() {
                while let Some((from, letter)) = self.voters[at].inbox.pop_front() {
                    is_quiet = false;
                    let message = open(from, letter);
                    self.voters[at].raft.on_message(self.now, from, message, &mut self.said);
                    self.finish_step(at);
                }
                while let Some(upto) = self.voters[at].disk.complete() {
                    is_quiet = false;
                    self.voters[at].raft.on_persisted(self.now, upto, &mut self.said);
                    self.finish_step(at);
                }
            }
        }
    }

    /// What an agent does after every input.
    fn finish_step(&mut self, at: usize) {
        self.carry_out(at);
        self.pass_time(at);
    }

    fn pass_time(&mut self, at: usize) {
        self.voters[at].raft.on_time(self.now, &mut self.said);
        self.carry_out(at);
    }

    fn carry_out(&mut self, at: usize) {
        while let Some(output) = self.said.0.pop_front() {
            match output {
                Output::Persist { seq, record } => self.voters[at].disk.write(seq, &record),
                Output::Send(to, message) => self.send(SERVERS[at], to, message),
                Output::Commit(frame) => self.apply(at, frame),
                Output::Compacted { upto } => self.voters[at].disk.on_compacted(upto),
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

    fn send(&mut self, from: ServerId, to: ServerId, message: Message) {
        let voter = SERVERS.iter().position(|&id| id == to).expect("there are three");
        let is_encoded = self.weight == Weight::Wire;
        if self.watched.is_none() && !is_encoded {
            self.voters[voter].inbox.push_back((from, Letter::Said(message)));
            return;
        }
        let entries = entries_of(&message);
        let message = wire::Message::Raft(message);
        let bytes = message.encode();
        if let Some(traffic) = &mut self.watched {
            traffic.note(bytes.len() as u64, entries);
        }
        let letter = match message {
            wire::Message::Raft(message) if !is_encoded => Letter::Said(message),
            _ => Letter::Encoded(bytes),
        };
        self.voters[voter].inbox.push_back((from, letter));
    }

    fn apply(&mut self, at: usize, frame: Arc<Frame>) {
        let voter = &mut self.voters[at];
        if let Payload::Commands { count, .. } = &frame.payload {
            voter.applied.entries += u64::from(*count);
            voter.applied.uncut += u64::from(*count);
        }
        let position = frame.position();
        voter.applied.frame = Some(frame);
        if CUT_ENTRIES <= voter.applied.uncut {
            voter.applied.uncut = 0;
            let mark = mark_at(&voter.raft, position);
            voter.raft.on_snapshot_saved(self.now, mark, &mut self.said);
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
        match watch {
            Watch::Begin => self.watched.replace(Traffic::default()).unwrap_or_default(),
            Watch::End => self.watched.take().unwrap_or_default(),
        }
    }

    fn check(&self) {
        let held = |voter: &Voter| voter.applied.frame.as_ref().map(|frame| frame.position());
        for voter in &self.voters {
            voter.raft.check_invariants();
            assert_eq!(voter.applied.entries, self.proposed, "all that was proposed is applied");
            assert_eq!(held(voter), held(&self.voters[LEADER]), "all are at the same place");
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

fn open(from: ServerId, letter: Letter) -> Message {
    match letter {
        Letter::Said(message) => message,
        Letter::Encoded(bytes) => match wire::Message::decode(wire::PeerId::Server(from), &bytes) {
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
