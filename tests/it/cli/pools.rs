//! What `drover node pool` asks and prints.
use crate::server::{NODE, Server};

const POOLS: &str = r#"[{"Name":"default","Description":"Default node pool."},
    {"Name":"gpu","Description":"with cards","Meta":{"owner":"vision"},
     "SchedulerConfiguration":{"SchedulerAlgorithm":"spread","MemoryOversubscriptionEnabled":null}},
    {"Name":"gpu-old","Description":""}]"#;
const LIST: &str = "GET /v1/node/pools";

#[test]
fn pools_are_listed_and_shown_by_the_beginning_of_their_names() {
    let server = Server::with(&[(LIST, 200, POOLS)]);
    let ran = server.drover(&["node", "pool", "list"]);
    let expected = "\
Name     Description
default  Default node pool.
gpu      with cards
gpu-old  <none>
";
    assert_eq!((ran.out.as_str(), ran.code), (expected, 0), "{}", ran.err);
    let ran = server.drover(&["node", "pool", "info", "gpu"]);
    let expected = "\
Name        = gpu
Description = with cards

Metadata
owner = vision

Scheduler Configuration
Scheduler Algorithm     = spread
Memory Oversubscription = as for the cluster
";
    assert_eq!((ran.out.as_str(), ran.code), (expected, 0), "{}", ran.err);
    assert_eq!(server.asked()[1].0, format!("{LIST}?prefix=gpu"));
    let ran = server.drover(&["node", "pool", "info", "def"]);
    assert!(ran.out.contains("No metadata") && ran.out.contains("No scheduler"), "{}", ran.out);
    let ran = server.drover(&["node", "pool", "info", "gp"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.starts_with("Prefix matched multiple node pools\n\nName"), "{}", ran.err);
    let ran = server.drover(&["node", "pool", "info", "none"]);
    assert_eq!(ran.err, "No node pool with the name or prefix \"none\" found\n");
}

#[test]
fn a_pool_is_written_applied_and_deleted() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pool.hcl");
    let file = path.to_str().expect("text");
    let server = Server::with(&[
        ("PUT /v1/node/pool/example", 200, ""),
        ("DELETE /v1/node/pool/gpu", 400, "Name: pool \"gpu\" has nodes: n1"),
        ("DELETE /v1/node/pool/old", 200, ""),
    ]);
    let ran = server.drover(&["node", "pool", "init", file]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let again = server.drover(&["node", "pool", "init", file]);
    assert!(again.err.contains("the file exists already"), "{}", again.err);
    let ran = server.drover(&["node", "pool", "apply", file]);
    let said = "Successfully applied node pool \"example\"!\n";
    assert_eq!((ran.out.as_str(), ran.code), (said, 0), "{}", ran.err);
    let body: serde_json::Value = serde_json::from_str(&server.asked()[0].1).expect("JSON");
    assert_eq!(body["Name"], "example");
    assert_eq!(body["SchedulerConfiguration"]["SchedulerAlgorithm"], "spread");
    std::fs::write(&path, "node_pool \"gpu\" {\n  colour = \"red\"\n}").expect("written");
    let ran = server.drover(&["node", "pool", "apply", file]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains(":2"), "the place is told: {}", ran.err);
    assert_eq!(server.asked().len(), 1, "what is wrong is not sent");
    let ran = server.drover(&["node", "pool", "delete", "old"]);
    assert_eq!(ran.out, "Successfully deleted node pool \"old\"!\n");
    let ran = server.drover(&["node", "pool", "delete", "gpu"]);
    let why = "Error deleting node pool: Unexpected response code: 400 (Name: pool \"gpu\" has nodes: n1)\n";
    assert_eq!((ran.err.as_str(), ran.code), (why, 1));
}

#[test]
fn what_is_in_a_pool_is_listed_as_everything_is() {
    let nodes = format!(
        r#"[{{"ID":"{NODE}","Name":"n1","NodePool":"gpu","Datacenter":"dc1","NodeClass":"",
        "Drain":false,"SchedulingEligibility":"eligible","Status":"ready"}}]"#
    );
    let jobs =
        r#"[{"ID":"web","Type":"service","Priority":50,"Status":"running","NodePool":"gpu"}]"#;
    let server = Server::with(&[
        (LIST, 200, POOLS),
        ("GET /v1/node/pool/gpu/nodes", 200, &nodes),
        ("GET /v1/node/pool/gpu/jobs", 200, jobs),
        ("GET /v1/node/pool/gpu-old/jobs", 200, "[]"),
        ("GET /v1/node/pool/gpu-old/nodes", 200, "[]"),
    ]);
    let ran = server.drover(&["node", "pool", "nodes", "gpu"]);
    let expected = "\
ID        Node Pool  DC   Name  Class   Drain  Eligibility  Status
0d0e0f00  gpu        dc1  n1    <none>  false  eligible     ready
";
    assert_eq!((ran.out.as_str(), ran.code), (expected, 0), "{}", ran.err);
    let ran = server.drover(&["node", "pool", "jobs", "gpu"]);
    assert!(ran.out.contains("web  service  50        running"), "{}", ran.out);
    let ran = server.drover(&["node", "pool", "jobs", "gpu-old"]);
    assert_eq!((ran.out.as_str(), ran.code), ("No jobs\n", 0));
    let ran = server.drover(&["node", "pool", "nodes", "gpu-o"]);
    assert_eq!((ran.out.as_str(), ran.code), ("No nodes\n", 0));
}
