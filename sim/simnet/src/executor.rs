//! Our own substrate: one thread that runs the tasks of all hosts, a clock of nanoseconds, and a network.
//!
//! Time goes on only when no task wants to: from one moment at which something is planned to the next.
//!
//! | file | what |
//! |---|---|
//! | `executor/tasks` | futures, and which of them want to go on |
//! | `executor/timers` | what was asked to wait |
//! | `network` | packets between hosts |
//! | `runtime` | the same as quinn wants to see it |
//!
//! Invariants
//! - the same seed and the same calls give the same order of polls, packets and timers;
//! - a task's `Drop` runs outside of every lock here.
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use drover_core::rng::Rng;
use drover_sim::clock::Moment;
use drover_sim::network::Harm;
use drover_sim::queue::Queue;

use crate::lock;
use crate::network::{Network, Packet, Weather};
use crate::stage::Alarm;

pub(crate) mod tasks;
pub(crate) mod timers;

pub use tasks::Task;
use tasks::{Ready, Tasks};
use timers::{Due, TimerId, Timers};

/// More polls at one moment mean that a task wakes itself for ever.
const POLLS_AT_ONCE_MAX: u64 = 5_000_000;

/// About what a poll takes in production, steps of the loop and cryptography included.
const POLL_NS: u64 = 1_000;

/// What happens at a moment.
#[derive(Debug)]
pub(crate) enum Happening {
    Timer(TimerId),
    Arrive(Packet),
    Resume { host: usize },
}

/// A host as far as tasks and time go.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// How often it was started: what belongs to an earlier life has no effect.
    pub(crate) life: u64,
    pub(crate) is_up: bool,
    paused_until: Moment,
    /// How many times as long its tasks take; zero: they take no time.
    slowness: u64,
    /// Until here its last poll takes.
    busy_until: Moment,
    /// Tasks that want to go on and may not, and when they will be let.
    held: Vec<usize>,
    resumes_at: Option<Moment>,
    pub(crate) drift_ppm: i64,
}

/// All that the runtimes of the hosts share.
pub(crate) struct Shared {
    pub(crate) inner: Mutex<Inner>,
    pub(crate) ready: Arc<Ready>,
    /// Stands for the beginning of the world.
    pub(crate) base: Instant,
}

pub(crate) struct Inner {
    pub(crate) queue: Queue<Happening>,
    pub(crate) timers: Timers,
    pub(crate) tasks: Tasks,
    pub(crate) places: Vec<Place>,
    pub(crate) network: Network,
    /// Whose turn it is, where more than one wants to go on; `None`: who was woken first.
    order: Option<Rng>,
    polls: u64,
    alarm: Arc<Alarm>,
}

/// The substrate.
pub struct Executor {
    pub(crate) shared: Arc<Shared>,
}

impl Executor {
    /// `hosts` machines, none of which runs. With `shuffled`, tasks that are ready run in any order.
    #[must_use]
    pub fn new(
        rng: &Rng,
        hosts: usize,
        (weather, shuffled): (Weather, bool),
        alarm: Arc<Alarm>,
    ) -> Self {
        let inner = Inner {
            queue: Queue::default(),
            timers: Timers::default(),
            tasks: Tasks::default(),
            places: (0..hosts).map(|_| Place::default()).collect(),
            network: Network::new(hosts, weather, rng.fork("network")),
            order: shuffled.then(|| rng.fork("order")),
            polls: 0,
            alarm,
        };
        #[expect(clippy::disallowed_methods, reason = "only distances from it are ever looked at")]
        let base = Instant::now() + Duration::from_secs(1_000);
        let shared = Shared { inner: Mutex::new(inner), ready: Arc::default(), base };
        Self { shared: Arc::new(shared) }
    }

    /// The moment that it is.
    #[must_use]
    pub fn now(&self) -> Moment {
        lock(&self.shared.inner).queue.now()
    }

