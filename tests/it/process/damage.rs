//! Disks that lose bytes or are full.
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rig::{Agent, Part, Site, ask, job, leader_of, text_of, wait_for, wait_until};

/// Blocks of the log begin at multiples of this.
const PAGE: usize = 4_096;

fn started(site: &Site) -> Agent {
    let mut server = site.agent("s1", Part::Server { expect: 1 }, &[]);
    server.start();
    leader_of(&[&server]);
    server
}

fn write_jobs(site: &Site, server: &Agent, count: u32) {
    for nth in 0..count {
        let id = format!("job-{nth}");
        server.run(&site.write("job.hcl", &job(&id, "batch", 1, "true")));
    }
}

fn jobs(agent: &Agent) -> BTreeSet<String> {
    let list = agent.get("/v1/jobs");
    list.as_array().into_iter().flatten().map(|job| text_of(job, "ID")).collect()
}

/// The first file of the log, and where its last page with anything in it begins.
pub(crate) fn log_file(server: &Agent) -> (PathBuf, usize) {
    let folder = fs::read_dir(server.data_dir().join("wal")).expect("there is a log");
    let mut files: Vec<PathBuf> = folder.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let path = files.into_iter().next().expect("the log has a file");
    let bytes = fs::read(&path).expect("it can be read");
    let last = bytes.iter().rposition(|&byte| byte != 0).expect("something was written");
    (path, last / PAGE * PAGE)
}

pub(crate) fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("it can be read");
    bytes[at] ^= 0x10;
    fs::write(path, bytes).expect("it can be written");
}

#[test]
fn a_log_that_rotted_stops_the_start_and_one_that_was_torn_does_not() {
    let site = Site::new();
    let mut server = started(&site);
    write_jobs(&site, &server, 3);
    server.kill();

    // As after a crash in the middle of a write: the next block begins, and does not end.
    let (path, last) = log_file(&server);
    let mut bytes = fs::read(&path).expect("it can be read");
    let (head, torn) = (last / PAGE * PAGE, last + PAGE);
    bytes.copy_within(head..head + PAGE / 2, torn);
    fs::write(&path, bytes).expect("it can be written");
    server.start();
    leader_of(&[&server]);
    assert_eq!(jobs(&server).len(), 3, "what was acknowledged is there");
    server.kill();

    flip(&path, PAGE + 100);
    server.launch();
    let status = wait_for("it gives up", || server.ended());
    assert_eq!(status.code(), Some(1));
    let log = server.log();
    let said = log.lines().last().unwrap_or_default();
    for word in [&path.display().to_string(), "damaged", "move"] {
        assert!(said.contains(word), "does not say {word:?}: {said}");
    }
    flip(&path, PAGE + 100);
    server.start();
    leader_of(&[&server]);
    assert_eq!(jobs(&server).len(), 3, "refusing to start has changed nothing");
}

/// A small file system that ends with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Result<Self, String> {
        fs::create_dir(at).map_err(|fault| fault.to_string())?;
        let args = ["-t", "tmpfs", "-o", "size=4m", "tmpfs"];
        let output =
            Command::new("mount").args(args).arg(at).output().map_err(|fault| fault.to_string())?;
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.success() { Ok(Self(at.to_owned())) } else { Err(why) }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _it_may_be_busy = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_halts_the_agent_and_room_lets_it_go_on() {
    let site = Site::new();
    let mut server = site.agent("s1", Part::Server { expect: 1 }, &[]);
    let _disk = match SmallDisk::mount(&server.data_dir()) {
        Ok(disk) => disk,
        Err(why) => return println!("skipped: no small file system can be mounted here: {why}"),
    };
    server.start();
    leader_of(&[&server]);
    let filler = server.data_dir().join("filler");
    let _full = fs::write(&filler, vec![1; 8 << 20]).expect_err("the disk is small");

    let mut acknowledged = BTreeSet::new();
    let meta = "x".repeat(20_000);
    let status = wait_for("the agent halts", || {
        let id = format!("job-{}", acknowledged.len());
        let body = format!(
            "{{\"Job\":{{\"ID\":\"{id}\",\"Name\":\"{id}\",\"Type\":\"batch\",\"Meta\":{{\"m\":\"{meta}\"}},\
             \"TaskGroups\":[{{\"Name\":\"g\",\"Count\":1,\"Tasks\":[{{\"Name\":\"t\",\
             \"Driver\":\"raw_exec\",\"Config\":{{\"command\":\"/bin/true\"}}}}]}}]}}}}"
        );
        let answer = ask(server.http_port, "PUT", "/v1/jobs", &body);
        if answer.is_some_and(|answer| answer.status == 200) {
            acknowledged.insert(id);
        }
        server.ended()
    });
    assert_eq!(status.code(), Some(1));
    let log = server.log();
    let said = log.lines().last().unwrap_or_default();
    for word in ["halted", "disk is full", "Make room"] {
        assert!(said.contains(word), "does not say {word:?}: {said}");
    }
    assert!(!acknowledged.is_empty(), "there was room for some");

    fs::remove_file(&filler).expect("room can be made");
    server.start();
    leader_of(&[&server]);
    let lost: Vec<_> = acknowledged.difference(&jobs(&server)).cloned().collect();
    assert!(lost.is_empty(), "lost {lost:?}");
    write_jobs(&site, &server, 1);
    wait_until("it writes again", || jobs(&server).contains("job-0"));
}
