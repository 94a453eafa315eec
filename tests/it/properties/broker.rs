//! What the broker hands out, and that nobody who could go on is left waiting.
use std::collections::BTreeMap;

use drover_core::broker::{Broker, Output, Yard};
use drover_core::rng::Rng;
use drover_core::time::WallTime;
use drover_core::types::*;

fn at(unix_ms: u64) -> WallTime {
    WallTime { unix_ms }
}

fn eval(id: u64, job: u64, priority: u8) -> Evaluation {
    Evaluation::of(EvalId(id), JobId(job), priority, Trigger::Manual)
}

/// A broker with its ears and its mouth. Nodes suit every job but job 9, and each job takes 100 MHz at
/// least: nodes have more than that for all, until it is said otherwise.
struct Stage {
    broker: Broker,
    said: Vec<Output>,
    free_mhz: u32,
    need: fn(JobId) -> Need,
}

impl Default for Stage {
    fn default() -> Self {
        Self { broker: Broker::default(), said: Vec::new(), free_mhz: 100_000, need }
    }
}

const fn mhz(cpu_mhz: u32) -> Capacity {
    Capacity { cpu_mhz, memory_mib: 0, disk_mib: 0 }
}

const fn suits(job: JobId, _: NodeId) -> bool {
    job.0 != 9
}

const fn need(job: JobId) -> Need {
    Need { least: mhz(100), alike: job.0 }
}

impl Stage {
    fn hear(&mut self, eval: &Evaluation) {
        let free = |_| mhz(self.free_mhz);
        let yard = Yard { fits: &suits, free: &free, need: &self.need };
        self.broker.on_eval(eval, at(100), &yard, &mut self.said);
        self.broker.check_invariants();
    }

    fn hear_as(&mut self, eval: &Evaluation, status: EvalStatus) {
        self.hear(&Evaluation { status, ..eval.clone() });
    }

    fn room(&mut self, index: u64) {
        let free = |_| mhz(self.free_mhz);
        let yard = Yard { fits: &suits, free: &free, need: &self.need };
        self.broker.on_room(NodeId(1), Index(index), &yard, &mut self.said);
        self.broker.check_invariants();
    }

    /// Jobs that found no room on the state at 5, of these priorities; their evaluations are 11 and up.
    fn waiting(priorities: &[u8]) -> Self {
        let mut stage = Self::default();
        for (id, &priority) in (1..).zip(priorities) {
            let one = eval(id, id, priority);
            stage.hear(&one);
            stage.next(5);
            stage.block(&one, id + 10, 5);
        }
        stage
    }

    fn next(&mut self, based_on: u64) -> Option<u64> {
        let next = self.broker.next(Index(based_on)).map(|id| id.0);
        self.broker.check_invariants();
        next
    }

    fn asked(&mut self) -> Vec<u64> {
        let said = std::mem::take(&mut self.said);
        said.into_iter().flat_map(|Output::Unblock(evals)| evals).map(|id| id.0).collect()
    }

    /// The evaluation is scheduled on the state at `based_on` and leaves `blocked` behind.
    fn block(&mut self, one: &Evaluation, blocked: u64, based_on: u64) {
        let left = eval(blocked, one.job.0, one.priority);
        self.hear_as(&left, EvalStatus::Blocked);
        let done = Evaluation { blocked: Some(left.id), ..one.clone() };
        self.hear_as(&done, EvalStatus::Complete);
        assert!(based_on < blocked, "ids of these tests are indexes");
    }
}

#[test]
fn the_highest_priority_goes_first_and_among_equals_the_oldest() {
    let mut stage = Stage::default();
    for (id, job, priority) in [(1, 1, 50), (2, 2, 80), (3, 3, 50), (4, 4, 80)] {
        stage.hear(&eval(id, job, priority));
    }
    let order: Vec<_> = std::iter::from_fn(|| stage.next(1)).collect();
    assert_eq!(order, [2, 4, 1, 3]);
}

