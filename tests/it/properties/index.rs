//! The fleet's search gives what looking at every node gives, whatever happened to the fleet before.
use std::cmp::Reverse;
use std::collections::BTreeMap;

use drover_core::rng::Rng;
use drover_core::scheduler::score::{BestFit, WorstFit, fit};
use drover_core::state::bits::Bits;
use drover_core::state::fits::Amounts;
use drover_core::state::fleet::{Fleet, Parting, Quest};
use drover_core::time::WallTime;
use drover_core::types::*;

const SEEDS: u64 = 24;
const STEPS: usize = 400;

/// A fleet with what is held on it, kept a second time by the simplest means.
#[derive(Default)]
struct Model {
    fleet: Fleet,
    nodes: BTreeMap<NodeSlot, Node>,
    held: Vec<(NodeId, Capacity, Vec<PortGrant>)>,
    ids: u128,
}

fn amount(rng: &mut Rng, max: u64) -> u32 {
    u32::try_from(rng.between(0, max)).expect("a small number")
}

fn port(value: u16) -> PortGrant {
    PortGrant { label: "http".to_owned(), value, to: 0 }
}

impl Model {
    fn machine(rng: &mut Rng, id: u128) -> Node {
        // Of one size, of nearly one size, and of any size.
        let (cpu_mhz, memory_mib) = match rng.between(0, 3) {
            0 => (4_000, 8_192),
            1 => (16_000 + amount(rng, 200), 65_536 + amount(rng, 900)),
            2 => (amount(rng, 50), amount(rng, 50)),
            _ => (amount(rng, 70_000), amount(rng, 3_000_000)),
        };
        let capacity = Capacity { cpu_mhz, memory_mib, disk_mib: amount(rng, 10_000) };
        let reserved_ports = if rng.chance(200) { vec![8_080] } else { vec![] };
        let status = if rng.chance(900) { NodeStatus::Ready } else { NodeStatus::Down };
        Node {
            spec: NodeSpec {
                id: NodeId(id),
                capacity,
                reserved_ports,
                allocs_max: if rng.chance(200) { amount(rng, 3) } else { 0 },
                ..NodeSpec::default()
            },
            status,
            eligible: rng.chance(900),
            status_changed_at: WallTime::default(),
            events: vec![],
            create_index: Index(1),
            modify_index: Index(1),
            drain: None,
            last_drain: None,
        }
    }

    fn some_node(&self, rng: &mut Rng) -> Option<(NodeSlot, NodeId)> {
        let nth = usize::try_from(rng.between(0, self.nodes.len() as u64)).expect("small");
        self.nodes.iter().nth(nth).map(|(&slot, node)| (slot, node.spec.id))
    }

    fn something_happens(&mut self, rng: &mut Rng) {
        let known = self.some_node(rng);
        match (rng.between(0, 9), known) {
            (0 | 1, _) => {
                self.ids += 1;
                let node = Self::machine(rng, self.ids);
                self.nodes.insert(self.fleet.put_node(&node), node);
            }
            (2, Some((slot, id))) => {
                let node = Self::machine(rng, id.0);
                assert_eq!(self.fleet.put_node(&node), slot, "a node keeps its slot");
                self.nodes.insert(slot, node);
            }
            (3, Some((slot, id))) if rng.chance(300) => {
                self.fleet.remove_node(id);
                self.nodes.remove(&slot);
                self.held.retain(|(node, ..)| *node != id);
            }
            (4 | 5, _) if !self.held.is_empty() => {
                let nth = usize::try_from(rng.between(0, self.held.len() as u64 - 1));
                let (node, capacity, ports) = self.held.swap_remove(nth.expect("small"));
                self.fleet.release(node, Claim::of(capacity, &ports));
            }
            (_, Some((slot, id))) => {
                let capacity = if rng.chance(600) {
                    // Often the same, so that nodes are worth the same.
                    Capacity { cpu_mhz: 500, memory_mib: 1_024, disk_mib: 10 }
                } else {
                    // Sometimes more than the node has.
                    let free = self.fleet.free(slot);
                    let most = |free: u64| free + free / 8;
                    Capacity {
                        cpu_mhz: amount(rng, most(free.cpu_mhz)),
                        memory_mib: amount(rng, most(free.memory_mib)),
                        disk_mib: amount(rng, most(free.disk_mib) / 4),
                    }
                };
                let ports = if rng.chance(200) { vec![port(8_080)] } else { vec![] };
                self.fleet.hold(id, Claim::of(capacity, &ports));
                self.held.push((id, capacity, ports));
            }
            (_, None) => {}
        }
    }

