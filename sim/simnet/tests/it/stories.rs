//! Plans that tell one story each, played with several seeds on both grounds, each run twice.
use drover_sim::counters::Counters;
use drover_sim::plan::Plan;
use drover_simnet::scenario::{Report, play};
use drover_simnet::substrate::Ground;

const SEEDS_SIMNET: u64 = 8;
const SEEDS_TURMOIL: u64 = 2;

/// Plays `text` for every seed; `happened` says whether a run was what the story is about.
fn tell(text: &str, happened: fn(&Counters) -> bool) {
    let plan = Plan::parse(text).expect("it is a plan");
    for (ground, seeds) in [(Ground::Simnet, SEEDS_SIMNET), (Ground::Turmoil, SEEDS_TURMOIL)] {
        for seed in 1..=seeds {
            let plan = Plan { seed, ..plan.clone() };
            let report = played(&plan, ground);
            assert!(happened(&report.counters), "seed {seed} on {ground:?}: {:?}", report.counters);
            let again = play(&plan, ground, 0);
            assert_eq!(report.digest, again.digest, "seed {seed} on {ground:?}");
        }
    }
}

/// What held, or the whole story of what did not.
fn played(plan: &Plan, ground: Ground) -> Report {
    let report = play(plan, ground, 60);
    if let Some(failure) = &report.failure {
        let (ladder, seed) = (failure.ladder.join("\n"), plan.seed);
        let (checker, at, message) = (failure.checker, failure.at, &failure.message);
        panic!("{ladder}\n{checker} at {at}: {message}\nseed {seed} on {ground:?}\n{plan}");
    }
    report
}

#[test]
fn three_servers_found_a_cluster_and_run_a_job() {
    tell(include_str!("../../plans/bootstrap.plan"), |seen| {
        seen.leader_changes == 1 && seen.requests_done == 1 && seen.tasks_started == 2
    });
}

#[test]
fn a_server_joins() {
    tell(include_str!("../../plans/join.plan"), |seen| {
        seen.power_failures == 1 && seen.tasks_started == 3
    });
}

#[test]
fn leaders_follow_each_other() {
    tell(include_str!("../../plans/lead.plan"), |seen| {
        3 <= seen.leader_changes && seen.crashes == 1 && seen.orders_done == 1
    });
}

#[test]
fn leaders_are_cut_off_in_each_direction() {
    tell(include_str!("../../plans/cut.plan"), |seen| {
        4 <= seen.leader_changes && seen.partitions == 4 && 2 <= seen.tasks_started
    });
}

#[test]
fn machines_lose_power_while_they_write() {
    tell(include_str!("../../plans/power.plan"), |seen| {
        seen.power_failures == 6 && seen.restarts == 6 && 5 <= seen.tasks_started
    });
}

#[test]
fn a_quarter_of_all_packets_is_lost() {
    tell(include_str!("../../plans/loss.plan"), |seen| {
        seen.crashes == 1 && 2 <= seen.tasks_started
    });
}

#[test]
fn every_server_is_restarted_in_turn() {
    tell(include_str!("../../plans/rolling.plan"), |seen| {
        seen.restarts == 3 && 2 <= seen.leader_changes && 3 <= seen.tasks_started
    });
}

#[test]
fn everything_about_packets_and_disks_is_rough() {
    tell(include_str!("../../plans/rough.plan"), |seen| {
        seen.halts == 1
            && seen.disk_faults == 1
            && seen.clock_jumps == 1
            && 1 <= seen.snapshots_saved
    });
}

#[test]
fn servers_lose_their_disks_and_begin_anew() {
    tell(include_str!("../../plans/losses.plan"), |seen| {
        let damaged = seen.logs_rotted + seen.writes_lost + seen.writes_misdirected;
        seen.disks_lost == 1 && 1 <= damaged && seen.halts == 0 && 3 <= seen.tasks_started
    });
}

#[test]
fn an_operator_goes_back_to_what_was_saved() {
    tell(include_str!("../../plans/saved.plan"), |seen| {
        1 <= seen.states_restored && seen.crashes == 1 && 2 <= seen.reads
    });
}

#[test]
fn links_and_processors_are_slow() {
    tell(include_str!("../../plans/slow.plan"), |seen| {
        seen.links_slowed == 1 && seen.links_lossy == 1 && 3 <= seen.tasks_started
    });
}
