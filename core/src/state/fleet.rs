//! The nodes as the scheduler sees them: a column per quantity, indexed by a dense slot.
//!
//! Derived from the tables of nodes and allocs and kept true by `Txn`; `check_invariants` of the state
//! computes it anew and compares. Nodes that cannot be told apart by anything but their name, id or
//! `unique.` attributes share a class (Nomad's computed class), so that a constraint is tried once per
//! class instead of once per node.
//!
//! Invariants
//! - a node keeps its slot until it is removed; a new node takes the lowest free slot;
//! - usage of a slot is the sum of what was held and not released since the node was put there;
//! - placeable means ready and eligible;
//! - two nodes have the same class if and only if their class keys are equal.
//!
//! It does not know which alloc holds what, and class numbers mean nothing outside one process.
use ::alloc::collections::{BTreeMap, BTreeSet};
use ::alloc::vec::Vec;

use super::classes::Classes;
pub use super::classes::{ClassId, ClassKey, DeviceClass};
use super::fits::{Amounts, Columns, Overlay, Usage};
pub use super::grid::{End, Found, Parting, Preference, Quest, SHARE_ONE, share};
use super::grid::{Grid, Standing};
use super::pieces::PieceColumn;
use super::slots::Slots;
use crate::types::{Claim, Node, NodeId, NodeSlot, NodeStatus, PortGrant};

mod room;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    slots: Slots,
    free: BTreeSet<NodeSlot>,
    /// `None` in a free slot.
    ids: Vec<Option<NodeId>>,
    total: Columns,
    used: Columns,
    placeable: Vec<bool>,
    class: Vec<ClassId>,
    reserved_ports: Vec<Vec<u16>>,
    held_ports: Vec<BTreeMap<u16, u32>>,
    pieces: PieceColumn,
    alloc_count: Vec<u32>,
    /// Of those that may not have any number of allocs.
    allocs_max: BTreeMap<NodeSlot, u32>,
    classes: Classes,
    /// Those that may be placed on, by what is free on them.
    grid: Grid,
    generation: u64,
}

impl PartialEq for Fleet {
    /// Equal for everyone who looks: class numbers may differ where the classes are the same, and
    /// the grid follows from the columns.
    fn eq(&self, other: &Self) -> bool {
        self.ids == other.ids
            && self.total == other.total
            && self.used == other.used
            && self.placeable == other.placeable
            && self.reserved_ports == other.reserved_ports
            && self.held_ports == other.held_ports
            && self.pieces == other.pieces
            && self.alloc_count == other.alloc_count
            && self.allocs_max == other.allocs_max
            && self.same_classes(other)
    }
}

impl Eq for Fleet {}

fn slot_number(at: usize) -> u32 {
    u32::try_from(at).expect("invariant: fewer than 2^32 nodes")
}

impl Fleet {
    /// Take in a new node (at the lowest free slot) or a changed one (its usage stays).
    pub fn put_node(&mut self, node: &Node) -> NodeSlot {
        let slot = self
            .slot_of(node.spec.id)
            .or_else(|| self.free.first().copied())
            .unwrap_or(NodeSlot(slot_number(self.ids.len())));
        self.put_node_at(node, slot);
        slot
    }

    /// Take in a node at the slot that a snapshot names for it.
    pub fn put_node_at(&mut self, node: &Node, slot: NodeSlot) {
        let at = slot.0 as usize;
        let first_free = self.ids.len();
        if first_free <= at {
            self.resize(at + 1);
            self.free.extend((first_free..at).map(|free| NodeSlot(slot_number(free))));
        }
        match self.ids[at] {
            Some(id) => {
                assert!(id == node.spec.id, "a slot has one node");
                self.classes.leave(self.class[at]);
            }
            None => {
                assert!(self.slot_of(node.spec.id).is_none(), "a node has one slot");
                self.free.remove(&slot);
                self.ids[at] = Some(node.spec.id);
                self.slots.insert(slot, &self.ids);
            }
        }
        self.total.set(at, node.spec.usable().into());
        self.placeable[at] = node.eligible && node.status == NodeStatus::Ready;
        self.class[at] = self.classes.enter(ClassKey::of(node));
        self.reserved_ports[at].clone_from(&node.spec.reserved_ports);
        self.reserved_ports[at].sort_unstable();
        self.pieces.put(slot, node.spec.pieces.as_ref());
        match node.spec.allocs_max {
            0 => self.allocs_max.remove(&slot),
            most => self.allocs_max.insert(slot, most),
        };
        self.file(at);
        self.generation += 1;
    }

