//! Which services of an alloc stand in the catalog, and as what.
//!
//! | whose it is | it stands while |
//! |---|---|
//! | a task's | the task runs, and is not being stopped |
//! | a group's | any task does, or the one that it names |
//!
//! Nothing of an alloc stands once it is being stopped, from before its `shutdown_delay`: nobody new is
//! to come meanwhile. A task that ran when the agent ended counts as running until its driver has
//! spoken, so that what stands in the catalog need not go and come back.
//!
//! Invariants
//! - whenever the node is known, what was said last of an alloc is what stands.
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Output;
use super::environment::{self, Lookup, interpolate};
use super::task::TaskRun;
use crate::emit::Emit;
use crate::types::{
    Advert, AdvertCheck, AllocSpec, AssignedAlloc, Check, NodeSpec, PortGrant, Service, TaskPhase,
};

/// What was said of one alloc's services.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Services {
    /// By position, the tasks that counted as running; empty: nothing stood.
    said: Vec<bool>,
    /// What was said may be wrong: the job, or the node, is another than then.
    is_stale: bool,
    /// How often something was said.
    round: u32,
    /// All checks of what was said last pass.
    pass: bool,
}

impl Services {
    /// The alloc takes another version, or its node is another.
    pub(super) fn on_changed(&mut self) {
        self.is_stale = !planted!(ServicesNotRenewed);
    }

    /// Consul's opinion of what was said in that round.
    pub(super) const fn on_checks(&mut self, round: u32, pass: bool) {
        if round == self.round {
            self.pass = pass;
        }
    }

    /// Whether every check passes that there is.
    pub(super) fn are_well(&self, spec: &AllocSpec) -> bool {
        self.pass || !spec.group.has_checks() || planted!(ChecksIgnored)
    }

    /// Whether something is to be said of an alloc with these tasks.
    pub(super) fn has_news(&self, spec: &AllocSpec, tasks: &[TaskRun], is_stopping: bool) -> bool {
        let stands = standing(spec, tasks, is_stopping);
        stands != self.said || self.is_stale && !stands.is_empty()
    }

    /// Says what is to be said.
    pub(super) fn look(
        &mut self,
        (run, spec): (&AssignedAlloc, &AllocSpec),
        (tasks, is_stopping): (&[TaskRun], bool),
        node: &NodeSpec,
        out: &mut impl Emit<Output>,
    ) {
        if self.has_news(spec, tasks, is_stopping) {
            self.said = standing(spec, tasks, is_stopping);
            let services = Here { run, spec, node }.adverts(&self.said);
            // Nothing is known yet of what is told now.
            (self.round, self.pass) = (self.round.wrapping_add(1), false);
            let (alloc, uuid, round) = (run.id, run.uuid, self.round);
            out.emit(Output::Advertise { alloc, uuid, round, services });
        }
        self.is_stale = false;
    }
}

/// By position, the tasks whose services stand; empty: there is nothing to stand.
fn standing(spec: &AllocSpec, tasks: &[TaskRun], is_stopping: bool) -> Vec<bool> {
    if !spec.group.has_services() {
        return Vec::new();
    }
    let is_up = |task: &TaskRun| {
        let lives = task.state.phase == TaskPhase::Running;
        !is_stopping && task.is_up() || lives && planted!(ServicesOutliveStop)
    };
    let stands: Vec<_> = tasks.iter().map(is_up).collect();
    if stands.contains(&true) { stands } else { Vec::new() }
}

/// Where texts get their meaning.
#[derive(Clone, Copy)]
struct Here<'a> {
    run: &'a AssignedAlloc,
    spec: &'a AllocSpec,
    node: &'a NodeSpec,
}

impl Here<'_> {
    fn adverts(&self, stands: &[bool]) -> Vec<Advert> {
        let group = &self.spec.group;
        let up = |name: &str| {
            group.tasks.iter().zip(stands).any(|(task, &is_up)| is_up && task.name == name)
        };
        let mut adverts = Vec::new();
        for service in &group.services {
            let at = group.tasks.iter().position(|task| task.name == service.task);
            if !stands.is_empty() && (service.task.is_empty() || up(&service.task)) {
                adverts.push(self.advert(service, None, &self.env(at)));
            }
        }
        for (at, (task, &is_up)) in group.tasks.iter().zip(stands).enumerate() {
            if is_up && !task.services.is_empty() {
                let env = self.env(Some(at));
                let of_task = task
                    .services
                    .iter()
                    .map(|service| self.advert(service, Some(&task.name), &env));
                adverts.extend(of_task);
            }
        }
        adverts
    }

    fn env(&self, task: Option<usize>) -> BTreeMap<String, String> {
        match task {
            Some(task) => environment::of_task(self.run, self.spec, task, self.node),
            None => environment::of_group(self.run, self.spec, self.node),
        }
    }

    fn advert(
        &self,
        service: &Service,
        task: Option<&String>,
        env: &BTreeMap<String, String>,
    ) -> Advert {
        let lookup = Lookup { node: Some(self.node), region: &self.spec.region, env };
        let text = |text: &String| interpolate(text, &lookup);
        let is_canary = self.run.is_canary;
        let tags = match &service.canary_tags {
            own if is_canary && !own.is_empty() => own,
            _ => &service.tags,
        };
        let meta = match &service.canary_meta {
            own if is_canary && !own.is_empty() => own,
            _ => &service.meta,
        };
        let port = port(&self.run.ports, &text(&service.port));
        let check = |check: &Check| {
            let check = resolved(check, &lookup);
            let own = check.port.as_str();
            let port = if own.is_empty() { port } else { self::port(&self.run.ports, own) };
            let address = environment::address_of(self.node).into();
            AdvertCheck { check, address, port }
        };
        Advert {
            task: task.cloned(),
            name: text(&service.name),
            port_label: text(&service.port),
            tags: tags.iter().map(text).collect(),
            meta: meta.iter().map(|(key, value)| (text(key), text(value))).collect(),
            address: if service.address.is_empty() {
                environment::address_of(self.node).into()
            } else {
                text(&service.address)
            },
            port,
            enable_tag_override: service.enable_tag_override,
            checks: service.checks.iter().map(check).collect(),
        }
    }
}

fn resolved(check: &Check, lookup: &Lookup<'_>) -> Check {
    let text = |text: &String| interpolate(text, lookup);
    let header = check.header.iter();
    Check {
        name: text(&check.name),
        port: text(&check.port),
        path: text(&check.path),
        method: text(&check.method),
        header: header
            .map(|(key, values)| (text(key), values.iter().map(text).collect()))
            .collect(),
        body: text(&check.body),
        protocol: text(&check.protocol),
        grpc_service: text(&check.grpc_service),
        tls_server_name: text(&check.tls_server_name),
        notes: text(&check.notes),
        ..*check
    }
}

/// The port of that label, or the number that it is; zero: none.
fn port(ports: &[PortGrant], label: &str) -> u16 {
    let granted = ports.iter().find(|port| port.label == label).map(|port| port.value);
    granted.or_else(|| label.parse().ok()).unwrap_or_default()
}
