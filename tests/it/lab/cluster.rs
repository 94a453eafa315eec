//! Three servers and three clients, each on its own machine of a network.
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::network::Network;
use crate::rig::{
    Agent, Part, Site, job, leader_of, processes_with, rpc_addresses, text_of, wait_until,
};

const SERVERS: [&str; 3] = ["s1", "s2", "s3"];
const CLIENTS: [&str; 3] = ["c1", "c2", "c3"];

/// Longer than it takes to call a silent node down: time-to-live, grace, and a search.
pub(crate) const LONGER_THAN_A_VERDICT: Duration = Duration::from_secs(20);

/// Agents pass requests on to each other, and this network keeps strangers out.
const OPEN: &str = "unsafe_open = true\n";

/// See the module.
pub(crate) struct Lab {
    pub(crate) servers: Vec<Agent>,
    pub(crate) clients: Vec<Agent>,
    pub(crate) site: Site,
    pub(crate) network: Network,
}

/// What is known of an alloc: it would differ if the alloc had been touched.
type Lives = BTreeMap<String, (String, Value)>;

/// On the terminal, whatever the test does with what it prints.
fn tell(what: &str) {
    let name = thread::current().name().unwrap_or_default().to_owned();
    let told = writeln!(io::stderr(), "lab: {what} ({name})");
    told.expect("there is a terminal, or a file");
}

impl Lab {
    /// All agents run, and know each other. `None`: there can be no lab here, and that was told.
    pub(crate) fn build() -> Option<Self> {
        let network = match Network::new(&[SERVERS, CLIENTS].concat()) {
            Ok(network) => network,
            Err(why) => {
                tell(&format!("skipped, because {why}"));
                return None;
            }
        };
        let site = Site::new();
        let agent = |name: &&str, part, join: &[String]| {
            site.agent_at(network.place(name), "tls", name, part, join)
        };
        let server = |name| agent(name, Part::Server { expect: 3 }, &[]);
        let mut servers: Vec<Agent> = SERVERS.iter().map(server).collect();
        let addresses = rpc_addresses(&servers);
        let mut clients: Vec<Agent> =
            CLIENTS.iter().map(|name| agent(name, Part::Client, &addresses)).collect();
        for client in &mut clients {
            client.configure_more(OPEN);
        }
        for server in &mut servers {
            // The heartbeats are those of the defaults.
            server.configure_more(&format!(
                "{OPEN}server {{\n  min_heartbeat_ttl = \"10s\"\n  heartbeat_grace = \"2s\"\n  \
                 server_join {{\n    retry_join = {addresses:?}\n  }}\n}}\n"
            ));
            server.start();
        }
        clients.iter_mut().for_each(Agent::start);
        let lab = Self { servers, clients, site, network };
        lab.wait_until_settled();
        Some(lab)
    }

    /// Waits until everybody agrees on a leader, and on everybody else.
    pub(crate) fn wait_until_settled(&self) {
        leader_of(&self.servers.iter().collect::<Vec<_>>());
        wait_until("each server sees all servers alive and all nodes ready", || {
            self.servers.iter().all(|server| {
                let nodes = statuses(server, "/v1/nodes?stale=true");
                let members = statuses(server, "/v1/agent/members");
                nodes.len() == CLIENTS.len()
                    && nodes.values().all(|status| status == "ready")
                    && members.len() == SERVERS.len()
                    && members.values().all(|status| status == "alive")
            })
        });
    }

    /// The leader's place among the servers, as all of them see it.
    pub(crate) fn leader(&self) -> usize {
        leader_of(&self.servers.iter().collect::<Vec<_>>())
    }

    /// All servers but this one.
    pub(crate) fn servers_without(&self, out: usize) -> Vec<&Agent> {
        let all = self.servers.iter().enumerate();
        all.filter(|(at, _)| *at != out).map(|(_, server)| server).collect()
    }

    /// The file of a service whose allocs are on different nodes. Each runs until it is stopped.
    pub(crate) fn service(&self, id: &str, count: u32) -> PathBuf {
        let apart = "constraint {\n    distinct_hosts = true\n  }\n  group";
        let text = job(id, "service", count, "exec sleep 600").replacen("group", apart, 1);
        self.site.write(&format!("{id}.hcl"), &text)
    }

    /// No node was ever called down.
    pub(crate) fn assert_no_node_was_down(&self) {
        let leader = &self.servers[self.leader()];
        for node in leader.get("/v1/nodes").as_array().expect("a list") {
            let whole = leader.get(&format!("/v1/node/{}", text_of(node, "ID")));
            let events = whole["Events"].as_array().expect("a list");
            let is_miss = |event: &Value| text_of(event, "Message").contains("missed");
            assert!(!events.iter().any(is_miss), "{} was down: {events:#?}", text_of(node, "Name"));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !thread::panicking() {
            tell("ran");
        }
    }
}

/// The status of everybody in a list, by name.
pub(crate) fn statuses(agent: &Agent, path: &str) -> BTreeMap<String, String> {
    let list = agent.look(path).unwrap_or_default();
    let list = list.as_array().or(list["Members"].as_array()).cloned().unwrap_or_default();
    list.iter().map(|item| (text_of(item, "Name"), text_of(item, "Status"))).collect()
}

pub(crate) fn assert_nodes_are_ready(server: &Agent) {
    let nodes = statuses(server, "/v1/nodes?stale=true");
    assert!(nodes.values().all(|status| status == "ready"), "{}: {nodes:?}", server.name);
}

/// The allocs of a job that run, each with its node and its tasks: when they began, how often.
pub(crate) fn running(agent: &Agent, job: &str) -> Lives {
    let list = agent.look(&format!("/v1/job/{job}/allocations")).unwrap_or_default();
    let runs = |alloc: &&Value| text_of(alloc, "ClientStatus") == "running";
    let of = |alloc: &Value| {
        let about = (text_of(alloc, "NodeName"), alloc["TaskStates"].clone());
        (text_of(alloc, "ID"), about)
    };
    list.as_array().into_iter().flatten().filter(runs).map(of).collect()
}

/// Whether a process runs for the alloc: its id is in the environment of its tasks.
pub(crate) fn is_alive(alloc: &str) -> bool {
    !processes_with(&format!("NOMAD_ALLOC_ID={alloc}")).is_empty()
}

/// Looks again and again for so long; `look` panics at what must not be.
pub(crate) fn watch(time: Duration, mut look: impl FnMut()) {
    let began = Instant::now();
    while began.elapsed() < time {
        look();
        thread::sleep(Duration::from_millis(250));
    }
}