    /// Put the node where it belongs in the grid.
    fn file(&mut self, at: usize) {
        let slot = NodeSlot(slot_number(at));
        self.grid.put(slot, self.standing(at));
    }

    /// `None` where nothing fits, whatever is asked for.
    fn standing(&self, at: usize) -> Option<Standing> {
        let (total, used) = (self.total.at(at), self.used.at(at));
        let standing =
            Standing { total: total.to_capacity(), free: total.left_after(used).to_capacity() };
        (self.placeable[at] && used.is_within(total)).then_some(standing)
    }

    /// Forget a node and what is held on it; its slot is free for the next. Nothing if it is unknown.
    pub fn remove_node(&mut self, id: NodeId) {
        let Some(slot) = self.slot_of(id) else {
            return;
        };
        let at = slot.0 as usize;
        self.slots.remove(slot, &self.ids);
        self.classes.leave(self.class[at]);
        self.ids[at] = None;
        self.total.set(at, Amounts::default());
        self.used.set(at, Amounts::default());
        self.placeable[at] = false;
        self.class[at] = ClassId::default();
        self.reserved_ports[at].clear();
        self.held_ports[at].clear();
        self.pieces.remove(slot);
        self.alloc_count[at] = 0;
        self.allocs_max.remove(&slot);
        self.file(at);
        self.generation += 1;
        self.free.insert(slot);
        // The columns end at the last node, so that they are a function of who is where.
        let len = self.ids.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.free.retain(|free| (free.0 as usize) < len);
        self.resize(len);
    }

    fn resize(&mut self, len: usize) {
        self.ids.resize(len, None);
        self.total.resize(len);
        self.used.resize(len);
        self.placeable.resize(len, false);
        self.class.resize(len, ClassId::default());
        self.reserved_ports.resize(len, Vec::new());
        self.held_ports.resize(len, BTreeMap::new());
        self.alloc_count.resize(len, 0);
    }

    /// Count an alloc in. Nothing if the node is unknown.
    pub fn hold(&mut self, id: NodeId, claim: Claim<'_>) {
        if let Some(slot) = self.slot_of(id) {
            self.hold_at(slot, claim);
        }
    }

    /// Count an alloc out again. Nothing if the node is unknown.
    pub fn release(&mut self, id: NodeId, claim: Claim<'_>) {
        if let Some(slot) = self.slot_of(id) {
            self.release_at(slot, claim);
        }
    }

    /// Count an alloc in on the node at `slot`.
    pub fn hold_at(&mut self, slot: NodeSlot, claim: Claim<'_>) {
        self.change_usage(slot, |usage| usage.hold(Claim { pieces: None, ..claim }));
        claim.pieces.into_iter().for_each(|pieces| self.pieces.hold(slot, pieces));
    }

    /// Count an alloc out again on the node at `slot`.
    pub fn release_at(&mut self, slot: NodeSlot, claim: Claim<'_>) {
        self.change_usage(slot, |usage| usage.release(Claim { pieces: None, ..claim }));
        claim.pieces.into_iter().for_each(|pieces| self.pieces.release(slot, pieces));
    }

    fn change_usage(&mut self, slot: NodeSlot, change: impl FnOnce(&mut Usage)) {
        let at = slot.0 as usize;
        let ports = core::mem::take(&mut self.held_ports[at]);
        let (amounts, alloc_count) = (self.used.at(at), self.alloc_count[at]);
        let mut usage = Usage { amounts, ports, alloc_count, ..Usage::NOTHING };
        change(&mut usage);
        self.used.set(at, usage.amounts);
        self.alloc_count[at] = usage.alloc_count;
        self.held_ports[at] = usage.ports;
        self.file(at);
    }

    /// The nodes that are best for the quest, of all that may be placed on. Nothing counts but what
    /// allocs hold: who lies under plans in flight is to be excluded, and looked at apart.
    pub fn best(&self, quest: Quest<'_>, preference: &impl Preference) -> Found {
        if asks_twice(quest.ports) {
            return Found::default();
        }
        self.grid.search(quest, preference, |slot| self.takes(slot, quest.ports))
    }

    /// The same for each part of the fleet: what `best` would give if only its nodes were allowed, and
    /// as many were wanted as the parting says. And how many nodes lacked something.
    pub fn best_of_each(
        &self,
        quest: Quest<'_>,
        parting: Parting<'_>,
        preference: &impl Preference,
    ) -> (Vec<Vec<(i64, NodeSlot)>>, u32) {
        if asks_twice(quest.ports) {
            return (parting.wanted.iter().map(|_| Vec::new()).collect(), 0);
        }
        self.grid.search_parts(quest, parting, preference, |slot| self.takes(slot, quest.ports))
    }

