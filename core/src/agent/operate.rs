//! Operators' orders about the servers themselves: who is no part of the configuration any more, and
//! who leads.
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
//! - at most `ORDERS_MAX` wait.
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{Agent, Output, Server};
use crate::api::{Heir, Order, Rejection, Response};
use crate::emit::Emit;
use crate::gossip::Status;
use crate::limits::{ORDERS_MAX, REQUEST_REPEAT_MS, ROSTER_STRANGER_MS};
use crate::raft::{self, Configuration, Payload, Refused};
use crate::roster::{self, Life, Roster};
use crate::time::MonoTime;
use crate::types::{Index, ServerId, Session};

/// Orders that are not done yet, in the order they came.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Orders(Vec<Waiting>);

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Waiting {
    /// Who asked, and which of its requests this is: a repeated one is the same order.
    asked: Session,
    order: Order,
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
        self.0.len()
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
        let leader = self.server.as_mut().and_then(|server| server.leader.as_mut());
        let Orders(orders) = &mut leader.expect("invariant: a leader was asked").orders;
        if orders.iter().any(|waiting| waiting.asked == asked) {
            return Ok(());
        }
        if ORDERS_MAX <= orders.len() {
            return Err(Rejection::Overloaded { retry_ms: REQUEST_REPEAT_MS });
        }
        orders.push(Waiting { asked, order, stage: Stage::Waiting });
        Ok(())
    }

    /// Goes on with every order, as far as that is possible now.
    pub(super) fn fulfil_orders(&mut self) {
        let now = self.now;
        let Some(server) = &mut self.server else { return };
        let Some(leader) = server.leader.as_mut().filter(|leader| leader.is_open()) else { return };
        let orders = core::mem::take(&mut leader.orders).0;
        // Who has just won the lead may not have heard of everybody yet.
        let knows_all = leader.since.plus_ms(ROSTER_STRANGER_MS) <= now;
        let mut left = Vec::new();
        for Waiting { asked, order, stage } in orders {
            let progress = match order {
                Order::RemoveServer { server: gone }
                    if stage == Stage::Waiting && !knows_all && server.is_stranger(gone) =>
                {
                    Progress::Now(stage)
                }
                Order::RemoveServer { server: gone } => {
                    server.remove(now, gone, stage, &mut self.pending)
                }
                Order::TransferLead { heir } => {
                    server.hand_over(now, heir, stage, &mut self.pending)
                }
            };
            let answer = match progress {
                Progress::Now(stage) => {
                    left.push(Waiting { asked, order, stage });
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
        leader.orders = Orders(left);
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
        let committed = self.raft.commit_index();
        let settled = self.raft.configuration_at(committed);
        match stage {
            Stage::Changing(since) if since <= committed && !settled.is_joint() => Progress::Done,
            Stage::Changing(_) => Progress::Now(stage),
            Stage::Waiting | Stage::Transferring => {
                let configuration = self.raft.configuration();
                let is_gone = !configuration.is_member(gone) && configuration == settled;
                if is_gone || planted!(OrderAnsweredEarly) {
                    return Progress::Done;
                }
                if configuration.is_joint() {
                    return Progress::Now(Stage::Waiting);
                }
                let Configuration { voters, learners, outgoing: _ } = configuration.clone();
                let life = self.life_of(now, gone).unwrap_or(Life::Failed);
                let next = match roster::without(&Roster { voters, learners }, gone, life) {
                    Ok(next) => next,
                    Err(why) => return Progress::Refused(invalid(why)),
                };
                let target = Configuration::new(&next.voters, &next.learners);
                match self.raft.on_propose(now, Payload::Configuration(Box::new(target)), out) {
                    Ok(mark) => Progress::Now(Stage::Changing(mark.first)),
                    Err(refused) => put_off(refused),
                }
            }
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
        if self.life_of(now, heir) != Some(Life::Alive) {
            return Progress::Refused(invalid(
                "it has failed: the lead goes to a server that is alive",
            ));
        }
        match self.raft.on_transfer(now, heir, out) {
            Ok(()) => Progress::Now(Stage::Transferring),
            Err(refused) => put_off(refused),
        }
    }

    /// The living voter who holds most of the log.
    fn readiest(&self, now: MonoTime) -> Option<ServerId> {
        let voters = &self.raft.configuration().voters;
        let peers = self.raft.peers().into_iter();
        let may_lead = |id| {
            id != self.id && voters.contains(&id) && self.life_of(now, id) == Some(Life::Alive)
        };
        let heirs = peers.filter(|peer| may_lead(peer.id));
        heirs.max_by_key(|peer| (peer.match_index, core::cmp::Reverse(peer.id))).map(|peer| peer.id)
    }

    /// Whether it is in the configuration, and nobody has told this server of it.
    fn is_stranger(&self, id: ServerId) -> bool {
        self.raft.configuration().is_member(id)
            && self.gossip.members().all(|member| member.id != id)
    }

    /// `None`: nobody has told this server of it. Whoever answers the leader lives, whatever is said of it.
    pub(super) fn life_of(&self, now: MonoTime, id: ServerId) -> Option<Life> {
        if self.raft.answering(now).contains(&id) {
            return Some(Life::Alive);
        }
        let found = self.gossip.members().find(|member| member.id == id)?;
        Some(match found.status {
            Status::Alive => Life::Alive,
            Status::Failed | Status::Left => Life::Failed,
        })
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
