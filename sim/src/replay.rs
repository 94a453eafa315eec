//! Stepping a recorded input log: an agent that is told the same becomes the same.
//!
//! Invariants
//! - a digest in the log is compared at its place, so a replay that diverges says where.
use std::fmt;

use drover_core::agent::{Agent, Effects, Input};
use drover_core::digest::Digest;

/// One entry of an input log.
#[derive(Clone, Debug)]
pub enum Record {
    Input(Box<Input>),
    /// The agent's digest after `inputs` inputs of this log.
    Digest {
        inputs: u64,
        digest: Digest,
    },
}

/// What a replay came to.
#[derive(Debug)]
pub struct Replayed {
    pub agent: Agent,
    pub inputs: u64,
    /// Digests that agreed.
    pub digests: u64,
}

/// Why a replay ended early.
#[derive(Debug)]
pub enum Fault<E> {
    /// The log cannot be read any further.
    Unreadable { inputs: u64, fault: E },
    /// The agent is not what it was.
    Diverged { inputs: u64, recorded: Digest, replayed: Digest },
}

/// Steps `agent` through `records`; `watch` sees each input with what followed from it.
///
/// # Errors
/// The first digest that differs, or the first record that cannot be read.
pub fn replay<E>(
    mut agent: Agent,
    records: impl Iterator<Item = Result<Record, E>>,
    mut watch: impl FnMut(&Input, &Effects, &Agent),
) -> Result<Replayed, Fault<E>> {
    let (mut inputs, mut digests) = (0, 0);
    let mut effects = Effects::default();
    for record in records {
        match record.map_err(|fault| Fault::Unreadable { inputs, fault })? {
            Record::Input(input) => {
                inputs += 1;
                effects.list.clear();
                agent.step((*input).clone(), &mut effects);
                watch(&input, &effects, &agent);
            }
            Record::Digest { digest: recorded, .. } => {
                let replayed = agent.digest();
                if recorded != replayed {
                    return Err(Fault::Diverged { inputs, recorded, replayed });
                }
                digests += 1;
            }
        }
    }
    Ok(Replayed { agent, inputs, digests })
}

impl<E: fmt::Display> fmt::Display for Fault<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { inputs, fault } => {
                write!(f, "after {inputs} inputs the log cannot be read: {fault}")
            }
            Self::Diverged { inputs, recorded, replayed } => {
                write!(f, "after {inputs} inputs the agent was {recorded} and is {replayed} now")
            }
        }
    }
}
