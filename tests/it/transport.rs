//! Two agents' transports on real sockets of the loopback.
use std::time::Instant;

use bytes::Bytes;
use drover_core::types::{ClusterId, Incarnation};
use drover_shell::transport::tls::{self, Request};
use drover_shell::transport::{Certificates, Config, Lane, Role, Transport, TransportEvent};
use tokio::sync::mpsc;

mod introductions;
mod rig;
mod shared_thread;

use rig::{Agent, PATIENCE, authority, certificates, client, client_config, config, server, wall};

fn two_servers() -> (Agent, Agent) {
    let authority = authority();
    let mut one = Agent::start(config(server(1)), &certificates(&authority, Role::Server));
    let mut two = Agent::start(config(server(2)), &certificates(&authority, Role::Server));
    two.dial(&one);
    assert_eq!(one.connected(), server(2));
    assert_eq!(two.connected(), server(1));
    (one, two)
}

#[test]
fn two_servers_exchange_messages_on_every_lane() {
    let (mut one, mut two) = two_servers();
    for lane in [Lane::Ordered, Lane::Datagram, Lane::Bulk] {
        one.transport.send(server(2), lane, Bytes::from_static(b"there"));
        assert_eq!(two.received(), (server(1), lane, Bytes::from_static(b"there")));
        two.transport.send(server(1), lane, Bytes::from_static(b"back"));
        assert_eq!(one.received(), (server(2), lane, Bytes::from_static(b"back")));
    }
}

#[test]
fn ordered_messages_of_every_size_arrive_in_order() {
    let (one, mut two) = two_servers();
    let sizes = [0, 1, 1_000, 8_192, 8_193, 300_000, 1 << 20, 5];
    for (nth, size) in sizes.into_iter().enumerate() {
        let fill = u8::try_from(nth).unwrap();
        one.transport.send(server(2), Lane::Ordered, Bytes::from(vec![fill; size]));
    }
    for (nth, size) in sizes.into_iter().enumerate() {
        let (_, _, bytes) = two.received();
        assert_eq!(bytes.len(), size);
        assert!(bytes.iter().all(|&byte| usize::from(byte) == nth));
    }
}

#[test]
fn a_datagram_too_large_for_a_packet_takes_the_ordered_lane() {
    let (one, mut two) = two_servers();
    one.transport.send(server(2), Lane::Datagram, Bytes::from(vec![1; 20_000]));
    let (_, lane, bytes) = two.received();
    assert_eq!((lane, bytes.len()), (Lane::Ordered, 20_000));
}

#[test]
fn a_certificate_of_a_foreign_ca_is_refused_in_words_on_both_ends() {
    let mut ours = Agent::start(config(server(1)), &certificates(&authority(), Role::Server));
    let mut foreign = Agent::start(config(server(2)), &certificates(&authority(), Role::Server));
    foreign.dial(&ours);
    let why = foreign.dial_failed();
    assert!(why.contains("presents a certificate that our CA did not sign"), "{why}");
    let why = ours.refused();
    assert!(why.contains("refused our certificate: its CA did not sign it"), "{why}");
}

#[test]
fn a_dialler_whom_only_the_answerer_distrusts_is_refused_in_words() {
    let (ours, theirs) = (authority(), authority());
    let mut answerer = Agent::start(config(server(1)), &certificates(&ours, Role::Server));
    // It trusts our authority, but its own certificate is of another.
    let roles = [Role::Server];
    let request = Request { roles: &roles, region: "global", names: &[], days: 5, now: wall() };
    let pem = tls::make_certificate(&theirs, &request).unwrap();
    let mixed = Certificates::from_pem(&ours.certificate, &pem).unwrap();
    let mut dialler = Agent::start(config(server(2)), &mixed);
    dialler.dial(&answerer);
    let why = answerer.refused();
    assert!(why.contains("presents a certificate that our CA did not sign"), "{why}");
    let why = dialler.dial_failed();
    assert!(why.contains("refused our certificate: its CA did not sign it"), "{why}");
}

#[test]
fn an_agent_does_not_start_with_a_certificate_that_peers_would_refuse() {
    let (sender, _events) = mpsc::channel(1);
    let mine = certificates(&authority(), Role::Client);
    let failure = Transport::start(config(server(2)), &mine, sender).err().unwrap().to_string();
    assert!(failure.contains("one that names server.global.drover"), "{failure}");
}

