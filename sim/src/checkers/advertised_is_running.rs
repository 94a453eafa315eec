//! ∀ alloc a, task t: when t is asked to stop, no service of t stands in the catalog, and if a has no
//! other task, none of a (core/client/services.rs); after healing, ◇: what stands of an alloc is what its
//! version says of those of its tasks that live — nobody is sent to what is not there.
//!
//! Invariants
//! - what lives is asked of the drivers, and what is wanted of the tables; the client only says what
//!   stands.
use std::collections::{BTreeMap, BTreeSet};

use drover_core::state::State;
use drover_core::types::{
    Advert, AllocId, Allocation, ClientStatus, DesiredStatus, Group, Service, TaskKey,
};

use super::Verdict;
use crate::network::HostId;
use crate::workload::task_name;

/// A service in the catalog: whose it is, its name and its tags.
type Entry = (Option<String>, String, Vec<String>);

/// What stands, by what the present agents have said.
#[derive(Debug, Default)]
pub struct AdvertisedIsRunning {
    stands: BTreeMap<AllocId, (HostId, BTreeSet<Entry>)>,
    said: u64,
}

impl AdvertisedIsRunning {
    /// The agent on `host` has said what stands of an alloc.
    pub fn on_advertised(&mut self, host: HostId, alloc: AllocId, services: &[Advert]) {
        self.said += 1;
        let entry =
            |advert: &Advert| (advert.task.clone(), advert.name.clone(), advert.tags.clone());
        let entries: BTreeSet<_> = services.iter().map(entry).collect();
        if entries.is_empty() {
            self.stands.remove(&alloc);
        } else {
            self.stands.insert(alloc, (host, entries));
        }
    }

    /// A new agent on `host` has said nothing yet.
    pub fn on_agent(&mut self, host: HostId) {
        self.stands.retain(|_, (by, _)| *by != host);
    }

    /// A task is asked to end; `state` says whether its alloc has others.
    pub fn on_stopped(&self, state: &State, key: TaskKey) -> Verdict {
        let Some((_, entries)) = self.stands.get(&key.alloc) else { return Ok(()) };
        let group = state.alloc(key.alloc).and_then(|alloc| group_of(state, alloc));
        let is_alone = group.is_some_and(|group| group.tasks.len() == 1);
        let name = task_name(key.task.into());
        let is_of_it = |whose: &Option<String>| is_alone || whose.as_ref() == Some(&name);
        match entries.iter().find(|(whose, ..)| is_of_it(whose)) {
            Some(entry) => Err(format!("{key:?} is asked to end while {entry:?} stands")),
            None => Ok(()),
        }
    }

    /// How often something was said.
    #[must_use]
    pub const fn said(&self) -> u64 {
        self.said
    }

    /// When all faults are over: with the tasks of which a process lives.
    pub fn check(&self, state: &State, live: &BTreeSet<(AllocId, u16)>) -> Verdict {
        let runs = |alloc: &&Allocation| {
            alloc.desired == DesiredStatus::Run && alloc.client_status == ClientStatus::Running
        };
        let mut wanted = BTreeMap::new();
        for alloc in state.allocs().filter(runs) {
            let group = group_of(state, alloc);
            let entries = group.map(|group| entries_of(alloc.id, group, live)).unwrap_or_default();
            if !entries.is_empty() {
                wanted.insert(alloc.id, entries);
            }
        }
        let nothing = BTreeSet::new();
        for alloc in wanted.keys().chain(self.stands.keys()) {
            let stands = self.stands.get(alloc).map_or(&nothing, |(_, entries)| entries);
            let wanted = wanted.get(alloc).unwrap_or(&nothing);
            if stands != wanted {
                return Err(format!("of {alloc:?} stands {stands:?}, and {wanted:?} should"));
            }
        }
        Ok(())
    }
}

/// The group that the alloc runs as.
fn group_of<'s>(state: &'s State, alloc: &Allocation) -> Option<&'s Group> {
    let version = state.job(alloc.job)?.version(alloc.version)?;
    version.spec.groups.get(usize::from(alloc.group))
}

fn entries_of(alloc: AllocId, group: &Group, live: &BTreeSet<(AllocId, u16)>) -> BTreeSet<Entry> {
    let entry = |whose: Option<&String>, service: &Service| {
        (whose.cloned(), service.name.clone(), service.tags.clone())
    };
    let up = (0..).zip(&group.tasks).filter(|&(at, _)| live.contains(&(alloc, at)));
    let up: Vec<_> = up.map(|(_, task)| task).collect();
    let of_group = group.services.iter().filter(|_| !up.is_empty());
    let of_tasks = up
        .iter()
        .flat_map(|task| task.services.iter().map(|service| entry(Some(&task.name), service)));
    of_group.map(|service| entry(None, service)).chain(of_tasks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOC: AllocId = AllocId(7);

    fn advert(task: Option<&str>) -> Advert {
        Advert { task: task.map(str::to_owned), name: "web".into(), ..Advert::default() }
    }

    fn key(task: u16) -> TaskKey {
        TaskKey { alloc: ALLOC, task, attempt: 0 }
    }

    #[test]
    fn it_fires_when_a_task_is_stopped_while_it_can_be_found() {
        let (mut checker, state) = (AdvertisedIsRunning::default(), State::new());
        checker.on_advertised(HostId(1), ALLOC, &[advert(None), advert(Some("work1"))]);
        assert_eq!(checker.on_stopped(&state, key(0)), Ok(()));
        assert!(checker.on_stopped(&state, key(1)).is_err());
        checker.on_advertised(HostId(1), ALLOC, &[]);
        assert_eq!(checker.on_stopped(&state, key(1)), Ok(()));
    }

    #[test]
    fn it_fires_when_something_stands_of_what_does_not_run() {
        let mut checker = AdvertisedIsRunning::default();
        let (state, live) = (State::new(), BTreeSet::new());
        assert_eq!(checker.check(&state, &live), Ok(()));
        checker.on_advertised(HostId(1), ALLOC, &[advert(None)]);
        assert!(checker.check(&state, &live).is_err());
        checker.on_agent(HostId(1));
        assert_eq!(checker.check(&state, &live), Ok(()));
    }
}
