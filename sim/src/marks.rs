//! Situations by name that a good set of runs should have been in: what was tried, and not only how often
//! something broke ("sometimes" assertions, as FoundationDB and Antithesis have them).
//!
//! A mark that a set of seeds never reaches says that those seeds prove nothing about it.
//!
//! Invariants
//! - marks are looked at from outside: the core does not know them.
use std::fmt;

macro_rules! marks {
    ($($(#[doc = $what:literal])* $name:ident,)*) => {
        /// A situation.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub enum Mark {
            $($(#[doc = $what])* $name,)*
        }

        impl Mark {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What it means, for people.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($what),*).trim_ascii(),)*
                }
            }
        }
    };
}

marks!(
    /// a server asked for votes in earnest
    ElectionHeld,
    /// a server asked for votes because the leader told it to
    TransferCampaign,
    /// somebody who would ask for votes was told not to
    PreVoteRefused,
    /// a vote was refused in an election
    VoteRefused,
    /// a leader had no room for a request of another server's caller, and said so
    RequestTurnedAway,
    /// two servers led at one moment, in different terms
    TwoLeaders,
    /// a leader stood down in its own term: it had lost its quorum
    StoodDown,
    /// a follower threw away entries that were never committed
    LogTruncated,
    /// a leader sent entries of an earlier term
    OldEntriesSent,
    /// several frames in one append
    FramesBatched,
    /// a follower did not hold what an append followed
    AppendRejected,
    /// somebody of an earlier term was told so
    StaleTold,
    /// a snapshot was sent in more than one part
    SnapshotInParts,
    /// a part of a snapshot was wanted that is not there any more
    ChunkMissing,
    /// the configuration was joint
    JointConfiguration,
    /// there was a learner
    Learner,
    /// a server left, and nothing was left undone
    LeftWithGrace,
    /// a server left, and could not be taken out
    LeftUnfinished,
    /// the lead changed while the configuration was joint
    LeaderChangedWhileJoint,
    /// a follower asked the leader for a read point on a lease
    ReadByLease,
    /// a follower asked the leader for a read point on a round
    ReadByRound,
    /// the leader could give no read point
    ReadRefused,
    /// a commit was told of by itself
    CommitTold,
    /// a follower passed a request on
    RequestForwarded,
    /// a forwarded request came to one who does not lead
    ForwardRefused,
    /// a start found a snapshot and a log above it
    StartedFromSnapshot,
    /// a client started anew and knew tasks from before
    TasksReattached,
    /// a task would not end and was killed
    TaskKilled,
    /// a task ended badly by itself
    TaskEndedBadly,
    /// a task could not be started
    StartFailed,
    /// nobody knows how a task ended
    TaskLost,
    /// a node that spoke was not in the tables
    NodeForgotten,
    /// a node could not be served
    NodeUnserved,
    /// servers of two regions spoke of who is there
    RegionsSpoke,
    /// a server was at an address where another one had been
    AddressReused,
    /// a server said that one of another region had failed
    ForeignerFailed,
    /// a node saw a gap in what it was told
    FullSetAsked,
    /// a node was called down
    NodeDown,
    /// a node was down, and is ready again
    NodeReturned,
    /// a node that was out of touch had something to report first
    NodeBehind,
    /// a node was closed to new work
    NodeIneligible,
    /// a drain was complete
    NodeDrained,
    /// an alloc left its node when another had a place
    AllocMigrated,
    /// an alloc had to leave its node, whether another had a place or not
    AllocDrained,
    /// an alloc moved to a better node
    AllocRebalanced,
    /// an alloc counted as lost
    AllocLost,
    /// an alloc that counted as lost ended after all
    LostAllocEnded,
    /// an alloc failed
    AllocFailed,
    /// a failed alloc was placed again
    AllocRescheduled,
    /// a failed alloc waits for its delay
    RescheduleDelayed,
    /// an alloc lives on in a later version of its job
    UpdatedInPlace,
    /// a job has more than one version
    SecondVersion,
    /// a job was stopped
    JobStopped,
    /// a job was purged
    JobPurged,
    /// a batch job's alloc ended well
    BatchComplete,
    /// a sysbatch job's alloc ended well
    SysbatchComplete,
    /// a job that runs on every node looked at a node that takes new allocs again
    SystemJobWoken,
    /// an update of a system job waited before it went on
    UpdateStaggered,
    /// an evaluation waits for room
    EvalBlocked,
    /// an evaluation that had waited for room was worked on
    EvalUnblocked,
    /// a node that was missed was found by a server that looked for it
    MissedNodeFound,
    /// an evaluation became unnecessary
    EvalCancelled,
    /// a placement was refused when its plan was applied
    PlanRefused,
    /// a group that had waited for another job was let in
    GateOpened,
    /// allocs were stopped for a more important job
    Preempted,
    /// what had ended was forgotten
    GarbageCollected,
    /// parts of a saved state wait to be put in force
    RestoreBegun,
    /// a saved state came into force
    StateRestored,
    /// a write failed
    WriteFailed,
    /// a disk was full
    DiskFull,
    /// a machine lost power during a write
    PowerLostInWrite,
    /// a write was found torn
    TornWrite,
);

/// Which marks were reached.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Marks(u128);

const _: () = assert!(Mark::ALL.len() <= 128, "marks are counted in one word");

impl Marks {
    /// The situation has come.
    pub const fn reach(&mut self, mark: Mark) {
        self.0 |= 1 << mark as u32;
    }

    /// The situation has come, if `is_so`.
    pub const fn reach_if(&mut self, is_so: bool, mark: Mark) {
        if is_so {
            self.reach(mark);
        }
    }

    /// Whether it has.
    #[must_use]
    pub const fn has(self, mark: Mark) -> bool {
        self.0 & (1 << mark as u32) != 0
    }

    /// What either reached.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What never came, in the order of the list.
    #[must_use]
    pub fn missing(self) -> Vec<Mark> {
        Mark::ALL.iter().copied().filter(|&mark| !self.has(mark)).collect()
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<26}{}", format!("{self:?}"), self.what())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_reached_is_not_missing() {
        let mut marks = Marks::default();
        assert_eq!(marks.missing().len(), Mark::ALL.len());
        marks.reach(Mark::TornWrite);
        marks.reach_if(false, Mark::ElectionHeld);
        assert!(marks.has(Mark::TornWrite) && !marks.has(Mark::ElectionHeld));
        assert!(!marks.missing().contains(&Mark::TornWrite));
        assert_eq!(Mark::TornWrite.what(), "a write was found torn");
    }
}
