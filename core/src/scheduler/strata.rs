//! Which suitable nodes are alike in all that a group's placing looks at beside room.
//!
//! A group may lean towards nodes (`affinity`), be spread over the values of attributes (`spread`), and
//! be limited in how many share a value (`distinct_property`); and one that asks for no devices leaves
//! those of others alone. Nodes that agree in all of that are a stratum: what counts for or against them
//! beside their room is one number, and so the best of a stratum is the one that fits best.
//!
//! Invariants
//! - two suitable nodes are of one stratum if and only if they have the same affinity, the same value of
//!   each key, and both or neither devices of which the group asks for none;
//! - a group that asks for none of it has one stratum where no node has devices.
//!
//! It knows no allocs: how many have which value is counted by `tally`.
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::feasible::{Demand, Subject, constraints_of, escapes_class, is_escaped};
use super::score::ONE;
use crate::state::State;
use crate::state::bits::Bits;
use crate::state::fleet::{ClassId, ClassKey};
use crate::types::{Affinity, Constraint, Group, JobSpec, NodeSlot, Operator, Spread};

/// The number of a value that a node does not have, and of the stratum of a node that is in none.
pub(super) const NONE: u32 = u32::MAX;

/// The values of one attribute.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Key {
    attribute: String,
    /// By number.
    names: Vec<String>,
    numbers: BTreeMap<String, u32>,
    /// By slot, of every node, suitable or not.
    of_slot: Vec<u32>,
    /// By number: the strata that have it.
    strata: Vec<Vec<u32>>,
}

impl Key {
    /// What it is called, in the order of their numbers.
    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    #[cfg(test)]
    pub(super) fn of_names(names: &[&str]) -> Self {
        let mut key = Self::default();
        for name in names {
            key.number(name);
        }
        key
    }

    fn number(&mut self, name: &str) -> u32 {
        if let Some(&known) = self.numbers.get(name) {
            return known;
        }
        let fresh = u32::try_from(self.names.len()).expect("invariant: fewer than 2^32 nodes");
        self.names.push(name.to_string());
        self.numbers.insert(name.to_string(), fresh);
        fresh
    }

    /// The value at the slot.
    pub(super) fn value(&self, slot: NodeSlot) -> u32 {
        self.of_slot.get(slot.0 as usize).copied().unwrap_or(NONE)
    }

    /// The strata of nodes that have the value.
    pub(super) fn strata(&self, value: u32) -> &[u32] {
        self.strata.get(value as usize).map_or(&[], Vec::as_slice)
    }

    /// What is written of a value; `None`: the node has none.
    pub(super) fn shown(&self, value: u32) -> (&str, Option<&str>) {
        (&self.attribute, self.names.get(value as usize).map(String::as_str))
    }
}

/// Nodes that are alike.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Stratum {
    /// What the affinities say, in `ONE`ths.
    pub(super) affinity: i64,
    /// Of each key.
    pub(super) values: Vec<u32>,
    /// Its nodes have devices, and the group asks for none.
    pub(super) has_idle_devices: bool,
    /// Of its nodes, those that may be placed on.
    pub(super) placeable_count: u32,
}

/// See the module.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Strata {
    /// By slot. Empty: every suitable node is of the only one.
    of_slot: Vec<u32>,
    pub(super) list: Vec<Stratum>,
    /// Of the spreads, then of the limits.
    pub(super) keys: Vec<Key>,
}

impl Default for Strata {
    /// Of a group that asks for nothing.
    fn default() -> Self {
        Self { of_slot: Vec::new(), list: vec![Stratum::default()], keys: Vec::new() }
    }
}

/// All that spreads a group, or limits it.
pub(super) struct Leanings<'a> {
    affinities: Vec<&'a Affinity>,
    /// The group's own, then its job's.
    pub(super) spreads: Vec<&'a Spread>,
    pub(super) limits: Vec<Limited<'a>>,
}

/// Among whose allocs at most so many share a value.
pub(super) struct Limited<'a> {
    attribute: &'a str,
    pub(super) most: u32,
    pub(super) within: Within,
}

/// Whose allocs are counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Within {
    Group,
    Job,
}

