//! Tasks as real processes: what is promised of them whoever dies when.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use drover_core::types::{AllocId, CoreSet, LogLimits, Uuid};
use drover_shell::drivers::dirs::TaskDirs;
use drover_shell::drivers::{
    Cgroups, Driver, DriverEvent, Drivers, DriversConfig, ExitRecord, TaskKey, TaskStart,
};
use drover_shell::shim::record::Record;
use tokio::sync::mpsc::{Receiver, channel};

const PATIENCE: Duration = Duration::from_secs(60);

/// An agent's side: it can be dropped like an agent that was killed, and a new one made.
struct Agent {
    drivers: Drivers,
    events: Receiver<DriverEvent>,
}

impl Agent {
    fn new(cgroups: Cgroups) -> Self {
        let (sender, events) = channel(64);
        let shim_executable = PathBuf::from(env!("CARGO_BIN_EXE_shim"));
        let drivers =
            Drivers::new(DriversConfig { shim_executable, cgroups }, sender).expect("works");
        Self { drivers, events }
    }

    async fn event(&mut self) -> DriverEvent {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("in time")
            .expect("an event")
    }

    async fn pid(&mut self) -> u32 {
        match self.event().await {
            DriverEvent::Started { pid, .. } => pid,
            other => panic!("expected a start, got {other:?}"),
        }
    }

    async fn exit(&mut self) -> ExitRecord {
        match self.event().await {
            DriverEvent::Exited { exit, .. } => exit,
            other => panic!("expected an exit, got {other:?}"),
        }
    }
}

/// A directory for allocs, with named pipes by which a test and its tasks wait for each other.
struct Place {
    root: tempfile::TempDir,
    alloc: u128,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("works");
        let stamp = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("works").as_nanos();
        Self { root, alloc: stamp << 32 | u128::from(std::process::id()) }
    }

    fn key(number: u64) -> TaskKey {
        TaskKey { alloc: AllocId(number), task: "web".into(), attempt: 0 }
    }

    fn dirs(&self, number: u64) -> TaskDirs {
        TaskDirs::new(self.root.path(), Uuid(self.alloc + u128::from(number)), "web")
            .expect("works")
    }

    fn start(&self, number: u64, command: &str, args: &[&str]) -> TaskStart {
        TaskStart {
            dirs: self.dirs(number),
            command: command.into(),
            args: args.iter().map(|&arg| arg.into()).collect(),
            env: BTreeMap::from([("PIPES".into(), self.root.path().display().to_string())]),
            user: String::new(),
            logs: LogLimits { files_max: 3, file_mib_max: 1 },
            payload: None,
            memory: None,
            cores: CoreSet::default(),
        }
    }

    fn shell(&self, script: &str) -> TaskStart {
        self.start(0, "/bin/sh", &["-c", script])
    }

    fn pipe(&self, name: &str) -> PathBuf {
        let path = self.root.path().join(name);
        assert!(Command::new("mkfifo").arg(&path).status().expect("works").success());
        path
    }

    fn output(&self, stream: &str) -> String {
        let logs = self.dirs(0).logs();
        let prefix = logs.join(format!("web.{stream}"));
        drover_shell::shim::log_numbers(prefix.to_str().expect("works"))
            .into_iter()
            .map(|n| std::fs::read_to_string(format!("{}.{n}", prefix.display())).expect("works"))
            .collect()
    }
}

/// Blocks until a task has written to the pipe and closed it.
async fn hear(pipe: &Path) -> String {
    tokio::time::timeout(PATIENCE, tokio::fs::read_to_string(pipe))
        .await
        .expect("in time")
        .expect("works")
}

/// Blocks until a task reads from the pipe.
async fn tell(pipe: &Path) {
    tokio::time::timeout(PATIENCE, tokio::fs::write(pipe, "go\n"))
        .await
        .expect("in time")
        .expect("works");
}

