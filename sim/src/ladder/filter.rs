//! Which rungs a reader wants to see.
//!
//! Invariants
//! - what broke is always shown.
use super::names::Names;
use super::rung::{Kind, Rung};

/// Empty: everything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filter {
    /// Names of hosts.
    pub hosts: Vec<String>,
    /// Names of jobs.
    pub jobs: Vec<String>,
    /// Beginnings of ids, or names.
    pub allocs: Vec<String>,
    pub kinds: Vec<Kind>,
}

/// What one needs to see of consensus, and of work.
const OF_CONSENSUS: &[Kind] = &[
    Kind::Fault,
    Kind::Election,
    Kind::Commit,
    Kind::Plan,
    Kind::Request,
    Kind::Raft,
    Kind::Disk,
    Kind::Snapshot,
    Kind::Timer,
];
const OF_WORK: &[Kind] =
    &[Kind::Fault, Kind::Election, Kind::Commit, Kind::Plan, Kind::Request, Kind::Task, Kind::Work];

/// All but who is there and lives.
const NO_CHATTER: &[Kind] = &[
    Kind::Fault,
    Kind::Election,
    Kind::Commit,
    Kind::Plan,
    Kind::Request,
    Kind::Task,
    Kind::Raft,
    Kind::Work,
    Kind::Disk,
    Kind::Snapshot,
    Kind::Timer,
];

impl Filter {
    /// What one needs to see to understand why `checker` fired.
    #[must_use]
    pub fn of_checker(checker: &str) -> Self {
        let kinds = match checker {
            "election_safety"
            | "log_matching"
            | "leader_completeness"
            | "leader_commits_own_term"
            | "committed_is_durable"
            | "state_machine_safety"
            | "terms_and_indexes_grow"
            | "vote_is_kept"
            | "linearizable"
            | "no_lost_write"
            | "one_leader"
            | "states_equal"
            | "everyone_votes"
            | "everyone_is_ready"
            | "order_is_kept"
            | "shadow_agrees"
            | "recovery"
            | "rot_is_noticed" => OF_CONSENSUS,
            "alloc_runs_once"
            | "node_not_oversubscribed"
            | "down_only_after_ttl"
            | "down_only_if_sought"
            | "stopped_for_a_reason"
            | "desired_is_running"
            | "gates_are_kept"
            | "leanings_counted"
            | "pools_are_kept"
            | "volumes_are_kept"
            | "max_parallel"
            | "min_healthy"
            | "migrate"
            | "drains_end"
            | "deployments_end"
            | "eval_is_settled" => OF_WORK,
            _ => NO_CHATTER,
        };
        Self { kinds: kinds.to_vec(), ..Self::default() }
    }

    /// Whether the reader wants to see `rung`.
    #[must_use]
    pub fn takes(&self, rung: &Rung, names: &Names) -> bool {
        if rung.kind == Kind::Checker {
            return true;
        }
        let is_host = |wanted: &String| {
            let hosts = [rung.host, rung.peer];
            hosts.into_iter().flatten().any(|host| names.host(host) == wanted)
        };
        let is_for_all = rung.kind == Kind::Fault && rung.host.is_none();
        let is_job = |wanted: &String| rung.jobs.iter().any(|job| **job == **wanted);
        let is_alloc = |wanted: &String| {
            rung.allocs.iter().filter_map(|&id| names.known_alloc(id)).any(|alloc| {
                alloc.short.starts_with(&**wanted)
                    || wanted.starts_with(&alloc.short)
                    || alloc.name == *wanted
            })
        };
        (self.kinds.is_empty() || self.kinds.contains(&rung.kind))
            && (self.hosts.is_empty() || is_for_all || self.hosts.iter().any(is_host))
            && (self.jobs.is_empty() || self.jobs.iter().any(is_job))
            && (self.allocs.is_empty() || self.allocs.iter().any(is_alloc))
    }
}
