//! Instructions per entry, which no neighbour on the machine disturbs: the bench runs itself under
//! valgrind twice, and what the longer run did more is divided by the entries it proposed more.
//! Filling the logs takes most of the time: minutes for openraft one by one.
use std::process::Command;

use crate::contender::Contender;
use crate::load::Load;

/// Entries of the shorter and of the longer run.
const ENTRIES: [u64; 2] = [1_024, 17_408];

/// Valgrind takes each byte of a `rep movsb` for an instruction: let copies be made by loops.
const TUNABLES: &str =
    "glibc.cpu.x86_rep_movsb_threshold=1073741824:glibc.cpu.x86_rep_stosb_threshold=1073741824";

/// Whether valgrind can be asked.
pub(crate) fn are_countable() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok_and(|said| said.status.success())
}

/// Instructions for each entry that `contender` executes under `load`.
///
/// # Errors
/// What went wrong, in words.
pub(crate) fn per_entry(contender: Contender, load: Load) -> Result<f64, String> {
    let [short, long] = ENTRIES.map(|entries| count(contender, load, entries / load.batch));
    let entries = (ENTRIES[1] - ENTRIES[0]) as f64;
    Ok((long? as f64 - short? as f64) / entries)
}

fn count(contender: Contender, load: Load, batches: u64) -> Result<u64, String> {
    let own = std::env::current_exe().map_err(|fault| fault.to_string())?;
    let said = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .env("GLIBC_TUNABLES", TUNABLES)
        .arg(own)
        .args(["--only", contender.name(), "--batch", &load.batch.to_string()])
        .args(["--payload", &load.payload_bytes.to_string(), "--exactly", &batches.to_string()])
        .output()
        .map_err(|fault| fault.to_string())?;
    let text = String::from_utf8_lossy(&said.stderr);
    // "==123== I refs:        1,234,567"
    let figure = text.lines().find_map(|line| line.split_once("refs:"));
    let digits = figure.map(|(_, figure)| figure.trim().replace(',', ""));
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| {
        let last = text.lines().last().unwrap_or("nothing");
        format!("valgrind says no number of instructions, but {last:?}")
    })
}
