//! What makes a job's launches and scaling wrong.
use std::path::{Component, Path};

use drover_core::cron::{Calendar, Cron};
use drover_core::time::WallTime;
use drover_core::types::{Group, JobKind, JobSpec, Launch, Parameterized, Periodic, Task};

use super::Check;

/// More expressions than anybody reads.
const CRONS_MAX: usize = 32;

impl Check<'_> {
    pub(super) fn launch(&mut self, spec: &JobSpec) {
        let block = match &spec.launch {
            Launch::AtOnce => {
                self.no_payloads(spec);
                return;
            }
            Launch::Periodic(periodic) => {
                self.inner("periodic").periodic(periodic);
                self.no_payloads(spec);
                "periodic"
            }
            Launch::Parameterized(rules) => {
                self.inner("parameterized").parameterized(rules);
                "parameterized"
            }
        };
        let (written, instead) = match spec.kind {
            JobKind::Service => ("service", "batch"),
            JobKind::System => ("system", "sysbatch"),
            JobKind::Batch | JobKind::Sysbatch => return,
        };
        let why = format!(
            "a {block} job ends by itself: write type = \"{instead}\", or drop `{block}` from the \
             {written}"
        );
        self.wrong("type", why);
    }

    fn periodic(&mut self, periodic: &Periodic) {
        if periodic.crons.is_empty() {
            self.wrong("cron", "says when: cron = \"*/15 * * * *\", or crons = [...]");
        }
        if CRONS_MAX < periodic.crons.len() {
            self.wrong("cron", format!("at most {CRONS_MAX} expressions"));
        }
        for text in &periodic.crons {
            if let Err(why) = Cron::parse(text) {
                self.wrong("cron", why);
            }
        }
        let calendar = Calendar::of(periodic);
        let ends = calendar.is_ok_and(|all| all.next_after(WallTime::default()).is_none());
        if ends && !periodic.crons.is_empty() {
            self.wrong("cron", "no day of any year is meant by this: look at day and month");
        }
    }

    fn parameterized(&mut self, rules: &Parameterized) {
        for (name, list) in
            [("meta_required", &rules.meta_required), ("meta_optional", &rules.meta_optional)]
        {
            let odd = |key: &&String| key.is_empty() || key.contains(char::is_whitespace);
            if list.iter().any(|key| odd(&key)) {
                self.wrong(name, "a key of meta is a word without blanks");
            }
        }
        if let Some(both) = rules.meta_required.intersection(&rules.meta_optional).next() {
            let why = format!("\"{both}\" is required too: drop it from one of the two");
            self.wrong("meta_optional", why);
        }
    }

    /// A payload comes by dispatch only.
    fn no_payloads(&mut self, spec: &JobSpec) {
        let tasks = spec.groups.iter().flat_map(|group| {
            let at = move |task| (format!("group[{}]", group.name), task);
            group.tasks.iter().map(at)
        });
        for (group, task) in tasks.filter(|(_, task): &(_, &Task)| !task.payload_file.is_empty()) {
            let field = format!("{group}.task[{}].dispatch_payload", task.name);
            self.wrong(&field, "only a parameterized job gets a payload: add parameterized {}");
        }
    }

    pub(super) fn payload_file(&mut self, task: &Task) {
        let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !Path::new(&task.payload_file).components().all(inside) {
            let why = "the file is in the task's local/ directory: write a path that stays there";
            self.wrong("dispatch_payload.file", why);
        }
    }

    pub(super) fn scaling(&mut self, group: &Group) {
        let Some(scaling) = &group.scaling else { return };
        let mut inner = self.inner("scaling");
        if scaling.max < scaling.min {
            let why = format!("{} is less than min, {}", scaling.max, scaling.min);
            inner.wrong("max", why);
        } else if !(scaling.min..=scaling.max).contains(&group.count) {
            let (min, max) = (scaling.min, scaling.max);
            let why = format!("{} is not between scaling.min, {min}, and max, {max}", group.count);
            self.wrong("count", why);
        }
    }
}
