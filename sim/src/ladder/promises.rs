//! What each checker holds, in a sentence for whoever reads a failure.
//!
//! Invariants
//! - every checker that can name itself in a violation has its sentence here.

/// By checker: what was promised.
pub const PROMISES: &[(&str, &str)] = &[
    (
        "children",
        "a moment of a calendar, and a token, makes one child, none beside one that must be alone, and none late",
    ),
    ("election_safety", "in each term at most one server leads"),
    ("log_matching", "logs that hold an entry of the same index and term are equal up to it"),
    ("leader_completeness", "whoever leads holds everything that was committed in earlier terms"),
    ("leader_commits_own_term", "a leader commits older entries only with one of its own term"),
    (
        "committed_is_durable",
        "what is committed is on the disks of a majority of the voters, and what a server acknowledges is on its own",
    ),
    (
        "state_machine_safety",
        "at the same index every server applies the same entry and has the same state",
    ),
    (
        "terms_and_indexes_grow",
        "terms and indexes never go back, and a term on disk is never forgotten",
    ),
    ("vote_is_kept", "a server votes once in a term, and its vote is on disk before it is said"),
    (
        "alloc_runs_once",
        "no task runs twice at the same time, and an alloc never moves to another node",
    ),
    ("node_not_oversubscribed", "no node is given more than it has, and no port twice"),
    (
        "linearizable",
        "all that callers asked and were told has one order in which it could have happened",
    ),
    (
        "no_lost_write",
        "what was acknowledged to a caller is in the log and stays true, and later reads see it",
    ),
    (
        "down_only_after_ttl",
        "a node is called down only after it was silent for its time-to-live and grace",
    ),
    (
        "down_only_if_sought",
        "a node is called down only after several servers have looked for it in vain",
    ),
    (
        "stopped_for_a_reason",
        "nothing is stopped unless the log says why: its job, its node, its end, or an operator",
    ),
    ("checks_had_passed", "nobody is called healthy by checks that have never passed"),
    ("advertised_is_running", "what stands in the catalog runs, and nobody has begun to stop it"),
    ("regions_meet", "after all faults servers of two regions know who of the other is there"),
    ("queues_are_bounded", "no queue is longer than its bound, and no row keeps more than it may"),
    ("deployment_is_earned", "a version takes over only when enough of its allocs are healthy"),
    ("plans_hold", "what a leader plans has room beside what it has planned before"),
    (
        "desired_is_running",
        "when all faults are over, what is wanted runs as wanted, and nothing else",
    ),
    ("min_healthy", "whoever is called healthy has run for as long as the policy says"),
    ("rebalances_end", "when all faults are over, no alloc waits to be moved to a better node"),
    ("gates_are_kept", "nothing new of a group is placed before its gates were open"),
    ("leanings_counted", "affinities and spreads are in the scores of what they placed"),
    ("pools_are_kept", "allocs are on nodes of the pool that their job names"),
    ("volumes_are_kept", "allocs are on nodes that have the volumes they ask for"),
    (
        "one_on_each_node",
        "a system job has at most one alloc of a group on a node, and none after one that is done",
    ),
    ("max_parallel", "an update replaces no more allocs at once than its policy says"),
    ("migrate", "drains take no more allocs of a group away at once than its policy says"),
    (
        "drains_end",
        "a drain is called complete when nothing runs on its node any more, and a deadline is kept",
    ),
    ("deployments_end", "when all faults are over, every deployment ends or waits for an operator"),
    ("eval_is_settled", "when all faults are over, every evaluation ends"),
    ("one_leader", "when all faults are over, every server is up and follows one leader"),
    ("states_equal", "when all faults are over, all servers have the same state"),
    ("everyone_votes", "when all faults are over, every server that is there votes"),
    ("everyone_is_ready", "when all faults are over, every client that is there is ready"),
    ("answered_once", "every request is answered, once"),
    ("order_is_kept", "what an operator was told to be done is done"),
    ("one_cluster", "a server never leaves its cluster for another"),
    ("shadow_agrees", "the copy that writes snapshots has the same state as the server"),
    ("recovery", "a server can read its own disk after every crash"),
    ("rot_is_noticed", "damage to a log is noticed when it is read"),
    ("wire", "a message is read as it was written, and accepted by whoever it is for"),
    ("left_is_out", "a server that left with grace does not count until it starts again"),
    ("leaves_end", "an agent that is told to go goes"),
    ("halt", "an agent stops itself only when its disk fails"),
    ("panic", "no assertion of the program fails"),
    ("replay_agrees", "an agent's inputs, stepped again, make the same agent"),
    ("determinism", "two runs of one plan are the same run"),
];

/// What `checker` holds.
#[must_use]
pub fn of(checker: &str) -> &'static str {
    let known = PROMISES.iter().find(|(name, _)| *name == checker);
    known.map_or("what its name says", |(_, promise)| promise)
}