impl<'a> Leanings<'a> {
    pub(super) fn of(spec: &'a JobSpec, group: &'a Group) -> Self {
        let limited = |within| {
            move |constraint: &'a Constraint| {
                let is_limit = constraint.operator == Operator::DistinctProperty;
                is_limit.then(|| Limited {
                    attribute: &constraint.left,
                    most: constraint.right.parse().unwrap_or(1),
                    within,
                })
            }
        };
        let of_job = spec.constraints.iter().filter_map(limited(Within::Job));
        let of_group = constraints_of(group).filter_map(limited(Within::Group));
        Self {
            affinities: affinities_of(spec, group).collect(),
            spreads: group.spreads.iter().chain(&spec.spreads).collect(),
            limits: of_job.chain(of_group).collect(),
        }
    }

    /// The sum of the spreads' weights.
    pub(super) fn weights(&self) -> u64 {
        self.spreads.iter().map(|spread| u64::from(spread.weight)).sum()
    }

    fn is_empty(&self) -> bool {
        self.affinities.is_empty() && self.spreads.is_empty() && self.limits.is_empty()
    }
}

/// The job's, the group's, and those of its tasks.
pub(super) fn affinities_of<'a>(
    spec: &'a JobSpec,
    group: &'a Group,
) -> impl Iterator<Item = &'a Affinity> + Clone {
    let tasks = group.tasks.iter().flat_map(|task| &task.affinities);
    spec.affinities.iter().chain(&group.affinities).chain(tasks)
}

/// What nodes of a class have in common.
#[derive(Clone)]
struct Common {
    weight: i64,
    values: Vec<u32>,
    has_idle_devices: bool,
    /// Where nothing is a node's alone: their stratum, once there is one.
    stratum: Option<u32>,
}

