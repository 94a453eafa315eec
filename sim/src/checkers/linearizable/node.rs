//! Whether a node may get new allocs, as operators have said it.
//!
//! A node registers by itself, is collected by whoever cleans up, and registers again: it is eligible then,
//! and is told apart from what it was by the entry that made it.
use drover_core::state::State;
use drover_core::types::{Index, NodeId};

use super::history::{Kind, Object};

/// One node.
#[derive(Clone, Debug)]
pub struct Node;

/// What a read shows.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Shown {
    Absent,
    Known { made_at: Index, eligible: bool },
}

/// What the node may be.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Standing {
    /// When it was made that was read last: whatever is made anew is made later.
    made_at: Option<Index>,
    /// Whether it is that one, as far as anybody can tell.
    is_that_one: bool,
    /// What it was told last; `None`: it is not there.
    eligible: Option<bool>,
}

/// What was done, and what it came to.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Act {
    Set {
        eligible: bool,
    },
    /// Someone was told that there is no such node.
    Missed,
    Read(Shown),
    /// The cluster went back to what was saved, where the node was like that. It is what it is otherwise.
    Restored {
        eligible: bool,
    },
}

impl Object for Node {
    type State = Standing;
    type Act = Act;

    fn after(state: &Standing, act: &Act) -> Option<Standing> {
        match *act {
            // If it was not there, it has registered meanwhile.
            Act::Set { eligible } | Act::Restored { eligible } => {
                Some(Standing { eligible: Some(eligible), ..*state })
            }
            Act::Missed | Act::Read(Shown::Absent) => {
                Some(Standing { eligible: None, is_that_one: false, ..*state })
            }
            Act::Read(Shown::Known { made_at, eligible }) => {
                let (made_at, eligible) = (Some(made_at), Some(eligible));
                let is_same = eligible == state.eligible;
                // Made anew, it may have been told what it was told last, or nothing yet.
                let may_be_new = state.made_at < made_at && (is_same || eligible == Some(true));
                let may_be_old = state.is_that_one && state.made_at == made_at && is_same;
                let read = Standing { made_at, is_that_one: true, eligible };
                (may_be_new || may_be_old).then_some(read)
            }
        }
    }

    fn kind(act: &Act) -> Kind {
        match act {
            Act::Missed | Act::Read(_) => Kind::Reads,
            Act::Set { .. } | Act::Restored { .. } => Kind::Changes,
        }
    }
}

impl Shown {
    /// What `state` shows of the node.
    #[must_use]
    pub fn of(state: &State, node: NodeId) -> Self {
        state.node(node).map_or(Self::Absent, |node| Self::Known {
            made_at: node.create_index,
            eligible: node.eligible,
        })
    }
}
