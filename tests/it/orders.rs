//! What operators order of the servers themselves: who is removed, and who leads.
use drover_core::agent::Event;
use drover_core::api::{Heir, Order, Rejection, Request, Response};
use drover_core::digest::Digest;
use drover_core::gossip::{self, swim};
use drover_core::limits::RECOVERY_LEAP;
use drover_core::raft::{
    self, Body, Campaign, Configuration, Frames, Message, Position, Raft, Recovered, SnapshotMark,
};
use drover_core::rng::Rng;
use drover_core::time::MonoTime;
use drover_core::types::{Index, RequestId, ServerId, Term};
use drover_core::wire::{self, PeerId};
use drover_tests::rig::cluster::Cluster;

/// Longer than gossip needs to call a server failed.
const FAILED_MS: u64 = 10_000;
/// Longer than a new server takes to be made a voter.
const PROVEN_MS: u64 = 15_000;

fn order(cluster: &mut Cluster, at: ServerId, order: Order) -> RequestId {
    cluster.ask(at, Request::Order(order))
}

fn remove(cluster: &mut Cluster, at: ServerId, server: ServerId) -> RequestId {
    order(cluster, at, Order::RemoveServer { server })
}

/// Asks, and waits for as long as an order that can be carried out takes.
fn ordered(cluster: &mut Cluster, at: ServerId, asked: Order) -> Result<Response, Rejection> {
    let id = order(cluster, at, asked);
    cluster.pass_ms(3_000);
    cluster.answers.remove(&id).expect("it is answered")
}

fn why(answer: Result<Response, Rejection>) -> String {
    match answer {
        Err(Rejection::Invalid { field, why }) if field == "peer" => why,
        other => panic!("{other:?}"),
    }
}

/// The leader, and the others in their order.
fn split(cluster: &Cluster) -> (ServerId, Vec<ServerId>) {
    let leader = cluster.leader().expect("one leads");
    (leader, cluster.voters().into_iter().filter(|&id| id != leader).collect())
}

#[test]
fn a_failed_server_is_removed_through_any_other() {
    let mut cluster = Cluster::founded(5);
    let (leader, others) = split(&cluster);
    cluster.stop(others[0]);
    cluster.pass_ms(FAILED_MS);
    assert_eq!(cluster.voters().len(), 5, "nobody is removed by itself");
    let gone = Order::RemoveServer { server: others[0] };
    let answer = ordered(&mut cluster, others[1], gone);
    assert!(matches!(answer, Ok(Response::Applied { .. })), "{answer:?}");
    assert_eq!(cluster.leader(), Some(leader));
    assert!(!cluster.voters().contains(&others[0]));
    let again = ordered(&mut cluster, leader, gone);
    assert!(again.is_ok(), "who asks twice finds it done: {again:?}");
    cluster.pass_ms(60_000);
    assert_eq!(cluster.voters().len(), 4, "it is not taken in again");
}

#[test]
fn a_server_that_lives_is_not_removed() {
    let mut cluster = Cluster::founded(3);
    let (leader, others) = split(&cluster);
    for server in [others[0], leader] {
        let refused = why(ordered(&mut cluster, leader, Order::RemoveServer { server }));
        assert!(refused.contains("stop its agent"), "{refused}");
    }
    assert_eq!(cluster.voters().len(), 3);
}

#[test]
fn a_server_that_answers_is_not_removed_though_others_call_it_failed() {
    let mut cluster = Cluster::founded(3);
    let (leader, others) = split(&cluster);
    let said = cluster.view(leader).server.expect("a server").members;
    let accused = said.iter().find(|member| member.id == others[0]).expect("it is known");
    let verdict = swim::Record {
        id: others[0],
        version: swim::Version { incarnation: accused.incarnation, turn: 9 },
        state: swim::State::Failed,
        accusers: vec![others[1]],
        said: None,
    };
    let packet = swim::Packet { matter: swim::Matter::News, news: vec![verdict] };
    let from = PeerId::Server(others[1]);
    let message = wire::Message::Gossip(gossip::Message::Datagram(packet));
    let id = RequestId(1_000);
    let request = Request::Order(Order::RemoveServer { server: others[0] });
    let told = [Event::Received { from, message }, Event::Requested { id, request }];
    cluster.tell(told.map(|event| (leader, event)));
    cluster.pass_ms(1_000);
    let refused = why(cluster.answers.remove(&id).expect("it is answered"));
    assert!(refused.contains("stop its agent"), "{refused}");
    assert_eq!(cluster.voters().len(), 3);
}

#[test]
fn the_only_voter_stays() {
    let mut cluster = Cluster::founded(1);
    let only = ServerId(1);
    let refused = why(ordered(&mut cluster, only, Order::RemoveServer { server: only }));
    assert!(refused.contains("only voter"), "{refused}");
    let refused =
        why(ordered(&mut cluster, only, Order::TransferLead { heir: Heir::AnyBut(only) }));
    assert!(refused.contains("no other voter"), "{refused}");
}

