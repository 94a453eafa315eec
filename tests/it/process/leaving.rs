//! Agents that go with grace, that are forced out, that are met by hand, and that read their
//! configuration again.
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::rig::{Agent, Part, Site, job, leader_of, text_of, wait_until};

const GRACE: &str = "leave_on_terminate = true\n";

/// The status of a server, as another lists it.
fn status(at: &Agent, of: &Agent) -> Option<String> {
    let members = at.look("/v1/agent/members")?;
    let mut members = members["Members"].as_array()?.iter();
    let found = members.find(|member| text_of(member, "Name") == format!("{}.global", of.name))?;
    Some(text_of(found, "Status").to_owned())
}

/// How many vote, as a server has it; none while that changes.
fn voters(at: &Agent) -> usize {
    let info = at.look("/v1/operator/raft/info").unwrap_or_default();
    if info["Joint"] != Value::Bool(false) {
        return 0;
    }
    let servers = info["Servers"].as_array().into_iter().flatten();
    servers.filter(|server| server["Suffrage"] == "voter").count()
}

#[test]
fn a_leader_that_leaves_is_listed_as_left_and_votes_again_when_it_is_back() {
    let site = Site::new();
    let mut servers = site.servers(3);
    servers.iter().for_each(|server| server.configure_more(GRACE));
    for server in &mut servers {
        server.stop();
        server.start();
    }
    let old = leader_of(&servers.iter().collect::<Vec<_>>());
    servers[old].stop();
    assert!(servers[old].log().contains("the agent has left"), "{}", servers[old].log());
    let stayed = [(old + 1) % 3, (old + 2) % 3];
    for at in stayed {
        assert_eq!(status(&servers[at], &servers[old]).as_deref(), Some("left"));
    }
    assert_eq!(voters(&servers[stayed[0]]), 2);
    let said = servers[stayed[0]].cli(&["server", "members"]);
    assert!(said.text.contains("left"), "{}", said.text);

    servers[old].start();
    wait_until("it votes again", || {
        status(&servers[stayed[0]], &servers[old]).as_deref() == Some("alive")
            && voters(&servers[stayed[0]]) == 3
    });
}

#[test]
fn a_server_that_waits_to_leave_stops_at_a_second_signal() {
    let site = Site::new();
    let mut servers = site.servers(3);
    leader_of(&servers.iter().collect::<Vec<_>>());
    let mut last = servers.pop().expect("three");
    last.configure_more(GRACE);
    last.stop();
    last.start();
    servers.iter_mut().for_each(Agent::kill);
    last.signal(Signal::TERM);
    last.wait_for_line(&["leaving with grace"]);
    let began = Instant::now();
    last.stop();
    assert!(began.elapsed() < Duration::from_secs(8), "nobody leads, and it did not wait for one");
    last.wait_for_line(&["stopping at once, without having left"]);
}

#[test]
fn a_server_that_failed_is_forced_out_and_then_forgotten() {
    let site = Site::new();
    let mut servers = site.servers(3);
    leader_of(&servers.iter().collect::<Vec<_>>());
    let mut lost = servers.pop().expect("three");
    let refused = servers[0].cli(&["server", "force-leave", &lost.name]);
    assert!(!refused.status.success() && refused.text.contains("it is alive"), "{}", refused.text);
    let unknown = servers[0].cli(&["server", "force-leave", "nobody"]);
    assert!(!unknown.status.success(), "{}", unknown.text);
    assert!(unknown.text.contains("s1.global, s2.global, s3.global"), "{}", unknown.text);

    lost.kill();
    wait_until("its end is noticed", || status(&servers[0], &lost).as_deref() == Some("failed"));
    let said = servers[0].cli(&["server", "force-leave", &lost.name]);
    assert!(said.status.success(), "{}", said.text);
    wait_until("all list it as left, and it does not vote", || {
        let lists = |at| status(at, &lost).as_deref() == Some("left") && voters(at) == 2;
        servers.iter().all(lists)
    });
    let said = servers[1].cli(&["server", "force-leave", "-prune", &lost.name]);
    assert!(said.status.success(), "{}", said.text);
    wait_until("nobody remembers it", || servers.iter().all(|at| status(at, &lost).is_none()));
}

