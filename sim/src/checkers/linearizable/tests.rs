//! Histories of which it is known whether they have an order; and small ones, of which it is found out
//! by trying every order.
//!
//! Invariants
//! - a history is written as it happened: `+ n` begins, `= n` came to, `? n` is lost.
use std::collections::BTreeSet;

use drover_core::rng::Rng;
use drover_core::types::Index;

use super::history::{Fate, History, Kind, Object, Refusal};
use super::job::{Act, Job, Shown};
use super::node::{self, Node};

/// One thing that happens in a history.
#[derive(Clone, Debug)]
enum Told<A> {
    Begun(u64),
    Came(u64, Fate<A>),
}

use Told::{Begun, Came};

fn judge<O: Object>(told: &[Told<O::Act>]) -> Result<(), Refusal> {
    let mut history = History::<O>::default();
    for one in told {
        match one {
            Begun(number) => history.on_begun(*number),
            Came(number, fate) => history.on_fate(*number, fate.clone())?,
        }
    }
    Ok(())
}

fn done<A>(number: u64, act: A) -> Told<A> {
    Came(number, Fate::Done(act))
}

fn lost<A>(number: u64, act: A) -> Told<A> {
    Came(number, Fate::Lost(act))
}

/// One after the other.
fn in_turn(acts: &[Act]) -> Vec<Told<Act>> {
    let told = (1..).zip(acts).flat_map(|(number, &act)| [Begun(number), done(number, act)]);
    told.collect()
}

const fn wrote(mark: u64) -> Act {
    Act::Registered { mark }
}

const fn read(mark: u64) -> Act {
    Act::Read(Shown::Running { mark })
}

#[track_caller]
fn is_accepted(told: &[Told<Act>]) {
    assert_eq!(judge::<Job>(told), Ok(()));
}

#[track_caller]
fn is_refused(told: &[Told<Act>]) {
    let found = judge::<Job>(told);
    assert!(matches!(found, Err(Refusal::NoOrder(_))), "{found:?}");
}

#[test]
fn what_happens_in_turn_is_accepted() {
    let stopped = Act::Read(Shown::Stopped { mark: 2 });
    let gone = Act::Read(Shown::Absent);
    is_accepted(&in_turn(&[gone, Act::Missed, wrote(1), read(1), Act::Found, wrote(2), read(2)]));
    is_accepted(&in_turn(&[
        wrote(2),
        Act::Stopped,
        stopped,
        Act::Stopped,
        Act::Found,
        Act::Purged,
    ]));
    is_accepted(&in_turn(&[wrote(2), Act::Stopped, stopped, gone, Act::Missed]));
}

#[test]
fn a_read_that_misses_an_acknowledged_write_is_refused() {
    is_refused(&in_turn(&[wrote(1), wrote(2), read(1)]));
    is_refused(&in_turn(&[wrote(1), Act::Read(Shown::Absent)]));
    is_refused(&in_turn(&[wrote(1), Act::Missed]));
    is_refused(&in_turn(&[wrote(1), Act::Stopped, read(1)]));
    is_refused(&in_turn(&[wrote(1), Act::Purged, Act::Found]));
}

#[test]
fn a_read_during_a_write_may_show_it_or_not_and_then_no_other_way_round() {
    let during = |first: u64, second: u64| {
        let mut told = in_turn(&[wrote(1)]);
        told.extend([Begun(2), Begun(3), done(3, read(first)), Begun(4), done(4, read(second))]);
        told.push(done(2, wrote(2)));
        told
    };
    is_accepted(&during(1, 1));
    is_accepted(&during(1, 2));
    is_accepted(&during(2, 2));
    is_refused(&during(2, 1));
}

#[test]
fn a_lost_update_is_refused() {
    // Both are acknowledged; the later of them must be seen.
    let mut told = in_turn(&[wrote(1)]);
    told.extend([Begun(2), Begun(3), done(2, wrote(2)), done(3, wrote(3))]);
    told.extend([Begun(4), done(4, read(1))]);
    is_refused(&told);
}

