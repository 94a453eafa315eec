//! Which servers a client can turn to, as it is told with every answer to a heartbeat.
//!
//! Invariants
//! - at most `SERVERS_MAX` are named, those that live first;
//! - nobody is named by a server that follows no leader: cut off, and just started, it knows of itself alone,
//!   and its clients would forget the others.
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{Agent, Effect, Effects, Server};
use crate::gossip::Status;
use crate::limits::{CONTACTS_FRESH_MS, SERVERS_MAX};
use crate::time::MonoTime;

/// What clients were told lately.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Contacts {
    servers: Arc<[String]>,
    /// None: it was never looked.
    until: Option<MonoTime>,
}

impl Server {
    /// Where servers of the region are dialled that have not left.
    pub(super) fn contacts(&mut self, now: MonoTime) -> Arc<[String]> {
        if self.raft.leader().is_none() {
            return Arc::default();
        }
        if self.contacts.until.is_none_or(|until| until <= now) {
            let members = self.gossip.members().filter(|member| member.status != Status::Left);
            let mut ranked: Vec<(bool, String)> =
                members.map(|member| (member.status == Status::Failed, member.address)).collect();
            ranked.sort_unstable();
            let servers = ranked.into_iter().take(SERVERS_MAX).map(|(_, address)| address);
            let until = Some(now.plus_ms(CONTACTS_FRESH_MS));
            self.contacts = Contacts { servers: servers.collect(), until };
        }
        Arc::clone(&self.contacts.servers)
    }
}

impl Agent {
    /// The client was told of a server. A server keeps its own links to the others.
    pub(super) fn dial_server(&self, address: String, effects: &mut Effects) {
        if self.server.is_none() {
            effects.list.push(Effect::Dial { address });
        }
    }

    /// It has left; whoever is configured is looked for all the same.
    pub(super) fn forget_server(&self, address: String, effects: &mut Effects) {
        let configured = self.config.client.as_ref().map(|config| &config.servers);
        let is_configured = configured.is_some_and(|servers| servers.contains(&address));
        if self.server.is_none() && !is_configured {
            effects.list.push(Effect::Forget { address });
        }
    }
}
