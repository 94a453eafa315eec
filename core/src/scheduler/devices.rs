//! Which devices would do for a task, and how well.
//!
//! Source: Nomad's `device` block, its names for what a demand may look at, and its units.
//!
//! Invariants
//! - quantities with units of one kind are compared by what they stand for, exactly; of two kinds, or where
//!   one has none, they are unlike;
//! - of those that would do equally well, the first by name is taken.
use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::compare;
use super::score::ONE;
use crate::state::fleet::DeviceClass;
use crate::types::{DeviceAsk, DeviceGroup, DeviceName, Operator};

/// What a demand looks at.
#[derive(Clone, Copy)]
pub(super) struct Make<'a> {
    name: &'a DeviceName,
    attributes: &'a BTreeMap<String, String>,
    /// Known only of one node's.
    group: Option<&'a DeviceGroup>,
}

impl<'a> Make<'a> {
    pub(super) const fn of(group: &'a DeviceGroup) -> Self {
        Self { name: &group.name, attributes: &group.attributes, group: Some(group) }
    }

    const fn of_class(class: &'a DeviceClass) -> Self {
        Self { name: &class.name, attributes: &class.attributes, group: None }
    }

    fn resolve(self, side: &'a str) -> Option<Cow<'a, str>> {
        let Some(name) = side.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
            return Some(Cow::Borrowed(side));
        };
        if let Some(key) = name.strip_prefix("device.attr.") {
            return self.attributes.get(key).map(|value| Cow::Borrowed(value.as_str()));
        }
        match name {
            "device.vendor" => Some(Cow::Borrowed(&self.name.vendor)),
            "device.type" => Some(Cow::Borrowed(&self.name.kind)),
            "device.model" => Some(Cow::Borrowed(&self.name.name)),
            "device.ids" => {
                let ids: Vec<&str> = self.group?.healthy().map(String::as_str).collect();
                Some(Cow::Owned(ids.join(",")))
            }
            _ => None,
        }
    }

    fn meets(self, left: &'a str, operator: Operator, right: &'a str) -> bool {
        let (left, right) = (self.resolve(left), self.resolve(right));
        let measured = left.as_deref().and_then(measure).zip(right.as_deref().and_then(measure));
        match measured {
            Some(((of_left, left), (of_right, right))) if is_order(operator) => {
                // What is of two kinds differs, and that is all that can be said of it.
                let is_alike = of_left == of_right;
                let holds = compare::holds(Some(&left), operator, Some(&right));
                if is_alike { holds } else { operator == Operator::NotEqual }
            }
            Some(_) | None => compare::holds(left.as_deref(), operator, right.as_deref()),
        }
    }

    /// Whether who asks may get these at all.
    pub(super) fn would_do(self, ask: &'a DeviceAsk) -> bool {
        // Which instances there are is a node's alone.
        let is_judged = |side: &str| self.group.is_some() || !side.contains("${device.ids}");
        let mut constraints =
            ask.constraints.iter().filter(|one| is_judged(&one.left) && is_judged(&one.right));
        self.name.answers_to(&ask.name)
            && constraints.all(|one| self.meets(&one.left, one.operator, &one.right))
    }

    /// The weights of the affinities that hold.
    pub(super) fn weight(self, ask: &'a DeviceAsk) -> i64 {
        let met = ask.affinities.iter();
        let met = met.filter(|one| self.meets(&one.left, one.operator, &one.right));
        met.map(|one| i64::from(one.weight)).sum()
    }
}

/// Whether nodes of the class have devices for each ask, whoever has them now.
pub(super) fn are_offered<'a>(
    classes: &'a [DeviceClass],
    asks: impl IntoIterator<Item = &'a DeviceAsk>,
) -> bool {
    asks.into_iter().all(|ask| {
        classes.iter().any(|class| {
            ask.count as usize <= class.healthy_count && Make::of_class(class).would_do(ask)
        })
    })
}

/// `weight` of all that the asks would rather have, as a term of a score.
pub(super) fn term(weight: i64, weights: i64) -> i64 {
    (weight * ONE).checked_div(weights).unwrap_or(0)
}

/// All that the asks would rather have; zero: nothing.
pub(super) fn weights<'a>(asks: impl IntoIterator<Item = &'a DeviceAsk>) -> i64 {
    let affinities = asks.into_iter().flat_map(|ask| &ask.affinities);
    affinities.map(|one| i64::from(one.weight).abs()).sum()
}

const fn is_order(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Equal
            | Operator::NotEqual
            | Operator::Less
            | Operator::LessOrEqual
            | Operator::Greater
            | Operator::GreaterOrEqual
    )
}

/// What a unit measures.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Number,
    Bytes,
    BytesPerSecond,
    Hertz,
    Watts,
}

