//! How good a node is for a group, as an integer.
//!
//! Source: Nomad's best fit (after Google's BestFit v3): `20 - (10^freeCpu + 10^freeMemory)`, where the
//! exponents are the shares left free once the alloc is there, cut to 0..=18 and divided by 18, and its
//! opposite, `10^freeCpu + 10^freeMemory - 2`; its job anti-affinity `-(collisions + 1) / count`; its
//! penalty of -1 for a node where the alloc failed before; its node affinity and allocation spread
//! (`tally`); its device affinity (`devices`). The score is the mean of those that are present, and what is
//! zero is not, but for the fit, and for devices where something is wanted of them. It knows no fit of
//! devices: what `Algorithm::Pack` makes of them is ours (decision 0034).
//!
//! Invariants
//! - the same usage gives the same score on every machine: no float takes part;
//! - a mean is exact: it is kept in parts of which every count of terms is a divisor;
//! - a penalty never raises a score.
use crate::state::fits::Amounts;
use crate::state::fleet::{End, Preference, SHARE_ONE, share};
use crate::types::{Algorithm, ScoreParts};

/// The fixed point of a term: this is 1.
pub(super) const ONE: i64 = 1 << 32;
/// How many times finer a mean is than its terms: one to six are its divisors.
const FINER: i64 = 60;
/// The exponent's fixed point, which is that of shares: ten bits choose a step of the table, ten lie
/// between steps.
const EXPONENT_ONE: u64 = SHARE_ONE;
const STEPS: usize = 1 << 10;
const STEP: u64 = EXPONENT_ONE >> 10;
/// 10^(1/1024) in 60 binary digits.
const RATIO: u128 = 1_155_516_901_883_805_270;

/// 10^(n/1024), in `ONE`ths.
static POWERS: [u64; STEPS + 2] = powers();

#[expect(
    clippy::cast_possible_truncation,
    reason = "10^(1026/1024) in 32 binary digits is 36 bits"
)]
const fn powers() -> [u64; STEPS + 2] {
    let mut table = [0; STEPS + 2];
    let mut power: u128 = 1 << 60;
    let mut at = 0;
    while at < table.len() {
        table[at] = ((power + (1 << 27)) >> 28) as u64;
        power = (power * RATIO + (1 << 59)) >> 60;
        at += 1;
    }
    table
}

/// 10 to the power of `exponent / EXPONENT_ONE`, in `ONE`ths.
#[inline]
fn power_of_ten(exponent: u64) -> u64 {
    assert!(exponent <= EXPONENT_ONE, "a free share is at most the whole");
    let at = usize::try_from(exponent / STEP).expect("invariant: at most 1,024");
    let between = exponent % STEP;
    POWERS[at] + (POWERS[at + 1] - POWERS[at]) * between / STEP
}

/// The best fit as the fleet's search wants it: of a node on which nothing collides.
#[derive(Clone, Copy, Debug)]
pub struct BestFit;

impl Preference for BestFit {
    const FIRST: End = End::Fullest;

    #[inline]
    fn cost(&self, share: u64) -> u64 {
        power_of_ten(share)
    }

    #[inline]
    fn worth(&self, cost: u64) -> i64 {
        let cost = i64::try_from(cost).expect("invariant: at most 20");
        (20 * ONE - cost).clamp(0, 18 * ONE) / 18
    }
}

/// The worst fit, likewise: the emptiest node.
#[derive(Clone, Copy, Debug)]
pub struct WorstFit;

impl Preference for WorstFit {
    const FIRST: End = End::Emptiest;

    #[inline]
    fn cost(&self, share: u64) -> u64 {
        BestFit.cost(share)
    }

    #[inline]
    fn worth(&self, cost: u64) -> i64 {
        let cost = i64::try_from(cost).expect("invariant: at most 20");
        (cost - 2 * ONE).clamp(0, 18 * ONE) / 18
    }
}