#[test]
fn what_nobody_wrote_is_refused() {
    is_refused(&in_turn(&[wrote(1), read(7)]));
    is_refused(&in_turn(&[Act::Found]));
    is_refused(&in_turn(&[Act::Stopped]));
}

#[test]
fn what_was_refused_never_happens() {
    let told = |fate| {
        let mut told = in_turn(&[wrote(1)]);
        told.extend([Begun(2), Came(2, fate), Begun(3), done(3, read(2))]);
        told
    };
    is_refused(&told(Fate::Undone));
    is_accepted(&told(Fate::Lost(wrote(2))));
    is_accepted(&told(Fate::Done(wrote(2))));
}

#[test]
fn what_was_lost_may_happen_late_and_once() {
    let mut told = vec![Begun(9), lost(9, wrote(9))];
    told.extend(in_turn(&[wrote(1), read(1), wrote(2), read(2), read(9), read(9)]));
    is_accepted(&told);
    told.extend([Begun(10), done(10, wrote(3)), Begun(11), done(11, read(9))]);
    is_refused(&told);
}

#[test]
fn what_was_lost_never_happens_before_it_was_asked() {
    let mut told = in_turn(&[wrote(1), read(9)]);
    told.insert(4, Begun(9));
    told.push(lost(9, wrote(9)));
    is_refused(&told);
}

#[test]
fn a_lost_stop_explains_one_stop() {
    let stopped = |mark| Act::Read(Shown::Stopped { mark });
    let mut told = vec![Begun(99), lost(99, Act::Stopped)];
    told.extend(in_turn(&[wrote(1), stopped(1), wrote(2), read(2)]));
    is_accepted(&told);
    told.extend([Begun(100), done(100, stopped(2))]);
    is_refused(&told);
}

#[test]
fn a_lost_registration_before_a_stop_is_what_is_stopped() {
    let mut told = in_turn(&[wrote(1)]);
    told.extend([Begun(8), lost(8, wrote(8)), Begun(9), done(9, Act::Stopped)]);
    told.extend([Begun(10), done(10, Act::Read(Shown::Stopped { mark: 8 }))]);
    is_accepted(&told);
    told.extend([Begun(11), done(11, Act::Read(Shown::Stopped { mark: 1 }))]);
    is_refused(&told);
}

#[test]
fn an_open_read_may_have_seen_what_was_overwritten_meanwhile() {
    let mut told = vec![Begun(8), lost(8, wrote(8)), Begun(9)];
    told.extend(in_turn(&[wrote(1), read(1)]));
    told.push(done(9, read(8)));
    told.extend([Begun(10), done(10, read(1))]);
    is_accepted(&told);
}

#[test]
fn a_restore_brings_back_what_was_saved() {
    let back = Act::Restored(Shown::Running { mark: 1 });
    is_accepted(&in_turn(&[wrote(1), wrote(2), back, read(1)]));
    is_refused(&in_turn(&[wrote(1), wrote(2), back, read(2)]));
}

#[test]
fn a_node_is_what_it_was_told_last_until_it_is_made_anew() {
    let set = |eligible| node::Act::Set { eligible };
    let read = |at, eligible| node::Act::Read(node::Shown::Known { made_at: Index(at), eligible });
    let accepts = |acts: &[node::Act]| {
        let told = (1..).zip(acts).flat_map(|(number, &act)| [Begun(number), done(number, act)]);
        judge::<Node>(&told.collect::<Vec<_>>()).is_ok()
    };
    assert!(accepts(&[node::Act::Missed, read(3, true), set(false), read(3, false)]));
    assert!(!accepts(&[read(3, true), set(false), read(3, true)]));
    assert!(!accepts(&[read(3, true), read(3, false)]));
    assert!(accepts(&[read(3, true), set(false), read(5, true)]), "it was made anew");
    assert!(accepts(&[read(3, true), set(false), read(5, false)]), "it was made anew, then told");
    assert!(!accepts(&[read(5, true), set(false), read(3, true)]), "nobody is made earlier again");
    assert!(!accepts(&[read(5, false)]), "nobody has said so");
}

