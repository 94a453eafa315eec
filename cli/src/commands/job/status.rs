//! `drover job status`: all jobs, or one with its allocations.
use clap::Args;
use serde_json::Value;

use super::launch;
use crate::api::{Fields as _, Ids};
use crate::args::Format;
use crate::commands::{Ended, Session};
use crate::deployment::{basics_of_job, deployed};
use crate::failure::{Exit, Failure, error};
use crate::find::{FoundJob, alloc_rows};
use crate::reasons;
use crate::table::{block, table};
use crate::time;

#[derive(Args, Debug, Default)]
pub(crate) struct JobStatusArgs {
    #[arg(value_name = "JOB", help = "The job, or the beginning of its id; all jobs without it")]
    job: Option<String>,
    #[arg(long, help = "Only the first block")]
    short: bool,
    #[arg(long, help = "Its evaluations, too")]
    evals: bool,
    #[arg(long, help = "Allocations of earlier jobs with this id, too")]
    all_allocs: bool,
    #[command(flatten)]
    format: Format,
}

impl JobStatusArgs {
    /// As `drover status` asks.
    pub(crate) fn new(job: Option<String>, format: Format) -> Self {
        Self { job, format, ..Self::default() }
    }
}

pub(crate) fn run(args: &JobStatusArgs, session: &mut Session) -> Ended {
    args.format.check()?;
    match &args.job {
        None => list(args, session),
        Some(job) => one(job, args, session),
    }
}

/// What users see as a job's status: a stopped one says so.
pub(crate) fn status(job: &Value) -> String {
    let stopped = if job.flag("Stop") { " (stopped)" } else { "" };
    format!("{}{stopped}", job.text("Status"))
}

fn kind(job: &Value) -> String {
    let mut kind = job.text("Type").to_owned();
    for (key, word) in [("Periodic", "/periodic"), ("ParameterizedJob", "/parameterized")] {
        if job.flag(key) || job.at(key).is_object() {
            kind.push_str(word);
        }
    }
    kind
}

fn list(args: &JobStatusArgs, session: &mut Session) -> Ended {
    let jobs = session.client.get("/v1/jobs", &[]).map_err(error("querying jobs"))?;
    print_jobs(&jobs, "No running jobs", &args.format, session)
}

/// The list of jobs; without one, `none`.
pub(crate) fn print_jobs(jobs: &Value, none: &str, format: &Format, session: &Session) -> Ended {
    if format.json {
        return session.print_json(jobs);
    }
    if jobs.items().is_empty() {
        session.terminal.line(none);
        return Ok(Exit::Done);
    }
    let everywhere = session.client.target.namespace.as_deref() == Some("*");
    let mut sorted: Vec<_> = jobs.items().iter().collect();
    sorted.sort_by_key(|job| (job.text("ID"), job.text("Namespace")));
    let row = |job: &&Value| {
        let mut row = vec![job.text("ID").to_owned()];
        if everywhere {
            row.push(job.text("Namespace").to_owned());
        }
        row.extend([kind(job), job.int("Priority").to_string(), status(job)]);
        row.push(time::stamp(job.int("SubmitTime")));
        row
    };
    let rows: Vec<_> = sorted.iter().map(row).collect();
    let header: &[&str] = if everywhere {
        &["ID", "Namespace", "Type", "Priority", "Status", "Submit Date"]
    } else {
        &["ID", "Type", "Priority", "Status", "Submit Date"]
    };
    session.terminal.line(&table(header, &rows));
    Ok(Exit::Done)
}

fn one(typed: &str, args: &JobStatusArgs, session: &mut Session) -> Ended {
    let found = session.find_job(typed)?;
    let job = ask(session, &found, "", "querying job")?;
    if args.format.json {
        return session.print_json(&job);
    }
    session.terminal.line(&basics(&job));
    if args.short {
        return Ok(Exit::Done);
    }
    if job.at("Periodic").is_object() || job.at("ParameterizedJob").is_object() {
        let summary = ask(session, &found, "/summary", "querying job summary")?;
        return launch::show_children(session, &found, (&job, &summary));
    }
    let all = if args.all_allocs { "true" } else { "false" };
    let namespace = found.namespace.as_str();
    let allocs = session
        .client
        .get(&found.path("/allocations"), &[("all", all), ("namespace", namespace)])
        .map_err(error("querying job allocations"))?;
    let evals = ask(session, &found, "/evaluations", "querying job evaluations")?;
    let summary = ask(session, &found, "/summary", "querying job summary")?;
    let terminal = session.terminal;
    terminal.section("Summary", &groups(&summary));
    if args.evals || args.format.verbose {
        terminal.section("Evaluations", &eval_rows(&evals, Ids::of(args.format.verbose)));
    }
    let (waiting, failed) = failures(&evals);
    for (title, lines) in [("Waiting", waiting), ("Placement Failure", failed)] {
        if !lines.is_empty() {
            terminal.section(title, &lines.join("\n"));
        }
    }
    if let Some(newest) = latest_deployment(session, &found) {
        let ids = Ids::of(args.format.verbose);
        terminal.section("Latest Deployment", &basics_of_job(&newest, ids));
        terminal.section("Deployed", &deployed(&newest));
    }
    if let Some(later) = rescheduled(&allocs, &evals, Ids::of(args.format.verbose)) {
        terminal.section("Future Rescheduling Attempts", &later);
    }
    if allocs.items().is_empty() {
        terminal.section("Allocations", "No allocations placed");
    } else {
        let rows = alloc_rows(allocs.items(), args.format.verbose, time::now_unix_ns());
        terminal.section("Allocations", &rows);
    }
    Ok(Exit::Done)
}

