//! What is free on each node while one plan is being made.
//!
//! Invariants
//! - room is the state's columns, less the leader's plans in flight, less this plan's own placements, and
//!   none where somebody makes way for another job that is as important;
//! - whether something fits is asked of `Fleet` only.
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::pieces::Shelf;
use crate::planner::{View, fixed_ports};
use crate::rng::mix;
use crate::state::State;
use crate::state::by_slot::BySlot;
use crate::state::fits::{Amounts, Overlay, Shortage, shortage};
use crate::state::fleet::Fleet;
use crate::types::{
    Allocation, Capacity, Claim, DYNAMIC_PORT_MAX, DYNAMIC_PORT_MIN, Group, NearMiss, NodeSlot,
    Pieces, PortGrant,
};

static NOTHING: Overlay = Overlay::NOTHING;

/// A sum that overflows is more than any node has.
const ENDLESS: Capacity = Capacity { cpu_mhz: u32::MAX, memory_mib: u32::MAX, disk_mib: u32::MAX };

/// What an alloc gets of its node beside amounts.
#[derive(Debug)]
pub(super) struct Grants {
    pub(super) ports: Vec<PortGrant>,
    pub(super) pieces: Option<Box<Pieces>>,
}

/// What one alloc of a group takes.
pub(super) struct Ask<'a> {
    pub(super) group: &'a Group,
    /// What it takes of a node that gives it no pieces; `capacity_on` says what of one that does.
    capacity: Capacity,
    pub(super) wants_pieces: bool,
    /// Ports that the group names itself.
    pub(super) fixed: Vec<PortGrant>,
}

impl<'a> Ask<'a> {
    pub(super) fn of(group: &'a Group) -> Self {
        Self {
            group,
            capacity: group.capacity().unwrap_or(ENDLESS),
            wants_pieces: group.wants_pieces(),
            fixed: fixed_ports(group),
        }
    }

    /// What it takes of the node, cores included.
    pub(super) fn capacity_on(&self, fleet: &Fleet, slot: NodeSlot) -> Capacity {
        if self.wants_pieces {
            return self.group.capacity_on(fleet.pieces(slot)).unwrap_or(ENDLESS);
        }
        self.capacity
    }

    /// What it takes of any node; asked only of what wants no pieces.
    pub(super) fn capacity_anywhere(&self) -> Capacity {
        assert!(
            !self.wants_pieces,
            "what takes cores takes more of the one node than of the other"
        );
        self.capacity
    }
}

/// See the module.
pub(super) struct Room<'a> {
    view: View<'a>,
    /// Of slots that this plan touches: everything beside the columns, plans in flight included.
    touched: BySlot<Overlay>,
    /// Slots of which all that is free is kept for another job.
    closed: BTreeSet<NodeSlot>,
}

impl<'a> Room<'a> {
    pub(super) const fn of(view: View<'a>) -> Self {
        Self { view, touched: BySlot::new(), closed: BTreeSet::new() }
    }