#[test]
fn a_job_has_one_evaluation_outstanding_until_it_is_settled() {
    let mut stage = Stage::default();
    let (first, second) = (eval(1, 1, 50), eval(2, 1, 50));
    stage.hear(&first);
    stage.hear(&second);
    assert_eq!((stage.next(1), stage.next(1)), (Some(1), None));
    // Its plan was one of several: the same evaluation goes on before the next.
    stage.broker.on_settled(first.id);
    assert_eq!((stage.next(2), stage.next(2)), (Some(1), None));
    stage.hear_as(&first, EvalStatus::Complete);
    stage.broker.on_settled(first.id);
    assert_eq!(stage.next(3), Some(2));
}

#[test]
fn a_delayed_evaluation_is_handed_out_when_its_moment_has_come() {
    let mut stage = Stage::default();
    let delayed = Evaluation { wait_until: Some(at(500)), ..eval(1, 1, 50) };
    stage.hear(&delayed);
    assert_eq!((stage.next(1), stage.broker.next_deadline()), (None, Some(at(500))));
    stage.broker.on_time(at(499), &mut stage.said);
    assert_eq!(stage.next(1), None);
    stage.broker.on_time(at(500), &mut stage.said);
    stage.hear(&delayed);
    assert_eq!((stage.next(1), stage.broker.next_deadline()), (Some(1), None));
}

#[test]
fn room_lets_those_go_on_that_fit_and_asks_for_each_once() {
    let mut stage = Stage::default();
    for (id, job) in [(1, 1), (2, 9)] {
        let one = eval(id, job, 50);
        stage.hear(&one);
        stage.next(5);
        stage.block(&one, id + 10, 5);
    }
    assert_eq!(stage.asked(), [0; 0]);
    stage.room(20);
    assert_eq!(stage.asked(), [11]);
    stage.room(21);
    assert_eq!(stage.asked(), [0; 0]);
    stage.broker.on_plan_refused(Index(22), &mut stage.said);
    assert_eq!(stage.asked(), [12], "room that belongs to no one node is everybody's");
    stage.hear(&eval(11, 1, 50));
    assert_eq!(stage.next(23), Some(11));
}

#[test]
fn room_that_appeared_while_the_plan_was_made_is_not_missed() {
    let mut stage = Stage::default();
    let one = eval(1, 1, 50);
    stage.hear(&one);
    stage.next(5);
    stage.room(6);
    stage.block(&one, 11, 5);
    assert_eq!(stage.asked(), [11], "the plan was based on 5, the room came at 6");
    // The second try knows of that room: only newer room counts.
    stage.hear(&eval(11, 1, 50));
    assert_eq!(stage.next(12), Some(11));
    stage.block(&eval(11, 1, 50), 13, 12);
    assert_eq!(stage.asked(), [0; 0]);
}

#[test]
fn room_is_offered_to_as_many_as_it_holds_the_most_important_first() {
    let mut stage = Stage::waiting(&[50, 80, 50, 50]);
    stage.free_mhz = 250;
    stage.room(20);
    assert_eq!(stage.asked(), [12, 11]);
    stage.free_mhz = 350;
    stage.room(21);
    assert_eq!(stage.asked(), [13], "the others were woken for the rest, and have not said");
}

#[test]
fn what_is_left_of_an_offer_goes_to_those_behind() {
    let mut stage = Stage::waiting(&[50, 50, 50]);
    stage.free_mhz = 100;
    stage.room(20);
    assert_eq!(stage.asked(), [11]);
    let woken = eval(11, 1, 50);
    stage.hear(&woken);
    assert_eq!(stage.next(21), Some(11));
    // It went elsewhere.
    stage.hear_as(&woken, EvalStatus::Complete);
    assert_eq!(stage.asked(), [12]);
    let woken = eval(12, 2, 50);
    stage.hear(&woken);
    assert_eq!(stage.next(22), Some(12));
    // It found nothing after all, and is not asked about the same room again.
    stage.block(&woken, 32, 22);
    assert_eq!(stage.asked(), [13]);
    let woken = eval(13, 3, 50);
    stage.hear(&woken);
    assert_eq!(stage.next(33), Some(13));
    // It took it all.
    stage.free_mhz = 0;
    stage.hear_as(&woken, EvalStatus::Complete);
    stage.room(34);
    assert_eq!(stage.asked(), [0; 0]);
}

