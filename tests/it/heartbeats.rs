//! What a leader says of nodes that are heard, silent, and looked for.
use drover_core::heartbeat::{Answer, Config, Heartbeats, Output, Vantage};
use drover_core::limits::{PROBE_ROUND_MS, VERDICT_HELD_MS};
use drover_core::time::MonoTime;
use drover_core::types::{NodeId, NodeStatus, ServerId};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const OWN: ServerId = ServerId(1);
const CONFIG: Config = Config { ttl_ms: 10_000, grace_ms: 5_000 };

fn at(ms: u64) -> MonoTime {
    MonoTime::default().plus_ms(ms)
}

/// A leader and the servers that answer it.
struct Leader {
    heartbeats: Heartbeats,
    vantage: Vantage,
}

impl Leader {
    fn of(nodes: &[(NodeId, NodeStatus)]) -> Self {
        let others = vec![ServerId(2), ServerId(3)];
        Self {
            heartbeats: Heartbeats::new(CONFIG, at(0), nodes.iter().copied()),
            vantage: Vantage { own: OWN, others, is_alone: false },
        }
    }

    fn alone(count: u128) -> Self {
        let nodes: Vec<_> = (1..=count).map(|id| (NodeId(id), NodeStatus::Ready)).collect();
        let vantage = Vantage { own: OWN, others: vec![], is_alone: true };
        Self { vantage, ..Self::of(&nodes) }
    }

    fn time(&mut self, ms: u64) -> Vec<Output> {
        let mut out = Vec::new();
        self.heartbeats.on_time(at(ms), &self.vantage, &mut out);
        self.heartbeats.check_invariants();
        out
    }

    fn beat(&mut self, ms: u64, node: NodeId, age_ms: u64) -> Vec<Output> {
        let mut out = Vec::new();
        self.hear(ms, node, (age_ms, false), &mut out);
        out
    }

    /// It has something to report.
    fn beat_behind(&mut self, ms: u64, node: NodeId) -> Vec<Output> {
        let mut out = Vec::new();
        self.hear(ms, node, (0, true), &mut out);
        out
    }

    fn hear(&mut self, ms: u64, node: NodeId, word: (u64, bool), out: &mut Vec<Output>) {
        let answer = self.heartbeats.on_relayed(at(ms), node, word, out);
        assert_eq!(answer, Answer::Known { ttl_ms: 10_000 });
        self.heartbeats.check_invariants();
    }

    fn deadline(&self) -> Option<MonoTime> {
        self.heartbeats.next_deadline()
    }

    /// A round begins at `ms`; answers who is looked for, and by whom.
    fn round(&mut self, ms: u64) -> (u64, Vec<NodeId>, Vec<ServerId>) {
        match self.time(ms).as_slice() {
            [Output::LookFor { round, nodes, probers }] => (*round, nodes.clone(), probers.clone()),
            other => panic!("a round: {other:?}"),
        }
    }

    /// A round begins, and none of those who look hears anybody; what is said of that.
    fn vain_round(&mut self, ms: u64) -> Vec<Output> {
        let (round, nodes, probers) = self.round(ms);
        for prober in probers {
            self.heartbeats.on_report(prober, round, &nodes);
        }
        self.time(ms + 1)
    }
}

#[test]
fn the_first_heartbeat_makes_a_registered_node_ready_and_is_said_once() {
    let mut leader = Leader::of(&[]);
    let unknown = leader.heartbeats.on_heartbeat(at(0), A, false, &mut Vec::new());
    assert_eq!(unknown, Answer::Unknown);
    leader.heartbeats.on_registered(at(1), A, NodeStatus::Init);
    assert_eq!(leader.beat(2, A, 0), [Output::NodeReady(A)]);
    assert_eq!(leader.beat(3, A, 0), []);
    leader.heartbeats.on_status(at(4), A, NodeStatus::Ready);
    assert_eq!(leader.beat(5, A, 0), []);
}

