//! What the leader has proposed and not yet seen applied, and the last check before it proposes more.
//!
//! The scheduler lays these plans over the state's columns, so that two evaluations in a row do not
//! take the same room, without waiting for the first to be applied.
//!
//! Invariants
//! - an evaluation has at most one plan in flight;
//! - the overlay of a slot is the sum of the placements in flight there;
//! - a plan that was checked fits on the state it was checked against, whatever it was made from.
//!
//! Whether a placement still holds when it is applied is decided there (`fsm`), by the same `fits`.
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::state::State;
use crate::state::by_slot::BySlot;
use crate::state::fits::Overlay;
use crate::types::{
    AllocId, Capacity, Claim, DeviceAsk, DeviceGroup, EvalId, Group, JobId, NodeId, NodeSlot,
    Pieces, Plan, PortGrant, StopReason, Verdict,
};

/// What the scheduler looks at: the state, and what the leader has proposed on top of it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub state: &'a State,
    pub in_flight: &'a InFlight,
}

/// See the module.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct InFlight {
    plans: BTreeMap<EvalId, Vec<Held>>,
    overlays: BTreeMap<NodeSlot, Overlay>,
}

/// What one placement in flight takes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Held {
    slot: NodeSlot,
    capacity: Capacity,
    ports: Vec<PortGrant>,
    pieces: Option<Box<Pieces>>,
}

impl Held {
    fn claim(&self) -> Claim<'_> {
        Claim { capacity: self.capacity, ports: &self.ports, pieces: self.pieces.as_deref() }
    }
}

impl InFlight {
    /// `plan`, made from `state`, was proposed.
    pub fn on_proposed(&mut self, state: &State, plan: &Plan) {
        let mut capacities = Capacities::of(state, plan.job);
        let held = plan.placements.iter().filter_map(|placement| {
            let version = plan.version_of(placement);
            let slot = placement.slot;
            let capacity = capacities.of_group(version, placement.group, slot)?;
            let (ports, pieces) = (placement.ports.clone(), placement.pieces.clone());
            Some(Held { slot, capacity, ports, pieces })
        });
        let held: Vec<Held> = held.filter(|_| !planted!(InFlightUnseen)).collect();
        for one in &held {
            self.overlays.entry(one.slot).or_default().held.hold(one.claim());
        }
        let other = self.plans.insert(plan.eval, held);
        assert!(other.is_none(), "an evaluation has at most one plan in flight");
    }

    /// The evaluation's plan was applied, or will never be. Nothing if it has none in flight.
    pub fn on_applied(&mut self, eval: EvalId) {
        for one in self.plans.remove(&eval).unwrap_or_default() {
            let overlay = self.overlays.get_mut(&one.slot);
            let overlay = overlay.expect("invariant: what is in flight is laid over its slot");
            overlay.held.release(one.claim());
            if overlay.is_empty() {
                self.overlays.remove(&one.slot);
            }
        }
    }

    /// Nothing is in flight any more: the leader's term has ended.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// What the plans in flight take on a node.
    #[must_use]
    pub fn on_slot(&self, slot: NodeSlot) -> Option<&Overlay> {
        self.overlays.get(&slot)
    }

    /// Nodes that plans in flight take something on.
    pub fn slots(&self) -> impl Iterator<Item = NodeSlot> {
        self.overlays.keys().copied()
    }

    /// The evaluations whose plans are in flight.
    pub fn evals(&self) -> impl Iterator<Item = EvalId> {
        self.plans.keys().copied()
    }

    /// How many plans are in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        self.plans.len()
    }

    /// Whether no plan is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plans.is_empty()
    }

    /// The overlays are the sum of the plans.
    ///
    /// # Panics
    /// When they are not.
    pub fn check_invariants(&self) {
        let mut sum: BTreeMap<NodeSlot, Overlay> = BTreeMap::new();
        for one in self.plans.values().flatten() {
            sum.entry(one.slot).or_default().held.hold(one.claim());
        }
        sum.retain(|_, overlay| !overlay.is_empty());
        assert!(sum == self.overlays, "an overlay is the sum of what is in flight");
    }
}

/// What allocs of a plan take. Most are of one group, which is looked up once.
struct Capacities<'a> {
    state: &'a State,
    job: JobId,
    last: Option<((u64, u16), Option<OfGroup<'a>>)>,
}

/// What allocs of one group take.
#[derive(Clone, Copy)]
struct OfGroup<'a> {
    /// Where a node makes no difference.
    capacity: Option<Capacity>,
    group: &'a Group,
}

impl<'a> Capacities<'a> {
    const fn of(state: &'a State, job: JobId) -> Self {
        Self { state, job, last: None }
    }

