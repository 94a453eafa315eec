//! Which nodes a group may run on at all, whatever their room.
//!
//! Nodes of one class meet the same demands, so a class is judged once. Demands that look at what is a
//! node's alone (`unique.` attributes, its id, its name) escape the class and are judged for each node.
//! What comes out is a set of slots, which `memo` keeps for whoever demands the same.
//!
//! Invariants
//! - a node is judged by its class as it would be alone;
//! - a node outside the job's pool or its datacenters was not looked at: it counts neither as
//!   evaluated nor as filtered.
use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use regex::Regex;

use super::compare;
use super::devices;
use super::look::{Asked, Tried};
use super::strata::Strata;
use crate::state::State;
use crate::state::bits::Bits;
use crate::state::fleet::ClassKey;
use crate::types::{
    Access, CONSUL_VERSION, Constraint, Group, JobSpec, Named, Node, NodeSlot, Operator, PoolName,
    VolumeAsk,
};

/// What excludes a node whose drivers are missing or unhealthy (Nomad's words).
const MISSING_DRIVERS: &str = "missing drivers";
/// What excludes a node that has no such devices, or too few (Nomad's words).
const MISSING_DEVICES: &str = "missing devices";
/// What excludes a node that lacks a volume, or has it only to read (Nomad's words).
const MISSING_VOLUMES: &str = "missing compatible host volumes";
/// What excludes a node beside which no Consul agent was found.
const MISSING_CONSUL: &str = "missing consul";
/// What excludes a node that already has an alloc of the job or group (Nomad's words).
pub(super) const DISTINCT_HOSTS: &str = "distinct_hosts";
/// How what excludes a node begins whose value of an attribute has as many allocs as it may (Nomad's
/// word).
pub(super) const DISTINCT_PROPERTY: &str = "distinct_property";

/// How a class, or a node, looks to a group.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Judgement {
    /// Not in the job's pool, or in none of its datacenters.
    Elsewhere,
    /// Excluded, by what.
    Unfit(String),
    Fit,
}

/// Among which allocs no two may share a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Distinct {
    Nobody,
    WithinGroup,
    WithinJob,
}

/// One constraint, made ready to be tried often.
pub(super) struct Demand<'a> {
    pub(super) left: &'a str,
    operator: Operator,
    pub(super) right: &'a str,
    /// The expression of a `regexp` whose right side is the same for every node.
    regex: Option<Regex>,
}

impl<'a> Demand<'a> {
    pub(super) fn of(left: &'a str, operator: Operator, right: &'a str) -> Self {
        let fixed = operator == Operator::Regexp && !right.contains("${");
        let regex = if fixed { compare::compile(right) } else { None };
        Self { left, operator, right, regex }
    }

    pub(super) fn holds(&self, spec: &JobSpec, subject: Subject<'_>) -> bool {
        let left = subject.resolve(self.left, spec);
        if let Some(regex) = &self.regex {
            return left.is_some_and(|left| regex.is_match(&left));
        }
        let right = subject.resolve(self.right, spec);
        compare::holds(left.as_deref(), self.operator, right.as_deref())
    }

    fn written(&self) -> String {
        compare::written(self.left, self.operator, self.right)
    }

    /// Whether it holds, with what was compared.
    fn tried(&self, spec: &JobSpec, subject: Subject<'_>) -> Tried {
        let found = subject.resolve(self.left, spec).map(Cow::into_owned);
        let other = subject.resolve(self.right, spec).filter(|other| *other != self.right);
        let found = match (found, other) {
            (Some(found), Some(other)) => Some(format!("{found}, and {} is {other}", self.right)),
            (found, _) => found,
        };
        let is_met = self.holds(spec, subject);
        Tried { asked: Asked::Constraint, demand: self.written(), found, is_met }
    }
}

/// Among which of the group's allocs, or its job's, no two may share a node.
pub(super) fn distinct(spec: &JobSpec, group: &Group) -> Distinct {
    if spec.constraints.iter().any(asks_distinct) {
        Distinct::WithinJob
    } else if constraints_of(group).any(asks_distinct) {
        Distinct::WithinGroup
    } else {
        Distinct::Nobody
    }
}

/// The group's own, and those of its tasks.
pub(super) fn constraints_of(group: &Group) -> impl Iterator<Item = &Constraint> + Clone {
    let tasks = group.tasks.iter().flat_map(|task| &task.constraints);
    group.constraints.iter().chain(tasks)
}

