//! A machine that changes while its agent runs.
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::rig::{Agent, Part, Site, job, leader_of, text_of, wait_for, wait_until};

/// A plugin as it is installed: whole, at once.
fn install(dir: &Path, name: &str, version: &str) {
    let aside = dir.with_added_extension(name);
    let script = format!("#!/bin/sh\necho CNI {name} plugin {version} >&2\n");
    fs::write(&aside, script).expect("the file can be written");
    fs::set_permissions(&aside, fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::rename(aside, dir.join(name)).expect("the directory is there");
}

fn own_node(server: &Agent, name: &str) -> Value {
    let nodes = server.get("/v1/nodes");
    let node = nodes.as_array().into_iter().flatten().find(|node| text_of(node, "Name") == name);
    let id = text_of(node.expect("a node of that name"), "ID");
    server.get(&format!("/v1/node/{id}"))
}

fn attribute(node: &Value, name: &str) -> String {
    text_of(&node["Attributes"], name)
}

fn registrations(node: &Value) -> usize {
    let events = node["Events"].as_array().expect("a list");
    events.iter().filter(|event| text_of(event, "Message").contains("registered")).count()
}

#[test]
fn a_plugin_that_is_installed_later_is_found_and_what_waited_for_it_runs() {
    let site = Site::new();
    let plugins = site.path().join("cni");
    fs::create_dir(&plugins).expect("the name is new");
    let mut server = site.agent("s1", Part::Server { expect: 1 }, &[]);
    server.start();
    leader_of(&[&server]);
    let mut client = site.agent("c1", Part::Client, &[server.rpc_port]);
    client.configure_more(&format!(
        "client {{\n  cni_path = \"{}\"\n  fingerprint_interval = \"50ms\"\n}}\n",
        plugins.display()
    ));
    client.start();
    wait_until("the node is ready", || server.node_status("c1").as_deref() == Some("ready"));
    let constraint = "constraint {\n    attribute = \"${attr.plugins.cni.version.bridge}\"\n    \
                      operator = \"semver\"\n    value = \">= 1.0.0\"\n  }\n  group";
    // It prints as it waits: the volume is never as it was.
    let text = job("net", "service", 1, "while :; do echo x; sleep 0.01; done");
    server.run(&site.write("net.hcl", &text.replacen("group", constraint, 1)));
    wait_until("it finds no node", || {
        let evals = server.get("/v1/job/net/evaluations");
        let blocked = |eval: &Value| text_of(eval, "Status") == "blocked";
        evals.as_array().is_some_and(|evals| evals.iter().any(blocked))
    });
    let before = own_node(&server, "c1");
    assert_eq!(attribute(&before, "plugins.cni.version.bridge"), "");

    install(&plugins, "bridge", "v1.2.0");
    wait_until("the job runs", || server.count("net", "running") == 1);
    let now = own_node(&server, "c1");
    assert_eq!(attribute(&now, "plugins.cni.version.bridge"), "v1.2.0");
    client.wait_for_line(&["this node has changed: plugins.cni.version.bridge"]);
    install(&plugins, "loopback", "v1.1.0");
    wait_until("the other is found, too", || {
        let name = "plugins.cni.version.loopback";
        attribute(&own_node(&server, "c1"), name) == "v1.1.0"
    });
    let after = own_node(&server, "c1");
    let entered = registrations(&after) - registrations(&before);
    assert_eq!(entered, 2, "only what changes is entered: {after:#}");
    assert_eq!(client.log().matches("this node has changed").count(), 2, "and only that is told");
}

#[test]
fn a_node_whose_tasks_have_nowhere_to_write_gets_none_until_they_have() {
    let site = Site::new();
    let mut server = site.agent("s1", Part::Server { expect: 1 }, &[]);
    server.start();
    leader_of(&[&server]);
    let mut client = site.agent("c1", Part::Client, &[server.rpc_port]);
    client.configure_more("client {\n  fingerprint_interval = \"50ms\"\n}\n");
    client.start();
    let ready = || server.node_status("c1").as_deref() == Some("ready");
    wait_until("the node is ready", ready);
    let (place, away) = (client.data_dir().join("alloc"), client.data_dir().join("away"));
    fs::rename(&place, &away).expect("it is there");
    let driver = || own_node(&server, "c1")["Drivers"]["raw_exec"].clone();
    wait_until("the driver is ill", || ready() && driver()["Healthy"] == false);
    let why = text_of(&driver(), "HealthDescription");
    assert!(why.starts_with("tasks have nowhere to write: "), "{why}");
    server.run(&site.write("late.hcl", &job("late", "service", 1, "exec sleep 600")));
    wait_until("it finds no node", || {
        let evals = server.get("/v1/job/late/evaluations");
        let blocked = |eval: &Value| text_of(eval, "Status") == "blocked";
        evals.as_array().is_some_and(|evals| evals.iter().any(blocked))
    });
    fs::rename(&away, &place).expect("it is away");
    wait_until("it runs", || server.count("late", "running") == 1);
    assert_eq!(driver()["Healthy"], true);
}

/// The program's words to an agent; it must do as it is told.
fn said(agent: &Agent, args: &[&str]) -> String {
    let said = agent.cli(args);
    assert!(said.status.success(), "{args:?}: {}", said.text);
    said.text
}

fn metadata(agent: &Agent, node: &str) -> Value {
    let text = said(agent, &["node", "meta", "read", "-json", "-node-id", node]);
    serde_json::from_str(&text).expect("it is JSON")
}

#[test]
fn what_is_said_of_a_node_places_jobs_and_outlives_its_agent() {
    let site = Site::new();
    let mut server = site.agent("s1", Part::Server { expect: 1 }, &[]);
    server.start();
    leader_of(&[&server]);
    let mut client = site.agent("c1", Part::Client, &[server.rpc_port]);
    client.configure_more("client {\n  meta {\n    rack = \"r1\"\n    row = \"a\"\n  }\n}\n");
    client.start();
    let other = site.client("c2", std::slice::from_ref(&server));
    wait_until("the nodes are ready", || {
        ["c1", "c2"].iter().all(|name| server.node_status(name).as_deref() == Some("ready"))
    });
    let constraint = "constraint {\n    attribute = \"${meta.zone}\"\n    \
                      value = \"east\"\n  }\n  group";
    let text = job("east", "service", 1, "exec sleep 600");
    server.run(&site.write("east.hcl", &text.replacen("group", constraint, 1)));
    let id = text_of(&own_node(&server, "c1"), "ID");
    assert_eq!(server.count("east", "running"), 0);

    let words = ["node", "meta", "apply", "-node-id", &id[..8], "-unset", "rack", "zone=east"];
    assert!(said(&server, &words).contains("updated"));
    wait_until("it runs", || server.count("east", "running") == 1);
    let alloc = server.allocs("east")[0].0.clone();
    assert_eq!(server.get(&format!("/v1/allocation/{alloc}"))["NodeName"], "c1");
    let told = serde_json::json!({
        "Meta": { "row": "a", "zone": "east" },
        "Dynamic": { "rack": null, "zone": "east" },
        "Static": { "rack": "r1", "row": "a" },
    });
    assert_eq!(metadata(&server, &id), told);

    client.kill();
    client.start();
    wait_until("the agent answers", || client.look("/v1/client/metadata").is_some());
    assert_eq!(metadata(&server, &id), told);
    let ready = || server.node_status("c1").as_deref() == Some("ready");
    wait_until("the node is back", || ready() && own_node(&server, "c1")["Meta"] == told["Meta"]);
    assert_eq!(server.allocs("east"), [(alloc, "running".to_owned())], "nothing was moved");

    // As Nomad's libraries ask: any agent, and the node in the body alone.
    let body = serde_json::json!({ "NodeID": id, "Meta": { "zone": null, "row": "b" } });
    let answer = other.try_ask("POST", "/v1/client/metadata", &body.to_string());
    let answer = answer.expect("it answers");
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["Meta"], serde_json::json!({ "row": "b" }));
    let shown = said(&client, &["node", "meta", "read"]);
    assert!(shown.contains("Dynamic Meta\nrack = <unset>\nrow  = b"), "{shown}");
    assert!(said(&other, &["node", "meta", "read"]).contains("Static Meta\n<none>"));
    wait_until("the servers know it", || own_node(&server, "c1")["Meta"] == answer.json()["Meta"]);
}

