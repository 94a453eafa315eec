//! The crate `raft` 0.7 (TiKV's), driven its best way: one `MsgPropose` carries a whole batch, payloads
//! are `Bytes` that are shared and never copied, and entries wait in memory behind its `Storage`.
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, EntryType, HardState, Message, MessageType, Snapshot};
use raft::{
    Config, Error, GetEntriesContext, RaftState, RawNode, StateRole, Storage, StorageError,
};

use crate::load::{Cluster, Load, RETAINED_ENTRIES, Traffic, Watch};

const VOTERS: [u64; 3] = [1, 2, 3];
const LEADER: usize = 0;
/// A log that begins at zero cannot be given a configuration.
const BASE: u64 = 5;

/// Whether each message is encoded and decoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Codec {
    Skipped,
    Protobuf,
}

#[derive(Default)]
struct Log {
    base: u64,
    base_term: u64,
    entries: VecDeque<Entry>,
    hard_state: HardState,
    configuration: ConfState,
}

#[derive(Clone, Default)]
struct Store(Rc<RefCell<Log>>);

struct Voter {
    node: RawNode<Store>,
    store: Store,
    inbox: VecDeque<Letter>,
    applied: u64,
}

enum Letter {
    Said(Message),
    Encoded(Bytes),
}

/// Three of them.
pub(crate) struct RaftRs {
    load: Load,
    codec: Codec,
    voters: [Voter; 3],
    said: Vec<Message>,
    payload: Bytes,
    proposed: u64,
    watched: Option<Traffic>,
}

impl Store {
    fn append(&self, entries: Vec<Entry>) {
        let mut log = self.0.borrow_mut();
        if let Some(first) = entries.first() {
            let kept = usize::try_from(first.index - log.base - 1).expect("a log fits in memory");
            log.entries.truncate(kept);
            log.entries.extend(entries);
        }
    }

    fn cut(&self, applied: u64) {
        let mut log = self.0.borrow_mut();
        while RETAINED_ENTRIES < log.entries.len() as u64 && log.base < applied {
            let entry = log.entries.pop_front().expect("more than enough is there");
            (log.base, log.base_term) = (entry.index, entry.term);
        }
    }
}

impl Storage for Store {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let log = self.0.borrow();
        let (hard_state, conf_state) = (log.hard_state.clone(), log.configuration.clone());
        Ok(RaftState { hard_state, conf_state })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        bytes_max: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let log = self.0.borrow();
        if low <= log.base {
            return Err(Error::Store(StorageError::Compacted));
        }
        let bytes_max = bytes_max.into().unwrap_or(u64::MAX);
        let slot = |index| usize::try_from(index - log.base - 1).expect("a log fits in memory");
        let mut found = Vec::with_capacity(slot(high) - slot(low));
        let mut bytes = 0;
        for entry in log.entries.range(slot(low)..slot(high)) {
            bytes += entry.data.len() as u64 + 24;
            if bytes_max < bytes && !found.is_empty() {
                break;
            }
            found.push(entry.clone());
        }
        Ok(found)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let log = self.0.borrow();
        if index == log.base {
            return Ok(log.base_term);
        }
        let Some(above) = index.checked_sub(log.base + 1) else {
            return Err(Error::Store(StorageError::Compacted));
        };
        let entry = usize::try_from(above).ok().and_then(|slot| log.entries.get(slot));
        entry.map(|entry| entry.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.0.borrow().base + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        let log = self.0.borrow();
        Ok(log.base + log.entries.len() as u64)
    }