#[test]
fn a_node_that_returns_is_ready_once_it_has_nothing_to_report() {
    let mut leader = Leader::of(&[(A, NodeStatus::Down), (B, NodeStatus::Down)]);
    assert_eq!(leader.beat_behind(1, A), [Output::NodeReturned(A)]);
    assert_eq!(leader.beat_behind(2, A), []);
    leader.heartbeats.on_status(at(3), A, NodeStatus::Init);
    assert_eq!(leader.beat_behind(4, A), []);
    assert_eq!(leader.beat(5, A, 0), [Output::NodeReady(A)]);
    leader.heartbeats.on_status(at(6), A, NodeStatus::Ready);
    assert_eq!(
        leader.beat_behind(7, A),
        [],
        "it was out of touch with one server, and seen by others"
    );
    assert_eq!(leader.beat(8, B, 0), [Output::NodeReady(B)], "nothing has happened in its silence");
}

#[test]
fn a_verdict_that_was_lost_is_said_again() {
    let mut leader = Leader::of(&[(A, NodeStatus::Init)]);
    assert_eq!(leader.beat(0, A, 0), [Output::NodeReady(A)]);
    assert_eq!(leader.beat(4_999, A, 0), []);
    assert_eq!(leader.beat(5_000, A, 0), [Output::NodeReady(A)]);
    assert_eq!(leader.vain_round(20_000), [Output::NodesDown(vec![A])]);
    assert_eq!(leader.time(25_000), []);
    assert_eq!(leader.vain_round(25_001), [Output::NodesDown(vec![A])]);
}

#[test]
fn nodes_that_fall_silent_together_are_one_verdict_after_ttl_grace_and_a_round() {
    let mut leader = Leader::of(&[(B, NodeStatus::Ready), (A, NodeStatus::Ready)]);
    leader.beat(0, A, 0);
    leader.beat(0, B, 0);
    assert_eq!(leader.deadline(), Some(at(15_000)));
    assert_eq!(leader.time(14_999), []);
    let (round, nodes, probers) = leader.round(15_000);
    assert_eq!((&*nodes, &*probers), (&[A, B][..], &[OWN, ServerId(2), ServerId(3)][..]));
    leader.heartbeats.on_report(OWN, round, &nodes);
    leader.heartbeats.on_report(OWN, round, &nodes);
    assert_eq!(leader.time(15_100), [], "one server is one, however often it says so");
    leader.heartbeats.on_report(ServerId(9), round, &nodes);
    leader.heartbeats.on_report(ServerId(2), round - 1, &nodes);
    leader.heartbeats.on_report(ServerId(2), round, &nodes);
    assert_eq!(leader.deadline(), Some(at(15_000 + PROBE_ROUND_MS)), "the third is waited for");
    assert_eq!(leader.time(15_000 + PROBE_ROUND_MS), [Output::NodesDown(vec![A, B])]);
}

#[test]
fn whoever_one_of_the_three_can_hear_lives() {
    let mut leader = Leader::of(&[(A, NodeStatus::Ready), (B, NodeStatus::Ready)]);
    let (round, _, _) = leader.round(15_000);
    leader.heartbeats.on_report(OWN, round, &[A, B]);
    leader.heartbeats.on_report(ServerId(2), round, &[A, B]);
    leader.heartbeats.on_report(ServerId(3), round, &[B]);
    // Its heartbeat is still on its way here.
    assert_eq!(leader.time(15_100), [Output::NodesDown(vec![B])]);
    // It answers in time, and the others have not said anything yet.
    let (round, nodes, _) = leader.round(18_000);
    assert_eq!(nodes, [A]);
    leader.beat(18_050, A, 10);
    leader.heartbeats.on_report(OWN, round, &[A]);
    assert_eq!(leader.time(18_060), []);
    assert_eq!(leader.deadline(), Some(at(15_100 + 5_000)), "the verdict of the other");
}

