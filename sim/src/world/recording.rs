//! Every agent's inputs since it started, stepped again by an agent of its own.
//!
//! Invariants
//! - the agent that is told the same is the same, also when it was frozen and thawed on the way.
use drover_core::agent::{Agent, Effects};

use super::World;
use crate::checkers::Violation;
use crate::compare::Stepped;

impl World {
    /// Keep every agent's inputs from now on.
    pub fn keep_inputs(&mut self) {
        self.recording = Some(vec![Vec::new(); self.hosts.len()]);
    }

    /// Keep what every agent took and became from now on.
    pub fn keep_history(&mut self) {
        self.history = Some(Vec::new());
    }

    /// What was kept.
    pub fn take_history(&mut self) -> Vec<Stepped> {
        self.history.take().unwrap_or_default()
    }

    /// Step what was kept again.
    ///
    /// # Errors
    /// An agent became another.
    pub fn check_replays(&self) -> Result<(), Violation> {
        let Some(recording) = &self.recording else { return Ok(()) };
        for (host, inputs) in self.hosts.iter().zip(recording) {
            let Some(agent) = &host.agent else { continue };
            let mut replayed = Agent::new(host.config.clone(), host.seed);
            let mut effects = Effects::default();
            for (at, input) in inputs.iter().enumerate() {
                if at == inputs.len() / 2 {
                    let thawed = Agent::thaw(&replayed.freeze());
                    replayed = thawed.map_err(|why| self.diverged(&host.name, &why))?;
                }
                effects.list.clear();
                replayed.step(input.clone(), &mut effects);
            }
            if replayed.digest() != agent.digest() || replayed.freeze() != agent.freeze() {
                let why = format!("after {} inputs it is another", inputs.len());
                return Err(self.diverged(&host.name, &why));
            }
        }
        Ok(())
    }

    fn diverged(&self, name: &str, why: &str) -> Violation {
        let message = format!("{name} at {}: {why}", self.queue.now());
        Violation { checker: "replay_agrees", message }
    }
}
