//! How all nodes compare for one alloc: for people, where nothing is placed, or where they ask.
//!
//! Invariants
//! - looking changes nothing, so what is placed is the same whether or not somebody looks;
//! - what is counted is what is true now, of every node that may be placed on.
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::Ranking;
use crate::scheduler::crowd::Crowd;
use crate::scheduler::feasible::{DISTINCT_HOSTS, DISTINCT_PROPERTY, count_of};
use crate::scheduler::lanes::Candidate;
use crate::scheduler::look::Standing;
use crate::scheduler::room::Room;
use crate::scheduler::score::{Against, Leaned, parts, permille};
use crate::state::fits::Shortage;
use crate::types::{DeviceAsk, NodeSlot, PlacementFailure};

/// How the nodes compared when an alloc was placed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Choice {
    /// Nodes that were looked at: by datacenter, excluded and by what, without room and for lack of what.
    pub looked_at: PlacementFailure,
    /// Of the nodes that could take it and did not, the best, and its score in thousandths.
    pub runner_up: Option<(NodeSlot, i32)>,
}

/// The nodes that may take an alloc, before one does.
pub(in crate::scheduler) struct Field {
    looked_at: PlacementFailure,
    best: Option<Candidate>,
    second: Option<Candidate>,
}

impl Field {
    fn enter(&mut self, candidate: Candidate) {
        let candidate = Some(candidate);
        if self.best < candidate {
            self.second = self.best;
            self.best = candidate;
        } else {
            self.second = self.second.max(candidate);
        }
    }

    /// `slot` was chosen.
    pub(in crate::scheduler) fn without(self, slot: NodeSlot) -> Choice {
        let others = [self.best, self.second].into_iter().flatten();
        let runner_up = others
            .map(|(score, Reverse(other))| (other, permille(score)))
            .find(|&(other, _)| other != slot);
        Choice { looked_at: self.looked_at, runner_up }
    }
}

