//! What of an alloc others may find in the catalog, and when.
use std::sync::Arc;

use drover_core::client::ServerMessage;
use drover_core::types::{
    AllocSpec, AssignedAlloc, Boot, Check, JobKind, NodeSpec, PortGrant, Service, TaskChange,
};

use super::node::{Node, S1};
use super::specs::{alloc, assignment, node_spec, service, spec, task};

/// Two tasks with a service each, and one of their group.
fn found() -> AllocSpec {
    let tasks = ["main", "side"].map(|name| {
        let mut task = task(name);
        task.services = vec![service(name)];
        task
    });
    let mut spec = spec(JobKind::Service, tasks.into());
    spec.group.services = vec![service("group")];
    spec
}

/// One task, and a service of its own.
fn one(service: Service) -> AllocSpec {
    let mut main = task("main");
    main.services = vec![service];
    spec(JobKind::Service, vec![main])
}

#[test]
fn a_tasks_services_stand_while_it_runs_and_the_groups_while_any_does() {
    let mut node = Node::registered();
    node.assign((5, None), &found(), &[5], &[]);
    node.sync();
    assert_eq!(node.did(), ["start a5/main#0", "start a5/side#0"], "nothing runs yet");
    node.started("a5/side#0");
    assert_eq!(node.did(), ["advertise a5: group, side"]);
    node.started("a5/main#0");
    assert_eq!(node.did(), ["advertise a5: group, main, side"]);
    node.exited("a5/side#0", 1);
    assert_eq!(node.did(), ["advertise a5: group, main"]);
    node.exited("a5/main#0", 1);
    assert_eq!(node.did(), ["advertise a5: "], "both wait for their next attempt");
}

#[test]
fn a_groups_service_that_names_a_task_stands_while_that_one_runs() {
    let mut spec = found();
    spec.group.services[0].task = "main".into();
    let mut node = Node::registered();
    node.assign((5, None), &spec, &[5], &[]);
    node.sync();
    node.did();
    node.started("a5/side#0");
    assert_eq!(node.did(), ["advertise a5: side"]);
    node.started("a5/main#0");
    assert_eq!(node.did(), ["advertise a5: group, main, side"]);
}

#[test]
fn nobody_is_sent_to_what_is_about_to_stop() {
    let mut spec = found();
    spec.group.shutdown_delay_ms = 3_000;
    let mut node = Node::running(&spec);
    node.assign((6, Some(5)), &spec, &[], &[5]);
    assert_eq!(node.did(), ["advertise a5: "], "at once, and before shutdown_delay");
    node.sync();
    node.pass(2_999);
    assert_eq!(node.did(), [""; 0]);
    node.pass(1);
    assert_eq!(node.did(), ["stop a5/main#0 SIGINT", "stop a5/side#0 SIGINT"]);
}

#[test]
fn a_task_that_is_restarted_is_not_found_meanwhile() {
    let mut spec = found();
    spec.group.tasks[1].shutdown_delay_ms = 2_000;
    let mut node = Node::running(&spec);
    node.step(|client, at, out| {
        client.on_restart_asked(at, (alloc(5), Some("side")), out).expect("it runs");
    });
    assert_eq!(node.did(), ["advertise a5: group, main"]);
    node.sync();
    node.pass(2_000);
    node.exited("a5/side#0", 0);
    node.settle();
    node.started("a5/side#1");
    assert_eq!(node.did(), ["advertise a5: group, main, side"]);
}

#[test]
fn what_is_about_to_be_signalled_is_withdrawn_before() {
    let mut node = Node::running(&found());
    node.assign((6, Some(5)), &found(), &[], &[5]);
    node.sync();
    assert_eq!(node.did(), ["advertise a5: ", "stop a5/main#0 SIGINT", "stop a5/side#0 SIGINT"]);
}

#[test]
fn a_restarted_agent_says_again_what_stands() {
    let mut node = Node::running(&found());
    node.crash(Boot::Same);
    assert_eq!(node.did(), ["look for a5/main#0", "look for a5/side#0"], "its node is not known");
    node.fingerprint();
    assert_eq!(node.did(), ["advertise a5: group, main, side"], "it need not go and come back");
    node.started("a5/main#0");
    node.task("a5/side#0", &TaskChange::Lost);
    assert_eq!(node.did(), ["advertise a5: group, main"]);
}

