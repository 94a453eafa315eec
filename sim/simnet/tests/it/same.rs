//! Every run repeats: in one process, in others, and whatever ran before.
use std::process::Command;

use drover_core::digest::Digest;
use drover_sim::plan::Plan;
use drover_sim::plan::draw::Size;
use drover_simnet::scenario::play;
use drover_simnet::substrate::Ground;

const SIZE: Size = Size { servers: 3, clients: 1, fault_ms: 30_000 };

fn digest_of(seed: u64, ground: Ground) -> Digest {
    let report = play(&Plan::draw(seed, SIZE), ground, 0);
    assert!(report.failure.is_none(), "seed {seed} on {ground:?}: {:?}", report.failure);
    report.digest
}

/// As a process of its own says it.
fn digest_elsewhere(seed: u64, ground: Ground) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drover-simnet"));
    if ground == Ground::Turmoil {
        command.arg("--turmoil");
    }
    let seconds = (SIZE.fault_ms / 1_000).to_string();
    let output =
        command.args(["--seconds", &seconds, &seed.to_string()]).output().expect("it runs");
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).expect("it is text");
    said.split_whitespace().nth(2).expect("a digest").to_owned()
}

#[test]
fn a_seed_gives_the_same_run_in_one_process_and_in_others() {
    for ground in [Ground::Simnet, Ground::Turmoil] {
        for seed in [3, 9] {
            let here = digest_of(seed, ground);
            assert_eq!(here, digest_of(seed, ground), "seed {seed} on {ground:?}");
            for _ in 0..2 {
                assert_eq!(here.to_string(), digest_elsewhere(seed, ground), "seed {seed}");
            }
        }
    }
}

#[test]
fn a_seed_gives_the_same_run_on_threads_that_run_at_once() {
    let run = || std::thread::spawn(|| [4, 5].map(|seed| digest_of(seed, Ground::Simnet)));
    let threads = [run(), run()];
    let [one, other] = threads.map(|thread| thread.join().expect("it ends"));
    assert_eq!(one, other);
    assert_ne!(one[0], one[1], "seeds differ");
}

#[test]
fn drawn_plans_hold_on_both_grounds() {
    for seed in 100..140 {
        digest_of(seed, Ground::Simnet);
    }
    for seed in 100..108 {
        digest_of(seed, Ground::Turmoil);
    }
}
