//! Who votes, as the leader cares for it: when a new server does, and whether one that failed still counts.
use drover_core::api::Request;
use drover_core::types::{AutopilotConfig, ServerId};
use drover_tests::rig::cluster::Cluster;

/// Longer than a new server takes to be met, and to get the log.
const MET_MS: u64 = 3_000;

fn set(cluster: &mut Cluster, config: AutopilotConfig) {
    let leader = cluster.leader().expect("one leads");
    let id = cluster.ask(leader, Request::SetAutopilotConfig { config, check_index: None });
    cluster.pass_ms(1_000);
    cluster.answers.remove(&id).expect("it is answered").expect("it is set");
}

/// For how long the leader has known it to be healthy.
fn healthy_ms(cluster: &Cluster, of: ServerId) -> Option<u64> {
    let leader = cluster.leader().expect("one leads");
    let peers = cluster.view(leader).server.expect("a server").peers;
    peers.iter().find(|peer| peer.id == of).and_then(|peer| peer.healthy_ms)
}

#[test]
fn a_new_server_votes_when_it_has_been_healthy_for_long_enough() {
    let mut cluster = Cluster::founded(1);
    let stable_ms = AutopilotConfig::default().stabilization_ms;
    cluster.join(2);
    cluster.pass_ms(stable_ms);
    let healthy = healthy_ms(&cluster, ServerId(2)).expect("it is well");
    assert!((stable_ms - MET_MS..stable_ms).contains(&healthy), "{healthy}");
    assert_eq!(cluster.voters(), [ServerId(1)], "it has not been there for long");
    cluster.pass_ms(MET_MS);
    assert_eq!(cluster.voters(), [ServerId(1), ServerId(2)]);
}

#[test]
fn whoever_was_silent_in_between_begins_anew() {
    let mut cluster = Cluster::founded(3);
    let stable_ms = AutopilotConfig::default().stabilization_ms;
    cluster.join(4);
    cluster.pass_ms(stable_ms - 1_000);
    assert!(healthy_ms(&cluster, ServerId(4)).is_some());
    cluster.cut(ServerId(4));
    cluster.pass_ms(1_000);
    assert_eq!(healthy_ms(&cluster, ServerId(4)), None, "nothing is heard of it");
    cluster.mend();
    cluster.pass_ms(stable_ms - 1_000);
    assert_eq!(cluster.voters().len(), 3);
    cluster.pass_ms(MET_MS);
    assert_eq!(cluster.voters().len(), 4);
}

#[test]
fn whoever_failed_counts_for_as_long_as_operators_want_that() {
    let mut cluster = Cluster::founded(3);
    let soon = AutopilotConfig { stabilization_ms: 0, ..AutopilotConfig::default() };
    set(&mut cluster, AutopilotConfig { cleanup_dead_servers: false, ..soon });
    let leader = cluster.leader().expect("one leads");
    let others: Vec<ServerId> = cluster.voters().into_iter().filter(|&id| id != leader).collect();
    cluster.stop(others[1]);
    cluster.pass_ms(10_000);
    cluster.join(4);
    cluster.pass_ms(MET_MS);
    assert_eq!(cluster.voters().len(), 4, "the new one came, and nobody went");
    set(&mut cluster, soon);
    cluster.pass_ms(MET_MS);
    assert_eq!(cluster.voters(), [leader.min(others[0]), leader.max(others[0]), ServerId(4)]);
}

#[test]
fn so_many_voters_stay_as_operators_want() {
    let mut cluster = Cluster::founded(3);
    let soon = AutopilotConfig { stabilization_ms: 0, ..AutopilotConfig::default() };
    set(&mut cluster, soon);
    cluster.join(4);
    cluster.pass_ms(MET_MS);
    assert_eq!(cluster.voters().len(), 4);
    set(&mut cluster, AutopilotConfig { min_quorum: 4, ..soon });
    let leader = cluster.leader().expect("one leads");
    let other = cluster.voters().into_iter().find(|&id| id != leader).expect("there are four");
    cluster.stop(other);
    cluster.pass_ms(10_000);
    assert_eq!(cluster.voters().len(), 4, "with three there would be too few");
    set(&mut cluster, soon);
    cluster.pass_ms(MET_MS);
    assert_eq!(cluster.voters().len(), 3);
}
