//! How many allocs each value of an attribute has, and what that says of the next one.
//!
//! Source: Nomad's `spread`. With targets a value is wanted as much as it is short of its share:
//! `(desired - (used + 1)) / desired`, times the spread's share of all weights; what is left of the
//! hundred percent is the share of each other value. A value without a share, and a node without the
//! attribute, are worth -1. Without targets the values that have the fewest allocs are wanted: of those
//! in use, `(fewest - own) / fewest`; one of the fewest is worth what the most have more than it, and -1
//! where all have as many.
//!
//! It differs from Nomad in one thing: an even spread never says more than 1. There, a value that has
//! one alloc beside one with a hundred is worth 99, and one that has none 1.
//!
//! Invariants
//! - what is said follows from the counts, not from their history.
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::score::ONE;
use super::strata::{Key, NONE};
use crate::types::Spread;

/// A percent of a group's count: desired counts are told in these.
const HUNDREDTHS: u64 = 100;

/// Who is worth something else after a count changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shift {
    /// At most the nodes with that value.
    One,
    All,
}

/// What the nodes with a value are wanted for.
enum Rule {
    /// By value, in hundredths; and how much the spread counts, of all weights.
    Shares { desired: Vec<u64>, weight: u64, weights: u64 },
    Even {
        /// The group's.
        count: u32,
    },
}

/// See the module.
pub(super) struct Tally {
    rule: Rule,
    /// By value.
    counts: Vec<u32>,
    /// By value: what they say now.
    boosts: Vec<i64>,
    /// How many values have so many allocs. Those that have none are not in use.
    values_with: BTreeMap<u32, u32>,
}

impl Tally {
    /// Nothing is counted yet. `weights` is the sum of all spreads of the group.
    pub(super) fn of(spread: &Spread, weights: u64, group_count: u32, key: &Key) -> Self {
        let rule = if spread.targets.is_empty() {
            Rule::Even { count: group_count }
        } else {
            let count = u64::from(group_count);
            let named: u64 = spread.targets.iter().map(|target| u64::from(target.percent)).sum();
            let others = HUNDREDTHS.saturating_sub(named) * count;
            let share = |name: &str| {
                let target = spread.targets.iter().find(|target| target.value == name);
                target.map_or(others, |target| u64::from(target.percent) * count)
            };
            let desired = key.names().map(share).collect();
            // Spreads that all weigh nothing say nothing.
            Rule::Shares { desired, weight: spread.weight.into(), weights: weights.max(1) }
        };
        let values = key.names().len();
        let (counts, boosts) = (vec![0; values], vec![0; values]);
        let mut tally = Self { rule, counts, boosts, values_with: BTreeMap::new() };
        tally.say_all();
        tally
    }

    /// What speaks for one more alloc where the value is.
    pub(super) fn boost(&self, value: u32) -> i64 {
        if value == NONE { -ONE } else { self.boosts[value as usize] }
    }

    /// What speaks for one more alloc where the value is, told so that it adds up: an alloc that goes
    /// round and is where it was has gained nothing. An even spread wants the value twice as little for
    /// each time that it has what is a value's average.
    pub(super) fn pull(&self, value: u32) -> i64 {
        if value == NONE {
            return -ONE;
        }
        match self.rule {
            Rule::Shares { .. } => self.boosts[value as usize],
            Rule::Even { count } => {
                let values = i64::try_from(self.counts.len()).unwrap_or(i64::MAX);
                let own = i64::from(self.counts[value as usize]);
                -2 * own * (ONE / i64::from(count.max(1)) * values)
            }
        }
    }

    /// As many more allocs have these values.
    pub(super) fn join_all(&mut self, counts: impl Iterator<Item = (u32, u32)>) {
        for (value, more) in counts.filter(|&(value, _)| value != NONE) {
            self.recount(value, self.counts[value as usize] + more);
        }
        self.say_all();
    }

    /// One more alloc has the value.
    pub(super) fn join(&mut self, value: u32) -> Shift {
        if value == NONE || planted!(SpreadCountsStale) {
            return Shift::One;
        }
        self.set(value, self.counts[value as usize] + 1)
    }

    /// One alloc less has the value.
    pub(super) fn leave(&mut self, value: u32) -> Shift {
        if value == NONE || planted!(SpreadCountsStale) {
            return Shift::One;
        }
        let count = self.counts[value as usize];
        assert!(0 < count, "only what was counted leaves");
        self.set(value, count - 1)
    }

    fn set(&mut self, value: u32, count: u32) -> Shift {
        let before = self.bounds();
        self.recount(value, count);
        if matches!(self.rule, Rule::Even { .. }) && before != self.bounds() {
            self.say_all();
            return Shift::All;
        }
        self.boosts[value as usize] = self.said(value as usize);
        Shift::One
    }

    fn recount(&mut self, value: u32, count: u32) {
        let was = core::mem::replace(&mut self.counts[value as usize], count);
        if 0 < was {
            let values = self.values_with.get_mut(&was);
            let values = values.expect("invariant: each value in use is counted");
            *values -= 1;
            if *values == 0 {
                self.values_with.remove(&was);
            }
        }
        if 0 < count {
            *self.values_with.entry(count).or_default() += 1;
        }
    }

    /// The fewest and the most allocs that a value in use has.
    fn bounds(&self) -> Option<(u32, u32)> {
        let (fewest, _) = self.values_with.first_key_value()?;
        let (most, _) = self.values_with.last_key_value()?;
        Some((*fewest, *most))
    }

    fn say_all(&mut self) {
        for value in 0..self.boosts.len() {
            self.boosts[value] = self.said(value);
        }
    }

