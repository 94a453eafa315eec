//! Cutting a failing plan down to the lines that make it fail (Zeller, Hildebrandt: Simplifying and
//! Isolating Failure-Inducing Input, 2002).
//!
//! Invariants
//! - what is left fails by the same checker as the whole.
use crate::plan::{Knobs, Plan};
use crate::run::{Options, run_plan};

/// Seeds with which a smaller plan is tried.
const SEEDS_TRIED: u64 = 8;

/// A smaller plan that fails by the same checker, found with at most `runs_max` runs. `None`: the plan
/// does not fail.
#[must_use]
pub fn shrink(plan: &Plan, options: &Options, runs_max: u64) -> Option<Plan> {
    let options = Options { ladder_lines: 0, ..*options };
    let checker = run_plan(plan, &options).failure?.checker;
    let mut search = Search { options, checker, best: plan.clone(), runs_left: runs_max };
    search.shorten();
    loop {
        let before = search.best.clone();
        search.drop_lines();
        search.calm_knobs();
        search.drop_hosts();
        if search.best == before || search.runs_left == 0 {
            break;
        }
    }
    search.halve_numbers();
    search.drop_lines();
    Some(search.best)
}

struct Search {
    options: Options,
    checker: &'static str,
    best: Plan,
    runs_left: u64,
}

impl Search {
    /// Take `plan` if it still fails the same way, with this chance or another: when a line is gone, all
    /// that comes after it is drawn for other ids, and what failed by chance may fail by another.
    fn try_plan(&mut self, plan: Plan) -> bool {
        (0..SEEDS_TRIED).any(|nth| {
            let seed = plan.seed.wrapping_add(nth);
            self.try_once(Plan { seed, ..plan.clone() })
        })
    }

    fn try_once(&mut self, plan: Plan) -> bool {
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

    fn drop_hosts(&mut self) {
        if 0 < self.best.spares && !self.best.lines.iter().any(|line| line.joins().is_some()) {
            self.try_plan(Plan { spares: 0, ..self.best.clone() });
        }
        self.drop_clients();
        self.drop_servers();
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

    /// Five servers, three, one: so many as a cluster would have.
    fn drop_servers(&mut self) {
        while 2 < self.best.servers {
            let mut plan = self.best.clone();
            plan.servers -= 2;
            if !self.try_plan(plan) {
                return;
            }
        }
    }

    /// Every number of every fault and request, as far down as it goes.
    fn halve_numbers(&mut self) {
        let mut line = 0;
        while line < self.best.lines.len() {
            let mut word = 1;
            while let Some(halved) = halved(&self.best, line, word) {
                if halved.is_none_or(|plan| !self.try_once(plan)) {
                    word += 1;
                }
            }
            line += 1;
        }
    }
}

/// The plan with a word of a line halved. `None`: the line has no such word; `Some(None)`: the word has
/// nothing to halve. The moment of a line, its first word, stays.
#[expect(clippy::option_option, reason = "the end of a line is not the same as a word in it")]
fn halved(plan: &Plan, line: usize, word: usize) -> Option<Option<Plan>> {
    let text = plan.lines.get(line)?.to_string();
    let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let old = words.get(word)?;
    let at = old.find(|char: char| char.is_ascii_digit());
    let is_name = at.is_some_and(|at| 0 < at && !old[..at].ends_with('='));
    let Some(at) = at.filter(|_| !is_name) else { return Some(None) };
    let (name, number) = old.split_at(at);
    let smaller = match number.strip_suffix('s').and_then(|seconds| seconds.split_once('.')) {
        Some((whole, thousandths)) => {
            let ms = format!("{whole}{thousandths}").parse::<u64>().ok().map(|ms| ms / 2);
            ms.map(|ms| format!("{name}{}.{:03}s", ms / 1_000, ms % 1_000))
        }
        None => number.parse::<u64>().ok().map(|number| format!("{name}{}", number / 2)),
    };
    let Some(smaller) = smaller.filter(|smaller| smaller != old) else { return Some(None) };
    words[word] = smaller;
    let head = Plan { lines: Vec::new(), ..plan.clone() }.to_string();
    let read = Plan::parse(&format!("{head}{}\n", words.join(" ")));
    let read = read.ok().and_then(|read| read.lines.into_iter().next());
    Some(read.map(|read| {
        let mut smaller = plan.clone();
        smaller.lines[line] = read;
        smaller
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_halved_and_names_and_moments_are_not() {
        let text = "seed 1\nfaults-until 9.000s\n4.000s crash s2 for 3.001s\n\
                    5.000s register job4 service anywhere count=5 tasks=1 cpu=100 memory=64 ports=0 \
                    fixed=0 mark=1\n";
        let plan = Plan::parse(text).expect("it is a plan");
        let shown = |line: usize, word: usize| {
            halved(&plan, line, word).map(|plan| plan.map(|plan| plan.lines[line].to_string()))
        };
        assert_eq!(shown(0, 2), Some(None), "s2 is a name");
        assert_eq!(shown(0, 4), Some(Some("4.000s crash s2 for 1.500s".to_owned())));
        assert_eq!(shown(0, 5), None);
        assert_eq!(shown(1, 2), Some(None), "job4 is a name");
        let counted = shown(1, 5).flatten().expect("a count can be halved");
        assert!(counted.contains("count=2"), "{counted}");
    }
}
