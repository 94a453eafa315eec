//! Which nodes a group may run on at all, whatever their room.
//!
//! Nodes of one class meet the same demands, so a class is judged once per scheduling. Demands that
//! look at what is a node's alone (`unique.` attributes, its id, its name) escape the class and are
//! judged for each node.
//!
//! Invariants
//! - a node is judged the same through the memo as without it;
//! - a node outside the job's datacenters was not looked at: it counts neither as evaluated nor as
//!   filtered.
use alloc::borrow::Cow;
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use regex::Regex;

use super::compare;
use crate::state::fleet::ClassId;
use crate::types::{Constraint, Group, JobSpec, Node, Operator, PlacementFailure};

/// What excludes a node whose drivers are missing or unhealthy (Nomad's words).
const MISSING_DRIVERS: &str = "missing drivers";
/// What excludes a node that already has an alloc of the job or group (Nomad's words).
pub(super) const DISTINCT_HOSTS: &str = "distinct_hosts";

/// How a node looks to a group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Judgement {
    /// In none of the job's datacenters.
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
struct Demand<'a> {
    constraint: &'a Constraint,
    /// The expression of a `regexp` whose right side is the same for every node.
    regex: Option<Regex>,
}

impl<'a> Demand<'a> {
    fn of(constraint: &'a Constraint) -> Self {
        let fixed = constraint.operator == Operator::Regexp && !constraint.right.contains("${");
        let regex = if fixed { compare::compile(&constraint.right) } else { None };
        Self { constraint, regex }
    }

    fn holds(&self, spec: &JobSpec, node: &Node) -> bool {
        let left = resolve(&self.constraint.left, spec, node);
        if let Some(regex) = &self.regex {
            return left.is_some_and(|left| regex.is_match(&left));
        }
        let right = resolve(&self.constraint.right, spec, node);
        compare::holds(left.as_deref(), self.constraint.operator, right.as_deref())
    }

    fn written(&self) -> String {
        let Constraint { left, operator, right } = self.constraint;
        compare::written(left, *operator, right)
    }
}

/// All that a group demands of a node, with the classes already judged.
pub(super) struct Feasibility<'a> {
    spec: &'a JobSpec,
    drivers: BTreeSet<&'a str>,
    shared: Vec<Demand<'a>>,
    escaped: Vec<Demand<'a>>,
    pub(super) distinct: Distinct,
    memo: Vec<Option<Judgement>>,
}

impl<'a> Feasibility<'a> {
    /// The demands of `group` and of its job, for nodes of `class_count` classes.
    pub(super) fn of(spec: &'a JobSpec, group: &'a Group, class_count: usize) -> Self {
        let tasks = group.tasks.iter().flat_map(|task| &task.constraints);
        let of_group = group.constraints.iter().chain(tasks);
        let distinct = if spec.constraints.iter().any(asks_distinct) {
            Distinct::WithinJob
        } else if of_group.clone().any(asks_distinct) {
            Distinct::WithinGroup
        } else {
            Distinct::Nobody
        };
        let (escaped, shared) = spec
            .constraints
            .iter()
            .chain(of_group)
            .filter(|constraint| constraint.operator != Operator::DistinctHosts)
            .partition::<Vec<_>, _>(|constraint| escapes_class(constraint));
        Self {
            spec,
            drivers: group.tasks.iter().map(|task| task.driver.as_str()).collect(),
            shared: shared.into_iter().map(Demand::of).collect(),
            escaped: escaped.into_iter().map(Demand::of).collect(),
            distinct,
            memo: vec![None; class_count],
        }
    }

    /// Counts of zero, with the datacenters that the job names in full.
    pub(super) fn empty_tally(&self) -> PlacementFailure {
        let named = self.spec.datacenters.iter().filter(|name| !name.contains(['*', '?']));
        PlacementFailure {
            nodes_available: named.map(|name| (name.clone(), 0)).collect(),
            ..PlacementFailure::default()
        }
    }

    /// Whether the group may run on `node`, which is of `class`.
    pub(super) fn judge(&mut self, class: ClassId, node: &Node) -> Judgement {
        let at = class.0 as usize;
        let judgement = match &self.memo[at] {
            Some(known) => known.clone(),
            None => {
                let fresh = self.judge_class(node);
                self.memo[at] = Some(fresh.clone());
                fresh
            }
        };
        match judgement {
            Judgement::Fit => self.judge_demands(&self.escaped, node),
            Judgement::Elsewhere | Judgement::Unfit(_) => judgement,
        }
    }

    fn judge_class(&self, node: &Node) -> Judgement {
        let within = |pattern: &String| compare::glob_matches(pattern, &node.spec.datacenter);
        if !self.spec.datacenters.iter().any(within) {
            return Judgement::Elsewhere;
        }
        if !self.drivers.iter().all(|driver| runs_driver(node, driver)) {
            return Judgement::Unfit(MISSING_DRIVERS.to_string());
        }
        self.judge_demands(&self.shared, node)
    }

    fn judge_demands(&self, demands: &[Demand<'_>], node: &Node) -> Judgement {
        match demands.iter().find(|demand| !demand.holds(self.spec, node)) {
            Some(broken) => Judgement::Unfit(broken.written()),
            None => Judgement::Fit,
        }
    }
}

fn runs_driver(node: &Node, driver: &str) -> bool {
    node.spec.drivers.get(driver).is_some_and(|info| info.detected && info.healthy)
}

fn asks_distinct(constraint: &Constraint) -> bool {
    constraint.operator == Operator::DistinctHosts && constraint.right != "false"
}

fn escapes_class(constraint: &Constraint) -> bool {
    let unique = |side: &str| {
        ["${attr.unique.", "${meta.unique.", "${node.unique."]
            .iter()
            .any(|prefix| side.starts_with(prefix))
    };
    unique(&constraint.left) || unique(&constraint.right)
}

/// What one side of a constraint is on `node`; `None` if the node has no such thing.
fn resolve<'n>(side: &'n str, spec: &'n JobSpec, node: &'n Node) -> Option<Cow<'n, str>> {
    let Some(name) = side.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
        return Some(Cow::Borrowed(side));
    };
    if let Some(key) = name.strip_prefix("attr.") {
        return node.spec.attributes.get(key).map(|value| Cow::Borrowed(value.as_str()));
    }
    if let Some(key) = name.strip_prefix("meta.") {
        return node.spec.meta.get(key).map(|value| Cow::Borrowed(value.as_str()));
    }
    match name {
        "node.datacenter" => Some(Cow::Borrowed(&node.spec.datacenter)),
        "node.class" => Some(Cow::Borrowed(&node.spec.class)),
        "node.unique.name" => Some(Cow::Borrowed(&node.spec.name)),
        "node.unique.id" => Some(Cow::Owned(node.spec.id.uuid().to_string())),
        // Servers only know nodes of their own region, and a job is only run in its own.
        "node.region" => Some(Cow::Borrowed(&spec.region)),
        _ => None,
    }
}