fn exists(pid: &str) -> bool {
    Path::new("/proc").join(pid.trim()).exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_ends_with_its_code_its_output_kept_and_its_surroundings_as_promised() {
    let (place, mut agent) = (Place::new(), Agent::new(Cgroups::WherePossible));
    let start = place.shell("pwd; echo $PIPES; cat; ulimit -n >&2; kill -0 $$; exit 42");
    let dirs = start.dirs.clone();
    agent.drivers.start(Place::key(0), start);
    agent.pid().await;
    let exit = agent.exit().await;
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (42, 0, false));
    let said = format!("{}\n{}\n", dirs.task.display(), place.root.path().display());
    assert_eq!(place.output("stdout"), said);
    assert!(place.output("stderr").trim().parse::<u64>().is_ok());
    assert_eq!(agent.drivers.stats(&Place::key(0)), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_reaches_the_task_by_name_and_what_is_no_signal_is_refused() {
    let (place, mut agent) = (Place::new(), Agent::new(Cgroups::WherePossible));
    let key = Place::key(0);
    agent.drivers.start(key.clone(), place.start(0, "sleep", &["1000"]));
    agent.pid().await;
    assert!(agent.drivers.signal(&key, "SIGFOO").unwrap_err().contains("invalid signal"));
    let stats = agent.drivers.stats(&key).expect("works");
    assert_eq!(stats.process_count, 1);
    assert!(0 < stats.memory_rss_bytes);
    agent.drivers.signal(&key, "SIGTERM").expect("works");
    assert_eq!(agent.exit().await.signal, 15);
    assert!(agent.drivers.signal(&key, "SIGTERM").is_err());
}

async fn kill_leaves_nothing(cgroups: Cgroups) {
    let (place, mut agent) = (Place::new(), Agent::new(cgroups));
    let ready = place.pipe("ready");
    let stubborn = "trap '' TERM INT; sleep 1000 & A=$!; setsid sh -c 'trap \"\" TERM; sleep 1000 & \
                    sleep 1000' & B=$!; (sleep 1000 & echo $! > left; exec true); \
                    echo $A $B $(cat left) > $PIPES/ready; while :; do sleep 1000; done";
    agent.drivers.start(Place::key(0), place.shell(stubborn));
    let pid = agent.pid().await.to_string();
    let heard = hear(&ready).await;
    agent.drivers.signal(&Place::key(0), "SIGTERM").expect("works");
    let everybody: Vec<&str> = heard.split_whitespace().chain([pid.as_str()]).collect();
    assert_eq!(everybody.len(), 4);
    assert!(everybody.iter().all(|pid| exists(pid)), "{everybody:?}");
    agent.drivers.kill(&Place::key(0));
    assert_eq!(agent.exit().await.signal, 9);
    let left: Vec<_> = everybody.iter().filter(|pid| exists(pid)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_a_stubborn_tree_leaves_nothing_of_it() {
    kill_leaves_nothing(Cgroups::WherePossible).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_a_stubborn_tree_leaves_nothing_of_it_without_a_cgroup() {
    kill_leaves_nothing(Cgroups::Never).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_task_leaves_running_ends_with_it() {
    let (place, mut agent) = (Place::new(), Agent::new(Cgroups::Never));
    agent.drivers.start(Place::key(0), place.shell("setsid sleep 1000 & echo $!"));
    agent.pid().await;
    assert_eq!(agent.exit().await.code, 0);
    assert!(!exists(&place.output("stdout")));
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_rotate_by_size_and_the_oldest_go() {
    let (place, mut agent) = (Place::new(), Agent::new(Cgroups::Never));
    agent.drivers.start(Place::key(0), place.shell("head -c 5242880 /dev/zero; echo end >&2"));
    agent.pid().await;
    assert_eq!(agent.exit().await.code, 0);
    let prefix = place.dirs(0).logs().join("web.stdout").display().to_string();
    let numbers = drover_shell::shim::log_numbers(&prefix);
    assert_eq!(numbers, [2, 3, 4]);
    for number in numbers {
        assert_eq!(std::fs::metadata(format!("{prefix}.{number}")).expect("works").len(), 1 << 20);
    }
    assert_eq!(place.output("stderr"), "end\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_attempt_goes_on_in_the_same_log() {
    let (place, mut agent) = (Place::new(), Agent::new(Cgroups::WherePossible));
    for attempt in 0..2 {
        let key = TaskKey { attempt, ..Place::key(0) };
        agent.drivers.start(key, place.shell("echo once"));
        agent.pid().await;
        assert_eq!(agent.exit().await.code, 0);
    }
    assert_eq!(place.output("stdout"), "once\nonce\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_outlives_its_agent_and_is_found_by_the_next_one() {
    let (place, mut first) = (Place::new(), Agent::new(Cgroups::WherePossible));
    let (ready, go) = (place.pipe("ready"), place.pipe("go"));
    let script = "seq 1 1000; echo > $PIPES/ready; read x < $PIPES/go; seq 1001 2000; exit 7";
    let start = place.shell(script);
    let dirs = start.dirs.clone();
    first.drivers.start(Place::key(0), start.clone());
    let pid = first.pid().await;
    hear(&ready).await;
    drop(first);

    let mut second = Agent::new(Cgroups::WherePossible);
    second.drivers.reattach(Place::key(0), &dirs);
    assert_eq!(second.pid().await, pid);
    drop(second);

    // Also one that forgot everything and starts it again gets the same process.
    let mut third = Agent::new(Cgroups::WherePossible);
    third.drivers.start(Place::key(0), start);
    assert_eq!(third.pid().await, pid);
    tell(&go).await;
    assert_eq!(third.exit().await.code, 7);
    let all: String = (1..=2000).map(|line| format!("{line}\n")).collect();
    assert_eq!(place.output("stdout"), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_ended_while_nobody_watched_has_its_status_kept() {
    let (place, mut first) = (Place::new(), Agent::new(Cgroups::WherePossible));
    let (go, gone) = (place.pipe("go"), place.pipe("gone"));
    let script = "read x < $PIPES/go; exec 3> $PIPES/gone; exit 9";
    let start = place.shell(script);
    let dirs = start.dirs.clone();
    first.drivers.start(Place::key(0), start);
    first.pid().await;
    drop(first);
    tell(&go).await;
    hear(&gone).await;

    let mut second = Agent::new(Cgroups::WherePossible);
    second.drivers.reattach(Place::key(0), &dirs);
    let exit = match second.event().await {
        DriverEvent::Exited { exit, .. } => exit,
        // The shim may not have been through yet.
        DriverEvent::Started { .. } => second.exit().await,
        other => panic!("{other:?}"),
    };
    assert_eq!(exit.code, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_never_ran_is_absent() {
    let (place, mut agent) = (Place::new(), Agent::new(Cgroups::WherePossible));
    agent.drivers.reattach(Place::key(0), &place.dirs(0));
    assert_eq!(agent.event().await, DriverEvent::Absent { key: Place::key(0) });
}

async fn a_killed_shim_loses(cgroups: Cgroups) {
    let (place, mut agent) = (Place::new(), Agent::new(cgroups));
    let (ready, gone) = (place.pipe("ready"), place.pipe("gone"));
    let script = "sleep 1000 & exec 3> $PIPES/gone; echo $! > $PIPES/ready; sleep 1000";
    agent.drivers.start(Place::key(0), place.shell(script));
    let pid = agent.pid().await.to_string();
    let dirs = place.dirs(0);
    // The writer opens `gone` first, so read it beside.
    let end = tokio::spawn(async move { hear(&gone).await });
    hear(&ready).await;
    let run =
        Record::read(&dirs.record(0)).expect("works").and_then(|record| record.run).expect("a run");
    assert_eq!(run.task.pid.to_string(), pid);
    let kill =
        Command::new("kill").arg("-9").arg(run.shim.pid.to_string()).status().expect("works");
    assert!(kill.success());
    assert!(matches!(agent.event().await, DriverEvent::Lost { .. }));
    // Every process of the task held this pipe open.
    assert_eq!(end.await.expect("works"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_shim_was_killed_is_lost_and_does_not_run_on() {
    a_killed_shim_loses(Cgroups::WherePossible).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_shim_was_killed_is_lost_and_does_not_run_on_without_a_cgroup() {
    a_killed_shim_loses(Cgroups::Never).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_says_why() {
    let (place, mut agent) = (Place::new(), Agent::new(Cgroups::WherePossible));
    let broken = place.dirs(3).local.join("broken");
    let unknown_user = TaskStart { user: "nobody-knows".into(), ..place.start(2, "true", &[]) };
    let cases = [
        (place.start(0, "no-such-command", &[]), "\"no-such-command\" not found"),
        (place.start(1, "/etc/passwd", &[]), "not an executable file"),
        (unknown_user, "no user \"nobody-knows\""),
        (place.start(3, "broken", &[]), "Exec format error"),
    ];
    place.dirs(3).build(None).expect("works");
    std::fs::write(&broken, "not a program").expect("works");
    assert!(Command::new("chmod").arg("755").arg(&broken).status().expect("works").success());
    for (number, (start, expected)) in (0..).zip(cases) {
        agent.drivers.start(Place::key(number), start);
        match agent.event().await {
            DriverEvent::StartFailed { why, recoverable: false, .. } => {
                assert!(why.contains(expected), "{why}");
            }
            other => panic!("expected {expected}, got {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_tasks_at_once_all_end_and_each_is_heard_of_twice() {
    let (place, mut agent) = (Place::new(), Agent::new(Cgroups::WherePossible));
    let mut expected = BTreeMap::new();
    for number in 0..200 {
        let code = i32::try_from(number % 7).expect("works");
        let script = format!("exit {code}");
        let start = place.start(number, "sh", &["-c", &script]);
        agent.drivers.start(Place::key(number), start);
        expected.insert(Place::key(number), code);
    }
    let mut started = 0;
    while !expected.is_empty() {
        match agent.event().await {
            DriverEvent::Started { .. } => started += 1,
            DriverEvent::Exited { key, exit } => {
                assert_eq!(expected.remove(&key), Some(exit.code));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(started, 200);
}
