//! Laws of the membership: of one member that is told things, and of groups on a network that loses them.
use std::collections::BTreeMap;

use drover_core::emit::Emit as _;
use drover_core::gossip::swim::{
    Config, Description, Matter, Outline, Output, Packet, Record, State, Swim, Timings, Version,
};
use drover_core::rng::Rng;
use drover_core::time::MonoTime;
use drover_core::types::{Incarnation, ServerId};
use drover_tests::rig::delivered;
use proptest::prelude::*;

#[path = "../benches/membership/ours.rs"]
mod ours;
#[path = "../benches/membership/world.rs"]
#[expect(dead_code, reason = "the bench asks the network more than these tests do")]
mod world;

use ours::{Ours, id_of, known_as};
use world::{Pause, SEC, Seen};

type World = world::World<Ours>;

#[derive(Clone, Debug, Eq, PartialEq)]
struct Word(u64);

impl Description for Word {
    fn size_bytes(&self) -> usize {
        8
    }
}

const fn version(incarnation: u64, turn: u32) -> Version {
    Version { incarnation: Incarnation(incarnation), turn }
}

fn record(id: u64, version: Version, state: State, accusers: &[u64]) -> Record<Word> {
    let accusers = accusers.iter().copied().map(ServerId).collect();
    // A description belongs to a version, so equal versions say the same.
    let said = Word(id * 1_000 + version.incarnation.0 * 100 + u64::from(version.turn));
    Record { id: ServerId(id), version, state, accusers, said: Some(said) }
}

/// Member 1, who knows members 2 to `count`, and hears whatever the test tells it.
struct Alone {
    swim: Swim<Word>,
    now: MonoTime,
    said: Vec<Output<Word>>,
}

impl Alone {
    fn among(count: u64) -> Self {
        let config = Config {
            id: ServerId(1),
            incarnation: Incarnation(1),
            said: Word(1),
            timings: Timings::default(),
            members_max: 100,
        };
        let mut swim = Swim::new(config, Rng::from_seed(7));
        let now = MonoTime { ns: 1 };
        let known = (2..=count).map(|id| record(id, version(1, 0), State::Alive, &[]));
        swim.on_remembered(now, known);
        let mut alone = Self { swim, now, said: Vec::new() };
        alone.swim.on_time(now, &mut alone.said);
        alone
    }

    fn tell(&mut self, from: u64, matter: Matter, news: Vec<Record<Word>>) {
        let packet = Packet { matter, news };
        self.swim.on_packet(self.now, ServerId(from), packet, &mut self.said);
        self.swim.check_invariants();
    }

    /// Time passes in which each of `speaking` answers what it is asked, and nobody else does.
    fn run(&mut self, ms: u64, speaking: &[u64]) {
        let until = self.now.plus_ms(ms);
        while self.now < until {
            let mut out: Vec<Output<Word>> = Vec::new();
            if self.swim.next_deadline().is_some_and(|at| at <= self.now) {
                self.swim.on_time(self.now, &mut out);
            }
            for output in &out {
                if let Output::Datagram(to, packet) = output
                    && let Matter::Ping { seq, view } = packet.matter
                    && speaking.contains(&to.0)
                {
                    self.tell(to.0, Matter::Ack { seq, view }, vec![]);
                }
            }
            out.into_iter().for_each(|output| self.said.emit(output));
            self.now = self.now.plus_ms(10);
        }
        self.swim.check_invariants();
    }

    fn failed(&self) -> Vec<u64> {
        let failed = |said: &Output<Word>| match said {
            Output::Failed(id) => Some(id.0),
            _ => None,
        };
        self.said.iter().filter_map(failed).collect()
    }

