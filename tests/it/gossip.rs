//! Properties of the servers' membership, on a small network that loses, delays and reorders.
use std::collections::BTreeMap;

use drover_core::gossip::swim::{Matter, Packet, Record, State, Version};
use drover_core::gossip::{
    Config, Gossip, Link, Member, Message, Output, Stage, Status, Timings, Word,
};
use drover_core::rng::Rng;
use drover_core::time::MonoTime;
use drover_core::types::{ClusterId, Incarnation, ServerId};
use drover_tests::rig::delivered;
use proptest::prelude::*;

fn member(id: u64, expect: u32) -> Member {
    Member {
        id: ServerId(id),
        incarnation: Incarnation(1),
        cluster: ClusterId(0),
        name: format!("s{id}"),
        region: "global".to_owned(),
        datacenter: "dc1".to_owned(),
        address: format!("s{id}:4648"),
        http_address: format!("s{id}:4646"),
        expect,
        build: "0.1.0".to_owned(),
        tags: BTreeMap::new(),
        is_leaving: false,
        status: Status::Alive,
    }
}

fn gossip(own: Member, join: &[u64], timings: Timings) -> Gossip {
    let rng = Rng::from_seed(own.id.0);
    let join = join.iter().map(|id| format!("s{id}:4648")).collect();
    Gossip::new(Config { own, join, remembered: Vec::new(), timings }, rng)
}

/// Servers 1..=n, and what is on its way between them.
struct World {
    servers: BTreeMap<u64, Gossip>,
    flying: Vec<(u64, u64, Message)>,
    dials: Vec<(u64, u64)>,
    cut: Vec<u64>,
    founded: Vec<(u64, Vec<u64>)>,
    failed: Vec<(u64, u64)>,
    alive: Vec<(u64, u64)>,
    now: MonoTime,
    rng: Rng,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            servers: BTreeMap::new(),
            flying: Vec::new(),
            dials: Vec::new(),
            cut: Vec::new(),
            founded: Vec::new(),
            failed: Vec::new(),
            alive: Vec::new(),
            now: MonoTime { ns: 1 },
            rng: Rng::from_seed(seed),
        }
    }

    fn start(&mut self, own: Member, join: &[u64], timings: Timings) {
        let id = own.id.0;
        self.servers.insert(id, gossip(own, join, timings));
        self.on(id, |server, now, out| server.on_time(now, out));
    }

    fn on(&mut self, id: u64, event: impl FnOnce(&mut Gossip, MonoTime, &mut Vec<Output>)) {
        let mut out = Vec::new();
        let Some(server) = self.servers.get_mut(&id) else { return };
        event(server, self.now, &mut out);
        server.check_invariants();
        for output in out {
            match output {
                Output::Send(to, message) => self.flying.push((id, to.0, message)),
                Output::Dial(address) => {
                    let to = address[1..].split(':').next().expect("a name").parse();
                    self.dials.push((id, to.expect("names are numbers")));
                }
                Output::MemberAlive(member) => self.alive.push((id, member.0)),
                Output::MemberFailed(member) => self.failed.push((id, member.0)),
                // Servers here are dialled once.
                Output::MemberLeft(_) | Output::Shift(_) | Output::Forget(_) => (),
                Output::Bootstrap(voters) => {
                    self.founded.push((id, voters.into_iter().map(|voter| voter.0).collect()));
                }
            }
        }
    }

    fn link(&mut self, one: u64, other: u64) {
        if one != other {
            self.on(one, |server, now, out| server.on_link(now, ServerId(other), Link::Up, out));
            self.on(other, |server, now, out| server.on_link(now, ServerId(one), Link::Up, out));
        }
    }

    fn deliver(&mut self, (from, to, message): (u64, u64, Message)) {
        if !self.cut.contains(&from) && !self.cut.contains(&to) {
            self.on(to, |server, now, out| server.on_message(now, ServerId(from), message, out));
        }
    }

    fn draw(&mut self, count: usize) -> usize {
        usize::try_from(self.rng.between(0, count as u64 - 1)).expect("small")
    }

    /// One thing happens, whichever.
    fn stumble(&mut self, lost_permille: u64) {
        let lose = self.rng.chance(lost_permille);
        match self.rng.between(0, 9) {
            0 if !self.dials.is_empty() => {
                let nth = self.draw(self.dials.len());
                let (from, to) = self.dials.swap_remove(nth);
                if self.servers.contains_key(&to) {
                    self.link(from, to);
                } else {
                    self.dials.push((from, to));
                }
            }
            1 => {
                self.now = self.now.plus_ms(200);
                let nth = self.draw(self.servers.len());
                let id = *self.servers.keys().nth(nth).expect("drawn among them");
                self.on(id, |server, now, out| server.on_time(now, out));
            }
            _ if !self.flying.is_empty() => {
                let nth = self.draw(self.flying.len());
                let drawn = self.flying.swap_remove(nth);
                if !lose {
                    self.deliver(drawn);
                }
            }
            _ => (),
        }
    }

    /// Time passes and everything arrives, in order.
    fn run(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        while self.now < end {
            for (from, to) in std::mem::take(&mut self.dials) {
                if self.servers.contains_key(&to) {
                    self.link(from, to);
                } else {
                    self.dials.push((from, to));
                }
            }
            while !self.flying.is_empty() {
                let first = self.flying.remove(0);
                self.deliver(first);
            }
            self.now = self.now.plus_ms(100);
            for id in self.servers.keys().copied().collect::<Vec<_>>() {
                let due = self.servers[&id].next_deadline().is_some_and(|at| at <= self.now);
                if due {
                    self.on(id, |server, now, out| server.on_time(now, out));
                }
            }
        }
    }
}

