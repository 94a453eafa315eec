//! Tasks: every future that runs, whose it is, and which of them want to go on.
//!
//! Invariants
//! - a task stands in line at most once;
//! - a host's tasks can be taken away at any moment between two polls.
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use drover_core::rng::Rng;

use crate::lock;

/// A future that runs by itself.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Who wants to go on, in the order in which they were woken.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    line: Mutex<VecDeque<usize>>,
}

impl Ready {
    pub(crate) fn push(&self, task: usize) {
        lock(&self.line).push_back(task);
    }

    /// The first in line; with `order`, any of them.
    pub(crate) fn pop(&self, order: Option<&mut Rng>) -> Option<usize> {
        let mut line = lock(&self.line);
        match order {
            Some(rng) if 1 < line.len() => {
                let at = rng.between(0, line.len() as u64 - 1);
                line.swap_remove_front(usize::try_from(at).unwrap_or(0))
            }
            _ => line.pop_front(),
        }
    }
}

struct Bell {
    task: usize,
    is_in_line: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_in_line.swap(true, Ordering::Relaxed) {
            self.ready.push(self.task);
        }
    }
}

struct Slot {
    host: usize,
    /// Not there while it is polled.
    future: Option<Task>,
    waker: Waker,
    bell: Arc<Bell>,
}

#[derive(Default)]
pub(crate) struct Tasks {
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
}

impl Tasks {
    /// A new task, which stands in line at once.
    pub(crate) fn add(&mut self, host: usize, future: Task, ready: &Arc<Ready>) {
        let task = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let is_in_line = AtomicBool::new(true);
        let bell = Arc::new(Bell { task, is_in_line, ready: Arc::clone(ready) });
        let waker = Waker::from(Arc::clone(&bell));
        self.slots[task] = Some(Slot { host, future: Some(future), waker, bell });
        ready.push(task);
    }

    /// Whose the task is, if it is still there.
    pub(crate) fn host(&self, task: usize) -> Option<usize> {
        self.slots[task].as_ref().map(|slot| slot.host)
    }

    /// The task, to be polled.
    pub(crate) fn take(&mut self, task: usize) -> Option<(Task, Waker)> {
        let slot = self.slots[task].as_mut()?;
        slot.bell.is_in_line.store(false, Ordering::Relaxed);
        Some((slot.future.take()?, slot.waker.clone()))
    }

    /// It was polled and is not done.
    pub(crate) fn put_back(&mut self, task: usize, future: Task) {
        if let Some(slot) = &mut self.slots[task] {
            slot.future = Some(future);
        }
    }

    pub(crate) fn remove(&mut self, task: usize) {
        self.slots[task] = None;
        self.free.push(task);
    }

    /// Takes away all tasks of a host; to be dropped outside of all locks, since they wake others.
    pub(crate) fn take_all(&mut self, host: usize) -> Vec<Task> {
        let mut taken = Vec::new();
        for (task, slot) in self.slots.iter_mut().enumerate() {
            if slot.as_ref().is_some_and(|slot| slot.host == host) {
                taken.extend(slot.take().and_then(|slot| slot.future));
                self.free.push(task);
            }
        }
        taken
    }
}
