//! Recorded input logs, stepped again: an agent that is told the same becomes the same.
//!
//! | file | what |
//! |---|---|
//! | `replay/source.rs` | where segments come from |
//! | `replay/tape.rs` | one input after the other, across segments; what was recorded beside each |
//! | `replay/until.rs` | how far: an input, an index of the log, a moment |
//! | `replay/verify.rs` | whether every segment leads to what was recorded |
//! | `replay/words.rs`, `replay/ladder.rs` | what happened, line by line |
//! | `replay/history.rs` | what a log tells of allocs, evals and nodes, gathered |
//! | `replay/why.rs` and `replay/why/` | what became of one of them, and because of what |
//! | `replay/checks.rs`, `replay/bisect.rs` | the first input after which a property does not hold |
//! | `replay/rehearse.rs` | what this version would have decided otherwise |
//!
//! Invariants
//! - what is replayed is never changed by being looked at.
//!
//! It reads no files: `shell/recorder` does.
pub mod bisect;
pub mod checks;
pub mod history;
pub mod ladder;
pub mod rehearse;
pub mod source;
pub mod tape;
pub mod until;
pub mod verify;
pub mod why;
pub mod words;

pub use source::{Opened, Recorded, Records, Source};
pub use tape::{Fault, Joint, Stepped, Tape, Turn};
pub use until::{Moments, Until};
