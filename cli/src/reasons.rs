//! Why something could not be placed, in the words users of Nomad search for.
//!
//! Invariants
//! - every count that the server sends is shown: nothing is summed away.
use serde_json::Value;

use crate::api::Fields as _;

/// What a group waits for, if it does: `group api waits for job db to be healthy (2 of 3 healthy)`.
pub(crate) fn waits(metrics: &Value) -> Vec<&str> {
    let waits = metrics.list("Waits").iter().filter(|gate| !gate.flag("Open"));
    waits.map(|gate| gate.text("Said")).collect()
}

/// Whether all of these groups wait for something, and none looked for room in vain.
pub(crate) fn only_wait(failed: &[(&str, &Value)]) -> bool {
    !failed.is_empty() && failed.iter().all(|(_, metrics)| !metrics.list("Waits").is_empty())
}

/// Whether the evaluation looked for room in vain. A group that waits for something has not looked.
pub(crate) fn placement_failures(eval: &Value) -> &'static str {
    let mut failed = eval.entries("FailedTGAllocs").into_iter();
    match (eval.text("Status"), failed.any(|(_, metrics)| metrics.list("Waits").is_empty())) {
        ("blocked", _) => "N/A - In Progress",
        (_, true) => "true",
        (_, false) => "false",
    }
}

/// What the evaluation waits for that these groups left behind.
pub(crate) fn awaited(failed: &[(&str, &Value)]) -> &'static str {
    if only_wait(failed) {
        "waiting for what the job comes after"
    } else {
        "waiting for additional capacity to place remainder"
    }
}

/// `Task Group "x" (failed to place 1 allocation):`, from a group's metrics.
pub(crate) fn headline(group: &str, metrics: &Value) -> String {
    let failed = metrics.int("CoalescedFailures") + 1;
    if !metrics.list("Waits").is_empty() {
        let verb = if failed == 1 { "allocation waits" } else { "allocations wait" };
        return format!("Task Group \"{group}\" ({failed} {verb}):");
    }
    let plural = if failed == 1 { "" } else { "s" };
    format!("Task Group \"{group}\" (failed to place {failed} allocation{plural}):")
}

/// One line for each reason, all behind `margin`.
pub(crate) fn lines(metrics: &Value, margin: &str) -> Vec<String> {
    let gates = metrics.list("Waits");
    if !gates.is_empty() {
        let line = |gate: &Value| format!("{margin}* {}", gate.text("Said"));
        return gates.iter().map(line).collect();
    }
    let mut out = Vec::new();
    let mut say = |text: String| out.push(format!("{margin}* {text}"));
    if metrics.int("NodesEvaluated") == 0 {
        say("No nodes were eligible for evaluation".to_owned());
    }
    if metrics.at("NodesInPool").as_i64() == Some(0) {
        say("No nodes are available in the job's node pool".to_owned());
    }
    for (datacenter, count) in metrics.entries("NodesAvailable") {
        if count.as_i64() == Some(0) {
            say(format!("No nodes are available in datacenter \"{datacenter}\""));
        }
    }
    for (class, count) in metrics.entries("ClassFiltered") {
        say(format!("Class \"{class}\": {count} nodes excluded by filter"));
    }
    for (constraint, count) in metrics.entries("ConstraintFiltered") {
        say(format!("Constraint \"{constraint}\": {count} nodes excluded by filter"));
    }
    let exhausted = metrics.int("NodesExhausted");
    if exhausted > 0 {
        say(format!("Resources exhausted on {exhausted} nodes"));
    }
    for (class, count) in metrics.entries("ClassExhausted") {
        say(format!("Class \"{class}\" exhausted on {count} nodes"));
    }
    for (dimension, count) in metrics.entries("DimensionExhausted") {
        say(format!("Dimension \"{dimension}\" exhausted on {count} nodes"));
    }
    let awaited = metrics.int("AwaitedPreemptions");
    if awaited > 0 {
        let plural = if awaited == 1 { "allocation waits" } else { "allocations wait" };
        say(format!("{awaited} {plural} until less important ones have ended that make way"));
    }
    for quota in metrics.list("QuotaExhausted") {
        say(format!("Quota limit hit {quota}"));
    }
    near_miss(metrics.at("Nearest")).map(say);
    out
}

/// What the node lacks that comes closest; nothing where it is not room that is missing.
fn near_miss(nearest: &Value) -> Option<String> {
    let (asked, free) = (nearest.at("Asked"), nearest.at("Free"));
    let lacking = [
        ("CPU", "MHz of cpu"),
        ("MemoryMB", "MiB of memory"),
        ("DiskMB", "MiB of disk"),
        ("Cores", "cores"),
    ];
    let lacking = lacking.into_iter().filter(|(key, _)| free.int(key) < asked.int(key));
    let lacking = lacking.map(|(key, what)| {
        format!("{} of the {} {what} that it takes", free.int(key), asked.int(key))
    });
    let (has, wants) = (nearest.int("DevicesFree"), nearest.int("DevicesAsked"));
    let devices = (has < wants).then(|| format!("{has} of the {wants} devices that it takes"));
    let lacking: Vec<String> = lacking.chain(devices).collect();
    let node = nearest.text("NodeName");
    (!lacking.is_empty())
        .then(|| format!("Node \"{node}\" comes closest: it has {}", lacking.join(", ")))
}

/// The scores of the nodes that were considered, as rows; empty if the server told none.
pub(crate) fn scores(metrics: &Value) -> String {
    let considered = metrics.list("ScoreMetaData");
    let Some(first) = considered.first() else { return String::new() };
    let names: Vec<_> = first.entries("Scores").into_iter().map(|(name, _)| name).collect();
    let header: Vec<_> =
        ["Node"].into_iter().chain(names.iter().copied()).chain(["final score"]).collect();
    let row = |node: &Value| {
        let mut row = vec![node.text("NodeID").to_owned()];
        row.extend(names.iter().map(|name| score(node.at("Scores").at(name))));
        row.push(score(node.at("NormScore")));
        row
    };
    crate::table::table(&header, &considered.iter().map(row).collect::<Vec<_>>())
}

/// Three significant places are enough to compare scores.
pub(crate) fn score(value: &Value) -> String {
    let text = format!("{:.3}", value.as_f64().unwrap_or(0.0));
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}