    /// What is known, but for suspicions: those are not between tables.
    fn known(&self) -> BTreeMap<u64, (Version, bool, Word)> {
        let shown = |(one, said): (Outline, &Word)| {
            (one.id.0, (one.version, one.state == State::Left, said.clone()))
        };
        self.swim.others().map(shown).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// What is known in the end does not depend on who told it, how often, or in which order.
    #[test]
    fn merging_is_free_of_order(
        seed: u64,
        told in prop::collection::vec((2_u64..9, 1_u64..3, 0_u32..4, 0_usize..3), 1..40),
    ) {
        let states = [State::Alive, State::Suspect, State::Left];
        let records: Vec<Record<Word>> = told.iter().map(|&(id, incarnation, turn, state)| {
            record(id, version(incarnation, turn), states[state], &[9])
        }).collect();
        let hear = |order: &[usize]| {
            let mut alone = Alone::among(6);
            for &nth in order {
                alone.tell(2, Matter::News, vec![records[nth].clone()]);
            }
            alone.known()
        };
        let forward: Vec<usize> = (0..records.len()).collect();
        let shuffled = delivered(&mut Rng::from_seed(seed), records.len());
        prop_assert_eq!(hear(&forward), hear(&shuffled));
    }

    /// Whatever was said of a member in one turn, its word in the next one stands.
    #[test]
    fn refutation_wins(
        seed: u64,
        accused in prop::collection::vec((0_u32..3, any::<bool>(), 2_u64..9), 1..20),
    ) {
        let mut rng = Rng::from_seed(seed);
        let mut alone = Alone::among(9);
        let mut records: Vec<Record<Word>> = accused.iter().map(|&(turn, is_verdict, by)| {
            let state = if is_verdict { State::Failed } else { State::Suspect };
            record(5, version(1, turn), state, &[by, by % 7 + 2, by % 5 + 2])
        }).collect();
        let at = usize::try_from(rng.between(0, records.len() as u64)).expect("small");
        records.insert(at, record(5, version(1, 3), State::Alive, &[]));
        for record in records {
            alone.tell(2, Matter::News, vec![record]);
        }
        prop_assert_eq!(alone.swim.state(ServerId(5)), Some(State::Alive));
    }

    /// Too few others could not reach it: however long it is silent here, it is not called failed.
    #[test]
    fn there_is_no_verdict_without_corroboration(accuser in 2_u64..8, compared: bool) {
        let mut alone = Alone::among(9);
        let matter = if compared { Matter::Snapshot } else { Matter::News };
        let verdict = record(9, version(1, 0), State::Failed, &[accuser]);
        alone.tell(accuser, matter, vec![verdict]);
        alone.run(120_000, &[2, 3, 4, 5, 6, 7, 8]);
        prop_assert_eq!(alone.failed(), [0_u64; 0]);
        prop_assert_eq!(alone.swim.state(ServerId(9)), Some(State::Suspect));

        let other = if accuser == 2 { 3 } else { 2 };
        alone.tell(other, Matter::News, vec![record(9, version(1, 0), State::Suspect, &[other])]);
        alone.run(10_000, &[2, 3, 4, 5, 6, 7, 8]);
        prop_assert_eq!(alone.failed(), [9_u64], "three of them are enough");
    }

    /// Time that jumps, or passes while nobody at all is heard, counts against nobody.
    #[test]
    fn a_paused_or_deaf_member_judges_nobody(pause_ms in 3_000_u64..100_000, is_deaf: bool) {
        let mut alone = Alone::among(9);
        alone.run(5_000, &[2, 3, 4, 5, 6, 7, 8, 9]);
        alone.tell(2, Matter::News, vec![record(9, version(1, 0), State::Suspect, &[2, 3, 4])]);
        if is_deaf {
            alone.run(pause_ms, &[]);
        } else {
            alone.now = alone.now.plus_ms(pause_ms);
            alone.swim.on_time(alone.now, &mut alone.said);
            alone.run(1_000, &[]);
        }
        prop_assert_eq!(alone.failed(), [0_u64; 0]);
        // Who is there again hears at once that the accused has long objected.
        alone.tell(3, Matter::News, vec![record(9, version(1, 1), State::Alive, &[])]);
        alone.run(20_000, &[2, 3, 4, 5, 6, 7, 8, 9]);
        prop_assert_eq!(alone.failed(), [0_u64; 0]);
    }
}

#[test]
fn an_answer_of_the_suspect_itself_clears_it() {
    let mut alone = Alone::among(9);
    alone.tell(2, Matter::News, vec![record(9, version(1, 0), State::Suspect, &[2, 3, 4])]);
    alone.run(10_000, &[2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(alone.failed(), [0_u64; 0]);
    assert_eq!(alone.swim.state(ServerId(9)), Some(State::Alive));
    assert!(alone.said.contains(&Output::Cleared(ServerId(9))));
}

#[test]
fn accusers_that_are_suspect_themselves_do_not_count() {
    let mut alone = Alone::among(9);
    for accuser in [2, 3] {
        let suspect = record(accuser, version(1, 0), State::Suspect, &[5, 6, 7]);
        alone.tell(5, Matter::News, vec![suspect]);
    }
    alone.tell(2, Matter::News, vec![record(9, version(1, 0), State::Failed, &[2, 3, 4])]);
    assert_eq!(alone.swim.state(ServerId(9)), Some(State::Suspect));
    alone.tell(5, Matter::News, vec![record(8, version(1, 0), State::Failed, &[4, 5, 6])]);
    assert_eq!(alone.swim.state(ServerId(8)), Some(State::Failed));
    let verdict = alone.swim.verdict(ServerId(8)).expect("it failed");
    assert_eq!(verdict.accusers, [4, 5, 6].map(ServerId));
}

/// Whoever starts anew is told of an old verdict by those who share it, and those who passed it may be gone.
#[test]
fn an_old_verdict_counts_when_those_who_share_it_live() {
    let mut alone = Alone::among(9);
    for sharer in [2, 3, 4] {
        assert_ne!(alone.swim.state(ServerId(9)), Some(State::Failed), "two are too few");
        let verdict = record(9, version(1, 0), State::Failed, &[21, 22, 23]);
        alone.tell(sharer, Matter::Snapshot, vec![verdict]);
    }
    alone.run(10_000, &[2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(alone.failed(), [9]);
    let verdict = alone.swim.verdict(ServerId(9)).expect("it failed");
    assert!(verdict.accusers.iter().all(|accuser| accuser.0 < 9), "{verdict:?}");
}

#[test]
fn a_later_start_is_somebody_new_whatever_was_said_of_the_earlier() {
    let mut alone = Alone::among(9);
    alone.tell(2, Matter::News, vec![record(9, version(1, 7), State::Failed, &[2, 3, 4])]);
    assert_eq!(alone.swim.state(ServerId(9)), Some(State::Failed));
    alone.tell(3, Matter::News, vec![record(9, version(2, 0), State::Alive, &[])]);
    assert_eq!(alone.swim.state(ServerId(9)), Some(State::Alive));
    alone.tell(2, Matter::News, vec![record(9, version(1, 9), State::Failed, &[2, 3, 4])]);
    assert_eq!(alone.swim.state(ServerId(9)), Some(State::Alive));
}

#[test]
fn packets_stay_within_a_datagram_and_say_nothing_twice() {
    let mut alone = Alone::among(2);
    let many = (3..90).map(|id| record(id, version(1, 0), State::Alive, &[])).collect();
    alone.tell(2, Matter::News, many);
    alone.run(3_000, &[2]);
    let mut told = 0;
    for output in &alone.said {
        if let Output::Datagram(_, packet) = output {
            let mut ids: Vec<u64> = packet.news.iter().map(|record| record.id.0).collect();
            told += ids.len();
            ids.sort_unstable();
            assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
            assert!(ids.len() * 21 <= 1_100, "{} records", ids.len());
        }
    }
    assert!(87 < told, "everybody is spoken of");
}

const COUNT: u32 = 24;

fn leave(world: &mut World, id: u32) {
    world.step(id, |member, now, out| {
        member.step(out, |swim, said| swim.on_leave(MonoTime { ns: now }, said));
    });
    world.at(world.now + SEC, move |world| world.crash(id));
}

/// `id` hears that the accusers could not reach `of`.
fn accuse(world: &mut World, id: u32, of: u32, accusers: &[u32]) {
    let mut record = known_as(of);
    (record.state, record.said) = (State::Suspect, None);
    record.accusers = accusers.iter().copied().map(id_of).collect();
    let packet = Packet { matter: Matter::News, news: vec![record] };
    let from = id_of(accusers[0]);
    world.step(id, |member, now, out| {
        member.step(out, |swim, said| swim.on_packet(MonoTime { ns: now }, from, packet, said));
    });
}

/// How often `of` has spoken for itself, as `id` knows.
fn turn_at(world: &World, id: u32, of: u32) -> Option<u32> {
    let swim = &world.members[id as usize].runs.as_ref()?.swim;
    let all = std::iter::once(swim.own()).chain(swim.others().map(|(outline, _)| outline));
    let mut found = all.filter(|outline| outline.id == id_of(of));
    found.next().map(|outline| outline.version.turn)
}

fn notes(world: &World, seen: Seen, of: u32) -> usize {
    world.notes.iter().filter(|note| note.seen == seen && note.of == of).count()
}

#[test]
fn all_members_call_a_dead_one_failed_and_one_that_goes_left() {
    let mut world = World::warm(COUNT as usize, COUNT as usize, 1);
    world.crash(3);
    leave(&mut world, 5);
    world.run_until(world.now + 15 * SEC);
    assert_eq!(notes(&world, Seen::Failed, 3), COUNT as usize - 2);
    assert_eq!(notes(&world, Seen::Left, 5), COUNT as usize - 2);
    assert_eq!(notes(&world, Seen::Failed, 5), 0);
    assert_eq!(
        world.notes.iter().filter(|note| note.seen == Seen::Failed).count(),
        COUNT as usize - 2
    );
}

#[test]
fn the_dead_are_one_shift_and_who_starts_again_is_there_at_once() {
    let mut world = World::warm(COUNT as usize, COUNT as usize, 2);
    for id in [3, 4, 5] {
        world.crash(id);
    }
    world.run_until(world.now + 30 * SEC);
    let shifts = world.notes.iter().filter(|note| note.seen == Seen::Shift && note.by == 0).count();
    assert!((1..=2).contains(&shifts), "{shifts}");
    world.notes.clear();
    world.join(4, &[0]);
    world.run_until(world.now + 2 * SEC);
    assert_eq!(notes(&world, Seen::Alive, 4), COUNT as usize - 3);
    assert_eq!(world.view(4), COUNT as usize - 2);
}

#[test]
fn an_accused_member_that_lives_objects_and_stays() {
    for seed in 1..=5 {
        let mut world = World::warm(COUNT as usize, COUNT as usize, seed);
        world.loss = 250;
        for id in 0..COUNT {
            accuse(&mut world, id, 7, &[1, 2, 3]);
        }
        world.run_until(world.now + 20 * SEC);
        assert_eq!(notes(&world, Seen::Failed, 7), 0, "seed {seed}");
        assert!((0..COUNT).all(|id| Some(1) <= turn_at(&world, id, 7)), "seed {seed}");
    }
}

#[test]
fn nobody_is_wrong_about_members_that_are_well_while_others_stall() {
    for (seed, pause) in (1..).zip([Pause::Stall, Pause::Stop]) {
        let mut world = World::warm(COUNT as usize, COUNT as usize, seed);
        for round in 0..10 {
            for id in 0..6 {
                let at = world.now + round * 6 * SEC;
                world.at(at, move |world| world.pause(id, pause));
                world.at(at + 4 * SEC, move |world| world.resume(id));
            }
        }
        world.run_until(world.now + 70 * SEC);
        let wrong = world.notes.iter().filter(|note| note.seen == Seen::Failed && 6 <= note.of);
        assert_eq!(wrong.count(), 0, "{pause:?}");
    }
}

#[test]
fn two_halves_are_one_group_again_soon_after_healing() {
    let mut world = World::warm(COUNT as usize, COUNT as usize, 3);
    world.members[..12].iter_mut().for_each(|member| member.side = 1);
    world.run_until(world.now + 120 * SEC);
    assert!((0..COUNT).all(|id| world.view(id) == 12), "both sides have settled");
    world.members.iter_mut().for_each(|member| member.side = 0);
    world.run_until(world.now + 10 * SEC);
    assert!((0..COUNT).all(|id| world.view(id) == COUNT as usize));
}

#[test]
fn in_a_small_group_whoever_was_cut_off_counts_again_at_once() {
    for seed in 1..=10 {
        let mut world = World::warm(3, 3, seed);
        world.members[2].side = 1;
        world.run_until(world.now + 20 * SEC);
        assert_eq!(world.view(0), 2, "seed {seed}: it counts as failed");
        world.members[2].side = 0;
        world.run_until(world.now + 6 * SEC);
        assert!((0..3).all(|id| world.view(id) == 3), "seed {seed}");
    }
}

#[test]
fn whoever_missed_the_news_is_told_what_differs() {
    let mut world = World::warm(COUNT as usize, COUNT as usize + 1, 4);
    // Datagrams do not reach it for a while: pings go unanswered, and the news go by.
    world.members[2].in_loss = 1_000;
    world.join(COUNT, &[0]);
    world.run_until(world.now + 2 * SEC);
    assert_eq!(world.view(2), COUNT as usize);
    world.members[2].in_loss = 0;
    world.run_until(world.now + 8 * SEC);
    assert_eq!(world.view(2), COUNT as usize + 1);
}

#[test]
fn who_flaps_is_out_once_and_stays_out() {
    let mut world = World::warm(COUNT as usize, COUNT as usize, 5);
    let start = world.now;
    for round in 0..5 {
        let at = start + round * 40 * SEC;
        world.at(at, |world| world.members[9].in_loss = 1_000);
        world.at(at + 20 * SEC, |world| world.members[9].in_loss = 0);
    }
    world.run_until(start + 190 * SEC);
    assert_eq!(notes(&world, Seen::Failed, 9), COUNT as usize - 1);
    assert_eq!(notes(&world, Seen::Alive, 9), 0);
    world.run_until(start + 260 * SEC);
    assert_eq!(
        notes(&world, Seen::Alive, 9),
        COUNT as usize - 1,
        "it has been well for long enough"
    );
}

#[test]
fn a_full_table_forgets_who_was_gone_longest_for_somebody_who_is_there() {
    let mut alone = Alone::among(101);
    for gone in [5, 6] {
        alone.now = alone.now.plus_ms(1);
        alone.tell(2, Matter::News, vec![record(gone, version(1, 0), State::Left, &[])]);
    }
    let tell = |alone: &mut Alone, id, state| {
        alone.tell(2, Matter::News, vec![record(id, version(1, 0), state, &[])]);
        alone.swim.state(ServerId(id))
    };
    assert_eq!(tell(&mut alone, 200, State::Left), None, "it is worth nobody's place");
    assert_eq!(tell(&mut alone, 201, State::Alive), Some(State::Alive));
    assert_eq!(alone.swim.state(ServerId(5)), None);
    assert_eq!(alone.swim.state(ServerId(6)), Some(State::Left));
    assert_eq!(tell(&mut alone, 202, State::Alive), Some(State::Alive));
    assert_eq!(tell(&mut alone, 203, State::Alive), None, "all are there");
}

#[test]
fn who_hears_nobody_condemns_nobody_and_knows_that_it_is_cut_off() {
    let mut alone = Alone::among(3);
    alone.run(2_000, &[]);
    assert!(!alone.swim.is_cut_off(), "they have time to answer");
    alone.run(8_000, &[]);
    assert!(alone.swim.is_cut_off());
    assert_eq!(alone.failed(), [0_u64; 0]);
    alone.tell(2, Matter::News, vec![]);
    assert!(!alone.swim.is_cut_off());
}