#[test]
fn a_server_is_found_by_a_program_as_soon_as_that_names_it() {
    let site = Site::new();
    let mut first = site.agent("s1", Part::Server { expect: 1 }, &[]);
    first.start();
    let names = site.path().join("names");
    let mut second = site.agent("s2", Part::Server { expect: 0 }, &[]);
    second.configure_more(&format!(
        "server {{\n  server_join {{\n    retry_join = [\"exec=cat {}\"]\n    \
         retry_interval = \"1s\"\n  }}\n}}\n",
        names.display()
    ));
    second.start();
    second.wait_for_line(&["exec=cat", "No such file", "it names nobody"]);
    site.write("names", &format!("127.0.0.1:{}\n", first.rpc_port));
    wait_until("it votes", || voters(&first) == 2);
}

#[test]
fn a_server_meets_others_when_an_operator_says_so() {
    let site = Site::new();
    let mut first = site.agent("s1", Part::Server { expect: 1 }, &[]);
    first.start();
    let nobody = site.agent("nobody", Part::Server { expect: 1 }, &[]);
    let mut second = site.agent("s2", Part::Server { expect: 0 }, &[nobody.rpc_port]);
    second.start();
    let address = format!("127.0.0.1:{}", first.rpc_port);
    let said = second.cli(&["server", "join", &address]);
    assert!(said.status.success(), "{}", said.text);
    assert!(said.text.contains("Joined 1 servers successfully"), "{}", said.text);
    wait_until("it votes", || voters(&first) == 2);

    let unknown = second.cli(&["server", "join", "no-such-server.invalid"]);
    assert!(!unknown.status.success(), "{}", unknown.text);
    assert!(unknown.text.contains("the name has no address"), "{}", unknown.text);
    let own = format!("127.0.0.1:{}", second.rpc_port);
    let itself = second.cli(&["server", "join", &own]);
    assert!(itself.text.contains("it is our own address"), "{}", itself.text);
    let silent = format!("127.0.0.1:{}", nobody.rpc_port);
    let silent = second.cli(&["server", "join", &address, &silent]);
    assert!(silent.text.contains("Joined 1 servers successfully"), "{}", silent.text);
    assert!(!silent.status.success() && silent.text.contains("Error joining"), "{}", silent.text);
}

#[test]
fn a_configuration_is_read_again_at_sighup() {
    let site = Site::new();
    let mut server = site.agent("s1", Part::Server { expect: 1 }, &[]);
    server.start();
    server
        .configure_more("log_level = \"DEBUG\"\ndatacenter = \"dc2\"\nleave_on_terminate = true\n");
    server.signal(Signal::HUP);
    server.wait_for_line(&["log_level is DEBUG now"]);
    server.wait_for_line(&["the certificates were read again"]);
    server.wait_for_line(&["datacenter has changed", "ignored until the agent is restarted"]);
    server.configure_more("log_level = \"loud\"\nleave_on_terminate = true\n");
    server.signal(Signal::HUP);
    server.wait_for_line(&["there is no log level \"LOUD\""]);
    server.configure_more("no_such_key = 1\n");
    server.signal(Signal::HUP);
    server.wait_for_line(&["no_such_key"]);
    server.stop();
    let log = server.log();
    assert!(log.contains("it is the only voter"), "it left with grace, as it was told to: {log}");
}

#[test]
fn a_client_that_leaves_moves_its_work_away_before() {
    let site = Site::new();
    let mut server = site.agent("s1", Part::Server { expect: 1 }, &[]);
    server.start();
    leader_of(&[&server]);
    let mut first = site.agent("c1", Part::Client, &[server.rpc_port]);
    let drains = "client {\n  drain_on_shutdown {\n    deadline = \"5m\"\n  }\n}\n";
    first.configure_more(&format!("{GRACE}{drains}"));
    first.start();
    wait_until("the node is ready", || server.node_status("c1").as_deref() == Some("ready"));
    let quick = "update {\n      min_healthy_time = \"200ms\"\n    }\n    \
                 migrate {\n      min_healthy_time = \"200ms\"\n    }\n    restart {";
    let web = job("web", "service", 2, "exec sleep 1000").replacen("restart {", quick, 1);
    server.run(&site.write("web.hcl", &web));
    wait_until("it runs", || server.count("web", "running") == 2);
    let _second = site.client("c2", std::slice::from_ref(&server));
    wait_until("the other is ready", || server.node_status("c2").as_deref() == Some("ready"));

    first.stop();
    assert_eq!(server.count("web", "running"), 2, "{:?}", server.allocs("web"));
    assert_eq!(server.count("web", "complete"), 2, "{:?}", server.allocs("web"));
    assert!(first.log().contains("the node is empty"), "{}", first.log());
    let nodes = server.get("/v1/nodes");
    let node = nodes.as_array().into_iter().flatten().find(|node| node["Name"] == "c1");
    assert_eq!(node.expect("it is listed")["SchedulingEligibility"], "ineligible");
}