/// Strata while they are being made.
struct Making<'a> {
    spec: &'a JobSpec,
    shared: Vec<(Demand<'a>, i64)>,
    escaped: Vec<(Demand<'a>, i64)>,
    /// The sum of all weights, without their signs.
    weights: i64,
    attributes: Vec<&'a str>,
    wants_devices: bool,
    keys: Vec<Key>,
    numbers: BTreeMap<(i64, Vec<u32>, bool), u32>,
    list: Vec<Stratum>,
}

impl Strata {
    /// The strata of `suitable` nodes.
    pub(super) fn of(state: &State, spec: &JobSpec, group: &Group, suitable: &Bits) -> Self {
        let (leanings, fleet) = (Leanings::of(spec, group), state.fleet());
        let wants_devices = group.device_asks().next().is_some();
        if leanings.is_empty() && (wants_devices || !fleet.has_devices()) {
            return Self::default();
        }
        let mut making = Making::of(spec, &leanings, wants_devices);
        let mut classes: Vec<Option<Common>> = vec![None; fleet.class_count()];
        let mut of_slot = vec![NONE; fleet.len()];
        for slot in fleet.slots() {
            let ClassId(class) = fleet.class(slot);
            let common = classes[class as usize]
                .get_or_insert_with(|| making.common(fleet.class_key(ClassId(class))));
            let stratum = making.take(state, slot, common, suitable.has(slot));
            if let Some(stratum) = stratum {
                of_slot[slot.0 as usize] = stratum;
                let is_placeable = fleet.is_placeable(slot);
                making.list[stratum as usize].placeable_count += u32::from(is_placeable);
            }
        }
        making.into_strata(of_slot)
    }

    /// Which stratum a suitable node is of; `None` of one that is not suitable.
    pub(super) fn at(&self, slot: NodeSlot) -> Option<usize> {
        if self.of_slot.is_empty() {
            return Some(0);
        }
        let number = self.of_slot.get(slot.0 as usize).copied().unwrap_or(NONE);
        (number != NONE).then_some(number as usize)
    }

    /// The strata by slot, where there are several.
    pub(super) fn by_slot(&self) -> &[u32] {
        &self.of_slot
    }
}

impl<'a> Making<'a> {
    fn of(spec: &'a JobSpec, leanings: &Leanings<'a>, wants_devices: bool) -> Self {
        let demand = |one: &&'a Affinity| {
            let demand = Demand::of(&one.left, one.operator, &one.right);
            (demand, i64::from(one.weight))
        };
        let affinities = leanings.affinities.iter();
        let weights = affinities.clone().map(|one| i64::from(one.weight).abs()).sum();
        let (escaped, shared) = affinities
            .map(demand)
            .partition::<Vec<_>, _>(|(demand, _)| escapes_class(demand.left, demand.right));
        let spreads = leanings.spreads.iter().map(|spread| spread.attribute.as_str());
        let attributes: Vec<&str> =
            spreads.chain(leanings.limits.iter().map(|limited| limited.attribute)).collect();
        let key = |attribute: &&str| Key { attribute: (*attribute).to_string(), ..Key::default() };
        let keys = attributes.iter().map(key).collect();
        let (numbers, list) = (BTreeMap::new(), Vec::new());
        Self { spec, shared, escaped, weights, attributes, wants_devices, keys, numbers, list }
    }

    fn is_shared(&self) -> bool {
        self.escaped.is_empty() && !self.attributes.iter().any(|attribute| is_escaped(attribute))
    }

    fn value(&mut self, nth: usize, subject: Subject<'_>) -> u32 {
        match subject.resolve(self.attributes[nth], self.spec) {
            Some(name) => self.keys[nth].number(&name),
            None => NONE,
        }
    }

    fn common(&mut self, class: &ClassKey) -> Common {
        let subject = Subject::Class(class);
        let weight = weight_of(&self.shared, self.spec, subject);
        let values = (0..self.keys.len()).map(|nth| match is_escaped(self.attributes[nth]) {
            true => NONE,
            false => self.value(nth, subject),
        });
        let values = values.collect();
        let has_idle_devices = !self.wants_devices && class.has_devices();
        Common { weight, values, has_idle_devices, stratum: None }
    }

    /// Note the node's values, and which stratum it is of.
    fn take(
        &mut self,
        state: &State,
        slot: NodeSlot,
        common: &mut Common,
        is_suitable: bool,
    ) -> Option<u32> {
        let (mut weight, mut values) = (common.weight, common.values.clone());
        if !self.is_shared() {
            let node =
                state.node_at(slot).expect("invariant: the fleet has the nodes of the table");
            weight += weight_of(&self.escaped, self.spec, Subject::Node(node));
            for (nth, value) in values.iter_mut().enumerate() {
                if is_escaped(self.attributes[nth]) {
                    *value = self.value(nth, Subject::Node(node));
                }
            }
        }
        for (key, &value) in self.keys.iter_mut().zip(&values) {
            key.of_slot.resize(slot.0 as usize, NONE);
            key.of_slot.push(value);
        }
        if !is_suitable {
            return None;
        }
        let known = common.stratum.filter(|_| self.is_shared());
        let stratum =
            known.unwrap_or_else(|| self.stratum(weight, values, common.has_idle_devices));
        common.stratum = Some(stratum);
        Some(stratum)
    }

    fn stratum(&mut self, weight: i64, values: Vec<u32>, has_idle_devices: bool) -> u32 {
        let affinity = if planted!(AffinityIgnored) {
            0
        } else {
            (weight * ONE).checked_div(self.weights).unwrap_or(0)
        };
        let list = &mut self.list;
        let alike = (affinity, values, has_idle_devices);
        *self.numbers.entry(alike).or_insert_with_key(|(_, values, _)| {
            let values = values.clone();
            list.push(Stratum { affinity, values, has_idle_devices, placeable_count: 0 });
            u32::try_from(list.len() - 1).expect("invariant: fewer than 2^32 nodes")
        })
    }

    fn into_strata(mut self, of_slot: Vec<u32>) -> Strata {
        if self.list.is_empty() {
            // No node is suitable; one stratum is there always.
            self.list.push(Stratum { values: vec![NONE; self.keys.len()], ..Stratum::default() });
        }
        for (nth, key) in self.keys.iter_mut().enumerate() {
            key.strata.resize_with(key.names.len(), Vec::new);
            for (number, stratum) in (0..).zip(&self.list) {
                if let Some(strata) = key.strata.get_mut(stratum.values[nth] as usize) {
                    strata.push(number);
                }
            }
        }
        Strata { of_slot, list: self.list, keys: self.keys }
    }
}

/// The sum of the weights of those that hold.
fn weight_of(affinities: &[(Demand<'_>, i64)], spec: &JobSpec, subject: Subject<'_>) -> i64 {
    let met = affinities.iter().filter(|(demand, _)| demand.holds(spec, subject));
    met.map(|(_, weight)| weight).sum()
}