    /// Every node that the quest may find, the best first.
    fn scan(&self, quest: &Quest<'_>, algorithm: Algorithm) -> Vec<(i64, NodeSlot)> {
        let mut found = Vec::new();
        for (&slot, node) in &self.nodes {
            let ready = node.status == NodeStatus::Ready && node.eligible;
            let (mut used, mut ports) = (Amounts::from(quest.ask), quest.ports.to_vec());
            let mut count = 0;
            for (_, capacity, held) in self.held.iter().filter(|(id, ..)| *id == node.spec.id) {
                count += 1;
                used.add((*capacity).into());
                ports.extend_from_slice(held);
            }
            let total = Amounts::from(node.spec.usable());
            let within = used.cpu_mhz <= total.cpu_mhz
                && used.memory_mib <= total.memory_mib
                && used.disk_mib <= total.disk_mib;
            let clash = quest.ports.iter().any(|asked| {
                let same = |other: &&PortGrant| other.value == asked.value;
                1 < ports.iter().filter(same).count()
                    || node.spec.reserved_ports.contains(&asked.value)
            });
            let open = quest.allowed.has(slot) && !quest.excluded.has(slot);
            let may_have_more = node.spec.allocs_max == 0 || count < node.spec.allocs_max;
            if ready && within && !clash && open && may_have_more {
                found.push((fit(algorithm, total, used), slot));
            }
        }
        found.sort_by_key(|&(worth, slot)| (Reverse(worth), slot));
        found
    }

    fn compare(&self, rng: &mut Rng) -> usize {
        let (mut allowed, mut excluded) = (Bits::default(), Bits::default());
        let share = rng.between(1, 1_000);
        for &slot in self.nodes.keys() {
            allowed.set(slot, rng.chance(share));
            excluded.set(slot, rng.chance(100));
        }
        let largest = [50, 500, 5_000, 50_000][usize::try_from(rng.between(0, 3)).expect("small")];
        let ask = Capacity {
            cpu_mhz: amount(rng, largest),
            memory_mib: amount(rng, largest * 2),
            disk_mib: amount(rng, 3_000),
        };
        let ports = if rng.chance(200) { vec![port(8_080)] } else { vec![] };
        let wanted = usize::try_from(rng.between(1, 12)).expect("small");
        let quest = Quest { ask, ports: &ports, wanted, allowed: &allowed, excluded: &excluded };
        let algorithm = if rng.chance(300) { Algorithm::Spread } else { Algorithm::BinPack };
        let mut found = match algorithm {
            Algorithm::Pack | Algorithm::BinPack => self.fleet.best(quest, &BestFit).nodes,
            Algorithm::Spread => self.fleet.best(quest, &WorstFit).nodes,
        };
        found.reverse();
        let mut scanned = self.scan(&quest, algorithm);
        self.compare_parts(&quest, algorithm, &scanned, rng);
        scanned.truncate(wanted);
        assert_eq!(found, scanned, "{ask:?}, {wanted} wanted");
        found.len()
    }

    /// The best of each of some parts, which some nodes are in none of.
    fn compare_parts(
        &self,
        quest: &Quest<'_>,
        algorithm: Algorithm,
        scanned: &[(i64, NodeSlot)],
        rng: &mut Rng,
    ) {
        let parts = rng.between(1, 5);
        let wanted: Vec<u32> = (0..parts).map(|_| amount(rng, 4)).collect();
        let of_slot: Vec<u32> = (0..=self.fleet.len()).map(|_| amount(rng, parts)).collect();
        let parting = Parting { of_slot: &of_slot, wanted: &wanted };
        let (found, _) = match algorithm {
            Algorithm::Pack | Algorithm::BinPack => {
                self.fleet.best_of_each(*quest, parting, &BestFit)
            }
            Algorithm::Spread => self.fleet.best_of_each(*quest, parting, &WorstFit),
        };
        for (part, (mut found, wanted)) in (0..).zip(found.into_iter().zip(&wanted)) {
            found.reverse();
            let within = |(_, slot): &&(i64, NodeSlot)| of_slot[slot.0 as usize] == part;
            let scanned = scanned.iter().filter(within).copied();
            let scanned: Vec<_> = scanned.take(*wanted as usize).collect();
            assert_eq!(found, scanned, "part {part} of {parts}, {wanted} wanted");
        }
    }
}

#[test]
fn a_search_finds_what_a_look_at_every_node_finds() {
    let mut found = 0;
    for seed in 0..SEEDS {
        let mut rng = Rng::from_seed(seed);
        let mut model = Model::default();
        for step in 0..STEPS {
            model.something_happens(&mut rng);
            found += model.compare(&mut rng);
            if step % 16 == 0 {
                model.fleet.check_invariants();
            }
        }
        model.fleet.check_invariants();
    }
    assert!(10_000 < found, "the searches had something to find: {found}");
}

#[test]
fn a_port_that_is_asked_for_twice_is_free_nowhere() {
    let mut model = Model::default();
    let mut rng = Rng::from_seed(1);
    let mut allowed = Bits::default();
    for id in 1..=20 {
        let node = Model::machine(&mut rng, id);
        allowed.insert(model.fleet.put_node(&node));
    }
    let (ports, excluded) = ([port(80), port(80)], Bits::default());
    let quest = |ports| {
        let ask = Capacity::default();
        Quest { ask, ports, wanted: 3, allowed: &allowed, excluded: &excluded }
    };
    assert!(model.fleet.best(quest(&ports), &BestFit).nodes.is_empty());
    assert_eq!(model.fleet.best(quest(&ports[..1]), &BestFit).nodes.len(), 3);
}
