//! `drover job dispatch`, `job periodic force`: children on demand.
//!
//! Invariants
//! - with a token a job is dispatched once, however often this is run.
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::api::Fields as _;
use crate::commands::{Ended, Session};
use crate::failure::{Exit, Failure, error};
use crate::find::FoundJob;
use crate::monitor::monitor;
use crate::table::{block, table};
use crate::time;

/// What the servers take (`PAYLOAD_BYTES_MAX`), and one more to see that it is too much.
const PAYLOAD_BYTES_MAX: u64 = 16 << 10;

#[derive(Args, Debug)]
pub(crate) struct DispatchArgs {
    #[arg(value_name = "JOB", help = "The parameterized job, or the beginning of its id")]
    job: String,
    #[arg(value_name = "FILE", help = "The payload, at most 16 KiB; -: from standard input")]
    file: Option<PathBuf>,
    #[arg(long, value_name = "KEY=VALUE", help = "Meta of the child; may be repeated")]
    meta: Vec<String>,
    #[arg(long, value_name = "WORD", help = "A word in the child's id")]
    id_prefix_template: Option<String>,
    #[arg(long, value_name = "TOKEN", help = "The same token again gives the same child")]
    idempotency_token: Option<String>,
    #[arg(long, help = "Do not watch: print the ids and end")]
    detach: bool,
    #[arg(long, help = "Print ids in full")]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PeriodicCommand {
    #[command(about = "Launch a periodic job now, whatever its calendar says")]
    Force(ForceArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ForceArgs {
    #[arg(value_name = "JOB", help = "The periodic job, or the beginning of its id")]
    job: String,
    #[arg(long, help = "Do not watch: print the ids and end")]
    detach: bool,
    #[arg(long, help = "Print ids in full")]
    verbose: bool,
}

pub(crate) fn dispatch(args: &DispatchArgs, session: &mut Session) -> Ended {
    let payload = payload(args.file.as_ref())?;
    let mut meta = Map::new();
    for pair in &args.meta {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(Failure::new(format!("-meta {pair}: write -meta KEY=VALUE")));
        };
        meta.insert(key.to_owned(), value.into());
    }
    let found = session.find_job(&args.job)?;
    let body = json!({
        "JobID": found.id,
        "Payload": BASE64.encode(payload),
        "Meta": meta,
        "IdPrefixTemplate": args.id_prefix_template.as_deref().unwrap_or_default(),
    });
    let mut query = vec![("namespace", found.namespace.as_str())];
    if let Some(token) = &args.idempotency_token {
        query.push(("idempotency_token", token));
    }
    let answer = session.client.put(&found.path("/dispatch"), &query, &body);
    let answer = answer.map_err(error("dispatching job"))?;
    let pairs = [
        ("Dispatched Job ID", answer.text("DispatchedJobID").to_owned()),
        ("Evaluation ID", answer.text("EvalID").to_owned()),
    ];
    session.terminal.line(&block(&pairs));
    let eval = answer.text("EvalID");
    if args.detach || eval.is_empty() {
        return Ok(Exit::Done);
    }
    session.terminal.line("");
    monitor(session, eval, args.verbose)
}

fn payload(file: Option<&PathBuf>) -> Result<Vec<u8>, Failure> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let shown = file.display();
    let unread = |why: std::io::Error| Failure::new(format!("{shown}: cannot be read: {why}"));
    let mut bytes = Vec::new();
    if file.as_os_str() == "-" {
        std::io::stdin().take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unread)?;
    } else {
        let opened = fs::File::open(file).map_err(unread)?;
        opened.take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unread)?;
    }
    if PAYLOAD_BYTES_MAX < bytes.len() as u64 {
        return Err(Failure::new(format!(
            "{shown}: a payload has at most {PAYLOAD_BYTES_MAX} bytes: put the data elsewhere and \
             dispatch its address"
        )));
    }
    Ok(bytes)
}

pub(crate) fn force(args: &ForceArgs, session: &mut Session) -> Ended {
    let found = session.find_job(&args.job)?;
    let query = [("namespace", found.namespace.as_str())];
    let answer = session.client.put(&found.path("/periodic/force"), &query, &json!({}));
    let answer = answer.map_err(error("forcing the periodic job"))?;
    let child = answer.text("LaunchedJobID");
    if !child.is_empty() {
        session.terminal.line(&block(&[("Launched Job ID", child.to_owned())]));
    }
    let eval = answer.text("EvalID");
    if args.detach || eval.is_empty() {
        session.terminal.line(&format!("Evaluation ID: {eval}"));
        return Ok(Exit::Done);
    }
    monitor(session, eval, args.verbose)
}

/// When a periodic job is next due, for people; nothing for another job.
pub(crate) fn next_launch(job: &Value) -> Option<String> {
    if !job.at("Periodic").is_object() {
        return None;
    }
    let at = time::parse(job.text("NextPeriodicLaunch"));
    Some(at.map_or_else(|| "none".to_owned(), moment))
}

/// `2026-11-24T22:36:02Z (in 5m10s)`.
pub(crate) fn moment(unix_ns: i64) -> String {
    // Rounded, so that what is due in 4.99 s is due in 5.
    let left = (unix_ns - time::now_unix_ns() + 500_000_000) / 1_000_000_000;
    format!("{} (in {})", time::stamp(unix_ns), time::span(left.max(0)))
}

/// What a job that makes children shows instead of allocations.
pub(crate) fn show_children(
    session: &mut Session,
    found: &FoundJob,
    (job, summary): (&Value, &Value),
) -> Ended {
    let counts = summary.at("Children");
    let row = ["Pending", "Running", "Dead"].map(|key| counts.int(key).to_string());
    let rows = vec![row.to_vec()];
    session
        .terminal
        .section("Children Job Summary", &table(&["Pending", "Running", "Dead"], &rows));
    let rules = job.at("ParameterizedJob");
    let (title, none, part) = if rules.is_object() {
        let words = |key| {
            let list: Vec<_> = rules.list(key).iter().filter_map(Value::as_str).collect();
            if list.is_empty() { "<none>".to_owned() } else { list.join(", ") }
        };
        let shown = block(&[
            ("Payload", rules.text("Payload").to_owned()),
            ("Required Metadata", words("MetaRequired")),
            ("Optional Metadata", words("MetaOptional")),
        ]);
        session.terminal.section("Parameterized Job", &shown);
        ("Dispatched Jobs", "No dispatched instances of parameterized job found", "dispatch")
    } else {
        let none = "No instances of periodic job found";
        ("Previously Launched Jobs", none, "periodic")
    };
    let prefix = format!("{}/{part}-", found.id);
    let query = [("prefix", prefix.as_str()), ("namespace", found.namespace.as_str())];
    let jobs = session.client.get("/v1/jobs", &query).map_err(error("querying the children"))?;
    let rows: Vec<_> = jobs
        .items()
        .iter()
        .filter(|child| child.text("ParentID") == found.id)
        .map(|child| vec![child.text("ID").to_owned(), super::status::status(child)])
        .collect();
    let shown = if rows.is_empty() { none.to_owned() } else { table(&["ID", "Status"], &rows) };
    session.terminal.section(title, &shown);
    Ok(Exit::Done)
}
