//! What a job or a group waits for, as far as the file itself says whether that makes sense.
use drover_core::limits::GATES_MAX;
use drover_core::types::{Gate, Group, JobSpec, Until};

use super::super::diagnostic::nearest;
use super::Check;

impl Check<'_> {
    pub(super) fn gates(&mut self, spec: &JobSpec) {
        self.gates_of(spec, None);
        for group in &spec.groups {
            self.inner(&format!("group[{}]", group.name)).gates_of(spec, Some(group));
        }
    }

    fn gates_of(&mut self, spec: &JobSpec, group: Option<&Group>) {
        let list = group.map_or(&spec.after, |group| &group.after);
        if GATES_MAX < list.len() {
            let why = format!("{} are more than {GATES_MAX}", list.len());
            self.wrong("after", why);
        }
        for (at, gate) in list.iter().enumerate() {
            self.inner(&format!("after[{at}]")).gate(spec, group, gate);
        }
    }

    fn gate(&mut self, spec: &JobSpec, group: Option<&Group>, gate: &Gate) {
        let awaited = match (&gate.job, &gate.group) {
            (None, None) => {
                let why = "names what is waited for: job = \"db\", or in a group group = \"cache\" \
                           for another group of this job";
                return self.wrong("job", why);
            }
            (Some(job), _) if *job == spec.id => {
                let why = "a job does not wait for itself: name another job, or in a group another \
                           group of this one";
                return self.wrong("job", why);
            }
            (Some(_), _) => return,
            (None, Some(awaited)) => awaited,
        };
        let Some(group) = group else {
            let why = "every group would wait for this one, and it for itself: put `after` into the \
                       groups that wait";
            return self.wrong("group", why);
        };
        let Some((_, target)) = spec.group(awaited) else {
            let names = spec.groups.iter().map(|group| group.name.as_str());
            let hint = nearest(awaited, names.clone()).map_or_else(
                || format!("its groups are {}", names.collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean \"{near}\"?"),
            );
            return self.wrong("group", format!("this job has no group \"{awaited}\"; {hint}"));
        };
        if let Some(round) = round(spec, group, target) {
            let why = format!("nothing of it would ever begin: {round}");
            return self.wrong("group", why);
        }
        if gate.until == Some(Until::Complete) && !spec.kind.ends() {
            let why = "this job runs until it is stopped and is never complete: wait until = \
                       \"healthy\", or make it a batch";
            self.wrong("until", why);
        }
    }
}

/// How `group`, which waits for `target`, waits for itself.
fn round(spec: &JobSpec, group: &Group, target: &Group) -> Option<String> {
    let mut ways = vec![vec![group.name.as_str(), target.name.as_str()]];
    let mut seen = Vec::new();
    while let Some(way) = ways.pop() {
        let last = way.last().copied()?;
        if last == group.name {
            return Some(way.join(" waits for "));
        }
        if seen.contains(&last) {
            continue;
        }
        seen.push(last);
        let (_, group) = spec.group(last)?;
        let own = group.after.iter().filter(|gate| gate.job.is_none());
        let next = own.filter_map(|gate| spec.group(gate.group.as_ref()?));
        ways.extend(next.map(|(_, next)| [way.as_slice(), &[next.name.as_str()]].concat()));
    }
    None
}