/// What `own` says of itself.
fn introduction(own: Member) -> Record<Box<Member>> {
    let version = Version { incarnation: own.incarnation, turn: 0 };
    let (id, state, accusers) = (own.id, State::Alive, Vec::new());
    Record { id, version, state, accusers, said: Some(own.into()) }
}

fn patient() -> Timings {
    Timings { suspect_ms: 1_000_000_000, ..Timings::default() }
}

fn of(server: &Gossip, id: u64) -> Option<Status> {
    server.members().find(|member| member.id.0 == id).map(|member| member.status)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Servers start one after the other, know one earlier server each, and hear of the rest. In
    /// whatever order things happen and whatever is lost, no server votes in two clusters; so one
    /// is founded, if those that are expected are more than half.
    #[test]
    fn however_servers_meet_none_is_a_voter_of_two_clusters(
        seed: u64, count in 2_u64..7, expect in 2_u32..6, lost_permille in 0_u64..400,
    ) {
        let mut world = World::new(seed);
        for id in 1..=count {
            // Not in the order of their ids.
            let id = id * 7 % 11;
            let earlier: Vec<u64> = world.servers.keys().copied().collect();
            let join =
                if earlier.is_empty() { vec![] } else { vec![earlier[world.draw(earlier.len())]] };
            world.start(member(id, expect), &join, patient());
            for _ in 0..world.rng.between(0, 60) {
                world.stumble(lost_permille);
            }
        }
        for _ in 0..3_000 {
            world.stumble(lost_permille);
        }
        world.run(60_000);
        let mut voters: Vec<u64> =
            world.founded.iter().flat_map(|(_, voters)| voters.iter().copied()).collect();
        voters.sort_unstable();
        prop_assert!(voters.is_sorted_by(|a, b| a < b), "{:?}", world.founded);
        for (by, voters) in &world.founded {
            prop_assert_eq!(Some(by), voters.iter().min());
            prop_assert!(u64::from(expect) <= voters.len() as u64);
        }
        if u64::from(expect) <= count {
            prop_assert!(!world.founded.is_empty(), "enough have met");
        }
        if count < 2 * u64::from(expect) {
            prop_assert!(world.founded.len() <= 1, "{:?}", world.founded);
        }
    }

    /// What is known in the end does not depend on who told it, how often, or in which order.
    #[test]
    fn merging_is_free_of_order(
        seed: u64,
        told in prop::collection::vec((2_u64..6, 1_u64..4), 1..30),
    ) {
        let described: Vec<Member> = told.iter().map(|&(id, incarnation)| Member {
            incarnation: Incarnation(incarnation),
            name: format!("n{incarnation}"),
            ..member(id, 3)
        }).collect();
        let hear = |order: &[usize]| {
            let mut server = gossip(member(1, 3), &[], patient());
            let mut out = Vec::new();
            for &nth in order {
                let news = vec![introduction(member(9, 3)), introduction(described[nth].clone())];
                let packet = Packet { matter: Matter::News, news };
                server.on_message(MonoTime { ns: 1 }, ServerId(9), Message::Datagram(packet), &mut out);
            }
            let mut members: Vec<Member> = server.members().collect();
            members.sort();
            members
        };
        let forward: Vec<usize> = (0..described.len()).collect();
        let shuffled = delivered(&mut Rng::from_seed(seed), described.len());
        prop_assert_eq!(hear(&forward), hear(&shuffled));
    }
}

