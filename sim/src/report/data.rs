//! The page's data: columns of numbers, one for each property of a rung, and the texts they point into.
//!
//! Times are microseconds since the world began. A rung names its cause by how many rungs before it that
//! stands; zero: none that is in the page.
//!
//! Invariants
//! - the newest rungs that say something are in the page before any that does not.
use std::collections::{BTreeMap, BTreeSet};

use super::json;
use crate::clock::Moment;
use crate::ladder::{FaultKind, Kind, Ladder, Rung, RungId, Way};
use crate::network::HostId;
use crate::plan::Plan;
use crate::run::Report;

/// Room for rungs and their texts.
const BYTES_MAX: usize = 8 << 20;
/// About what one rung takes without its text.
const RUNG_BYTES: usize = 36;

/// What a rung's flags say.
const DULL: u8 = 1;
const LOST: u8 = 2;
const PENDING: u8 = 4;

/// The data and what is not in them.
pub(super) struct Data {
    pub(super) text: String,
    pub(super) left_out: String,
}

/// Every text once.
#[derive(Default)]
struct Texts<'a> {
    known: BTreeMap<&'a str, usize>,
    list: Vec<&'a str>,
}

impl<'a> Texts<'a> {
    fn place(&mut self, text: &'a str) -> usize {
        let next = self.list.len();
        let at = *self.known.entry(text).or_insert(next);
        if at == next {
            self.list.push(text);
        }
        at
    }
}

/// One list for each property.
#[derive(Default)]
struct Columns {
    at: Vec<u64>,
    host: Vec<i64>,
    peer: Vec<i64>,
    kind: Vec<usize>,
    sort: Vec<usize>,
    text: Vec<usize>,
    cause: Vec<usize>,
    took: Vec<u64>,
    flags: Vec<u8>,
}

/// The data of a run.
pub(super) fn of(plan: &Plan, report: &Report, ladder: &Ladder) -> Data {
    let (kept, dropped) = choose(ladder);
    let (mut texts, mut sorts, mut columns) =
        (Texts::default(), Texts::default(), Columns::default());
    let places: BTreeMap<RungId, usize> =
        kept.iter().enumerate().map(|(at, (id, _))| (*id, at)).collect();
    let mut before = 0;
    for (place, (_, rung)) in kept.iter().enumerate() {
        let at = us(rung.at);
        columns.at.push(at - before);
        before = at;
        columns.host.push(number(rung.host));
        columns.peer.push(number(rung.peer));
        columns.kind.push(Kind::ALL.iter().position(|kind| *kind == rung.kind).unwrap_or(0));
        columns.sort.push(sorts.place(rung.sort));
        columns.text.push(texts.place(&rung.text));
        let cause = cause_in(ladder, rung, &places);
        columns.cause.push(cause.map_or(0, |cause| place - cause));
        columns.took.push(if let Way::Ended { since } = rung.way { at - us(since) } else { 0 });
        columns.flags.push(flags(ladder, rung));
    }
    let fields = [
        ("end", us(report.lasted).to_string()),
        ("heal", (plan.faults_until_ms * 1_000).to_string()),
        ("failure", failure(report)),
        ("hosts", json::list(ladder.names.hosts().map(|(_, name)| json::text(name)))),
        ("kinds", json::list(Kind::ALL.iter().map(|kind| json::text(kind.word())))),
        ("sorts", json::list(sorts.list.iter().map(|sort| json::text(sort)))),
        ("texts", json::list(texts.list.iter().map(|text| json::text(text)))),
        ("reigns", reigns(report, ladder)),
        ("faults", faults(report, ladder)),
        ("lives", lives(report, ladder)),
        ("at", json::list(columns.at)),
        ("host", json::list(columns.host)),
        ("peer", json::list(columns.peer)),
        ("kind", json::list(columns.kind)),
        ("sort", json::list(columns.sort)),
        ("text", json::list(columns.text)),
        ("cause", json::list(columns.cause)),
        ("took", json::list(columns.took)),
        ("flags", json::list(columns.flags)),
    ];
    let fields = fields.map(|(name, value)| format!("\"{name}\":{value}"));
    let text = format!("{{{}}}", fields.join(",\n"));
    let mut left_out = Vec::new();
    if 0 < dropped {
        left_out.push(format!("{dropped} events that say little are not in this page"));
    }
    if 0 < ladder.forgotten() {
        left_out.push(format!("the first {} events of the run were not kept", ladder.forgotten()));
    }
    Data { text, left_out: left_out.join("; ") }
}