#[test]
fn a_client_certificate_cannot_claim_a_servers_role() {
    let authority = authority();
    let mut honest = Agent::start(config(server(1)), &certificates(&authority, Role::Server));
    let mut liar = Agent::start_lying(config(server(2)), &certificates(&authority, Role::Client));
    liar.dial(&honest);
    let why = honest.refused();
    assert!(why.contains("claims to be a server of region global"), "{why}");
    assert!(why.contains("its certificate is for client of region global"), "{why}");
    let why = liar.dial_failed();
    assert!(why.contains("refused us: this agent claims to be a server"), "{why}");
    assert_eq!(honest.transport.peers().len(), 0);
}

#[test]
fn a_server_of_another_region_than_its_certificates_is_refused() {
    let authority = authority();
    let mut honest = Agent::start(config(server(1)), &certificates(&authority, Role::Server));
    let mut stray = config(server(2));
    stray.hello.region = "elsewhere".to_owned();
    let liar = Agent::start_lying(stray, &certificates(&authority, Role::Server));
    liar.dial(&honest);
    let why = honest.refused();
    assert!(why.contains("claims to be a server of region elsewhere"), "{why}");
}

#[test]
fn an_agent_of_another_cluster_is_refused_until_it_joins_ours() {
    let authority = authority();
    let of_cluster = |id, cluster| {
        let mut config = config(server(id));
        config.hello.cluster = ClusterId(cluster);
        Agent::start(config, &certificates(&authority, Role::Server))
    };
    let (mut ours, mut theirs) = (of_cluster(1, 10), of_cluster(2, 20));
    theirs.dial(&ours);
    let why = ours.refused();
    assert!(why.contains("belongs to another cluster"), "{why}");
    let why = theirs.dial_failed();
    assert!(why.contains("refused us: this agent belongs to another cluster"), "{why}");
    theirs.transport.join_cluster(ClusterId(10));
    theirs.until(|event| matches!(event, TransportEvent::Connected { .. }).then_some(()));
    let mut fresh = of_cluster(3, 0);
    fresh.dial(&ours);
    assert_eq!(fresh.connected(), server(1), "an agent without a cluster may ask any");
    fresh.transport.join_cluster(ClusterId(30));
    let why = ours.disconnected();
    assert!(why.contains("belongs to another cluster"), "{why}");
}

#[test]
fn of_two_simultaneous_connections_the_one_dialled_by_the_lower_id_stays() {
    let authority = authority();
    for _round in 0..5 {
        let mut one = Agent::start(config(server(1)), &certificates(&authority, Role::Server));
        let mut two = Agent::start(config(server(2)), &certificates(&authority, Role::Server));
        one.dial(&two);
        two.dial(&one);
        one.until_linked_by(server(1));
        two.until_linked_by(server(1));
        one.transport.send(server(2), Lane::Ordered, Bytes::from_static(b"there"));
        assert_eq!(two.received(), (server(1), Lane::Ordered, Bytes::from_static(b"there")));
        two.transport.send(server(1), Lane::Ordered, Bytes::from_static(b"back"));
        assert_eq!(one.received(), (server(2), Lane::Ordered, Bytes::from_static(b"back")));
    }
}

#[test]
fn a_later_dial_by_the_lower_id_replaces_and_one_by_the_higher_changes_nothing() {
    let (mut one, mut two) = two_servers();
    assert_eq!(one.transport.peers()[0].dialled_by, server(2));
    one.dial(&two);
    one.disconnected();
    assert_eq!(one.connected(), server(2));
    two.disconnected();
    assert_eq!(two.connected(), server(1));
    assert_eq!(one.transport.peers()[0].dialled_by, server(1));

    // The same address under another name: the higher id dials again, and is told not to.
    let asked_before = one.transport.counts().duplicates;
    two.transport.dial(&format!("localhost:{}", one.addr().port()));
    let began = Instant::now();
    while one.transport.counts().duplicates == asked_before {
        assert!(began.elapsed() < PATIENCE, "the dial arrives");
        std::thread::yield_now();
    }
    two.transport.send(server(1), Lane::Ordered, Bytes::from_static(b"still here"));
    assert_eq!(one.received().2, Bytes::from_static(b"still here"));
    assert_eq!(one.transport.peers()[0].dialled_by, server(1));
}

#[test]
fn a_dialler_comes_back_to_a_peer_that_was_restarted() {
    let authority = authority();
    let identity = certificates(&authority, Role::Server);
    let mut first = config(server(1));
    first.reset_key = Some([3; 32]);
    let one = Agent::start(first.clone(), &identity);
    let addr = one.addr();
    let mut two = Agent::start(config(server(2)), &certificates(&authority, Role::Server));
    two.dial(&one);
    assert_eq!(two.connected(), server(1));
    one.crash();

    // The key of the first life lets the second disown the old connection at once: the idle
    // timeout would take longer than this test has patience for.
    first.bind = addr;
    first.hello.incarnation = Incarnation(2);
    let mut reborn = Agent::start(first, &identity);
    let why = two.disconnected();
    assert!(why.contains("restarted"), "{why}");
    assert_eq!(two.connected(), server(1));
    assert_eq!(reborn.connected(), server(2));
    assert_eq!(two.transport.peers()[0].hello.incarnation, Incarnation(2));
}

