//! Nodes that come when everything runs already, on real agents with real processes.
use crate::rig::{Part, Site, job, leader_of, wait_until};

/// A service of three that is healthy soon.
fn service() -> String {
    let soon = "update {\n      min_healthy_time = \"200ms\"\n    }\n    \
                migrate {\n      min_healthy_time = \"200ms\"\n    }\n    restart {";
    let script = "while :; do sleep 0.1; done";
    job("web", "service", 3, script).replacen("restart {", soon, 1)
}

#[test]
fn a_new_node_gets_its_share_and_then_nothing_more_moves() {
    let site = Site::new();
    let mut server = site.agent("s1", Part::Server { expect: 1 }, &[]);
    server.start();
    leader_of(&[&server]);
    let servers = std::slice::from_ref(&server);
    let _first = site.client("c1", servers);
    wait_until("the node is ready", || server.node_status("c1").as_deref() == Some("ready"));
    server.run(&site.write("web.hcl", &service()));
    wait_until("it runs", || server.count("web", "running") == 3);
    let _second = site.client("c2", servers);
    wait_until("the other is ready", || server.node_status("c2").as_deref() == Some("ready"));

    // What is being updated does not move.
    let is_over = || server.get("/v1/job/web/deployments")[0]["Status"] == "successful";
    wait_until("all are healthy", is_over);
    let planned = server.cli(&["rebalance", "plan"]);
    assert!(planned.status.success(), "{}", planned.text);
    for words in ["web.g[0]", "c1", "c2", "+0.", "fewer of its group"] {
        assert!(planned.text.contains(words), "{words}: {}", planned.text);
    }
    assert!(server.cli(&["rebalance", "status"]).text.contains("Nothing is to be moved"));
    let said = server.cli(&["rebalance", "apply", "-job", "web"]);
    assert!(said.status.success(), "{}", said.text);
    for words in [
        "Moving 1 allocation",
        "goes from c1 to c2",
        "is healthy on c2",
        "1 allocation moved, 0 did not",
    ] {
        assert!(said.text.contains(words), "{words}: {}", said.text);
    }
    let on = |name: &str| {
        let allocs = server.get("/v1/job/web/allocations");
        let running = allocs.as_array().into_iter().flatten();
        running
            .filter(|alloc| alloc["ClientStatus"] == "running" && alloc["NodeName"] == name)
            .count()
    };
    wait_until("the old one has ended", || on("c1") == 2 && on("c2") == 1);
    let again = server.cli(&["rebalance", "apply"]);
    assert!(again.text.contains("Nothing is to be moved"), "{}", again.text);
    assert!(again.status.success(), "{}", again.text);
    assert!(server.cli(&["rebalance", "stop"]).text.contains("Nothing moves any more"));
}
