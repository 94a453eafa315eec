//! What would become of the cluster if something happened to it: on a copy of the state, with the code
//! that decides in earnest.
//!
//! What is supposed is entered like any command; then every evaluation is scheduled, and clients are
//! taken to end at once what they are told to stop. New versions that wait for their allocs to be
//! healthy stay where they are: a forecast knows no tasks.
//!
//! Invariants
//! - nothing of it is proposed or kept;
//! - it ends: each round ends allocs or wakes evaluations that can be placed further, and rounds are
//!   bounded.
pub mod rebalance;
mod supposition;
mod told;

use drover_core::fsm::{self, Command, Entry, Outcome};
use drover_core::limits::{PLACEMENTS_PER_STEP_MAX, ROWS_PER_COMMAND_MAX};
use drover_core::planner::{self, InFlight};
use drover_core::scheduler::{Memo, View, schedule_with};
use drover_core::state::State;
use drover_core::types::{
    AllocId, AllocUpdate, ClientStatus, DesiredStatus, EvalId, Evaluation, NodeId, NodeStatus,
};

pub use self::supposition::{Supposition, find_node};
pub use self::told::{Move, Told, Unplaced};

/// Chance decides between equal nodes only.
const SEED: u64 = 1;
/// Allocs that end make room, for which others are placed, and so on.
const ROUNDS_MAX: usize = 64;
/// Plans of one round.
const PLANS_MAX: usize = 100_000;

/// A state of its own, in which things happen.
#[derive(Debug)]
pub struct Forecast {
    before: State,
    state: State,
    memo: Memo,
}

impl Forecast {
    /// From what is.
    #[must_use]
    pub fn of(state: State) -> Self {
        Self { before: state.clone(), state, memo: Memo::default() }
    }

    /// The state as it would be.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// What has changed since the beginning.
    #[must_use]
    pub fn told(&self) -> Told {
        Told::between(&self.before, &self.state)
    }

    /// The state as it would be, for whoever goes on from there.
    #[must_use]
    pub fn into_state(self) -> State {
        self.state
    }

    /// Let it happen, and everything that follows from it.
    ///
    /// # Errors
    /// What is wrong with the supposition, for whoever wrote it.
    pub fn suppose(&mut self, what: &Supposition) -> Result<(), String> {
        for command in what.commands(&self.state)? {
            if let Outcome::Refused(why) = self.enter(command) {
                return Err(format!("{what}: {why:?}"));
            }
        }
        self.settle();
        Ok(())
    }

    fn enter(&mut self, command: Command) -> Outcome {
        let entry = Entry { stamp: self.state.clock(), session: None, command };
        let index = self.state.index().next();
        fsm::apply(&mut self.state, index, &entry, &mut Vec::new())
    }

    fn settle(&mut self) {
        for round in 0..ROUNDS_MAX {
            self.schedule_all();
            let ended = self.end_what_is_stopped();
            // What is supposed may itself be that there is more room.
            let may_be_room = ended || round == 0;
            if !may_be_room || !self.wake_blocked() {
                return;
            }
        }
    }

    /// Every evaluation whose moment has come, the most important first.
    fn schedule_all(&mut self) {
        for _ in 0..PLANS_MAX {
            let clock = self.state.clock();
            let is_due = |eval: &&Evaluation| eval.wait_until.is_none_or(|at| at <= clock);
            let due = self.state.pending_evals().filter(is_due);
            let Some(eval) = due.min_by_key(|eval| (u8::MAX - eval.priority, eval.id)) else {
                return;
            };
            let (eval, in_flight) = (eval.clone(), InFlight::default());
            let view = View { state: &self.state, in_flight: &in_flight };
            let budget = PLACEMENTS_PER_STEP_MAX;
            let plan = schedule_with(&mut self.memo, &view, &eval, SEED, budget);
            let plan = planner::check(&view, plan);
            if let Outcome::Refused(why) = self.enter(Command::ApplyPlan(plan)) {
                let why = format!("{why:?}");
                self.enter(Command::FailEval { eval: eval.id, why });
            }
        }
    }

    /// Clients end what they must stop. Says whether there was anything.
    fn end_what_is_stopped(&mut self) -> bool {
        let reached = |node: NodeId| {
            self.state.node(node).is_some_and(|node| node.status != NodeStatus::Down)
        };
        let stopping = self.state.allocs().filter(|alloc| {
            let is_told = alloc.desired == DesiredStatus::Stop;
            is_told && !alloc.client_status.is_terminal() && reached(alloc.node)
        });
        let mut stopping: Vec<(NodeId, AllocId)> =
            stopping.map(|alloc| (alloc.node, alloc.id)).collect();
        stopping.sort_unstable();
        for of_node in stopping.chunk_by(|one, other| one.0 == other.0) {
            for some in of_node.chunks(ROWS_PER_COMMAND_MAX) {
                let updates = some.iter().map(|&(_, id)| ended(id)).collect();
                self.enter(Command::UpdateAllocs { node: some[0].0, updates });
            }
        }
        !stopping.is_empty()
    }

    /// There is more room than before. Says whether anybody waits for some.
    fn wake_blocked(&mut self) -> bool {
        let blocked: Vec<EvalId> = self.state.blocked_evals().map(|eval| eval.id).collect();
        for some in blocked.chunks(ROWS_PER_COMMAND_MAX) {
            let (evals, reason) = (some.to_vec(), "there may be room now".to_owned());
            self.enter(Command::UnblockEvals { evals, reason });
        }
        self.state.pending_evals().next().is_some()
    }
}

fn ended(id: AllocId) -> AllocUpdate {
    AllocUpdate {
        id,
        status: ClientStatus::Complete,
        description: String::new(),
        tasks: std::collections::BTreeMap::new(),
        health: None,
    }
}
