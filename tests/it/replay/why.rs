//! Why an alloc, an eval or a node is what it is, asked of a recorded log.
use std::sync::Arc;

use drover_core::agent::{Event, Guard};
use drover_core::client::NodeMessage;
use drover_core::types::{
    AllocId, ClientStatus, Constraint, JobKind, NodeId, NodeStatus, Operator,
};
use drover_core::wire::{Message, PeerId};
use drover_sim::replay::history::made_at;
use drover_sim::replay::why::{Kind, Link, Unknown, Why, why};
use drover_sim::replay::{Recorded, Until};
use drover_tests::rig::agent::{DevAgent, job_spec, node_spec};

use super::{day, recorded};

fn chain(log: &Recorded, prefix: &str) -> Result<Why, Unknown> {
    why(log, Guard::default(), Until::End, prefix)
}

#[test]
fn why_tells_the_life_of_an_alloc_from_what_made_it_to_its_end() {
    let dev = day();
    let state = dev.agent.state().expect("a server");
    let sum = state.job_named("default", "sum").expect("it was registered").id;
    for log in [recorded(&dev.inputs, &[]), recorded(&dev.inputs, &[33, 80])] {
        let here = state.allocs_of_job(sum).filter(|alloc| alloc.node == NodeId(7));
        let here: Vec<_> = here.filter(|alloc| alloc.previous.is_none()).collect();
        assert!(!here.is_empty(), "one at least was placed on the node that runs tasks");
        for alloc in here {
            let uuid = state.uuid(alloc.id.0).to_string();
            let told = chain(&log, &uuid[..8]).expect("it is known");
            let lines: Vec<&str> = told.links.iter().map(|link| link.what.as_str()).collect();
            let place = |words: &str| {
                let found = lines.iter().position(|line| line.contains(words));
                found.unwrap_or_else(|| panic!("{words:?} is not told: {lines:#?}"))
            };
            let order = [
                "a caller of this agent asks for it: job sum",
                "registers job sum: 2 × group",
                "the job was registered",
                "schedules the eval",
                "the best of",
                "the client starts task 0 (work), attempt 0",
                "runs as process",
                "it is running",
                "exits with",
                "at the end",
            ];
            let places: Vec<usize> = order.iter().map(|words| place(words)).collect();
            assert!(places.is_sorted(), "{lines:#?}");
            assert!(
                told.links.iter().rev().skip(1).all(|link| link.at.is_some()),
                "each has a time"
            );
        }
    }
    assert!(matches!(chain(&recorded(&dev.inputs, &[]), "zz"), Err(Unknown::None)));
    let several = chain(&recorded(&dev.inputs, &[]), "");
    assert!(matches!(several, Err(Unknown::Several(found)) if 4 <= found.len()));
}

#[test]
fn why_follows_a_lost_node_back_to_its_last_heartbeat() {
    let dev = day();
    let state = dev.agent.state().expect("a server");
    let lost = state.allocs().find(|alloc| alloc.client_status == ClientStatus::Lost);
    let lost = lost.expect("the other node had an alloc");
    let successor = lost.next.expect("it was replaced");
    let text = |id: AllocId| {
        let uuid = state.uuid(id.0).to_string();
        let told = chain(&recorded(&dev.inputs, &[]), &uuid).expect("it is known");
        told.links.iter().map(|link| link.what.clone()).collect::<Vec<_>>().join("\n")
    };
    let (old, new) = (text(lost.id), text(successor));
    for (text, words) in [
        (&old, "its node is told to run it"),
        (&old, "other (08000000) is heard for the last time"),
        (&old, "a plan stops it"),
        (&new, "other (08000000) is heard for the last time"),
        (&new, "a node changed (other (08000000))"),
        (&new, "in place of"),
        (&new, "its node is down"),
    ] {
        assert!(text.contains(words), "{words:?} is not told:\n{text}");
    }
    assert_eq!(old.matches("its node is told to run it").count(), 1, "{old}");
}

