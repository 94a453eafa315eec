//! Why an eval is: what made it, what each of its plans did, and how it ended.
//!
//! Invariants
//! - each plan is told with the scheduling that made it, if this agent led then.
use drover_core::fsm::Command;
use drover_core::types::{EvalId, Plan};

use super::super::history::{At, Planned};
use super::super::words;
use super::placed::{choice_of, compared};
use super::{Chain, EVALS_BACK_MAX, Link};

impl Chain<'_> {
    pub(super) fn of_eval(mut self, id: EvalId) -> Vec<Link> {
        self.eval(id, EVALS_BACK_MAX);
        for (at, index, command) in self.all_entries() {
            match &command {
                Command::ApplyPlan(plan) if plan.eval == id => {
                    let planned = self.planned(id, at);
                    self.push_entry(at, index, words::of_plan(self.state, plan));
                    self.placements(at, plan, planned);
                    self.failures(at, plan);
                }
                Command::FailEval { eval, why } if *eval == id => {
                    self.push_entry(at, index, format!("it fails: {why}"));
                }
                _ => (),
            }
        }
        self.end_of_eval(id);
        self.links
    }

    fn placements(&mut self, at: At, plan: &Plan, planned: Option<&Planned>) {
        for placement in &plan.placements {
            let (group, ordinal) = (placement.group, placement.ordinal);
            let name =
                words::alloc_name(self.state, plan.job, plan.version_of(placement), group, ordinal);
            let node = words::slot(self.state, placement.slot);
            let how = compared(placement.note, choice_of(planned, group, ordinal));
            self.push(Some(at), None, format!("{name} goes to {node}, {how}"));
        }
    }

    fn end_of_eval(&mut self, id: EvalId) {
        let what = match self.state.eval(id) {
            None => "the servers have forgotten it".to_owned(),
            Some(row) => {
                let mut what = format!("at the end: {:?}", row.status).to_lowercase();
                if !row.status_description.is_empty() {
                    what.push_str(&format!(" ({})", row.status_description));
                }
                let others =
                    [("goes on in", row.next), ("what found no room waits in", row.blocked)];
                for (word, other) in others {
                    if let Some(other) = other {
                        what.push_str(&format!("; {word} {}", words::eval(self.state, other)));
                    }
                }
                what
            }
        };
        self.push(None, None, what);
    }
}