/// Agents of earlier versions have none, and say so in many ways.
fn latest_deployment(session: &mut Session, found: &FoundJob) -> Option<Value> {
    let query = [("namespace", found.namespace.as_str())];
    let newest = session.client.get(&found.path("/deployment"), &query).ok()?;
    newest.is_object().then_some(newest)
}

fn ask(session: &mut Session, found: &FoundJob, rest: &str, what: &str) -> Result<Value, Failure> {
    let query = [("namespace", found.namespace.as_str())];
    session.client.get(&found.path(rest), &query).map_err(error(what))
}

fn basics(job: &Value) -> String {
    let datacenters: Vec<_> = job.list("Datacenters").iter().filter_map(Value::as_str).collect();
    let pool = job.text("NodePool");
    let mut pairs = vec![
        ("ID", job.text("ID").to_owned()),
        ("Name", job.text("Name").to_owned()),
        ("Submit Date", time::stamp(job.int("SubmitTime"))),
        ("Type", job.text("Type").to_owned()),
        ("Priority", job.int("Priority").to_string()),
        ("Datacenters", datacenters.join(",")),
        ("Namespace", job.text("Namespace").to_owned()),
        ("Node Pool", if pool.is_empty() { "default" } else { pool }.to_owned()),
        ("Status", status(job)),
        ("Periodic", job.at("Periodic").is_object().to_string()),
        ("Parameterized", job.at("ParameterizedJob").is_object().to_string()),
    ];
    pairs.extend(launch::next_launch(job).map(|next| ("Next Periodic Launch", next)));
    if !job.text("ParentID").is_empty() {
        pairs.push(("Parent Job", job.text("ParentID").to_owned()));
    }
    let description = job.text("StatusDescription");
    if !description.is_empty() {
        pairs.insert(9, ("Status Description", description.to_owned()));
    }
    block(&pairs)
}

fn groups(summary: &Value) -> String {
    const COUNTS: [&str; 7] =
        ["Queued", "Starting", "Running", "Failed", "Complete", "Lost", "Unknown"];
    let row = |(name, counts): (&str, &Value)| {
        let mut row = vec![name.to_owned()];
        row.extend(COUNTS.map(|key| counts.int(key).to_string()));
        row
    };
    let rows: Vec<_> = summary.entries("Summary").into_iter().map(row).collect();
    let mut header = vec!["Task Group"];
    header.extend(COUNTS);
    table(&header, &rows)
}

fn eval_rows(evals: &Value, ids: Ids) -> String {
    let mut sorted: Vec<_> = evals.items().iter().collect();
    sorted.sort_by_key(|eval| (-eval.int("CreateIndex"), eval.text("ID")));
    let row = |eval: &&Value| {
        vec![
            ids.show(eval.text("ID")),
            eval.int("Priority").to_string(),
            eval.text("TriggeredBy").to_owned(),
            eval.text("Status").to_owned(),
            reasons::placement_failures(eval).to_owned(),
        ]
    };
    let rows: Vec<_> = sorted.iter().map(row).collect();
    table(&["ID", "Priority", "Triggered By", "Status", "Placement Failures"], &rows)
}

/// What groups wait for, and why others found no room: only while an evaluation is blocked, and only the
/// newest reasons.
fn failures(evals: &Value) -> (Vec<String>, Vec<String>) {
    let (mut waiting, mut lines) = (Vec::new(), Vec::new());
    if !evals.items().iter().any(|eval| eval.text("Status") == "blocked") {
        return (waiting, lines);
    }
    let failed = evals.items().iter().filter(|eval| !eval.entries("FailedTGAllocs").is_empty());
    let newest = failed.max_by_key(|eval| eval.int("CreateIndex"));
    let entries = newest.map(|eval| eval.entries("FailedTGAllocs")).unwrap_or_default();
    for (group, metrics) in entries {
        if !metrics.list("Waits").is_empty() {
            waiting.extend(reasons::waits(metrics).into_iter().map(str::to_owned));
            continue;
        }
        lines.push(format!("Task Group \"{group}\":"));
        lines.extend(reasons::lines(metrics, "  "));
    }
    (waiting, lines)
}

/// Failed allocations that will be placed anew later, and when.
fn rescheduled(allocs: &Value, evals: &Value, ids: Ids) -> Option<String> {
    let now = time::now_unix_ns();
    let mut rows = Vec::new();
    for alloc in allocs.items() {
        let follow_up = alloc.text("FollowupEvalID");
        let eval = evals
            .items()
            .iter()
            .find(|eval| eval.text("ID") == follow_up && eval.text("Status") == "pending");
        if let Some(wait) = eval.and_then(|eval| time::parse(eval.text("WaitUntil"))) {
            let group = alloc.text("TaskGroup").to_owned();
            rows.push(vec![group, ids.show(follow_up), time::ago(wait, now)]);
        }
    }
    (!rows.is_empty()).then(|| table(&["Task Group", "Eval ID", "Eval Time"], &rows))
}
