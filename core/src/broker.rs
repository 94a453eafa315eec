//! Which evaluation is scheduled next. Exists only while this server leads.
//!
//! | an evaluation is | when |
//! |---|---|
//! | ready | pending, and its moment has come |
//! | outstanding | handed out and not settled; one per job |
//! | delayed | pending, and its moment is still to come |
//! | blocked | it waits for room, or for another job |
//!
//! Everything follows from the table of evaluations, so a new leader makes its broker from that. What
//! room there is and what a job needs is not known here: whoever asks brings a `Yard` that knows.
//!
//! Invariants
//! - an evaluation is in one place; a job has at most one outstanding;
//! - the highest priority goes first, and among equals the oldest;
//! - no room that appears is missed: what appeared between the state that a plan was based on and the
//!   moment its blocked evaluation is heard of counts as well (`blocked`).
//!
//! It does not schedule, and it changes no evaluation: that is asked for by `Output`.
mod blocked;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;

use serde::{Deserialize, Serialize};

use self::blocked::Blocked;
use crate::emit::Emit;
use crate::limits::ROWS_PER_COMMAND_MAX;
use crate::time::WallTime;
use crate::types::{Capacity, EvalId, EvalStatus, Evaluation, Index, JobId, Need, NodeId};

/// What the broker asks for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Output {
    /// There may be room for these, or what they waited for has come: let them be pending again.
    Unblock(Vec<EvalId>),
}

/// What is known of room.
#[derive(Clone, Copy)]
pub struct Yard<'a> {
    /// Whether the node has room for an alloc that the job still wants. Too hopeful an answer costs one
    /// scheduling; too strict a one would leave the job waiting.
    pub fits: &'a dyn Fn(JobId, NodeId) -> bool,
    /// What is free on the node.
    pub free: &'a dyn Fn(NodeId) -> Capacity,
    /// What the job needs: too little costs a scheduling, too much would leave it waiting.
    pub need: &'a dyn Fn(JobId) -> Need,
}

impl Yard<'_> {
    /// Where everything has room for everyone.
    pub const ENDLESS: Self = Self {
        fits: &|_, _| true,
        free: &|_| Capacity::default(),
        need: &|_| Need { least: Capacity { cpu_mhz: 0, memory_mib: 0, disk_mib: 0 }, alike: 0 },
    };
}

/// Where in a queue an evaluation stands: the greatest priority, then the oldest.
type Turn = (Reverse<u8>, EvalId);

/// The open evaluations of one job.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
struct Queue {
    outstanding: Option<Turn>,
    waiting: BTreeSet<Turn>,
}

/// See the module.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Broker {
    queues: BTreeMap<JobId, Queue>,
    /// The first of each queue whose job has none outstanding.
    ready: BTreeMap<Turn, JobId>,
    delayed: BTreeSet<(WallTime, EvalId)>,
    /// Where each open evaluation is.
    places: BTreeMap<EvalId, Place>,
    blocked: Blocked,
}

/// Where an evaluation is, with what leads back to it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Place {
    Queued { job: JobId, priority: u8 },
    Delayed { job: JobId, priority: u8, until: WallTime },
    Blocked { job: JobId },
}

impl Place {
    /// `None`: the evaluation is final.
    fn of(eval: &Evaluation, clock: WallTime) -> Option<Self> {
        let (job, priority) = (eval.job, eval.priority);
        match (eval.status, eval.wait_until) {
            (EvalStatus::Complete | EvalStatus::Failed | EvalStatus::Cancelled, _) => None,
            (EvalStatus::Blocked, _) => Some(Self::Blocked { job }),
            (EvalStatus::Pending, Some(until)) if clock < until => {
                Some(Self::Delayed { job, priority, until })
            }
            (EvalStatus::Pending, _) => Some(Self::Queued { job, priority }),
        }
    }
}

