//! Why an alloc is where and what it is: its eval, its plan, what its node did, how it ended.
//!
//! Invariants
//! - what happens to its job or its node is told where it matters to the alloc.
use std::collections::BTreeSet;

use drover_core::fsm::Command;
use drover_core::types::{AllocId, Plan};

use super::super::history::{KnownAlloc, made_at};
use super::super::words;
use super::placed::{choice_of, compared};
use super::{Chain, EVALS_BACK_MAX, Link};

impl Chain<'_> {
    pub(super) fn of_alloc(mut self, alloc: &KnownAlloc) -> Vec<Link> {
        self.eval(alloc.row.eval, EVALS_BACK_MAX);
        self.placement(alloc);
        // What followed comes from two places: the log, and what the client did.
        let until_placed = self.links.len();
        self.entries_about(alloc);
        let mut said = BTreeSet::new();
        for one in self.history.happened.iter().filter(|one| one.alloc == alloc.row.id) {
            // Work is told again until it is acknowledged.
            if said.insert(&one.what) {
                self.push(Some(one.at), None, one.what.clone());
            }
        }
        self.links[until_placed..].sort_by_key(|link| link.at);
        self.end_of_alloc(alloc);
        self.links
    }

    fn placement(&mut self, alloc: &KnownAlloc) {
        let index = made_at(alloc.row.id.0);
        let Some((at, Command::ApplyPlan(plan))) = self.history.entry_at(index) else {
            return self.push(alloc.at, Some(index), format!("placed on {}", alloc.node));
        };
        let planned = self.planned(alloc.row.eval, at);
        let choice = choice_of(planned, alloc.row.group, alloc.row.ordinal);
        let how = compared(alloc.row.placed, choice);
        let mut what = format!("plan: {} goes to {}, {how}", alloc.name, alloc.node);
        if let Some(previous) = alloc.row.previous {
            let stop = plan.stops.iter().find(|stop| stop.alloc == previous);
            let why = stop.map_or("it had ended", |stop| words::of_reason(stop.reason));
            what.push_str(&format!("; in place of {} ({why})", self.name_of(previous)));
        }
        self.push_entry(at, index, what);
        self.failures(at, &plan);
    }

    fn name_of(&self, id: AllocId) -> String {
        let known = self.history.allocs.get(&id);
        known.map_or_else(|| words::alloc(self.state, id), |known| known.uuid[..8].to_owned())
    }

    /// What the log says of it after it was placed. What happens to its job or node is told until the
    /// last thing that happens to the alloc itself.
    fn entries_about(&mut self, alloc: &KnownAlloc) {
        let id = alloc.row.id;
        let mut around = Vec::new();
        let mut reported = String::new();
        for (at, index, command) in self.all_entries() {
            if index <= made_at(id.0) {
                continue;
            }
            if let Some(what) = self.around(alloc, &command) {
                around.push((at, index, what));
            }
            let Some(what) = self.about(id, &command) else { continue };
            // A client says again how all its tasks are when one event is added.
            let is_news = what != reported;
            if matches!(command, Command::UpdateAllocs { .. }) {
                reported.clone_from(&what);
            }
            if !is_news {
                continue;
            }
            for (at, index, what) in around.drain(..) {
                self.last_heard(at, index, alloc.row.node);
                self.push_entry(at, index, what);
            }
            self.push_entry(at, index, what);
        }
    }

    /// What an entry does to the alloc.
    fn about(&self, id: AllocId, command: &Command) -> Option<String> {
        match command {
            Command::UpdateAllocs { updates, .. } => {
                let update = updates.iter().find(|update| update.id == id)?;
                let status = format!("{:?}", update.status).to_lowercase();
                let why = match update.description.as_str() {
                    "" => String::new(),
                    why => format!(": {}", why.to_lowercase()),
                };
                Some(format!("the servers learn that it is {status}{why}"))
            }
            Command::StopAlloc { alloc } => {
                (*alloc == id).then(|| "an operator stops it".to_owned())
            }
            Command::ApplyPlan(plan) => self.in_plan(id, plan),
            _ => None,
        }
    }

    /// What an entry does to its job or its node.
    fn around(&self, alloc: &KnownAlloc, command: &Command) -> Option<String> {
        let is_its = match command {
            Command::DeregisterJob { job, .. } => *job == alloc.job,
            Command::RegisterJob { spec, .. } => spec.id == alloc.job,
            Command::SetNodeStatus { nodes, .. } => nodes.contains(&alloc.row.node),
            _ => false,
        };
        is_its.then(|| words::of_command(self.state, command))
    }

    fn in_plan(&self, id: AllocId, plan: &Plan) -> Option<String> {
        let eval = words::eval(self.state, plan.eval);
        if let Some(stop) = plan.stops.iter().find(|stop| stop.alloc == id) {
            let why = words::of_reason(stop.reason);
            return Some(format!("a plan stops it, eval {eval}: {why}"));
        }
        let successor = plan.placements.iter().find(|placed| placed.previous == Some(id))?;
        Some(format!(
            "another takes its place, eval {eval}: {}",
            words::of_placement(self.state, plan, successor)
        ))
    }

    /// What it is at the end.
    fn end_of_alloc(&mut self, alloc: &KnownAlloc) {
        let what = match self.state.alloc(alloc.row.id) {
            None => "the servers have forgotten it".to_owned(),
            Some(row) => {
                let about = if row.desired_description.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", row.desired_description)
                };
                let (desired, status) = (row.desired, row.client_status);
                format!("at the end: wanted to {desired:?}{about}, {status:?}").to_lowercase()
            }
        };
        self.push(None, None, what);
    }
}
