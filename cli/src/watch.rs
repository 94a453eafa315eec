//! Looking at something at the servers again and again, and saying what has changed.
//!
//! Invariants
//! - a server that does not make us wait is not asked more often than `PAUSE_MS` allows.
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::commands::Session;
use crate::failure::Refusal;
use crate::terminal::Style;
use crate::time;

const WAIT_MS: u64 = 10_000;
const PAUSE_MS: u64 = 200;

/// What is looked at, and how it was the last time.
pub(crate) struct Watch {
    path: String,
    namespace: Option<String>,
    index: u64,
    /// When the last look began that found nothing new.
    in_vain: Option<Instant>,
}

impl Watch {
    pub(crate) const fn new(path: String) -> Self {
        Self { path, namespace: None, index: 0, in_vain: None }
    }

    /// The same in another namespace than the command's.
    pub(crate) fn within(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// How it is; from the second look on as soon as it has changed, or after a while.
    pub(crate) fn look(&mut self, session: &mut Session) -> Result<Value, Refusal> {
        let pause = Duration::from_millis(PAUSE_MS);
        if self.in_vain.is_some_and(|asked| asked.elapsed() < pause) {
            std::thread::sleep(pause);
        }
        let asked = Instant::now();
        self.in_vain = Some(asked);
        let wait_ms = if self.index == 0 { 1 } else { WAIT_MS };
        let (index, wait) = (self.index.to_string(), format!("{wait_ms}ms"));
        let mut query = vec![("index", index.as_str()), ("wait", wait.as_str())];
        query.extend(self.namespace.as_deref().map(|namespace| ("namespace", namespace)));
        let reply = session.client.read(&self.path, &query)?;
        if self.index < reply.index {
            self.in_vain = None;
        }
        self.index = reply.index.max(1);
        Ok(reply.json)
    }
}

pub(crate) fn heading(session: &Session, text: &str) {
    let line = format!("==> {}: {text}", time::stamp(time::now_unix_ns()));
    session.terminal.line(&session.terminal.paint(Style::Heading, &line));
}

pub(crate) fn say(session: &Session, text: &str) {
    session.terminal.line(&format!("    {}: {text}", time::stamp(time::now_unix_ns())));
}
