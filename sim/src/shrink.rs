//! Cutting a failing plan down to the lines that make it fail (Zeller, Hildebrandt: Simplifying and
//! Isolating Failure-Inducing Input, 2002).
//!
//! Invariants
//! - what is left fails by the same checker as the whole.
use crate::plan::{Knobs, Plan};
use crate::run::{Options, run_plan};

/// A smaller plan that fails by the same checker, found with at most `runs_max` runs. `None`: the plan
/// does not fail.
#[must_use]
pub fn shrink(plan: &Plan, options: &Options, runs_max: u64) -> Option<Plan> {
    let options = Options { ladder_lines: 0, ..*options };
    let checker = run_plan(plan, &options).failure?.checker;
    let mut search = Search { options, checker, best: plan.clone(), runs_left: runs_max };
    search.shorten();
    search.drop_lines();
    search.calm_knobs();
    search.drop_clients();
    Some(search.best)
}

struct Search {
    options: Options,
    checker: &'static str,
    best: Plan,
    runs_left: u64,
}

impl Search {
    /// Take `plan` if it still fails the same way.
    fn try_plan(&mut self, plan: Plan) -> bool {
        if self.runs_left == 0 {
            return false;
        }
        self.runs_left -= 1;
        let failure = run_plan(&plan, &self.options).failure;
        let is_same = failure.is_some_and(|failure| failure.checker == self.checker);
        if is_same {
            self.best = plan;
        }
        is_same
    }

    fn shorten(&mut self) {
        while 0 < self.best.faults_until_ms {
            let until_ms = self.best.faults_until_ms / 2;
            let mut plan = self.best.clone();
            plan.faults_until_ms = until_ms;
            plan.lines.retain(|line| line.at_ms < until_ms);
            if !self.try_plan(plan) {
                return;
            }
        }
    }

    fn drop_lines(&mut self) {
        let mut chunk = self.best.lines.len() / 2;
        while 0 < chunk && 0 < self.runs_left {
            let mut at = 0;
            while at < self.best.lines.len() && 0 < self.runs_left {
                let mut plan = self.best.clone();
                let end = plan.lines.len().min(at + chunk);
                plan.lines.drain(at..end);
                if !self.try_plan(plan) {
                    at += chunk;
                }
            }
            chunk /= 2;
        }
    }

    fn calm_knobs(&mut self) {
        for (name, calm) in Knobs::default().list() {
            let mut plan = self.best.clone();
            let Some(knob) = plan.knobs.named(name) else { continue };
            if *knob != calm {
                *knob = calm;
                self.try_plan(plan);
            }
        }
    }

    fn drop_clients(&mut self) {
        while 1 < self.best.clients {
            let mut plan = self.best.clone();
            plan.clients -= 1;
            if !self.try_plan(plan) {
                return;
            }
        }
    }
}
