//! A machine that changes while its agent runs.
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::rig::{Agent, Part, Site, job, leader_of, text_of, wait_until};

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
}
