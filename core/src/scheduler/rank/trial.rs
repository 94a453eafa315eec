//! One node for one more alloc, question by question: for people who ask about it.
//!
//! Invariants
//! - each answer is that of the function that decides.
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::Ranking;
use crate::scheduler::crowd::Crowd;
use crate::scheduler::feasible::{DISTINCT_HOSTS, DISTINCT_PROPERTY, Distinct};
use crate::scheduler::look::{Asked, Tried};
use crate::scheduler::room::{Ask, Room};
use crate::state::fits::Amounts;
use crate::types::{Group, NodeSlot, NodeStatus};

impl Ranking<'_> {
    /// Whether the node is open, what others of the job leave of it, and its room.
    pub(in crate::scheduler) fn tried(
        &self,
        slot: NodeSlot,
        room: &Room<'_>,
        crowd: &Crowd,
    ) -> Vec<Tried> {
        let mut tried = vec![of_node(slot, room)];
        let others = match self.subject.distinct {
            Distinct::Nobody => None,
            Distinct::WithinGroup => Some((crowd.of_group(self.subject.at, slot), "group")),
            Distinct::WithinJob => {
                let of_job = (0..crowd.groups()).map(|group| crowd.of_group(group, slot)).sum();
                Some((of_job, "job"))
            }
        };
        tried.extend(others.map(|(count, whose): (u32, _)| Tried {
            asked: Asked::DistinctHosts,
            demand: DISTINCT_HOSTS.to_string(),
            found: Some(format!("{count} allocs of the {whose}")),
            is_met: !self.is_crowded(slot, crowd),
        }));
        let strata = &self.subject.suitable.strata;
        for (key, value, count, is_reached) in self.wanted.limits_at(slot, strata) {
            let (attribute, value) = strata.keys[key].shown(value);
            let found = value.zip(count);
            tried.push(Tried {
                asked: Asked::DistinctProperty,
                demand: format!("{DISTINCT_PROPERTY} {attribute}"),
                found: found.map(|(value, count)| format!("{value}, which {count} allocs have")),
                is_met: !is_reached,
            });
        }
        tried.extend(of_room(slot, &self.subject.ask, room));
        tried
    }
}

/// Whether new allocs may go there at all.
pub(in crate::scheduler) fn of_node(slot: NodeSlot, room: &Room<'_>) -> Tried {
    let node =
        room.state().node_at(slot).expect("invariant: a slot that is asked about has a node");
    let found = match node.status {
        NodeStatus::Init => "initializing",
        NodeStatus::Down => "down",
        NodeStatus::Ready if node.drain.is_some() => "draining",
        NodeStatus::Ready if !node.eligible => "not eligible",
        NodeStatus::Ready if room.is_closed(slot) => "kept for an important job",
        NodeStatus::Ready => "ready and eligible",
    };
    Tried {
        asked: Asked::Node,
        demand: "ready and eligible".to_string(),
        found: Some(found.to_string()),
        is_met: room.is_placeable(slot) && !room.is_closed(slot),
    }
}

/// Each quantity and each port that `ask` takes.
pub(in crate::scheduler) fn of_room(slot: NodeSlot, ask: &Ask<'_>, room: &Room<'_>) -> Vec<Tried> {
    type Only = fn(Amounts) -> Amounts;
    let quantities: [(Asked, &str, Only); 3] = [
        (Asked::Cpu, "MHz", |all| Amounts { cpu_mhz: all.cpu_mhz, ..Amounts::default() }),
        (Asked::Memory, "MiB", |all| Amounts { memory_mib: all.memory_mib, ..Amounts::default() }),
        (Asked::Disk, "MiB", |all| Amounts { disk_mib: all.disk_mib, ..Amounts::default() }),
    ];
    let capacity = ask.capacity_on(room.fleet(), slot);
    let sum = |amounts: Amounts| amounts.cpu_mhz + amounts.memory_mib + amounts.disk_mib;
    let quantities = quantities.map(|(asked, unit, only)| Tried {
        asked,
        demand: format!("{} {unit}", sum(only(capacity.into()))),
        found: Some(format!(
            "{} {unit} free of {}",
            sum(only(room.free(slot))),
            sum(only(room.usable(slot)))
        )),
        is_met: room.has(slot, capacity, only),
    });
    let mut tried = Vec::from(quantities);
    tried.extend(room.allocs_of(slot).map(|(count, most)| Tried {
        asked: Asked::Allocs,
        demand: "one alloc more".to_string(),
        found: Some(format!("{count} of at most {most}")),
        is_met: count < most,
    }));
    tried.extend(of_pieces(slot, ask.group, room));
    let said = |is_free: bool| Some(if is_free { "free" } else { "taken" }.to_string());
    for port in &ask.fixed {
        let is_met = room.has_port(slot, port.value);
        let demand = format!("{}={}", port.label, port.value);
        tried.push(Tried { asked: Asked::Port, demand, found: said(is_met), is_met });
    }
    let dynamic = ask.group.network.ports.iter().filter(|port| port.fixed.is_none());
    let labels: Vec<String> = dynamic.map(|port| port.label.clone()).collect();
    if !labels.is_empty() {
        let is_met = room.grants(slot, ask, 0).is_ok();
        let found = Some(if is_met { "enough" } else { "too few" }.to_string());
        let demand = format!("dynamic: {}", labels.join(", "));
        tried.push(Tried { asked: Asked::Port, demand, found, is_met });
    }
    tried
}

/// Cores, and each device.
fn of_pieces(slot: NodeSlot, group: &Group, room: &Room<'_>) -> Vec<Tried> {
    let (mut tried, wanted) = (Vec::new(), group.core_count());
    if 0 < wanted {
        let (free, total) = room.shelf(slot).cores_left();
        tried.push(Tried {
            asked: Asked::Cores,
            demand: format!("{wanted} cores"),
            found: Some(format!("{free} free of {total}")),
            is_met: wanted <= free,
        });
    }
    tried.extend(group.device_asks().map(|ask| {
        let (free, total) = room.shelf(slot).devices_left(ask);
        Tried {
            asked: Asked::Devices,
            demand: format!("{} {}", ask.count, ask.name),
            found: Some(format!("{free} free of {total} that would do")),
            is_met: ask.count <= free,
        }
    }));
    tried
}
