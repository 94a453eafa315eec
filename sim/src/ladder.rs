//! The ladder: what happened, from the cause down to the consequence, for a person to read.
//!
//! A run that is watched writes a rung for everything that happens: what an agent was told, what it then
//! wanted, and what that changed about who leads and what is committed. Printed, it is text
//! (`ladder/print.rs`); drawn, it is a page (`report.rs`).
//!
//! | file | what |
//! |---|---|
//! | `ladder/rung.rs` | one thing that happened |
//! | `ladder/names.rs` | how hosts, jobs and allocs are called |
//! | `ladder/words.rs`, `ladder/raft_words.rs`, `ladder/command_words.rs` | events, messages and entries in words |
//! | `ladder/watch.rs` | from steps to rungs |
//! | `ladder/standing.rs` | what a step changed about a server |
//! | `ladder/faults.rs` | faults as stretches of time |
//! | `ladder/filter.rs`, `ladder/print.rs` | rungs as lines |
//! | `ladder/promises.rs` | what each checker holds, in a sentence |
//!
//! Invariants
//! - it only looks: a run that is watched is the same run;
//! - only the newest rungs are kept, and a rung's cause is an older one.
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use drover_core::api::Request;
use drover_core::fsm::Command;
use drover_core::types::{AllocId, Index, RequestId, Term};
use drover_core::wal::OpId;
use drover_core::wire::Message;

use crate::clock::Moment;
use crate::network::HostId;

pub(crate) mod aside;
mod command_words;
pub mod faults;
pub mod filter;
pub mod names;
mod print;
pub mod promises;
mod raft_words;
pub mod rung;
mod standing;
mod watch;
mod words;

pub use faults::{Aim, AtLeader, Fault, FaultKind};
pub use filter::Filter;
pub use names::Names;
pub use rung::{Kind, Rung, RungId, Way};

/// What a caller wants, in the ladder's words, without anybody's names.
pub(crate) fn words_of_request(request: &Request) -> String {
    command_words::of_request(request, &Names::default()).0
}

/// What an entry does, likewise.
pub(crate) fn words_of_command(command: &Command, index: Index) -> String {
    command_words::of_command(command, index, (None, &mut Names::default())).text
}

use standing::Standing;

/// Messages between two hosts that may still arrive.
const UNDERWAY_MAX: usize = 512;

/// Somebody led in a term.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reign {
    pub term: Term,
    pub host: HostId,
    pub from: Moment,
    /// `None`: to the end.
    pub until: Option<Moment>,
}

/// A process of a task lived.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Life {
    pub host: HostId,
    pub alloc: AllocId,
    pub task: u16,
    pub from: Moment,
    /// `None`: to the end.
    pub until: Option<Moment>,
}

/// Everything that happened, or the newest part of it.
#[derive(Debug)]
pub struct Ladder {
    rungs: VecDeque<Rung>,
    /// Who stands at the front.
    first: RungId,
    rungs_max: usize,
    pub names: Names,
    pub reigns: Vec<Reign>,
    pub faults: Vec<Fault>,
    pub lives: Vec<Life>,
    /// The last write that a caller was told of.
    acknowledged: Option<(Index, RungId)>,
    standings: BTreeMap<HostId, Standing>,
    /// What is being stepped.
    stepping: Option<RungId>,
    /// The plan's last line, and when it was.
    planned: Option<(RungId, Moment)>,
    /// By (from, to): what was sent and may still arrive.
    underway: BTreeMap<(HostId, HostId), VecDeque<(RungId, Message)>>,
    /// By (from, to, sort): what was said last.
    said: BTreeMap<(HostId, HostId, &'static str), Arc<str>>,
    /// What waits for something, by what it waits for.
    waiting: BTreeMap<(HostId, Awaited), RungId>,
    /// What was asked, in words.
    asked: BTreeMap<RequestId, Arc<str>>,
    /// The highest index that anyone called committed.
    committed: Index,
    ended_at: Option<Moment>,
}

/// What a rung may be the cause of, later and on the same host.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Awaited {
    Disk(OpId),
    Answer(RequestId),
    Alloc(AllocId),
    Snapshot(Index),
}

impl Ladder {
    /// A ladder of at most `rungs_max` rungs.
    #[must_use]
    pub fn new(rungs_max: usize) -> Self {
        Self {
            rungs: VecDeque::new(),
            first: RungId(0),
            rungs_max,
            names: Names::default(),
            reigns: Vec::new(),
            faults: Vec::new(),
            lives: Vec::new(),
            acknowledged: None,
            standings: BTreeMap::new(),
            stepping: None,
            planned: None,
            underway: BTreeMap::new(),
            said: BTreeMap::new(),
            waiting: BTreeMap::new(),
            asked: BTreeMap::new(),
            committed: Index(0),
            ended_at: None,
        }
    }

    /// Every rung that was kept, oldest first, with its name.
    pub fn rungs(&self) -> impl DoubleEndedIterator<Item = (RungId, &Rung)> {
        let first = self.first.0;
        self.rungs.iter().enumerate().map(move |(at, rung)| (RungId(first + at as u64), rung))
    }

    /// The rung called `id`, if it is still kept.
    #[must_use]
    pub fn rung(&self, id: RungId) -> Option<&Rung> {
        let at = id.0.checked_sub(self.first.0)?;
        self.rungs.get(usize::try_from(at).ok()?)
    }

    /// How many rungs were forgotten.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.first.0
    }

    fn rung_mut(&mut self, id: RungId) -> Option<&mut Rung> {
        let at = id.0.checked_sub(self.first.0)?;
        self.rungs.get_mut(usize::try_from(at).ok()?)
    }

    fn push(&mut self, rung: Rung) -> RungId {
        let id = RungId(self.first.0 + self.rungs.len() as u64);
        debug_assert!(rung.cause.is_none_or(|cause| cause < id), "a cause is older");
        self.rungs.push_back(rung);
        if self.rungs_max < self.rungs.len() {
            self.rungs.pop_front();
            self.first.0 += 1;
        }
        id
    }

    /// Whoever caused the rung and is shown: a message's arrival stands for its sending, a completion for
    /// what was begun.
    #[must_use]
    pub fn shown_cause(&self, rung: &Rung) -> Option<RungId> {
        let mut cause = rung.cause;
        while let Some(id) = cause
            && let Some(found) = self.rung(id)
            && found.is_shown_by_another()
        {
            cause = found.cause;
        }
        cause
    }
}
