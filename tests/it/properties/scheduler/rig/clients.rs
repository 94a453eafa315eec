//! Clients that do what they are told, and say so.
use std::collections::BTreeMap;

use drover_core::fsm::Command;
use drover_core::types::*;

use super::Cluster;

impl Cluster {
    /// Clients of ready nodes start what they must run, end what they must stop, and say what is
    /// healthy, or is too late to be.
    pub(crate) fn clients_act(&mut self) {
        let acting = self.state.allocs().filter(|alloc| {
            let node = self.state.node(alloc.node);
            node.is_some_and(|node| node.status == NodeStatus::Ready)
        });
        let moved = acting.filter_map(|alloc| match (alloc.desired, alloc.client_status) {
            (DesiredStatus::Run, ClientStatus::Pending) => Some((alloc, ClientStatus::Running)),
            (DesiredStatus::Run, ClientStatus::Running) => {
                let known = self.running.get(&alloc.id);
                let is_news = known.is_none_or(|known| known.0 != alloc.version);
                let is_due = is_news || self.verdict(alloc).is_some();
                is_due.then_some((alloc, ClientStatus::Running))
            }
            (DesiredStatus::Stop, ClientStatus::Pending | ClientStatus::Running) => {
                let is_stubborn = self.stubborn == Some(alloc.node);
                (!is_stubborn).then_some((alloc, ClientStatus::Complete))
            }
            _ => None,
        });
        let moved: Vec<_> = moved
            .map(|(alloc, to)| (alloc.node, alloc.id, alloc.version, to, self.verdict(alloc)))
            .collect();
        for (node, alloc, version, status, health) in moved {
            let since = self.running.get(&alloc).copied().filter(|known| known.0 == version);
            let since = since.unwrap_or((version, self.stamp));
            self.running.insert(alloc, since);
            self.report(node, alloc, status, health);
        }
    }

    /// What the client finds out about the alloc by now. A version that it has just taken is judged
    /// from the moment on at which the client was first looked at.
    fn verdict(&self, alloc: &Allocation) -> Option<AllocHealth> {
        let job = self.state.job(alloc.job).expect("a known job");
        let spec = &job.version(alloc.version).expect("a kept version").spec;
        let group = &spec.groups[usize::from(alloc.group)];
        let (check, least_ms, most_ms) =
            if alloc.deployment.is_some() && 0 < group.update.parallel_max {
                let policy = &group.update;
                (policy.health_check, policy.min_healthy_ms, policy.healthy_deadline_ms)
            } else {
                let policy = &group.migrate;
                (policy.health_check, policy.min_healthy_ms, policy.healthy_deadline_ms)
            };
        let asked = check != HealthCheck::Manual;
        if alloc.health.is_some() || !asked || spec.kind != JobKind::Service {
            return None;
        }
        let known = self.running.get(&alloc.id).filter(|known| known.0 == alloc.version);
        let waited_ms = known.map_or(0, |(_, since)| self.stamp.ms_since(*since));
        let is_sick = self.sick.contains(&alloc.version);
        let healthy = !is_sick && known.is_some() && least_ms <= waited_ms;
        let is_late = is_sick && most_ms <= waited_ms;
        let verdict = AllocHealth { version: alloc.version, healthy, at: self.stamp };
        (healthy || is_late).then_some(verdict)
    }

    fn report(
        &mut self,
        node: NodeId,
        id: AllocId,
        status: ClientStatus,
        health: Option<AllocHealth>,
    ) {
        let (description, tasks) = (String::new(), BTreeMap::new());
        let update = AllocUpdate { id, status, description, tasks, health };
        self.run(Command::UpdateAllocs { node, updates: vec![update] });
    }

    /// The client says that the live alloc with this ordinal has ended.
    pub(crate) fn end(&mut self, job: JobId, ordinal: u32, status: ClientStatus) -> AllocId {
        let live = self.live(job).into_iter().find(|alloc| alloc.ordinal == ordinal);
        let (node, id) = live.map(|alloc| (alloc.node, alloc.id)).expect("a live alloc");
        self.report(node, id, status, None);
        id
    }

    /// The client has something new to say of the live alloc with this ordinal, which goes on as it was.
    pub(crate) fn describe(&mut self, job: JobId, ordinal: u32, description: &str) {
        let live = self.live(job).into_iter().find(|alloc| alloc.ordinal == ordinal);
        let (node, id, status) =
            live.map(|one| (one.node, one.id, one.client_status)).expect("a live alloc");
        let (description, tasks) = (description.to_owned(), BTreeMap::new());
        let update = AllocUpdate { id, status, description, tasks, health: None };
        self.run(Command::UpdateAllocs { node, updates: vec![update] });
    }
}
