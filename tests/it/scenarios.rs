//! Every script under `scenarios/`.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use drover_tests::raft_scripts::Bench;
use drover_tests::{Command, check_script};

#[test]
fn raft() {
    check_folder("raft", || {
        let mut bench = Bench::default();
        move |command| bench.run(command)
    });
}

#[test]
fn deployments() {
    check_folder("deployments", || {
        let mut bench = crate::deployment_scripts::Bench::default();
        move |command| bench.run(command)
    });
}

#[test]
fn system() {
    check_folder("system", || {
        let mut bench = crate::system_scripts::Bench::default();
        move |command| bench.run(command)
    });
}

#[test]
fn rebalance() {
    check_folder("rebalance", || {
        let mut bench = crate::rebalance_scripts::Bench::default();
        move |command| bench.run(command)
    });
}

#[test]
fn drains() {
    check_folder("drains", || {
        let mut bench = crate::drain_scripts::Bench::default();
        move |command| bench.run(command)
    });
}

#[test]
fn launches() {
    check_folder("launches", || {
        let mut bench = crate::launch_scripts::Bench::default();
        move |command| bench.run(command)
    });
}

#[test]
fn gates() {
    check_folder("gates", || {
        let mut bench = crate::gate_scripts::Bench::default();
        move |command| bench.run(command)
    });
}

#[test]
fn the_list_of_raft_scenarios_names_every_script_and_no_other() {
    let list = std::fs::read_to_string("../docs/raft-scenarios.md").expect("the list can be read");
    let named: BTreeSet<&str> = list.split('`').skip(1).step_by(2).collect();
    let is_script = |name: &&str| !name.contains('/') && !name.starts_with("raft_");
    let named: BTreeSet<String> = named.into_iter().filter(is_script).map(str::to_owned).collect();
    let scripts = scripts_of("raft").into_iter();
    let there: BTreeSet<String> =
        scripts.map(|path| path.file_stem().unwrap_or_default().to_string_lossy().into()).collect();
    let differing: Vec<_> = named.symmetric_difference(&there).collect();
    assert!(differing.is_empty(), "in the list or in the folder, not in both: {differing:?}");
}

/// Runs every script of `folder`, each on a bench of its own.
fn check_folder<Run: FnMut(&Command<'_>) -> String>(folder: &str, new: impl Fn() -> Run) {
    for path in scripts_of(folder) {
        check_script(&path, new());
    }
}

fn scripts_of(folder: &str) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(Path::new("scenarios").join(folder))
        .expect("the folder can be read")
        .map(|entry| entry.expect("the folder can be read").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder}: there are scripts");
    paths
}
