//! How the nodes compare for one more of a group, as people read it.
//!
//! Invariants
//! - what keeps a node out stands beside what the node has;
//! - every score comes with its parts.
use serde_json::Value;

use crate::api::{Fields as _, Ids};
use crate::reasons;
use crate::table::table;
use crate::terminal::{Style, Terminal};

/// A group: what was looked at, and the best that came of it.
pub(crate) fn group(terminal: Terminal, group: &Value, ids: Ids) {
    let heading = format!("Task Group \"{}\": {}", group.text("Name"), next(group));
    terminal.line(&format!("\n{}", terminal.paint(Style::Heading, &heading)));
    for line in reasons::waits(group) {
        terminal.line(&terminal.paint(Style::Warning, &format!("  * {line}")));
    }
    terminal.line(&format!("  * {}", looked_at(group)));
    for line in reasons::lines(group.at("Metrics"), "  ") {
        terminal.line(&line);
    }
    let served = group.int("NodesServed");
    if 0 < served {
        terminal.line(&format!("  * {} nothing more of it now", nodes(served, "needs", "need")));
    }
    let best = group.list("Best");
    if best.is_empty() {
        terminal.line("  * No node may take one more");
    } else {
        terminal.section("Candidates", &candidates(best, ids));
        let left = group.int("Candidates") - i64::try_from(best.len()).unwrap_or(0);
        if 0 < left {
            terminal.line(&format!("and {left} more: -verbose lists them all"));
        }
    }
    if group.at("Node").is_object() {
        node(terminal, group, ids);
    }
}

/// What happens next to the group.
fn next(group: &Value) -> String {
    let missing = group.int("Missing");
    if !group.list("Waits").is_empty() {
        return format!("{missing} to be placed, not before what it waits for");
    }
    let first = group.list("Best").first().map(|best| best.text("NodeName").to_owned());
    match (missing, first) {
        (0, None) => "nothing is to be placed".to_owned(),
        (0, Some(node)) => format!("nothing is to be placed; one more would go to {node}"),
        (1.., None) => format!("{missing} to be placed, and no node may take one"),
        (_, Some(node)) => format!("{missing} to be placed, the next on {node}"),
        (_, None) => String::new(),
    }
}

fn looked_at(group: &Value) -> String {
    let evaluated = group.at("Metrics").int("NodesEvaluated");
    let mut text = format!("{} looked at", nodes(evaluated, "was", "were"));
    for (key, what) in [
        ("NodesClosed", "not ready or not eligible"),
        ("NodesElsewhere", "of another pool or datacenter"),
    ] {
        let count = group.int(key);
        if 0 < count {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text
}

/// `1 node was`, `2 nodes were`.
pub(crate) fn nodes(count: i64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 node {one}") } else { format!("{count} nodes {many}") }
}

fn candidates(best: &[Value], ids: Ids) -> String {
    let names: Vec<&str> = score_names(best);
    let columns = ["Rank", "Node", "Node ID", "Score"].into_iter().chain(names.iter().copied());
    let row = |one: &Value| {
        let mut row = vec![
            one.int("Rank").to_string(),
            one.text("NodeName").to_owned(),
            ids.show(one.text("NodeID")),
            reasons::score(one.at("NormScore")),
        ];
        row.extend(names.iter().map(|name| reasons::score(one.at("Scores").at(name))));
        row
    };
    let rows: Vec<_> = best.iter().map(row).collect();
    table(&columns.collect::<Vec<_>>(), &rows)
}

/// All parts that any of them has. What is zero takes no part in a mean, but for the fit.
fn score_names(best: &[Value]) -> Vec<&str> {
    let mut names: Vec<_> = best.iter().flat_map(parts).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn parts(standing: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let takes_part = |&(name, part): &(&str, &Value)| {
        name == "binpack" || part.as_f64().is_some_and(|part| part != 0.0)
    };
    standing.entries("Scores").into_iter().filter(takes_part)
}

/// The node that was asked about, demand by demand.
fn node(terminal: Terminal, group: &Value, ids: Ids) {
    let node = group.at("Node");
    let (name, standing) = (node.text("NodeName"), node.at("Standing"));
    let unmet = node.list("Demands").iter().filter(|demand| !demand.flag("Met")).count();
    let verdict = if standing.is_object() {
        let (rank, of) = (standing.int("Rank"), group.int("Candidates"));
        format!("may take one more, rank {rank} of {of}")
    } else {
        let demands = if unmet == 1 { "demand is" } else { "demands are" };
        format!("may not take one more: {unmet} {demands} not met")
    };
    let row = |demand: &Value| {
        let found = demand.at("Found").as_str().unwrap_or("nothing");
        let met = if demand.flag("Met") { "yes" } else { "NO" };
        vec![
            met.to_owned(),
            demand.text("Kind").to_owned(),
            demand.text("Demand").to_owned(),
            if found.is_empty() { "an empty value" } else { found }.to_owned(),
        ]
    };
    let rows: Vec<_> = node.list("Demands").iter().map(row).collect();
    let heading = format!("Node \"{name}\" ({}) {verdict}", ids.show(node.text("NodeID")));
    terminal.section(&heading, &table(&["Met", "Kind", "Asked", "The node has"], &rows));
    if standing.is_object() {
        let parts = parts(standing).map(|(name, part)| format!("{name} {}", reasons::score(part)));
        let parts: Vec<_> = parts.collect();
        let score = reasons::score(standing.at("NormScore"));
        terminal.line(&format!("Score {score}, the mean of {}", parts.join(", ")));
    }
}
