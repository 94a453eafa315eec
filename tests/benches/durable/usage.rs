//! What processes have used, thread by thread, as the system counts it.
use std::collections::BTreeMap;
use std::fs;

use crate::Measured;

/// Of all threads with one name.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    pub(crate) cpu_ns: u64,
    /// Times that a thread waited for something and went on.
    pub(crate) wakes: u64,
}

/// By the names of threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage(pub(crate) BTreeMap<String, Used>);

impl Usage {
    pub(crate) fn of(pid: u32) -> Measured<Self> {
        let threads = format!("/proc/{pid}/task");
        let list = fs::read_dir(&threads).map_err(|why| format!("{threads}: {why}"))?;
        let mut usage = Self::default();
        for thread in list.flatten() {
            // A thread may end while it is looked at: then it says nothing.
            let text = |name: &str| fs::read_to_string(thread.path().join(name)).ok();
            let (Some(name), Some(ran)) = (text("comm"), text("schedstat")) else { continue };
            let fields = text("status").unwrap_or_default();
            let field = |name: &str| {
                let value = fields.lines().find_map(|line| line.strip_prefix(name));
                value.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or(0)
            };
            let used = usage.0.entry(name.trim().to_owned()).or_default();
            used.cpu_ns += ran.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
            used.wakes += field("voluntary_ctxt_switches:");
        }
        Ok(usage)
    }

    /// What was used since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let of = |(name, now): (&String, &Used)| {
            let then = before.0.get(name).copied().unwrap_or_default();
            let used = Used {
                cpu_ns: now.cpu_ns.saturating_sub(then.cpu_ns),
                wakes: now.wakes.saturating_sub(then.wakes),
            };
            (name.clone(), used)
        };
        Self(self.0.iter().map(of).collect())
    }

    pub(crate) fn cpu_ns(&self) -> u64 {
        self.0.values().map(|used| used.cpu_ns).sum()
    }

    pub(crate) fn named(&self, name: &str) -> Used {
        self.0.get(name).copied().unwrap_or_default()
    }
}
