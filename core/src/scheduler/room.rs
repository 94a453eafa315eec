//! What is free on each node while one plan is being made.
//!
//! Invariants
//! - room is the state's columns, less the leader's plans in flight, less this plan's own placements, and
//!   none where somebody makes way for another job that is as important;
//! - whether something fits is asked of `Fleet` only.
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::planner::{View, fixed_ports};
use crate::rng::mix;
use crate::state::State;
use crate::state::by_slot::BySlot;
use crate::state::fits::{Amounts, Overlay, Shortage, shortage};
use crate::state::fleet::Fleet;
use crate::types::{
    Allocation, Capacity, DYNAMIC_PORT_MAX, DYNAMIC_PORT_MIN, Group, NodeSlot, PortGrant,
};

static NOTHING: Overlay = Overlay::NOTHING;

/// What one alloc of a group takes.
pub(super) struct Ask<'a> {
    pub(super) group: &'a Group,
    pub(super) capacity: Capacity,
    /// Ports that the group names itself.
    pub(super) fixed: Vec<PortGrant>,
}

impl<'a> Ask<'a> {
    pub(super) fn of(group: &'a Group) -> Self {
        // A sum that overflows is more than any node has.
        let endless = Capacity { cpu_mhz: u32::MAX, memory_mib: u32::MAX, disk_mib: u32::MAX };
        Self { group, capacity: group.capacity().unwrap_or(endless), fixed: fixed_ports(group) }
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
        let fits = self.fleet().fits_over(slot, self.overlay(slot), ask.capacity, &ask.fixed);
        fits.map_err(|lacking| {
            let is_amount = matches!(lacking, Shortage::Cpu | Shortage::Memory | Shortage::Disk);
            if is_amount && self.is_closed(slot) { Shortage::Kept } else { lacking }
        })
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
    ) -> Result<Vec<PortGrant>, Shortage> {
        let grants = self.ports(slot, ask, draw)?;
        self.touch(slot).held.hold(ask.capacity, &grants);
        Ok(grants)
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
        overlay.freed.hold(old.capacity, &old.ports);
        let fits = self.fleet().fits_over(slot, &overlay, ask.capacity, &ask.fixed).is_ok();
        if fits {
            overlay.held.hold(ask.capacity, &ask.fixed);
            *self.touch(slot) = overlay;
        }
        fits
    }
}

impl Room<'_> {
    /// Whether `ask` fits on the node with `beside` counted as well.
    pub(super) fn fits_beside(&self, slot: NodeSlot, ask: &Ask<'_>, beside: &Overlay) -> bool {
        let mut overlay = self.overlay(slot).clone();
        overlay.held.join(&beside.held);
        overlay.freed.join(&beside.freed);
        self.fleet().fits_over(slot, &overlay, ask.capacity, &ask.fixed).is_ok()
    }
}

fn first_port(draw: u64) -> u16 {
    let span = u64::from(DYNAMIC_PORT_MAX - DYNAMIC_PORT_MIN) + 1;
    let offset = u16::try_from(mix(draw) % span).expect("invariant: a remainder of a 16-bit span");
    DYNAMIC_PORT_MIN + offset
}
