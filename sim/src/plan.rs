//! The plan of one run: its size, its knobs, and every fault and request with its moment.
//!
//! A plan is drawn from a seed and is all that a run depends on; printed, it is a text that a person can
//! read, cut down and run again (`plan/text.rs`).
//!
//! Invariants
//! - a plan read back from its own text is the same plan;
//! - lines are in the order of time.
use drover_core::types::{Access, DrainDeadline, JobKind};

use crate::clock::Moment;

pub mod draw;
mod entropy;
mod knobs;
pub mod text;

pub use knobs::Knobs;

/// A run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    pub seed: u64,
    pub servers: u64,
    pub clients: u64,
    /// Servers that join a cluster which is there already.
    pub spares: u64,
    /// Servers of another region.
    pub foreigners: u64,
    /// Until here everything may break; then all faults end.
    pub faults_until_ms: u64,
    pub knobs: Knobs,
    pub lines: Vec<Line>,
}

/// One thing to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    pub at_ms: u64,
    pub act: Act,
}

/// To whom.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Who {
    /// Whoever leads at that moment; nobody, if nobody does.
    Leader,
    /// Counted from one.
    Server(u64),
    /// Counted from one.
    Client(u64),
    /// A server of the other region, counted from one.
    Foreigner(u64),
}

/// A fault or a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Act {
    /// The agent dies; what it asked of the disk may arrive; tasks go on.
    Crash {
        who: Who,
        for_ms: u64,
    },
    /// The agent is told to go with grace, and starts again after it has.
    Leave {
        who: Who,
        for_ms: u64,
    },
    /// The agent dies, and starts again at another address.
    Move {
        who: Who,
        for_ms: u64,
    },
    /// The machine dies.
    Power {
        who: Who,
        for_ms: u64,
    },
    /// The agent stands still, and does not know.
    Pause {
        who: Who,
        for_ms: u64,
    },
    /// Cut off from everyone, in some direction.
    Isolate {
        who: Who,
        way: Way,
        for_ms: u64,
    },
    /// Nothing goes from one host to another; back it may.
    Cut {
        from: Who,
        to: Who,
        for_ms: u64,
    },
    /// Everything from it and to it takes so much longer.
    SlowLinks {
        who: Who,
        by_ms: u64,
        for_ms: u64,
    },
    /// So much of what it says and hears is lost.
    LoseMessages {
        who: Who,
        permille: u64,
        for_ms: u64,
    },
    /// Each of its steps takes so many times as long.
    SlowCpu {
        who: Who,
        times: u64,
        for_ms: u64,
    },
    /// These on one side, all others on the other.
    Split {
        side: Vec<Who>,
        for_ms: u64,
    },
    SlowDisk {
        who: Who,
        for_ms: u64,
    },
    /// No new segment can be made.
    FillDisk {
        who: Who,
        for_ms: u64,
    },
    /// The next write fails.
    BreakDisk {
        who: Who,
    },
    JumpClock {
        who: Who,
        by_ms: i64,
    },
    Register(JobAsk),
    StopJob {
        job: String,
        purge: bool,
    },
    Evaluate {
        job: String,
    },
    /// An operator does something to the job's newest deployment.
    Steer {
        job: String,
        how: Steering,
    },
    /// The alloc at this position among those that should run.
    StopAlloc {
        nth: u64,
    },
    SetEligible {
        client: u64,
        eligible: bool,
    },
    /// An operator empties the client's node.
    Drain {
        client: u64,
        deadline: DrainDeadline,
    },
    /// An operator stops that; the node may have new allocs again, if so wished.
    Undrain {
        client: u64,
        mark_eligible: bool,
    },
    /// An operator has those moved that gain so much, up to so many, and the alloc at this position among
    /// those that should run, whatever it gains.
    Rebalance {
        budget: u64,
        gain_permille: u64,
        nth: u64,
    },
    Collect,
    Read {
        what: Subject,
        how: Freshness,
    },
    /// An operator wants another to lead: whoever is readiest, or this server.
    HandOver {
        to: Who,
    },
    /// An operator strikes a server off, which is refused while it lives.
    RemoveServer {
        who: Who,
    },
    /// An operator says that a server which failed is not expected back, or wants it forgotten.
    ForceOut {
        who: Who,
        prune: bool,
    },
    /// An operator says how the leader cares for who votes.
    Care {
        cleanup: bool,
        min_quorum: u32,
        stable_ms: u64,
    },
    /// An operator restarts the tasks of the alloc at this position among those that run.
    RestartAlloc {
        nth: u64,
    },
    /// The machine looks different from now on.
    Refit {
        client: u64,
        mark: u64,
    },
    /// A server loses its disk, and another one starts in its place. Only while nothing is lost by it.
    Wipe {
        who: Who,
        for_ms: u64,
    },
    /// A server's log is damaged while it is down; it begins anew beside the others. Only while nothing is
    /// lost by it.
    Rot {
        who: Who,
        damage: Damage,
        for_ms: u64,
    },
    /// An operator saves the state.
    Save,
    /// The cluster goes back to what was saved.
    Restore,
    /// Someone who was not there before starts.
    Join {
        who: Who,
    },
    /// Somebody wants something of a job that makes children, or another count.
    Launch {
        job: String,
        what: Launching,
    },
}

