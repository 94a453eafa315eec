//! Servers that programs name: `retry_join = ["exec=/usr/local/bin/servers"]`.
//!
//! A program is run by the shell and prints addresses with white space between them. It is run again after
//! each `retry_interval` while nobody is met.
//!
//! Invariants
//! - whoever a program does not name any more is not dialled any more;
//! - a program that fails changes nothing, and is told of.
use std::collections::BTreeSet;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::join::{dial_named, has_met};
use crate::config::{Join, host_port};
use crate::transport::Transport;

const PATIENCE: Duration = Duration::from_secs(30);
/// Whatever `retry_interval` says: a program is a process each time.
const PAUSE_MS_MIN: u64 = 1_000;

/// Runs the programs of these, until the agent ends; `port` is where no other is named.
pub(super) async fn ask(joins: Vec<Join>, transport: Transport, port: u16) {
    let programs = || joins.iter().flat_map(|join| &join.programs);
    let Some(pause_ms) = pause_ms(&joins) else { return };
    let mut named = BTreeSet::new();
    loop {
        if !has_met(&transport) {
            let mut now = BTreeSet::new();
            for program in programs() {
                match run(program, port).await {
                    Ok(found) => now.extend(found),
                    Err(why) => tracing::warn!("exec={program}: {why}: it names nobody"),
                }
            }
            if !now.is_empty() {
                dial_named(&transport, &mut named, now);
            }
        }
        sleep(Duration::from_millis(pause_ms)).await;
    }
}

/// `None`: there is no program.
fn pause_ms(joins: &[Join]) -> Option<u64> {
    let pauses = joins.iter().filter(|join| !join.programs.is_empty());
    pauses.map(|join| join.retry_interval_ms.max(PAUSE_MS_MIN)).min()
}

async fn run(program: &str, port: u16) -> Result<Vec<String>, String> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", program]).stdin(Stdio::null()).kill_on_drop(true);
    let ended = timeout(PATIENCE, command.output()).await;
    let ended = ended.map_err(|_| format!("it did not end within {} s", PATIENCE.as_secs()))?;
    let Output { status, stdout, stderr } = ended.map_err(|why| why.to_string())?;
    if !status.success() {
        let said = String::from_utf8_lossy(&stderr);
        return Err(format!("{status}: {}", said.trim_end()));
    }
    addresses(&String::from_utf8_lossy(&stdout), port)
}

fn addresses(text: &str, port: u16) -> Result<Vec<String>, String> {
    let address = |word: &str| {
        host_port(word, port).ok_or_else(|| format!("it printed {word:?}, which is no address"))
    };
    text.split_whitespace().map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_run_no_more_often_than_once_a_second() {
        let join = |programs: &[&str], retry_interval_ms| Join {
            programs: programs.iter().map(ToString::to_string).collect(),
            retry_interval_ms,
            ..Join::default()
        };
        assert_eq!(pause_ms(&[join(&[], 0)]), None);
        assert_eq!(pause_ms(&[join(&["a"], 0)]), Some(PAUSE_MS_MIN));
        assert_eq!(pause_ms(&[join(&["a"], 30_000), join(&[], 5_000)]), Some(30_000));
    }

    #[tokio::test]
    async fn a_program_prints_addresses_or_says_why_not() {
        let named = run("printf '10.0.0.1 b.example:7\\n10.0.0.2\\n'", 4647).await;
        assert_eq!(named.unwrap(), ["10.0.0.1:4647", "b.example:7", "10.0.0.2:4647"]);
        let failed = run("echo no way >&2; exit 3", 4647).await.unwrap_err();
        assert_eq!(failed, "exit status: 3: no way");
        let nonsense = run("echo 'a/b'", 4647).await.unwrap_err();
        assert_eq!(nonsense, "it printed \"a/b\", which is no address");
    }
}
