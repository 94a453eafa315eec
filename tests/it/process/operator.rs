//! Operators who change a running cluster.
use std::fs;

use serde_json::Value;

use crate::rig::{
    Agent, Part, Said, Site, drover, job, leader_of, processes_with, text_of, wait_until,
};

/// What a server says of the consensus.
fn info(agent: &Agent) -> Value {
    agent.look("/v1/operator/raft/info").unwrap_or_default()
}

/// The servers that a server lists, by their names: `(id, status, suffrage)`.
fn listed(agent: &Agent, name: &str) -> Option<(String, String, String)> {
    let info = info(agent);
    let mut servers = info["Servers"].as_array().into_iter().flatten();
    let found = servers.find(|server| text_of(server, "Node") == format!("{name}.global"))?;
    Some((text_of(found, "ID"), text_of(found, "Status"), text_of(found, "Suffrage")))
}

#[test]
fn the_lead_is_moved_and_a_lost_server_is_removed() {
    let site = Site::new();
    let mut servers = site.servers(3);
    let old = leader_of(&servers.iter().collect::<Vec<_>>());
    let (heir, other) = ((old + 1) % 3, (old + 2) % 3);

    let address = format!("-peer-address=127.0.0.1:{}", servers[heir].rpc_port);
    // Through a server that neither leads nor will.
    let said = servers[other].cli(&["operator", "raft", "transfer-leadership", &address]);
    assert!(said.status.success(), "{}", said.text);
    assert!(said.text.contains("Leadership went from"), "{}", said.text);
    assert_eq!(leader_of(&servers.iter().collect::<Vec<_>>()), heir);
    assert_eq!(info(&servers[heir])["Role"], "leader");

    let (id, status, suffrage) = listed(&servers[heir], &servers[old].name).expect("it is listed");
    assert_eq!((status.as_str(), suffrage.as_str()), ("alive", "voter"));
    let by_id = format!("-peer-id={id}");
    let said = servers[heir].cli(&["operator", "raft", "remove-peer", &by_id]);
    assert!(!said.status.success() && said.text.contains("stop its agent"), "{}", said.text);

    servers[old].kill();
    wait_until("its end is noticed", || {
        listed(&servers[heir], &servers[old].name).is_some_and(|(_, status, _)| status == "failed")
    });
    let said = servers[other].cli(&["operator", "raft", "remove-peer", &by_id]);
    assert!(said.status.success(), "{}", said.text);
    let (_, _, suffrage) = listed(&servers[heir], &servers[old].name).expect("gossip knows it");
    assert_eq!(suffrage, "none");
    let again = servers[other].cli(&["operator", "raft", "remove-peer", &by_id]);
    assert!(again.text.contains("is not in the Raft configuration"), "{}", again.text);
    let leader = servers[other].cli(&["operator", "raft", "info", "-server-id=leader"]);
    assert!(leader.text.contains("Role             = leader"), "{}", leader.text);

    // It comes back with its old log, in which it votes, and is taken in like a new one.
    servers[old].start();
    wait_until("it votes again", || {
        listed(&servers[heir], &servers[old].name)
            .is_some_and(|(_, status, suffrage)| (&*status, &*suffrage) == ("alive", "voter"))
    });
    assert_eq!(leader_of(&servers.iter().collect::<Vec<_>>()), heir, "nobody was disturbed");
}

#[test]
fn any_server_says_how_well_all_are() {
    let site = Site::new();
    let mut servers = site.servers(3);
    let leader = leader_of(&servers.iter().collect::<Vec<_>>());
    let (asked, lost) = ((leader + 1) % 3, (leader + 2) % 3);
    let health = |at: &Agent| at.cli(&["operator", "autopilot", "health"]);
    wait_until("all are well", || health(&servers[asked]).status.success());
    let said = health(&servers[asked]).text;
    assert!(said.contains("Failure Tolerance = 1"), "{said}");

    servers[lost].kill();
    wait_until("one is not", || health(&servers[asked]).status.code() == Some(2));
    let said = health(&servers[asked]).text;
    assert!(said.contains("Failure Tolerance = 0"), "{said}");
    let answer = servers[leader].try_ask("GET", "/v1/operator/autopilot/health", "");
    let answer = answer.expect("it answers");
    let whole: Value = serde_json::from_str(&answer.text).expect("it is JSON");
    assert_eq!((answer.status, whole["Voters"].as_array().map(Vec::len)), (429, Some(3)));
    let mut listed = whole["Servers"].as_array().into_iter().flatten();
    let ill = listed.find(|server| server["Healthy"] == false).expect("one is not well");
    assert_eq!(ill["StableSince"], "0001-01-01T00:00:00Z", "what Go can read");
    let set = ["operator", "autopilot", "set-config", "-min-quorum=3"];
    assert!(servers[asked].cli(&set).status.success());
    let said = servers[leader].cli(&["operator", "autopilot", "get-config"]).text;
    assert!(said.contains("MinQuorum               = 3"), "{said}");
    assert!(said.contains("ServerStabilizationTime = 1s"), "the file said so: {said}");

    servers[lost].start();
    wait_until("all are well again", || health(&servers[asked]).status.success());
}