/// Units, and what one of each is in the smallest of its kind.
const UNITS: [(&str, Kind, u64); 23] = [
    ("B", Kind::Bytes, 1),
    ("kB", Kind::Bytes, 1_000),
    ("KB", Kind::Bytes, 1_000),
    ("KiB", Kind::Bytes, 1 << 10),
    ("MB", Kind::Bytes, 1_000_000),
    ("MiB", Kind::Bytes, 1 << 20),
    ("GB", Kind::Bytes, 1_000_000_000),
    ("GiB", Kind::Bytes, 1 << 30),
    ("TB", Kind::Bytes, 1_000_000_000_000),
    ("TiB", Kind::Bytes, 1 << 40),
    ("PB", Kind::Bytes, 1_000_000_000_000_000),
    ("PiB", Kind::Bytes, 1 << 50),
    ("EB", Kind::Bytes, 1_000_000_000_000_000_000),
    ("EiB", Kind::Bytes, 1 << 60),
    ("Hz", Kind::Hertz, 1),
    ("kHz", Kind::Hertz, 1_000),
    ("KHz", Kind::Hertz, 1_000),
    ("MHz", Kind::Hertz, 1_000_000),
    ("GHz", Kind::Hertz, 1_000_000_000),
    ("mW", Kind::Watts, 1),
    ("W", Kind::Watts, 1_000),
    ("kW", Kind::Watts, 1_000_000),
    ("MW", Kind::Watts, 1_000_000_000),
];

/// A quantity: of what, and how many of the smallest unit, as a number that can be compared. `None`: it is
/// none.
fn measure(text: &str) -> Option<(Kind, String)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let unit = unit.trim();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains(['.', '-']) || unit.is_empty() {
        let is_number = unit.is_empty() && !whole.is_empty();
        return is_number.then(|| (Kind::Number, number.to_string()));
    }
    let (unit, is_rate) = unit.strip_suffix("/s").map_or((unit, false), |unit| (unit, true));
    let &(_, kind, factor) = UNITS.iter().find(|(name, ..)| *name == unit)?;
    let kind = match (kind, is_rate) {
        (kind, false) => kind,
        (Kind::Bytes, true) => Kind::BytesPerSecond,
        (Kind::Number | Kind::BytesPerSecond | Kind::Hertz | Kind::Watts, true) => return None,
    };
    // The digits times the factor, and the point where it was.
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (mut scaled, mut places) = (digits.checked_mul(i128::from(factor))?, fraction.len());
    // One way to write each.
    while 0 < places && scaled % 10 == 0 {
        (scaled, places) = (scaled / 10, places - 1);
    }
    Some((kind, format!("{scaled}e-{places}")))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn make() -> DeviceGroup {
        let named = |text: &str| text.to_string();
        DeviceGroup {
            name: DeviceName { vendor: named("nvidia"), kind: named("gpu"), name: named("1080ti") },
            attributes: [("memory", "11 GiB"), ("cuda", "3584"), ("clock", "1.5 GHz")]
                .map(|(key, value)| (named(key), named(value)))
                .into(),
            instances: vec![],
        }
    }

    #[test]
    fn quantities_are_compared_by_what_they_stand_for() {
        let made = make();
        let meets = |left, operator: &str, right| {
            Make::of(&made).meets(left, Operator::parse(operator).unwrap(), right)
        };
        for (left, operator, right, wanted) in [
            ("${device.attr.memory}", ">=", "8 GiB", true),
            ("${device.attr.memory}", ">=", "8192 MiB", true),
            ("${device.attr.memory}", "<", "11.5GiB", true),
            ("${device.attr.memory}", "=", "11264 MiB", true),
            ("${device.attr.memory}", ">", "11264 MiB", false),
            ("${device.attr.memory}", ">", "8 GHz", false),
            ("${device.attr.memory}", "!=", "11 GHz", true),
            ("${device.attr.memory}", ">", "8", false),
            ("${device.attr.clock}", "=", "1500 MHz", true),
            ("${device.attr.cuda}", ">", "900", true),
            ("${device.attr.none}", ">", "1", false),
            ("${device.model}", "=", "1080ti", true),
            ("${device.vendor}", "!=", "amd", true),
            ("${device.type}", "regexp", "^g", true),
        ] {
            assert_eq!(meets(left, operator, right), wanted, "{left} {operator} {right}");
        }
    }

    #[test]
    fn a_name_may_be_given_in_part() {
        let DeviceGroup { name, .. } = make();
        for asked in ["gpu", "nvidia/gpu", "nvidia/gpu/1080ti"] {
            assert!(name.answers_to(asked), "{asked}");
        }
        for asked in ["nvidia", "amd/gpu", "nvidia/gpu/1080", "nvidia/gpu/1080ti/x", ""] {
            assert!(!name.answers_to(asked), "{asked}");
        }
    }
}
