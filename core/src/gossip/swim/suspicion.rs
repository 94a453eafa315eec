//! Whoever could not be reached has time to say that it lives.
//!
//! Every member that heard of the suspicion measures the time for itself, so a lost verdict delays
//! nobody. The time is shorter the more accusers there are, and longer the more is lost here. When it
//! is up, a member asks the suspect itself; only who gets no answer is a accuser, and condemns if there
//! are enough of them.
//!
//! Invariants
//! - a suspicion has as many deadlines as there are suspects: one each.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{ACCUSERS_MAX, Description, Output, State, Swim, Verdict};
use crate::emit::Emit;
use crate::time::MonoTime;
use crate::types::ServerId;

/// Pings of one's own before the verdict, where nothing is lost.
const ASKED_MIN: u32 = 3;
/// Of so many per mille lost there is one more.
const ASKED_PERMILLE: u32 = 100;

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Suspicion {
    since: MonoTime,
    /// When time is up, or the next ping of ours is due.
    at: MonoTime,
    accusers: Vec<ServerId>,
    asked: u32,
    /// The first of our pings.
    first_seq: u32,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Suspicions {
    by_place: BTreeMap<u32, Suspicion>,
    by_time: BTreeSet<(MonoTime, u32)>,
}

impl Suspicions {
    pub(super) fn is_empty(&self) -> bool {
        self.by_place.is_empty()
    }

    pub(super) fn places(&self) -> impl Iterator<Item = u32> {
        self.by_place.keys().copied()
    }

    pub(super) fn next_at(&self) -> Option<MonoTime> {
        self.by_time.first().map(|(at, _)| *at)
    }

    pub(super) fn accusers(&self, place: u32) -> Vec<ServerId> {
        self.by_place.get(&place).map(|one| one.accusers.clone()).unwrap_or_default()
    }

    pub(super) fn shift(&mut self, ms: u64) {
        self.by_time.clear();
        for (place, one) in &mut self.by_place {
            one.since = one.since.plus_ms(ms);
            one.at = one.at.plus_ms(ms);
            self.by_time.insert((one.at, *place));
        }
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<Vec<ServerId>> {
        let one = self.by_place.remove(&place)?;
        self.by_time.remove(&(one.at, place));
        Some(one.accusers)
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.by_time.len() == self.by_place.len(), "each suspicion has one deadline");
        for (place, one) in &self.by_place {
            assert!(self.by_time.contains(&(one.at, *place)), "each suspicion has its deadline");
            assert!(one.accusers.len() <= ACCUSERS_MAX, "accusers are bounded");
        }
    }

    fn insert(&mut self, place: u32, one: Suspicion) {
        self.by_time.insert((one.at, place));
        let before = self.by_place.insert(place, one);
        assert!(before.is_none(), "a suspicion is put in once");
    }

    fn put_off(&mut self, place: u32, at: MonoTime) {
        let Some(one) = self.by_place.get_mut(&place) else { return };
        self.by_time.remove(&(one.at, place));
        one.at = at;
        self.by_time.insert((at, place));
    }
}

impl<D: Description> Swim<D> {
    /// `place` is suspect, or more so than before.
    pub(super) fn suspect(
        &mut self,
        now: MonoTime,
        place: u32,
        accusers: &[ServerId],
        out: &mut impl Emit<Output<D>>,
    ) {
        let outline = self.table.outline(place);
        if outline.state == State::Alive {
            self.table.set_state(now, place, State::Suspect);
            let one =
                Suspicion { since: now, at: now, accusers: Vec::new(), asked: 0, first_seq: 0 };
            self.suspicions.insert(place, one);
            out.emit(Output::Suspected(outline.id));
            self.add_accusers(now, place, accusers);
            self.queue.push(&mut self.table, place);
        } else if outline.state == State::Suspect && self.add_accusers(now, place, accusers) {
            self.queue.push(&mut self.table, place);
        }
    }

    /// Whether somebody new is among them. Time is then shorter, or what was short of a verdict is one.
    fn add_accusers(&mut self, now: MonoTime, place: u32, accusers: &[ServerId]) -> bool {
        let (own, accused) = (self.table.own().id, self.table.outline(place).id);
        let known = self.suspicions.by_place.get(&place).map(|one| &one.accusers);
        let mut kept = known.cloned().unwrap_or_default();
        let before = kept.clone();
        for &accuser in accusers {
            if kept.contains(&accuser) || accuser == accused {
                continue;
            }
            if kept.len() < ACCUSERS_MAX {
                kept.push(accuser);
            } else if self.is_trusted(accuser)
                && let Some(nth) = kept.iter().position(|id| !self.is_trusted(*id))
            {
                // Who has failed since, or is suspect, makes room for somebody whose word counts.
                kept[nth] = accuser;
            }
        }
        let Some(one) = self.suspicions.by_place.get_mut(&place) else { return false };
        one.accusers = kept;
        let (count, since, asked) = (one.accusers.len(), one.since, one.asked);
        let has_testified = one.accusers.contains(&own) && asked != 0;
        if one.accusers == before && !before.is_empty() {
            return false;
        }
        if asked == 0 {
            let at = since.plus_ms(self.patience_ms(count)).max(now);
            self.suspicions.put_off(place, at);
        } else if has_testified {
            self.suspicions.put_off(place, now);
        }
        true
    }

    /// How long a suspect has, by how many accuse it.
    fn patience_ms(&self, accusers: usize) -> u64 {
        let need = self.accusers_needed() as u64;
        let missing = need.saturating_sub(accusers as u64);
        let bits = u64::from(usize::BITS - self.table.active().leading_zeros());
        // The news need longer to come round in a large group: by the logarithm of its size.
        let least_ms = self.timings.suspect_ms * bits.max(8) / 8;
        self.stretch(least_ms + least_ms * missing / need.max(1))
    }

    /// Who judges alone judges a group of two.
    pub(super) fn accusers_needed(&self) -> usize {
        ACCUSERS_MAX.min(self.table.active().saturating_sub(2))
    }

    /// Accusers who are under suspicion themselves do not count.
    fn is_trusted(&self, accuser: ServerId) -> bool {
        let state = self.table.find(accuser).map(|at| self.table.outline(at).state);
        accuser == self.table.own().id || state == Some(State::Alive)
    }

    pub(super) fn has_enough(&self, accusers: &[ServerId]) -> bool {
        let trusted = accusers.iter().filter(|id| self.is_trusted(**id)).count();
        self.accusers_needed() <= trusted
    }

    /// For whom time is up is asked by us too, and condemned if that and the others suffice.
    pub(super) fn judge(&mut self, now: MonoTime, out: &mut impl Emit<Output<D>>) {
        while let Some(&(at, place)) = self.suspicions.by_time.first() {
            if now < at {
                return;
            }
            let is_fit = self.is_fit(now);
            let asked_max = ASKED_MIN + 2 * (self.health.lost_permille() / ASKED_PERMILLE);
            let one = self.suspicions.by_place.get(&place).map(|one| (one.asked, one.first_seq));
            let (asked, first_seq) = one.expect("invariant: each deadline has its suspicion");
            if !is_fit {
                self.suspicions.put_off(place, now.plus_ms(self.timings.suspect_ms));
            } else if asked < asked_max {
                let timeout_ms = self.timeout_ms(place);
                let seq = self.ping(self.table.outline(place).id, Some(place), out);
                self.suspicions.put_off(place, now.plus_ms(timeout_ms));
                if let Some(one) = self.suspicions.by_place.get_mut(&place) {
                    one.asked += 1;
                    one.first_seq = if asked == 0 { seq } else { first_seq };
                }
            } else {
                self.condemn_or_wait(now, place, out);
            }
        }
    }

    fn condemn_or_wait(&mut self, now: MonoTime, place: u32, out: &mut impl Emit<Output<D>>) {
        let own = self.table.own().id;
        let mut accusers = self.suspicions.accusers(place);
        if !accusers.contains(&own) {
            // Its own word counts most: it takes the place of one that may be heard elsewhere.
            accusers.truncate(ACCUSERS_MAX - 1);
            accusers.push(own);
            if let Some(one) = self.suspicions.by_place.get_mut(&place) {
                one.accusers.clone_from(&accusers);
            }
            self.queue.push(&mut self.table, place);
        }
        if self.has_enough(&accusers) {
            self.fail(now, place, accusers, out);
        } else {
            self.suspicions.put_off(place, now.plus_ms(self.timings.suspect_ms / 2));
        }
    }

    pub(super) fn fail(
        &mut self,
        now: MonoTime,
        place: u32,
        accusers: Vec<ServerId>,
        out: &mut impl Emit<Output<D>>,
    ) {
        self.suspicions.remove(place);
        self.table.set_state(now, place, State::Failed);
        let verdict = Verdict { accusers, at: now };
        let id = self.table.outline(place).id;
        self.shifts.note_failed(now, id, verdict.clone());
        self.verdicts.insert(place, verdict);
        self.queue.push(&mut self.table, place);
        out.emit(Output::Failed(id));
    }

    /// The suspect has answered a ping that we sent when its time was up.
    pub(super) fn clear_by_answer(
        &mut self,
        now: MonoTime,
        from: ServerId,
        seq: u32,
        out: &mut impl Emit<Output<D>>,
    ) {
        let Some(place) = self.table.find(from) else { return };
        let Some(one) = self.suspicions.by_place.get(&place) else { return };
        if one.asked != 0 && one.first_seq <= seq {
            self.suspicions.remove(place);
            self.table.set_state(now, place, State::Alive);
            out.emit(Output::Cleared(from));
        }
    }
}