    fn snapshot(&self, _: u64, _: u64) -> raft::Result<Snapshot> {
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

impl Voter {
    fn new(id: u64) -> Self {
        let store = Store::default();
        {
            let mut log = store.0.borrow_mut();
            log.configuration.voters = VOTERS.to_vec();
            (log.base, log.base_term) = (BASE, BASE);
            (log.hard_state.commit, log.hard_state.term) = (BASE, BASE);
        }
        let config = Config {
            id,
            election_tick: 10,
            heartbeat_tick: 1,
            applied: BASE,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 4096,
            check_quorum: true,
            pre_vote: true,
            batch_append: true,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&config, store.clone(), &logger).expect("the config is sound");
        Self { node, store, inbox: VecDeque::new(), applied: 0 }
    }

    fn apply(&mut self, entries: Vec<Entry>) {
        let Some(last) = entries.last().map(|entry| entry.index) else { return };
        for entry in entries {
            if entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty() {
                self.applied += 1;
            }
        }
        self.store.cut(last);
    }

    /// One `Ready`; false if there is none.
    fn ready(&mut self, said: &mut Vec<Message>) -> bool {
        if !self.node.has_ready() {
            return false;
        }
        let mut ready = self.node.ready();
        said.extend(ready.take_messages());
        self.apply(ready.take_committed_entries());
        self.store.append(ready.take_entries());
        if let Some(hard_state) = ready.hs() {
            self.store.0.borrow_mut().hard_state = hard_state.clone();
        }
        said.extend(ready.take_persisted_messages());
        let mut light = self.node.advance(ready);
        if let Some(commit) = light.commit_index() {
            self.store.0.borrow_mut().hard_state.commit = commit;
        }
        said.extend(light.take_messages());
        self.apply(light.take_committed_entries());
        self.node.advance_apply();
        true
    }
}

impl RaftRs {
    pub(crate) fn new(load: Load, codec: Codec) -> Self {
        let mut cluster = Self {
            load,
            codec,
            voters: VOTERS.map(Voter::new),
            said: Vec::new(),
            payload: Bytes::from(load.payload()),
            proposed: 0,
            watched: None,
        };
        cluster.voters[LEADER].node.campaign().expect("a voter may campaign");
        cluster.settle();
        let state = cluster.voters[LEADER].node.raft.state;
        assert_eq!(state, StateRole::Leader, "the first one leads");
        cluster
    }

    fn propose(&mut self) {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = VOTERS[LEADER];
        let entry = |_| Entry { data: self.payload.clone(), ..Entry::default() };
        message.entries = (0..self.load.batch).map(entry).collect::<Vec<_>>().into();
        self.voters[LEADER].node.raft.step(message).expect("a leader takes what is proposed");
        self.proposed += self.load.batch;
    }

    fn settle(&mut self) {
        let mut is_quiet = false;
        while !is_quiet {
            is_quiet = true;
            for at in 0..VOTERS.len() {
                while let Some(letter) = self.voters[at].inbox.pop_front() {
                    is_quiet = false;
                    let step = self.voters[at].node.step(open(letter));
                    step.expect("what voters say to each other is taken");
                }
                while self.voters[at].ready(&mut self.said) {
                    is_quiet = false;
                    self.carry();
                }
            }
        }
    }

    fn carry(&mut self) {
        for message in self.said.drain(..) {
            if let Some(traffic) = &mut self.watched {
                let bytes = u64::from(message.compute_size());
                traffic.note(bytes, message.entries.len() as u64);
            }
            let voter = VOTERS.iter().position(|&id| id == message.to).expect("there are three");
            let letter = match self.codec {
                Codec::Skipped => Letter::Said(message),
                Codec::Protobuf => {
                    let bytes = message.write_to_bytes().expect("messages always encode");
                    Letter::Encoded(bytes.into())
                }
            };
            self.voters[voter].inbox.push_back(letter);
        }
    }
}

impl Cluster for RaftRs {
    fn run(&mut self, batches: u64) {
        for _ in 0..batches {
            self.propose();
            self.settle();
        }
    }

    fn watch(&mut self, watch: Watch) -> Traffic {
        let next = match watch {
            Watch::Begin => Some(Traffic::default()),
            Watch::End => None,
        };
        std::mem::replace(&mut self.watched, next).unwrap_or_default()
    }

    fn check(&self) {
        for voter in &self.voters {
            assert_eq!(voter.applied, self.proposed, "all that was proposed is applied");
            let kept = voter.store.0.borrow().entries.len() as u64;
            assert!(RETAINED_ENTRIES <= kept, "only {kept} entries are in the log");
        }
    }
}

fn open(letter: Letter) -> Message {
    match letter {
        Letter::Said(message) => message,
        Letter::Encoded(bytes) => {
            let mut message = Message::default();
            let mut from = protobuf::CodedInputStream::from_carllerche_bytes(&bytes);
            message.merge_from(&mut from).expect("what was encoded decodes");
            message
        }
    }
}