    /// What the grid does not know of.
    fn takes(&self, slot: NodeSlot, ports: &[PortGrant]) -> bool {
        ports.iter().all(|port| self.port_is_free(slot, port.value))
            && (self.allocs_max.is_empty() || self.may_have_more(slot, &Overlay::NOTHING))
    }

    /// Where the node is in the columns.
    #[must_use]
    pub fn slot_of(&self, id: NodeId) -> Option<NodeSlot> {
        self.slots.of(id, &self.ids)
    }

    /// Who is at `slot`.
    #[must_use]
    pub fn node_at(&self, slot: NodeSlot) -> Option<NodeId> {
        self.ids.get(slot.0 as usize).copied().flatten()
    }

    /// One more than the highest slot that has a node.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no node at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Every slot that has a node, in order.
    pub fn slots(&self) -> impl Iterator<Item = NodeSlot> + '_ {
        let taken = self.ids.iter().enumerate().filter(|(_, id)| id.is_some());
        taken.map(|(at, _)| NodeSlot(slot_number(at)))
    }

    /// Whether new allocs may go there.
    #[must_use]
    pub fn is_placeable(&self, slot: NodeSlot) -> bool {
        self.placeable.get(slot.0 as usize).copied().unwrap_or(false)
    }

    /// The class of the node at `slot`, and only of a slot that has one.
    #[must_use]
    pub fn class(&self, slot: NodeSlot) -> ClassId {
        self.class[slot.0 as usize]
    }

    /// One more than the highest class number in use.
    #[must_use]
    pub const fn class_count(&self) -> usize {
        self.classes.len()
    }

    /// What the nodes of the class are alike in, and only of a class that has nodes.
    #[must_use]
    pub fn class_key(&self, class: ClassId) -> &ClassKey {
        self.classes.key(class)
    }

    /// Whether any node has devices that work.
    #[must_use]
    pub fn has_devices(&self) -> bool {
        self.classes.keys().any(ClassKey::has_devices)
    }

    /// Take the place of `before`: whoever remembers that generation sees that it is over.
    pub(crate) fn follow(&mut self, before: &Self) {
        self.generation += before.generation + 1;
    }

    /// Grows whenever a node comes, goes, or changes in anything but its usage. It says nothing of
    /// another state, and means nothing outside this process.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// What tasks may use on the node.
    #[must_use]
    pub fn usable(&self, slot: NodeSlot) -> Amounts {
        self.total.at(slot.0 as usize)
    }

    /// What is held on the node; may be more than is usable.
    #[must_use]
    pub fn used(&self, slot: NodeSlot) -> Amounts {
        self.used.at(slot.0 as usize)
    }

    /// What is left; nothing where more is held than usable.
    #[must_use]
    pub fn free(&self, slot: NodeSlot) -> Amounts {
        self.usable(slot).left_after(self.used(slot))
    }

    /// Whether each slot's class is the same set of demands on both sides.
    fn same_classes(&self, other: &Self) -> bool {
        let key = |fleet: &Self, slot| fleet.class_key(fleet.class(slot)).clone();
        self.slots().all(|slot| key(self, slot) == key(other, slot))
    }

    /// The columns agree with each other and with the map of slots.
    ///
    /// # Panics
    /// When they do not.
    pub fn check_invariants(&self) {
        assert!(self.ids.last().is_none_or(Option::is_some), "the columns end at the last node");
        self.slots.check_invariants(&self.ids);
        let free = (0..self.ids.len()).filter(|&at| self.ids[at].is_none());
        let free: BTreeSet<NodeSlot> = free.map(|at| NodeSlot(slot_number(at))).collect();
        assert!(free == self.free, "a slot without a node is free");
        for &slot in &free {
            assert!(self.used(slot) == Amounts::default(), "a free slot holds nothing");
            assert!(!self.is_placeable(slot), "a free slot is not placed on");
        }
        let mut members = BTreeMap::new();
        for slot in self.slots() {
            *members.entry(self.class(slot)).or_default() += 1;
        }
        self.classes.check_invariants(&members);
        assert!(self.ids.len() <= self.grid.slot_count(), "the grid knows of every slot");
        self.grid.check_invariants(|slot| {
            let at = slot.0 as usize;
            (at < self.ids.len()).then(|| self.standing(at)).flatten()
        });
    }
}