#[test]
fn three_servers_meet_and_the_lowest_founds_the_cluster_with_all() {
    let mut world = World::new(1);
    for id in 1..=3 {
        world.start(member(id, 3), &[3], Timings::default());
    }
    world.run(1_000);
    assert_eq!(world.founded, [(1, vec![1, 2, 3])]);
    world.run(60_000);
    assert_eq!(world.founded.len(), 1);
    assert_eq!(world.failed, []);
}

#[test]
fn two_of_three_wait_for_the_third() {
    let mut world = World::new(1);
    world.start(member(1, 3), &[2], Timings::default());
    world.start(member(2, 3), &[1], Timings::default());
    world.run(60_000);
    assert_eq!(world.founded, []);
}

#[test]
fn nobody_founds_beside_a_member_of_a_cluster() {
    let mut world = World::new(1);
    let mut old = member(3, 3);
    old.cluster = ClusterId(77);
    world.start(old, &[], Timings::default());
    world.start(member(1, 3), &[3], Timings::default());
    world.start(member(2, 3), &[3], Timings::default());
    world.run(60_000);
    assert_eq!(world.founded, []);
}

#[test]
fn nobody_founds_with_a_server_whose_log_has_begun() {
    let mut world = World::new(1);
    for id in 1..=3 {
        world.start(member(id, 3), &[], Timings::default());
    }
    // Its cluster stands in its log, and nothing of that is known to be committed yet.
    world.on(2, |server, _, _| server.on_log_begun());
    for (one, other) in [(1, 2), (2, 3), (1, 3)] {
        world.link(one, other);
    }
    world.run(60_000);
    assert_eq!(world.founded, []);
}

#[test]
fn nobody_founds_while_expectations_differ() {
    let mut world = World::new(1);
    for (id, expect) in [(1, 3), (2, 3), (3, 2)] {
        world.start(member(id, expect), &[1], Timings::default());
    }
    world.run(60_000);
    assert_eq!(world.founded, []);
}

#[test]
fn a_server_that_expects_itself_alone_founds_at_once() {
    let mut world = World::new(1);
    world.start(member(5, 1), &[], Timings::default());
    world.run(100);
    world.start(member(6, 0), &[], Timings::default());
    world.run(10_000);
    assert_eq!(world.founded, [(5, vec![5])], "who expects nobody founds nothing");
}

