//! What a client node writes to its log, and what that says when it is read again.
//!
//! Invariants
//! - the records of a log say the same as those of its part since a compaction began;
//! - an assignment is one record: it is known whole or not at all.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::task::TaskRow;
use crate::types::{AllocHealth, AllocId, AllocSpec, AssignedAlloc, Boot, Index};

/// One record.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum ClientRecord {
    /// What was new to this node in the assignment `seq`.
    Assigned {
        seq: Index,
        /// What `runs` point into.
        specs: Vec<Arc<AllocSpec>>,
        runs: Vec<AssignedAlloc>,
        tombstones: Vec<AllocId>,
    },
    /// How an alloc's tasks stand.
    Progress { alloc: AllocId, tasks: Vec<TaskRow>, health: Option<AllocHealth> },
    /// The alloc ended, the servers know, and its files may be gone.
    Forgotten { alloc: AllocId },
    /// All that is known of one alloc, part of a compaction.
    Row { run: AssignedAlloc, spec: Arc<AllocSpec>, row: AllocRow },
    /// The rows just written are all there is.
    Compacted { seq: Index },
}

/// Whether the servers want the alloc gone, and how its tasks stand.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct AllocRow {
    pub tombstoned: bool,
    /// Empty: nothing was heard of them yet.
    pub tasks: Vec<TaskRow>,
    /// The last verdict; of the version that it names.
    pub health: Option<AllocHealth>,
}

/// What a log said.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Recovered {
    pub boot: Boot,
    /// How many records the log holds.
    pub records: usize,
    pub seq: Index,
    pub allocs: BTreeMap<AllocId, RecoveredAlloc>,
    /// Must not run, were not known, and the servers may wait to hear so.
    pub strangers: BTreeSet<AllocId>,
}

/// One alloc of a log.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RecoveredAlloc {
    pub run: AssignedAlloc,
    pub spec: Arc<AllocSpec>,
    pub row: AllocRow,
}

impl Recovered {
    /// What the records, oldest first, say together.
    #[must_use]
    pub fn from_records(records: impl IntoIterator<Item = ClientRecord>, boot: Boot) -> Self {
        let mut this = Self { boot, ..Self::default() };
        for record in records {
            this.records += 1;
            this.read(record);
        }
        this
    }

    fn read(&mut self, record: ClientRecord) {
        match record {
            ClientRecord::Assigned { seq, specs, runs, tombstones } => {
                self.seq = seq;
                for run in runs {
                    let spec = usize::try_from(run.spec).ok().and_then(|at| specs.get(at));
                    let spec =
                        Arc::clone(spec.expect("invariant: a record's runs have their spec"));
                    match self.allocs.get_mut(&run.id) {
                        Some(known) => (known.run, known.spec) = (run, spec),
                        None => {
                            let row = AllocRow::default();
                            self.strangers.remove(&run.id);
                            self.allocs.insert(run.id, RecoveredAlloc { run, spec, row });
                        }
                    }
                }
                for alloc in tombstones {
                    match self.allocs.get_mut(&alloc) {
                        Some(known) => known.row.tombstoned = true,
                        None => drop(self.strangers.insert(alloc)),
                    }
                }
            }
            ClientRecord::Progress { alloc, tasks, health } => {
                if let Some(known) = self.allocs.get_mut(&alloc) {
                    known.row.tasks = tasks;
                    known.row.health = health;
                }
            }
            ClientRecord::Forgotten { alloc } => {
                self.allocs.remove(&alloc);
                self.strangers.remove(&alloc);
            }
            ClientRecord::Row { run, spec, row } => {
                self.allocs.insert(run.id, RecoveredAlloc { run, spec, row });
            }
            ClientRecord::Compacted { seq } => self.seq = seq,
        }
    }
}