#[test]
fn why_goes_through_the_failure_of_the_alloc_before() {
    let mut dev = DevAgent::new();
    dev.pass_ms(12_000);
    dev.run_job(job_spec("web", JobKind::Service, 1)).expect("registered");
    dev.pass_ms(1_000);
    let key = *dev.running.keys().next().expect("it runs");
    // It fails until it is placed anew: the new alloc's chain goes through the failure of the old one.
    for _ in 0..12 {
        if let Some(&key) = dev.running.keys().next() {
            dev.exit(key, 1);
        }
        dev.pass_ms(60_000);
    }
    let state = dev.agent.state().expect("a server");
    let replaced = state.alloc(key.alloc).expect("it is kept").next.expect("it was replaced");
    let uuid = state.uuid(replaced.0).to_string();
    let told = chain(&recorded(&dev.inputs, &[]), &uuid).expect("it is known");
    let text = told.links.iter().map(|link| link.what.clone()).collect::<Vec<_>>().join("\n");
    for words in ["an alloc ended or failed", "in place of", "it failed and is placed again"] {
        assert!(text.contains(words), "{words:?} is not told:\n{text}");
    }
}

fn text(links: &[Link]) -> String {
    links.iter().map(|link| link.what.clone()).collect::<Vec<_>>().join("\n")
}

/// Checks that the words come in this order, each behind the one before.
fn check_order(links: &[Link], order: &[&str]) {
    let text = text(links);
    let mut from = 0;
    for words in order {
        let found = text[from..].find(words);
        from += found.unwrap_or_else(|| panic!("{words:?} is not told in its place:\n{text}"));
    }
}

#[test]
fn why_tells_how_the_nodes_compared_and_what_was_left_out() {
    let mut dev = DevAgent::new();
    dev.pass_ms(12_000);
    // Beside its own node: one of the wrong kind, one without room, and one that is as good but fuller.
    for (number, spoil) in [(8_u128, 0), (9, 1), (10, 2)] {
        let id = NodeId(number << 120);
        let mut spec = node_spec(id);
        spec.name = format!("n{number}");
        match spoil {
            0 => spec.attributes.insert("kernel.name".into(), "plan9".into()).map_or((), drop),
            1 => spec.capacity.memory_mib = 128,
            _ => spec.capacity.memory_mib = 16_384,
        }
        let peer = PeerId::Client(id);
        let says = |said| Event::Received { from: peer, message: Message::FromNode(said) };
        dev.step(Event::LinkChanged { peer, up: true });
        dev.step(says(NodeMessage::Register { spec: Arc::new(spec) }));
        dev.step(says(NodeMessage::Heartbeat {
            seq: drover_core::types::Index(0),
            registered_at: drover_core::types::Index(0),
            is_behind: false,
        }));
    }
    dev.pass_ms(500);
    let mut spec = job_spec("web", JobKind::Service, 1);
    spec.constraints.push(Constraint {
        left: "${attr.kernel.name}".into(),
        operator: Operator::Equal,
        right: "linux".into(),
    });
    dev.run_job(spec).expect("registered");
    dev.pass_ms(500);
    let state = dev.agent.state().expect("a server");
    let alloc = state.allocs().next().expect("it is placed");
    let uuid = state.uuid(alloc.id.0).to_string();
    let log = recorded(&dev.inputs, &[]);
    let told = chain(&log, &uuid).expect("it is known");
    assert_eq!(told.subject.kind, Kind::Alloc);
    let plan = told.links.iter().find(|link| link.what.starts_with("plan: ")).expect("a plan");
    for words in [
        "web.group[0] goes to dev (00000000)",
        "the best of 4 nodes",
        "1 filtered out (${attr.kernel.name} = linux: 1)",
        "1 without room (memory: 1)",
        "the next best is n10 (0a000000), score ",
    ] {
        assert!(plan.what.contains(words), "{words:?} is not told: {}", plan.what);
    }
    // The leader wrote it when it scheduled, and the disk was done later.
    let (at, index) = (plan.at.expect("a time"), plan.index.expect("an entry"));
    assert_eq!(index, made_at(alloc.id.0));
    let planned = told.links.iter().find(|link| link.what.contains("schedules the eval"));
    let planned = planned.and_then(|link| link.at).expect("this agent led");
    assert!(planned.input < at.input, "it was durable before it was applied");
    let cause = plan.cause.as_ref().expect("the input that made it");
    assert_eq!(cause.at.input, planned.input, "{cause:?}");
    assert!(cause.what.contains(&format!("writes entry {}", index.0)), "{cause:?}");
    // The eval tells the same.
    let eval = state.uuid(alloc.eval.0).to_string();
    let told = chain(&log, &eval).expect("it is known");
    assert_eq!(told.subject.kind, Kind::Eval);
    check_order(
        &told.links,
        &[
            "a caller of this agent asks for it: job web",
            "registers job web",
            "the job was registered",
            "schedules the eval",
            "plan for web",
            "web.group[0] goes to dev (00000000), score ",
            "the next best is n10",
            "at the end: complete",
        ],
    );
}

