//! A cluster that goes back to a saved state while it runs.
use serde_json::{Value, json};

use crate::rig::{Agent, Part, Said, Site, job, leader_of, processes_with, wait_until};

fn snapshot(agent: &Agent, command: &str, file: &str) -> Said {
    agent.cli(&["operator", "snapshot", command, file])
}

/// A job that no node can run, and that is longer than one part of an upload.
fn heavy_job(id: &str) -> String {
    let task = json!({ "Name": "t", "Driver": "raw_exec", "Config": { "command": "/bin/true" } });
    let group = json!({ "Name": "g", "Count": 1, "Tasks": [task] });
    let job = json!({
        "ID": id, "Name": id, "Type": "batch", "Datacenters": ["nowhere"], "TaskGroups": [group],
        "Meta": { "weight": "x".repeat(700_000) },
    });
    json!({ "Job": job }).to_string()
}

/// The last entry that the agent has applied.
fn applied(agent: &Agent) -> u64 {
    agent.get("/v1/operator/raft/info")["AppliedIndex"].as_u64().expect("an index")
}

/// The state's digest, as a saved file has it.
fn digest(agent: &Agent, file: &str) -> (Value, Value) {
    let said = agent.cli(&["operator", "snapshot", "save", "-stale", file]);
    assert!(said.status.success(), "{}", said.text);
    let said = agent.cli(&["operator", "snapshot", "inspect", "-json", file]);
    let shown: Value = serde_json::from_str(&said.text).expect("JSON");
    (shown["Index"].clone(), shown["Digest"].clone())
}

#[test]
fn a_running_cluster_goes_back_to_a_saved_state() {
    let site = Site::new();
    let mut servers = site.servers(3);
    let leader = leader_of(&servers.iter().collect::<Vec<_>>());
    let other = (leader + 1) % 3;
    let client = site.client("c1", &servers);
    wait_until("the node is ready", || client.node_status("c1").as_deref() == Some("ready"));
    // Of all processes on this machine, only those of this test sleep for so long.
    let port = servers[0].http_port;
    let sleep = move |nth: u32| format!("sleep {port}000{nth}");
    let runs = |nth: u32| !processes_with(&sleep(nth).replace(' ', "\0")).is_empty();
    let start = |nth: u32| {
        let name = format!("job-{nth}");
        let text = job(&name, "service", 1, &format!("exec {}", sleep(nth)));
        servers[other].run(&site.write(&format!("{name}.hcl"), &text));
        wait_until("it runs", || servers[other].count(&name, "running") == 1 && runs(nth));
    };
    start(1);
    start(2);
    let weight = servers[other].try_ask("PUT", "/v1/jobs", &heavy_job("weight"));
    assert_eq!(weight.expect("it answers").status, 200);
    let kept = servers[other].allocs("job-2");
    let file = site.path().join("backup.snap").display().to_string();
    let said = snapshot(&servers[other], "save", &file);
    assert!(said.status.success(), "{}", said.text);
    // What the saved state does not know: one job ended, another began.
    assert!(servers[other].cli(&["job", "stop", "-detach", "-purge", "job-1"]).status.success());
    wait_until("it has stopped", || !runs(1));
    start(3);

    let before = applied(&servers[leader]);
    // Through a server that does not lead.
    let said = snapshot(&servers[other], "restore", &file);
    assert!(
        said.status.success() && said.text.contains("(3 jobs, 2 allocations)"),
        "{}",
        said.text
    );
    assert!(before < applied(&servers[leader]), "indexes go on");
    assert!(servers[other].look("/v1/job/job-1").is_some(), "whoever restored sees it at once");
    assert_eq!(servers[other].look("/v1/job/job-3"), None);
    wait_until("what the saved state does not know is stopped", || !runs(3));
    wait_until("what was stopped since is started anew", || {
        runs(1) && servers[other].count("job-1", "running") == 1
    });
    assert_eq!(servers[other].allocs("job-2"), kept, "what ran all the time was not touched");
    assert!(runs(2));
    assert_eq!(client.node_status("c1").as_deref(), Some("ready"));

    servers[leader].kill();
    let others: Vec<&Agent> = (1..3).map(|step| &servers[(leader + step) % 3]).collect();
    leader_of(&others);
    assert!(others[0].look("/v1/job/job-1").is_some(), "no server has another state");
    assert_eq!(others[1].look("/v1/job/job-3"), None);
    servers[leader].start();
    wait_until("all have one state, whether they heard of it or read it from their log", || {
        let found: Vec<_> = servers.iter().map(|server| digest(server, "now.snap")).collect();
        found.iter().all(|one| *one == found[0])
    });
}

#[test]
fn what_is_not_this_clusters_state_is_refused() {
    let site = Site::new();
    let mut own = site.agent("own", Part::Server { expect: 1 }, &[]);
    own.start();
    leader_of(&[&own]);
    own.run(&site.write("kept.hcl", &job("kept", "batch", 0, "true")));
    let mut stranger = site.agent("stranger", Part::Server { expect: 1 }, &[]);
    stranger.start();
    leader_of(&[&stranger]);
    let file = site.path().join("stranger.snap").display().to_string();
    assert!(snapshot(&stranger, "save", &file).status.success());
    let before = applied(&own);
    let said = snapshot(&own, "restore", &file);
    assert!(!said.status.success(), "{}", said.text);
    for word in ["400", "is of cluster", "-data-dir"] {
        assert!(said.text.contains(word), "does not say {word:?}: {}", said.text);
    }
    let answer = own.try_ask("PUT", "/v1/operator/snapshot", "PK and so on").expect("it answers");
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert!(answer.text.contains("is not a snapshot"), "{}", answer.text);
    let answer = own.try_ask("PUT", "/v1/operator/snapshot", "DROVSNP1 and no sum");
    assert_eq!(answer.expect("it answers").status, 400);
    let wrong = own.try_ask("DELETE", "/v1/operator/snapshot", "").expect("it answers");
    assert_eq!(wrong.status, 405);
    assert_eq!(applied(&own), before, "the log has heard nothing of it");
    assert!(own.look("/v1/job/kept").is_some());
}