impl Broker {
    /// The broker of a new leader, from every open evaluation. Blocked ones are tried once: nobody
    /// remembers what they were based on.
    #[must_use]
    pub fn restore<'e>(
        open: impl Iterator<Item = &'e Evaluation>,
        clock: WallTime,
        out: &mut impl Emit<Output>,
    ) -> Self {
        let mut broker = Self::default();
        for eval in open {
            if planted!(EvalsNotRestored) {
                break;
            }
            broker.on_eval(eval, clock, &Yard::ENDLESS, out);
        }
        broker
    }

    /// The evaluation's row was written. `clock` is the stamp that an entry would get now.
    pub fn on_eval(
        &mut self,
        eval: &Evaluation,
        clock: WallTime,
        yard: &Yard<'_>,
        out: &mut impl Emit<Output>,
    ) {
        let (id, known) = (eval.id, self.places.get(&eval.id).copied());
        let place = Place::of(eval, clock);
        // A moment that has come stays come, whatever the caller's clock says now.
        let already_due =
            matches!((known, place), (Some(Place::Queued { .. }), Some(Place::Delayed { .. })));
        if known == place || already_due {
            return;
        }
        self.leave(id, known);
        match place {
            None => {
                let busy = self.queues.get(&eval.job).is_some_and(|q| q.outstanding.is_some());
                if !busy && eval.blocked.is_none() {
                    unblock(self.blocked.on_job_done(eval.job, yard), out);
                }
                return;
            }
            Some(Place::Queued { job, priority }) => self.join(job, (Reverse(priority), id)),
            Some(Place::Delayed { until, .. }) => {
                self.delayed.insert((until, id));
            }
            Some(Place::Blocked { .. }) => unblock(self.blocked.on_blocked(eval, yard), out),
        }
        self.places.extend(place.map(|place| (id, place)));
    }

    /// The node may hold something, as of the entry at `index`, that it did not before.
    pub fn on_room(
        &mut self,
        node: NodeId,
        index: Index,
        yard: &Yard<'_>,
        out: &mut impl Emit<Output>,
    ) {
        if !planted!(BlockedNotWoken) {
            unblock(self.blocked.on_room(node, index, yard), out);
        }
    }

    /// Whether the job has an evaluation that waits for other jobs.
    #[must_use]
    pub fn is_gated(&self, job: JobId) -> bool {
        self.blocked.is_gated(job)
    }

    /// What a group of the job waited for is as it should be.
    pub fn on_let_in(&mut self, job: JobId, out: &mut impl Emit<Output>) {
        if !planted!(GateNotNoticed) {
            unblock(self.blocked.on_let_in(job), out);
        }
    }

    /// Room that was laid aside for a plan is free after all, as of the entry at `index`: some of the
    /// plan was refused, or it was lost.
    pub fn on_plan_refused(&mut self, index: Index, out: &mut impl Emit<Output>) {
        unblock(self.blocked.on_room_everywhere(index), out);
    }

    /// What was asked for could not be proposed; it is asked for again when time goes on.
    pub fn on_unblock_lost(&mut self, evals: &[EvalId]) {
        self.blocked.on_lost(evals);
    }

    /// The stamp that an entry would get now is `clock`.
    pub fn on_time(&mut self, clock: WallTime, out: &mut impl Emit<Output>) {
        while let Some(&(until, id)) = self.delayed.first() {
            if clock < until || planted!(DelayedNotReady) {
                break;
            }
            let known = self.places.get(&id).copied();
            let Some(Place::Delayed { job, priority, .. }) = known else {
                unreachable!("an evaluation is in one place");
            };
            self.leave(id, known);
            self.places.insert(id, Place::Queued { job, priority });
            self.join(job, (Reverse(priority), id));
        }
        unblock(self.blocked.take_lost(), out);
    }

    /// When the first delayed evaluation becomes ready.
    #[must_use]
    pub fn next_deadline(&self) -> Option<WallTime> {
        self.delayed.first().map(|&(until, _)| until)
    }

    /// Whether `next` has something to hand out.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Hand out the next evaluation, to be scheduled on the state at `based_on`. Its job is left
    /// alone until `on_settled`.
    pub fn next(&mut self, based_on: Index) -> Option<EvalId> {
        let (turn, job) = self.ready.pop_first()?;
        let queue = self.queues.get_mut(&job).expect("invariant: what is ready is in a queue");
        assert!(queue.outstanding.is_none(), "a job has at most one evaluation outstanding");
        queue.waiting.remove(&turn);
        queue.outstanding = Some(turn);
        self.blocked.on_scheduled(job, based_on);
        Some(turn.1)
    }

    /// The plan of the evaluation was applied, refused or lost. If the evaluation is still pending, it
    /// takes its turn again.
    pub fn on_settled(&mut self, id: EvalId) {
        if planted!(SettledForgotten) {
            return;
        }
        let Some(&Place::Queued { job, .. }) = self.places.get(&id) else {
            return;
        };
        let queue = self.queues.get_mut(&job).expect("invariant: a queued evaluation has a queue");
        if let Some(turn) = queue.outstanding.take_if(|turn| turn.1 == id) {
            queue.waiting.insert(turn);
        }
        self.show_first(job);
    }

    fn join(&mut self, job: JobId, turn: Turn) {
        self.hide_first(job);
        self.queues.entry(job).or_default().waiting.insert(turn);
        self.show_first(job);
    }

    fn leave(&mut self, id: EvalId, known: Option<Place>) {
        self.places.remove(&id);
        match known {
            None => {}
            Some(Place::Blocked { job }) => self.blocked.on_left(id, job),
            Some(Place::Delayed { until, .. }) => {
                self.delayed.remove(&(until, id));
            }
            Some(Place::Queued { job, priority }) => {
                self.hide_first(job);
                let queue = self.queues.get_mut(&job);
                let queue = queue.expect("invariant: a queued evaluation has a queue");
                queue.waiting.remove(&(Reverse(priority), id));
                queue.outstanding.take_if(|turn| turn.1 == id);
                if queue.outstanding.is_none() && queue.waiting.is_empty() {
                    self.queues.remove(&job);
                }
                self.show_first(job);
            }
        }
    }

    fn first_of(&self, job: JobId) -> Option<Turn> {
        let queue = self.queues.get(&job).filter(|queue| queue.outstanding.is_none())?;
        queue.waiting.first().copied()
    }

    fn hide_first(&mut self, job: JobId) {
        if let Some(turn) = self.first_of(job) {
            self.ready.remove(&turn);
        }
    }

    fn show_first(&mut self, job: JobId) {
        if let Some(turn) = self.first_of(job) {
            self.ready.insert(turn, job);
        }
    }

    /// How many evaluations are ready or outstanding.
    #[must_use]
    pub fn queued_count(&self) -> usize {
        self.queues
            .values()
            .map(|queue| queue.waiting.len() + usize::from(queue.outstanding.is_some()))
            .sum()
    }

    /// Every evaluation is in one place, and the first of each idle queue is ready.
    ///
    /// # Panics
    /// When that is not so.
    pub fn check_invariants(&self) {
        let mut ready = BTreeMap::new();
        let mut count = self.delayed.len();
        for (&job, queue) in &self.queues {
            assert!(
                queue.outstanding.is_some() || !queue.waiting.is_empty(),
                "a queue without an evaluation is dropped"
            );
            for &(Reverse(priority), id) in queue.waiting.iter().chain(&queue.outstanding) {
                count += 1;
                assert!(
                    self.places.get(&id) == Some(&Place::Queued { job, priority }),
                    "an evaluation is in one place"
                );
            }
            ready.extend(self.first_of(job).map(|turn| (turn, job)));
        }
        assert!(ready == self.ready, "the first of each idle queue is ready");
        for &(until, id) in &self.delayed {
            let place = self.places.get(&id);
            let here = matches!(place, Some(Place::Delayed { until: u, .. }) if *u == until);
            assert!(here, "an evaluation is in one place");
        }
        let is_blocked = |place: &&Place| matches!(place, Place::Blocked { .. });
        let blocked = self.places.values().filter(is_blocked).count();
        assert!(count + blocked == self.places.len(), "an evaluation is in one place");
        let of_job = |place: &Place| match *place {
            Place::Queued { job, .. } | Place::Delayed { job, .. } | Place::Blocked { job } => job,
        };
        // Few are woken at a time.
        self.blocked.check_invariants(|job| self.places.values().any(|one| of_job(one) == job));
    }
}

/// Ask for as many at once as one command may change.
fn unblock(evals: Vec<EvalId>, out: &mut impl Emit<Output>) {
    for some in evals.chunks(ROWS_PER_COMMAND_MAX) {
        out.emit(Output::Unblock(some.to_vec()));
    }
}