/// How well a node with `total` is used once `used` is taken, the new alloc included.
#[must_use]
pub fn fit(algorithm: Algorithm, total: Amounts, used: Amounts) -> i64 {
    let left = total.left_after(used);
    let cost = BestFit.cost(share(left.cpu_mhz, total.cpu_mhz))
        + BestFit.cost(share(left.memory_mib, total.memory_mib));
    match algorithm {
        Algorithm::BinPack | Algorithm::Pack => BestFit.worth(cost),
        Algorithm::Spread => WorstFit.worth(cost),
    }
}

/// What an alloc leaves of a node's devices.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DevicesLeft {
    /// Of those that work, the ones that nobody has once the alloc is there.
    pub free: u32,
    /// That work.
    pub total: u32,
    /// Of each make that it gets, others have some already: nothing that was whole is broken into.
    pub is_begun: bool,
}

/// What a node with devices does not get from who asks for none.
pub const DEVICES_KEPT: i64 = -ONE;

/// The fit by `Algorithm::Pack` of a node that gives the alloc devices, and whose cpu and memory have
/// the fit `amounts`. Devices are what runs out on such nodes: they count three times as much.
#[must_use]
pub fn fit_with_devices(amounts: i64, left: DevicesLeft) -> i64 {
    let free = (i64::from(left.free) * ONE).checked_div(left.total.into()).unwrap_or(0);
    let begun = if left.is_begun { ONE } else { 0 };
    (10 * amounts + 30 * (ONE - free) + 4 * begun) / 44
}

/// What is there already that speaks against a node.
#[derive(Clone, Copy, Debug, Default)]
pub struct Against {
    /// Allocs of the same group on the node.
    pub collisions: u32,
    /// The group's count.
    pub count: u32,
    /// The alloc to be replaced failed there.
    pub failed_before: bool,
}

impl Against {
    /// Both terms.
    pub(super) fn terms(self) -> Terms {
        let crowd =
            if 0 < self.collisions { -collision_penalty(self.collisions, self.count) } else { 0 };
        let failed = if self.failed_before { -ONE } else { 0 };
        Terms::default().with(crowd).with(failed)
    }
}

/// Terms of a mean, added up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Terms {
    sum: i64,
    present: i64,
}

impl Terms {
    /// One more term, which is present unless it is zero.
    #[must_use]
    pub fn with(self, term: i64) -> Self {
        Self { sum: self.sum + term, present: self.present + i64::from(term != 0) }
    }

    /// One more term, which is there whatever it is: all that is wanted of devices (1), its opposite
    /// (-1), or nothing of it.
    #[must_use]
    pub fn of_devices(self, wanted: i8) -> Self {
        Self { sum: self.sum + i64::from(wanted) * ONE, present: self.present + 1 }
    }

    /// `present` terms that are `sum` together.
    pub(super) const fn sum(sum: i64, present: i64) -> Self {
        Self { sum, present }
    }

    pub(super) const fn total(self) -> i64 {
        self.sum
    }

    #[must_use]
    pub(super) const fn and(self, other: Self) -> Self {
        Self { sum: self.sum + other.sum, present: self.present + other.present }
    }

    /// The score; there is one term at least.
    #[inline]
    pub(super) const fn mean(self) -> i64 {
        self.sum * (FINER / self.present)
    }

    pub(super) const fn is_empty(self) -> bool {
        self.present == 0
    }
}

/// The score of a node with `total` once `used` is taken, the new alloc included, where nothing else
/// counts and the fullest is the best.
#[must_use]
pub fn score(total: Amounts, used: Amounts, against: Against) -> i64 {
    score_with(fit(Algorithm::BinPack, total, used), against, Terms::default())
}

/// The score of a node that has such a `fit`, with what the group would rather have.
#[must_use]
pub fn score_with(fit: i64, against: Against, leanings: Terms) -> i64 {
    Terms::sum(fit, 1).and(against.terms()).and(leanings).mean()
}

