//! Gates: what may be registered, and that a group which was let in once waits no more.
//!
//! Whether a gate is open is looked up when the group is scheduled (`state::gates`); the plan says which
//! groups it has let in, and the job remembers them for as long as it is not stopped. So neither an update nor
//! a replacement ever waits for a target that is not well at the moment.
//!
//! Invariants
//! - a group that was let in is let in until its job is stopped;
//! - no group waits for itself, by whatever detour, as specifications stood when it was registered.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{deployment, invalid};
use crate::api::Rejection;
use crate::limits::{GATE_WALK_MAX, GATES_MAX};
use crate::state::State;
use crate::state::txn::Txn;
use crate::types::{Gate, Group, Job, JobSpec, Plan, Until};

/// Of the newest version, the groups that have waited already: those that could run when `older` was the
/// newest.
pub(super) fn carried_over(older: &Job, spec: &JobSpec) -> BTreeSet<String> {
    if older.stopped || planted!(OpenedForgotten) {
        return BTreeSet::new();
    }
    let was_let_in = |group: &&Group| {
        let known = older.newest().spec.group(&group.name);
        known.is_some_and(|(_, before)| older.is_let_in(before))
    };
    let gated = spec.groups.iter().filter(|group| spec.gates_of(group).next().is_some());
    gated.filter(was_let_in).map(|group| group.name.clone()).collect()
}

/// Remember whom the plan has let in, before it is applied.
pub(super) fn let_in(txn: &mut Txn<'_>, plan: &Plan) {
    let job = txn.state().job(plan.job).filter(|job| !job.stopped);
    let Some(job) = job.filter(|job| job.newest().version == plan.version) else { return };
    let groups = &job.newest().spec.groups;
    let opened = plan.opened.iter().filter_map(|&at| groups.get(usize::from(at)));
    let opened = opened.filter(|group| !job.is_let_in(group)).map(|group| group.name.clone());
    let opened: Vec<String> = opened.collect();
    if opened.is_empty() {
        return;
    }
    let mut job = job.clone();
    job.lineage.opened.extend(opened.iter().cloned());
    txn.put_job(job);
    deployment::wait_no_more(txn, plan.job, &opened);
}

/// Whether the gates of `spec` make sense, beside what is registered.
pub(super) fn check(state: &State, spec: &JobSpec) -> Result<(), Rejection> {
    if !spec.has_gates() {
        return Ok(());
    }
    let wrong = |why: &str| Err(invalid("after", why));
    let lists = spec.groups.iter().map(|group| &group.after);
    for list in core::iter::once(&spec.after).chain(lists) {
        if GATES_MAX < list.len() {
            return wrong(&format!("a job or a group has at most {GATES_MAX} blocks `after`"));
        }
    }
    for gate in spec.after.iter().chain(spec.groups.iter().flat_map(|group| &group.after)) {
        let (job, group) = (gate.job.as_deref(), gate.group.as_deref());
        if job.is_none() && group.is_none() {
            return wrong("name the job that is waited for, or a group of this one");
        }
        let target = spec.target_of(gate);
        let other = state.job_named(&spec.namespace, target).map(|job| &*job.newest().spec);
        let found = if target == spec.id { Some(spec) } else { other };
        let Some(target) = found else { continue };
        if gate.until == Some(Until::Complete) && !target.kind.ends() {
            let why = format!(
                "job \"{}\" runs until it is stopped and is never complete: wait until = \"healthy\"",
                target.id
            );
            return wrong(&why);
        }
        // Another job may get the group yet.
        let is_own = target.id == spec.id;
        if let Some(name) = group.filter(|name| is_own && target.group(name).is_none()) {
            return wrong(&format!("job \"{}\" has no group \"{name}\"", target.id));
        }
    }
    Walk { state, spec, begun: BTreeMap::new(), path: Vec::new() }.all()
}

/// A group, or a job as a whole.
type Place<'a> = (&'a JobSpec, Option<&'a Group>);

/// A walk from the groups of a specification to all that they wait for.
struct Walk<'a> {
    state: &'a State,
    /// Stands for the job of its name, whatever is registered.
    spec: &'a JobSpec,
    /// What was walked through, by job and group, and whether it is on the path.
    begun: BTreeMap<(&'a str, Option<&'a str>), bool>,
    /// From where the walk began to where it is, with what each has still to wait for.
    path: Vec<(Place<'a>, Vec<Place<'a>>)>,
}

impl<'a> Walk<'a> {
    fn all(mut self) -> Result<(), Rejection> {
        for group in &self.spec.groups {
            self.from((self.spec, Some(group)))?;
        }
        Ok(())
    }

    /// Without recursion: what is registered must not decide how deep the stack grows.
    fn from(&mut self, place: Place<'a>) -> Result<(), Rejection> {
        self.enter(place)?;
        while let Some((_, awaited)) = self.path.last_mut() {
            match awaited.pop() {
                Some(next) => self.enter(next)?,
                None => {
                    let done = self.path.pop().map(|(place, _)| named(place));
                    self.begun.extend(done.map(|name| (name, false)));
                }
            }
        }
        Ok(())
    }

    fn enter(&mut self, place: Place<'a>) -> Result<(), Rejection> {
        match self.begun.get(&named(place)) {
            Some(true) => return Err(self.round_to(place)),
            Some(false) => return Ok(()),
            None => self.begun.insert(named(place), true),
        };
        if GATE_WALK_MAX < self.begun.len() {
            let why = format!("it waits for more than {GATE_WALK_MAX} groups and jobs");
            return Err(invalid("after", &why));
        }
        let awaited = self.awaited(place);
        self.path.push((place, awaited));
        Ok(())
    }

    /// From a place on the path around to itself, in words.
    fn round_to(&self, place: Place<'a>) -> Rejection {
        let from = self.path.iter().position(|&(one, _)| named(one) == named(place));
        let round = self.path[from.unwrap_or(0)..].iter().map(|&(one, _)| one).chain([place]);
        let mut groups: Vec<_> = round.filter_map(|(spec, group)| Some((spec, group?))).collect();
        groups.extend(groups.first().copied().filter(|_| place.1.is_none()));
        let words = groups.into_iter();
        let words = words.map(|(spec, one)| format!("group {:?} of job {:?}", one.name, spec.id));
        let words = words.collect::<Vec<_>>().join(" waits for ");
        invalid("after", &format!("nothing of it would ever begin: {words}"))
    }

    /// What this one waits for directly, as far as it is there. A job waits for all of its groups.
    fn awaited(&self, (spec, group): Place<'a>) -> Vec<Place<'a>> {
        let Some(group) = group else {
            return spec.groups.iter().map(|group| (spec, Some(group))).collect();
        };
        let of_gate = |gate: &'a Gate| {
            let target = self.spec_of(&spec.namespace, spec.target_of(gate))?;
            match &gate.group {
                None => Some((target, None)),
                Some(name) => target.group(name).map(|(_, group)| (target, Some(group))),
            }
        };
        spec.gates_of(group).filter_map(of_gate).collect()
    }

    fn spec_of(&self, namespace: &str, name: &str) -> Option<&'a JobSpec> {
        if name == self.spec.id {
            return Some(self.spec);
        }
        let known = self.state.job_named(namespace, name)?;
        Some(&known.newest().spec)
    }
}

fn named<'a>((spec, group): Place<'a>) -> (&'a str, Option<&'a str>) {
    (&spec.id, group.map(|group| group.name.as_str()))
}
