//! Changes that belong together are told together.
//!
//! Ten machines that die at once are one event for whoever plans (Rapid calls it a cut). So changes wait until
//! no member is between suspicion and verdict and nothing has changed for a second, five at most.
//!
//! Invariants
//! - a member is in one list of a shift only: where it was put last.
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::time::MonoTime;
use crate::types::ServerId;

const QUIET_MS: u64 = 1_000;
const WAIT_MS_MAX: u64 = 5_000;

/// Why a member failed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Verdict {
    /// Who could not reach it.
    pub accusers: Vec<ServerId>,
    /// When this member has condemned it, or heard of it.
    pub at: MonoTime,
}

/// What has become of the group since the last one.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Shift {
    /// Counts on with each.
    pub number: u64,
    pub alive: Vec<ServerId>,
    pub failed: Vec<(ServerId, Verdict)>,
    pub left: Vec<ServerId>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Shifts {
    pending: Shift,
    /// Of the pending shift: the first and the last change.
    span: Option<(MonoTime, MonoTime)>,
}

impl Shifts {
    pub(super) fn note_alive(&mut self, now: MonoTime, id: ServerId) {
        self.note(now, id);
        self.pending.alive.push(id);
    }

    pub(super) fn note_failed(&mut self, now: MonoTime, id: ServerId, verdict: Verdict) {
        self.note(now, id);
        self.pending.failed.push((id, verdict));
    }

    pub(super) fn note_left(&mut self, now: MonoTime, id: ServerId) {
        self.note(now, id);
        self.pending.left.push(id);
    }

    pub(super) fn next_at(&self, no_suspect: bool) -> Option<MonoTime> {
        let (first, last) = self.span?;
        let latest = first.plus_ms(WAIT_MS_MAX);
        Some(if no_suspect { latest.min(last.plus_ms(QUIET_MS)) } else { latest })
    }

    /// The shift, if it is complete.
    pub(super) fn take(&mut self, now: MonoTime, no_suspect: bool) -> Option<Shift> {
        self.next_at(no_suspect).filter(|at| *at <= now)?;
        self.span = None;
        let number = self.pending.number + 1;
        let next = Shift { number, ..Shift::default() };
        let mut shift = core::mem::replace(&mut self.pending, next);
        shift.number = number;
        Some(shift)
    }

    fn note(&mut self, now: MonoTime, id: ServerId) {
        let first = self.span.map_or(now, |(first, _)| first);
        self.span = Some((first, now));
        let Shift { number: _, alive, failed, left } = &mut self.pending;
        alive.retain(|one| *one != id);
        failed.retain(|(one, _)| *one != id);
        left.retain(|one| *one != id);
    }
}
