//! Who has which piece of which node: of those nodes alone that have any.
//!
//! Invariants
//! - a piece that somebody holds is granted to nobody else;
//! - a node without pieces, on which none is held, takes no room here.
use ::alloc::boxed::Box;
use ::alloc::collections::BTreeMap;
use ::alloc::string::String;
use ::alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fits::{Overlay, Shortage};
use crate::types::{DeviceName, NodePieces, NodeSlot, Pieces};

/// How many hold each piece. More than one only after a lost node came back with its tasks.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct HeldPieces {
    cores: BTreeMap<u16, u32>,
    devices: BTreeMap<(DeviceName, String), u32>,
}

fn join_one<K: Ord>(held: &mut BTreeMap<K, u32>, key: K, more: u32) {
    *held.entry(key).or_default() += more;
}

fn leave_one<K: Ord>(held: &mut BTreeMap<K, u32>, key: &K) {
    let holders = held.get_mut(key).expect("invariant: a released piece was held");
    *holders -= 1;
    if *holders == 0 {
        held.remove(key);
    }
}

impl HeldPieces {
    fn is_empty(&self) -> bool {
        self.cores.is_empty() && self.devices.is_empty()
    }

    fn hold(&mut self, pieces: &Pieces) {
        pieces.cores().for_each(|core| join_one(&mut self.cores, core, 1));
        for (name, id) in pieces.devices() {
            join_one(&mut self.devices, (name.clone(), id.clone()), 1);
        }
    }

    fn release(&mut self, pieces: &Pieces) {
        pieces.cores().for_each(|core| leave_one(&mut self.cores, &core));
        for (name, id) in pieces.devices() {
            leave_one(&mut self.devices, &(name.clone(), id.clone()));
        }
    }

    fn join(&mut self, other: &Self) {
        other.cores.iter().for_each(|(&core, &more)| join_one(&mut self.cores, core, more));
        for (device, &more) in &other.devices {
            join_one(&mut self.devices, device.clone(), more);
        }
    }

    fn of_core(&self, core: u16) -> u32 {
        self.cores.get(&core).copied().unwrap_or(0)
    }

    fn of_device(&self, device: &(DeviceName, String)) -> u32 {
        self.devices.get(device).copied().unwrap_or(0)
    }
}

/// What most have nothing of, and then cost nothing.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Rarely(Option<Box<HeldPieces>>);

impl Rarely {
    pub(super) const NOTHING: Self = Self(None);

    pub(super) fn hold(&mut self, pieces: Option<&Pieces>) {
        if let Some(pieces) = pieces {
            self.0.get_or_insert_default().hold(pieces);
        }
    }

    pub(super) fn release(&mut self, pieces: Option<&Pieces>) {
        let Some(pieces) = pieces else { return };
        let held = self.0.as_mut().expect("invariant: released pieces were held");
        held.release(pieces);
        if held.is_empty() {
            self.0 = None;
        }
    }

    pub(super) fn join(&mut self, other: &Self) {
        if let Some(other) = &other.0 {
            self.0.get_or_insert_default().join(other);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn of_core(&self, core: u16) -> u32 {
        self.0.as_ref().map_or(0, |held| held.of_core(core))
    }

    fn of_device(&self, device: &(DeviceName, String)) -> u32 {
        self.0.as_ref().map_or(0, |held| held.of_device(device))
    }
}

/// One node's.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct OnNode {
    /// What the node has.
    offered: Option<Arc<NodePieces>>,
    held: HeldPieces,
}

/// See the module.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct PieceColumn(BTreeMap<NodeSlot, OnNode>);

impl PieceColumn {
    /// The node has these now; what is held there stays.
    pub(super) fn put(&mut self, slot: NodeSlot, offered: Option<&Arc<NodePieces>>) {
        if offered.is_some() || self.0.contains_key(&slot) {
            self.change(slot, |on| on.offered = offered.cloned());
        }
    }

    pub(super) fn remove(&mut self, slot: NodeSlot) {
        self.0.remove(&slot);
    }

    pub(super) fn hold(&mut self, slot: NodeSlot, pieces: &Pieces) {
        self.change(slot, |on| on.held.hold(pieces));
    }

    pub(super) fn release(&mut self, slot: NodeSlot, pieces: &Pieces) {
        self.change(slot, |on| on.held.release(pieces));
    }

    fn change(&mut self, slot: NodeSlot, change: impl FnOnce(&mut OnNode)) {
        let on = self.0.entry(slot).or_default();
        change(on);
        if on.offered.is_none() && on.held.is_empty() {
            self.0.remove(&slot);
        }
    }

    pub(super) fn offered(&self, slot: NodeSlot) -> Option<&NodePieces> {
        self.0.get(&slot)?.offered.as_deref()
    }

    pub(super) fn core_is_free(&self, slot: NodeSlot, overlay: &Overlay, core: u16) -> bool {
        let Some(on) = self.0.get(&slot) else { return false };
        let held = on.held.of_core(core) + overlay.held.pieces.of_core(core);
        on.offered.as_ref().is_some_and(|offered| offered.cores.has(core))
            && (held <= overlay.freed.pieces.of_core(core) || planted!(CoresNotCounted))
    }

    pub(super) fn device_is_free(
        &self,
        slot: NodeSlot,
        overlay: &Overlay,
        (name, id): (&DeviceName, &String),
    ) -> bool {
        let Some(on) = self.0.get(&slot) else { return false };
        let device = (name.clone(), id.clone());
        let held = on.held.of_device(&device) + overlay.held.pieces.of_device(&device);
        let groups = on.offered.iter().flat_map(|offered| &offered.devices);
        let mut same = groups.filter(|group| group.name == *name);
        same.any(|group| group.healthy().any(|known| known == id))
            && (held <= overlay.freed.pieces.of_device(&device) || planted!(DevicesNotCounted))
    }

    /// Whether each of the pieces is there and free, and none is asked for twice.
    pub(super) fn check(
        &self,
        slot: NodeSlot,
        overlay: &Overlay,
        pieces: &Pieces,
    ) -> Result<(), Shortage> {
        for (nth, core) in pieces.cores().enumerate() {
            let is_twice = pieces.cores().take(nth).any(|other| other == core);
            let is_free = self.core_is_free(slot, overlay, core);
            if is_twice || !is_free {
                return Err(Shortage::Cores);
            }
        }
        for (nth, device) in pieces.devices().enumerate() {
            let is_twice = pieces.devices().take(nth).any(|other| other == device);
            if is_twice || !self.device_is_free(slot, overlay, device) {
                return Err(Shortage::Devices);
            }
        }
        Ok(())
    }
}