/// Whether one port is named twice: no node has that.
fn asks_twice(ports: &[PortGrant]) -> bool {
    let twice = |nth: usize| ports[..nth].iter().any(|other| other.value == ports[nth].value);
    (0..ports.len()).any(twice)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;
    use crate::state::fits::Shortage;
    use crate::time::WallTime;
    use crate::types::Capacity;
    use crate::types::{Index, NodeSpec};

    fn node(id: u128, cpu_mhz: u32) -> Node {
        let capacity = Capacity { cpu_mhz, memory_mib: 1_000, disk_mib: 1_000 };
        let attributes = [("unique.hostname".to_string(), id.to_string())].into();
        Node {
            spec: NodeSpec { id: NodeId(id), capacity, attributes, ..NodeSpec::default() },
            status: NodeStatus::Ready,
            eligible: true,
            drain: None,
            last_drain: None,
            status_changed_at: WallTime::default(),
            events: vec![],
            create_index: Index(1),
            modify_index: Index(1),
        }
    }

    const ASK: Capacity = Capacity { cpu_mhz: 400, memory_mib: 10, disk_mib: 10 };

    fn port(value: u16) -> PortGrant {
        PortGrant { label: "http".to_string(), value, to: 0 }
    }

    #[test]
    fn a_new_node_takes_the_lowest_free_slot_and_a_known_one_keeps_its_own() {
        let mut fleet = Fleet::default();
        for id in 1..=3 {
            fleet.put_node(&node(id, 1_000));
        }
        fleet.remove_node(NodeId(2));
        fleet.check_invariants();
        assert_eq!(fleet.put_node(&node(3, 500)), NodeSlot(2));
        assert_eq!(fleet.put_node(&node(4, 500)), NodeSlot(1));
        fleet.remove_node(NodeId(3));
        fleet.check_invariants();
        assert_eq!(fleet.len(), 2);
    }

    #[test]
    fn a_node_that_returns_smaller_than_its_usage_fits_nothing_until_it_is_released() {
        let mut fleet = Fleet::default();
        let slot = fleet.put_node(&node(1, 1_000));
        fleet.hold(NodeId(1), Claim::of(ASK, &[]));
        fleet.hold(NodeId(1), Claim::of(ASK, &[]));
        assert_eq!(fleet.fits(slot, Claim::of(ASK, &[])), Err(Shortage::Cpu));
        fleet.put_node(&node(1, 500));
        assert_eq!(fleet.free(slot).cpu_mhz, 0);
        fleet.release(NodeId(1), Claim::of(ASK, &[]));
        assert_eq!(fleet.fits(slot, Claim::of(ASK, &[])), Err(Shortage::Cpu));
        fleet.release(NodeId(1), Claim::of(ASK, &[]));
        assert_eq!(fleet.fits(slot, Claim::of(ASK, &[])), Ok(()));
    }

    #[test]
    fn a_port_is_granted_once_and_a_reserved_one_never() {
        let mut fleet = Fleet::default();
        let mut machine = node(1, 1_000);
        machine.spec.reserved_ports = vec![443, 22];
        let slot = fleet.put_node(&machine);
        let taken = |value| Err(Shortage::Port { label: "http".to_string(), value });
        assert_eq!(fleet.fits(slot, Claim::of(ASK, &[port(22)])), taken(22));
        assert_eq!(fleet.fits(slot, Claim::of(ASK, &[port(80), port(80)])), taken(80));
        fleet.hold(NodeId(1), Claim::of(ASK, &[port(80)]));
        assert_eq!(fleet.fits(slot, Claim::of(ASK, &[port(80)])), taken(80));
        fleet.release(NodeId(1), Claim::of(ASK, &[port(80)]));
        assert_eq!(fleet.fits(slot, Claim::of(ASK, &[port(80)])), Ok(()));
    }

    #[test]
    fn a_class_does_not_see_what_is_unique_to_a_node() {
        let mut fleet = Fleet::default();
        let (one, two) = (fleet.put_node(&node(1, 1_000)), fleet.put_node(&node(2, 500)));
        assert_eq!(fleet.class(one), fleet.class(two));
        let mut other = node(2, 500);
        other.spec.meta.insert("rack".to_string(), "r2".to_string());
        fleet.put_node(&other);
        assert_ne!(fleet.class(one), fleet.class(two));
        fleet.check_invariants();
    }
}