/// What there is room for, oldest first, and how many there was no room for.
fn choose(ladder: &Ladder) -> (Vec<(RungId, &Rung)>, usize) {
    let shown = |wanted: bool| {
        let rungs = ladder.rungs().rev().filter(|(_, rung)| !rung.is_shown_by_another());
        rungs
            .filter(move |(_, rung)| rung.is_dull == wanted && (!rung.is_dull || rung.is_message()))
    };
    let (mut bytes, mut dropped) = (0, 0);
    let (mut kept, mut texts) = (Vec::new(), BTreeSet::new());
    for (id, rung) in shown(false).chain(shown(true)) {
        bytes += RUNG_BYTES + if texts.insert(&*rung.text) { rung.text.len() + 4 } else { 0 };
        if bytes <= BYTES_MAX {
            kept.push((id, rung));
        } else {
            dropped += 1;
        }
    }
    kept.sort_by_key(|(id, _)| *id);
    (kept, dropped)
}

/// The nearest cause that is in the page.
fn cause_in(ladder: &Ladder, rung: &Rung, places: &BTreeMap<RungId, usize>) -> Option<usize> {
    let mut cause = rung.cause;
    while let Some(id) = cause {
        if let Some(place) = places.get(&id) {
            return Some(*place);
        }
        cause = ladder.rung(id)?.cause;
    }
    None
}

fn flags(ladder: &Ladder, rung: &Rung) -> u8 {
    let dull = if rung.is_dull { DULL } else { 0 };
    let fate = match rung.way {
        Way::Begun { end: None } if ladder.may_still_end(rung) => PENDING,
        Way::Begun { end: None } => LOST,
        Way::Whole | Way::Begun { .. } | Way::Ended { .. } => 0,
    };
    dull | fate
}

fn failure(report: &Report) -> String {
    report.failure.as_ref().map_or_else(
        || "null".to_owned(),
        |failure| {
            let (at, checker) = (us(failure.at), json::text(failure.checker));
            let message = json::text(&failure.message);
            format!("{{\"at\":{at},\"checker\":{checker},\"message\":{message}}}")
        },
    )
}

fn reigns(report: &Report, ladder: &Ladder) -> String {
    json::list(ladder.reigns.iter().map(|reign| {
        let until = us(reign.until.unwrap_or(report.lasted));
        format!("[{},{},{},{until}]", reign.term.0, reign.host.0, us(reign.from))
    }))
}

fn faults(report: &Report, ladder: &Ladder) -> String {
    json::list(ladder.faults.iter().map(|fault| {
        let until =
            if fault.kind == FaultKind::Blow { fault.from } else { until(fault.until, report) };
        let (word, text) = (json::text(fault.kind.word()), json::text(&fault.text));
        format!("[{},{word},{},{},{text}]", fault.host.0, us(fault.from), us(until))
    }))
}

fn lives(report: &Report, ladder: &Ladder) -> String {
    json::list(ladder.lives.iter().map(|life| {
        let task = if life.task == 0 { String::new() } else { format!(" task {}", life.task) };
        let name = json::text(&format!("{}{task}", ladder.names.alloc(life.alloc)));
        format!("[{},{},{},{name}]", life.host.0, us(life.from), us(until(life.until, report)))
    }))
}

fn until(until: Option<Moment>, report: &Report) -> Moment {
    until.unwrap_or(report.lasted).min(report.lasted)
}

const fn us(at: Moment) -> u64 {
    at.ns / 1_000
}

fn number(host: Option<HostId>) -> i64 {
    host.map_or(-1, |host| i64::try_from(host.0).expect("invariant: few hosts"))
}
