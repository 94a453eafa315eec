//! Whether this member is fit to judge others, and to be among them.
//!
//! Lifeguard counts what goes wrong here and becomes patient. This does so too, and asks three things
//! outright: did time jump (we were paused, and what was due has waited for us, not we for it); has
//! nobody been heard for long (we are the one who is cut off); is most of what we send not answered (so
//! what we suspect of others is true of us). Who is unfit accuses nobody, condemns nobody, and does not
//! insist on living: its word would come through now and then, and it would come and go.
//!
//! Invariants
//! - a pause or a cut is no time that others had to answer.
use serde::{Deserialize, Serialize};

use super::{Description, State, Swim, table};
use crate::time::MonoTime;

/// Later than this, and we were paused.
const LATE_MS: u64 = 100;
/// Pings that the share of lost ones remembers, about.
const REMEMBERED: u32 = 32;
/// Up to this share of lost pings a failed probe is the other's fault.
const SURE_PERMILLE: u32 = 100;
/// Beyond this share we are strained, until it has fallen below the second.
const STRAINED_PERMILLE: u32 = 650;
const RECOVERED_PERMILLE: u32 = 450;
/// Arrivals that come for certain, the answers to probes: so many missing are no accident.
const DEAF_PERIODS: u64 = 3;
/// After as many this member and the others are apart, whosever fault it is.
const CUT_OFF_PERIODS: u64 = 6;
/// Whoever was counted out of a group of at least so many comes back only after it was fit for
/// `PROBATION_MS`: a large group does without it, a small one cannot.
const PROBATION_GROUP_MIN: usize = 16;
const PROBATION_MS: u64 = 30_000;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Health {
    /// Share of pings that were not answered in time: per mille times `REMEMBERED`.
    lost: u32,
    is_strained: bool,
    heard_at: MonoTime,
    /// None while it is unfit.
    fit_since: Option<MonoTime>,
    /// It has been deaf for so long that whoever asks it must not hear that the others live.
    is_cut_off: bool,
}

impl Health {
    pub(super) const fn begin(&mut self, now: MonoTime) {
        self.heard_at = now;
        self.fit_since = Some(MonoTime { ns: 0 });
    }

    /// A ping was answered, or was not.
    pub(super) const fn note_ping(&mut self, lost: u32) {
        self.lost -= self.lost / REMEMBERED;
        self.lost += 1_000 * lost;
        let limit = if self.is_strained { RECOVERED_PERMILLE } else { STRAINED_PERMILLE };
        self.is_strained = limit < self.lost_permille();
    }

    pub(super) const fn lost_permille(&self) -> u32 {
        self.lost / REMEMBERED
    }

    /// Whether a probe that failed is taken at its word.
    pub(super) const fn is_sure(&self) -> bool {
        self.lost_permille() < SURE_PERMILLE
    }
}

impl<D: Description> Swim<D> {
    /// Whether nobody was heard for long: what is said of the others is what was true before.
    #[must_use]
    pub const fn is_cut_off(&self) -> bool {
        self.health.is_cut_off
    }

    /// Whether this member hears others, and is heard.
    pub(super) fn is_fit(&self, now: MonoTime) -> bool {
        !self.health.is_strained && !self.is_deaf(now)
    }

    /// Nobody at all was heard. Of a single other that says nothing.
    pub(super) fn is_deaf(&self, now: MonoTime) -> bool {
        let deaf_ms = self.timings.probe_ms * DEAF_PERIODS;
        deaf_ms < now.ms_since(self.health.heard_at) && 2 < self.table.active()
    }

    /// Time that we were not there for is nobody's fault.
    pub(super) fn note_time(&mut self, now: MonoTime) {
        let Some(due) = self.next_deadline() else { return };
        let late_ms = now.ms_since(due);
        if late_ms < LATE_MS {
            return;
        }
        self.probe = None;
        self.relayed.clear();
        self.suspicions.shift(late_ms);
        self.contacts.shift(late_ms);
        self.health.heard_at = self.health.heard_at.plus_ms(late_ms).min(now);
        if let Some(probe_at) = &mut self.probe_at {
            *probe_at = (*probe_at).max(now);
        }
    }

    pub(super) fn note_heard(&mut self, now: MonoTime) {
        if self.is_deaf(now) {
            let deaf_ms = now.ms_since(self.health.heard_at);
            self.suspicions.shift(deaf_ms);
            self.health.fit_since = Some(now);
        }
        self.health.heard_at = now;
        self.health.is_cut_off = false;
    }

    /// Looks at itself once a period.
    pub(super) fn look_at_itself(&mut self, now: MonoTime) {
        let silent_ms = now.ms_since(self.health.heard_at);
        let cut_off_ms = self.timings.probe_ms * CUT_OFF_PERIODS;
        self.health.is_cut_off = self.is_deaf(now) && cut_off_ms <= silent_ms;
        let is_fit = self.is_fit(now);
        let since = self.health.fit_since.unwrap_or(now);
        self.health.fit_since = is_fit.then_some(since);
        let is_out = self.table.own().state == State::Failed;
        if is_out && self.may_return(now) {
            let turn = self.table.own().version.turn;
            self.speak_for_itself(now, turn);
        }
    }

    /// Whether this member, which the others count out, may say that it lives. In a small group it may as
    /// soon as it hears somebody: what it lost while it was cut off would speak against it for as long again.
    pub(super) fn may_return(&self, now: MonoTime) -> bool {
        let is_large = PROBATION_GROUP_MIN <= self.table.others();
        let proven = self.health.fit_since.is_some_and(|at| at.plus_ms(PROBATION_MS) <= now);
        let is_heard = self.health.lost_permille() < RECOVERED_PERMILLE;
        if is_large { self.is_fit(now) && proven && is_heard } else { !self.is_deaf(now) }
    }

    /// The others have counted this member out, and it is not fit to object.
    pub(super) fn stand_aside(&mut self, now: MonoTime) {
        self.table.set_state(now, table::OWN, State::Failed);
    }

    /// A later word than `turn`, which somebody has said of this member.
    pub(super) fn speak_for_itself(&mut self, now: MonoTime, turn: u32) {
        let mut own = self.table.own();
        own.version.turn = own.version.turn.max(turn) + 1;
        own.state = State::Alive;
        self.table.set(now, table::OWN, (own, None), &mut self.rng);
        self.queue.push(&mut self.table, table::OWN);
    }

    /// Lets time for an answer grow with how much is lost here, beyond what one dead member explains.
    pub(super) const fn stretch(&self, ms: u64) -> u64 {
        let beyond = self.health.lost_permille().saturating_sub(SURE_PERMILLE);
        ms + ms * (beyond as u64) / 100
    }
}
