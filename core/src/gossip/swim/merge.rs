//! What others say of members, and of this one.
//!
//! A greater record takes the place of a smaller one, whoever brought it and however often. But a
//! verdict is believed only if enough accusers that are not suspect themselves stand behind it, and it
//! is fresh: one that comes from comparing tables may be of the other side of a cut that has healed. All
//! other verdicts are suspicions, and the accused hears of them.
//!
//! Invariants
//! - a word of a member for itself (a later turn) beats every accusation of an earlier one.
use alloc::vec::Vec;

use super::{Description, Matter, Output, Packet, Record, State, Swim};
use crate::emit::Emit;
use crate::time::MonoTime;
use crate::types::ServerId;

/// How a record came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Channel {
    /// It is spreading.
    Gossip,
    /// It was found where two tables differ, and may be old.
    Compared,
}

impl<D: Description> Swim<D> {
    pub(super) fn merge(
        &mut self,
        now: MonoTime,
        from: ServerId,
        (record, channel): (Record<D>, Channel),
        out: &mut impl Emit<Output<D>>,
    ) {
        if record.id == self.table.own().id {
            self.hear_of_itself(now, from, &record, out);
            return;
        }
        let Some(place) = self.table.find(record.id) else {
            self.meet(now, record, out);
            return;
        };
        let known = self.table.outline(place);
        if record.version < known.version {
            return;
        }
        let is_later = known.version < record.version;
        // Of a start that we know nothing of, nothing can be said to others.
        if known.version.incarnation < record.version.incarnation && record.said.is_none() {
            return;
        }
        match record.state {
            State::Alive if known.state == State::Failed && planted!(ReturnNotHeard) => (),
            State::Alive if is_later => self.revive(now, place, record, out),
            State::Alive => (),
            State::Suspect => {
                if is_later {
                    self.advance(now, place, &record, out);
                }
                self.suspect(now, place, &record.accusers, out);
            }
            State::Failed => {
                if is_later {
                    self.advance(now, place, &record, out);
                }
                self.hear_verdict(now, (from, place), (record, channel), out);
            }
            State::Left => {
                if is_later || known.state != State::Left {
                    self.note_left(now, place, record, out);
                }
            }
        }
    }

    fn meet(&mut self, now: MonoTime, record: Record<D>, out: &mut impl Emit<Output<D>>) {
        let Record { id, version, state, said, .. } = record;
        let Some(said) = said else { return };
        if !self.make_room_for(state) {
            return;
        }
        let state = if state == State::Suspect { State::Alive } else { state };
        let place =
            self.table.insert(now, super::Outline { id, version, state }, said, &mut self.rng);
        match state {
            State::Alive | State::Suspect => {
                self.queue.push(&mut self.table, place);
                self.shifts.note_alive(now, id);
                out.emit(Output::Alive(id));
            }
            State::Failed => {
                let verdict = super::Verdict { accusers: record.accusers, at: now };
                self.verdicts.insert(place, verdict);
            }
            State::Left => (),
        }
    }

    /// Whether one more may be taken in. Servers that lost their disks come back as somebody else: where
    /// the table is full, whoever has been gone for longest makes way for one who is there.
    fn make_room_for(&mut self, state: State) -> bool {
        if self.table.others() < self.members_max {
            return true;
        }
        let gone = self.table.places().filter(|(at, outline)| {
            state.is_active() && !outline.state.is_active() && *at != super::table::OWN
        });
        let longest = gone.min_by_key(|(at, outline)| (self.table.changed_at(*at), outline.id));
        let Some((at, _)) = longest else { return false };
        self.drop_member(at);
        true
    }

    /// It has spoken for itself, has come back, or says something new.
    fn revive(
        &mut self,
        now: MonoTime,
        place: u32,
        record: Record<D>,
        out: &mut impl Emit<Output<D>>,
    ) {
        let known = self.table.outline(place);
        let is_news = record.said.as_ref().is_some_and(|said| self.table.said(place) != said);
        self.take_over(now, place, record);
        self.queue.push(&mut self.table, place);
        if known.state == State::Suspect {
            out.emit(Output::Cleared(known.id));
        }
        if !known.state.is_active() {
            self.shifts.note_alive(now, known.id);
        }
        if is_news || !known.state.is_active() {
            out.emit(Output::Alive(known.id));
        }
    }

    /// An accusation names a word of the accused that we have not heard.
    fn advance(
        &mut self,
        now: MonoTime,
        place: u32,
        record: &Record<D>,
        out: &mut impl Emit<Output<D>>,
    ) {
        let alive = Record { state: State::Alive, accusers: alloc::vec![], ..record.clone() };
        self.revive(now, place, alive, out);
    }

    /// Whoever tells of a verdict shares it, and so is an accuser: those who passed it may be gone.
    fn hear_verdict(
        &mut self,
        now: MonoTime,
        (from, place): (ServerId, u32),
        (record, channel): (Record<D>, Channel),
        out: &mut impl Emit<Output<D>>,
    ) {
        if !self.table.outline(place).state.is_active() {
            return;
        }
        let is_believed = channel == Channel::Gossip && self.has_enough(&record.accusers);
        if is_believed && self.is_fit(now) {
            self.fail(now, place, record.accusers, out);
        } else {
            let accusers: Vec<_> = record.accusers.into_iter().chain([from]).collect();
            self.suspect(now, place, &accusers, out);
        }
    }

    pub(super) fn note_left(
        &mut self,
        now: MonoTime,
        place: u32,
        record: Record<D>,
        out: &mut impl Emit<Output<D>>,
    ) {
        let known = self.table.outline(place);
        self.take_over(now, place, record);
        self.queue.push(&mut self.table, place);
        if known.state.is_active() {
            self.shifts.note_left(now, known.id);
        }
        out.emit(Output::Left(known.id));
    }

    fn take_over(&mut self, now: MonoTime, place: u32, record: Record<D>) {
        self.suspicions.remove(place);
        self.verdicts.remove(&place);
        let Record { id, version, state, said, .. } = record;
        let outline = super::Outline { id, version, state };
        self.table.set(now, place, (outline, said), &mut self.rng);
    }

    /// Somebody speaks of this member.
    fn hear_of_itself(
        &mut self,
        now: MonoTime,
        from: ServerId,
        record: &Record<D>,
        out: &mut impl Emit<Output<D>>,
    ) {
        let own = self.table.own();
        if record.version.incarnation != own.version.incarnation || self.is_leaving {
            return;
        }
        let is_old = record.version.turn < own.version.turn;
        let may_object = match record.state {
            State::Alive => return,
            State::Suspect => !is_old && self.is_fit(now) && own.state == State::Alive,
            State::Failed | State::Left if is_old => own.state == State::Alive,
            State::Failed | State::Left => self.may_return(now),
        };
        if !may_object {
            if record.state == State::Failed && !is_old && own.state == State::Alive {
                self.stand_aside(now);
            }
            return;
        }
        if !is_old {
            self.speak_for_itself(now, record.version.turn);
        }
        let news = alloc::vec![self.record(super::table::OWN)];
        out.emit(Output::Datagram(from, Packet { matter: Matter::News, news }));
    }
}
