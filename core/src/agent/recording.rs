//! What a recorded input log is made of: where a piece of it starts, and what follows.
//!
//! Inputs alone give the same agent again. What was decided is recorded beside them where it costs
//! little, so that another version of this code can say at which input it would have decided otherwise.
//!
//! Invariants
//! - variants are appended and never changed: logs outlive versions.
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::sum::Sum;
use super::{Agent, Config, Input};
use crate::digest::Digest;
use crate::types::Plan;

/// Where a segment starts.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Start {
    /// A fresh agent.
    Boot { config: Box<Config>, seed: u64 },
    /// The agent as it was after the last input of the segment before, frozen.
    Frozen(Vec<u8>),
    /// The same, but inputs before it were not recorded.
    FrozenAfterHole { inputs_missing: u64, frozen: Vec<u8> },
}

impl Start {
    /// The agent that the segment's inputs happened to.
    ///
    /// # Errors
    /// When it was frozen by a version whose agents are made otherwise.
    pub fn into_agent(self) -> Result<Agent, String> {
        match self {
            Self::Boot { config, seed } => Ok(Agent::new(*config, seed)),
            Self::Frozen(frozen) | Self::FrozenAfterHole { frozen, .. } => Agent::thaw(&frozen),
        }
    }
}

/// One entry of a segment.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Record {
    Input(Box<Input>),
    /// The agent's digest after the inputs so far of this segment.
    Digest {
        inputs: u64,
        digest: Digest,
    },
    /// What was planned in the step of the last input.
    Planned(Box<Plan>),
    /// What came of each input since the last record of this kind.
    Sums(Vec<Sum>),
}
