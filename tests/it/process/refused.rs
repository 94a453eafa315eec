//! What is wrong, said so that a person can act on it: job files, ports, certificates, clusters.
use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use crate::rig::{Agent, Part, Said, Site, job, leader_of, text_of, wait_for, wait_until};

/// A server that runs jobs itself, ready for them.
fn ready_agent(site: &Site) -> Agent {
    let mut agent = site.agent("both", Part::Both, &[]);
    agent.start();
    leader_of(&[&agent]);
    wait_until("its node is ready", || agent.node_status("both").as_deref() == Some("ready"));
    agent
}

fn assert_says(said: &Said, words: &[&str]) {
    for word in words {
        assert!(said.text.contains(word), "does not say {word:?}:\n{}", said.text);
    }
}

fn run(site: &Site, agent: &Agent, name: &str, text: &str) -> Said {
    let path = site.write(name, text);
    agent.cli(&["job", "run", &path.display().to_string()])
}

#[test]
fn an_agent_says_who_it_is_before_what_it_does() {
    let site = Site::new();
    let said = ready_agent(&site).log();
    let banner = said.split("Log data will stream in below").next().unwrap_or_default();
    assert!(banner.contains("Node Id") && !banner.contains("this server leads"), "{said}");
    assert!(said.contains("this server leads"), "{said}");
}

#[test]
fn a_job_file_that_is_wrong_is_refused_with_the_place() {
    let site = Site::new();
    let agent = ready_agent(&site);
    let said =
        run(&site, &agent, "syntax.hcl", "job \"a\" {\n  group \"g\" {\n    count = \n  }\n}\n");
    assert_eq!(said.status.code(), Some(1), "{}", said.text);
    assert_says(&said, &["syntax.hcl:3", "count ="]);
    let negative = job("negative", "batch", 1, "true").replace("count = 1", "count = -1");
    let said = run(&site, &agent, "negative.hcl", &negative);
    assert_eq!(said.status.code(), Some(1), "{}", said.text);
    assert_says(&said, &["negative.hcl:4", "count"]);
    let body = "{\"Job\":{\"ID\":\"n\",\"Name\":\"n\",\"Type\":\"batch\",\"TaskGroups\":[{\"Name\":\"g\",\
                \"Count\":-1,\"Tasks\":[{\"Name\":\"t\",\"Driver\":\"raw_exec\"}]}]}}";
    let answer = agent.try_ask("PUT", "/v1/jobs", body).expect("it answers");
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert!(answer.text.contains("ount"), "{}", answer.text);
    let broken = agent.try_ask("PUT", "/v1/jobs", "{\"Job\":").expect("it answers");
    assert_eq!(broken.status, 400, "{}", broken.text);
    assert_eq!(agent.get("/v1/jobs").as_array().map(Vec::len), Some(0), "nothing was registered");
}

#[test]
fn a_job_that_no_node_can_run_waits_and_says_why() {
    let site = Site::new();
    let agent = ready_agent(&site);
    let unknown = job("unknown", "batch", 1, "true").replace("raw_exec", "teleport");
    let large = job("large", "batch", 1, "true").replace("memory = 10", "memory = 900000000");
    for (id, text, why) in [("unknown", &unknown, "driver"), ("large", &large, "memory")] {
        let said = run(&site, &agent, &format!("{id}.hcl"), text);
        assert_says(&said, &["failed to place", why]);
        let said = agent.cli(&["job", "status", id]);
        assert_says(&said, &["Placement Failure", why]);
        let evals = agent.get(&format!("/v1/job/{id}/evaluations"));
        let blocked = evals.as_array().into_iter().flatten();
        let blocked = blocked.into_iter().find(|eval| text_of(eval, "Status") == "blocked");
        let first =
            evals.as_array().into_iter().flatten().find(|e| text_of(e, "Status") != "blocked");
        assert!(blocked.is_some(), "{evals:#}");
        let eval = text_of(first.expect("the one that failed"), "ID");
        assert_says(&agent.cli(&["eval", "status", &eval]), &[why]);
    }
}

/// Waits until the agent has given up by itself, and answers what it said.
fn failure_of(agent: &mut Agent) -> String {
    agent.launch();
    let status = wait_for("it gives up", || agent.ended());
    assert_eq!(status.code(), Some(1), "{}", agent.log());
    agent.log()
}

#[test]
fn a_port_in_use_is_named() {
    let site = Site::new();
    let mut agent = site.agent("s1", Part::Server { expect: 1 }, &[]);
    let http = TcpListener::bind(("127.0.0.1", agent.http_port)).expect("the port is free");
    let said = failure_of(&mut agent);
    assert!(said.contains(&format!("HTTP port {}", agent.http_port)), "{said}");
    assert!(said.contains("in use"), "{said}");
    drop(http);
    let rpc = UdpSocket::bind(("127.0.0.1", agent.rpc_port)).expect("the port is free");
    let said = failure_of(&mut agent);
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains(&agent.rpc_port.to_string()) && last.contains("in use"), "{said}");
    assert!(last.contains("ports"), "it says what to change: {said}");
    drop(rpc);
    agent.start();
    leader_of(&[&agent]);
}