#[test]
fn why_tells_what_an_eval_without_room_lacked() {
    let mut dev = DevAgent::new();
    dev.pass_ms(12_000);
    let mut spec = job_spec("big", JobKind::Service, 3);
    spec.groups[0].tasks[0].resources.memory_mib = 1_000_000;
    dev.run_job(spec).expect("registered");
    dev.pass_ms(500);
    let state = dev.agent.state().expect("a server");
    let eval = state.evals().next().expect("it was looked at").id;
    let log = recorded(&dev.inputs, &[]);
    let told = chain(&log, &state.uuid(eval.0).to_string()).expect("it is known");
    check_order(
        &told.links,
        &[
            "3 more × group found no room: 1 nodes looked at, 0 filtered out, 1 without room (memory: 1)",
            "at the end: complete; what found no room waits in",
        ],
    );
}

#[test]
fn why_tells_who_called_a_node_down_and_when_it_was_heard() {
    let dev = day();
    for log in [recorded(&dev.inputs, &[]), recorded(&dev.inputs, &[33, 80])] {
        let told = chain(&log, "other").expect("it is known by its name");
        assert_eq!((told.subject.kind, told.subject.name.as_str()), (Kind::Node, "other"));
        check_order(
            &told.links,
            &[
                "registers node other",
                "Ready",
                "other (08000000) is heard for the last time",
                "calls other (08000000) Down: Node heartbeat missed",
                "so job ",
                "at the end: down",
            ],
        );
        let down = told.links.iter().find(|link| link.what.contains("Down")).expect("it is down");
        let cause = down.cause.as_ref().expect("the input that made it");
        assert!(cause.what.contains("clock: wakes; this agent leads, and writes"), "{cause:?}");
        let registered = &told.links[0];
        let cause = registered.cause.as_ref().expect("the input that made it");
        assert!(cause.what.starts_with("network: "), "{cause:?}");
    }
    let state = dev.agent.state().expect("a server");
    let other = state.node(NodeId(8 << 120)).expect("it is kept");
    assert_eq!(other.status, NodeStatus::Down);
}

#[test]
fn why_tells_who_stopped_an_alloc() {
    let mut dev = DevAgent::new();
    dev.pass_ms(12_000);
    dev.run_job(job_spec("web", JobKind::Service, 1)).expect("registered");
    dev.pass_ms(1_000);
    let alloc = dev.running.keys().next().expect("it runs").alloc;
    dev.ask(drover_core::api::Request::StopAlloc { alloc });
    dev.pass_ms(1_000);
    let uuid = dev.agent.state().expect("a server").uuid(alloc.0).to_string();
    let told = chain(&recorded(&dev.inputs, &[]), &uuid).expect("it is known");
    check_order(&told.links, &["goes to dev", "no other could take it", "an operator stops it"]);
    let stop = told.links.iter().find(|link| link.what == "an operator stops it").expect("told");
    let cause = stop.cause.as_ref().expect("the input that made it");
    assert!(cause.what.starts_with("caller: asks #"), "{cause:?}");
    assert!(
        cause.what.contains(": stop web.group[0]"),
        "an alloc is called by its name: {cause:?}"
    );
}