    fn of_group(&mut self, version: u64, group: u16, slot: NodeSlot) -> Option<Capacity> {
        let found = match self.last {
            Some((known, found)) if known == (version, group) => found,
            Some(_) | None => {
                let found = self.find(version, group);
                self.last = Some(((version, group), found));
                found
            }
        };
        let OfGroup { capacity, group } = found?;
        capacity.or_else(|| group.capacity_on(self.state.fleet().pieces(slot)))
    }

    fn find(&self, version: u64, group: u16) -> Option<OfGroup<'a>> {
        let version_kept = self.state.job(self.job)?.version(version)?;
        let group = version_kept.spec.groups.get(usize::from(group))?;
        let capacity = group.capacity().filter(|_| group.core_count() == 0);
        Some(OfGroup { capacity, group })
    }
}

/// The plan without what does not fit on the newest state. If anything was left out, the evaluation
/// is not done: it is scheduled again.
#[must_use]
pub fn check(view: &View<'_>, mut plan: Plan) -> Plan {
    let mut own: BySlot<Overlay> = BySlot::new();
    let mut abandoned: BTreeSet<AllocId> = BTreeSet::new();
    let fleet = view.state.fleet();
    let (mut capacities, newest) = (Capacities::of(view.state, plan.job), plan.version);
    let before = plan.placements.len();
    plan.placements.retain(|placement| {
        let version = placement.version.unwrap_or(newest);
        let capacity = capacities.of_group(version, placement.group, placement.slot);
        let fits = capacity.is_some_and(|capacity| {
            let in_flight = || view.in_flight.on_slot(placement.slot).cloned().unwrap_or_default();
            let overlay = own.get_or_insert_with(placement.slot, in_flight);
            let (ports, pieces) = (&placement.ports, placement.pieces.as_deref());
            let claim = Claim { capacity, ports, pieces };
            let fits = fleet.fits_over(placement.slot, overlay, claim).is_ok();
            if fits {
                overlay.held.hold(claim);
            }
            fits
        });
        if !fits {
            abandoned.extend(placement.previous);
        }
        fits
    });
    // What has lost its successor runs on; what is lost or not needed is stopped all the same.
    plan.stops.retain(|stop| !awaits_successor(stop.reason) || !abandoned.contains(&stop.alloc));
    if plan.placements.len() < before {
        plan.verdict = Verdict::More;
    }
    plan
}

/// Whether the node is of the job's pool and has room for an alloc of one of its groups: what the broker
/// asks when room appears. Constraints are left to the scheduler.
#[must_use]
pub fn may_fit(state: &State, job: JobId, node: NodeId) -> bool {
    let (Some(job), Some(slot)) = (state.job(job), state.slot_of(node)) else {
        return false;
    };
    // What an older version has lost is replaced where that version wanted it.
    let pool = state.node(node).map(|node| &node.spec.pool);
    let wants = |pool| job.versions.iter().any(|kept| kept.spec.node_pool.covers(pool));
    if !pool.is_some_and(wants) {
        return false;
    }
    let groups = job.newest().spec.groups.iter().filter(|group| job.is_let_in(group));
    groups.into_iter().any(|group| {
        let capacity = group.capacity_on(state.fleet().pieces(slot)).unwrap_or_default();
        let fits = state.fleet().fits(slot, Claim::of(capacity, &fixed_ports(group))).is_ok();
        fits && (!group.wants_pieces() || may_have_pieces(state, slot, group))
    })
}

/// Whether the node may have enough pieces that nobody has; never `false` where it has.
fn may_have_pieces(state: &State, slot: NodeSlot, group: &Group) -> bool {
    let fleet = state.fleet();
    let Some(offered) = fleet.pieces(slot) else { return false };
    let none = &Overlay::NOTHING;
    let cores = offered.cores.iter().filter(|&core| fleet.core_is_free(slot, none, core));
    let has_devices = |ask: &DeviceAsk| {
        let groups = offered.devices.iter().filter(|group| group.name.answers_to(&ask.name));
        let is_free = |group: &DeviceGroup, id| fleet.device_is_free(slot, none, (&group.name, id));
        let mut free = groups.map(|group| group.healthy().filter(|id| is_free(group, id)).count());
        free.any(|free| ask.count as usize <= free)
    };
    group.core_count() as usize <= cores.count() && group.device_asks().all(has_devices)
}

/// Whether an alloc stopped for this reason is stopped only because another takes its place.
const fn awaits_successor(reason: StopReason) -> bool {
    match reason {
        StopReason::Updated | StopReason::Rescheduled | StopReason::Migrating => true,
        StopReason::NotNeeded | StopReason::NodeLost | StopReason::Drained => false,
    }
}

/// The ports that the group names itself.
#[must_use]
pub fn fixed_ports(group: &Group) -> Vec<PortGrant> {
    let fixed = group.network.ports.iter().filter_map(|port| {
        Some(PortGrant { label: port.label.clone(), value: port.fixed?, to: port.to })
    });
    fixed.collect()
}
