//! ∀ child c of a calendar: its moment is one of the calendar's, and no other child has that moment; if the
//! calendar forbids overlap, no alloc of an older child lived when c was made. ∀ token: at most one child
//! of a parent has it. After healing, ◇: no launch is late.
//!
//! Invariants
//! - a saved state that comes back may know less of what lived: then overlaps are not judged.
use std::collections::BTreeSet;

use drover_core::cron::Calendar;
use drover_core::state::{State, TableKind};
use drover_core::time::WallTime;
use drover_core::types::{Allocation, DesiredStatus, Job, Launch, Made, Periodic};

use super::Verdict;

/// Jobs that did not change for so many entries were looked at before.
const LOOKED_AT: u64 = 64;
/// An entry may come a little after its moment.
const LATE_MS: u64 = 10_000;

/// Whether what is known of overlaps is all that there was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Memory {
    Whole,
    Restored,
}

/// The tables of whoever leads.
pub fn check(state: &State, memory: Memory) -> Verdict {
    let changed_at = state.table_index(TableKind::Jobs);
    if changed_at.0 + LOOKED_AT < state.index().0 {
        return Ok(());
    }
    state.jobs().filter(|job| !job.purged).try_for_each(|parent| {
        let spec = &parent.newest().spec;
        let children: Vec<&Job> = state.children_of(&spec.namespace, &spec.id).collect();
        let judged = match &spec.launch {
            Launch::Periodic(periodic) => {
                check_moments(periodic, &children).and_then(|()| match memory {
                    Memory::Whole => check_overlap(state, periodic, &children),
                    Memory::Restored => Ok(()),
                })
            }
            Launch::Parameterized(_) => check_tokens(&children),
            Launch::AtOnce => Ok(()),
        };
        judged.map_err(|why| format!("{}: {why}", spec.id))
    })
}

/// After healing: whoever leads has looked at all calendars.
pub fn check_late(state: &State) -> Verdict {
    match state.launches().next() {
        Some((due, job)) if due.plus_ms(LATE_MS) < state.clock() => {
            let late_ms = state.clock().ms_since(due);
            Err(format!("a launch of {job:?} is {late_ms} ms late"))
        }
        Some(_) | None => Ok(()),
    }
}

fn check_moments(periodic: &Periodic, children: &[&Job]) -> Verdict {
    let calendar = Calendar::of(periodic)?;
    let mut seen = BTreeSet::new();
    for child in children {
        let Some(Made::At(moment)) = child.lineage.child.as_ref().map(|child| &child.made) else {
            continue;
        };
        let name = &child.newest().spec.id;
        if !seen.insert(*moment) {
            return Err(format!("{name} is the second child of its moment"));
        }
        let before = WallTime { unix_ms: moment.unix_ms.saturating_sub(1_000) };
        if calendar.next_after(before) != Some(*moment) {
            return Err(format!("{name} was made at {}, when nothing was due", moment.unix_ms));
        }
    }
    Ok(())
}

fn check_overlap(state: &State, periodic: &Periodic, children: &[&Job]) -> Verdict {
    if !periodic.overlap_prohibited {
        return Ok(());
    }
    let is_of_calendar = |child: &&&Job| {
        matches!(child.lineage.child.as_ref().map(|child| &child.made), Some(Made::At(_)))
    };
    let Some(newest) = children.iter().rev().find(is_of_calendar) else { return Ok(()) };
    let lived = |alloc: &Allocation| {
        let lives = alloc.desired == DesiredStatus::Run && !alloc.client_status.is_terminal();
        lives && alloc.create_index < newest.create_index
    };
    let made_before = |child: &&&Job| child.create_index < newest.create_index;
    for older in children.iter().filter(made_before) {
        if state.allocs_of_job(older.id).any(lived) {
            let (newest, older) = (&newest.newest().spec.id, &older.newest().spec.id);
            return Err(format!("{newest} was made while {older} ran"));
        }
    }
    Ok(())
}

fn check_tokens(children: &[&Job]) -> Verdict {
    let mut tokens = BTreeSet::new();
    for child in children {
        let token = child.lineage.child.as_ref().map_or("", |child| child.token());
        if !token.is_empty() && !tokens.insert(token) {
            return Err(format!("{} is the second child of {token}", child.newest().spec.id));
        }
    }
    Ok(())
}
