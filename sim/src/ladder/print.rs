//! Rungs as lines: time, from, to, what, with the cause shown by indentation.
//!
//! A message is one line, where it arrives; one that never does is a line where it was sent. What would
//! tell nothing new is counted between the lines around it.
//!
//! Invariants
//! - lines are in the order of time;
//! - a line that hangs deeper than the one before was caused by what it hangs below.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::filter::Filter;
use super::rung::{Kind, Rung, RungId, Way};
use super::{Fault, FaultKind, Ladder};
use crate::clock::Moment;
use crate::network::HostId;

/// Longest text of one line.
const LINE_BYTES_MAX: usize = 240;
/// How deep lines hang at most.
const DEPTH_MAX: usize = 9;
/// A cause so many lines above is named instead of hung below.
const NEAR_LINES: usize = 24;
/// A message that was not there after this long will not come.
const UNDERWAY_MS_MAX: u64 = 1_000;
/// A message that takes longer is worth a word.
const SLOW_MS: u64 = 20;
/// Terms that the summary tells.
const TERMS_TOLD: usize = 6;
/// Names of one sort before they are counted.
const NAMED_MAX: usize = 3;

/// What was not worth a line.
#[derive(Default)]
struct Fold {
    since: Option<Moment>,
    sorts: BTreeMap<&'static str, Folded>,
}

#[derive(Default)]
struct Folded {
    count: u64,
    from: BTreeSet<HostId>,
    to: BTreeSet<HostId>,
}

/// Lines, and where each rung was told.
#[derive(Default)]
struct Page {
    lines: Vec<String>,
    told: BTreeMap<RungId, (usize, usize)>,
    fold: Fold,
}

impl Ladder {
    /// What a reader wants to see, the newest `lines_max` lines of it.
    #[must_use]
    pub fn lines(&self, filter: &Filter, lines_max: Option<usize>) -> Vec<String> {
        let mut page = Page::default();
        let wanted = |rung: &Rung| !rung.is_shown_by_another() && filter.takes(rung, &self.names);
        let told = self.rungs().filter(|(_, rung)| wanted(rung) && !rung.is_dull);
        let causes: BTreeSet<RungId> =
            told.filter_map(|(_, rung)| self.shown_cause(rung)).collect();
        for (id, rung) in self.rungs().filter(|(_, rung)| wanted(rung)) {
            // A moment that was waited for is worth a line only above what came of it.
            if rung.kind == Kind::Timer && !causes.contains(&id) {
                continue;
            }
            if rung.is_dull {
                page.fold.take(rung);
                continue;
            }
            self.flush(&mut page, rung.at);
            self.add_line(&mut page, id, rung);
        }
        self.flush(&mut page, self.ended_at());
        let skipped = lines_max.map_or(0, |max| page.lines.len().saturating_sub(max));
        page.lines.split_off(skipped)
    }

    /// Who led when, what is broken at the end, what was acknowledged last.
    #[must_use]
    pub fn summary(&self) -> Vec<String> {
        let end = self.ended_at();
        let mut lines = Vec::new();
        let skipped = self.reigns.len().saturating_sub(TERMS_TOLD);
        for reign in self.reigns.iter().skip(skipped) {
            let until = reign.until.map_or_else(|| "to the end".into(), |at| format!("to {at}"));
            let host = self.names.host(reign.host);
            lines
                .push(format!("term {:<4} {host} leads from {} {until}", reign.term.0, reign.from));
        }
        for fault in &self.faults {
            let lasts = fault.until.is_none_or(|until| end < until);
            if lasts && fault.from <= end && fault.kind != FaultKind::Blow {
                let host = self.names.host(fault.host);
                let word = fault.kind.word();
                lines.push(format!("{host} is {word} since {}: {}", fault.from, fault.text));
            }
        }
        if let Some((index, rung)) = self.acknowledged {
            let what = self.rung(rung).map_or_else(
                || format!("index {}", index.0),
                |rung| {
                    let host = rung.host.map_or("?", |host| self.names.host(host));
                    format!("at {} by {host}: {}", rung.at, rung.text)
                },
            );
            lines.push(format!("the last write that a caller was told of, {what}"));
        }
        lines.push(format!("committed up to {}, as far as anyone said", self.committed.0));
        lines
    }

