//! How every node compares for the next alloc of a group, as things are: for people who ask why it runs
//! here and not there.
//!
//! It is a scheduling that stops where the next alloc of the group would be placed, and tells what it sees
//! instead. So what is told is what would be decided.
//!
//! Invariants
//! - the first candidate is where the next alloc goes;
//! - a node is a candidate if and only if everything that is asked of it is met.
use alloc::string::String;
use alloc::vec::Vec;

use super::bucket::Sorter;
use super::draft::Draft;
use super::memo::Memo;
use super::{View, system};
use crate::state::State;
use crate::types::{AllocId, Evaluation, NodeSlot, PlacementFailure, ScoreParts};

/// What somebody asks about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sought {
    /// The group's position in the newest version.
    pub group: usize,
    /// A node that is looked at in full.
    pub node: Option<NodeSlot>,
    /// An alloc that is taken not to be there, as if it were to be placed now.
    pub without: Option<AllocId>,
}

/// See the module.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Look {
    /// Allocs of the group that are to be placed now.
    pub missing_count: usize,
    /// Nodes that there are.
    pub node_count: usize,
    /// Of them, those that are not ready, or not eligible.
    pub closed_count: usize,
    /// What was looked at: by datacenter, excluded and by what, without room and for lack of what.
    pub looked_at: PlacementFailure,
    /// Of a job that runs on every node: nodes that need nothing now.
    pub served_count: usize,
    /// Nodes that may take one alloc more. The best first; of a job that runs on every node, in order of slots.
    pub candidates: Vec<Standing>,
    /// Of the node that was asked about.
    pub tried: Option<Vec<Tried>>,
}

/// What a node is worth that may take one alloc more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Standing {
    pub slot: NodeSlot,
    pub score_permille: i32,
    pub parts: ScoreParts,
}

/// One thing that is asked of a node, and what the node has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tried {
    pub asked: Asked,
    /// As users write it.
    pub demand: String,
    /// `None`: the node has nothing of the kind.
    pub found: Option<String>,
    pub is_met: bool,
}

/// What kind of thing is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Asked {
    Pool,
    Datacenter,
    Driver,
    /// That there are such devices, whoever has them.
    Device,
    /// A host volume, to write to where that is asked.
    Volume,
    /// That a Consul agent is beside it, for services of the job.
    Consul,
    Constraint,
    /// That new allocs may go there at all.
    Node,
    DistinctHosts,
    DistinctProperty,
    /// Of a job that runs on every node: that the node needs its alloc.
    Need,
    Cpu,
    Memory,
    Disk,
    /// That the node may have one alloc more, where it may not have any number.
    Allocs,
    Cores,
    Devices,
    Port,
}

impl Look {
    /// Of the nodes themselves.
    pub(super) fn outside(state: &State) -> Self {
        let fleet = state.fleet();
        let is_closed = |&slot: &NodeSlot| !fleet.is_placeable(slot);
        Self {
            node_count: fleet.slots().count(),
            closed_count: fleet.slots().filter(is_closed).count(),
            ..Self::default()
        }
    }

    /// Where a candidate stands among the others, from 1.
    #[must_use]
    pub fn rank(&self, slot: NodeSlot) -> Option<(usize, &Standing)> {
        (1..).zip(&self.candidates).find(|(_, standing)| standing.slot == slot)
    }
}

/// How the nodes compare when `eval` is scheduled. `None`: nothing of the job is placed at all.
///
/// # Panics
/// If the newest version has no such group.
#[must_use]
pub fn look(view: &View<'_>, eval: &Evaluation, seed: u64, sought: Sought) -> Option<Look> {
    let (view, state) = (*view, view.state);
    let now = state.clock().max(eval.wait_until.unwrap_or_default());
    let sorter = Sorter { state, job: state.job(eval.job), now, eval: eval.id };
    let (spec, job) = (sorter.wanted()?, sorter.job?);
    assert!(sought.group < spec.groups.len(), "the group is one of the newest version");
    let mut memo = Memo::default();
    let mut draft = Draft::of(&mut memo, view, eval, usize::MAX);
    let allocs = state.allocs_of_job(job.id).filter(|alloc| Some(alloc.id) != sought.without);
    let look = if spec.kind.is_on_every_node() {
        system::look(&mut draft, (job, allocs), sought, (now, seed))
    } else {
        let buckets = sorter.sort(allocs);
        draft.look((job, &buckets), sought, seed)
    };
    if let (Some(slot), Some(tried)) = (sought.node, &look.tried) {
        let is_met = tried.iter().all(|one| one.is_met);
        assert!(is_met == look.rank(slot).is_some(), "who meets all that is asked is a candidate");
    }
    Some(look)
}