    /// How often tasks were polled, and packets were sent and arrived.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        let inner = lock(&self.shared.inner);
        (inner.polls, inner.network.sent, inner.network.arrived)
    }

    /// The clocks of `host` run `ppm` millionths fast. Only while it is down.
    pub fn set_drift(&self, host: usize, ppm: i64) {
        lock(&self.shared.inner).places[host].drift_ppm = ppm;
    }

    /// The weather from now on.
    pub fn set_weather(&self, weather: Weather) {
        lock(&self.shared.inner).network.weather = weather;
    }

    /// From now on `harm` is done to packets on this link, until it was mended as often.
    pub fn harm(&self, link: (usize, usize), harm: Harm) {
        lock(&self.shared.inner).network.harm(link, harm);
    }

    /// The end of one harm.
    pub fn mend(&self, link: (usize, usize), harm: Harm) {
        lock(&self.shared.inner).network.mend(link, harm);
    }

    /// Every poll of the host's tasks takes `times` as long as it does otherwise, which is no time at all
    /// for whoever is not slow.
    pub fn slow_cpu(&self, host: usize, times: u64) {
        let slowness = if times <= 1 { 0 } else { times };
        lock(&self.shared.inner).places[host].slowness = slowness;
    }

    /// The host starts; answers which life this is.
    pub fn begin(&self, host: usize) -> u64 {
        let mut inner = lock(&self.shared.inner);
        let place = &mut inner.places[host];
        assert!(!place.is_up, "a host lives once at a time");
        place.is_up = true;
        place.life += 1;
        place.life
    }

    /// The host stands still for a while; packets wait for it.
    pub fn pause(&self, host: usize, for_ms: u64) {
        let mut inner = lock(&self.shared.inner);
        let until = inner.queue.now().plus_ms(for_ms);
        let place = &mut inner.places[host];
        place.paused_until = until.max(place.paused_until);
    }

    /// All of the host's tasks are gone at once, and its socket.
    pub fn crash(&self, host: usize) {
        let dead = {
            let mut inner = lock(&self.shared.inner);
            let place = &mut inner.places[host];
            place.is_up = false;
            place.paused_until = Moment::default();
            place.busy_until = Moment::default();
            place.resumes_at = None;
            place.held.clear();
            inner.network.close(host);
            inner.tasks.take_all(host)
        };
        drop(dead);
    }

    /// Let everything happen that happens before `end`, or before the alarm rings. Answers when that was.
    pub fn run_until(&self, end: Moment) -> Moment {
        loop {
            self.poll_ready();
            let mut inner = lock(&self.shared.inner);
            let end = end.min(inner.alarm.at());
            let Some(happening) = inner.queue.pop_before(end) else { return inner.queue.now() };
            let woken = inner.happen(happening);
            drop(inner);
            match woken {
                Woken::Nobody => (),
                Woken::Task(waker) => waker.wake(),
                Woken::Held(tasks) => {
                    tasks.into_iter().for_each(|task| self.shared.ready.push(task));
                }
            }
        }
    }

    /// Everybody who wants to goes on, until nobody does.
    fn poll_ready(&self) {
        for _ in 0..POLLS_AT_ONCE_MAX {
            let mut inner = lock(&self.shared.inner);
            let Some(task) = self.shared.ready.pop(inner.order.as_mut()) else { return };
            let Some((mut future, waker)) = inner.take_task(task) else { continue };
            drop(inner);
            let poll = future.as_mut().poll(&mut Context::from_waker(&waker));
            let mut inner = lock(&self.shared.inner);
            if poll.is_pending() {
                inner.tasks.put_back(task, future);
            } else {
                inner.tasks.remove(task);
                drop(inner);
                drop(future);
            }
        }
        panic!("a task wakes itself for ever at {}", self.now());
    }
}

impl Drop for Executor {
    /// Tasks hold on to what is shared, which holds on to them.
    fn drop(&mut self) {
        let hosts = lock(&self.shared.inner).places.len();
        (0..hosts).for_each(|host| self.crash(host));
    }
}

enum Woken {
    Nobody,
    Task(Waker),
    Held(Vec<usize>),
}

impl Inner {
    fn happen(&mut self, happening: Happening) -> Woken {
        let now = self.queue.now();
        match happening {
            Happening::Timer(id) => match self.timers.on_time(id, now) {
                Due::Nothing => Woken::Nobody,
                Due::Wake(waker) => Woken::Task(waker),
                Due::Later(at) => {
                    self.queue.push(at, Happening::Timer(id));
                    Woken::Nobody
                }
            },
            Happening::Arrive(packet) => {
                self.network.arrive(packet).map_or(Woken::Nobody, Woken::Task)
            }
            Happening::Resume { host } => {
                let place = &mut self.places[host];
                if place.resumes_at != Some(now) {
                    return Woken::Nobody;
                }
                place.resumes_at = None;
                Woken::Held(std::mem::take(&mut place.held))
            }
        }
    }

    /// The task, unless it is gone or its host stands still.
    fn take_task(&mut self, task: usize) -> Option<(Task, Waker)> {
        let host = self.tasks.host(task)?;
        let (now, place) = (self.queue.now(), &mut self.places[host]);
        let free_at = place.paused_until.max(place.busy_until);
        if now < free_at {
            place.held.push(task);
            if place.resumes_at.is_none() {
                place.resumes_at = Some(free_at);
                self.queue.push(free_at, Happening::Resume { host });
            }
            return None;
        }
        if place.slowness != 0 {
            place.busy_until = Moment { ns: now.ns + POLL_NS * place.slowness };
        }
        self.polls += 1;
        self.tasks.take(task)
    }

    /// What the clock of `host` shows at a moment, in nanoseconds since the world began.
    pub(crate) fn local_ns(&self, host: usize) -> u64 {
        local_ns(self.queue.now(), self.places[host].drift_ppm)
    }
}

const MILLION: i64 = 1_000_000;

fn local_ns(at: Moment, ppm: i64) -> u64 {
    let ns = i64::try_from(at.ns).expect("invariant: a run is shorter than 292 years");
    let drift = ns / MILLION * ppm + ns % MILLION * ppm / MILLION;
    at.ns.checked_add_signed(drift).unwrap_or(0)
}

/// The first moment at which a clock shows `shown` or more.
pub(crate) fn moment_of(shown_ns: u64, ppm: i64) -> Moment {
    if ppm == 0 {
        return Moment { ns: shown_ns };
    }
    let rate = (MILLION + ppm).unsigned_abs();
    let mut at = Moment {
        ns: shown_ns / rate * MILLION.unsigned_abs()
            + shown_ns % rate * MILLION.unsigned_abs() / rate,
    };
    while local_ns(at, ppm) < shown_ns {
        at.ns += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_first_at_which_the_clock_shows_it() {
        for ppm in [-900, -1, 0, 3, 1_000] {
            for shown_ns in [0, 1, 999, 1_000_000, 123_456_789_123, 86_400_000_000_007] {
                let at = moment_of(shown_ns, ppm);
                assert!(shown_ns <= local_ns(at, ppm), "{ppm} {shown_ns}");
                let before = at.ns.checked_sub(1).map(|ns| local_ns(Moment { ns }, ppm));
                assert!(before.is_none_or(|shown| shown < shown_ns), "{ppm} {shown_ns}");
            }
        }
    }
}
