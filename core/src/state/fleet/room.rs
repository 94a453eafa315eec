//! Whether a node has room: for a claim, a port, a piece.
//!
//! Invariants
//! - nothing here changes anything, so who asks first gains nothing by it.
use ::alloc::string::String;

use super::Fleet;
use crate::state::fits::{Overlay, Shortage, shortage};
use crate::types::{Claim, DYNAMIC_PORT_MAX, DYNAMIC_PORT_MIN, DeviceName, NodePieces, NodeSlot};

impl Fleet {
    /// Whether the node at `slot` has room for the claim; if not, what it lacks first.
    ///
    /// # Errors
    /// The first shortage, in the order of `Shortage`.
    pub fn fits(&self, slot: NodeSlot, claim: Claim<'_>) -> Result<(), Shortage> {
        self.fits_over(slot, &Overlay::NOTHING, claim)
    }

    /// `fits`, with `overlay` counted beside the node's own usage.
    ///
    /// # Errors
    /// The first shortage, in the order of `Shortage`.
    pub fn fits_over(
        &self,
        slot: NodeSlot,
        overlay: &Overlay,
        claim: Claim<'_>,
    ) -> Result<(), Shortage> {
        if !self.is_placeable(slot) {
            return Err(Shortage::NotPlaceable);
        }
        let (at, ports) = (slot.0 as usize, claim.ports);
        let mut used = self.used.at(at);
        used.add(overlay.held.amounts);
        let (total, freed) = (self.total.at(at), overlay.freed.amounts);
        if let Some(lacking) = shortage(total, used, freed, claim.capacity) {
            return Err(lacking);
        }
        if !self.allocs_max.is_empty() && !self.may_have_more(slot, overlay) {
            return Err(Shortage::Allocs);
        }
        for (nth, port) in ports.iter().enumerate() {
            let twice = ports[..nth].iter().any(|other| other.value == port.value);
            if twice || !self.port_is_free_over(slot, overlay, port.value) {
                return Err(Shortage::Port { label: port.label.clone(), value: port.value });
            }
        }
        claim.pieces.map_or(Ok(()), |pieces| self.pieces.check(slot, overlay, pieces))
    }

    /// Whether the node may have one alloc more.
    pub(super) fn may_have_more(&self, slot: NodeSlot, overlay: &Overlay) -> bool {
        let allocs = self.allocs_of(slot, overlay);
        allocs.is_none_or(|(count, most)| count < most) || planted!(AllocsNotCounted)
    }

    /// How many allocs the node has, and may have at most; `None`: any number.
    #[must_use]
    pub fn allocs_of(&self, slot: NodeSlot, overlay: &Overlay) -> Option<(u32, u32)> {
        let most = *self.allocs_max.get(&slot)?;
        let count = self.alloc_count[slot.0 as usize] + overlay.held.alloc_count;
        Some((count.saturating_sub(overlay.freed.alloc_count), most))
    }

    /// What the node has in pieces.
    #[must_use]
    pub fn pieces(&self, slot: NodeSlot) -> Option<&NodePieces> {
        self.pieces.offered(slot)
    }

    /// Whether tasks may have the core, and nobody has it.
    #[must_use]
    pub fn core_is_free(&self, slot: NodeSlot, overlay: &Overlay, core: u16) -> bool {
        self.pieces.core_is_free(slot, overlay, core)
    }

    /// Whether nobody has `port` on the node and it is not reserved.
    #[must_use]
    pub fn port_is_free(&self, slot: NodeSlot, port: u16) -> bool {
        self.port_is_free_over(slot, &Overlay::default(), port)
    }

    /// `port_is_free`, with `overlay` counted beside the node's own usage.
    #[must_use]
    pub fn port_is_free_over(&self, slot: NodeSlot, overlay: &Overlay, port: u16) -> bool {
        let at = slot.0 as usize;
        let holders = self.held_ports[at].get(&port).copied().unwrap_or(0);
        self.reserved_ports[at].binary_search(&port).is_err()
            && holders + overlay.held.holders(port) <= overlay.freed.holders(port)
    }

    /// The first free port of the dynamic range at or after `start` (going round once) that is not
    /// in `taken`. A start that differs from alloc to alloc keeps a port that is stuck on one
    /// machine from being handed out again at once.
    #[must_use]
    pub fn free_dynamic_port(
        &self,
        slot: NodeSlot,
        overlay: &Overlay,
        start: u16,
        taken: &[u16],
    ) -> Option<u16> {
        let start = start.clamp(DYNAMIC_PORT_MIN, DYNAMIC_PORT_MAX);
        (start..=DYNAMIC_PORT_MAX)
            .chain(DYNAMIC_PORT_MIN..start)
            .find(|port| !taken.contains(port) && self.port_is_free_over(slot, overlay, *port))
    }

    /// Whether tasks may have the device, and nobody has it.
    #[must_use]
    pub fn device_is_free(
        &self,
        slot: NodeSlot,
        overlay: &Overlay,
        device: (&DeviceName, &String),
    ) -> bool {
        self.pieces.device_is_free(slot, overlay, device)
    }
}
