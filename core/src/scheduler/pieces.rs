//! Which pieces of a node an alloc would get.
//!
//! Invariants
//! - tasks choose in their order: the lowest cores that are free, and for each device that is asked for the
//!   make that is liked best, of those the one of which fewest are left, its first instances: the same state
//!   gives the same pieces;
//! - what is chosen is free, by the fleet's word.
//!
//! Who chose first may have taken what only the next could have used: nothing is chosen anew for that.
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::devices::Make;
use super::score::DevicesLeft;
use crate::state::fits::{Overlay, Shortage};
use crate::state::fleet::Fleet;
use crate::types::{
    CoreSet, DeviceAsk, DeviceGrant, DeviceGroup, DeviceName, Group, NodePieces, NodeSlot, Pieces,
    TaskPieces,
};

/// One node, with what is counted beside its own usage.
#[derive(Clone, Copy)]
pub(super) struct Shelf<'a> {
    pub(super) fleet: &'a Fleet,
    pub(super) slot: NodeSlot,
    pub(super) overlay: &'a Overlay,
}

/// What the node would give an alloc in pieces.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    pub(super) pieces: Option<Box<Pieces>>,
    /// Of the devices, the weights of all affinities that hold.
    pub(super) weight: i64,
}

/// How many are free, and how many there are.
pub(super) type Left = (u32, u32);

fn count(count: usize) -> u32 {
    u32::try_from(count).expect("invariant: what a node has is counted in 32 bits")
}

impl<'a> Shelf<'a> {
    fn offered(self) -> Option<&'a NodePieces> {
        self.fleet.pieces(self.slot)
    }

    fn free_cores(self) -> impl Iterator<Item = u16> + 'a {
        let cores = self.offered().map(|offered| offered.cores.iter());
        let is_free = move |&core: &u16| self.fleet.core_is_free(self.slot, self.overlay, core);
        cores.into_iter().flatten().filter(is_free)
    }

    fn free_of(self, group: &'a DeviceGroup) -> impl Iterator<Item = &'a String> {
        let is_free = move |id: &&String| {
            self.fleet.device_is_free(self.slot, self.overlay, (&group.name, id))
        };
        group.healthy().filter(is_free)
    }

    /// What the node would give an alloc of `group`.
    pub(super) fn choose(self, group: &Group) -> Result<Chosen, Shortage> {
        let (mut chosen, mut tasks) = (Chosen::default(), Vec::new());
        let mut cores = self.free_cores();
        for task in group.tasks.iter().filter(|task| task.resources.wants_pieces()) {
            let wanted = task.resources.cores;
            let taken: CoreSet = cores.by_ref().take(wanted as usize).collect();
            if taken.count() < wanted {
                return Err(Shortage::Cores);
            }
            tasks.push(TaskPieces { task: task.name.clone(), cores: taken, devices: Vec::new() });
            for ask in &task.resources.devices {
                let (grant, weight) = self.grant(ask, &tasks).ok_or(Shortage::Devices)?;
                chosen.weight += weight;
                tasks.last_mut().expect("invariant: pushed before").devices.push(grant);
            }
        }
        chosen.pieces = Pieces::boxed(tasks);
        Ok(chosen)
    }

    /// The devices for one ask, beside those that the alloc has already.
    fn grant(self, ask: &DeviceAsk, own: &[TaskPieces]) -> Option<(DeviceGrant, i64)> {
        let is_own = |group: &DeviceGroup, id: &String| {
            let grants = own.iter().flat_map(|has| &has.devices);
            grants.into_iter().any(|grant| grant.name == group.name && grant.ids.contains(id))
        };
        let wanted = ask.count as usize;
        let groups = self.offered()?.devices.iter().enumerate();
        let rated =
            groups.filter(|(_, group)| Make::of(group).would_do(ask)).filter_map(|(nth, group)| {
                let free = self.free_of(group).filter(|id| !is_own(group, id)).count();
                let rate = (Make::of(group).weight(ask), Reverse(free), Reverse(nth));
                (wanted <= free).then_some((rate, group))
            });
        let ((weight, ..), group) = rated.max_by_key(|&(rate, _)| rate)?;
        let free = self.free_of(group).filter(|id| !is_own(group, id));
        let ids = free.take(wanted).cloned().collect();
        Some((DeviceGrant { name: group.name.clone(), ids }, weight))
    }

    /// What is left of the devices once an alloc has what was chosen for it.
    pub(super) fn left_after(self, chosen: &Chosen) -> DevicesLeft {
        let pieces = chosen.pieces.as_deref();
        let taken: BTreeSet<&DeviceName> =
            pieces.into_iter().flat_map(|pieces| pieces.devices()).map(|(name, _)| name).collect();
        let taken_count = pieces.map_or(0, |pieces| pieces.devices().count());
        let mut left = DevicesLeft { is_begun: true, ..DevicesLeft::default() };
        for group in self.offered().map_or(&[][..], |offered| &offered.devices) {
            let (free, total) = (self.free_of(group).count(), group.healthy().count());
            left.free += count(free);
            left.total += count(total);
            left.is_begun &= !taken.contains(&group.name) || free < total;
        }
        left.free -= count(taken_count);
        left
    }

    /// The node's cores.
    pub(super) fn cores_left(self) -> Left {
        let total = self.offered().map_or(0, |offered| offered.cores.count());
        (count(self.free_cores().count()), total)
    }

    /// Of the makes that would do, the one of which most are left.
    pub(super) fn devices_left(self, ask: &DeviceAsk) -> Left {
        let groups = self.offered().map_or(&[][..], |offered| &offered.devices);
        let left = groups
            .iter()
            .filter(|group| Make::of(group).would_do(ask))
            .map(|group| (count(self.free_of(group).count()), count(group.healthy().count())));
        left.max().unwrap_or_default()
    }
}
