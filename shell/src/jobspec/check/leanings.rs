//! What a job would rather have: affinities and spreads.
use std::collections::BTreeSet;

use drover_core::types::{Affinity, Operator, Spread};

use super::Check;

impl Check<'_> {
    pub(super) fn affinities(&mut self, list: &[Affinity]) {
        for (at, one) in list.iter().enumerate() {
            self.inner(&format!("affinity[{at}]")).affinity(one);
        }
    }

    fn affinity(&mut self, one: &Affinity) {
        if one.weight == 0 {
            self.wrong(
                "weight",
                "0 says nothing: from 1 to 100 for nodes that are wanted, from -1 to -100 for nodes \
                 to keep away from",
            );
        }
        if matches!(one.operator, Operator::DistinctHosts | Operator::DistinctProperty) {
            let name = one.operator.name();
            let why = format!("`{name}` is for a `constraint`; use `spread` to keep allocs apart");
            self.wrong("operator", why);
            return;
        }
        self.demand(&one.left, one.operator, &one.right);
    }

    pub(super) fn spreads(&mut self, list: &[Spread]) {
        for (at, one) in list.iter().enumerate() {
            self.inner(&format!("spread[{at}]")).spread(one);
        }
    }

    fn spread(&mut self, one: &Spread) {
        if !one.attribute.starts_with("${") {
            let why = "names what allocs are spread over: attribute = \"${node.datacenter}\"";
            self.wrong("attribute", why);
        }
        let mut seen = BTreeSet::new();
        for target in &one.targets {
            if target.value.is_empty() {
                self.wrong("target", "names a value of the attribute: target \"dc1\" { ... }");
            } else if !seen.insert(&target.value) {
                self.wrong("target", format!("there are two targets \"{}\"", target.value));
            }
        }
        let sum: u32 = one.targets.iter().map(|target| u32::from(target.percent)).sum();
        if 100 < sum {
            let why = format!("the percents of its targets are {sum} together: at most 100");
            self.wrong("target", why);
        }
    }
}