    fn said(&self, value: usize) -> i64 {
        let count = self.counts[value];
        match &self.rule {
            Rule::Shares { desired, weight, weights } => {
                short_of(desired[value], count, (*weight, *weights))
            }
            Rule::Even { .. } => self.bounds().map_or(0, |bounds| evenness(count, bounds)),
        }
    }
}

/// How short of its share a value is, which has `count` allocs and should have `desired` hundredths.
fn short_of(desired: u64, count: u32, (weight, weights): (u64, u64)) -> i64 {
    if desired == 0 {
        return -ONE;
    }
    let missing = i128::from(desired) - (i128::from(count) + 1) * i128::from(HUNDREDTHS);
    let boost = missing * i128::from(weight) * i128::from(ONE);
    let boost = boost / (i128::from(desired) * i128::from(weights));
    // Far below: the group has a count that is beyond any that is allowed.
    i64::try_from(boost).unwrap_or(i64::MIN / 1_024)
}

fn evenness(count: u32, (fewest, most): (u32, u32)) -> i64 {
    let over_fewest = |amount: i64| amount * ONE / i64::from(fewest);
    if count != fewest {
        over_fewest(i64::from(fewest) - i64::from(count))
    } else if fewest == most {
        -ONE
    } else {
        over_fewest(i64::from(most) - i64::from(fewest)).min(ONE)
    }
}

/// At most so many allocs where the value is the same.
pub(super) struct Limit {
    counts: Vec<u32>,
    most: u32,
}

impl Limit {
    pub(super) fn of(most: u32, key: &Key) -> Self {
        Self { counts: vec![0; key.names().len()], most }
    }

    /// Whether nothing more may go where the value is. A node without the attribute gets nothing.
    pub(super) fn is_reached(&self, value: u32) -> bool {
        value == NONE || self.most <= self.counts[value as usize]
    }

    pub(super) fn count(&self, value: u32) -> u32 {
        if value == NONE { 0 } else { self.counts[value as usize] }
    }

    pub(super) fn join(&mut self, value: u32, more: u32) {
        if value != NONE {
            self.counts[value as usize] += more;
        }
    }

    pub(super) fn leave(&mut self, value: u32) {
        if value != NONE {
            let count = &mut self.counts[value as usize];
            *count = count.checked_sub(1).expect("invariant: only what was counted leaves");
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::types::SpreadTarget;

    fn tally(targets: &[(&str, u8)], values: &[&str], count: u32) -> Tally {
        let target =
            |&(value, percent): &(&str, u8)| SpreadTarget { value: value.to_string(), percent };
        let spread = Spread {
            attribute: "${node.datacenter}".to_string(),
            weight: 100,
            targets: targets.iter().map(target).collect(),
        };
        Tally::of(&spread, 100, count, &Key::of_names(values))
    }

    fn boosts(tally: &Tally) -> Vec<i64> {
        (0..3).map(|value| tally.boost(value) * 1_000 / ONE).collect()
    }

    #[test]
    fn a_value_is_wanted_as_much_as_it_is_short_of_its_share() {
        let mut tally = tally(&[("dc1", 80)], &["dc1", "dc2", "dc3"], 10);
        assert_eq!(boosts(&tally), [875, 500, 500], "what is left of the hundred is theirs");
        assert_eq!((tally.join(0), tally.join(0)), (Shift::One, Shift::One));
        assert_eq!(boosts(&tally), [625, 500, 500]);
        tally.join_all([(1, 3)].into_iter());
        assert_eq!(boosts(&tally), [625, -1_000, 500]);
        assert_eq!(tally.leave(1), Shift::One);
        assert_eq!(boosts(&tally)[1], -500);
        assert_eq!(tally.boost(NONE), -ONE, "a node without the attribute");
    }

    #[test]
    fn a_value_without_a_share_is_worth_minus_one() {
        let tally = tally(&[("dc1", 60), ("dc2", 40)], &["dc1", "dc2", "dc3"], 10);
        assert_eq!(boosts(&tally), [833, 750, -1_000]);
    }

    #[test]
    fn an_even_spread_wants_the_fewest() {
        let mut tally = tally(&[], &["dc1", "dc2", "dc3"], 10);
        assert_eq!(boosts(&tally), [0, 0, 0], "nothing is placed yet");
        assert_eq!((tally.join(0), tally.join(0)), (Shift::All, Shift::All));
        assert_eq!(boosts(&tally), [-1_000, 1_000, 1_000]);
        tally.join_all([(1, 1)].into_iter());
        assert_eq!(boosts(&tally), [-1_000, 1_000, 1_000]);
        tally.join_all([(1, 2)].into_iter());
        tally.join_all([(2, 2)].into_iter());
        // 2, 3, 2.
        assert_eq!(boosts(&tally), [500, -500, 500]);
        tally.join_all([(0, 1)].into_iter());
        tally.join_all([(2, 1)].into_iter());
        assert_eq!(boosts(&tally), [-1_000, -1_000, -1_000], "all have as many");
        tally.leave(2);
        assert_eq!(boosts(&tally), [-500, -500, 500]);
    }

    #[test]
    fn an_even_spread_says_at_most_one_and_orders_those_above() {
        let mut tally = tally(&[], &["dc1", "dc2", "dc3"], 10);
        tally.join_all([(0, 1)].into_iter());
        tally.join_all([(1, 3)].into_iter());
        tally.join_all([(2, 9)].into_iter());
        assert_eq!(boosts(&tally), [1_000, -2_000, -8_000]);
    }
}
