//! `drover replay DIR state`: the cluster at a moment, on one screen.
use std::collections::BTreeMap;

use drover_core::agent::ServerView;
use drover_core::raft::Role;
use drover_core::state::State;
use drover_core::types::{ClientStatus, DesiredStatus, NodeStatus};
use drover_shell::api::time::rfc3339;
use drover_sim::replay::{Moments, Source as _, Tape};
use serde_json::json;

use super::files::Files;
use super::{GUARD, ReplayArgs};
use crate::commands::{Ended, Exit};
use crate::failure::Failure;
use crate::table::{block, bytes, table};
use crate::terminal::Terminal;

/// Whether the log itself is shown, too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Log {
    Shown,
    Left,
}

pub(super) fn run(files: &Files, args: &ReplayArgs, log: Log, terminal: Terminal) -> Ended {
    let until = args.at.within(files, terminal)?;
    if log == Log::Shown && !args.json {
        terminal.line(&segments(files));
    }
    let tape = until.reach(files, GUARD).map_err(|fault| Failure::new(fault.to_string()))?;
    let view = tape.agent().view();
    let (Some(server), Some(state)) = (&view.server, tape.agent().state()) else {
        return no_server(&tape, log);
    };
    if args.json {
        terminal.line(&format!("{:#}", shown(&tape, server, state)));
        return Ok(Exit::Done);
    }
    let at = tape.wall().map(rfc3339).unwrap_or_default();
    let leader = server.members.iter().find(|member| Some(member.id) == server.leader);
    let role = match server.role {
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::Candidate | Role::PreCandidate => "candidate",
    };
    let pending = state.pending_evals().count();
    let pairs = [
        ("At", format!("{at}  input {}", tape.inputs())),
        ("Cluster", format!("{:032x}", server.cluster.0)),
        ("This server", format!("{role} in term {}", server.term.0)),
        ("Leader", leader.map_or_else(|| "none is known".to_owned(), |found| found.name.clone())),
        ("Index", format!("{} applied, {} committed", state.index().0, server.commit_index.0)),
        ("Digest", state.digest().to_string()),
        ("Nodes", counts(nodes(state))),
        ("Allocs", counts(allocs(state))),
        ("Evals", format!("{pending} pending, {} blocked", state.blocked_evals().count())),
    ];
    terminal.section("Cluster", &block(&pairs));
    let rows: Vec<Vec<String>> = state
        .jobs()
        .filter(|job| !job.purged)
        .map(|job| {
            let running = state.allocs_of_job(job.id).filter(|alloc| is_running(alloc)).count();
            let wanted: u32 = job.newest().spec.groups.iter().map(|group| group.count).sum();
            let wanted = if job.stopped { "stopped".to_owned() } else { wanted.to_string() };
            vec![
                job.newest().spec.id.clone(),
                wanted,
                running.to_string(),
                job.newest().version.to_string(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        terminal.section("Jobs", &table(&["ID", "Wanted", "Running", "Version"], &rows));
    }
    Ok(Exit::Done)
}

fn is_running(alloc: &drover_core::types::Allocation) -> bool {
    alloc.desired == DesiredStatus::Run && alloc.client_status == ClientStatus::Running
}

fn no_server(tape: &Tape<'_>, log: Log) -> Ended {
    let why = if tape.agent().config().server.is_none() {
        "this agent is only a client: it holds no state of the cluster. Replay a server's log"
    } else {
        "the agent had not booted yet: name a later moment"
    };
    // That there is a log was shown.
    if log == Log::Shown { Ok(Exit::Done) } else { Err(Failure::new(why)) }
}

fn segments(files: &Files) -> String {
    let rows: Vec<Vec<String>> = files
        .log
        .segments
        .iter()
        .enumerate()
        .map(|(at, segment)| {
            let first = files.inputs_before(at);
            let (from, to) = segment
                .span
                .map_or_else(Default::default, |(from, to)| (rfc3339(from), rfc3339(to)));
            let begins = match segment.begins {
                drover_shell::recorder::Begins::AtStart => "the agent starts".to_owned(),
                drover_shell::recorder::Begins::FollowsOn => "follows on".to_owned(),
                drover_shell::recorder::Begins::AfterHole { inputs_missing } => {
                    format!("{inputs_missing} inputs are missing before")
                }
            };
            let inputs = format!("{} to {}", first + 1, first + segment.inputs);
            vec![segment.name(), inputs, from, to, bytes(segment.bytes), begins]
        })
        .collect();
    let mut text = table(&["Segment", "Inputs", "From", "To", "Size", "Begins"], &rows);
    let broken = files.log.segments.iter().filter_map(|segment| {
        segment.damage.as_ref().map(|why| format!("\n{}: {why}", segment.name()))
    });
    text.extend(broken);
    if let Some(Moments { first, last }) = Moments::of(files) {
        let seconds = last.ms_since(first) / 1_000;
        let span = crate::time::span(i64::try_from(seconds).unwrap_or(i64::MAX));
        text.push_str(&format!("\n{} inputs in {span}", files.log.inputs()));
    }
    text
}

fn nodes(state: &State) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for node in state.nodes() {
        let word = match node.status {
            NodeStatus::Init => "initializing",
            NodeStatus::Ready => "ready",
            NodeStatus::Down => "down",
        };
        *counts.entry(word).or_default() += 1;
    }
    counts
}

fn allocs(state: &State) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for alloc in state.allocs() {
        let word = match alloc.client_status {
            ClientStatus::Pending => "pending",
            ClientStatus::Running => "running",
            ClientStatus::Complete => "complete",
            ClientStatus::Failed => "failed",
            ClientStatus::Lost => "lost",
        };
        *counts.entry(word).or_default() += 1;
    }
    counts
}

fn counts(of: BTreeMap<&'static str, usize>) -> String {
    let parts: Vec<String> =
        of.into_iter().map(|(word, count)| format!("{count} {word}")).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn shown(tape: &Tape<'_>, server: &ServerView, state: &State) -> serde_json::Value {
    let leader = server.members.iter().find(|member| Some(member.id) == server.leader);
    json!({
        "At": tape.wall().map(rfc3339),
        "Input": tape.inputs(),
        "Cluster": format!("{:032x}", server.cluster.0),
        "Leader": leader.map(|member| &member.name),
        "Term": server.term.0,
        "AppliedIndex": state.index().0,
        "CommitIndex": server.commit_index.0,
        "Digest": state.digest().to_string(),
        "Nodes": nodes(state),
        "Allocs": allocs(state),
        "Jobs": state.jobs().filter(|job| !job.purged).count(),
        "EvalsPending": state.pending_evals().count(),
        "EvalsBlocked": state.blocked_evals().count(),
    })
}