/// What is done to a deployment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Steering {
    Promote,
    Pause,
    Resume,
    GiveUp,
}

/// What is wanted of a job that makes children.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Launching {
    /// A child every so many seconds.
    Periodic {
        every_s: u64,
        overlap: Overlap,
    },
    /// A child whenever somebody dispatches.
    Parameterized,
    Force,
    /// Zero: without a token.
    Dispatch {
        token: u64,
    },
    /// Any job's first group.
    Scale {
        count: u64,
    },
}

/// Whether a child may run beside another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Overlap {
    Allowed,
    Prohibited,
}

impl Act {
    /// Who is meant by it.
    #[must_use]
    pub fn whom(&self) -> Vec<Who> {
        match self {
            Self::Crash { who, .. }
            | Self::Leave { who, .. }
            | Self::Move { who, .. }
            | Self::Power { who, .. }
            | Self::Pause { who, .. }
            | Self::Isolate { who, .. }
            | Self::SlowLinks { who, .. }
            | Self::LoseMessages { who, .. }
            | Self::SlowCpu { who, .. }
            | Self::SlowDisk { who, .. }
            | Self::FillDisk { who, .. }
            | Self::BreakDisk { who }
            | Self::JumpClock { who, .. }
            | Self::Wipe { who, .. }
            | Self::Rot { who, .. }
            | Self::Join { who } => vec![*who],
            Self::Split { side, .. } => side.clone(),
            Self::Cut { from, to, .. } => vec![*from, *to],
            Self::SetEligible { client, .. }
            | Self::Drain { client, .. }
            | Self::Undrain { client, .. }
            | Self::Refit { client, .. } => vec![Who::Client(*client)],
            Self::Register(_)
            | Self::StopJob { .. }
            | Self::Evaluate { .. }
            | Self::Steer { .. }
            | Self::Launch { .. }
            | Self::StopAlloc { .. }
            | Self::Rebalance { .. }
            | Self::Collect
            | Self::Read { .. }
            | Self::HandOver { .. }
            | Self::RemoveServer { .. }
            | Self::ForceOut { .. }
            | Self::Care { .. }
            | Self::RestartAlloc { .. }
            | Self::Save
            | Self::Restore => Vec::new(),
        }
    }

    /// Whether it can be aimed at whoever is down.
    #[must_use]
    pub const fn reaches_the_dead(&self) -> bool {
        matches!(self, Self::Split { .. } | Self::Join { .. })
    }
}

/// What a disk did to a log, and said nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Damage {
    /// A bit changed.
    Bit,
    /// A write never arrived: what was there before is there.
    LostWrite,
    /// A write arrived in another place.
    Misdirected,
}

/// What a read shows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Subject {
    Job(String),
    /// Whether the client's node may get new allocs.
    Client(u64),
}

/// How new it must be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Freshness {
    /// What the server that is asked has now.
    Stale,
    /// By the leader's lease.
    Default,
    /// By a quorum.
    Consistent,
}

/// Which messages are lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    Both,
    /// It hears nobody.
    Deaf,
    /// Nobody hears it.
    Mute,
}

/// Where a job's allocs may lie.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Spread {
    Anywhere,
    /// In the first datacenter, where every other node is.
    OneDatacenter,
    /// No two on one node.
    DistinctHosts,
    /// As many in one datacenter as in the other.
    OverDatacenters,
    /// In the second datacenter, while there is room.
    RatherSecond,
    /// In the first pool, where every third node is not.
    OnePool,
}

/// A job as a plan has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JobAsk {
    pub job: String,
    pub kind: JobKind,
    pub count: u64,
    /// Of each alloc.
    pub tasks: u64,
    pub cpu_mhz: u64,
    pub memory_mib: u64,
    /// Dynamic ports.
    pub ports: u64,
    /// A port that every alloc wants for itself; zero: none.
    pub fixed_port: u64,
    pub spread: Spread,
    /// Makes two registrations differ.
    pub mark: u64,
    pub update: UpdateAsk,
    /// What its tasks are made of: of two registrations that share it, the second needs no restart.
    pub build: u64,
    /// The job that it comes after.
    pub after: Option<String>,
    pub pieces: PiecesAsk,
    /// What it does with the volume that some machines have; `None`: it asks for none.
    pub volume: Option<Access>,
}

/// What each task asks for beside quantities; zero: nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PiecesAsk {
    pub memory_max_mib: u64,
    pub cores: u64,
    /// Graphics cards.
    pub devices: u64,
}

/// How a new version takes over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UpdateAsk {
    /// Zero: all at once.
    pub parallel: u64,
    pub canaries: u64,
    pub promotion: Promotion,
}

/// Who says that canaries have proved themselves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Promotion {
    Operator,
    Themselves,
}

impl Default for UpdateAsk {
    /// Two at a time, without canaries.
    fn default() -> Self {
        Self { parallel: 2, canaries: 0, promotion: Promotion::Operator }
    }
}

impl Plan {
    /// When all faults end.
    #[must_use]
    pub const fn faults_until(&self) -> Moment {
        Moment::at_ms(self.faults_until_ms)
    }
}
