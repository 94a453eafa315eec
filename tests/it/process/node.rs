//! A client node's agent that is killed, and its machine that is lost for good.
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::rig::{Agent, Part, Site, job, leader_of, text_of, wait_for, wait_until};

/// Writes its process id and a count that grows, until the file `end` is there; then exits with 7.
fn counting(end: &Path) -> String {
    let end = end.display();
    format!(
        "echo pid $$; i=0; until [ -e {end} ]; do echo $i; i=$((i+1)); sleep 0.05; done; exit 7"
    )
}

fn only_alloc(agent: &Agent, job: &str) -> String {
    let allocs = agent.allocs(job);
    assert_eq!(allocs.len(), 1, "{job}: {allocs:?}");
    allocs[0].0.clone()
}

/// What the only task has printed, line by line.
fn output(agent: &Agent, alloc: &str) -> Vec<String> {
    let path = format!("/v1/client/fs/logs/{alloc}?task=t&type=stdout&plain=true");
    let text = agent.try_ask("GET", &path, "").map(|answer| answer.text).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn task(agent: &Agent, alloc: &str) -> Value {
    agent.get(&format!("/v1/allocation/{alloc}"))["TaskStates"]["t"].clone()
}

/// The exit code that the task's last end was told with.
fn exit_code(task: &Value) -> Option<i64> {
    let events = task["Events"].as_array()?;
    let ended = events.iter().rfind(|event| text_of(event, "Type") == "Terminated")?;
    ended["ExitCode"].as_i64()
}

fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state stands after the name, which is in brackets.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Whether the kernel may give the process huge pages; `None`: this kernel does not say.
fn may_have_huge_pages(pid: &str) -> Option<bool> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("THP_enabled:"))?;
    Some(line.trim() == "1")
}

/// The count goes on from line to line, after one first line that names the process.
fn check_output(lines: &[String]) -> String {
    let pid = lines[0].strip_prefix("pid ").expect("the first line names the process").to_owned();
    for (at, line) in lines[1..].iter().enumerate() {
        assert_eq!(*line, at.to_string(), "a gap, or a second start, at line {at}: {lines:?}");
    }
    pid
}

#[test]
fn tasks_outlive_their_agent_and_nothing_they_did_is_lost() {
    let site = Site::new();
    let mut server = site.agent("s1", Part::Server { expect: 1 }, &[]);
    server.start();
    let mut client = site.client("c1", std::slice::from_ref(&server));
    let (end_while_away, end_after) = (site.path().join("end-1"), site.path().join("end-2"));
    server_takes(&site, &client, "away", &counting(&end_while_away));
    server_takes(&site, &client, "after", &counting(&end_after));
    let (away, after) = (only_alloc(&server, "away"), only_alloc(&server, "after"));
    wait_until("both count", || {
        5 < output(&client, &away).len().min(output(&client, &after).len())
    });
    let pids = [&away, &after].map(|alloc| check_output(&output(&client, alloc)));
    if let Some(agent_may) = may_have_huge_pages(&client.pid().to_string()) {
        assert!(!agent_may, "steps of an agent are not stopped to clear huge pages");
        assert_eq!(
            may_have_huge_pages(&pids[0]),
            Some(true),
            "its tasks are as the machine has it"
        );
    }

    client.kill();
    assert!(pids.iter().all(|pid| is_running(pid)), "tasks outlive their agent");
    fs::write(&end_while_away, "").expect("the file can be written");
    wait_until("the first ends while nobody looks", || !is_running(&pids[0]));
    client.start();

    let seen = wait_for("the second is found again", || {
        let lines = output(&client, &after);
        (5 < lines.len()).then_some(lines.len())
    });
    wait_until("it goes on counting", || seen < output(&client, &after).len());
    assert_eq!(check_output(&output(&client, &after)), pids[1], "the task is the same process");
    assert!(is_running(&pids[1]));
    wait_until("the first one's end is told", || server.count("away", "failed") == 1);
    fs::write(&end_after, "").expect("the file can be written");
    wait_until("the second one's end is told", || server.count("after", "failed") == 1);
    for (job, alloc, pid) in [("away", &away, &pids[0]), ("after", &after, &pids[1])] {
        assert_eq!(only_alloc(&server, job), *alloc, "it was not replaced");
        let task = task(&server, alloc);
        assert_eq!(task["Restarts"], 0, "{task:#}");
        assert_eq!(exit_code(&task), Some(7), "{task:#}");
        assert_eq!(check_output(&output(&client, alloc)), *pid);
    }
}

