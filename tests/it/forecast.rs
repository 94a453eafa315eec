//! What would become of the cluster if something happened to it, and that nothing of it happens.
use drover_core::state::State;
use drover_core::types::*;
use drover_shell::forecast::{Forecast, Told};

use crate::properties::scheduler::rig::{Cluster, node, service};

/// A job called `name` of `count` allocs of `cpu_mhz`.
fn of(name: &str, count: u32, cpu_mhz: u32) -> JobSpec {
    let mut spec = service(count);
    spec.id = name.to_owned();
    spec.groups[0].tasks[0].resources.cpu_mhz = cpu_mhz;
    spec
}

/// What would come of it, said in a line.
fn supposed(cluster: &Cluster, texts: &[&str]) -> Result<String, String> {
    let before = cluster.state.encode();
    let mut forecast = Forecast::of(cluster.state.clone());
    for text in texts {
        forecast.suppose(&text.parse()?)?;
        forecast.state().check_invariants();
    }
    assert_eq!(cluster.state.encode(), before, "nothing of it happens");
    Ok(said(&cluster.state, &forecast.told()))
}

fn said(state: &State, told: &Told) -> String {
    let job = |id: JobId| state.job(id).expect("a job that was there").newest().spec.id.clone();
    let mut parts = Vec::new();
    for one in &told.moves {
        let NodeId(to) = one.to;
        parts.push(format!("{}[{}] to n{to}", job(one.job), one.ordinal));
    }
    parts.extend(told.placed.iter().map(|((id, _), n)| format!("{n} of {} placed", job(*id))));
    parts.extend(told.ended.iter().map(|((id, _), n)| format!("{n} of {} ended", job(*id))));
    for one in &told.unplaced {
        let (queued, before) = (one.queued, one.queued_before);
        parts.push(format!("{queued} of {} wait, {before} before", job(one.job)));
    }
    if parts.is_empty() { "nothing".to_owned() } else { parts.join("; ") }
}

/// Two nodes of 4,000 MHz; the first is full of `a`, half of the second is `b`'s.
fn cluster() -> Cluster {
    let mut cluster = Cluster::with_nodes(1);
    cluster.with_running(&of("a", 4, 1_000));
    cluster.add_node(node(2));
    cluster.with_running(&of("b", 2, 1_000));
    cluster
}

#[test]
fn a_drain_moves_what_finds_room_and_tells_what_does_not() {
    let cluster = cluster();
    let told = supposed(&cluster, &["drain n1"]).unwrap();
    assert_eq!(told, "a[0] to n2; a[1] to n2; 2 of a ended; 2 of a wait, 0 before");
    assert_eq!(supposed(&cluster, &["drain n2"]).unwrap(), "2 of b ended; 2 of b wait, 0 before");
    let both = supposed(&cluster, &["add 1 like n1", "drain n1"]).unwrap();
    assert_eq!(both.matches("a[").count(), 4, "{both}");
}

#[test]
fn lost_nodes_are_meant_by_name_datacenter_class_or_pool() {
    let mut cluster = cluster();
    let spec = NodeSpec { datacenter: "dc2".to_owned(), class: "big".to_owned(), ..node(3) };
    cluster.add_node(spec);
    for which in ["lose n1", "lose dc=dc1", "lose pool=default"] {
        let told = supposed(&cluster, &[which]).unwrap();
        assert!(told.contains("of a wait, 0 before"), "{which}: {told}");
    }
    assert_eq!(supposed(&cluster, &["lose dc=dc2"]).unwrap(), "nothing");
    assert_eq!(supposed(&cluster, &["lose class=big"]).unwrap(), "nothing");
}

#[test]
fn room_that_comes_goes_to_who_waits_for_it() {
    let mut cluster = cluster();
    let waiting = cluster.register(&of("c", 3, 2_000));
    cluster.settle();
    assert_eq!(cluster.blocked(waiting).expect("it waits").queued["web"], 2);
    assert_eq!(supposed(&cluster, &["add 1 like n2"]).unwrap(), "2 of c placed");
    assert_eq!(supposed(&cluster, &["remove job a"]).unwrap(), "2 of c placed; 4 of a ended");
    assert_eq!(supposed(&cluster, &["add 10000 like n1", "remove job c"]).unwrap(), "1 of c ended");
}

#[test]
fn a_supposition_about_what_there_is_not_says_so() {
    let cluster = cluster();
    for (text, why) in [
        ("drain n7", "there is no node \"n7\""),
        ("drain 0", "2 nodes are meant by \"0\""),
        ("lose dc=dc9", "no node that is up is in that datacenter"),
        ("lose pool=gpu", "no node that is up is in that pool"),
        ("remove job zzz", "there is no job \"zzz\" in namespace \"default\""),
        ("remove job a in other", "there is no job \"a\" in namespace \"other\""),
    ] {
        let told = supposed(&cluster, &[text]).expect_err("there is nothing of the kind");
        assert!(told.starts_with(why), "{text}: {told}");
    }
}
