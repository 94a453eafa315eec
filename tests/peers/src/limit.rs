//! What nobody can be faster than by much: a batch is one buffer, made once and shared by three logs,
//! and nothing is asked, checked or kept that copying it to a majority does not need. It is no
//! consensus: there are no terms, elections, windows or failures.
//!
//! It also tells how fast the machine is at the moment: its figure grows with every neighbour.
//! Followers hear of a commit with the next batch.
use std::collections::VecDeque;
use std::sync::Arc;

use crate::load::{CUT_ENTRIES, Cluster, Load, RETAINED_ENTRIES, Traffic, Watch};

const LEADER: usize = 0;

struct Batch {
    first: u64,
    /// Where each entry ends in `bytes`.
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Voter {
    log: VecDeque<Arc<Batch>>,
    last: u64,
    applied: u64,
    /// Made of a byte of each entry, so that each is looked at.
    state: u64,
}

enum Message {
    Append { prev: u64, commit: u64, batch: Arc<Batch> },
    Ack { index: u64 },
}

/// Three logs.
pub(crate) struct Limit {
    load: Load,
    payload: Vec<u8>,
    voters: [Voter; 3],
    matched: [u64; 3],
    /// From whom, to whom, what.
    wire: VecDeque<(usize, usize, Message)>,
}

impl Voter {
    fn append(&mut self, batch: Arc<Batch>) {
        self.last += batch.ends.len() as u64;
        self.log.push_back(batch);
    }

    fn apply(&mut self, upto: u64) {
        // What is not applied is among the newest.
        let newest = self.log.iter().rev();
        let unapplied = newest.take_while(|batch| self.applied < batch.first).count();
        for batch in
            self.log.range(self.log.len() - unapplied..).take_while(|batch| batch.first <= upto)
        {
            let begins = std::iter::once(0).chain(batch.ends.iter().copied());
            for begin in begins.take(batch.ends.len()) {
                self.state = self.state.wrapping_mul(31).wrapping_add(batch.bytes[begin].into());
            }
            self.applied += batch.ends.len() as u64;
        }
        while self
            .log
            .front()
            .is_some_and(|oldest| oldest.first + RETAINED_ENTRIES + CUT_ENTRIES < self.last)
        {
            self.log.pop_front();
        }
    }
}

impl Limit {
    pub(crate) fn new(load: Load) -> Self {
        let (voters, wire) = (<[Voter; 3]>::default(), VecDeque::new());
        Self { load, payload: load.payload(), voters, matched: [0; 3], wire }
    }

    fn propose(&mut self) {
        let count = usize::try_from(self.load.batch).expect("a batch fits in memory");
        let prev = self.voters[LEADER].last;
        let mut bytes = Vec::with_capacity(count * self.payload.len());
        let mut ends = Vec::with_capacity(count);
        for _ in 0..count {
            bytes.extend_from_slice(&self.payload);
            ends.push(bytes.len());
        }
        let batch = Arc::new(Batch { first: prev + 1, ends, bytes });
        let commit = self.voters[LEADER].applied;
        for follower in [1, 2] {
            let append = Message::Append { prev, commit, batch: Arc::clone(&batch) };
            self.wire.push_back((LEADER, follower, append));
        }
        self.voters[LEADER].append(batch);
        self.matched[LEADER] = self.voters[LEADER].last;
    }

    fn receive(&mut self, from: usize, to: usize, message: Message) {
        match message {
            Message::Append { prev, commit, batch } => {
                let voter = &mut self.voters[to];
                assert!(voter.last == prev && batch.first == prev + 1, "batches leave no gap");
                voter.append(batch);
                voter.apply(commit);
                self.wire.push_back((to, from, Message::Ack { index: voter.last }));
            }
            Message::Ack { index } => {
                self.matched[from] = self.matched[from].max(index);
                let mut matched = self.matched;
                matched.sort_unstable();
                self.voters[LEADER].apply(matched[1]);
            }
        }
    }
}

impl Cluster for Limit {
    fn run(&mut self, batches: u64) {
        for _ in 0..batches {
            self.propose();
            while let Some((from, to, message)) = self.wire.pop_front() {
                self.receive(from, to, message);
            }
        }
    }

    fn watch(&mut self, _: Watch) -> Traffic {
        Traffic::default()
    }

    fn check(&self) {
        let leader = &self.voters[LEADER];
        assert_eq!(leader.applied, leader.last, "all that was proposed is applied");
        let behind = self.voters.iter().map(|voter| leader.applied - voter.applied).max();
        assert!(behind <= Some(self.load.batch), "followers are a batch behind at most");
    }
}