    pub(super) const fn state(&self) -> &'a State {
        self.view.state
    }

    pub(super) const fn fleet(&self) -> &'a Fleet {
        self.view.state.fleet()
    }

    /// Whether new allocs may go there.
    pub(super) fn is_placeable(&self, slot: NodeSlot) -> bool {
        self.fleet().is_placeable(slot)
    }

    /// What is free on the node is kept for somebody else.
    pub(super) fn close(&mut self, slot: NodeSlot) {
        let free = self.free(slot);
        self.touch(slot).held.amounts.add(free);
        self.closed.insert(slot);
    }

    pub(super) fn is_closed(&self, slot: NodeSlot) -> bool {
        self.closed.contains(&slot)
    }

    /// Nodes on which more or less is free than the columns say.
    pub(super) fn slots(&self) -> impl Iterator<Item = NodeSlot> + '_ {
        self.view.in_flight.slots().chain(self.touched.iter().map(|(slot, _)| slot))
    }

    fn overlay(&self, slot: NodeSlot) -> &Overlay {
        let in_flight = || self.view.in_flight.on_slot(slot);
        self.touched.get(slot).or_else(in_flight).unwrap_or(&NOTHING)
    }

    fn touch(&mut self, slot: NodeSlot) -> &mut Overlay {
        let in_flight = || self.view.in_flight.on_slot(slot).cloned().unwrap_or_default();
        self.touched.get_or_insert_with(slot, in_flight)
    }

    /// What is taken on the node.
    pub(super) fn used(&self, slot: NodeSlot) -> Amounts {
        let mut used = self.fleet().used(slot);
        used.add(self.overlay(slot).held.amounts);
        used
    }

    /// What tasks may use on the node.
    pub(super) fn usable(&self, slot: NodeSlot) -> Amounts {
        self.fleet().usable(slot)
    }

    /// What is left on the node.
    pub(super) fn free(&self, slot: NodeSlot) -> Amounts {
        self.fleet().usable(slot).left_after(self.used(slot))
    }

    /// Whether the node has what `ask` names itself; dynamic ports are found when it is chosen.
    pub(super) fn fits(&self, slot: NodeSlot, ask: &Ask<'_>) -> Result<(), Shortage> {
        let fits = self.fits_under(slot, self.overlay(slot), ask).map(drop);
        fits.map_err(|lacking| {
            let is_amount = matches!(lacking, Shortage::Cpu | Shortage::Memory | Shortage::Disk);
            if is_amount && self.is_closed(slot) { Shortage::Kept } else { lacking }
        })
    }

    /// Whether `ask` fits with `overlay` counted, and which pieces it would get.
    fn fits_under(
        &self,
        slot: NodeSlot,
        overlay: &Overlay,
        ask: &Ask<'_>,
    ) -> Result<Option<Box<Pieces>>, Shortage> {
        let capacity = ask.capacity_on(self.fleet(), slot);
        self.fleet().fits_over(slot, overlay, Claim::of(capacity, &ask.fixed))?;
        if !ask.wants_pieces {
            return Ok(None);
        }
        let chosen = Shelf { fleet: self.fleet(), slot, overlay }.choose(ask.group)?;
        Ok(chosen.pieces)
    }

    /// The node's pieces, as they are now.
    pub(super) fn shelf(&self, slot: NodeSlot) -> Shelf<'_> {
        Shelf { fleet: self.fleet(), slot, overlay: self.overlay(slot) }
    }

    /// Whether the node has what is asked of the one quantity that `only` leaves of any amounts.
    pub(super) fn has(&self, slot: NodeSlot, ask: Capacity, only: fn(Amounts) -> Amounts) -> bool {
        let (total, overlay) = (only(self.usable(slot)), self.overlay(slot));
        let freed = only(overlay.freed.amounts);
        let ask = only(ask.into()).to_capacity();
        shortage(total, only(self.used(slot)), freed, ask).is_none()
    }

    /// Whether nobody has the port there.
    pub(super) fn has_port(&self, slot: NodeSlot, port: u16) -> bool {
        self.fleet().port_is_free_over(slot, self.overlay(slot), port)
    }

    /// What the node lacks first for `ask`, dynamic ports included.
    pub(super) fn lacking(&self, slot: NodeSlot, ask: &Ask<'_>) -> Option<Shortage> {
        self.ports(slot, ask, 0).err()
    }

    /// Take what `ask` needs on the node, and hand out its ports.
    pub(super) fn take(
        &mut self,
        slot: NodeSlot,
        ask: &Ask<'_>,
        draw: u64,
    ) -> Result<Grants, Shortage> {
        let ports = self.ports(slot, ask, draw)?;
        let pieces =
            if ask.wants_pieces { self.shelf(slot).choose(ask.group)?.pieces } else { None };
        let capacity = ask.capacity_on(self.fleet(), slot);
        let claim = Claim { capacity, ports: &ports, pieces: pieces.as_deref() };
        self.touch(slot).held.hold(claim);
        Ok(Grants { ports, pieces })
    }

    /// The ports that `ask` would get on the node, if it has room. Where dynamic ports are looked for
    /// first depends on `draw`, so that a port just given up is not handed out again at once.
    pub(super) fn ports(
        &self,
        slot: NodeSlot,
        ask: &Ask<'_>,
        draw: u64,
    ) -> Result<Vec<PortGrant>, Shortage> {
        self.fits(slot, ask)?;
        self.grants(slot, ask, draw)
    }

    /// The ports that `ask` would get if the node had all else that it takes.
    pub(super) fn grants(
        &self,
        slot: NodeSlot,
        ask: &Ask<'_>,
        draw: u64,
    ) -> Result<Vec<PortGrant>, Shortage> {
        if ask.group.network.ports.is_empty() {
            return Ok(Vec::new());
        }
        let mut taken: Vec<u16> = ask.fixed.iter().map(|port| port.value).collect();
        let mut grants = Vec::with_capacity(ask.group.network.ports.len());
        for port in &ask.group.network.ports {
            let value = match port.fixed {
                Some(value) => value,
                None => self
                    .fleet()
                    .free_dynamic_port(slot, self.overlay(slot), first_port(draw), &taken)
                    .ok_or(Shortage::DynamicPorts)?,
            };
            taken.push(value);
            grants.push(PortGrant { label: port.label.clone(), value, to: port.to });
        }
        Ok(grants)
    }

    /// If `ask` will fit in the place of `old` once that has ended, keep the place for it.
    pub(super) fn reserve_after(
        &mut self,
        slot: NodeSlot,
        ask: &Ask<'_>,
        old: &Allocation,
    ) -> bool {
        let mut overlay = self.overlay(slot).clone();
        overlay.freed.hold(old.claim());
        let Ok(pieces) = self.fits_under(slot, &overlay, ask) else { return false };
        self.keep(slot, ask, pieces.as_deref(), &mut overlay);
        *self.touch(slot) = overlay;
        true
    }

    /// Whether `ask` fits on the node with `beside` counted as well.
    pub(super) fn fits_beside(&self, slot: NodeSlot, ask: &Ask<'_>, beside: &Overlay) -> bool {
        self.fits_under(slot, &self.with(slot, beside), ask).is_ok()
    }

    /// Count `ask`, which fits there, into `beside`.
    pub(super) fn keep_beside(&self, slot: NodeSlot, ask: &Ask<'_>, beside: &mut Overlay) {
        let pieces = self.fits_under(slot, &self.with(slot, beside), ask);
        let pieces = pieces.expect("invariant: it fits beside them");
        self.keep(slot, ask, pieces.as_deref(), beside);
    }

    fn keep(&self, slot: NodeSlot, ask: &Ask<'_>, pieces: Option<&Pieces>, overlay: &mut Overlay) {
        let capacity = ask.capacity_on(self.fleet(), slot);
        overlay.held.hold(Claim { capacity, ports: &ask.fixed, pieces });
    }

    /// What is counted on the node, and `beside`.
    fn with(&self, slot: NodeSlot, beside: &Overlay) -> Overlay {
        let mut overlay = self.overlay(slot).clone();
        overlay.held.join(&beside.held);
        overlay.freed.join(&beside.freed);
        overlay
    }

    /// How many allocs the node has, and may have at most; `None`: any number.
    pub(super) fn allocs_of(&self, slot: NodeSlot) -> Option<(u32, u32)> {
        self.fleet().allocs_of(slot, self.overlay(slot))
    }

    /// What the node has for `ask`, which finds no room there.
    pub(super) fn near_miss(&self, slot: NodeSlot, ask: &Ask<'_>) -> Option<NearMiss> {
        let asks = || ask.group.device_asks();
        Some(NearMiss {
            node: self.fleet().node_at(slot)?,
            free: self.free(slot).to_capacity(),
            asked: ask.capacity_on(self.fleet(), slot),
            cores_free: if ask.wants_pieces { self.shelf(slot).cores_left().0 } else { 0 },
            cores_asked: ask.group.core_count(),
            devices_free: asks()
                .map(|ask| self.shelf(slot).devices_left(ask).0.min(ask.count))
                .sum(),
            devices_asked: asks().map(|ask| ask.count).sum(),
        })
    }
}

fn first_port(draw: u64) -> u16 {
    let span = u64::from(DYNAMIC_PORT_MAX - DYNAMIC_PORT_MIN) + 1;
    let offset = u16::try_from(mix(draw) % span).expect("invariant: a remainder of a 16-bit span");
    DYNAMIC_PORT_MIN + offset
}
