//! The words of `scenarios/drains`: one job, nodes that are emptied, and what leaves them when.
//!
//! | command | what |
//! |---|---|
//! | `nodes count=`, `nodes-more count=` | ready nodes of 4,000 MHz |
//! | `register count= max_parallel= batch=yes min_healthy_s= size= program= canary=` | the job, or a new version; what is not given stays |
//! | `drain node= deadline_s= force=yes` | without a deadline: at its own pace |
//! | `undrain node= eligible=yes`, `admit node=` | as operators ask |
//! | `clients`, `clients stubborn=` | clients do what they are told, but for this node's, which stop nothing |
//! | `wait s=` | time passes; leaders look at deadlines |
//! | `live s=` | seconds pass, and clients act in each |
//! | `lose node=`, `return node=` | a node is down, and registers again |
//! | `fail node=`, `end node=` | what runs on a node fails, or ends well |
//! | `show` | each node and what it holds |
//!
//! Each prints what the scheduler planned because of it, and what became of drains.
use std::collections::BTreeMap;

use drover_core::api::Rejection;
use drover_core::fsm::{Command as Entry, Outcome};
use drover_core::types::*;
use drover_tests::Command;

use crate::properties::scheduler::rig::{Cluster, node, ranges, service};

/// See the module.
pub(crate) struct Bench {
    cluster: Cluster,
    spec: JobSpec,
    job: JobId,
    /// By node, events that were told.
    told: BTreeMap<NodeId, usize>,
}

impl Default for Bench {
    fn default() -> Self {
        let mut spec = service(3);
        spec.groups[0].update = UpdatePolicy::default();
        Self { cluster: Cluster::with_nodes(0), spec, job: JobId(0), told: BTreeMap::new() }
    }
}

impl Bench {
    pub(crate) fn run(&mut self, command: &Command<'_>) -> String {
        self.cluster.story.clear();
        let mut said = Vec::new();
        match command.name {
            "nodes" => self.cluster = Cluster::with_nodes(u128::from(command.number("count"))),
            "nodes-more" => {
                for _ in 0..command.number("count") {
                    let next = self.cluster.state.nodes().count() as u128 + 1;
                    self.cluster.add_node(node(next));
                }
            }
            "register" => self.register(command),
            "clients" => {
                self.cluster.stubborn =
                    command.value("stubborn").map(|_| node_of(command, "stubborn"));
                self.cluster.clients_act();
            }
            "wait" => self.cluster.wait_ms(command.number("s") * 1_000),
            "live" => {
                for _ in 0..command.number("s") {
                    self.cluster.wait_ms(1_000);
                    self.cluster.clients_act();
                    self.cluster.settle();
                }
            }
            "drain" | "undrain" | "admit" => said.extend(self.order(command)),
            "lose" => self.cluster.mark(node_of(command, "node").0, NodeStatus::Down),
            "return" => self.cluster.add_node(node(node_of(command, "node").0)),
            "fail" | "end" => self.end(command),
            "show" => return self.show(),
            other => panic!("no such command: {other}"),
        }
        self.cluster.settle();
        said.append(&mut self.cluster.story);
        said.extend(self.news());
        said.join("\n")
    }

    fn register(&mut self, command: &Command<'_>) {
        for (key, value) in command.pairs() {
            let group = &mut self.spec.groups[0];
            let number = || value.parse::<u32>().expect("a number");
            match key {
                "count" => group.count = number(),
                "max_parallel" => group.migrate.parallel_max = number(),
                "min_healthy_s" => group.migrate.min_healthy_ms = u64::from(number()) * 1_000,
                "size" => group.tasks[0].resources.cpu_mhz = number(),
                "program" => group.tasks[0].config_json = format!("\"{value}\""),
                "canary" => group.update.canary = number(),
                "update_parallel" => group.update.parallel_max = number(),
                "batch" => self.spec.kind = JobKind::Batch,
                other => panic!("register: no such key: {other}"),
            }
        }
        self.job = self.cluster.register(&self.spec);
    }

    fn order(&mut self, command: &Command<'_>) -> Option<String> {
        let node = node_of(command, "node");
        let is_said = |key| command.value(key) == Some("yes");
        let deadline = match command.value("deadline_s") {
            _ if is_said("force") => DrainDeadline::Force,
            Some(_) => DrainDeadline::After { ms: command.number("deadline_s") * 1_000 },
            None => DrainDeadline::Never,
        };
        let (mark_eligible, meta) = (is_said("eligible"), BTreeMap::new());
        let spec = Some(DrainSpec { deadline, ignore_system: false });
        let spec = spec.filter(|_| command.name == "drain");
        let entry = match command.name {
            "admit" => Entry::SetNodeEligible { node, eligible: true },
            _ => Entry::SetNodeDrain { node, spec, mark_eligible, meta },
        };
        match self.cluster.run(entry) {
            Outcome::Refused(Rejection::Invalid { why, .. }) => Some(format!("refused: {why}")),
            Outcome::Refused(other) => Some(format!("refused: {other:?}")),
            Outcome::Applied { .. } | Outcome::Repeated { .. } => None,
        }
    }

    fn end(&mut self, command: &Command<'_>) {
        let node = node_of(command, "node");
        let status =
            if command.name == "fail" { ClientStatus::Failed } else { ClientStatus::Complete };
        let running = self.cluster.state.allocs_of_node(node);
        let running = running.filter(|alloc| !alloc.client_status.is_terminal());
        let updates = running.map(|alloc| AllocUpdate {
            id: alloc.id,
            status,
            description: String::new(),
            tasks: BTreeMap::new(),
            health: None,
        });
        let updates = updates.collect();
        self.cluster.run(Entry::UpdateAllocs { node, updates });
    }

    /// What has become of drains since somebody last looked.
    fn news(&mut self) -> Vec<String> {
        let mut news = Vec::new();
        for node in self.cluster.state.nodes() {
            let events =
                node.events.iter().skip(self.told.get(&node.spec.id).copied().unwrap_or(0));
            let drains = events.filter(|event| event.subsystem == NodeSubsystem::Drain);
            news.extend(drains.map(|event| format!("{}: {}", node.spec.name, event.message)));
            self.told.insert(node.spec.id, node.events.len());
        }
        news
    }

    fn show(&self) -> String {
        let state = &self.cluster.state;
        let line = |node: &Node| {
            let allocs = state.allocs_of_node(node.spec.id);
            let live: Vec<&Allocation> =
                allocs.filter(|alloc| !alloc.client_status.is_terminal()).collect();
            let of = |desired: DesiredStatus| {
                let some = live.iter().filter(|alloc| alloc.desired == desired);
                let mut ordinals: Vec<u32> = some.map(|alloc| alloc.ordinal).collect();
                ordinals.sort_unstable();
                ranges(&ordinals)
            };
            let mut words = vec![format!("{:?}", node.status).to_lowercase()];
            words.extend((!node.eligible).then(|| "ineligible".to_owned()));
            words.extend(node.drain.map(|_| "draining".to_owned()));
            let last = node.last_drain.as_ref().filter(|_| node.drain.is_none());
            words.extend(last.map(|last| format!("drain {:?}", last.status).to_lowercase()));
            let (runs, stops) = (of(DesiredStatus::Run), of(DesiredStatus::Stop));
            words.extend((!runs.is_empty()).then(|| format!("runs {runs}")));
            words.extend((!stops.is_empty()).then(|| format!("stops {stops}")));
            format!("{}: {}", node.spec.name, words.join(", "))
        };
        state.nodes().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn node_of(command: &Command<'_>, key: &str) -> NodeId {
    NodeId(u128::from(command.number(key)))
}