impl Ranking<'_> {
    /// Why nothing more could be placed, and what would have fitted best.
    pub(in crate::scheduler) fn failure(&self, room: &Room<'_>, crowd: &Crowd) -> PlacementFailure {
        let field = self.survey(&[], room, crowd);
        assert!(field.best.is_none(), "what has room is placed on");
        field.looked_at
    }

    /// How the nodes compare for one alloc more, which failed on those that are `avoided`. Only here is
    /// every node looked at.
    pub(in crate::scheduler) fn survey(
        &self,
        avoided: &[NodeSlot],
        room: &Room<'_>,
        crowd: &Crowd,
    ) -> Field {
        let mut field = Field { looked_at: PlacementFailure::default(), best: None, second: None };
        let looked_at = self.compare(avoided, room, crowd, &mut |candidate| field.enter(candidate));
        Field { looked_at, ..field }
    }

    /// The nodes that may take one alloc more, the best first.
    pub(in crate::scheduler) fn candidates(
        &self,
        avoided: &[NodeSlot],
        room: &Room<'_>,
        crowd: &Crowd,
    ) -> (PlacementFailure, Vec<Standing>) {
        let mut found: Vec<Candidate> = Vec::new();
        let looked_at = self.compare(avoided, room, crowd, &mut |candidate| found.push(candidate));
        found.sort_unstable_by_key(|&candidate| Reverse(candidate));
        let standing = |(score, Reverse(slot)): Candidate| {
            let failed_before = avoided.contains(&slot);
            let against = Against { failed_before, ..self.against(slot, crowd) };
            let strata = &self.subject.suitable.strata;
            let lane = strata.at(slot).expect("invariant: a suitable node is of a stratum");
            let (affinity, spread) =
                (strata.list[lane].affinity, self.wanted.spread_of_lane(lane, strata));
            let kept = self.wanted.kept_of_lane(lane, strata);
            let devices = self.devices(slot, room).total() + kept;
            let leanings = Leaned { affinity, spread, devices };
            let parts = parts(self.fit(slot, room), against, leanings);
            Standing { slot, score_permille: permille(score), parts }
        };
        (looked_at, found.into_iter().map(standing).collect())
    }

    /// Look at every node; `enter` hears of those that may take one alloc more.
    fn compare(
        &self,
        avoided: &[NodeSlot],
        room: &Room<'_>,
        crowd: &Crowd,
        enter: &mut dyn FnMut(Candidate),
    ) -> PlacementFailure {
        let suitable = &self.subject.suitable;
        let mut looked_at = PlacementFailure {
            nodes_evaluated: suitable.evaluated_count,
            nodes_available: suitable.available.clone(),
            nodes_in_pool: suitable.in_pool_count,
            filtered: suitable.filtered.clone(),
            ..PlacementFailure::default()
        };
        let mut nearest = None;
        // The two that are common are counted apart, for speed.
        let (mut cpu, mut memory) = (0, 0);
        let mut exhausted: BTreeMap<Shortage, u32> = BTreeMap::new();
        for slot in suitable.nodes.iter().filter(|&slot| room.is_placeable(slot)) {
            let free = room.free(slot).to_capacity();
            let ask = self.subject.ask.capacity_on(room.fleet(), slot);
            let (pieces_met, pieces) = self.pieces_met(slot, room);
            let met = u8::from(ask.cpu_mhz <= free.cpu_mhz)
                + u8::from(ask.memory_mib <= free.memory_mib)
                + u8::from(ask.disk_mib <= free.disk_mib)
                + pieces_met;
            let room_left = (met, pieces, free.memory_mib, free.cpu_mhz, free.disk_mib);
            nearest = nearest.max(Some((room_left, Reverse(slot))));
            if self.is_crowded(slot, crowd) {
                *count_of(&mut looked_at.filtered, DISTINCT_HOSTS) += 1;
                continue;
            }
            if let Some(why) = self.limited_by(slot) {
                *count_of(&mut looked_at.filtered, &why) += 1;
                continue;
            }
            match room.lacking(slot, &self.subject.ask) {
                None => {
                    let score = self.score(slot, avoided.contains(&slot), room, crowd);
                    enter((score, Reverse(slot)));
                }
                Some(Shortage::Cpu) => cpu += 1,
                Some(Shortage::Memory) => memory += 1,
                Some(
                    lacking @ (Shortage::NotPlaceable
                    | Shortage::Disk
                    | Shortage::Allocs
                    | Shortage::Port { .. }
                    | Shortage::DynamicPorts
                    | Shortage::Cores
                    | Shortage::Devices
                    | Shortage::Kept),
                ) => *exhausted.entry(lacking).or_default() += 1,
            }
        }
        exhausted.insert(Shortage::Cpu, cpu);
        exhausted.insert(Shortage::Memory, memory);
        exhausted.retain(|_, nodes| 0 < *nodes);
        let named = exhausted.into_iter().map(|(lacking, nodes)| (lacking.to_string(), nodes));
        looked_at.exhausted = named.collect();
        looked_at.nearest =
            nearest.and_then(|(_, Reverse(slot))| room.near_miss(slot, &self.subject.ask));
        looked_at
    }

    /// How many kinds of pieces the node has enough of, and how many pieces that are asked for.
    fn pieces_met(&self, slot: NodeSlot, room: &Room<'_>) -> (u8, u32) {
        let ask = &self.subject.ask;
        if !ask.wants_pieces {
            return (0, 0);
        }
        let (shelf, wanted) = (room.shelf(slot), ask.group.core_count());
        let of_device = |ask: &DeviceAsk| (ask.count, shelf.devices_left(ask).0);
        let devices = ask.group.device_asks().map(of_device);
        let free = shelf.cores_left().0;
        let has_devices = devices.clone().all(|(wanted, free)| wanted <= free);
        let of_both =
            devices.map(|(wanted, free)| wanted.min(free)).sum::<u32>() + wanted.min(free);
        (u8::from(wanted <= free) + u8::from(has_devices), of_both)
    }

    /// Which limit keeps allocs from the node, in Nomad's words.
    fn limited_by(&self, slot: NodeSlot) -> Option<String> {
        let strata = &self.subject.suitable.strata;
        let lane = strata.at(slot)?;
        let (key, count) = self.wanted.reached(lane, strata)?;
        let (attribute, value) = strata.keys[key].shown(strata.list[lane].values[key]);
        Some(match value {
            Some(value) => {
                format!("{DISTINCT_PROPERTY}: {attribute}={value} used by {count} allocs")
            }
            None => format!("{DISTINCT_PROPERTY}: missing property \"{attribute}\""),
        })
    }
}
