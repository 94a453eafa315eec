//! Machines on a bench: their network, disks and clock in the hands of a test.
pub mod agent;
pub mod cluster;
pub mod raft;
pub mod raft_ladder;
pub mod raft_oracle;

use drover_core::rng::Rng;

/// Everything of `0..count` at least once and some of it twice, in no order: as a network delivers it.
#[must_use]
pub fn delivered(rng: &mut Rng, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.extend((0..count).filter(|_| rng.chance(300)));
    for nth in (1..order.len()).rev() {
        let other = usize::try_from(rng.between(0, nth as u64)).expect("small");
        order.swap(nth, other);
    }
    order
}
