//! Servers that go with grace: who leads then, who votes, and what the others say of them.
use drover_core::agent::Event;
use drover_core::gossip::Status;
use drover_core::limits::{LEAVE_GOODBYE_MS, LEAVE_MS_MAX, ROSTER_NEWCOMER_MS};
use drover_core::types::ServerId;
use drover_tests::rig::cluster::Cluster;

/// As long as a departure takes when nothing stands in its way.
const DEPARTED_MS: u64 = 2_000;

/// Longer than a new server takes to be made a voter.
const PROVEN_MS: u64 = 15_000;

fn leave(cluster: &mut Cluster, servers: &[ServerId]) {
    cluster.tell(servers.iter().map(|&server| (server, Event::LeaveAsked)));
}

/// The leader, and the others in their order.
fn split(cluster: &Cluster) -> (ServerId, Vec<ServerId>) {
    let leader = cluster.leader().expect("one leads");
    (leader, cluster.voters().into_iter().filter(|&id| id != leader).collect())
}

fn sorted(ids: &[ServerId]) -> Vec<ServerId> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

/// What `at` says of `of`.
fn status(cluster: &Cluster, at: ServerId, of: ServerId) -> Option<Status> {
    let members = cluster.view(at).server.expect("a server").members;
    members.into_iter().find(|member| member.id == of).map(|member| member.status)
}

#[test]
fn a_follower_that_leaves_is_out_and_known_as_left_by_all() {
    let mut cluster = Cluster::founded(3);
    let (leader, others) = split(&cluster);
    leave(&mut cluster, &others[..1]);
    cluster.pass_ms(DEPARTED_MS);
    assert_eq!(cluster.departed.get(&others[0]), Some(&None), "it has gone, and nothing is left");
    assert_eq!(cluster.leader(), Some(leader));
    for at in [leader, others[1]] {
        assert_eq!(status(&cluster, at, others[0]), Some(Status::Left));
    }
    cluster.pass_ms(60_000);
    assert_eq!(cluster.voters().len(), 2, "it is not taken in again");
    assert_eq!(status(&cluster, leader, others[0]), Some(Status::Left), "nor called failed");
}

#[test]
fn a_leader_that_leaves_hands_the_lead_over_before() {
    let mut cluster = Cluster::founded(3);
    let (leader, others) = split(&cluster);
    let before = cluster.view(leader).server.expect("a server").term;
    leave(&mut cluster, &[leader]);
    cluster.pass_ms(DEPARTED_MS);
    assert_eq!(cluster.departed.get(&leader), Some(&None));
    let heir = cluster.leader().expect("one leads");
    assert!(others.contains(&heir));
    let after = cluster.view(heir).server.expect("a server").term;
    assert_eq!(after.0, before.0 + 1, "nobody had to be elected");
    assert_eq!(cluster.voters(), others);
}

/// Nothing is written while the lead is handed over, so it is not offered to whoever may be gone.
#[test]
fn a_leader_that_leaves_offers_the_lead_to_one_who_answers() {
    let mut cluster = Cluster::founded(3);
    let (leader, others) = split(&cluster);
    cluster.cut(others[0]);
    cluster.pass_ms(1_200);
    assert_eq!(status(&cluster, leader, others[0]), Some(Status::Alive), "nobody has noticed yet");
    leave(&mut cluster, &[leader]);
    cluster.pass_ms(500);
    assert_eq!(cluster.leader(), Some(others[1]));
}

#[test]
fn of_two_voters_one_can_leave_and_of_one_none() {
    let mut cluster = Cluster::founded(2);
    let (leader, others) = split(&cluster);
    leave(&mut cluster, &[leader]);
    cluster.pass_ms(DEPARTED_MS);
    assert_eq!(cluster.departed.get(&leader), Some(&None));
    assert_eq!((cluster.leader(), cluster.voters()), (Some(others[0]), others.clone()));
    leave(&mut cluster, &others);
    cluster.pass_ms(DEPARTED_MS);
    let unfinished = cluster.departed[&others[0]].clone().expect("it is a voter still");
    assert!(unfinished.contains("only voter"), "{unfinished}");
}

#[test]
fn all_leave_at_once_and_only_the_last_stays_a_voter() {
    let mut cluster = Cluster::founded(5);
    let (leader, mut all) = split(&cluster);
    all.insert(0, leader);
    leave(&mut cluster, &all);
    cluster.pass_ms(LEAVE_MS_MAX);
    assert_eq!(cluster.departed.len(), 5);
    let unfinished = cluster.departed.values().flatten().count();
    assert_eq!(unfinished, 1, "{:?}", cluster.departed);
}

#[test]
fn without_a_leader_a_server_goes_when_its_time_is_up_and_is_put_out_later() {
    let mut cluster = Cluster::founded(5);
    let (leader, others) = split(&cluster);
    [leader, others[0], others[1]].into_iter().for_each(|id| cluster.cut(id));
    leave(&mut cluster, &others[3..]);
    cluster.pass_ms(LEAVE_MS_MAX - 1);
    assert!(cluster.departed.is_empty(), "a leader might have come");
    cluster.pass_ms(LEAVE_GOODBYE_MS + 2);
    let unfinished = cluster.departed[&others[3]].clone().expect("nobody could take it out");
    assert!(unfinished.contains("no leader"), "{unfinished}");
    cluster.mend();
    cluster.pass_ms(20_000);
    let staying = sorted(&[leader, others[0], others[1], others[2]]);
    assert_eq!(cluster.voters(), staying, "but one has heard that it goes");
}

#[test]
fn a_server_that_left_learns_like_a_new_one_when_it_starts_again() {
    let mut cluster = Cluster::founded(3);
    let (leader, others) = split(&cluster);
    leave(&mut cluster, &others[..1]);
    cluster.pass_ms(DEPARTED_MS);
    assert_eq!(cluster.voters().len(), 2);
    cluster.join_again(others[0].0, 2);
    cluster.pass_ms(PROVEN_MS);
    assert_eq!(status(&cluster, leader, others[0]), Some(Status::Alive));
    assert_eq!(cluster.voters().len(), 3);
}

#[test]
fn a_new_leader_takes_nobody_in_before_it_can_have_heard_who_left() {
    let mut cluster = Cluster::founded(3);
    let (leader, others) = split(&cluster);
    cluster.stop(leader);
    cluster.pass_until(10_000, |cluster| cluster.leader().is_some_and(|new| new != leader));
    let heir = cluster.leader().expect("one leads");
    cluster.join(9);
    let learners = |cluster: &Cluster| {
        cluster.view(heir).server.expect("a server").configuration.learners.len()
    };
    cluster.pass_ms(ROSTER_NEWCOMER_MS - 500);
    assert_eq!(learners(&cluster), 0, "whoever comes may be one who has just left");
    cluster.pass_ms(1_500);
    assert_eq!((learners(&cluster), cluster.leader()), (1, Some(heir)), "{others:?}");
}