/// Whether one of the groups is limited in how many share a value.
pub(super) fn is_limited(spec: &JobSpec) -> bool {
    let all = spec.constraints.iter().chain(spec.groups.iter().flat_map(constraints_of));
    all.into_iter().any(|constraint| constraint.operator == Operator::DistinctProperty)
}

/// Nodes that meet all demands of a group, and how many of those that may be placed on do not.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Suitable {
    /// With room or without, and whether or not they may be placed on now.
    pub(super) nodes: Bits,
    pub(super) evaluated_count: u32,
    /// In the job's pool, whatever their datacenter.
    pub(super) in_pool_count: u32,
    /// By datacenter.
    pub(super) available: BTreeMap<String, u32>,
    /// By the reason, as users write it.
    pub(super) filtered: BTreeMap<String, u32>,
    pub(super) filtered_count: u32,
    /// Which of the nodes are alike in what counts beside room.
    pub(super) strata: Strata,
}

/// All that a group demands of a node.
pub(super) struct Feasibility<'a> {
    spec: &'a JobSpec,
    group: &'a Group,
    drivers: BTreeSet<&'a str>,
    shared: Vec<Demand<'a>>,
    escaped: Vec<Demand<'a>>,
}

/// A class that was judged, and its nodes that may be placed on.
struct Judged {
    judgement: Judgement,
    placeable_count: u32,
}

impl<'a> Feasibility<'a> {
    /// The demands of `group` and of its job.
    pub(super) fn of(spec: &'a JobSpec, group: &'a Group) -> Self {
        let (escaped, shared) = spec
            .constraints
            .iter()
            .chain(constraints_of(group))
            .filter(|constraint| !is_distinct(constraint.operator))
            .map(|constraint| Demand::of(&constraint.left, constraint.operator, &constraint.right))
            .partition::<Vec<_>, _>(|demand| escapes_class(demand.left, demand.right));
        Self {
            spec,
            group,
            drivers: group.tasks.iter().map(|task| task.driver.as_str()).collect(),
            shared,
            escaped,
        }
    }

    /// Judge every node of the state.
    pub(super) fn suitable(&self, state: &State) -> Suitable {
        let fleet = state.fleet();
        // Datacenters that the job names in full are counted even where there is nothing.
        let named = self.spec.datacenters.iter().filter(|name| !name.contains(['*', '?']));
        let available = named.map(|name| (name.clone(), 0)).collect();
        let mut suitable = Suitable { available, ..Suitable::default() };
        let mut classes = Vec::new();
        classes.resize_with(fleet.class_count(), || None);
        for slot in fleet.slots() {
            let class = fleet.class(slot);
            let judged = classes[class.0 as usize].get_or_insert_with(|| Judged {
                judgement: self.judge_class(fleet.class_key(class)),
                placeable_count: 0,
            });
            judged.placeable_count += u32::from(fleet.is_placeable(slot));
            if judged.judgement == Judgement::Fit {
                self.judge_node(state, slot, &mut suitable);
            }
        }
        for (class, judged) in (0..).zip(classes) {
            let Some(Judged { judgement, placeable_count: 1.. }) = &judged else { continue };
            let key = fleet.class_key(crate::state::fleet::ClassId(class));
            let count = judged.as_ref().map_or(0, |judged| judged.placeable_count);
            if self.spec.node_pool.covers(&key.pool) {
                suitable.in_pool_count += count;
            }
            match judgement {
                Judgement::Elsewhere => continue,
                Judgement::Unfit(why) => *count_of(&mut suitable.filtered, why) += count,
                Judgement::Fit => {}
            }
            suitable.evaluated_count += count;
            *count_of(&mut suitable.available, &key.datacenter) += count;
        }
        suitable.filtered_count = suitable.filtered.values().sum();
        suitable.strata = Strata::of(state, self.spec, self.group, &suitable.nodes);
        suitable
    }

    /// The node's class is suitable; whether the node itself is.
    fn judge_node(&self, state: &State, slot: NodeSlot, suitable: &mut Suitable) {
        if self.escaped.is_empty() {
            suitable.nodes.insert(slot);
            return;
        }
        let node = state.node_at(slot).expect("invariant: the fleet has the nodes of the table");
        match self.judge_demands(&self.escaped, Subject::Node(node)) {
            Judgement::Unfit(why) if state.fleet().is_placeable(slot) => {
                *count_of(&mut suitable.filtered, &why) += 1;
            }
            Judgement::Unfit(_) | Judgement::Elsewhere => {}
            Judgement::Fit => {
                suitable.nodes.insert(slot);
            }
        }
    }

