//! Servers that come back with less than they had: a damaged snapshot, or nothing at all.
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::damage::{flip, log_file};
use crate::rig::{Agent, Part, Site, ask, leader_of, text_of, wait_for, wait_until};

/// Enough to cut the log twice.
const HEAVY_COUNT: usize = 35;
const HEAVY_BYTES: usize = 1_000_000;

/// A job that no node can run, and that weighs so much.
fn job(id: &str, bytes: usize) -> String {
    let task = json!({ "Name": "t", "Driver": "raw_exec", "Config": { "command": "/bin/true" } });
    let group = json!({ "Name": "g", "Count": 1, "Tasks": [task] });
    let job = json!({
        "ID": id, "Name": id, "Type": "batch", "Datacenters": ["nowhere"], "TaskGroups": [group],
        "Meta": { "weight": "x".repeat(bytes) },
    });
    json!({ "Job": job }).to_string()
}

fn write_jobs(server: &Agent, count: usize, bytes: usize) {
    for nth in 0..count {
        let body = job(&format!("job-{nth}"), bytes);
        let answer = ask(server.http_port, "PUT", "/v1/jobs", &body).expect("it answers");
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

/// How many jobs the agent has itself, whatever the others have.
fn own_jobs(agent: &Agent) -> usize {
    let list = agent.look("/v1/jobs?stale=true").unwrap_or_default();
    list.as_array().map_or(0, Vec::len)
}

/// The voters' addresses, as the agent sees them.
fn voters(agent: &Agent) -> Vec<(String, String)> {
    let answer = agent.look("/v1/operator/raft/configuration").unwrap_or_default();
    let servers = answer["Servers"].as_array().into_iter().flatten();
    let voters = servers.filter(|server| server["Voter"] == Value::Bool(true));
    voters.map(|server| (text_of(server, "ID"), text_of(server, "Address"))).collect()
}

fn snapshots(agent: &Agent) -> Vec<PathBuf> {
    let folder = fs::read_dir(agent.data_dir().join("snapshots")).expect("the folder is there");
    let mut files: Vec<PathBuf> = folder.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "snapshot"));
    files.sort();
    files
}

#[test]
fn a_server_that_lost_its_data_joins_as_a_new_one_and_takes_the_old_ones_place() {
    let site = Site::new();
    let mut servers = site.servers(3);
    let leader = leader_of(&servers.iter().collect::<Vec<_>>());
    write_jobs(&servers[leader], 3, 10);
    let (lost, third) = ((leader + 1) % 3, (leader + 2) % 3);
    let before = voters(&servers[leader]);
    assert_eq!(before.len(), 3, "{before:?}");
    servers[lost].kill();
    fs::remove_dir_all(servers[lost].data_dir()).expect("the data can be lost");
    servers[lost].start();
    let port = format!(":{}", servers[lost].rpc_port);
    wait_until("the new server votes in the place of the old one", || {
        let now = voters(&servers[leader]);
        now.len() == 3 && now != before && now.iter().any(|(_, at)| at.ends_with(&port))
    });
    wait_until("it has everything", || own_jobs(&servers[lost]) == 3);

    servers[third].kill();
    wait_until("two of three are enough", || {
        let answer = ask(servers[lost].http_port, "PUT", "/v1/jobs", &job("more", 10));
        answer.is_some_and(|answer| answer.status == 200)
    });
}

#[test]
fn a_server_whose_log_rotted_is_given_everything_by_its_peers() {
    let site = Site::new();
    let mut servers = site.servers(3);
    let leader = leader_of(&servers.iter().collect::<Vec<_>>());
    write_jobs(&servers[leader], 5, 5_000);
    let (rotten, third) = ((leader + 1) % 3, (leader + 2) % 3);
    wait_until("it has everything", || own_jobs(&servers[rotten]) == 5);
    let before = voters(&servers[leader]);
    servers[rotten].kill();
    let (path, last) = log_file(&servers[rotten]);
    flip(&path, last / 2);
    servers[rotten].start();
    let log = servers[rotten].log();
    for word in [&path.display().to_string(), "is damaged", "was moved to", "begins anew"] {
        assert!(log.contains(word), "does not say {word:?}: {log}");
    }
    assert!(servers[rotten].data_dir().join("damaged/1/wal").is_dir(), "nothing is deleted");
    wait_until("it votes as a new server in the place of the old one", || {
        let now = voters(&servers[leader]);
        now.len() == 3 && now != before
    });
    wait_until("it has everything again", || own_jobs(&servers[rotten]) == 5);

    servers[third].kill();
    wait_until("two of three are enough", || {
        let answer = ask(servers[rotten].http_port, "PUT", "/v1/jobs", &job("more", 10));
        answer.is_some_and(|answer| answer.status == 200)
    });
}

#[test]
fn snapshots_start_servers_and_a_damaged_one_is_made_up_for_or_named() {
    let site = Site::new();
    let mut first = site.agent("s1", Part::Server { expect: 1 }, &[]);
    first.start();
    leader_of(&[&first]);
    write_jobs(&first, HEAVY_COUNT, HEAVY_BYTES);
    wait_until("two snapshots are kept", || snapshots(&first).len() == 2);
    first.kill();
    let files = snapshots(&first);
    let damage = |path: &PathBuf| {
        let mut bytes = fs::read(path).expect("it can be read");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).expect("it can be written");
    };
    damage(&files[1]);
    first.start();
    wait_until("the older one and the log make up for it", || own_jobs(&first) == HEAVY_COUNT);

    // The log does not begin at the beginning any more: who joins is sent a snapshot.
    let mut second = site.agent("s2", Part::Server { expect: 0 }, &[first.rpc_port]);
    second.start();
    wait_until("the second votes", || voters(&first).len() == 2);
    wait_until("it has everything", || own_jobs(&second) == HEAVY_COUNT);
    assert!(!snapshots(&second).is_empty(), "it was sent a snapshot");
    second.stop();
    second.assert_replays();
    second.start();
    wait_until("it starts from it", || own_jobs(&second) == HEAVY_COUNT);

    first.kill();
    files.iter().for_each(damage);
    first.launch();
    let status = wait_for("it gives up", || first.ended());
    assert_eq!(status.code(), Some(1), "{}", first.log());
    let log = first.log();
    let said = log.lines().last().unwrap_or_default();
    assert!(said.contains("is damaged") && said.contains("snapshots/"), "{said}");
}
