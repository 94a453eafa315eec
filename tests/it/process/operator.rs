//! Operators who change a running cluster.
use serde_json::Value;

use crate::rig::{Agent, Site, leader_of, text_of, wait_until};

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