    fn judge_class(&self, class: &ClassKey) -> Judgement {
        if !self.is_within(&class.pool, &class.datacenter) {
            return Judgement::Elsewhere;
        }
        if !self.drivers.iter().all(|&driver| class.drivers.contains(driver)) {
            return Judgement::Unfit(MISSING_DRIVERS.to_string());
        }
        if !devices::are_offered(&class.devices, self.group.device_asks()) {
            return Judgement::Unfit(MISSING_DEVICES.to_string());
        }
        if !self.group.volumes.values().all(|ask| offers(class, ask)) {
            return Judgement::Unfit(MISSING_VOLUMES.to_string());
        }
        if self.group.has_services() && !class.attributes.contains_key(CONSUL_VERSION) {
            return Judgement::Unfit(MISSING_CONSUL.to_string());
        }
        self.judge_demands(&self.shared, Subject::Class(class))
    }

    /// Whether nodes of the pool and the datacenter are looked at.
    fn is_within(&self, pool: &PoolName, datacenter: &str) -> bool {
        self.spec.node_pool.covers(pool) && self.is_in_datacenters(datacenter)
    }

    fn is_in_datacenters(&self, datacenter: &str) -> bool {
        self.spec.datacenters.iter().any(|pattern| compare::glob_matches(pattern, datacenter))
    }

    /// Whether the one node meets every demand.
    pub(super) fn admits(&self, state: &State, slot: NodeSlot) -> bool {
        let fleet = state.fleet();
        let (class, node) = (fleet.class_key(fleet.class(slot)), state.node_at(slot));
        let is_fit =
            |node| self.judge_demands(&self.escaped, Subject::Node(node)) == Judgement::Fit;
        self.judge_class(class) == Judgement::Fit && node.is_some_and(is_fit)
    }

    /// Whether the node meets what was demanded of it by name, drivers and volumes aside.
    pub(super) fn still_admits(&self, node: &Node) -> bool {
        let subject = Subject::Node(node);
        self.is_within(&node.spec.pool, &node.spec.datacenter)
            && self.judge_demands(&self.shared, subject) == Judgement::Fit
            && self.judge_demands(&self.escaped, subject) == Judgement::Fit
    }

    /// Every demand of the one node, in the order in which they are judged.
    pub(super) fn tried(&self, state: &State, slot: NodeSlot) -> Vec<Tried> {
        let fleet = state.fleet();
        let class = fleet.class_key(fleet.class(slot));
        let node = state.node_at(slot).expect("invariant: the fleet has the nodes of the table");
        let pool = Tried {
            asked: Asked::Pool,
            demand: self.spec.node_pool.to_string(),
            found: Some(class.pool.to_string()),
            is_met: self.spec.node_pool.covers(&class.pool),
        };
        let datacenter = Tried {
            asked: Asked::Datacenter,
            demand: self.spec.datacenters.join(", "),
            found: Some(class.datacenter.clone()),
            is_met: self.is_in_datacenters(&class.datacenter),
        };
        let mut tried = vec![pool, datacenter];
        tried.extend(self.drivers.iter().map(|&driver| {
            let is_met = class.drivers.contains(driver);
            let found = is_met.then(|| "healthy".to_string());
            Tried { asked: Asked::Driver, demand: driver.to_string(), found, is_met }
        }));
        tried.extend(self.group.device_asks().map(|ask| {
            let is_met = devices::are_offered(&class.devices, [ask]);
            let demand = format!("{} {}", ask.count, ask.name);
            let found = is_met.then(|| "there".to_string());
            Tried { asked: Asked::Device, demand, found, is_met }
        }));
        tried.extend(self.group.volumes.values().map(|ask| tried_volume(class, ask)));
        tried.extend(self.group.has_services().then(|| {
            let found = class.attributes.get(CONSUL_VERSION).cloned();
            let (demand, is_met) = (CONSUL_VERSION.to_string(), found.is_some());
            Tried { asked: Asked::Consul, demand, found, is_met }
        }));
        let of = |demands: &[Demand<'_>], subject| -> Vec<Tried> {
            demands.iter().map(|demand| demand.tried(self.spec, subject)).collect()
        };
        tried.extend(of(&self.shared, Subject::Class(class)));
        tried.extend(of(&self.escaped, Subject::Node(node)));
        let is_fit = tried.iter().all(|one| one.is_met);
        assert!(is_fit == self.admits(state, slot), "who meets every demand is admitted");
        tried
    }

