//! The membership of all regions' servers, beside that of one region.
//!
//! Regions are far from each other: it is slower to ask and to judge. It founds nothing and is founded by
//! nobody; whoever hears of another region begins it, and tells the servers of its own.
//!
//! Invariants
//! - it starts with what the region's membership says of this server, and with its links.
use alloc::vec::Vec;

use super::{Config, Gossip, Link, Output, Scope, Timings};
use crate::emit::Emit;
use crate::rng::Rng;
use crate::time::MonoTime;

/// Ways between regions are long, and now and then broken for a while.
const TIMINGS: Timings =
    Timings { probe_ms: 2_000, gossip_ms: 400, suspect_ms: 6_000, forget_ms: 72 * 3_600_000 };

impl Gossip {
    /// The membership of all regions, as a server begins it whose region's this is.
    #[must_use]
    pub fn world(&self, now: MonoTime, rng: Rng, out: &mut impl Emit<Output>) -> Self {
        let (own, join) = (self.own.clone(), self.join.clone());
        let config = Config { own, join, remembered: Vec::new(), timings: TIMINGS };
        let mut world = Self::of_scope(Scope::World, config, rng);
        let told = self.links.iter().filter(|_| !planted!(RegionNotTold));
        for &peer in told {
            world.on_link(now, peer, Link::Up, out);
        }
        world
    }
}
