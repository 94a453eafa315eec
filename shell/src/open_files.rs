//! How many files this process may have open.
//!
//! Invariants
//! - the limit is raised once, and what it was before is remembered for tasks.
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

static BEFORE: OnceLock<Option<u64>> = OnceLock::new();

/// A connection costs the agent a descriptor, and so does a task that it watches: it takes all that it may
/// have. Answers the limit before: the one for tasks, as programs that still use `select` rely on it.
pub(crate) fn raise() -> Option<u64> {
    *BEFORE.get_or_init(|| {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).ok();
        limit.current
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_and_tasks_are_told_the_one_before() {
        let limit = getrlimit(Resource::Nofile);
        // Only a little lower: others run beside this test.
        let low = limit.maximum.map_or(1 << 16, |maximum| maximum - 1);
        setrlimit(Resource::Nofile, Rlimit { current: Some(low), ..limit }).unwrap();
        assert_eq!((raise(), raise()), (Some(low), Some(low)));
        assert_eq!(getrlimit(Resource::Nofile).current, limit.maximum);
    }
}