#[test]
fn a_silent_member_has_failed_when_its_time_is_up_and_lives_again_at_a_word() {
    let mut world = World::new(1);
    for id in 1..=3 {
        world.start(member(id, 0), &[1], Timings::default());
    }
    world.run(3_000);
    world.alive.clear();
    world.cut.push(3);
    world.run(2_500);
    assert_eq!(world.failed, [], "it has time to answer");
    world.run(5_000);
    world.failed.sort_unstable();
    assert_eq!(world.failed, [(1, 3), (2, 3)], "who hears nobody judges nobody");
    assert_eq!(of(&world.servers[&1], 3), Some(Status::Failed));
    assert_eq!(of(&world.servers[&1], 2), Some(Status::Alive));

    world.cut.clear();
    world.run(3_000);
    world.alive.sort_unstable();
    assert_eq!(world.alive, [(1, 3), (2, 3)]);
    assert_eq!(of(&world.servers[&1], 3), Some(Status::Alive));
}

#[test]
fn who_was_paused_does_not_judge_the_others() {
    let mut world = World::new(1);
    for id in 1..=2 {
        world.start(member(id, 0), &[1], Timings::default());
    }
    world.run(3_000);
    world.now = world.now.plus_ms(3_600_000);
    for _ in 0..4 {
        world.run(1_100);
    }
    assert_eq!(world.failed, []);
}

#[test]
fn a_restarted_server_is_known_by_its_newer_description() {
    let mut world = World::new(1);
    for id in 1..=3 {
        world.start(member(id, 0), &[1], Timings::default());
    }
    world.run(3_000);
    let mut reborn = member(3, 0);
    (reborn.incarnation, reborn.address) = (Incarnation(2), "s3:9999".to_owned());
    reborn.tags.insert("what only later versions know".to_owned(), "7".to_owned());
    world.start(reborn, &[2], Timings::default());
    world.run(10_000);
    for id in 1..=2 {
        let known = world.servers[&id].members().find(|member| member.id.0 == 3);
        let known = known.expect("it is known");
        assert_eq!((known.address.as_str(), known.tags.len()), ("s3:9999", 1));
    }
}

#[test]
fn servers_of_other_regions_and_clusters_are_not_listed() {
    let mut server = gossip(Member { cluster: ClusterId(5), ..member(1, 0) }, &[], patient());
    let mut out = Vec::new();
    let members = [
        member(2, 0),
        Member { region: "elsewhere".to_owned(), ..member(3, 0) },
        Member { cluster: ClusterId(6), ..member(4, 0) },
        Member { cluster: ClusterId(5), ..member(5, 0) },
        Member { name: "impostor".to_owned(), incarnation: Incarnation(9), ..member(1, 0) },
    ];
    let packet = Packet { matter: Matter::News, news: members.map(introduction).to_vec() };
    server.on_message(MonoTime { ns: 1 }, ServerId(2), Message::Datagram(packet), &mut out);
    server.check_invariants();
    let ids: Vec<u64> = server.members().map(|member| member.id.0).collect();
    assert_eq!(ids, [1, 2, 5]);
    assert_eq!(server.members().next().expect("itself").name, "s1");
}

#[test]
fn whoever_speaks_from_anothers_address_has_taken_its_place() {
    let mut ours = gossip(member(1, 3), &[], patient());
    let mut out = Vec::new();
    let says = |own: Member| {
        let met = vec![own.id];
        Message::Pull(Word { own: introduction(own), met, stage: Stage::Settled }.into())
    };
    let now = MonoTime { ns: 1 };
    let heir = Member { address: "s2:4648".to_owned(), ..member(9, 3) };
    ours.on_link(now, ServerId(2), Link::Up, &mut out);
    ours.on_message(now, ServerId(2), says(member(2, 3)), &mut out);
    ours.on_message(now, ServerId(9), says(heir.clone()), &mut out);
    assert_eq!(of(&ours, 2), Some(Status::Alive), "its connection says that it is still there");
    ours.on_link(now, ServerId(2), Link::Down, &mut out);
    ours.on_message(now, ServerId(9), says(heir), &mut out);
    assert_eq!(of(&ours, 2), Some(Status::Failed));
    assert!(out.contains(&Output::MemberFailed(ServerId(2))));
    assert_eq!(of(&ours, 9), Some(Status::Alive));
    ours.check_invariants();
}