#[test]
fn two_agents_do_not_share_a_data_directory() {
    let site = Site::new();
    let mut first = site.agent("s1", Part::Server { expect: 1 }, &[]);
    first.start();
    let mut second = site.agent("s2", Part::Server { expect: 1 }, &[]);
    second.configure_more(&format!("data_dir = \"{}\"\n", first.data_dir().display()));
    let said = failure_of(&mut second);
    assert!(said.contains("in use by another drover agent"), "{said}");
}

#[test]
fn an_agent_that_meets_nobody_gives_up_where_it_was_told_to() {
    let site = Site::new();
    let silent = site.agent("nobody", Part::Server { expect: 1 }, &[]).rpc_port;
    let told = [
        ("retry_max = 2\n    retry_interval = \"500ms\"", "within 1s", "leave retry_max out"),
        ("retry_max = 1\n    retry_interval = \"200ms\"", "within 200ms", "leave retry_max out"),
    ];
    for (at, (limit, within, remedy)) in told.into_iter().enumerate() {
        let part = Part::Server { expect: 0 };
        let mut agent = site.agent(&format!("s{at}"), part, &[silent]);
        agent.configure_more(&format!("server {{\n  server_join {{\n    {limit}\n  }}\n}}\n"));
        let said = failure_of(&mut agent);
        for words in [format!("no server was met {within}: 127.0.0.1:{silent}"), remedy.into()] {
            assert!(said.contains(&words), "{words}: {said}");
        }
    }
}

#[test]
fn an_agent_that_has_met_somebody_looks_for_it_for_ever() {
    let site = Site::new();
    let mut server = site.agent("s1", Part::Server { expect: 1 }, &[]);
    server.start();
    leader_of(&[&server]);
    let mut client = site.agent("c1", Part::Client, &[server.rpc_port]);
    let join = format!("server_join {{\n    retry_join = [\"127.0.0.1:{}\"]\n", server.rpc_port);
    client.configure_more(&format!(
        "client {{\n  {join}    retry_max = 4\n    retry_interval = \"500ms\"\n  }}\n}}\n"
    ));
    client.start();
    wait_until("the node is ready", || server.node_status("c1").as_deref() == Some("ready"));
    server.kill();
    let lost = Instant::now();
    wait_until("its patience would be over", || Duration::from_secs(3) < lost.elapsed());
    server.start();
    wait_until("the node is ready again", || server.node_status("c1").as_deref() == Some("ready"));
    assert!(client.ended().is_none());
}

/// Names of the members that the agent knows.
fn members(agent: &Agent) -> Vec<String> {
    let said = agent.get("/v1/agent/members");
    let names = said["Members"].as_array().into_iter().flatten();
    names.map(|member| text_of(member, "Name")).collect()
}

#[test]
fn a_server_of_another_cluster_is_refused_on_both_sides() {
    let site = Site::new();
    let mut ours = site.agent("ours", Part::Server { expect: 1 }, &[]);
    ours.start();
    leader_of(&[&ours]);
    let mut theirs = site.agent("theirs", Part::Server { expect: 1 }, &[]);
    theirs.start();
    leader_of(&[&theirs]);
    theirs.kill();
    let join = format!(
        "server {{\n  server_join {{\n    retry_join = [\"127.0.0.1:{}\"]\n  }}\n}}\n",
        ours.rpc_port
    );
    theirs.configure_more(&join);
    theirs.start();
    leader_of(&[&theirs]);
    for agent in [&ours, &theirs] {
        agent.wait_for_line(&["WARN", "belongs to another cluster"]);
        assert_eq!(members(agent).len(), 1, "nobody joined");
    }
}

#[test]
fn a_certificate_of_another_authority_is_refused_on_both_sides() {
    let site = Site::new();
    site.make_certificates("foreign");
    let mut ours = site.agent("ours", Part::Server { expect: 1 }, &[]);
    ours.start();
    leader_of(&[&ours]);
    let part = Part::Server { expect: 0 };
    let mut stranger = site.agent_of("foreign", "stranger", part, &[ours.rpc_port]);
    stranger.launch();
    stranger.wait_for_line(&["WARN", "presents a certificate that our CA did not sign"]);
    ours.wait_for_line(&["WARN", "refused our certificate: its CA did not sign it"]);
    assert_eq!(members(&ours).len(), 1, "nobody joined");
}
