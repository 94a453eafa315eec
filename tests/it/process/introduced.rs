//! Servers that let in only those clients whom somebody has introduced.
use std::fs;

use serde_json::Value;

use crate::rig::{Part, Site, leader_of, text_of, wait_until};

const STRICT: &str = "server {\n  client_introduction {\n    enforcement = \"strict\"\n  }\n}\n";

#[test]
fn a_client_joins_with_a_token_and_is_known_from_then_on() {
    let site = Site::new();
    let mut server = site.agent("s1", Part::Server { expect: 1 }, &[]);
    server.configure_more(STRICT);
    server.start();
    leader_of(&[&server]);
    let mut client = site.agent("c1", Part::Client, &[server.rpc_port]);
    client.start();
    client.wait_for_line(&["refused us", "drover node intro create"]);
    assert_eq!(server.get("/v1/nodes"), Value::Array(Vec::new()));
    client.kill();

    let refused = server.cli(&["node", "intro", "create", "-ttl=2h"]);
    assert!(!refused.status.success());
    assert!(refused.text.contains("a token is good for at most 30m"), "{}", refused.text);

    let made = server.cli(&["node", "intro", "create", "-node-name=c1", "-node-pool=small"]);
    assert!(made.status.success(), "{}", made.text);
    let file = client.data_dir().join("intro_token");
    fs::write(&file, &made.text).expect("the client has been here");
    client.start();
    client.wait_for_line(&["disconnected"]);
    server.wait_for_line(&["its introduction token is for another node pool"]);
    assert_eq!(server.get("/v1/nodes"), Value::Array(Vec::new()));
    client.kill();
    client.configure_more("client {\n  node_pool = \"small\"\n}\n");
    client.start();
    wait_until("it is let in", || server.node_status("c1").as_deref() == Some("ready"));

    client.kill();
    fs::remove_file(&file).expect("it is there");
    client.start();
    let id = text_of(&server.get("/v1/nodes")[0], "ID");
    wait_until("it is known, and needs no token", || {
        let node = server.get(&format!("/v1/node/{id}"));
        let events = node["Events"].as_array().expect("it has a history");
        events.iter().any(|event| event["Message"] == "Node re-registered")
            && server.node_status("c1").as_deref() == Some("ready")
    });
}