/// An operation of a small history: when it begins and ends.
#[derive(Clone, Debug)]
struct Small<A> {
    begins: u64,
    /// `None`: it is lost.
    ends: Option<u64>,
    act: A,
}

/// By trying every order.
fn has_an_order<O: Object>(state: &O::State, left: &[Small<O::Act>]) -> bool {
    if left.iter().all(|one| one.ends.is_none()) {
        return true;
    }
    let first_end = left.iter().filter_map(|one| one.ends).min().unwrap_or(u64::MAX);
    (0..left.len()).any(|at| {
        let mut rest = left.to_vec();
        let one = rest.remove(at);
        let next = O::after(state, &one.act).filter(|_| one.begins < first_end);
        next.is_some_and(|next| has_an_order::<O>(&next, &rest))
    })
}

fn draw_small<O: Object>(rng: &mut Rng, act: fn(&mut Rng) -> O::Act) -> Vec<Small<O::Act>> {
    let count = rng.between(1, 7);
    let mut moments = BTreeSet::new();
    let mut moment = |rng: &mut Rng| loop {
        let drawn = rng.between(0, 999);
        if moments.insert(drawn) {
            return drawn;
        }
    };
    let small = (0..count).map(|_| {
        let (one, other) = (moment(rng), moment(rng));
        let act = act(rng);
        let is_lost = O::kind(&act) != Kind::Reads && rng.chance(300);
        Small { begins: one.min(other), ends: (!is_lost).then_some(one.max(other)), act }
    });
    small.collect()
}

fn draw_job_act(rng: &mut Rng) -> Act {
    let mark = rng.between(1, 2);
    let shown = match rng.between(0, 3) {
        0 => Shown::Absent,
        1 => Shown::Stopped { mark },
        _ => Shown::Running { mark },
    };
    match rng.between(0, 11) {
        0..=2 => Act::Registered { mark },
        3 => Act::Stopped,
        4 => Act::Purged,
        5 => Act::Found,
        6 => Act::Missed,
        7 => Act::Restored(shown),
        _ => Act::Read(shown),
    }
}

fn draw_node_act(rng: &mut Rng) -> node::Act {
    let (at, eligible) = (Index(rng.between(1, 2)), rng.chance(500));
    match rng.between(0, 6) {
        0..=2 => node::Act::Set { eligible },
        3 if rng.chance(300) => node::Act::Missed,
        4 if rng.chance(500) => node::Act::Restored { eligible },
        _ => node::Act::Read(node::Shown::Known { made_at: at, eligible }),
    }
}

/// The history as it is told; what is lost is known to be at any time after it began.
fn tell<A: Clone>(small: &[Small<A>], rng: &mut Rng) -> Vec<Told<A>> {
    let mut at: Vec<(u64, Told<A>)> = Vec::new();
    for (number, one) in (1..).zip(small) {
        let act = one.act.clone();
        at.push((2 * one.begins, Begun(number)));
        match one.ends {
            Some(ends) => at.push((2 * ends, done(number, act))),
            None => at.push((2 * rng.between(one.begins, 1_000) + 1, lost(number, act))),
        }
    }
    at.sort_by_key(|&(at, _)| at);
    at.into_iter().map(|(_, told)| told).collect()
}

fn compare<O: Object>(act: fn(&mut Rng) -> O::Act) {
    let (mut accepted, mut refused) = (0, 0);
    for seed in 0..10_000 {
        let mut rng = Rng::from_seed(seed);
        let small = draw_small::<O>(&mut rng, act);
        let told = tell(&small, &mut rng);
        let expected = has_an_order::<O>(&O::State::default(), &small);
        let found = judge::<O>(&told);
        assert_eq!(found.is_ok(), expected, "seed {seed}: {told:?}: {found:?}");
        *(if expected { &mut accepted } else { &mut refused }) += 1;
    }
    assert!(500 < accepted && 500 < refused, "{accepted} accepted, {refused} refused");
}

#[test]
fn small_histories_of_jobs_are_judged_as_by_trying_every_order() {
    compare::<Job>(draw_job_act);
}

#[test]
fn small_histories_of_nodes_are_judged_as_by_trying_every_order() {
    compare::<Node>(draw_node_act);
}