/// A client that is not told of its server's death takes ten seconds to see it.
const PATIENT: &str = "server {\n  heartbeat_grace = \"40s\"\n}\n";

/// What is done to a data directory while no agent uses it.
fn offline(site: &Site, command: &[&str], agent: &Agent, rest: &[&str]) -> Said {
    let data = format!("-data-dir={}", agent.data_dir().display());
    drover(site.path(), &[command, &[&data], rest].concat())
}

/// How many vote, as a server has it; none while that changes.
fn voters(agent: &Agent) -> usize {
    let info = info(agent);
    if info["Joint"] != Value::Bool(false) {
        return 0;
    }
    let servers = info["Servers"].as_array().into_iter().flatten();
    servers.filter(|server| server["Suffrage"] == "voter").count()
}

#[test]
fn one_survivor_of_three_goes_on_alone_and_empty_servers_join_it() {
    const RECOVER: [&str; 3] = ["operator", "raft", "recover"];
    let site = Site::new();
    let mut servers = site.servers(3);
    leader_of(&servers.iter().collect::<Vec<_>>());
    let client = site.client("c1", &servers);
    wait_until("the node is ready", || client.node_status("c1").as_deref() == Some("ready"));
    client.run(&site.write("kept.hcl", &job("kept", "service", 2, "exec sleep 600")));
    wait_until("it runs", || client.count("kept", "running") == 2);
    let before = client.allocs("kept");

    let refused = offline(&site, &RECOVER, &servers[0], &["-yes"]);
    assert!(refused.text.contains("in use by another drover agent"), "{}", refused.text);
    for server in &mut servers {
        server.kill();
    }
    for lost in &servers[1..] {
        fs::remove_dir_all(lost.data_dir()).expect("the data can be lost");
    }
    let asked = offline(&site, &RECOVER, &servers[0], &[]);
    assert!(!asked.status.success() && asked.text.contains("add -yes"), "{}", asked.text);
    assert_eq!(asked.text.matches("left out").count(), 2 + 1, "{}", asked.text);
    let said = offline(&site, &RECOVER, &servers[0], &["-yes"]);
    assert!(said.status.success() && said.text.contains("the only voter of"), "{}", said.text);
    let again = offline(&site, &RECOVER, &servers[0], &["-yes"]);
    assert!(again.text.contains("the only voter already"), "{}", again.text);

    servers[0].configure_more(PATIENT);
    servers[0].start();
    leader_of(&[&servers[0]]);
    assert_eq!(voters(&servers[0]), 1);
    servers[0].run(&site.write("new.hcl", &job("new", "service", 1, "exec sleep 600")));
    wait_until("what is new runs", || servers[0].count("new", "running") == 1);
    assert_eq!(servers[0].allocs("kept"), before, "what ran runs on");

    for server in &mut servers[1..] {
        server.start();
    }
    wait_until("the empty servers vote", || servers.iter().all(|server| voters(server) == 3));
    servers[0].kill();
    let others: Vec<&Agent> = servers[1..].iter().collect();
    let port = servers[0].rpc_port;
    wait_until("another leads", || {
        others.iter().all(|server| server.leader_port().is_some_and(|found| found != port))
    });
    assert_eq!(others[0].allocs("kept"), before, "and they have everything");
    servers[0].start();
    wait_until("it starts again from where it was made anew", || {
        servers[0].look("/v1/job/new?stale=true").is_some() && voters(&servers[0]) == 3
    });
}