    fn judge_demands(&self, demands: &[Demand<'_>], subject: Subject<'_>) -> Judgement {
        match demands.iter().find(|demand| !demand.holds(self.spec, subject)) {
            Some(broken) => Judgement::Unfit(broken.written()),
            None => Judgement::Fit,
        }
    }
}

/// Whether nodes of the class have the volume, and may lend it as it is asked for.
fn offers(class: &ClassKey, ask: &VolumeAsk) -> bool {
    let offered = class.host_volumes.get(&ask.source);
    let allows = |access: &Access| access.allows(ask.access) || planted!(ReadOnlyIgnored);
    offered.is_some_and(allows) || planted!(VolumesIgnored)
}

fn tried_volume(class: &ClassKey, ask: &VolumeAsk) -> Tried {
    let word = |access: Access| if access.is_read_only() { "read-only" } else { "read-write" };
    Tried {
        asked: Asked::Volume,
        demand: format!("{}, {}", ask.source, word(ask.access)),
        found: class.host_volumes.get(&ask.source).map(|&access| word(access).to_string()),
        is_met: offers(class, ask),
    }
}

/// The count of `what`, which begins at nothing.
pub(super) fn count_of<'m>(counts: &'m mut BTreeMap<String, u32>, what: &str) -> &'m mut u32 {
    if !counts.contains_key(what) {
        counts.insert(what.to_string(), 0);
    }
    counts.get_mut(what).expect("invariant: it was put there")
}

fn asks_distinct(constraint: &Constraint) -> bool {
    constraint.operator == Operator::DistinctHosts && constraint.right != "false"
}

/// Whether it asks who else is there, and not what the node is.
const fn is_distinct(operator: Operator) -> bool {
    matches!(operator, Operator::DistinctHosts | Operator::DistinctProperty)
}

/// Whether a demand with these sides looks at what is a node's alone.
pub(super) fn escapes_class(left: &str, right: &str) -> bool {
    is_escaped(left) || is_escaped(right)
}

pub(super) fn is_escaped(side: &str) -> bool {
    ["${attr.unique.", "${meta.unique.", "${node.unique."]
        .iter()
        .any(|prefix| side.starts_with(prefix))
}

/// What a demand looks at.
#[derive(Clone, Copy)]
pub(super) enum Subject<'n> {
    Class(&'n ClassKey),
    Node(&'n Node),
}

impl<'n> Subject<'n> {
    fn attributes(self) -> &'n Named<String> {
        match self {
            Self::Class(class) => &class.attributes,
            Self::Node(node) => &node.spec.attributes,
        }
    }

    fn meta(self) -> &'n Named<String> {
        match self {
            Self::Class(class) => &class.meta,
            Self::Node(node) => &node.spec.meta,
        }
    }

    fn datacenter(self) -> &'n str {
        match self {
            Self::Class(class) => &class.datacenter,
            Self::Node(node) => &node.spec.datacenter,
        }
    }

    fn pool(self) -> &'n str {
        match self {
            Self::Class(class) => class.pool.as_str(),
            Self::Node(node) => node.spec.pool.as_str(),
        }
    }

    fn class(self) -> &'n str {
        match self {
            Self::Class(class) => &class.class,
            Self::Node(node) => &node.spec.class,
        }
    }

    /// What is a node's alone, which no class has.
    fn alone(self) -> Option<&'n Node> {
        match self {
            Self::Class(_) => None,
            Self::Node(node) => Some(node),
        }
    }

    /// What one side of a constraint is here; `None` if there is no such thing.
    pub(super) fn resolve(self, side: &'n str, spec: &'n JobSpec) -> Option<Cow<'n, str>> {
        let Some(name) = side.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
            return Some(Cow::Borrowed(side));
        };
        let text = |value: &'n String| Cow::Borrowed(value.as_str());
        if let Some(key) = name.strip_prefix("attr.") {
            return self.attributes().get(key).map(text);
        }
        if let Some(key) = name.strip_prefix("meta.") {
            return self.meta().get(key).map(text);
        }
        match name {
            "node.datacenter" => Some(Cow::Borrowed(self.datacenter())),
            "node.class" => Some(Cow::Borrowed(self.class())),
            "node.pool" => Some(Cow::Borrowed(self.pool())),
            "node.unique.name" => self.alone().map(|node| text(&node.spec.name)),
            "node.unique.id" => {
                self.alone().map(|node| Cow::Owned(node.spec.id.uuid().to_string()))
            }
            // Servers only know nodes of their own region, and a job is only run in its own.
            "node.region" => Some(Cow::Borrowed(&spec.region)),
            _ => None,
        }
    }
}
