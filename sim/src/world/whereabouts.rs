//! Which host is meant: by name, by address, by what it is now.
//!
//! Invariants
//! - every host is known by the peer that it is now, and by no other.
use std::collections::BTreeMap;

use drover_core::raft::Role;
use drover_core::wire::PeerId;

use super::World;
use crate::host::{Host, address_of, position_of};
use crate::marks::Mark;
use crate::network::{ADDRESSES, HostId, Network, Place};
use crate::plan::Who;

/// Hosts by what others call them.
#[derive(Debug)]
pub(super) struct Whereabouts {
    pub(super) by_peer: BTreeMap<PeerId, HostId>,
    by_address: BTreeMap<String, Place>,
    servers: Vec<HostId>,
    /// Who was last at each address.
    last_at: [Option<HostId>; ADDRESSES],
}

impl Whereabouts {
    pub(super) fn of(hosts: &[Host], network: &Network) -> Self {
        let named = |host: &Host| (address_of(&host.name), Place(host.id.0));
        let addresses = (0..ADDRESSES).map(|at| (address(at), network.place_of_address(at)));
        let servers = hosts.iter().filter(|host| host.is_server());
        Self {
            by_peer: hosts.iter().map(|host| (host.peer, host.id)).collect(),
            by_address: hosts.iter().map(named).chain(addresses).collect(),
            servers: servers.map(|host| host.id).collect(),
            last_at: [None; ADDRESSES],
        }
    }
}

/// How an address is written.
fn address(at: usize) -> String {
    address_of(&format!("p{}", at + 1))
}

/// Who a server is to the other region; `None`: it is no server.
const fn from_abroad(peer: PeerId) -> Option<PeerId> {
    match peer {
        PeerId::Server(id) => Some(PeerId::Foreign(id)),
        PeerId::Foreign(id) => Some(PeerId::Server(id)),
        PeerId::Client(_) => None,
    }
}

impl World {
    /// The host that is meant, up or down.
    pub(super) fn find(&self, who: Who) -> Option<HostId> {
        match who {
            Who::Leader => self.leader(),
            Who::Server(_) | Who::Client(_) | Who::Foreigner(_) => position_of(&self.plan, who),
        }
    }

    /// The host that is meant, if it is up.
    pub(super) fn up(&self, who: Who) -> Option<HostId> {
        self.find(who).filter(|host| self.hosts[host.0].agent.is_some())
    }

    pub(super) fn place_at(&self, address: &str) -> Option<Place> {
        self.whereabouts.by_address.get(address).copied()
    }

    /// The server, which is down, is not where it was when it starts again.
    pub(super) fn relocate(&mut self, host: HostId) {
        let Some(at) = self.network.relocate(host) else { return };
        self.counters.moves += 1;
        if let Some(server) = &mut self.hosts[host.0].config.server {
            server.gossip.own.address = address(at);
        }
        let before = self.whereabouts.last_at[at].replace(host);
        self.marks.reach_if(before.is_some_and(|before| before != host), Mark::AddressReused);
    }

    /// Whose name it is now: a server that lost its disk has no host any more.
    pub(super) fn host_of(&self, peer: PeerId) -> Option<HostId> {
        let known = |peer| self.whereabouts.by_peer.get(&peer).copied();
        known(peer).or_else(|| known(from_abroad(peer)?))
    }

    /// Who `other` is to `end`: to each region the servers of the other are foreign.
    pub(super) fn seen_from(&self, end: HostId, other: HostId) -> PeerId {
        let other = self.hosts[other.0].peer;
        match self.hosts[end.0].peer {
            PeerId::Foreign(_) => from_abroad(other).unwrap_or(other),
            PeerId::Server(_) | PeerId::Client(_) => other,
        }
    }

    /// The servers that are up.
    pub(super) fn servers_up(&self) -> impl Iterator<Item = &Host> {
        let servers = self.whereabouts.servers.iter().map(|server| &self.hosts[server.0]);
        servers.filter(|host| host.agent.is_some())
    }

    /// The servers of the other region.
    pub(super) fn foreigners(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| matches!(host.peer, PeerId::Foreign(_)))
    }

    /// Who leads, as far as servers know of themselves: of several the one with the latest term.
    pub fn leader(&self) -> Option<HostId> {
        let leading = self.servers_up().filter_map(|host| {
            let raft = host.agent.as_ref()?.raft()?;
            (raft.role() == Role::Leader).then(|| (raft.term(), host.id))
        });
        leading.max().map(|(_, host)| host)
    }
}