fn server_takes(site: &Site, agent: &Agent, id: &str, script: &str) {
    wait_until("the servers are reached", || agent.look("/v1/nodes").is_some());
    agent.run(&site.write(&format!("{id}.hcl"), &job(id, "batch", 1, script)));
    wait_until("it runs", || agent.count(id, "running") == 1);
}

/// Each line: a process id, and the alloc that it runs for.
fn started(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there").flatten() {
        let pid = fs::read_to_string(entry.path()).unwrap_or_default().trim().to_owned();
        found.push((pid, entry.file_name().to_string_lossy().into_owned()));
    }
    found.retain(|(pid, _)| !pid.is_empty());
    found
}

#[test]
fn a_client_that_was_told_of_one_server_outlives_it() {
    let site = Site::new();
    let mut servers = site.servers(3);
    leader_of(&servers.iter().collect::<Vec<_>>());
    let mut client = site.client("c1", &servers[..1]);
    wait_until("the node is ready", || servers[1].node_status("c1").as_deref() == Some("ready"));
    wait_until("it is linked to all", || {
        let connected =
            |of: &Agent| client.log().contains(&format!("addr=127.0.0.1:{}", of.rpc_port));
        servers.iter().all(connected)
    });
    servers[0].kill();
    let stayed = [&servers[1], &servers[2]];
    leader_of(&stayed);
    servers[1].run(&site.write("web.hcl", &job("web", "service", 1, "exec sleep 1000")));
    wait_until("it runs", || servers[1].count("web", "running") == 1);
    assert_eq!(servers[1].node_status("c1").as_deref(), Some("ready"));
    client.stop();
}

#[test]
fn what_ran_on_a_lost_node_runs_elsewhere_and_ends_when_the_node_returns() {
    let site = Site::new();
    let mut server = site.agent("s1", Part::Server { expect: 1 }, &[]);
    server.start();
    leader_of(&[&server]);
    let servers = std::slice::from_ref(&server);
    let mut first = site.client("c1", servers);
    let folder = site.path().join("started");
    fs::create_dir(&folder).expect("the folder is new");
    let script = format!("echo $$ > {}/$NOMAD_ALLOC_ID; exec sleep 600", folder.display());
    wait_until("the node is ready", || server.node_status("c1").as_deref() == Some("ready"));
    server.run(&site.write("service.hcl", &job("service", "service", 3, &script)));
    wait_until("it runs", || server.count("service", "running") == 3);
    wait_until("its processes are known", || started(&folder).len() == 3);
    let old = started(&folder);
    let second = site.client("c2", servers);
    wait_until("the other is ready", || server.node_status("c2").as_deref() == Some("ready"));

    first.kill();
    wait_until("the node is down", || server.node_status("c1").as_deref() == Some("down"));
    wait_until("the service runs on the other node", || {
        server.count("service", "running") == 3 && started(&folder).len() == 6
    });
    assert_eq!(server.count("service", "lost"), 3, "{:?}", server.allocs("service"));
    assert!(old.iter().all(|(pid, _)| is_running(pid)), "nobody could tell the old ones");

    first.start();
    wait_until("the node is back", || server.node_status("c1").as_deref() == Some("ready"));
    wait_until("its old tasks are stopped", || old.iter().all(|(pid, _)| !is_running(pid)));
    let ids: Vec<&String> = old.iter().map(|(_, alloc)| alloc).collect();
    let new: Vec<_> = started(&folder).into_iter().filter(|(_, id)| !ids.contains(&id)).collect();
    assert_eq!(new.len(), 3, "nothing was started a third time");
    assert!(new.iter().all(|(pid, _)| is_running(pid)), "the new ones go on");
    assert_eq!(server.count("service", "running"), 3);
    drop(second);
}

#[test]
fn agents_that_are_servers_and_clients_make_a_cluster() {
    let site = Site::new();
    let agents = site.founders(3, Part::Double { expect: 3 });
    let all: Vec<&Agent> = agents.iter().collect();
    leader_of(&all);
    for agent in &agents {
        wait_until("every node is ready", || {
            let nodes = agent.get("/v1/nodes");
            let nodes = nodes.as_array().expect("a list");
            nodes.len() == 3 && nodes.iter().all(|node| text_of(node, "Status") == "ready")
        });
    }
    agents[0].run(&site.write("wide.hcl", &job("wide", "service", 6, "exec sleep 600")));
    wait_until("all of it runs", || agents[1].count("wide", "running") == 6);
    for agent in &agents {
        let log = agent.log();
        let complaint = log.lines().find(|line| line.contains("cut off"));
        assert_eq!(complaint, None, "{}: each takes what the others say", agent.name);
    }
}