#[test]
fn nodes_that_nobody_else_can_look_for_are_held_for_a_minute() {
    let mut leader = Leader::of(&[(A, NodeStatus::Ready)]);
    leader.vantage.others.clear();
    let mut ms = 15_000;
    while ms < 15_000 + VERDICT_HELD_MS {
        assert_eq!(leader.vain_round(ms), []);
        ms += PROBE_ROUND_MS;
    }
    assert_eq!(leader.vain_round(ms), [Output::NodesDown(vec![A])]);
}

#[test]
fn a_round_of_which_nothing_was_heard_says_nothing() {
    let mut leader = Leader::of(&[(A, NodeStatus::Ready)]);
    let mut ms = 15_000;
    for _ in 0..100 {
        let (_, nodes, _) = leader.round(ms);
        assert_eq!(nodes, [A], "it is asked after again");
        ms += PROBE_ROUND_MS;
    }
}

#[test]
fn a_leader_that_was_held_up_believes_no_old_report() {
    let mut leader = Leader::of(&[(A, NodeStatus::Ready)]);
    let (round, nodes, probers) = leader.round(15_000);
    for prober in probers {
        leader.heartbeats.on_report(prober, round, &nodes);
    }
    let (_, again, _) = leader.round(30_000);
    assert_eq!(again, [A]);
}

#[test]
fn a_lone_server_that_hears_most_of_all_no_more_doubts_itself() {
    let mut leader = Leader::alone(8);
    assert_eq!(leader.vain_round(15_000), [], "all of eight");
    for id in 1..=4 {
        leader.beat(15_100, NodeId(id), 0);
    }
    let rest = (5..=8).map(NodeId).collect();
    assert_eq!(leader.vain_round(18_000), [Output::NodesDown(rest)]);
}

#[test]
fn after_many_at_once_the_rest_of_them_is_one_more_verdict() {
    let mut leader = Leader::of(&[]);
    for id in 1..=60_u64 {
        let node = NodeId(u128::from(id));
        leader.heartbeats.on_registered(at(0), node, NodeStatus::Init);
        leader.heartbeats.on_status(at(0), node, NodeStatus::Ready);
        // They beat at different moments, a sixth of a second apart.
        leader.beat(id * 166, node, 0);
    }
    let first = leader.vain_round(16_000);
    assert!(matches!(&*first, [Output::NodesDown(nodes)] if nodes.len() == 6), "{first:?}");
    assert_eq!(leader.deadline(), Some(at(26_000)), "then none for a time-to-live");
    let rest = leader.vain_round(26_000);
    assert!(matches!(&*rest, [Output::NodesDown(nodes)] if nodes.len() == 60), "{rest:?}");
}

#[test]
fn a_node_that_is_down_is_watched_no_more_and_returns_with_a_heartbeat() {
    let mut leader = Leader::of(&[(A, NodeStatus::Ready)]);
    assert_eq!(leader.vain_round(15_000), [Output::NodesDown(vec![A])]);
    leader.heartbeats.on_status(at(16_002), A, NodeStatus::Down);
    assert_eq!(leader.deadline(), None);
    assert_eq!(leader.beat(60_000, A, 0), [Output::NodeReady(A)]);
    // It went silent before that was confirmed: it is down already.
    assert_eq!(leader.time(90_000), []);
    assert_eq!(leader.deadline(), None);
}

#[test]
fn a_relayed_heartbeat_counts_from_when_it_was_heard() {
    let mut leader = Leader::of(&[(A, NodeStatus::Ready)]);
    leader.beat(10_000, A, 4_000);
    assert_eq!(leader.deadline(), Some(at(21_000)));
    // An older word than one already heard takes nothing away; one too old says nothing.
    leader.beat(10_001, A, 9_000);
    leader.beat(10_002, A, 15_000);
    assert_eq!(leader.deadline(), Some(at(21_000)));
}

#[test]
fn a_removed_node_is_unknown() {
    let mut leader = Leader::of(&[(A, NodeStatus::Ready)]);
    leader.heartbeats.on_node_removed(A);
    assert_eq!(leader.deadline(), None);
    assert_eq!(leader.heartbeats.on_heartbeat(at(1), A, false, &mut Vec::new()), Answer::Unknown);
}
