//! What a job's tasks ask for beside quantities, in a plan's words.
use core::fmt;

use crate::plan::PiecesAsk;

pub(super) fn write(f: &mut fmt::Formatter<'_>, pieces: PiecesAsk) -> fmt::Result {
    if pieces == PiecesAsk::default() {
        return Ok(());
    }
    let PiecesAsk { memory_max_mib, cores, devices } = pieces;
    write!(f, " memory-max={memory_max_mib} cores={cores} devices={devices}")
}

/// The words before it, and what it says; nothing where there is none.
pub(super) fn read<'w, 't>(words: &'w [&'t str]) -> Option<(&'w [&'t str], PiecesAsk)> {
    let nothing = Some((words, PiecesAsk::default()));
    let [before @ .., most, cores, devices] = words else { return nothing };
    let Some(most) = most.strip_prefix("memory-max=") else { return nothing };
    let number = |text: &str| text.parse().ok();
    let cores = number(cores.strip_prefix("cores=")?)?;
    let devices = number(devices.strip_prefix("devices=")?)?;
    Some((before, PiecesAsk { memory_max_mib: number(most)?, cores, devices }))
}