/// What a node with an alloc of the group is worth at most, beside what counts for its stratum; that
/// something is wanted of devices counts there as well, and what they add here.
pub(super) fn most_beside(count: u32, wants_of_devices: bool) -> Terms {
    let against = Against { collisions: 1, count, failed_before: false };
    let devices = if wants_of_devices { ONE } else { 0 };
    against.terms().and(Terms::sum(ONE + devices, 1))
}

/// What speaks for or against a node beside its fit and who is there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Leaned {
    pub(super) affinity: i64,
    pub(super) spread: i64,
    /// How they are liked, and what is kept for those who ask for some.
    pub(super) devices: i64,
}

/// The terms as they are shown.
pub(super) fn parts(fit: i64, against: Against, leaned: Leaned) -> ScoreParts {
    let Leaned { affinity, spread, devices } = leaned;
    let crowd = Against { failed_before: false, ..against };
    let thousandths = |term: i64| shown(term, ONE);
    ScoreParts {
        fit: thousandths(fit),
        crowd: thousandths(crowd.terms().sum),
        failed_before: if against.failed_before { -1_000 } else { 0 },
        affinity: thousandths(affinity),
        spread: thousandths(spread),
        devices: thousandths(devices),
    }
}

/// At most one, where Nomad has no bound: a penalty must never raise the mean.
fn collision_penalty(collisions: u32, count: u32) -> i64 {
    ((i64::from(collisions) + 1) * ONE / i64::from(count.max(1))).min(ONE)
}

/// A score as it is shown: thousandths.
#[must_use]
pub fn permille(score: i64) -> i32 {
    shown(score, ONE * FINER)
}

fn shown(fixed: i64, one: i64) -> i32 {
    // What is a hair below a thousandth, as fixed points often are, is shown as that.
    let hair = (one >> 16) * fixed.signum();
    // What is not far out of bounds is divided quickly.
    let thousandths = match fixed.checked_mul(1_000) {
        Some(product) => product.saturating_add(hair) / one,
        None => fixed / (one / 1_000),
    };
    i32::try_from(thousandths).unwrap_or(if fixed < 0 { i32::MIN } else { i32::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: Amounts = Amounts { cpu_mhz: 4_000, memory_mib: 8_000, disk_mib: 0 };

    fn at(cpu_mhz: u64, memory_mib: u64, collisions: u32) -> i32 {
        let used = Amounts { cpu_mhz, memory_mib, disk_mib: 0 };
        let against = Against { collisions, count: 10, failed_before: false };
        permille(score(TOTAL, used, against))
    }

    #[test]
    fn a_full_node_scores_one_and_an_empty_one_nothing() {
        assert_eq!(at(4_000, 8_000, 0), 1_000);
        assert_eq!(at(0, 0, 0), 0);
    }

    #[test]
    fn half_a_node_scores_what_the_formula_says() {
        // (20 - 2 * sqrt(10)) / 18 = 0.7597...
        assert_eq!(at(2_000, 4_000, 0), 759);
        // The mean of that and -(1 + 1) / 10.
        assert_eq!(at(2_000, 4_000, 1), 279);
    }

    #[test]
    fn a_node_with_an_alloc_of_the_group_is_never_worth_more_than_is_said() {
        for (count, collisions) in [(1, 1), (2, 1), (10, 1), (10, 4), (1_200, 1), (1_200, 900)] {
            let against = Against { collisions, count, failed_before: false };
            let most = most_beside(count, false).mean();
            assert!(score(TOTAL, TOTAL, against) <= most, "{collisions} of {count}");
        }
        let against = Against { collisions: 1, count: 10, failed_before: false };
        assert_eq!(score(TOTAL, TOTAL, against), most_beside(10, false).mean(), "and no less");
    }

    #[test]
    fn collisions_and_an_earlier_failure_are_averaged_in() {
        let against = Against { collisions: 2, count: 4, failed_before: true };
        let score = score(TOTAL, Amounts::default(), against);
        // (0 - 0.75 - 1) / 3
        assert_eq!(permille(score), -583);
    }
}