    fn add_line(&self, page: &mut Page, id: RungId, rung: &Rung) {
        let place = page.lines.len();
        let cause = self.told_cause(page, rung);
        let near = cause.filter(|(_, (line, _))| place - line <= NEAR_LINES);
        let depth = near.map_or(0, |(_, (_, depth))| DEPTH_MAX.min(depth + 1));
        page.told.insert(id, (place, depth));
        let mut line = format!(
            "{:>12}  {:<9} {}{}",
            rung.at.to_string(),
            self.whose(rung),
            "  ".repeat(depth),
            rung.text
        );
        self.add_fate(&mut line, rung);
        if let (None, Some((cause, _))) = (near, cause)
            && let Some(cause) = self.rung(cause)
        {
            let place = cause.place().map_or("plan", |host| self.names.host(host));
            let _never_fails = write!(line, "  (after {} {place})", cause.at);
        }
        line.truncate(line.floor_char_boundary(LINE_BYTES_MAX));
        page.lines.push(line);
    }

    /// The nearest cause that has a line.
    fn told_cause(&self, page: &Page, rung: &Rung) -> Option<(RungId, (usize, usize))> {
        let mut cause = self.shown_cause(rung)?;
        for _ in 0..DEPTH_MAX {
            if let Some(told) = page.told.get(&cause) {
                return Some((cause, *told));
            }
            cause = self.shown_cause(self.rung(cause)?)?;
        }
        None
    }

    fn whose(&self, rung: &Rung) -> String {
        match (rung.host, rung.peer) {
            (Some(from), Some(to)) => {
                format!("{} → {}", self.names.host(from), self.names.host(to))
            }
            (Some(host), None) => self.names.host(host).to_owned(),
            (None, _) if rung.kind == Kind::Checker => "checker".to_owned(),
            (None, _) => "plan".to_owned(),
        }
    }

    fn add_fate(&self, line: &mut String, rung: &Rung) {
        let written = match (rung.way, rung.is_message()) {
            (Way::Whole | Way::Begun { end: Some(_) }, _) | (Way::Ended { .. }, false) => Ok(()),
            (Way::Ended { since }, true) => match rung.at.ms_since(since) {
                0..SLOW_MS => Ok(()),
                ms => write!(line, "  ({ms} ms on its way)"),
            },
            (Way::Begun { end: None }, is_message) => {
                let fate = match (is_message, self.may_still_end(rung)) {
                    (true, true) => "… has not arrived yet",
                    (true, false) => "✗ never arrives",
                    (false, true) => "… not done yet",
                    (false, false) => "✗ never done",
                };
                write!(line, "  {fate}")
            }
        };
        written.expect("invariant: text can be added to a string");
    }

    /// Whether what was begun may still end: a host that went down forgets it, and so do links.
    #[must_use]
    pub fn may_still_end(&self, rung: &Rung) -> bool {
        if rung.is_message() {
            return self.ended_at().ms_since(rung.at) <= UNDERWAY_MS_MAX;
        }
        let went_down = |fault: &Fault| {
            let is_down = matches!(fault.kind, FaultKind::Down | FaultKind::PowerOff);
            is_down && Some(fault.host) == rung.host && rung.at <= fault.from
        };
        !self.faults.iter().any(went_down)
    }

    fn flush(&self, page: &mut Page, until: Moment) {
        let fold = std::mem::take(&mut page.fold);
        let Some(since) = fold.since.filter(|_| !fold.sorts.is_empty()) else { return };
        let parts: Vec<String> = fold
            .sorts
            .iter()
            .map(|(sort, folded)| {
                let (from, to) = (self.some(&folded.from), self.some(&folded.to));
                let arrow = if to.is_empty() { "" } else { "→" };
                format!("{} {sort} {from}{arrow}{to}", folded.count)
            })
            .collect();
        let lasted = match until.ms_since(since) {
            0 => String::new(),
            ms => format!("{ms} ms: "),
        };
        let mut line = format!("{:>12}  {lasted}{}", "⋮", parts.join(" · "));
        line.truncate(line.floor_char_boundary(LINE_BYTES_MAX));
        page.lines.push(line);
    }

    /// `s1,s2` or `11 hosts`.
    fn some(&self, hosts: &BTreeSet<HostId>) -> String {
        if NAMED_MAX < hosts.len() {
            return format!("{} hosts", hosts.len());
        }
        let names: Vec<&str> = hosts.iter().map(|&host| self.names.host(host)).collect();
        names.join(",")
    }
}

impl Fold {
    fn take(&mut self, rung: &Rung) {
        if rung.kind == Kind::Timer {
            return;
        }
        self.since.get_or_insert(rung.at);
        let folded = self.sorts.entry(rung.sort).or_default();
        folded.count += 1;
        folded.from.extend(rung.host);
        folded.to.extend(rung.peer);
    }
}
