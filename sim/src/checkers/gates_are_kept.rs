//! ∀ alloc a of a group g, made by entry i: since its job was last started ∃ j < i: after entry j all gates
//! of g were open, or g had none — nothing new is placed before what it comes after.
//!
//! Invariants
//! - whether a gate is open is judged here by what no open gate can lack, not by the scheduler's rule.
use std::collections::{BTreeMap, BTreeSet};

use drover_core::state::{Change, State};
use drover_core::types::{
    AllocId, Allocation, ClientStatus, DesiredStatus, Gate, Group, Index, Job, JobId, JobKind,
    JobSpec, Until,
};

use super::Verdict;

/// By job, the groups that nothing has kept from being placed at one moment since it was started.
#[derive(Debug, Default)]
pub struct GatesAreKept(BTreeMap<JobId, BTreeSet<String>>);

impl GatesAreKept {
    /// The entry at `index` has made these changes.
    ///
    /// # Errors
    /// It has placed what had to wait.
    pub fn on_applied(&mut self, state: &State, index: Index, changes: &[Change]) -> Verdict {
        if changes.contains(&Change::Restored) {
            self.believe(state);
            state.waiters().into_iter().for_each(|id| self.follow(state, id));
            return Ok(());
        }
        for change in changes {
            if let Change::Alloc(id) = *change {
                self.look_at(state, index, id)?;
            }
        }
        for change in changes {
            if let Change::Job(id) = *change {
                self.follow(state, id);
            }
        }
        if !state.has_waiters() {
            return Ok(());
        }
        for id in state.waiters() {
            self.follow(state, id);
        }
        Ok(())
    }

    /// A saved state knows more of what was than anybody who sees it for the first time.
    fn believe(&mut self, state: &State) {
        self.0.clear();
        for job in state.jobs().filter(|job| !job.stopped) {
            let groups = job.newest().spec.groups.iter().filter(|group| job.is_let_in(group));
            self.0.insert(job.id, groups.map(|group| group.name.clone()).collect());
        }
    }

    fn look_at(&self, state: &State, index: Index, id: AllocId) -> Verdict {
        let Some(alloc) = state.alloc(id).filter(|alloc| alloc.create_index == index) else {
            return Ok(());
        };
        let name = state.group_name(alloc).unwrap_or_default();
        if self.0.get(&alloc.job).is_some_and(|groups| groups.contains(name)) {
            return Ok(());
        }
        let job = state.job(alloc.job).map_or("", |job| &job.newest().spec.id);
        Err(format!("{id:?} is placed, and what group {name} of {job} comes after has not come"))
    }

    fn follow(&mut self, state: &State, id: JobId) {
        let Some(job) = state.job(id).filter(|job| !job.stopped && !job.purged) else {
            self.0.remove(&id);
            return;
        };
        let spec = &job.newest().spec;
        let known = self.0.entry(id).or_default();
        known.retain(|name| spec.group(name).is_some());
        for group in &spec.groups {
            if !known.contains(&group.name) && is_free(state, spec, group) {
                known.insert(group.name.clone());
            }
        }
    }
}

fn is_free(state: &State, spec: &JobSpec, group: &Group) -> bool {
    spec.gates_of(group).all(|gate| may_be_open(state, spec, gate))
}

fn may_be_open(state: &State, spec: &JobSpec, gate: &Gate) -> bool {
    let name = gate.job.as_ref().unwrap_or(&spec.id);
    let target = state.job_named(&spec.namespace, name).filter(|job| !job.stopped);
    let Some(target) = target else { return false };
    let newest = &target.newest().spec;
    let is_meant = |group: &Group| gate.group.as_ref().is_none_or(|name| *name == group.name);
    let until = gate.until.unwrap_or(Until::usual(newest.kind));
    let meant = newest.groups.iter().enumerate().filter(|(_, group)| is_meant(group));
    let mut wanted = meant.filter(|(_, group)| 0 < group.count).peekable();
    wanted.peek().is_some() && wanted.all(|group| is_there(state, target, group, until))
}

/// Whether as many allocs of the group as it wants are as they should be.
fn is_there(state: &State, job: &Job, (at, group): (usize, &Group), until: Until) -> bool {
    let newest = job.newest();
    let is_good = |alloc: &&Allocation| {
        let is_current = alloc.version == newest.version && usize::from(alloc.group) == at;
        let is_done = newest.spec.kind.ends() && alloc.client_status == ClientStatus::Complete;
        let runs = alloc.client_status == ClientStatus::Running;
        let is_well = newest.spec.kind != JobKind::Service || alloc.is_healthy();
        let is_as_wanted = match until {
            Until::Healthy => runs && is_well || is_done,
            Until::Complete => is_done,
        };
        is_current && alloc.desired == DesiredStatus::Run && is_as_wanted
    };
    let good = state.allocs_of_job(job.id).filter(is_good).count();
    u32::try_from(good).is_ok_and(|good| group.count <= good)
}