#[test]
fn orders_that_come_together_are_carried_out_one_after_the_other() {
    let mut cluster = Cluster::founded(5);
    let (leader, others) = split(&cluster);
    cluster.stop(others[0]);
    cluster.stop(others[1]);
    cluster.pass_ms(FAILED_MS);
    let asked = [
        remove(&mut cluster, others[2], others[0]),
        remove(&mut cluster, others[3], others[1]),
        remove(&mut cluster, leader, others[1]),
    ];
    cluster.pass_ms(3_000);
    for id in asked {
        assert!(cluster.answers[&id].is_ok(), "{:?}", cluster.answers[&id]);
    }
    assert_eq!(cluster.voters().len(), 3);
    assert!(cluster.view(leader).server.expect("a server").configuration.outgoing.is_empty());
}

#[test]
fn the_lead_goes_to_whom_the_operator_names_or_to_the_readiest() {
    let mut cluster = Cluster::founded(3);
    let (leader, others) = split(&cluster);
    for asked in [leader, others[0]] {
        let leader = cluster.leader().expect("one leads");
        let heir = cluster.voters().into_iter().find(|&id| id != leader).expect("another");
        let answer = ordered(&mut cluster, asked, Order::TransferLead { heir: Heir::Server(heir) });
        assert!(answer.is_ok(), "{answer:?}");
        assert_eq!(cluster.leader(), Some(heir));
    }
    let leader = cluster.leader().expect("one leads");
    for _ in 0..2 {
        // Asked again, as after a lost answer, it moves nothing.
        let asked = Order::TransferLead { heir: Heir::AnyBut(leader) };
        assert!(ordered(&mut cluster, others[1], asked).is_ok());
        let now = cluster.leader().expect("one leads");
        assert_ne!(now, leader);
        let again = Order::TransferLead { heir: Heir::Server(now) };
        assert!(ordered(&mut cluster, others[0], again).is_ok(), "it leads already");
        assert_eq!(cluster.leader(), Some(now));
    }
}

#[test]
fn the_lead_does_not_go_to_who_cannot_take_it() {
    let mut cluster = Cluster::founded(3);
    let (leader, others) = split(&cluster);
    let to = |server| Order::TransferLead { heir: Heir::Server(server) };
    let stranger = why(ordered(&mut cluster, leader, to(ServerId(99))));
    assert!(stranger.contains("no voter"), "{stranger}");
    // It has stopped, and nobody has noticed yet.
    cluster.stop(others[0]);
    let silent = why(ordered(&mut cluster, leader, to(others[0])));
    assert!(silent.contains("in time"), "{silent}");
    cluster.pass_ms(FAILED_MS);
    let failed = why(ordered(&mut cluster, leader, to(others[0])));
    assert!(failed.contains("failed"), "{failed}");
    assert_eq!(cluster.leader(), Some(leader), "it leads on");
}

#[test]
fn a_removed_server_that_comes_back_learns_like_a_new_one() {
    let mut cluster = Cluster::founded(3);
    let (leader, others) = split(&cluster);
    cluster.stop(others[0]);
    cluster.pass_ms(FAILED_MS);
    assert!(ordered(&mut cluster, leader, Order::RemoveServer { server: others[0] }).is_ok());
    assert_eq!(cluster.voters().len(), 2);
    cluster.join(others[0].0);
    cluster.pass_ms(PROVEN_MS);
    assert_eq!(cluster.voters().len(), 3);
}

#[test]
fn an_order_outlives_the_leader_it_was_given_to() {
    let mut cluster = Cluster::founded(5);
    let (leader, others) = split(&cluster);
    cluster.stop(others[0]);
    cluster.pass_ms(FAILED_MS);
    cluster.stop(leader);
    // Nobody leads now: the order waits for whoever does next.
    let id = remove(&mut cluster, others[1], others[0]);
    cluster.pass_ms(12_000);
    assert!(cluster.answers[&id].is_ok(), "{:?}", cluster.answers[&id]);
    assert!(!cluster.voters().contains(&others[0]));
    assert!(cluster.voters().contains(&leader), "that one was not named");
}

#[test]
fn a_log_that_was_given_up_is_not_heard_behind_the_leap() {
    let at = |index| Position { term: Term(9), index: Index(index) };
    let begun = RECOVERY_LEAP + 5;
    let mark = SnapshotMark {
        index: Index(begun),
        term: Term(2),
        digest: Digest::default(),
        bytes: 1,
        configuration: Configuration::new(&[ServerId(1), ServerId(2)], &[]),
    };
    let recovered = Recovered { snapshot: Some(mark), ..Recovered::default() };
    let raft = Raft::new(
        raft::Config::new(ServerId(1)),
        Rng::from_seed(1),
        recovered,
        MonoTime::default(),
    );
    let later = MonoTime::default().plus_ms(60_000);
    let heard = |body: Body| {
        let (mut raft, mut out) = (raft.clone(), Vec::new());
        let message = Message { term: Term(9), body };
        raft.on_message(later, ServerId(2), message, &mut out);
        raft.term() == Term(9)
    };
    let campaign = Campaign::Election;
    let append =
        |prev| Body::Append { prev, commit: Index(0), round: 1, frames: Frames::default() };
    for (index, is_heard) in [(7, false), (begun, true)] {
        let last = at(index);
        assert_eq!(heard(Body::RequestVote { campaign, last }), is_heard, "a plea of {index}");
        assert_eq!(heard(append(last)), is_heard, "an append behind {index}");
    }
}
