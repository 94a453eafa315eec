//! What `drover node meta` asks and prints, and what `drover node status` shows of a machine.
use serde_json::{Value, json};

use crate::server::{ALLOC, NODE, Server};

const PATH: &str = "/v1/client/metadata";

fn server(node: &Value) -> Server {
    let list = json!([{ "ID": NODE }]).to_string();
    let node = node.to_string();
    let (nodes, one) = ("GET /v1/nodes", format!("GET /v1/node/{NODE}"));
    Server::with(&[(nodes, 200, &list), (&one, 200, &node)])
}

#[test]
fn metadata_is_said_with_what_is_to_go_and_shown_by_who_says_it() {
    let server = server(&json!({ "ID": NODE }));
    let told = json!({
        "Meta": { "rack": "r2" }, "Dynamic": { "rack": "r2", "row": null }, "Static": {},
    });
    server.add(&format!("PUT {PATH}"), 200, &told.to_string());
    server.add(&format!("GET {PATH}"), 200, &told.to_string());
    let words = ["node", "meta", "apply", "-node-id", &NODE[..8], "-unset", "row,old", "rack=a=b"];
    let ran = server.drover(&words);
    let expected = format!("Metadata of node \"{NODE}\" updated\n");
    assert_eq!((ran.out, ran.code), (expected, 0), "{}", ran.err);
    let (route, body) = server.asked().pop().expect("it was asked");
    assert_eq!(route, format!("PUT {PATH}?node_id={NODE}"));
    let body: Value = serde_json::from_str(&body).expect("it is JSON");
    let meta = json!({ "rack": "a=b", "row": null, "old": null });
    assert_eq!(body, json!({ "NodeID": NODE, "Meta": meta }));
    let ran = server.drover(&["node", "meta", "read", "-node-id", NODE]);
    let expected = "\
All Meta
rack = r2

Dynamic Meta
rack = r2
row  = <unset>

Static Meta
<none>
";
    assert_eq!((ran.out.as_str(), ran.code), (expected, 0), "{}", ran.err);
}

#[test]
fn an_agent_that_is_no_client_has_no_metadata() {
    let server = Server::with(&[("GET /v1/agent/self", 200, "{\"stats\": {\"nomad\": {}}}")]);
    let ran = server.drover(&["node", "meta", "read"]);
    assert_eq!((ran.code, ran.err.contains("is not a client")), (1, true), "{}", ran.err);
}

#[test]
fn the_networks_of_a_machine_are_shown_with_their_addresses() {
    let address = |alias: &str, ip: &str| json!({ "Alias": alias, "Address": ip });
    let networks = json!([
        { "Device": "eth0", "Speed": 25_000,
          "Addresses": [address("default", "10.0.0.5"), address("default", "fd00::5")] },
        { "Device": "eth1", "Speed": 1_000, "Addresses": [address("", "192.168.1.5")] },
    ]);
    let node = json!({ "ID": NODE, "NodeResources": { "NodeNetworks": networks } });
    let server = server(&node);
    server.add(&format!("GET /v1/node/{NODE}/allocations"), 200, "[]");
    let ran = server.drover(&["node", "status", "-verbose", NODE]);
    let expected = "\
Host Networks
Device  Alias    Speed         Addresses
eth0    default  25000 Mbit/s  10.0.0.5, fd00::5
eth1    <none>   1000 Mbit/s   192.168.1.5
";
    assert!(ran.out.contains(expected), "{}{}", ran.out, ran.err);
    let ran = server.drover(&["node", "status", NODE]);
    assert!(!ran.out.contains("Host Networks"), "{}", ran.out);
}

#[test]
fn the_volumes_of_a_machine_are_named_and_shown_with_their_paths() {
    let volume = |name: &str, path: &str, read_only: bool| json!({ "Name": name, "Path": path, "ReadOnly": read_only });
    let volumes = json!({
        "data": volume("data", "/srv/data", false), "certs": volume("certs", "/etc/ssl", true),
    });
    let server = server(&json!({ "ID": NODE, "HostVolumes": volumes }));
    server.add(&format!("GET /v1/node/{NODE}/allocations"), 200, "[]");
    let ran = server.drover(&["node", "status", NODE]);
    assert!(ran.out.contains("Host Volumes  = certs,data\n"), "{}{}", ran.out, ran.err);
    assert!(!ran.out.contains("/srv/data"), "{}", ran.out);
    let ran = server.drover(&["node", "status", "-verbose", NODE]);
    let expected = "\
Host Volumes
Name   ReadOnly  Source
certs  true      /etc/ssl
data   false     /srv/data
";
    assert!(ran.out.contains(expected), "{}{}", ran.out, ran.err);
}

#[test]
fn an_alloc_is_shown_with_the_volumes_that_its_group_asks_for() {
    let of = |source: &str, read_only: bool| json!({ "Source": source, "ReadOnly": read_only });
    let groups = json!([
        { "Name": "other", "Volumes": { "w": of("elsewhere", true) } },
        { "Name": "app", "Volumes": { "c": of("certs", true), "d": of("data", false) } },
    ]);
    let alloc = json!({ "ID": ALLOC, "TaskGroup": "app", "Job": { "TaskGroups": groups } });
    let list = json!([alloc]).to_string();
    let server = Server::with(&[
        ("GET /v1/allocations", 200, &list),
        (&format!("GET /v1/allocation/{ALLOC}"), 200, &alloc.to_string()),
    ]);
    let ran = server.drover(&["alloc", "status", ALLOC]);
    let expected = "\
Host Volumes:
ID     Read Only
certs  true
data   false
";
    assert!(ran.out.contains(expected), "{}{}", ran.out, ran.err);
    assert!(!ran.out.contains("elsewhere"), "{}", ran.out);
}
