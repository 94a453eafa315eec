//! What a shim writes down of its attempt: who runs, and how it ended.
//!
//! One file per attempt, `<task>/.drover/<attempt>`, of `key=value` lines, so that a person can read
//! it and a later version can add to it. It is locked (flock) for the shim's whole life. Each half is
//! written with one call and closed by a line of its own; nothing is flushed to the platter: it
//! survives the death of any process, and a machine that went down took the task with it (`boot`).
//!
//! Invariants
//! - a half without its closing line does not exist;
//! - a file that holds anything belongs to an attempt that was started.
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::process::ProcessId;

const RUN_CLOSED: &str = "run=whole\n";
const EXIT_CLOSED: &str = "exit=whole\n";

/// All that is known of an attempt.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Record {
    /// `None`: a shim is starting it, or none ever did.
    pub run: Option<RunRecord>,
    pub exit: Option<ExitRecord>,
}

/// Who runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunRecord {
    pub task: ProcessId,
    pub shim: ProcessId,
    /// The kernel's boot id: process ids mean nothing after another boot.
    pub boot: String,
    /// The attempt's cgroup; empty if it has none.
    pub cgroup: String,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ExitRecord {
    pub code: i32,
    /// The signal that ended it; zero if it exited.
    pub signal: i32,
    pub oom_killed: bool,
    pub at_unix_ms: u64,
}

impl Record {
    /// The record at `path`; `None` when there is no such file.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let malformed = || {
            let why = format!("{} is not a shim's record", path.display());
            io::Error::new(io::ErrorKind::InvalidData, why)
        };
        let mut record = Self::default();
        if text.contains(RUN_CLOSED) {
            record.run = Some(RunRecord::parse(&text).ok_or_else(malformed)?);
        }
        if text.contains(EXIT_CLOSED) {
            record.exit = Some(ExitRecord::parse(&text).ok_or_else(malformed)?);
        }
        Ok(Some(record))
    }
}

impl RunRecord {
    pub(super) fn write(&self, mut file: &File) -> io::Result<()> {
        let Self { task, shim, boot, cgroup } = self;
        let text = format!(
            "version=1\npid={}\nstart={}\nshim={}\nshim_start={}\nboot={boot}\ncgroup={cgroup}\n{RUN_CLOSED}",
            task.pid, task.start, shim.pid, shim.start
        );
        file.write_all(text.as_bytes())
    }

    fn parse(text: &str) -> Option<Self> {
        Some(Self {
            task: ProcessId { pid: number(text, "pid")?, start: number(text, "start")? },
            shim: ProcessId { pid: number(text, "shim")?, start: number(text, "shim_start")? },
            boot: value(text, "boot")?.to_owned(),
            cgroup: value(text, "cgroup")?.to_owned(),
        })
    }
}

impl ExitRecord {
    pub(super) fn write(&self, mut file: &File) -> io::Result<()> {
        let Self { code, signal, oom_killed, at_unix_ms } = self;
        let oom = i32::from(*oom_killed);
        let text =
            format!("code={code}\nsignal={signal}\noom={oom}\nat={at_unix_ms}\n{EXIT_CLOSED}");
        file.write_all(text.as_bytes())
    }

    fn parse(text: &str) -> Option<Self> {
        Some(Self {
            code: number(text, "code")?,
            signal: number(text, "signal")?,
            oom_killed: number::<u8>(text, "oom")? != 0,
            at_unix_ms: number(text, "at")?,
        })
    }
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

fn number<T: std::str::FromStr>(text: &str, key: &str) -> Option<T> {
    value(text, key)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_far_as_it_was_finished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0");
        assert_eq!(Record::read(&path).unwrap(), None);
        let file = File::create(&path).unwrap();
        assert_eq!(Record::read(&path).unwrap(), Some(Record::default()));
        let run = RunRecord {
            task: ProcessId { pid: 12, start: 34 },
            shim: ProcessId { pid: 56, start: 78 },
            boot: "b".into(),
            cgroup: String::new(),
        };
        run.write(&file).unwrap();
        let expected = Record { run: Some(run), exit: None };
        assert_eq!(Record::read(&path).unwrap(), Some(expected.clone()));
        let exit = ExitRecord { code: 3, signal: 0, oom_killed: true, at_unix_ms: 5 };
        exit.write(&file).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        let expected = Record { exit: Some(exit), ..expected };
        assert_eq!(Record::read(&path).unwrap(), Some(expected));
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(Record::read(&path).unwrap().unwrap().exit, None);
        fs::write(&path, whole.replace("code=3", "code=x")).unwrap();
        assert!(Record::read(&path).is_err());
    }
}
