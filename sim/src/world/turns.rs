//! Whose turn it is: hosts that are busy with a step or stand still, and hosts that sleep.
//!
//! Invariants
//! - a host takes one thing at a time, in the order in which they came to it;
//! - while something waits for a host, one moment is planned at which it takes the next.
use std::collections::VecDeque;

use drover_core::agent::Event;

use super::{Happening, World};
use crate::checkers::Violation;
use crate::clock::Moment;
use crate::network::HostId;

/// What came to a host while it was busy.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: VecDeque<Happening>,
    next_at: Option<Moment>,
}

impl World {
    /// Whether the host takes what comes at once.
    pub(super) fn is_free(&self, host: HostId) -> bool {
        self.hosts[host.0].free_at() <= self.queue.now() && self.inboxes[host.0].waiting.is_empty()
    }

    /// It happens when the host is free, after what came before.
    pub(super) fn wait(&mut self, host: HostId, happening: Happening) {
        self.inboxes[host.0].waiting.push_back(happening);
        self.plan_next(host);
    }

    fn plan_next(&mut self, host: HostId) {
        let at = self.hosts[host.0].free_at().max(self.queue.now());
        let inbox = &mut self.inboxes[host.0];
        if inbox.next_at.is_none() && !inbox.waiting.is_empty() {
            inbox.next_at = Some(at);
            self.queue.push(at, Happening::Free { host, at });
        }
    }

    /// The host was to be free at `at`.
    pub(super) fn take_next(&mut self, host: HostId, at: Moment) -> Result<(), Violation> {
        let inbox = &mut self.inboxes[host.0];
        if inbox.next_at != Some(at) {
            return Ok(());
        }
        inbox.next_at = None;
        // It may have been made to stand still meanwhile.
        if self.hosts[host.0].free_at() <= self.queue.now()
            && let Some(happening) = inbox.waiting.pop_front()
        {
            self.happen_now(happening)?;
        }
        self.plan_next(host);
        Ok(())
    }

    /// Its agent is gone: nobody takes what waits.
    pub(super) fn drop_waiting(&mut self, host: HostId) {
        self.inboxes[host.0] = Inbox::default();
    }

    pub(super) fn wake(&mut self, host: HostId, at: Moment) -> Result<(), Violation> {
        let sleeper = &mut self.hosts[host.0];
        if sleeper.wake_planned != Some(at) {
            return Ok(());
        }
        sleeper.wake_planned = None;
        match sleeper.wake_wanted {
            Some(at) if self.queue.now() < at => self.plan_wake(host, at),
            Some(_) => return self.step(host, Event::Woken),
            None => (),
        }
        Ok(())
    }

    pub(super) fn plan_wake(&mut self, host: HostId, at: Moment) {
        let sleeper = &mut self.hosts[host.0];
        sleeper.wake_wanted = Some(at);
        if sleeper.wake_planned.is_none_or(|planned| at < planned) {
            sleeper.wake_planned = Some(at);
            self.queue.push(at, Happening::Wake { host, at });
        }
    }
}