#[test]
fn a_server_that_went_back_to_an_old_copy_of_its_data_is_refused() {
    let authority = authority();
    let identity = certificates(&authority, Role::Server);
    let mut ours = Agent::start(config(server(1)), &identity);
    let start = |incarnation, starts: &[u64]| {
        let mut config = config(server(2));
        config.hello.incarnation = Incarnation(incarnation);
        config.hello.starts = starts.to_vec();
        Agent::start(config, &identity)
    };
    // The last of these was started so often since that nobody remembers.
    for (later, starts) in [(7, &[70, 60][..]), (8, &[80, 70, 60]), (99, &[990, 980])] {
        let theirs = start(later, starts);
        theirs.dial(&ours);
        assert_eq!(ours.connected(), server(2));
        theirs.runtime.block_on(theirs.transport.stop());
        ours.disconnected();
    }
    // A copy of start 98, however often it is started.
    for (number, starts) in [(98, &[980][..]), (99, &[991, 980]), (100, &[1_001, 991, 980])] {
        let mut copy = start(number, starts);
        copy.dial(&ours);
        let why = ours.refused();
        assert!(why.contains("knows nothing of start 99, in which it was here"), "{why}");
        let why = copy.dial_failed();
        assert!(why.contains("its data directory is an old copy"), "{why}");
        // The other way round it is no better.
        ours.dial(&copy);
        let why = ours.dial_failed();
        assert!(why.contains("knows nothing of start 99"), "{why}");
    }
}

#[test]
fn a_client_follows_servers_that_were_put_back_to_an_old_copy_of_their_data() {
    let authority = authority();
    let mut node = Agent::start(client_config(9), &certificates(&authority, Role::Client));
    for incarnation in [8, 7] {
        let mut config = config(server(2));
        config.hello.incarnation = Incarnation(incarnation);
        let theirs = Agent::start(config, &certificates(&authority, Role::Server));
        node.dial(&theirs);
        assert_eq!(node.connected(), server(2));
        theirs.runtime.block_on(theirs.transport.stop());
        node.disconnected();
    }
}

#[test]
fn an_agent_that_stops_says_so() {
    let (one, mut two) = two_servers();
    one.runtime.block_on(one.transport.stop());
    assert_eq!(two.disconnected(), "stops");
}

#[test]
fn whoever_is_hung_up_on_is_not_dialled_again() {
    let (mut one, mut two) = two_servers();
    two.transport.hang_up(server(1));
    assert_eq!(one.disconnected(), "hung up");
    assert_eq!(two.disconnected(), "was hung up by us");
    assert_eq!(two.transport.peers().len(), 0);
    // Now the other side dials: had `two` redialled meanwhile, `one` would hold that link.
    one.dial(&two);
    assert_eq!(one.connected(), server(2));
    assert_eq!(one.transport.peers()[0].dialled_by, server(1));
}

#[test]
fn a_full_queue_drops_instead_of_growing() {
    let authority = authority();
    let mut sender = config(server(1));
    sender.bounds.ordered_bytes_max = 1 << 20;
    let one = Agent::start(sender, &certificates(&authority, Role::Server));
    let mut two = Agent::start(config(server(2)), &certificates(&authority, Role::Server));
    two.dial(&one);
    assert_eq!(two.connected(), server(1));
    // Nobody takes the events of `two`: its channel, then QUIC's windows, then our queue fill up.
    let message = Bytes::from(vec![0; 100_000]);
    for _ in 0..3_000 {
        one.transport.send(server(2), Lane::Ordered, message.clone());
        let queued_bytes = one.transport.peers()[0].queued_bytes;
        assert!(queued_bytes <= 1 << 20, "{queued_bytes}");
    }
    let counts = one.transport.counts();
    assert!(0 < counts.dropped_full, "{counts:?}");
    assert_eq!(counts.sent + counts.dropped_full, 3_000);
    for _ in 0..counts.sent {
        assert_eq!(two.received().2.len(), 100_000, "what was queued arrives whole");
    }
}

