//! `affinity` and `spread`, between the API's job and the core's.
//!
//! Invariants
//! - a weight or percent that is out of range becomes a problem, never another number.
use drover_core::types::{
    Affinity as Leaning, LEANING_WEIGHT, Spread as Spreading, SpreadTarget as Target,
};

use super::to_spec::{Conversion, text};
use super::{Affinity, Spread, SpreadTarget};

impl Conversion {
    pub(super) fn affinities(&mut self, path: &str, list: Option<&Vec<Affinity>>) -> Vec<Leaning> {
        let list = list.into_iter().flatten().enumerate();
        list.filter_map(|(at, one)| self.affinity(&inner(path, "affinity", at), one)).collect()
    }

    fn affinity(&mut self, field: &str, one: &Affinity) -> Option<Leaning> {
        let operator = self.operator(field, one.operand.as_ref())?;
        let weight = one.weight.unwrap_or_else(|| i64::from(LEANING_WEIGHT));
        let Some(weight) = i8::try_from(weight).ok().filter(|weight| (-100..=100).contains(weight))
        else {
            self.wrong(format!("{field}.weight"), format!("{weight} is not between -100 and 100"));
            return None;
        };
        let (left, right) = (text(one.left.as_ref(), ""), text(one.right.as_ref(), ""));
        Some(Leaning { left, operator, right, weight })
    }

    pub(super) fn spreads(&mut self, path: &str, list: Option<&Vec<Spread>>) -> Vec<Spreading> {
        let list = list.into_iter().flatten().enumerate();
        list.map(|(at, one)| self.spread(&inner(path, "spread", at), one)).collect()
    }

    fn spread(&mut self, field: &str, one: &Spread) -> Spreading {
        let targets = one.spread_target.iter().flatten().map(|target| {
            let value = text(target.value.as_ref(), "");
            let field = format!("{field}.target[{value}].percent");
            let percent = self.hundredths(&field, target.percent.unwrap_or_default());
            Target { value, percent }
        });
        let targets = targets.collect();
        let weight = one.weight.unwrap_or_else(|| i64::from(LEANING_WEIGHT));
        let weight = self.hundredths(&format!("{field}.weight"), weight);
        Spreading { attribute: text(one.attribute.as_ref(), ""), weight, targets }
    }

    fn hundredths(&mut self, field: &str, value: i64) -> u8 {
        u8::try_from(value).ok().filter(|value| *value <= 100).unwrap_or_else(|| {
            self.wrong(field, format!("{value} is not between 0 and 100"));
            0
        })
    }
}

fn inner(path: &str, block: &str, at: usize) -> String {
    let dot = if path.is_empty() { "" } else { "." };
    format!("{path}{dot}{block}[{at}]")
}

impl Affinity {
    pub(super) fn list(leanings: &[Leaning]) -> Option<Vec<Self>> {
        let one = |leaning: &Leaning| Self {
            left: Some(leaning.left.clone()),
            right: Some(leaning.right.clone()),
            operand: Some(leaning.operator.name().to_owned()),
            weight: Some(i64::from(leaning.weight)),
        };
        (!leanings.is_empty()).then(|| leanings.iter().map(one).collect())
    }
}

impl Spread {
    pub(super) fn list(spreads: &[Spreading]) -> Option<Vec<Self>> {
        let target = |target: &Target| SpreadTarget {
            value: Some(target.value.clone()),
            percent: Some(i64::from(target.percent)),
        };
        let one = |spread: &Spreading| Self {
            attribute: Some(spread.attribute.clone()),
            weight: Some(i64::from(spread.weight)),
            spread_target: (!spread.targets.is_empty())
                .then(|| spread.targets.iter().map(target).collect()),
        };
        (!spreads.is_empty()).then(|| spreads.iter().map(one).collect())
    }
}