#[test]
fn who_has_left_is_not_dialled_any_more_unless_it_is_configured() {
    let mut ours = gossip(member(1, 3), &[2], patient());
    let (now, mut out) = (MonoTime { ns: 1 }, Vec::new());
    ours.on_time(now, &mut out);
    for own in [member(2, 3), member(3, 3)] {
        let met = vec![own.id];
        let hello = Word { own: introduction(own.clone()), met, stage: Stage::Settled };
        ours.on_message(now, own.id, Message::Pull(hello.into()), &mut out);
    }
    let dialled = |address: &str| Output::Dial(address.to_owned());
    assert!(out.contains(&dialled(&member(2, 3).address)), "{out:?}");
    assert!(out.contains(&dialled(&member(3, 3).address)), "{out:?}");
    out.clear();
    for own in [member(2, 3), member(3, 3)] {
        let id = own.id;
        let goodbye = Record { state: State::Left, said: None, ..introduction(own) };
        let packet = Packet { matter: Matter::News, news: vec![goodbye] };
        ours.on_message(now, id, Message::Stream(packet), &mut out);
    }
    ours.on_time(now.plus_ms(1_000), &mut out);
    let forgotten: Vec<&Output> =
        out.iter().filter(|output| matches!(output, Output::Forget(_))).collect();
    assert_eq!(forgotten, [&Output::Forget(member(3, 3).address)]);
}

/// Somebody else may be there by now.
#[test]
fn who_has_moved_is_dialled_where_it_is_and_not_where_it_was() {
    let mut ours = gossip(member(1, 3), &[2], patient());
    let (now, mut out) = (MonoTime { ns: 1 }, Vec::new());
    ours.on_time(now, &mut out);
    let moved = |id: u64| {
        let address = format!("s{id}:9999");
        Member { incarnation: Incarnation(2), address, ..member(id, 3) }
    };
    let mut news_of = |own: Member, out: &mut Vec<Output>| {
        let packet = Packet { matter: Matter::News, news: vec![introduction(own)] };
        ours.on_message(now, ServerId(2), Message::Datagram(packet), out);
        ours.on_time(now, out);
        std::mem::take(out)
    };
    let dial = |address: &str| Output::Dial(address.to_owned());
    let forget = |address: &str| Output::Forget(address.to_owned());
    let said = news_of(member(2, 3), &mut out);
    assert!(said.contains(&dial("s2:4648")), "{said:?}");
    let said = news_of(member(3, 3), &mut out);
    assert!(said.contains(&dial("s3:4648")), "{said:?}");
    let said = news_of(moved(3), &mut out);
    assert!(said.contains(&dial("s3:9999")) && said.contains(&forget("s3:4648")), "{said:?}");
    let said = news_of(moved(2), &mut out);
    assert!(said.contains(&dial("s2:9999")), "{said:?}");
    assert!(!said.contains(&forget("s2:4648")), "it is configured: {said:?}");
}

#[test]
fn where_others_were_is_dialled_for_a_while_and_what_is_configured_for_ever() {
    let rng = Rng::from_seed(1);
    let join = vec!["s2:4648".to_owned()];
    let remembered = vec!["s2:4648".to_owned(), "s3:4648".to_owned()];
    let config = Config { own: member(1, 3), join, remembered, timings: patient() };
    let (mut ours, mut out) = (Gossip::new(config, rng), Vec::new());
    ours.on_time(MonoTime { ns: 1 }, &mut out);
    assert!(out.contains(&Output::Dial("s3:4648".to_owned())), "{out:?}");
    out.clear();
    ours.on_time(MonoTime { ns: 1 }.plus_ms(599_999), &mut out);
    assert_eq!(out, []);
    ours.on_time(MonoTime { ns: 1 }.plus_ms(600_000), &mut out);
    assert_eq!(out, [Output::Forget("s3:4648".to_owned())]);
}
