//! What would become of the cluster if something happened to it, as a server foresees it.
use serde_json::Value;

use crate::api::{Fields as _, Ids};
use crate::commands::Session;
use crate::reasons;
use crate::table::table;
use crate::terminal::Style;

/// Nothing, if nothing was supposed.
pub(super) fn show(session: &Session, told: &Value, ids: Ids) {
    let supposed: Vec<&str> = told.list("Supposed").iter().filter_map(Value::as_str).collect();
    if supposed.is_empty() {
        return;
    }
    let terminal = session.terminal;
    let heading = format!("What if: {}", supposed.join("; "));
    terminal.line(&terminal.paint(Style::Heading, &heading));
    let (moves, unplaced) = (told.list("Moves"), told.list("Unplaced"));
    let mut is_quiet = true;
    if !moves.is_empty() {
        let row = |one: &Value| {
            let of = |key| one.text(key).to_owned();
            vec![ids.show(one.text("AllocID")), of("Name"), of("From"), of("To")]
        };
        let rows: Vec<_> = moves.iter().map(row).collect();
        terminal.line(&format!("- {} would move:", allocations(moves.len() as u64)));
        terminal.line(&table(&["Alloc ID", "Name", "From", "To"], &rows));
        is_quiet = false;
    }
    for (key, what) in
        [("Placed", "would find the room that there is not now"), ("Ended", "would run no more")]
    {
        for one in told.list(key) {
            let count = allocations(one.at("Count").as_u64().unwrap_or(0));
            let (group, job) = (one.text("TaskGroup"), one.text("JobID"));
            terminal.line(&format!("- {count} of group \"{group}\" of job \"{job}\" {what}."));
            is_quiet = false;
        }
    }
    for one in unplaced {
        let (queued, before) = (one.int("Queued"), one.int("QueuedBefore"));
        let count = allocations(u64::try_from(queued).unwrap_or(0));
        let (group, job) = (one.text("TaskGroup"), one.text("JobID"));
        let text = format!(
            "- {count} of group \"{group}\" of job \"{job}\" would find no room ({before} now):"
        );
        terminal.line(&terminal.paint(Style::Warning, &text));
        for line in reasons::lines(one.at("Metrics"), "    ") {
            terminal.line(&line);
        }
        is_quiet = false;
    }
    if is_quiet {
        terminal.line("- Nothing would move, and everything would find room.");
    }
    terminal.line("");
}

fn allocations(count: u64) -> String {
    format!("{count} allocation{}", if count == 1 { "" } else { "s" })
}