#[cfg(test)]
mod tests {
    use drover_core::fsm::{self, Command, Entry};
    use drover_core::planner::InFlight;
    use drover_core::scheduler::{View, schedule};
    use drover_core::time::WallTime;
    use drover_core::types::{AllocHealth, AllocUpdate};

    use super::*;
    use crate::workload::{self, NAMESPACE};

    struct Rig {
        state: State,
        checker: GatesAreKept,
    }

    impl Rig {
        fn enter(&mut self, command: Command) -> Verdict {
            let entry = Entry { stamp: WallTime { unix_ms: 1 }, session: None, command };
            let (index, mut changes) = (self.state.index().next(), Vec::new());
            let _outcome = fsm::apply(&mut self.state, index, &entry, &mut changes);
            self.checker.on_applied(&self.state, index, &changes)
        }

        fn register(&mut self, job: &str, after: Option<&str>) {
            let (mut other, index) = (self.state.clone(), self.state.index().next().0);
            workload::register_in(&mut other, index, 1);
            let one = other.job_named(NAMESPACE, "job1").expect("just registered");
            let mut spec = (*one.newest().spec).clone();
            let gate = |name: &str| Gate { job: Some(name.to_owned()), group: None, until: None };
            (spec.id, spec.after) = (job.to_owned(), after.map(gate).into_iter().collect());
            let command = Command::RegisterJob { spec: spec.into(), check_index: None };
            assert_eq!(self.enter(command), Ok(()));
        }

        /// The plan of the job, as if it had no gates.
        fn place(&mut self, job: &str) -> Verdict {
            let id = self.state.job_named(NAMESPACE, job).expect("registered").id;
            let mut free = self.state.clone();
            let mut spec = (*free.job(id).expect("known").newest().spec).clone();
            spec.after.clear();
            let command = Command::RegisterJob { spec: spec.into(), check_index: None };
            let entry = Entry { stamp: WallTime { unix_ms: 1 }, session: None, command };
            let index = free.index().next();
            let _outcome = fsm::apply(&mut free, index, &entry, &mut Vec::new());
            let eval = free.pending_evals_of_job(id).next().expect("one is open").clone();
            let view = View { state: &free, in_flight: &InFlight::default() };
            let mut plan = schedule(&view, &eval, 1, 10);
            plan.version = self.state.job(id).expect("known").newest().version;
            // What a scheduler says that looks at no gate.
            plan.opened = vec![0];
            assert!(!plan.placements.is_empty(), "there is room");
            self.enter(Command::ApplyPlan(plan))
        }
    }

    /// A job that is placed, and another that comes after it.
    fn one_after_the_other() -> Rig {
        let mut rig = Rig { state: State::new(), checker: GatesAreKept::default() };
        let spec = workload::node_of(1, &mut drover_core::rng::Rng::from_seed(1));
        let nodes = vec![spec.id];
        assert_eq!(rig.enter(Command::RegisterNode { spec: spec.into() }), Ok(()));
        let status = drover_core::types::NodeStatus::Ready;
        let reason = String::new();
        assert_eq!(rig.enter(Command::SetNodeStatus { nodes, status, reason }), Ok(()));
        rig.register("first", None);
        assert_eq!(rig.place("first"), Ok(()), "it waits for nobody");
        rig.register("second", Some("first"));
        rig
    }

    #[test]
    fn it_knows_what_a_saved_state_lets_in() {
        let mut rig = one_after_the_other();
        let first = rig.state.job_named(NAMESPACE, "first").expect("registered").id;
        let updates = rig.state.allocs_of_job(first).map(|alloc| AllocUpdate {
            id: alloc.id,
            status: ClientStatus::Running,
            description: String::new(),
            tasks: BTreeMap::new(),
            health: Some(AllocHealth {
                version: alloc.version,
                healthy: true,
                at: WallTime { unix_ms: 1 },
            }),
        });
        let updates: Vec<AllocUpdate> = updates.collect();
        let node = rig.state.nodes().next().expect("registered").spec.id;
        // Nobody has seen how it came to be so.
        rig.checker = GatesAreKept::default();
        let command = Command::UpdateAllocs { node, updates };
        let entry = Entry { stamp: WallTime { unix_ms: 1 }, session: None, command };
        let index = rig.state.index().next();
        let _outcome = fsm::apply(&mut rig.state, index, &entry, &mut Vec::new());
        assert_eq!(rig.checker.on_applied(&rig.state, index, &[Change::Restored]), Ok(()));
        assert_eq!(rig.place("second"), Ok(()));
    }

    #[test]
    fn it_fires_when_what_should_wait_is_placed() {
        let mut rig = one_after_the_other();
        let fired = rig.place("second").expect_err("the first one is not healthy");
        assert!(fired.contains("group group of second"), "{fired}");
    }
}
