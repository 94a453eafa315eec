//! Every script under `scenarios/`.
use std::path::Path;

use drover_tests::raft_scripts::Bench;
use drover_tests::{Command, check_script};

#[test]
fn raft() {
    check_folder("raft", || {
        let mut bench = Bench::default();
        move |command| bench.run(command)
    });
}

/// Runs every script of `folder`, each on a bench of its own.
fn check_folder<Run: FnMut(&Command<'_>) -> String>(folder: &str, new: impl Fn() -> Run) {
    let mut paths: Vec<_> = std::fs::read_dir(Path::new("scenarios").join(folder))
        .expect("the folder can be read")
        .map(|entry| entry.expect("the folder can be read").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder}: there are scripts");
    for path in paths {
        check_script(&path, new());
    }
}