#[test]
fn after_a_reboot_nothing_stands_that_does_not_run() {
    let mut node = Node::running(&found());
    node.restart(Boot::Rebooted);
    assert_eq!(node.did(), [""; 0]);
}

#[test]
fn an_update_in_place_is_told_though_nothing_starts_or_stops() {
    let mut tagged = service("web");
    tagged.tags = vec!["v1".into()];
    let mut node = Node::running(&one(tagged.clone()));
    let mut newer = one(Service { tags: vec!["v2".into()], ..tagged });
    newer.version = 1;
    node.assign((6, Some(5)), &newer, &[5], &[]);
    assert_eq!(node.did(), ["advertise a5: web"]);
    assert_eq!(node.adverts[&alloc(5)][0].tags, ["v2"]);
    newer.version = 2;
    newer.group.tasks[0].services.clear();
    node.assign((7, Some(6)), &newer, &[5], &[]);
    assert_eq!(node.did(), ["advertise a5: "]);
}

#[test]
fn a_canary_has_its_own_tags_until_it_is_promoted() {
    let web = Service {
        tags: vec!["live".into()],
        canary_tags: vec!["try".into()],
        meta: [("stage".into(), "live".into())].into(),
        ..service("web")
    };
    let spec = Arc::new(one(web));
    let mut node = Node::registered();
    node.assign((4, None), &spec, &[], &[]);
    node.name(5, &["main"]);
    let of = |is_canary, seq: (u64, Option<u64>)| {
        let mut told = assignment(seq, &spec, &[alloc(5)], &[]);
        let run = told.runs.remove(0);
        told.runs = vec![AssignedAlloc { is_canary, ..run }];
        ServerMessage::Assign(told)
    };
    node.hear(S1, of(true, (5, Some(4))));
    node.sync();
    node.started("a5/main#0");
    let stands = |node: &Node| node.adverts[&alloc(5)][0].clone();
    node.said();
    assert_eq!(
        (stands(&node).tags, stands(&node).meta["stage"].as_str()),
        (vec!["try".to_owned()], "live")
    );
    node.hear(S1, of(false, (6, Some(5))));
    node.said();
    assert_eq!(stands(&node).tags, ["live"]);
}

#[test]
fn what_stands_has_its_ports_and_its_words_in_place() {
    let check = Check { path: "/${NOMAD_TASK_NAME}".into(), ..Check::default() };
    let web = Service {
        port: "http".into(),
        tags: vec!["${meta.rack}".into(), "port-${NOMAD_PORT_http}".into()],
        meta: [("dc".into(), "${node.datacenter}".into())].into(),
        checks: vec![
            check.clone(),
            Check { port: "admin".into(), ..check.clone() },
            Check { port: "9000".into(), ..check },
        ],
        ..service("${NOMAD_JOB_NAME}-web")
    };
    let spec = Arc::new(one(web));
    let mut node = Node::registered();
    node.assign((4, None), &spec, &[], &[]);
    node.name(5, &["main"]);
    let mut told = assignment((5, Some(4)), &spec, &[alloc(5)], &[]);
    let port = |label: &str, value| PortGrant { label: label.into(), value, to: 0 };
    told.runs[0].ports = vec![port("http", 20_001), port("admin", 20_002)];
    node.hear(S1, ServerMessage::Assign(told));
    node.sync();
    node.started("a5/main#0");
    assert_eq!(node.did().last().expect("it is said"), "advertise a5: shop-web");
    let stands = &node.adverts[&alloc(5)][0];
    assert_eq!((stands.address.as_str(), stands.port), ("10.0.0.1", 20_001));
    assert_eq!(stands.tags, ["r1", "port-20001"]);
    assert_eq!(stands.meta["dc"], "dc1");
    let ports: Vec<u16> = stands.checks.iter().map(|check| check.port).collect();
    assert_eq!(ports, [20_001, 20_002, 9_000]);
    assert_eq!(stands.checks[0].check.path, "/main");

    let mut moved: NodeSpec = node_spec();
    moved.attributes.insert("unique.network.ip-address".into(), "10.0.0.2".into());
    node.step(|client, at, out| client.on_fingerprint(at, Arc::new(moved), out));
    assert_eq!(node.did(), ["advertise a5: shop-web"], "the node is reached elsewhere now");
    assert_eq!(node.adverts[&alloc(5)][0].address, "10.0.0.2");
}
