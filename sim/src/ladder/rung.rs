//! One thing that happened.
//!
//! Invariants
//! - a rung that another one stands for is not shown.
use std::sync::Arc;

use drover_core::types::AllocId;

use crate::clock::Moment;
use crate::network::HostId;

/// Names a rung: counted from the first of the run.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct RungId(pub u64);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $word:literal),* $(,)?) => {
        /// What a rung is about.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As people write it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

kinds!(
    /// The plan's lines that break something, and what dies of it.
    Fault = "fault",
    /// What a promise's breach looks like.
    Checker = "checker",
    /// Who leads, follows and asks for votes.
    Election = "election",
    /// What is committed.
    Commit = "commit",
    /// Where allocs are to run.
    Plan = "plan",
    /// What callers ask and hear.
    Request = "request",
    /// Processes on client nodes.
    Task = "task",
    /// What consensus says.
    Raft = "raft",
    /// What servers and clients tell each other about work.
    Work = "work",
    /// Who is alive.
    Heartbeat = "heartbeat",
    /// Which servers there are.
    Gossip = "gossip",
    /// What is written, and what of it is safe.
    Disk = "disk",
    /// Snapshots and their parts.
    Snapshot = "snapshot",
    /// Connections that come and go.
    Link = "link",
    /// A moment that an agent waited for.
    Timer = "timer",
);

/// Where a rung stands between its beginning and its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// It is what it is.
    Whole,
    /// It was begun or sent; `end` came of it. `None`: nothing yet.
    Begun { end: Option<RungId> },
    /// It was begun or sent at this moment.
    Ended { since: Moment },
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Rung {
    pub at: Moment,
    /// Where; of a message: who sent it. `None`: outside of every host.
    pub host: Option<HostId>,
    /// Of a message: to whom.
    pub peer: Option<HostId>,
    pub kind: Kind,
    /// One word, for counting what is alike.
    pub sort: &'static str,
    pub text: Arc<str>,
    pub jobs: Vec<Arc<str>>,
    pub allocs: Vec<AllocId>,
    pub cause: Option<RungId>,
    pub way: Way,
    /// It says what was said before, and nothing came of it.
    pub is_dull: bool,
}

impl Rung {
    /// Whether a later rung tells the same and more.
    #[must_use]
    pub const fn is_shown_by_another(&self) -> bool {
        matches!(self.way, Way::Begun { end: Some(_) })
    }

    /// Whether it is a message, sent or arrived.
    #[must_use]
    pub const fn is_message(&self) -> bool {
        self.peer.is_some()
    }

    /// Where it is to be seen: a message that arrived is at who received it.
    #[must_use]
    pub const fn place(&self) -> Option<HostId> {
        match self.way {
            Way::Ended { .. } if self.peer.is_some() => self.peer,
            Way::Whole | Way::Begun { .. } | Way::Ended { .. } => self.host,
        }
    }
}
