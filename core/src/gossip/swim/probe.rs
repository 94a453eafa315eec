//! One member a period is asked whether it is there.
//!
//! ```text
//!   ping ── no answer in time ──▶ ping, three relays, a stream ──▶ ping ──▶ it could not be reached
//! ```
//!
//! The time for an answer is what this member's answers took so far. Relays that get no answer either
//! say so, and are accusers. Who loses much itself asks twice before it says anything.
//!
//! Invariants
//! - one probe is under way at a time;
//! - everybody alive is probed once before anybody is probed twice.
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{Description, Matter, Output, Packet, State, Swim, table};
use crate::emit::Emit;
use crate::time::MonoTime;
use crate::types::ServerId;

/// What is asked for others at once: more would be asked by somebody else.
pub(super) const RELAYED_MAX: usize = 64;
const RELAYS: usize = 3;
const TIMEOUT_MS_MIN: u64 = 100;
const TIMEOUT_MS_MAX: u64 = 500;
/// The longest of one round, and the shortest of its last wait: half a second of stall is no death.
const ROUND_MS_MAX: u64 = 1_000;
const REST_MS_MIN: u64 = 400;

/// What was done last.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
enum Step {
    Asked,
    AskedOthers,
    AskedAgain,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Probe {
    pub(super) subject: u32,
    id: ServerId,
    step: Step,
    /// When the next step is due.
    at: MonoTime,
    timeout_ms: u64,
    rounds_left: u32,
    /// Pings and when they left, to measure the way.
    sent: Vec<(u32, MonoTime)>,
    /// Of what relays and the stream are asked with.
    seq: u32,
    relays: Vec<u32>,
    nacks: Vec<ServerId>,
}

impl Probe {
    pub(super) const fn next_at(&self) -> MonoTime {
        self.at
    }
}

/// A ping for somebody else.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Relayed {
    asker: ServerId,
    asked: u32,
    subject: ServerId,
    seq: u32,
    pub(super) until: MonoTime,
}

impl<D: Description> Swim<D> {
    /// A period begins: somebody is probed, and maybe somebody who failed.
    pub(super) fn begin_period(&mut self, now: MonoTime, out: &mut impl Emit<Output<D>>) {
        self.look_at_itself(now);
        self.forget_old(now);
        if self.is_leaving {
            return;
        }
        self.retry_failed(out);
        if self.probe.is_some() {
            return;
        }
        let Some(subject) = self.table.next_subject(&mut self.rng) else { return };
        let seq = self.next_seq();
        let timeout_ms = self.timeout_ms(subject);
        self.probe = Some(Probe {
            subject,
            id: self.table.outline(subject).id,
            step: Step::Asked,
            at: now.plus_ms(timeout_ms),
            timeout_ms,
            rounds_left: if self.health.is_sure() { 0 } else { 1 },
            sent: Vec::new(),
            seq,
            relays: Vec::new(),
            nacks: Vec::new(),
        });
        self.ping_subject(now, out);
    }

    /// The probe takes its next step, if that is due.
    pub(super) fn go_on_probing(&mut self, now: MonoTime, out: &mut impl Emit<Output<D>>) {
        let Some(mut probe) = self.probe.take_if(|probe| probe.at <= now) else { return };
        if self.table.outline(probe.subject).state != State::Alive {
            return;
        }
        self.health.note_ping(1);
        match probe.step {
            Step::Asked => {
                probe.step = Step::AskedOthers;
                probe.at = now.plus_ms(probe.timeout_ms);
                self.ask_others(&mut probe, out);
                self.probe = Some(probe);
                self.ping_subject(now, out);
            }
            Step::AskedOthers => {
                probe.step = Step::AskedAgain;
                let longest_ms = ROUND_MS_MAX.saturating_sub(2 * probe.timeout_ms);
                let rest_ms = (2 * probe.timeout_ms).min(longest_ms).max(REST_MS_MIN);
                probe.at = now.plus_ms(rest_ms);
                self.probe = Some(probe);
                self.ping_subject(now, out);
            }
            Step::AskedAgain if probe.rounds_left != 0 => {
                probe.rounds_left -= 1;
                probe.step = Step::Asked;
                probe.at = now.plus_ms(probe.timeout_ms);
                self.probe = Some(probe);
                self.ping_subject(now, out);
            }
            Step::AskedAgain => self.accuse(now, &probe, out),
        }
    }

