//! What a group would rather have of a node, counted by the simplest means.
use drover_core::scheduler::score::Terms;
use drover_core::types::*;

use super::checker::holds;

/// The fixed point of a term.
const ONE: i128 = 1 << 32;

/// What the node has where the attribute looks.
pub(crate) fn value_of(attribute: &str, node: &Node) -> Option<String> {
    match attribute {
        "${node.datacenter}" => Some(node.spec.datacenter.clone()),
        "${node.class}" => Some(node.spec.class.clone()),
        "${node.unique.name}" => Some(node.spec.name.clone()),
        "${meta.rack}" => node.spec.meta.get("rack").cloned(),
        other => panic!("not an attribute of these tests: {other}"),
    }
}

/// The terms of affinity and spread for one more alloc on `node`; `placed` says how many of the group
/// are on each node.
pub(crate) fn terms(
    (spec, group): (&JobSpec, &Group),
    node: &Node,
    placed: &[(&Node, u32)],
) -> Terms {
    let [affinity, spread] = [affinity(spec, group, node), spread(spec, group, node, placed)]
        .map(|term| i64::try_from(term).expect("a small number"));
    Terms::default().with(affinity).with(spread)
}

fn affinity(spec: &JobSpec, group: &Group, node: &Node) -> i128 {
    let tasks = group.tasks.iter().flat_map(|task| &task.affinities);
    let all: Vec<&Affinity> =
        spec.affinities.iter().chain(&group.affinities).chain(tasks).collect();
    let met = all.iter().filter(|one| {
        let (left, operator, right) = (one.left.clone(), one.operator, one.right.clone());
        holds(&Constraint { left, operator, right }, node)
    });
    let sum: i128 = met.map(|one| i128::from(one.weight)).sum();
    let weights: i128 = all.iter().map(|one| i128::from(one.weight).abs()).sum();
    if weights == 0 { 0 } else { sum * ONE / weights }
}

fn spread(spec: &JobSpec, group: &Group, node: &Node, placed: &[(&Node, u32)]) -> i128 {
    let all = || group.spreads.iter().chain(&spec.spreads);
    let weights: i128 = all().map(|one| i128::from(one.weight)).sum();
    all().map(|one| boost(one, weights, i128::from(group.count), node, placed)).sum()
}

fn boost(
    spread: &Spread,
    weights: i128,
    count: i128,
    node: &Node,
    placed: &[(&Node, u32)],
) -> i128 {
    let Some(own) = value_of(&spread.attribute, node) else { return -ONE };
    let used_by = |value: &str| -> i128 {
        let has = |on: &&(&Node, u32)| value_of(&spread.attribute, on.0).as_deref() == Some(value);
        placed.iter().filter(has).map(|(_, count)| i128::from(*count)).sum()
    };
    let used = used_by(&own);
    if !spread.targets.is_empty() {
        let named: i128 = spread.targets.iter().map(|target| i128::from(target.percent)).sum();
        let target = spread.targets.iter().find(|target| target.value == own);
        let percent = target.map_or(100 - named, |target| i128::from(target.percent));
        let desired = percent * count;
        if desired == 0 {
            return -ONE;
        }
        let weight = i128::from(spread.weight);
        return (desired - 100 * (used + 1)) * weight * ONE / (desired * weights.max(1));
    }
    let in_use = placed.iter().filter(|(_, count)| 0 < *count);
    let in_use: Vec<i128> = in_use
        .filter_map(|(other, _)| value_of(&spread.attribute, other))
        .map(|value| used_by(&value))
        .collect();
    let (Some(&fewest), Some(&most)) = (in_use.iter().min(), in_use.iter().max()) else {
        return 0;
    };
    if used != fewest {
        (fewest - used) * ONE / fewest
    } else if fewest == most {
        -ONE
    } else {
        ((most - fewest) * ONE / fewest).min(ONE)
    }
}

/// The limit on how many allocs share a value, if one of the constraints is that.
pub(crate) fn limits(constraints: &[Constraint]) -> impl Iterator<Item = (&str, u32)> {
    let limit = |one: &&Constraint| one.operator == Operator::DistinctProperty;
    let most = |text: &str| if text.is_empty() { 1 } else { text.parse().expect("a number") };
    constraints.iter().filter(limit).map(move |one| (one.left.as_str(), most(&one.right)))
}

/// Whether as many of the group as may be, or too many, share a value with `node`; those without are
/// kept out.
pub(crate) fn is_kept_out(
    (spec, group): (&JobSpec, &Group),
    node: &Node,
    placed: &[(&Node, u32)],
) -> bool {
    limits(&spec.constraints).chain(limits(&group.constraints)).any(|(attribute, most)| {
        let Some(own) = value_of(attribute, node) else { return true };
        let same = placed.iter().filter(|on| value_of(attribute, on.0).as_ref() == Some(&own));
        most <= same.map(|(_, count)| *count).sum()
    })
}
