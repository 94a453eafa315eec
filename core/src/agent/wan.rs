//! Servers of other regions: one membership of all servers, beside that of the region.
//!
//! Invariants
//! - while nobody has spoken of another region there is no such membership, and it costs nothing;
//! - servers of other regions take no part in anything but this.
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{Agent, Effect, Effects, Output, Server};
use crate::gossip::{self, Gossip, Link, Member, Memory};
use crate::time::MonoTime;
use crate::types::ServerId;
use crate::wire::{Message, PeerId};

/// The membership of all regions.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Wan {
    gossip: Gossip,
    /// Who is linked and of another region.
    foreign: BTreeSet<ServerId>,
}

impl Wan {
    pub(super) fn next_deadline(&self) -> Option<MonoTime> {
        self.gossip.next_deadline()
    }

    pub(super) fn has_said_goodbye(&self) -> bool {
        self.gossip.has_said_goodbye()
    }

    pub(super) fn check_invariants(&self) {
        self.gossip.check_invariants();
    }
}

impl Server {
    /// The servers of other regions, as far as anybody has spoken of them.
    pub(super) fn foreigners(&self) -> impl Iterator<Item = Member> {
        let region = self.gossip.region();
        let known = self.wan.iter().flat_map(|wan| wan.gossip.members_to_show());
        known.filter(move |member| member.region != region)
    }
}

impl Agent {
    /// A word of another region, or about one.
    pub(super) fn hear_wan(&mut self, from: ServerId, message: gossip::Message) {
        self.begin_wan();
        self.with_wan(|now, wan, out| wan.gossip.on_message(now, from, message, out));
    }

    pub(super) fn note_foreign_link(&mut self, peer: ServerId, link: Link) {
        self.begin_wan();
        self.with_wan(|now, wan, out| {
            match link {
                Link::Up => wan.foreign.insert(peer),
                Link::Down => wan.foreign.remove(&peer),
            };
            wan.gossip.on_link(now, peer, link, out);
        });
    }

    /// A link to a server of the region, which may not have heard of others.
    pub(super) fn note_wan_link(&mut self, peer: ServerId, link: Link) {
        self.with_wan(|now, wan, out| wan.gossip.on_link(now, peer, link, out));
    }

    pub(super) fn pass_wan_time(&mut self) {
        self.with_wan(|now, wan, out| wan.gossip.on_time(now, out));
    }

    /// The region's membership says something new of this server: its cluster, or that it goes.
    pub(super) fn tell_wan(
        &mut self,
        tell: impl FnOnce(MonoTime, &mut Gossip, &mut Vec<gossip::Output>),
    ) {
        self.with_wan(|now, wan, out| tell(now, &mut wan.gossip, out));
    }

    /// An operator says that a server is not expected back. `None`: nobody knows it here.
    pub(super) fn force_out_of_wan(
        &mut self,
        gone: (ServerId, Memory),
    ) -> Option<Result<(), &'static str>> {
        let mut done = None;
        self.with_wan(|now, wan, out| done = Some(wan.gossip.on_forced_out(now, gone, out)));
        done
    }

    pub(super) fn route_wan(&mut self, output: gossip::Output, effects: &mut Effects) {
        match output {
            gossip::Output::Send(to, message) => {
                let wan = self.server.as_ref().and_then(|server| server.wan.as_ref());
                let is_foreign = wan.is_some_and(|wan| wan.foreign.contains(&to));
                let to = if is_foreign { PeerId::Foreign(to) } else { PeerId::Server(to) };
                self.send(to, Message::Wan(message), effects);
            }
            gossip::Output::Dial(address) => effects.list.push(Effect::Dial { address }),
            gossip::Output::Forget(address) => effects.list.push(Effect::Forget { address }),
            gossip::Output::Bootstrap(_)
            | gossip::Output::MemberAlive(_)
            | gossip::Output::MemberFailed(_)
            | gossip::Output::MemberLeft(_)
            | gossip::Output::Shift(_) => (),
        }
    }

    fn begin_wan(&mut self) {
        let rng = self.rng.fork("wan").fork_number(self.incarnation.0);
        let Some(server) = self.server.as_mut().filter(|server| server.wan.is_none()) else {
            return;
        };
        let mut said = Vec::new();
        let gossip = server.gossip.world(self.now, rng, &mut said);
        server.wan = Some(Box::new(Wan { gossip, foreign: BTreeSet::new() }));
        self.pending.extend(said.into_iter().map(Output::Wan));
    }

    fn with_wan(&mut self, does: impl FnOnce(MonoTime, &mut Wan, &mut Vec<gossip::Output>)) {
        let wan = self.server.as_mut().and_then(|server| server.wan.as_mut());
        let Some(wan) = wan else { return };
        let mut said = Vec::new();
        does(self.now, wan, &mut said);
        self.pending.extend(said.into_iter().map(Output::Wan));
    }
}
