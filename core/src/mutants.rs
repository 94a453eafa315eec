//! Planted bugs: each breaks one rule in one place, so that it can be seen that something notices.
//!
//! Compiled only for `sim/mutants`, a workspace of its own: no other program has the feature. The rule's
//! own line asks `planted!(Name)`, which is `false` without it.
//!
//! Invariants
//! - at most one bug is planted at a time, and none until `plant` is called.
use core::sync::atomic::{AtomicUsize, Ordering};

/// Which one is planted: its position in `ALL` and one more.
static PLANTED: AtomicUsize = AtomicUsize::new(0);

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A planted bug.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Mutant {
            $($(#[$doc])* $name,)*
        }

        /// Every bug that can be planted.
        pub const ALL: &[Mutant] = &[$(Mutant::$name,)*];
    };
}

mutants!(
    /// A vote is said before it is durable.
    VoteBeforePersist,
    /// A later term is believed and not written down.
    TermNotPersisted,
    /// The term is written down, and the vote in it is not.
    VoteNotPersisted,
    /// Two candidates of one term get the same vote.
    VoteTwice,
    /// Whoever asks is voted for, whatever its log.
    VoteWithoutLog,
    /// Logs are compared by length before term.
    LogComparedByIndex,
    /// A pre-vote moves the voter's term.
    PreVoteMovesTerm,
    /// A vote is given while a leader is heard.
    VoteBesideLeader,
    /// Elections begin without asking whether they could be won.
    NoPreVote,
    /// The candidate counts its own vote before that is durable.
    OwnVoteEarly,
    /// An older entry is committed by counting.
    CommitOldTerm,
    /// The leader counts itself for what is not durable.
    LeaderCountsEarly,
    /// A follower acknowledges what is not durable.
    AckBeforePersist,
    /// A follower acknowledges its whole log, not what it has in common with the leader's.
    AckBeyondMatch,
    /// A follower believes the commit index for what it does not have in common.
    CommitBeyondMatch,
    /// A doubled append cuts what came after it.
    TruncateOnDuplicate,
    /// An acknowledgement of an earlier term counts.
    StaleAckCounts,
    /// A late rejection moves a follower below what it has acknowledged.
    StaleRejectBelieved,
    /// A leader that nobody hears goes on leading.
    LeadUnheard,
    /// One server fewer than a majority decides.
    MinorityDecides,
    /// Learners count like voters.
    LearnersCount,
    /// A leader counts itself, voter or not.
    LeaderCountsItself,
    /// Whoever gives its vote asks for votes itself as soon as before.
    VoteLeavesPatience,
    /// Whoever refuses its vote waits as long again.
    RefusalRenewsPatience,
    /// Something is said in a term that is not durable yet.
    TermSaidEarly,
    /// More is sent to a follower than it has room for.
    WindowIgnored,
    /// A leader takes more than it may lose.
    ProposalsUnbounded,
    /// A leader has as many frames under way as there are entries to propose.
    FramesUnbounded,
    /// A follower that is probed is sent one append after the other.
    ProbeNeverWaits,
    /// A rejection names what is there, whatever its term.
    SlowBacktracking,
    /// A leader that has asked another to lead never leads on.
    TransferNeverEnds,
    /// In the joint phase the new voters alone commit.
    JointCommitByOne,
    /// In the joint phase the new voters alone elect.
    JointVoteByOne,
    /// In the joint phase the new voters alone confirm a read.
    JointReadByOne,
    /// A configuration is changed before the own term has committed anything.
    ChangeBeforeCommit,
    /// A configuration counts only once it is committed.
    ConfigurationOnCommit,
    /// A second change begins before the first is committed.
    TwoChanges,
    /// A truncated configuration stays in force.
    ConfigurationNotRolledBack,
    /// Only the leader that began a joint phase ends it.
    JointNotEnded,
    /// A leader that was removed goes on leading.
    RemovedLeaderStays,
    /// A learner does not vote, though its log does not know yet that it may.
    LearnerRefusesVote,
    /// A read is answered before the leader's term has committed anything.
    ReadBeforeCommit,
    /// A read is answered by whoever believes to lead.
    ReadUnproven,
    /// A read is answered by a round that was sent before it was asked.
    ReadByOldRound,
    /// A lease is as long as the shortest election, as if no clock drifted.
    LeaseIgnoresDrift,
    /// A leader trusts in its lease after it asked another server to campaign.
    LeaseOutlivesInvitation,
    /// A lease begins when the answers come, not when the question was sent.
    LeaseFromAnswer,
    /// A server that learns of a later term forgets what it promised the leader before.
    PromiseForgotten,
    /// Reads that wait when the lead is lost are forgotten.
    ReadsForgotten,
    /// A snapshot does not replace the configuration.
    SnapshotKeepsConfiguration,
    /// A snapshot older than what is committed is installed.
    OldSnapshotInstalled,
    /// A lost part of a snapshot is not sent again.
    SnapshotNotRetried,
    /// Parts of a snapshot are taken in any order.
    ChunksInAnyOrder,
    /// The lead is handed to a server that lacks entries.
    TransferTooEarly,
    /// An order is called done before it is begun.
    OrderAnsweredEarly,
    /// Proposals are taken while the lead is handed over.
    ProposalWhileTransferring,
    /// A write of truncated entries counts for their successors.
    DurableAba,
    /// Entries are applied before they are durable.
    ApplyBeforePersist,
    /// Compaction forgets term and vote.
    CompactionForgetsVote,
    /// The disk's log calls durable what is being written.
    WalDurableEarly,
    /// What rotted on disk is cut as if a crash had torn it.
    RotCalledTear,
    /// A block is believed though its checksum is wrong.
    TornBlockBelieved,
    /// A server that lost its log comes back as who it was.
    BackAfterLoss,
    /// The last entry of several in one frame is forgotten.
    LastOfFrameForgotten,
    /// A write that is sent again is applied again.
    RepeatedAppliedTwice,
    /// A leader without room speaks for the one before it, which may have done what was asked.
    OverloadBelieved,
    /// A copy of a request that was taken is turned away for want of room.
    CopyTurnedAway,
    /// A copy of a request that was turned away is taken.
    CopyTaken,
    /// Room of an ended alloc is not given back.
    UsageNotReleased,
    /// A new leader does not look at evaluations that were open.
    EvalsNotRestored,
    /// Blocked evaluations are not woken when room appears.
    BlockedNotWoken,
    /// Room that who was woken for it has left is offered to nobody else.
    OfferNotPassedOn,
    /// A node is called down before its time.
    DownEarly,
    /// A node is called down though nobody has looked for it.
    VerdictUnwitnessed,
    /// A new leader gives nodes no time to be heard.
    NoGraceForNewLeader,
    /// A node runs what nobody knows any more, and says so, and nobody minds.
    StrayRunsOn,
    /// A node that was forgotten does not say what it runs.
    LivesUntold,
    /// A client goes on with what its tombstone ended.
    TombstoneIgnored,
    /// A node that was down and is heard again is not called ready.
    ReturnNotNoticed,
    /// What a node must do is told once, whether it hears it or not.
    AssignmentNotRepeated,
    /// What a node is told of some of its allocs is taken for all that it must run.
    PartTakenForWhole,
    /// A restarted client starts anew what may live.
    NoReattach,
    /// A task that ignores its signal is left alone.
    KillForgotten,
    /// What is being stopped is still to be found in the catalog.
    ServicesOutliveStop,
    /// A service whose job has changed meanwhile stands as it did before.
    ServicesNotRenewed,
    /// An alloc is healthy whatever its checks say.
    ChecksIgnored,
    /// A report that was lost with its server is not made again.
    ReportLostWithServer,
    /// The scheduler does not see what the leader's own plans in flight take.
    InFlightUnseen,
    /// A node is not told of the version that its alloc takes as it runs.
    UpdateNotTold,
    /// Allocs that were found unhealthy count for a deployment's success.
    UnhealthyCounts,
    /// One canary less than was asked for is enough.
    CanaryTooFew,
    /// An alloc whose node died is stopped and not replaced.
    LostNotReplaced,
    /// One alloc of the group's count is called surplus.
    OneTooFewKept,
    /// Allocs beyond the group's count run on.
    SurplusKept,
    /// Allocs of a job that is stopped run on.
    StraysKept,
    /// An alloc that a new version of its job would replace is kept.
    OldVersionKept,
    /// However many are moving, the next ones are replaced.
    MaxParallelIgnored,
    /// An alloc is healthy as soon as it runs.
    HealthyTooEarly,
    /// A deployment may take as long as it likes.
    DeadlineIgnored,
    /// A failed alloc whose delay is not over yet is forgotten.
    DelayForgotten,
    /// An evaluation that waits for a moment waits for ever.
    DelayedNotReady,
    /// An evaluation that is still open after its plan is not looked at again.
    SettledForgotten,
    /// Memory is not counted where it is asked whether an alloc fits.
    MemoryNotCounted,
    /// Who has which core is not looked at where it is asked whether an alloc fits.
    CoresNotCounted,
    /// Who has which device is not looked at where it is asked whether an alloc fits.
    DevicesNotCounted,
    /// How many allocs a node may have is not looked at where it is asked whether one fits.
    AllocsNotCounted,
    /// Whether a node has the volumes that a group asks for is not looked at.
    VolumesIgnored,
    /// What a node lends only to read is given to who writes.
    ReadOnlyIgnored,
    /// A server that counted as failed and is heard again still counts as failed.
    ReturnNotHeard,
    /// A server whose log has begun waits to found a cluster.
    FoundsBesideLog,
    /// Nobody is told to stop what a restored state does not know.
    RestoreBuriesNothing,
    /// Nobody looks at what the jobs of a restored state lack by now.
    RestoreEvaluatesNothing,
    /// A leader does not look at the evaluations that a restore brought back.
    RestoreNotFollowed,
    /// A node that may be placed on again is forgotten by the jobs that run on every node.
    SystemNodeForgotten,
    /// The new alloc of a system job begins beside the one that is ending.
    SystemRunsTwice,
    /// What has succeeded on a node runs there again.
    SysbatchRunsAgain,
    /// A drain is complete as soon as everything has been told to leave.
    DrainCompleteEarly,
    /// Everything leaves a node that drains at once.
    MigrateUnpaced,
    /// A moment of a calendar is launched again a little later.
    PeriodicLaunchesTwice,
    /// The leader does not look at calendars.
    LaunchForgotten,
    /// A child is launched beside one that has not ended, though the job forbids it.
    OverlapIgnored,
    /// A dispatch with a token that was used already makes another child.
    TokenIgnored,
    /// What is placed does not count for the spread of what is placed next.
    SpreadCountsStale,
    /// No node is better than another for what its job would rather have.
    AffinityIgnored,
    /// The best of a stratum is not looked for again when it is taken.
    StratumNotRefilled,
    /// Nobody waits for what it should come after.
    GateIgnored,
    /// Who waits for another job is not woken when that is as it should be.
    GateNotNoticed,
    /// A group that was let in is forgotten when its job gets a new version.
    OpenedForgotten,
    /// An alloc whose move has become pointless waits for it all the same.
    RebalanceNotGivenUp,
    /// A server that asked to go, and whose news is late, is taken in again.
    LeaverTakenIn,
    /// A server goes without asking whether it may.
    LeavesUnasked,
    /// A server that is not answered stays.
    LeaverWaits,
    /// A server is let go though those who stay cannot decide.
    LeaverLetGoBlindly,
    /// A server that hears of another region tells nobody of its own.
    RegionNotTold,
);

/// From now on `mutant` is there, and no other.
pub fn plant(mutant: Option<Mutant>) {
    let at = mutant.and_then(|mutant| ALL.iter().position(|&one| one == mutant));
    PLANTED.store(at.map_or(0, |at| at + 1), Ordering::SeqCst);
}

/// Whether `mutant` is there.
#[must_use]
pub fn is_planted(mutant: Mutant) -> bool {
    let at = PLANTED.load(Ordering::SeqCst);
    at.checked_sub(1).and_then(|at| ALL.get(at)) == Some(&mutant)
}
