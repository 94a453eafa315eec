//! Timers: slots that are used again, each planned at most once at a time.
//!
//! quinn moves its timers forward with almost every packet. A timer that moves later is left planned as
//! it was, and looks at its deadline when that moment comes.
//!
//! Invariants
//! - a timer is ready at its deadline or later, never earlier.
use std::task::{Poll, Waker};

use drover_sim::clock::Moment;

/// Which timer, and which of its lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimerId {
    slot: usize,
    generation: u32,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    deadline: Moment,
    /// When it will look next, if it is planned.
    planned: Option<Moment>,
    waker: Option<Waker>,
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

/// What comes of a moment that was planned.
pub(crate) enum Due {
    /// Nobody waits.
    Nothing,
    Wake(Waker),
    /// It has moved: plan it again.
    Later(Moment),
}

impl Timers {
    pub(crate) fn add(&mut self, deadline: Moment) -> TimerId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let timer = &mut self.slots[slot];
        timer.deadline = deadline;
        TimerId { slot, generation: timer.generation }
    }

    pub(crate) fn reset(&mut self, id: TimerId, deadline: Moment) {
        self.slots[id.slot].deadline = deadline;
    }

    /// Whether the deadline has come; and if it must be planned, for when.
    pub(crate) fn poll(
        &mut self,
        id: TimerId,
        now: Moment,
        waker: &Waker,
    ) -> (Poll<()>, Option<Moment>) {
        let timer = &mut self.slots[id.slot];
        if timer.deadline <= now {
            return (Poll::Ready(()), None);
        }
        if !timer.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            timer.waker = Some(waker.clone());
        }
        if timer.planned.is_some_and(|planned| planned <= timer.deadline) {
            return (Poll::Pending, None);
        }
        timer.planned = Some(timer.deadline);
        (Poll::Pending, Some(timer.deadline))
    }

    /// A moment that was planned has come.
    pub(crate) fn on_time(&mut self, id: TimerId, now: Moment) -> Due {
        let timer = &mut self.slots[id.slot];
        if timer.generation != id.generation || timer.planned != Some(now) {
            return Due::Nothing;
        }
        if now < timer.deadline {
            timer.planned = Some(timer.deadline);
            return Due::Later(timer.deadline);
        }
        timer.planned = None;
        timer.waker.take().map_or(Due::Nothing, Due::Wake)
    }

    /// The timer is gone. Answers what must be dropped outside of all locks.
    pub(crate) fn remove(&mut self, id: TimerId) -> Option<Waker> {
        let timer = &mut self.slots[id.slot];
        timer.generation = timer.generation.wrapping_add(1);
        timer.planned = None;
        self.free.push(id.slot);
        timer.waker.take()
    }
}
