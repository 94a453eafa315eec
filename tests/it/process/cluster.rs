//! Servers that are killed, and what callers were promised before.
use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::rig::{Agent, Part, Site, ask, job, leader_of, text_of, wait_until};

/// A job that no node can run: all it does is to be written down.
fn small_job(id: &str) -> String {
    let task = json!({ "Name": "t", "Driver": "raw_exec", "Config": { "command": "/bin/true" } });
    let group = json!({ "Name": "g", "Count": 1, "Tasks": [task] });
    let job = json!({
        "ID": id, "Name": id, "Type": "batch", "Datacenters": ["nowhere"], "TaskGroups": [group],
    });
    json!({ "Job": job }).to_string()
}

/// Callers that register jobs one after the other, and keep what was acknowledged.
struct Writers {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Writers {
    /// Each of `count` callers asks the agents in turn, so that one who is gone stops nobody.
    fn start(count: u32, agents: &[&Agent]) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let next = Arc::new(AtomicU32::new(0));
        let mut threads = Vec::new();
        for nth in 0..count {
            let ports: Vec<u16> = agents.iter().map(|agent| agent.http_port).collect();
            let (stop, next) = (Arc::clone(&stop), Arc::clone(&next));
            let acknowledged: Arc<Mutex<BTreeSet<String>>> = Arc::clone(&acknowledged);
            threads.push(thread::spawn(move || {
                let mut turn = nth as usize;
                while !stop.load(Ordering::Relaxed) {
                    let id = format!("write-{}", next.fetch_add(1, Ordering::Relaxed));
                    turn += 1;
                    let answer = ask(ports[turn % ports.len()], "PUT", "/v1/jobs", &small_job(&id));
                    if answer.is_some_and(|answer| answer.status == 200) {
                        acknowledged.lock().expect("no writer panicked").insert(id);
                    }
                }
            }));
        }
        Self { stop, acknowledged, threads }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().expect("no writer panicked").len()
    }

    /// Waits until so many more were acknowledged.
    fn wait_for_more(&self, count: usize) {
        let wanted = self.count() + count;
        wait_until("more writes are acknowledged", || wanted <= self.count());
    }

    fn stop(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("no writer panicked");
        }
        std::mem::take(&mut *self.acknowledged.lock().expect("no writer panicked"))
    }
}

/// Ids of all jobs that the agent has, as it sees them itself.
fn jobs(agent: &Agent, query: &str) -> BTreeSet<String> {
    let list = agent.look(&format!("/v1/jobs?{query}")).unwrap_or(Value::Null);
    list.as_array().into_iter().flatten().map(|job| text_of(job, "ID")).collect()
}

#[test]
fn a_cluster_of_three_loses_its_leader_and_nothing_else() {
    let site = Site::new();
    let mut servers = site.servers(3);
    leader_of(&servers.iter().collect::<Vec<_>>());
    let client = site.client("c1", &servers);
    wait_until("the node is ready", || client.node_status("c1").as_deref() == Some("ready"));

    // The client has no tables: what is asked of it goes on to a server, and from there to the leader.
    let go = site.path().join("go");
    let script = format!("until [ -e {} ]; do sleep 0.5; done", go.display());
    client.run(&site.write("batch.hcl", &job("batch", "batch", 50, &script)));
    client.run(&site.write("service.hcl", &job("service", "service", 2, "exec sleep 600")));
    wait_until("all run", || {
        client.count("batch", "running") == 50 && client.count("service", "running") == 2
    });

    let writers = Writers::start(4, &servers.iter().collect::<Vec<_>>());
    writers.wait_for_more(20);
    let old = leader_of(&servers.iter().collect::<Vec<_>>());
    servers[old].kill();
    let old_port = servers[old].rpc_port;
    let survivors: Vec<&Agent> =
        servers.iter().filter(|server| server.rpc_port != old_port).collect();
    let new = survivors[leader_after(old_port, &survivors)];
    writers.wait_for_more(20);
    let acknowledged = writers.stop();

    for server in &survivors {
        let lost: Vec<_> = acknowledged.difference(&jobs(server, "")).cloned().collect();
        assert!(lost.is_empty(), "{} lost {lost:?}", server.name);
    }
    assert_eq!(new.count("batch", "running"), 50, "the job goes on");
    assert_eq!(new.count("service", "running"), 2, "the service was not touched");
    fs::write(&go, "").expect("the file can be written");
    wait_until("the batch job is done", || client.count("batch", "complete") == 50);
    assert_eq!(client.allocs("batch").len(), 50, "none ran twice");
    assert_eq!(client.allocs("service").len(), 2, "none was replaced");

    servers[old].start();
    let back = &servers[old];
    wait_until("the killed server has caught up", || {
        let found = jobs(back, "stale=true");
        acknowledged.is_subset(&found) && back.count("batch", "complete") == 50
    });
    wait_until("all are members again, and one leads", || {
        let said = back.cli(&["server", "members"]);
        let alive = said.text.lines().filter(|line| line.contains("alive")).count();
        let leading = said.text.lines().filter(|line| line.contains("true")).count();
        said.status.success() && alive == 3 && leading == 1
    });
}