    fn accuse(&mut self, now: MonoTime, probe: &Probe, out: &mut impl Emit<Output<D>>) {
        // Relays that say nothing at all are this member's own trouble.
        if !probe.relays.is_empty() && probe.nacks.is_empty() {
            self.health.note_ping(1);
            self.health.note_ping(1);
        }
        if !self.is_fit(now) {
            return;
        }
        let mut accusers = probe.nacks.clone();
        accusers.insert(0, self.table.own().id);
        self.suspect(now, probe.subject, &accusers, out);
        self.tell_the_accused(probe.subject, out);
    }

    /// Who is accused hears it at once, on every way there is.
    fn tell_the_accused(&mut self, at: u32, out: &mut impl Emit<Output<D>>) {
        let subject = self.table.outline(at).id;
        let news = alloc::vec![self.record(at)];
        let mut told = alloc::vec![at];
        for _ in 0..2 {
            let Some(relay) = self.table.draw(&mut self.rng, &told) else { break };
            told.push(relay);
            let packet = Packet { matter: Matter::Tell { subject }, news: news.clone() };
            out.emit(Output::Datagram(self.table.outline(relay).id, packet));
        }
        out.emit(Output::Datagram(subject, Packet { matter: Matter::News, news: news.clone() }));
        out.emit(Output::Stream(subject, Packet { matter: Matter::News, news }));
    }

    /// Only the accuser may ask for that, and only of what is about the accused.
    pub(super) fn pass_on(
        &self,
        from: ServerId,
        subject: ServerId,
        news: Vec<super::Record<D>>,
        out: &mut impl Emit<Output<D>>,
    ) {
        let is_about =
            |record: &super::Record<D>| record.id == subject && record.accusers.contains(&from);
        let news: Vec<_> = news.into_iter().filter(is_about).take(1).collect();
        if !news.is_empty() && subject != self.table.own().id {
            out.emit(Output::Datagram(subject, Packet { matter: Matter::News, news }));
        }
    }

    fn ask_others(&mut self, probe: &mut Probe, out: &mut impl Emit<Output<D>>) {
        let (seq, subject) = (probe.seq, probe.id);
        let mut without = alloc::vec![probe.subject];
        for _ in 0..RELAYS {
            let Some(relay) = self.table.draw(&mut self.rng, &without) else { break };
            without.push(relay);
            let to = self.table.outline(relay).id;
            let news = self.news_for(Some(relay));
            let matter = Matter::PingReq { seq, subject };
            out.emit(Output::Datagram(to, Packet { matter, news }));
        }
        probe.relays = without.split_off(1);
        let packet = Packet { matter: Matter::Knock { seq }, news: Vec::new() };
        out.emit(Output::Stream(subject, packet));
    }

    fn ping_subject(&mut self, now: MonoTime, out: &mut impl Emit<Output<D>>) {
        let Some(mut probe) = self.probe.take() else { return };
        let seq = self.ping(probe.id, Some(probe.subject), out);
        probe.sent.push((seq, now));
        self.probe = Some(probe);
    }

    /// Pings, and says by which number.
    pub(super) fn ping(
        &mut self,
        to: ServerId,
        at: Option<u32>,
        out: &mut impl Emit<Output<D>>,
    ) -> u32 {
        let seq = self.next_seq();
        let news = self.news_for(at);
        let matter = Matter::Ping { seq, view: self.table.view() };
        out.emit(Output::Datagram(to, Packet { matter, news }));
        seq
    }

    pub(super) fn answer_ping(
        &mut self,
        now: MonoTime,
        from: ServerId,
        (seq, view): (u32, u64),
        out: &mut impl Emit<Output<D>>,
    ) {
        let at = self.table.find(from);
        let news = self.news_for(at);
        let matter = Matter::Ack { seq, view: self.table.view() };
        out.emit(Output::Datagram(from, Packet { matter, news }));
        self.note_view(now, from, view, out);
    }

