//! Two regions: each a cluster of its own, whose servers know each other.
use std::fs;

use serde_json::Value;

use crate::rig::{Agent, Part, Site, drover, job, text_of, wait_until};

/// An agent of region `eu`, alone and both, or a client of it.
fn european(site: &Site, name: &str, part: Part, join: &[u16]) -> Agent {
    let tls = site.path().join("tls");
    let role = match part {
        Part::Client => "client",
        Part::Both | Part::Double { .. } => "server-client",
        Part::Server { .. } => "server",
    };
    let cert = format!("{}/eu-{role}-drover", tls.display());
    if !fs::exists(format!("{cert}.pem")).expect("the folder can be read") {
        let roles = role.split('-').map(|role| format!("-{role}"));
        let args: Vec<String> =
            ["tls", "cert", "create", "-region", "eu"].map(str::to_owned).to_vec();
        let args: Vec<String> = args.into_iter().chain(roles).collect();
        let said = drover(&tls, &args.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(said.status.success(), "{}", said.text);
    }
    let agent = site.agent(name, part, join);
    agent.configure_more(&format!(
        "region = \"eu\"\ntls {{\n  cert_file = \"{cert}.pem\"\n  key_file = \"{cert}-key.pem\"\n}}\n"
    ));
    agent
}

fn regions(at: &Agent) -> Vec<String> {
    let known = at.look("/v1/regions").unwrap_or_default();
    let known = known.as_array().into_iter().flatten();
    known.filter_map(|region| region.as_str().map(str::to_owned)).collect()
}

fn status(at: &Agent, name: &str) -> Option<String> {
    let members = at.look("/v1/agent/members")?;
    let mut members = members["Members"].as_array()?.iter();
    Some(text_of(members.find(|member| text_of(member, "Name") == name)?, "Status"))
}

#[test]
fn a_job_is_submitted_from_one_region_to_another_and_asked_after_there() {
    let site = Site::new();
    let mut here = site.agent("here", Part::Both, &[]);
    let mut there = european(&site, "there", Part::Both, &[]);
    here.start();
    there.start();
    let refused = here.try_ask("GET", "/v1/jobs?region=eu", "").expect("it answers");
    assert_eq!(refused.status, 500);
    assert!(
        refused.text.contains("No path to region \"eu\": known are global"),
        "{}",
        refused.text
    );

    let address = format!("127.0.0.1:{}", there.rpc_port);
    let said = here.cli(&["server", "join", &address]);
    assert!(said.status.success(), "{}", said.text);
    wait_until("both know both regions", || {
        [&here, &there].into_iter().all(|at| regions(at) == ["eu", "global"])
    });
    let said = here.cli(&["server", "members"]);
    let lines = || said.text.lines().filter(|line| line.contains("alive"));
    assert!(lines().all(|line| line.contains("true")) && lines().count() == 2, "{}", said.text);

    let text = job("web", "service", 1, "exec sleep 1000");
    let text = text.replacen("type =", "region = \"eu\"\n  type =", 1);
    let file = site.write("web.nomad.hcl", &text).display().to_string();
    let said = here.cli(&["job", "run", &file]);
    assert!(said.status.success(), "{}", said.text);
    assert_eq!(there.count("web", "running"), 1);
    assert_eq!(here.get("/v1/jobs"), Value::Array(Vec::new()));
    let said = here.cli(&["job", "status", "-region=eu", "web"]);
    assert!(said.text.contains("running"), "{}", said.text);

    // As other programs submit it: only the job says where it belongs.
    let parsed = there.get("/v1/job/web");
    let body = serde_json::json!({ "Job": parsed }).to_string();
    let answer = here.try_ask("POST", "/v1/jobs", &body).expect("it answers");
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(here.get("/v1/jobs"), Value::Array(Vec::new()));
}

#[test]
fn a_region_that_is_lost_is_listed_as_failed_forced_out_and_met_again() {
    let site = Site::new();
    let mut here = site.agent("here", Part::Both, &[]);
    here.start();
    let mut there = european(&site, "there", Part::Both, &[here.rpc_port]);
    there.start();
    wait_until("it is met", || regions(&here) == ["eu", "global"]);
    there.kill();
    wait_until("its end is noticed", || {
        status(&here, "there.eu").as_deref() == Some("failed") && regions(&here) == ["global"]
    });
    let said = here.cli(&["server", "members"]);
    assert!(said.text.contains("Region eu has no leader that could be asked"), "{}", said.text);
    let said = here.cli(&["job", "status", "-region=eu"]);
    assert!(said.text.contains("No path to region"), "{}", said.text);
    let said = here.cli(&["server", "force-leave", "there.eu"]);
    assert!(said.status.success(), "{}", said.text);
    assert_eq!(status(&here, "there.eu").as_deref(), Some("left"));
    there.start();
    wait_until("it is back", || {
        [&here, &there].into_iter().all(|at| regions(at) == ["eu", "global"])
    });
}

#[test]
fn regions_that_stop_together_meet_again() {
    let site = Site::new();
    let mut here = site.agent("here", Part::Both, &[]);
    let mut there = european(&site, "there", Part::Both, &[]);
    let know_both = |here: &Agent, there: &Agent| {
        [here, there].into_iter().all(|at| regions(at) == ["eu", "global"])
    };
    here.start();
    there.start();
    let said = here.cli(&["server", "join", &format!("127.0.0.1:{}", there.rpc_port)]);
    assert!(said.status.success(), "{}", said.text);
    wait_until("they meet", || know_both(&here, &there));
    // It remembers itself first.
    let (file, address) =
        (here.data_dir().join("servers.json"), format!("127.0.0.1:{}", there.rpc_port));
    wait_until("one of them will remember it", || {
        fs::read_to_string(&file).is_ok_and(|known| known.contains(&address))
    });
    here.kill();
    there.kill();
    there.start();
    here.start();
    wait_until("they meet again, and nobody has told them to", || know_both(&here, &there));
}

#[test]
fn a_client_is_not_served_by_another_region() {
    let site = Site::new();
    let mut here = site.agent("here", Part::Server { expect: 1 }, &[]);
    here.start();
    let mut lost = european(&site, "lost", Part::Client, &[here.rpc_port]);
    lost.start();
    lost.wait_for_line(&["region \"eu\"", "let clients name servers of their own region"]);
    assert_eq!(here.get("/v1/nodes"), Value::Array(Vec::new()));
}