#[test]
fn a_saved_state_is_restored_and_clients_run_what_it_says() {
    let site = Site::new();
    let mut server = site.agent("s1", Part::Server { expect: 1 }, &[]);
    server.configure_more(PATIENT);
    server.start();
    leader_of(&[&server]);
    let client = site.client("c1", std::slice::from_ref(&server));
    wait_until("the node is ready", || client.node_status("c1").as_deref() == Some("ready"));
    // Of all processes on this machine, only those of this test sleep for so long.
    let port = server.http_port;
    let sleep = move |nth: u32| format!("sleep {port}000{nth}");
    let runs = |nth: u32| !processes_with(&sleep(nth).replace(' ', "\0")).is_empty();
    let start = |server: &Agent, nth: u32| {
        let name = format!("job-{nth}");
        let text = job(&name, "service", 1, &format!("exec {}", sleep(nth)));
        server.run(&site.write(&format!("{name}.hcl"), &text));
        wait_until("it runs", || server.count(&name, "running") == 1 && runs(nth));
    };
    start(&server, 1);
    start(&server, 2);
    let kept = server.allocs("job-2");
    let file = site.path().join("backup.snap").display().to_string();
    let said = server.cli(&["operator", "snapshot", "save", &file]);
    assert!(said.status.success() && said.text.contains("was saved to"), "{}", said.text);
    let said = drover(site.path(), &["operator", "snapshot", "inspect", &file]);
    assert!(said.text.contains("Jobs         2"), "{}", said.text);
    // What the saved state does not know: one job ended, another began.
    assert!(server.cli(&["job", "stop", "-detach", "job-1"]).status.success());
    wait_until("it has stopped", || !runs(1));
    start(&server, 3);

    server.kill();
    let restore = ["operator", "snapshot", "restore", &file];
    let refused = offline(&site, &restore, &server, &["-yes"]);
    assert!(refused.text.contains("is not empty"), "{}", refused.text);
    fs::rename(server.data_dir(), server.dir.join("lost")).expect("it can be moved away");
    let said = offline(&site, &restore, &server, &["-yes"]);
    assert!(said.status.success() && said.text.contains("the only voter of"), "{}", said.text);
    server.start();
    leader_of(&[&server]);
    wait_until("what the state does not know is stopped", || !runs(3));
    assert_eq!(server.look("/v1/job/job-3?stale=true"), None);
    wait_until("what had ended since is started anew", || {
        runs(1) && server.count("job-1", "running") == 1
    });
    assert_eq!(server.allocs("job-2"), kept, "what ran all the time was not touched");
    assert!(runs(2));
}

#[test]
fn servers_that_were_left_out_and_come_back_with_their_data_are_overruled() {
    let site = Site::new();
    let mut servers = site.servers(3);
    leader_of(&servers.iter().collect::<Vec<_>>());
    let run = |server: &Agent, name: &str| {
        server.run(&site.write(&format!("{name}.hcl"), &job(name, "batch", 0, "true")));
    };
    run(&servers[0], "known");
    let knows =
        |server: &Agent, name: &str| server.look(&format!("/v1/job/{name}?stale=true")).is_some();
    wait_until("the survivor has it", || knows(&servers[0], "known"));
    servers[0].kill();
    leader_of(&[&servers[1], &servers[2]]);
    run(&servers[1], "lost");
    servers[1].kill();
    servers[2].kill();
    let said = offline(&site, &["operator", "raft", "recover"], &servers[0], &["-yes"]);
    assert!(said.status.success(), "{}", said.text);
    servers[0].start();
    leader_of(&[&servers[0]]);
    run(&servers[0], "new");
    // A majority of the old configuration, which knows nothing of all this.
    servers[1].start();
    servers[2].start();
    wait_until("all have what the survivor has, and nothing else", || {
        servers
            .iter()
            .all(|server| knows(server, "known") && knows(server, "new") && !knows(server, "lost"))
    });
    wait_until("all vote again", || servers.iter().all(|server| voters(server) == 3));
    run(&servers[2], "more");
    wait_until("all decide together", || servers.iter().all(|server| knows(server, "more")));
    for server in &mut servers {
        assert_eq!(server.ended(), None, "{} did not stop", server.name);
    }
}
