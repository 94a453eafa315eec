//! What a job's tasks and groups ask for beside quantities, in a plan's words.
use core::fmt;

use drover_core::types::Access;

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

pub(super) fn write_volume(f: &mut fmt::Formatter<'_>, volume: Option<Access>) -> fmt::Result {
    match volume {
        None => Ok(()),
        Some(Access::ReadOnly) => f.write_str(" volume=reads"),
        Some(Access::ReadWrite) => f.write_str(" volume=writes"),
    }
}

/// The words before it, and what it says; nothing where there is none.
pub(super) fn read_volume<'w, 't>(words: &'w [&'t str]) -> Option<(&'w [&'t str], Option<Access>)> {
    let [before @ .., word] = words else { return Some((words, None)) };
    match word.strip_prefix("volume=") {
        None => Some((words, None)),
        Some("reads") => Some((before, Some(Access::ReadOnly))),
        Some("writes") => Some((before, Some(Access::ReadWrite))),
        Some(_) => None,
    }
}