#[test]
fn metadata_that_cannot_be_is_refused_with_a_reason() {
    let site = Site::new();
    let mut both = site.agent("b1", Part::Both, &[]);
    both.start();
    wait_until("it is ready", || both.node_status("b1").as_deref() == Some("ready"));
    for (args, why) in [
        (&["a b=1"][..], "the key \"a b\" cannot be used: keys are letters, digits"),
        (&["=1"], "a key is empty"),
        (&["zone"], "\"zone\" has no =: write key=value, or -unset zone"),
        (&["a=1", "a=2"], "\"a\" is there twice"),
        (&["-unset", "a", "a=2"], "\"a\" is to be set and to be unset"),
        (&[], "Say what to change"),
    ] {
        let said = both.cli(&[&["node", "meta", "apply"], args].concat());
        assert_eq!(said.status.code(), Some(1), "{args:?}: {}", said.text);
        assert!(said.text.contains(why), "{args:?}: {}", said.text);
    }
    let answer = both.try_ask("POST", "/v1/client/metadata", "{\"Meta\": {\"a\": 1}}");
    assert_eq!(answer.map(|answer| answer.status), Some(400));
    // A file that somebody has been at: no guess of what it said.
    said(&both, &["node", "meta", "apply", "zone=east"]);
    both.stop();
    let file = both.data_dir().join("client/node_meta.json");
    let mode = fs::metadata(&file).expect("it is kept").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::write(&file, "{").expect("the file can be written");
    both.launch();
    both.wait_for_line(&["node_meta.json is damaged", "or remove it"]);
    let ended = wait_for("it ends", || both.ended());
    assert!(!ended.success());
}
