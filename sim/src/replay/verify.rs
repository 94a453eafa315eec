//! Whether what was recorded leads to what was recorded: every digest of every segment, and each
//! segment's start.
//!
//! Invariants
//! - a segment that diverges does not hide another: each is stepped from its own start;
//! - what could not be compared is said, not passed over.
use drover_core::agent::Guard;
use drover_core::digest::Digest;

use super::source::Source;
use super::tape::{Fault, Joint, Tape, Turn};

/// What came of one segment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified {
    pub segment: String,
    /// The number of its first input.
    pub first: u64,
    pub inputs: u64,
    /// Digests that agreed.
    pub digests: u64,
    /// How it joins the one before.
    pub joint: Joint,
    pub trouble: Option<Trouble>,
}

/// Why a segment is not verified to its end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// After this input the agent is not what it was; it was after `agreed`.
    Diverged {
        input: u64,
        agreed: u64,
        recorded: Digest,
        replayed: Digest,
    },
    Fault(Fault),
}

impl Verified {
    /// Whether all that is there agrees.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.trouble.is_none() && !matches!(self.joint, Joint::Differs { .. })
    }
}

/// Steps every segment, and tells of each when it is done.
pub fn verify(source: &dyn Source, guard: Guard, mut tell: impl FnMut(&Verified)) {
    let mut joint = Joint::Unknown;
    for segment in 0..source.count() {
        let mut verified = Verified {
            segment: source.name(segment),
            first: source.inputs_before(segment) + 1,
            inputs: 0,
            digests: 0,
            joint,
            trouble: None,
        };
        joint = Joint::Unknown;
        match Tape::begin(source, guard, segment) {
            Ok(tape) => joint = step(tape, &mut verified),
            Err(fault) => verified.trouble = Some(Trouble::Fault(fault)),
        }
        tell(&verified);
    }
}

/// To the end of the segment. Answers how the next one joins it.
fn step(mut tape: Tape<'_>, verified: &mut Verified) -> Joint {
    let mut agreed = verified.first - 1;
    loop {
        match tape.turn() {
            Ok(Turn::Stepped(_)) => verified.inputs += 1,
            Ok(Turn::Digest { recorded, replayed }) if recorded == replayed => {
                agreed = tape.inputs();
                verified.digests += 1;
            }
            Ok(Turn::Digest { recorded, replayed }) => {
                let input = tape.inputs();
                verified.trouble = Some(Trouble::Diverged { input, agreed, recorded, replayed });
                return Joint::Unknown;
            }
            Ok(Turn::Begun(joint)) => return joint,
            Ok(Turn::Over) => return Joint::Unknown,
            Err(fault) => {
                // The next segment is looked at on its own.
                let is_here = !matches!(&fault, Fault::Foreign { segment, .. } if *segment != verified.segment);
                if is_here {
                    verified.trouble = Some(Trouble::Fault(fault));
                }
                return Joint::Unknown;
            }
        }
    }
}
