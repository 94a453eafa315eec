//! A run as one page: a lane for every host, messages as arrows, faults and terms as bands.
//!
//! The page is one file and asks nobody for anything: its style and its script are in `report/`, its data
//! (`report/data.rs`) are columns of numbers and one list of texts. What a reader must not miss is text of
//! the page itself: how the run ended, who led when, what broke, the last lines of the ladder.
//!
//! Invariants
//! - the page is the same for the same run;
//! - its size is bounded: what says nothing new is left out first, and what is oldest then, and it says so.
use std::fmt::Write;

use crate::clock::Moment;
use crate::ladder::{FaultKind, Filter, Ladder};
use crate::plan::Plan;
use crate::run::Report;

mod data;
mod json;

const PAGE: &str = include_str!("report/page.html");
const STYLE: &str = include_str!("report/style.css");
/// In the order in which they build on each other.
const SCRIPTS: [&str; 5] = [
    include_str!("report/data.js"),
    include_str!("report/draw.js"),
    include_str!("report/marks.js"),
    include_str!("report/panel.js"),
    include_str!("report/script.js"),
];

/// Lines of the ladder that are text of the page.
const LADDER_LINES: usize = 60;
/// Rows of a table.
const ROWS_MAX: usize = 200;

/// The page.
#[must_use]
pub fn page(plan: &Plan, report: &Report, ladder: &Ladder) -> String {
    let data = data::of(plan, report, ladder);
    let left_out = data.left_out.clone();
    let parts = [
        ("{{style}}", STYLE.to_owned()),
        ("{{title}}", title(report)),
        ("{{facts}}", facts(plan, report)),
        ("{{verdict}}", verdict(report)),
        ("{{left-out}}", escaped(&left_out)),
        ("{{terms}}", terms(ladder)),
        ("{{faults}}", faults(ladder)),
        ("{{ladder}}", lines(report, ladder)),
        ("{{plan}}", escaped(&plan.to_string())),
        ("{{data}}", data.text),
        ("{{script}}", SCRIPTS.join("\n")),
    ];
    filled(PAGE, &parts)
}

/// `template` with every `{{name}}` replaced once: what is filled in is not looked at again.
fn filled(template: &str, parts: &[(&str, String)]) -> String {
    let mut page = String::new();
    let mut rest = template;
    while let Some(at) = rest.find("{{") {
        let (before, from) = rest.split_at(at);
        page.push_str(before);
        let part = parts.iter().find(|(name, _)| from.starts_with(name));
        let (name, text) = part.expect("invariant: the template names only what there is");
        page.push_str(text);
        rest = &from[name.len()..];
    }
    page.push_str(rest);
    page
}

/// Text as it stands in a page.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn seconds(at: Moment) -> String {
    format!("{}.{:03}", at.ms() / 1_000, at.ms() % 1_000)
}

fn title(report: &Report) -> String {
    match &report.failure {
        None => format!("Seed {} passed", report.seed),
        Some(failure) => format!("Seed {} broke {}", report.seed, escaped(failure.checker)),
    }
}

fn facts(plan: &Plan, report: &Report) -> String {
    let facts = [
        ("Servers", plan.servers.to_string()),
        ("Clients", plan.clients.to_string()),
        ("Simulated", format!("{} s", report.lasted.ms() / 1_000)),
        ("Faults end", format!("{} s", plan.faults_until_ms / 1_000)),
        ("Inputs", report.steps.to_string()),
        ("Digest", report.digest.to_string().chars().take(12).collect()),
    ];
    let fact = |(name, value): &(&str, String)| {
        format!("<div><dt>{name}</dt><dd>{}</dd></div>", escaped(value))
    };
    facts.iter().map(fact).collect()
}

fn verdict(report: &Report) -> String {
    let Some(failure) = &report.failure else {
        return "<section class=\"verdict passed\" id=\"verdict\"><h2>Every promise held</h2></section>"
            .to_owned();
    };
    let promise = crate::ladder::promises::of(failure.checker);
    let at = seconds(failure.at);
    format!(
        "<section class=\"verdict failed\" id=\"verdict\"><h2>Broken at {at} s: <code>{}</code></h2>\
         <p class=\"promise\">Promised: {}.</p><p class=\"message\">{}</p>\
         <button type=\"button\" id=\"go-failure\">Show where it broke</button></section>",
        escaped(failure.checker),
        escaped(promise),
        escaped(&failure.message),
    )
}

fn terms(ladder: &Ladder) -> String {
    let mut rows = String::new();
    let skipped = ladder.reigns.len().saturating_sub(ROWS_MAX);
    for reign in ladder.reigns.iter().skip(skipped) {
        let until = reign.until.map_or_else(|| "the end".to_owned(), seconds);
        let _never_fails = write!(
            rows,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{until}</td></tr>",
            reign.term.0,
            escaped(ladder.names.host(reign.host)),
            seconds(reign.from),
        );
    }
    rows
}

fn faults(ladder: &Ladder) -> String {
    let mut rows = String::new();
    for fault in ladder.faults.iter().take(ROWS_MAX) {
        let until = match (fault.kind, fault.until) {
            (FaultKind::Blow, _) => String::new(),
            (_, Some(until)) => seconds(until),
            (_, None) => "the end".to_owned(),
        };
        let _never_fails = write!(
            rows,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{until}</td><td>{}</td></tr>",
            escaped(ladder.names.host(fault.host)),
            fault.kind.word(),
            seconds(fault.from),
            escaped(&fault.text),
        );
    }
    if ROWS_MAX < ladder.faults.len() {
        let more = ladder.faults.len() - ROWS_MAX;
        let _never_fails = write!(rows, "<tr><td colspan=\"5\">and {more} more</td></tr>");
    }
    rows
}

fn lines(report: &Report, ladder: &Ladder) -> String {
    let checker = report.failure.as_ref().map_or("", |failure| failure.checker);
    let lines = ladder.lines(&Filter::of_checker(checker), Some(LADDER_LINES));
    let told = lines.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("\n");
    let summary = ladder.summary();
    let summary = summary.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("\n");
    format!("{told}\n\n{summary}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_is_not_looked_at_again() {
        let parts = [("{{a}}", "{{b}}".to_owned()), ("{{b}}", "<".to_owned())];
        assert_eq!(filled("1 {{a}} 2 {{b}} 3", &parts), "1 {{b}} 2 < 3");
        assert_eq!(escaped("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
    }
}
