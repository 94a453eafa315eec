//! What is done to nodes that are emptied, in words: for plan files, the ladder and replays.
//!
//! Invariants
//! - a command and the request that asked for it are told in the same words.
use drover_core::types::{DrainDeadline, DrainSpec};

/// What `spec` asks of the node called `node`.
#[must_use]
pub fn told(node: &str, spec: Option<DrainSpec>, mark_eligible: bool) -> String {
    let Some(spec) = spec else {
        let admitted = if mark_eligible { " and admitted" } else { "" };
        return format!("{node} is not emptied any more{admitted}");
    };
    match spec.deadline {
        DrainDeadline::Force => format!("{node} is emptied by force"),
        DrainDeadline::After { ms } => format!("{node} is emptied within {ms} ms"),
        DrainDeadline::Never => format!("{node} is emptied at its own pace"),
    }
}

/// A moment has come for `count` drains.
#[must_use]
pub fn due(count: usize) -> String {
    format!("{count} drains wait no longer")
}
