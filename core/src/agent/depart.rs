//! A server on its way out: from what `departure` says to gossip, to whoever leads, and to the shell.
//!
//! Invariants
//! - an agent that has no server goes as soon as it is told to.
use super::{Agent, Effect, Effects};
use crate::api::{Order, Rejection, Request, Response};
use crate::departure;
use crate::raft::Priority;
use crate::requests::Caller;

impl Agent {
    pub(super) fn leave(&mut self, effects: &mut Effects) {
        match &mut self.server {
            Some(server) => server.departure.on_leave(self.now, &mut self.pending),
            None => effects.list.push(Effect::Departed { unfinished: None }),
        }
    }

    pub(super) fn route_departure(&mut self, output: departure::Output, effects: &mut Effects) {
        let (now, out) = (self.now, &mut self.pending);
        let server = self.server.as_mut().expect("invariant: servers depart");
        match output {
            departure::Output::Announce => {
                server.raft.on_priority(Priority::Low);
                server.gossip.on_leaving(now, out);
                self.tell_wan(|now, wan, out| wan.on_leaving(now, out));
            }
            departure::Output::Ask => {
                let request = Request::Order(Order::Leave);
                server.requests.on_requested(now, Caller::Itself, request, out);
            }
            departure::Output::SayGoodbye => {
                server.gossip.on_leave(now, out);
                self.tell_wan(|now, wan, out| wan.on_leave(now, out));
            }
            departure::Output::Gone { unfinished } => {
                effects.list.push(Effect::Departed { unfinished });
            }
        }
    }

    pub(super) fn hear_of_departure(&mut self, answer: Result<Response, Rejection>) {
        let server = self.server.as_mut().expect("invariant: servers depart");
        server.departure.on_answer(self.now, answer, &mut self.pending);
    }

    /// Goodbye has been said, as far as this server can know.
    pub(super) fn look_for_goodbye(&mut self) {
        let Some(server) = &mut self.server else { return };
        let wan_knows = server.wan.as_ref().is_none_or(|wan| wan.has_said_goodbye());
        if server.departure.is_parting() && server.gossip.has_said_goodbye() && wan_knows {
            server.departure.on_told(&mut self.pending);
        }
    }
}
