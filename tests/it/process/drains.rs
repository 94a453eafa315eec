//! Nodes that are emptied, on real agents with real processes.
use std::fs;

use crate::rig::{Agent, Part, Site, job, leader_of, wait_until};

fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state stands after the name, which is in brackets.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn node_id(agent: &Agent, name: &str) -> String {
    let nodes = agent.get("/v1/nodes");
    let node = nodes.as_array().into_iter().flatten().find(|node| node["Name"] == name);
    node.and_then(|node| node["ID"].as_str()).expect("a node of that name").to_owned()
}

/// A service of two that ignores every signal but the kill, which comes after two seconds.
fn stubborn(folder: &str) -> String {
    let script = format!(
        "trap '' INT TERM; echo $$ > {folder}/$NOMAD_ALLOC_ID; while :; do sleep 0.1; done"
    );
    let migrate = "update {\n      min_healthy_time = \"200ms\"\n    }\n    \
                   migrate {\n      min_healthy_time = \"200ms\"\n    }\n    restart {";
    let text = job("web", "service", 2, &script).replacen("restart {", migrate, 1);
    text.replacen("config {", "kill_timeout = \"2s\"\n      config {", 1)
}

#[test]
fn a_drain_ends_when_the_last_stubborn_task_has() {
    let site = Site::new();
    let mut server = site.agent("s1", Part::Server { expect: 1 }, &[]);
    server.start();
    leader_of(&[&server]);
    let servers = std::slice::from_ref(&server);
    let mut first = site.client("c1", servers);
    wait_until("the node is ready", || server.node_status("c1").as_deref() == Some("ready"));
    let folder = site.path().join("started");
    fs::create_dir(&folder).expect("the folder is new");
    let pids = || -> Vec<String> {
        let files = fs::read_dir(&folder).expect("the folder is there").flatten();
        let read = |entry: fs::DirEntry| fs::read_to_string(entry.path()).unwrap_or_default();
        files.map(read).map(|text| text.trim().to_owned()).filter(|pid| !pid.is_empty()).collect()
    };
    server.run(&site.write("web.hcl", &stubborn(&folder.display().to_string())));
    wait_until("it runs", || server.count("web", "running") == 2 && pids().len() == 2);
    let old = pids();
    let mut second = site.client("c2", servers);
    wait_until("the other is ready", || server.node_status("c2").as_deref() == Some("ready"));

    let node = node_id(&server, "c1");
    let said =
        server.cli(&["node", "drain", "-enable", "-deadline", "5m", "-m", "new disks", &node]);
    // The very moment at which the operator is told.
    assert!(
        old.iter().all(|pid| !is_running(pid)),
        "it is called empty, and is not: {}",
        said.text
    );
    assert!(said.status.success(), "{}", said.text);
    for words in ["drain strategy set", "draining, ", "-> complete", "Drain complete"] {
        assert!(said.text.contains(words), "{words}: {}", said.text);
    }
    assert_eq!(server.count("web", "running"), 2, "{:?}", server.allocs("web"));
    let shown = server.get(&format!("/v1/node/{node}"));
    assert_eq!(shown["SchedulingEligibility"], "ineligible");
    assert_eq!(shown["LastDrain"]["Status"], "complete");
    assert_eq!(shown["LastDrain"]["Meta"]["message"], "new disks");
    assert!(shown["DrainStrategy"].is_null() && shown["Drain"] == false, "{shown:#}");

    check_refusals_and_end(&server, &node_id(&server, "c2"), &node);
    first.stop();
    second.stop();
    server.stop();
    server.assert_replays();
}

/// The other node has nowhere to send its allocs: its drain goes on until it is called off.
fn check_refusals_and_end(server: &Agent, full: &str, empty: &str) {
    let said = server.cli(&["node", "drain", "-enable", "-no-deadline", "-detach", full]);
    assert!(said.status.success(), "{}", said.text);
    let said = server.cli(&["node", "eligibility", "-enable", full]);
    assert!(said.text.contains("the node drains: stop its drain first"), "{}", said.text);
    let shown = server.cli(&["node", "status", "-short", full]);
    assert!(shown.text.contains("Drain Deadline = none"), "{}", shown.text);
    let said = server.cli(&["node", "drain", "-disable", full]);
    assert!(said.status.success(), "{}", said.text);
    let shown = server.get(&format!("/v1/node/{full}"));
    assert_eq!(shown["SchedulingEligibility"], "eligible");
    assert_eq!(shown["LastDrain"]["Status"], "canceled");
    assert_eq!(server.count("web", "running"), 2, "what had not left stays");
    let said = server.cli(&["node", "drain", "-monitor", empty]);
    assert!(said.text.contains("No drain strategy set"), "{}", said.text);
    let said = server.cli(&["node", "drain", "-enable", "-deadline", "soon", empty]);
    assert!(said.text.contains("is no time above zero"), "{}", said.text);
}