#[test]
fn a_full_bulk_lane_does_not_hold_up_the_ordered_one() {
    let authority = authority();
    let mut sender = config(server(1));
    sender.bounds.bulk_bytes_max = 32 << 20;
    let one = Agent::start(sender, &certificates(&authority, Role::Server));
    let mut two = Agent::start(config(server(2)), &certificates(&authority, Role::Server));
    two.dial(&one);
    assert_eq!(two.connected(), server(1));
    // Nobody takes the events of `two` yet, so the chunks beyond its channel and the bulk stream's
    // window wait at `one`, and the vote passes by them.
    let chunk = Bytes::from(vec![0; 25_000]);
    for _ in 0..1_300 {
        one.transport.send(server(2), Lane::Bulk, chunk.clone());
    }
    assert_eq!(one.transport.counts().dropped_full, 0);
    one.transport.send(server(2), Lane::Ordered, Bytes::from_static(b"vote"));
    let mut chunks_before = 0;
    two.until(|event| match event {
        TransportEvent::Received { lane: Lane::Ordered, .. } => Some(()),
        TransportEvent::Received { .. } => {
            chunks_before += 1;
            None
        }
        _ => None,
    });
    assert!(chunks_before < 1_300, "the vote overtakes");
}

#[test]
fn an_oversized_frame_closes_the_connection_and_names_the_rule() {
    let authority = authority();
    let mut strict = config(server(1));
    strict.bounds.message_bytes_max = 1_000;
    let mut one = Agent::start(strict, &certificates(&authority, Role::Server));
    let mut two = Agent::start(config(server(2)), &certificates(&authority, Role::Server));
    two.dial(&one);
    assert_eq!(two.connected(), server(1));
    two.transport.send(server(1), Lane::Ordered, Bytes::from(vec![0; 1_001]));
    let why = one.disconnected();
    assert!(why.contains("a frame of 1001 bytes exceeds the bound of 1000"), "{why}");
    let why = two.disconnected();
    assert!(why.contains("cut us off"), "{why}");
}

#[test]
fn a_message_that_no_peer_would_accept_is_not_sent() {
    let (one, mut two) = two_servers();
    one.transport.send(server(2), Lane::Ordered, Bytes::from(vec![0; (8 << 20) + 1]));
    one.transport.send(server(9), Lane::Ordered, Bytes::new());
    one.transport.send(server(2), Lane::Ordered, Bytes::from_static(b"next"));
    assert_eq!(two.received().2, Bytes::from_static(b"next"));
    let counts = one.transport.counts();
    assert_eq!((counts.dropped_oversized, counts.dropped_unconnected), (1, 1));
}

#[test]
fn our_own_address_is_dialled_once_and_forgotten() {
    let authority = authority();
    let mut one = Agent::start(config(server(1)), &certificates(&authority, Role::Server));
    one.transport.dial(&one.addr().to_string());
    assert_eq!(one.dial_failed(), "it is our own address");
    assert_eq!(one.transport.peers().len(), 0);
}

#[test]
fn certificates_are_replaced_without_a_restart() {
    let (old, new) = (authority(), authority());
    let mut one = Agent::start(config(server(1)), &certificates(&old, Role::Server));
    let mut two = Agent::start(config(server(2)), &certificates(&new, Role::Server));
    two.dial(&one);
    two.dial_failed();
    one.transport.replace_certificates(&certificates(&new, Role::Server)).unwrap();
    one.until(|event| matches!(event, TransportEvent::Connected { .. }).then_some(()));
    two.until(|event| matches!(event, TransportEvent::Connected { .. }).then_some(()));
}

/// One certificate may serve a whole fleet; none of it speaks for another.
#[test]
fn a_node_that_does_not_hold_the_key_of_its_id_is_refused() {
    let authority = authority();
    let mut one = Agent::start(config(server(1)), &certificates(&authority, Role::Server));
    for node_key in [None, client_config(78).node_key] {
        let stolen = Config { node_key, ..client_config(77) };
        let mut thief = Agent::start(stolen, &certificates(&authority, Role::Client));
        thief.dial(&one);
        let why = one.refused();
        assert!(why.contains("does not hold that node's key"), "{why}");
        let why = thief.dial_failed();
        assert!(why.contains("a data directory can only be moved whole"), "{why}");
    }
    assert_eq!(one.transport.peers().len(), 0);
}

#[test]
fn a_client_and_a_server_speak() {
    let authority = authority();
    let mut one = Agent::start(config(server(1)), &certificates(&authority, Role::Server));
    let mut node = Agent::start(client_config(77), &certificates(&authority, Role::Client));
    node.dial(&one);
    assert_eq!(node.connected(), server(1));
    assert_eq!(one.connected(), client(77));
    node.transport.send(server(1), Lane::Datagram, Bytes::from_static(b"heartbeat"));
    assert_eq!(one.received(), (client(77), Lane::Datagram, Bytes::from_static(b"heartbeat")));
}