    pub(super) fn take_ack(
        &mut self,
        now: MonoTime,
        from: ServerId,
        (seq, view): (u32, u64),
        out: &mut impl Emit<Output<D>>,
    ) {
        if let Some(probe) = self.probe.take_if(|probe| probe.id == from) {
            if let Some((_, sent_at)) = probe.sent.iter().find(|(sent, _)| *sent == seq) {
                let us = now.ns.saturating_sub(sent_at.ns) / 1_000;
                let us = u32::try_from(us).unwrap_or(u32::MAX);
                self.table.rtt(probe.subject).measure(us);
                // What is usual here is assumed of those who were never asked.
                self.table.rtt(table::OWN).measure(us);
                self.health.note_ping(0);
            } else {
                self.probe = Some(probe);
            }
        }
        let is_asked = |one: &Relayed| one.seq == seq && one.subject == from;
        if let Some(nth) = self.relayed.iter().position(is_asked) {
            let Relayed { asker, asked, .. } = self.relayed.swap_remove(nth);
            let matter = Matter::Reached { seq: asked };
            let news = self.news_for(self.table.find(asker));
            out.emit(Output::Datagram(asker, Packet { matter, news }));
        }
        self.clear_by_answer(now, from, seq, out);
        self.note_view(now, from, view, out);
    }

    /// Somebody else reached the subject, or it has answered on the stream.
    pub(super) fn take_reached(&mut self, seq: u32) {
        self.probe.take_if(|probe| probe.seq == seq);
    }

    pub(super) fn take_nack(&mut self, from: ServerId, seq: u32) {
        if let Some(probe) = self.probe.as_mut().filter(|probe| probe.seq == seq)
            && probe.relays.iter().any(|at| self.table.outline(*at).id == from)
            && !probe.nacks.contains(&from)
        {
            probe.nacks.push(from);
        }
    }

    pub(super) fn ask_for(
        &mut self,
        now: MonoTime,
        asker: ServerId,
        (asked, subject): (u32, ServerId),
        out: &mut impl Emit<Output<D>>,
    ) {
        if RELAYED_MAX <= self.relayed.len() || subject == self.table.own().id {
            return;
        }
        let at = self.table.find(subject);
        let seq = self.ping(subject, at, out);
        let timeout_ms = at.map_or(TIMEOUT_MS_MIN, |at| self.timeout_ms(at));
        let until = now.plus_ms(timeout_ms);
        self.relayed.push(Relayed { asker, asked, subject, seq, until });
    }

    /// No answer for the asker; who is unfit is no accuser of that.
    pub(super) fn give_up_relaying(&mut self, now: MonoTime, out: &mut impl Emit<Output<D>>) {
        let is_fit = self.is_fit(now);
        let due = self.relayed.extract_if(.., |relayed| relayed.until <= now);
        for Relayed { asker, asked, .. } in due {
            if is_fit {
                let packet = Packet { matter: Matter::Nack { seq: asked }, news: Vec::new() };
                out.emit(Output::Datagram(asker, packet));
            }
        }
    }

    /// About one of those who failed is asked again each period, by one member of all.
    fn retry_failed(&mut self, out: &mut impl Emit<Output<D>>) {
        if self.verdicts.is_empty() || table::draw(&mut self.rng, self.table.active().max(1)) != 0 {
            return;
        }
        let nth = table::draw(&mut self.rng, self.verdicts.len());
        if let Some(&at) = self.verdicts.keys().nth(nth) {
            let id = self.table.outline(at).id;
            self.ping(id, Some(at), out);
        }
    }

    pub(super) fn timeout_ms(&mut self, at: u32) -> u64 {
        let known = self.table.rtt(at).timeout_ms();
        let ms = known.or_else(|| self.table.rtt(table::OWN).timeout_ms());
        ms.unwrap_or(TIMEOUT_MS_MAX).clamp(TIMEOUT_MS_MIN, TIMEOUT_MS_MAX)
    }

    pub(super) const fn next_seq(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1);
        self.seq
    }
}