#[test]
fn who_needs_something_else_by_now_speaks_for_nobody() {
    let alike = |_| Need { least: mhz(100), alike: 7 };
    let mut stage = Stage { need: alike, ..Stage::default() };
    for (id, job) in [(1, 9), (2, 2)] {
        let one = eval(id, job, 50);
        stage.hear(&one);
        stage.next(5);
        stage.block(&one, id + 10, 5);
    }
    stage.room(20);
    assert_eq!(stage.asked(), [0; 0], "what does not suit the first does not suit the second");
    // The first has a new version, which is not scheduled yet.
    stage.need = need;
    stage.room(21);
    assert_eq!(stage.asked(), [12]);
}

#[test]
fn who_needs_what_the_node_is_not_is_passed_over() {
    let mut stage = Stage::default();
    for (id, job) in [(1, 9), (2, 2)] {
        let one = eval(id, job, 50);
        stage.hear(&one);
        stage.next(5);
        stage.block(&one, id + 10, 5);
    }
    stage.free_mhz = 100;
    stage.room(20);
    assert_eq!(stage.asked(), [12]);
}

#[test]
fn a_new_leader_tries_what_is_blocked_once() {
    let mut blocked = eval(2, 2, 50);
    blocked.status = EvalStatus::Blocked;
    let (open, mut said) = ([eval(1, 1, 50), blocked], Vec::new());
    let mut broker = Broker::restore(open.iter(), at(100), &mut said);
    assert_eq!(said, [Output::Unblock(vec![EvalId(2)])]);
    assert_eq!((broker.next(Index(9)), broker.next(Index(9))), (Some(EvalId(1)), None));
}

#[test]
fn what_could_not_be_asked_for_is_asked_for_again() {
    let mut stage = Stage::default();
    stage.broker.on_unblock_lost(&[EvalId(4)]);
    stage.broker.on_time(at(100), &mut stage.said);
    assert_eq!(stage.asked(), [4]);
}

#[test]
fn whatever_happens_every_pending_evaluation_is_handed_out_in_the_end() {
    for seed in 0..200 {
        let (mut stage, mut rng) = (Stage::default(), Rng::from_seed(seed));
        let mut rows: BTreeMap<u64, Evaluation> = BTreeMap::new();
        let mut outstanding: Vec<u64> = Vec::new();
        for id in 1..60 {
            let priority = u8::try_from(rng.between(1, 3)).unwrap();
            let mut one = eval(id, rng.between(1, 4), priority);
            one.wait_until = rng.chance(300).then(|| at(rng.between(50, 400)));
            stage.hear(&one);
            rows.insert(id, one);
            if rng.chance(500) {
                outstanding.extend(stage.next(id));
            }
            if rng.chance(400) && !outstanding.is_empty() {
                let id = outstanding.remove(0);
                if rng.chance(500) {
                    let one = rows.remove(&id).unwrap();
                    stage.hear_as(&one, EvalStatus::Complete);
                }
                stage.broker.on_settled(EvalId(id));
            }
            let jobs: Vec<JobId> = outstanding.iter().map(|id| rows[id].job).collect();
            let distinct: std::collections::BTreeSet<_> = jobs.iter().collect();
            assert_eq!(jobs.len(), distinct.len(), "seed {seed}: one per job");
        }
        stage.broker.on_time(at(1_000), &mut stage.said);
        loop {
            for id in outstanding.drain(..) {
                let one = rows.remove(&id).expect("handed out while pending");
                stage.hear_as(&one, EvalStatus::Complete);
                stage.broker.on_settled(EvalId(id));
            }
            let Some(id) = stage.next(100) else { break };
            outstanding.push(id);
        }
        assert!(rows.is_empty(), "seed {seed}: forgotten: {:?}", rows.keys());
        assert_eq!(stage.broker, Broker::default(), "seed {seed}: nothing is left behind");
    }
}
