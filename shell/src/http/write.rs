//! Writes: to the core, and back once this server's readers can see them.
//!
//! Invariants
//! - who is told of success can read it here.
use std::time::Duration;

use drover_core::api::{Rejection, Request, Response as Said};
use drover_core::types::{EvalId, Index, JobId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::answer::{self, Failure};
use super::{Answer, Http};

/// How long a write's answer is held back for the shadow.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a request waits for a leader to be elected (Nomad's `rpc_hold_timeout`).
const ELECTION_PATIENCE: Duration = Duration::from_secs(5);
const LEADER_LOOK: Duration = Duration::from_millis(50);

/// A write that was done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Applied {
    pub(super) index: Index,
    pub(super) eval: Option<EvalId>,
    pub(super) job: Option<JobId>,
}

impl Http {
    /// Ask the core. While there is no leader nothing is done, so it is asked again: an election is
    /// short, and callers should not have to know of it.
    pub(super) async fn ask(&self, request: Request) -> Result<Said, Rejection> {
        let until = Instant::now() + ELECTION_PATIENCE;
        loop {
            let answer = self.api.core.request(request.clone()).await;
            let is_leaderless = matches!(answer, Err(Rejection::NotLeader { .. }));
            if !is_leaderless || until <= Instant::now() {
                return answer;
            }
            tokio::time::sleep(LEADER_LOOK).await;
        }
    }

    /// Ask the core, and wait until the shadow has it.
    pub(super) async fn submit(&self, request: Request) -> Result<Applied, Rejection> {
        let applied = match self.ask(request).await? {
            Said::Applied { index, eval, job } => Applied { index, eval, job },
            Said::ReadPoint { index } => Applied { index, eval: None, job: None },
        };
        if let Some(shadow) = &self.api.shadow
            && !shadow.wait_for(applied.index, PATIENCE).await
        {
            tracing::warn!("the shadow is behind index {}", applied.index.0);
        }
        Ok(applied)
    }

    /// How users see the evaluation that a write made; empty if it made none.
    pub(super) fn eval_uuid(&self, applied: Applied) -> Result<String, Failure> {
        let state = self.shadow()?.read();
        Ok(applied.eval.map(|EvalId(id)| state.uuid(id).to_string()).unwrap_or_default())
    }
}

/// The answer to a write at `index`.
pub(super) fn written(index: Index, body: &impl Serialize) -> Answer {
    let mut response = answer::json(body)?;
    answer::set_index(&mut response, index);
    Ok(response)
}

/// The body of a request as JSON. An empty one means the default.
pub(super) fn body<T: DeserializeOwned + Default>(bytes: &[u8]) -> Result<T, Failure> {
    if bytes.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(bytes).map_err(|why| Failure::bad(format!("the body: {why}")))
}
