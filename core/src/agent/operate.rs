//! Orders about the servers themselves, of operators and of servers that go: who is no part of the
//! configuration any more, and who leads.
//!
//! An order waits until it can begin, and its asker until it is done. It says what shall be so, not
//! what shall be done: when the lead is lost on the way, the server that asked asks the next leader,
//! who finds it done or does it.
//!
//! ```text
//!   Waiting ── nothing else is under way ──▶ Begun ── committed, or lost ──▶ answered
//! ```
//!
//! Invariants
//! - one change of the configuration or transfer of the lead is under way at once;
//! - at most `ORDERS_MAX` wait;
//! - whoever asked to go is not taken in again before its next start.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::roster::life_of;
use super::{Agent, Output, Server};
use crate::api::{Heir, Order, Rejection, Response};
use crate::emit::Emit;
use crate::limits::{ELECTION_MS_MIN, ORDERS_MAX, REQUEST_REPEAT_MS, ROSTER_STRANGER_MS};
use crate::raft::{self, Configuration, Payload, Refused};
use crate::roster::{self, Life, Roster};
use crate::time::MonoTime;
use crate::types::{Incarnation, Index, ServerId, Session};

/// What was ordered.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Orders {
    /// What is not done yet, in the order it came.
    waiting: Vec<Waiting>,
    /// Who has asked to go, and in which of its starts: its news may be slower than its order.
    leavers: BTreeMap<ServerId, Incarnation>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Waiting {
    /// Who asked, and which of its requests this is: a repeated one is the same order.
    asked: Session,
    order: Order,
    /// When it came.
    since: MonoTime,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Stage {
    Waiting,
    /// The first frame of the change is at this index.
    Changing(Index),
    Transferring,
}

impl Orders {
    pub(super) const fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// What has become of an order.
enum Progress {
    Now(Stage),
    Done,
    Refused(Rejection),
}

impl Agent {
    /// An order that this leader is to carry out.
    pub(super) fn take_order(&mut self, asked: Session, order: Order) -> Result<(), Rejection> {
        let since = self.now;
        let server = self.server.as_deref_mut().expect("invariant: a leader was asked");
        let Server { gossip, leader, .. } = server;
        let leader = leader.as_mut().expect("invariant: a leader was asked");
        let Orders { waiting, leavers } = &mut leader.orders;
        if waiting.iter().any(|waiting| waiting.asked == asked) {
            return Ok(());
        }
        if ORDERS_MAX <= waiting.len() {
            return Err(Rejection::Overloaded { retry_ms: REQUEST_REPEAT_MS });
        }
        if order == Order::Leave {
            leavers.retain(|&leaver, _| gossip.knows(leaver));
            leavers.insert(asked.origin, asked.incarnation);
        }
        waiting.push(Waiting { asked, order, since, stage: Stage::Waiting });
        Ok(())
    }

    /// Goes on with every order, as far as that is possible now.
    pub(super) fn fulfil_orders(&mut self) {
        let now = self.now;
        let Some(server) = &mut self.server else { return };
        let Some(leader) = server.leader.as_mut().filter(|leader| leader.is_open()) else { return };
        let orders = core::mem::take(&mut leader.orders.waiting);
        // Who has just won the lead may not have heard of everybody yet.
        let knows_all = leader.since.plus_ms(ROSTER_STRANGER_MS) <= now;
        let mut left = Vec::new();
        for Waiting { asked, order, since, stage } in orders {
            let progress = match order {
                Order::RemoveServer { server: gone }
                    if stage == Stage::Waiting && !knows_all && server.is_stranger(gone) =>
                {
                    Progress::Now(stage)
                }
                Order::RemoveServer { server: gone } => {
                    server.remove(now, gone, stage, &mut self.pending)
                }
                Order::Leave if asked.origin == server.id => {
                    server.let_itself_go(now, stage, &mut self.pending)
                }
                Order::Leave => server.let_go(now, (asked.origin, since), stage, &mut self.pending),
                Order::TransferLead { heir } => {
                    server.hand_over(now, heir, stage, &mut self.pending)
                }
            };
            let answer = match progress {
                Progress::Now(stage) => {
                    left.push(Waiting { asked, order, since, stage });
                    continue;
                }
                Progress::Done => {
                    let index = server.raft.commit_index();
                    Ok(Response::Applied { index, eval: None, job: None })
                }
                Progress::Refused(rejection) => Err(rejection),
            };
            self.pending.push_back(Output::Answer { asked, answer });
        }
        // A change of the lead is an output, and routed later: the office is still held.
        let leader = server.leader.as_mut().expect("invariant: outputs are routed later");
        leader.orders.waiting = left;
    }
}

impl Server {
    fn remove(
        &mut self,
        now: MonoTime,
        gone: ServerId,
        stage: Stage,
        out: &mut impl Emit<raft::Output>,
    ) -> Progress {
        if let Some(progress) = self.strikes_off(gone, stage) {
            return progress;
        }
        let life = self.life_of(now, gone).unwrap_or(Life::Failed);
        if let Err(why) = roster::may_remove(&self.roster(), gone, life) {
            return Progress::Refused(invalid(why));
        }
        match self.after_departure(now, gone, MonoTime::default()) {
            Some(next) => self.change_to(now, &next, out),
            None => Progress::Now(Stage::Waiting),
        }
    }

    /// Another server goes of its own accord.
    fn let_go(
        &mut self,
        now: MonoTime,
        (leaver, since): (ServerId, MonoTime),
        stage: Stage,
        out: &mut impl Emit<raft::Output>,
    ) -> Progress {
        if let Some(progress) = self.strikes_off(leaver, stage) {
            return progress;
        }
        match self.after_departure(now, leaver, since) {
            Some(next) => self.change_to(now, &next, out),
            None => Progress::Now(Stage::Waiting),
        }
    }

    /// Who should count when `leaver` does not. Only they answer who have heard something since, and lately.
    pub(super) fn after_departure(
        &self,
        now: MonoTime,
        leaver: ServerId,
        since: MonoTime,
    ) -> Option<Roster> {
        let peers = self.raft.peers();
        let answers = |id: ServerId| {
            let heard_at = peers.iter().find(|peer| peer.id == id).and_then(|peer| peer.heard_at);
            let is_fresh = |at: MonoTime| since <= at && now <= at.plus_ms(ELECTION_MS_MIN);
            id == self.id || heard_at.is_some_and(is_fresh)
        };
        let leader = self.leader.as_ref();
        let knows_all = leader.is_some_and(|own| own.since.plus_ms(ROSTER_STRANGER_MS) <= now);
        let has_failed = |id: ServerId| match self.life_of(now, id) {
            Some(Life::Failed | Life::Left) => true,
            Some(Life::Alive | Life::Leaving) => false,
            None => knows_all,
        };
        roster::after_departure(&self.roster(), leaver, answers, has_failed)
    }

    /// How far it is that `gone` does not count any more; `None`: nothing has begun, and could now.
    fn strikes_off(&self, gone: ServerId, stage: Stage) -> Option<Progress> {
        let committed = self.raft.commit_index();
        let settled = self.raft.configuration_at(committed);
        match stage {
            Stage::Changing(since) if since <= committed && !settled.is_joint() => {
                Some(Progress::Done)
            }
            Stage::Changing(_) => Some(Progress::Now(stage)),
            Stage::Waiting | Stage::Transferring => {
                let configuration = self.raft.configuration();
                let is_gone = !configuration.is_member(gone) && configuration == settled;
                if is_gone || planted!(OrderAnsweredEarly) {
                    return Some(Progress::Done);
                }
                configuration.is_joint().then_some(Progress::Now(Stage::Waiting))
            }
        }
    }

    pub(super) fn roster(&self) -> Roster {
        let Configuration { voters, learners, outgoing: _ } = self.raft.configuration().clone();
        Roster { voters, learners }
    }

    fn change_to(
        &mut self,
        now: MonoTime,
        next: &Roster,
        out: &mut impl Emit<raft::Output>,
    ) -> Progress {
        let target = Configuration::new(&next.voters, &next.learners);
        match self.raft.on_propose(now, Payload::Configuration(Box::new(target)), out) {
            Ok(mark) => Progress::Now(Stage::Changing(mark.first)),
            Err(refused) => put_off(refused),
        }
    }

    /// It leads and wants to go: another must lead first, and will be asked to let it go. While all others
    /// who could are leaving, too, it lets them go before.
    fn let_itself_go(
        &mut self,
        now: MonoTime,
        stage: Stage,
        out: &mut impl Emit<raft::Output>,
    ) -> Progress {
        let configuration = self.raft.configuration();
        if configuration.voters == [self.id] && !configuration.is_joint() {
            return Progress::Refused(invalid("it is the only voter: nobody is there to go on"));
        }
        if self.raft.is_transferring() {
            return Progress::Now(stage);
        }
        match self.readiest(now) {
            Some(heir) => match self.raft.on_transfer(now, heir, out) {
                Ok(()) => Progress::Now(Stage::Transferring),
                Err(refused) => put_off(refused),
            },
            None => Progress::Now(Stage::Waiting),
        }
    }

    fn hand_over(
        &mut self,
        now: MonoTime,
        heir: Heir,
        stage: Stage,
        out: &mut impl Emit<raft::Output>,
    ) -> Progress {
        if self.raft.is_transferring() {
            return Progress::Now(stage);
        }
        if stage == Stage::Transferring {
            return Progress::Refused(invalid(
                "it did not take over in time, and this server leads on",
            ));
        }
        let heir = match heir {
            Heir::Server(heir) if heir == self.id => return Progress::Done,
            Heir::AnyBut(former) if former != self.id => return Progress::Done,
            Heir::Server(heir) => heir,
            Heir::AnyBut(_) => match self.readiest(now) {
                Some(heir) => heir,
                None => return Progress::Refused(invalid("no other voter is alive")),
            },
        };
        if !self.raft.configuration().is_voter(heir) {
            return Progress::Refused(invalid("it is no voter: only a voter can lead"));
        }
        match self.life_of(now, heir) {
            Some(Life::Alive) => (),
            Some(Life::Leaving) => {
                return Progress::Refused(invalid(
                    "it is leaving: the lead goes to one that stays",
                ));
            }
            Some(Life::Failed | Life::Left) | None => {
                return Progress::Refused(invalid(
                    "it has failed: the lead goes to a server that is alive",
                ));
            }
        }
        match self.raft.on_transfer(now, heir, out) {
            Ok(()) => Progress::Now(Stage::Transferring),
            Err(refused) => put_off(refused),
        }
    }

    /// The voter who answers, stays, and holds most of the log. What is said of it may be old: while the lead
    /// is handed over nothing is written.
    fn readiest(&self, now: MonoTime) -> Option<ServerId> {
        let voters = &self.raft.configuration().voters;
        let (peers, answering) = (self.raft.peers().into_iter(), self.raft.answering(now));
        let may_lead = |id| {
            let stays = self.life_of(now, id) == Some(Life::Alive);
            id != self.id && voters.contains(&id) && answering.contains(&id) && stays
        };
        let heirs = peers.filter(|peer| may_lead(peer.id));
        heirs.max_by_key(|peer| (peer.match_index, core::cmp::Reverse(peer.id))).map(|peer| peer.id)
    }

    /// Whether it is in the configuration, and nobody has told this server of it.
    fn is_stranger(&self, id: ServerId) -> bool {
        self.raft.configuration().is_member(id) && !self.gossip.knows(id)
    }

    /// `None`: nobody has told this server of it. Whoever answers the leader lives, whoever calls it failed.
    pub(super) fn life_of(&self, now: MonoTime, id: ServerId) -> Option<Life> {
        let found = self.gossip.standing(id);
        let life = match found.map(|(status, _)| life_of(status)) {
            Some(Life::Failed) | None if self.raft.answering(now).contains(&id) => {
                Some(Life::Alive)
            }
            known => known,
        };
        let leavers = self.leader.as_ref().map(|leader| &leader.orders.leavers);
        let asked_in = leavers.and_then(|leavers| leavers.get(&id));
        let has_asked = found.is_some_and(|(_, incarnation)| asked_in >= Some(&incarnation))
            && !planted!(LeaverTakenIn);
        if life == Some(Life::Alive) && has_asked { Some(Life::Leaving) } else { life }
    }
}

/// What Raft does not take now, it takes once what is under way has ended.
fn put_off(refused: Refused) -> Progress {
    match refused {
        Refused::ChangePending | Refused::Transferring | Refused::Full => {
            Progress::Now(Stage::Waiting)
        }
        Refused::NotLeader { leader } => Progress::Refused(Rejection::NotLeader { leader }),
        Refused::Invalid { why } => Progress::Refused(invalid(why)),
        Refused::TooLong => Progress::Refused(invalid("the configuration is too long")),
    }
}

fn invalid(why: &str) -> Rejection {
    Rejection::Invalid { field: String::from("peer"), why: String::from(why) }
}