/// Who leads, once it is not `old` any more.
fn leader_after(old: u16, servers: &[&Agent]) -> usize {
    wait_until("another leads", || {
        servers.iter().all(|server| server.leader_port().is_some_and(|port| port != old))
    });
    leader_of(servers)
}

#[test]
fn one_server_is_killed_in_the_middle_of_many_writes_and_keeps_what_it_acknowledged() {
    let site = Site::new();
    let mut server = site.agent("s1", Part::Server { expect: 1 }, &[]);
    server.start();
    leader_of(&[&server]);
    let mut acknowledged = BTreeSet::new();
    for round in 1..=3 {
        let writers = Writers::start(16, &[&server]);
        writers.wait_for_more(100);
        server.kill();
        acknowledged.append(&mut writers.stop());
        server.start();
        leader_of(&[&server]);
        let lost: Vec<_> = acknowledged.difference(&jobs(&server, "")).cloned().collect();
        assert!(lost.is_empty(), "round {round} lost {lost:?}");
    }
}

/// The state that a server has by itself: its last index, and its digest.
fn own_state(site: &Site, server: &Agent) -> Option<(u64, String)> {
    let file = site.path().join(format!("{}.snap", server.name)).display().to_string();
    let saved = server.cli(&["operator", "snapshot", "save", "-stale", &file]);
    if !saved.status.success() {
        return None;
    }
    let said = server.cli(&["operator", "snapshot", "inspect", "-json", &file]);
    fs::remove_file(&file).expect("it was just written");
    let about: Value = serde_json::from_str(&said.text).expect("it is JSON");
    let digest = about["Digest"].as_str().expect("a digest");
    Some((about["Index"].as_u64().expect("an index"), digest.to_owned()))
}

/// For longer: `DROVER_STORM_SECONDS=120 cargo test --release -p drover --test process in_a_loop`.
#[test]
fn servers_are_killed_and_return_in_a_loop_and_nothing_acknowledged_is_lost() {
    let seconds = std::env::var("DROVER_STORM_SECONDS").unwrap_or_else(|_| "10".into());
    let seconds = seconds.parse().expect("DROVER_STORM_SECONDS is a number");
    let site = Site::new();
    let mut servers = site.servers(3);
    leader_of(&servers.iter().collect::<Vec<_>>());
    let writers = Writers::start(8, &servers.iter().collect::<Vec<_>>());
    let end = Instant::now() + Duration::from_secs(seconds);
    for round in (0..).take_while(|&round| round < 4 || Instant::now() < end) {
        let leader = leader_of(&servers.iter().collect::<Vec<_>>());
        let follower = (leader + 1 + round % 2) % 3;
        let killed: &[usize] = match round % 4 {
            0 => &[leader],
            1 => &[follower],
            2 => &[leader, follower],
            _ => &[0, 1, 2],
        };
        killed.iter().for_each(|&server| servers[server].kill());
        if killed.len() == 1 {
            writers.wait_for_more(20);
        }
        // Whoever refuses to start ends the test here.
        killed.iter().for_each(|&server| servers[server].start());
        writers.wait_for_more(20);
    }
    let acknowledged = writers.stop();
    wait_until("all are in the same state", || {
        let states: Vec<_> = servers.iter().map(|server| own_state(&site, server)).collect();
        states[0].is_some() && states.iter().all(|state| *state == states[0])
    });
    for server in &servers {
        let lost: Vec<_> = acknowledged.difference(&jobs(server, "stale=true")).cloned().collect();
        assert!(lost.is_empty(), "{} lost {lost:?} of {}", server.name, acknowledged.len());
    }
    for server in &mut servers {
        server.stop();
        server.assert_replays();
    }
}

#[test]
fn a_client_that_starts_again_turns_to_servers_that_it_was_told_of() {
    let site = Site::new();
    let mut servers = site.servers(3);
    leader_of(&servers.iter().collect::<Vec<_>>());
    let mut client = site.client("c1", &servers[..1]);
    wait_until("it remembers all of them", || {
        let remembered = fs::read(client.data_dir().join("servers.json")).unwrap_or_default();
        serde_json::from_slice::<Vec<String>>(&remembered).is_ok_and(|all| all.len() == 3)
    });
    client.stop();
    servers[0].kill();
    client.start();
    wait_until("another server serves it", || {
        let health = client.try_ask("GET", "/v1/agent/health", "");
        health.is_some_and(|health| health.status == 200)
    });
}

#[test]
fn a_node_that_is_gone_and_ran_nothing_is_forgotten_when_the_configuration_says() {
    let site = Site::new();
    let mut servers = site.servers(1);
    servers[0]
        .configure_more("server {\n  job_gc_interval = \"1s\"\n  node_gc_threshold = \"2s\"\n}\n");
    servers[0].stop();
    servers[0].start();
    let mut client = site.client("c1", &servers);
    wait_until("it is ready", || servers[0].node_status("c1").as_deref() == Some("ready"));
    client.kill();
    wait_until("its end is noticed", || servers[0].node_status("c1").as_deref() == Some("down"));
    wait_until("it is forgotten", || servers[0].node_status("c1").is_none());
    client.start();
    wait_until("it is back", || servers[0].node_status("c1").as_deref() == Some("ready"));
}
