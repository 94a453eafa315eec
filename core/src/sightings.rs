//! Which client nodes were heard from by this server, on their way to the leader.
//!
//! Any server accepts heartbeats. A node that the tables do not call ready is told of at once,
//! the others together every `SIGHTING_MS`; with them goes this server's wall clock.
//!
//! Invariants
//! - a node is told of at most once for each time it was heard.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::emit::Emit;
use crate::limits::SIGHTING_MS;
use crate::time::MonoTime;
use crate::types::NodeId;

/// What the rest of the core must do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// Tell the leader of nodes in their order.
    Tell { seen: Vec<(NodeId, Heard)> },
}

/// A node's last heartbeat.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Heard {
    pub at: MonoTime,
    /// As it said.
    pub is_behind: bool,
}

/// How soon the leader must hear of a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Urgency {
    Soon,
    Now,
}

/// Nodes heard and not yet told of.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Sightings {
    seen: BTreeMap<NodeId, Heard>,
    next_at: MonoTime,
}

impl Sightings {
    /// Nobody was heard yet.
    #[must_use]
    pub const fn new(now: MonoTime) -> Self {
        Self { seen: BTreeMap::new(), next_at: now.plus_ms(SIGHTING_MS) }
    }

    /// A node was heard.
    pub fn on_heard(&mut self, node: NodeId, heard: Heard, urgency: Urgency) {
        self.seen.insert(node, heard);
        if urgency == Urgency::Now {
            self.next_at = heard.at;
        }
    }

    /// Time passed: what was heard is told.
    pub fn on_time(&mut self, now: MonoTime, out: &mut impl Emit<Output>) {
        if now < self.next_at {
            return;
        }
        self.next_at = now.plus_ms(SIGHTING_MS);
        let seen = core::mem::take(&mut self.seen).into_iter().collect();
        out.emit(Output::Tell { seen });
    }

    /// When `on_time` must next be called.
    #[must_use]
    pub const fn next_deadline(&self) -> Option<MonoTime> {
        Some(self.next_at)
    }
}
