//! `drover job scale` and `job scaling-events`.
use clap::Args;
use serde_json::{Value, json};

use crate::api::{Fields as _, Ids};
use crate::args::Format;
use crate::commands::{Ended, Session};
use crate::failure::{Exit, Failure, error};
use crate::find::FoundJob;
use crate::monitor::monitor;
use crate::table::table;
use crate::time;

#[derive(Args, Debug)]
pub(crate) struct ScaleArgs {
    #[arg(value_name = "JOB", help = "The job, or the beginning of its id")]
    job: String,
    #[arg(value_name = "[GROUP] COUNT", num_args = 1..=2, required = true)]
    #[arg(help = "The group, where the job has several, and how many allocs it is to have")]
    wanted: Vec<String>,
    #[arg(long, value_name = "TEXT", help = "Why, for the job's scaling events")]
    message: Option<String>,
    #[arg(long, help = "Do not watch: print the evaluation's id and end")]
    detach: bool,
    #[arg(long, help = "Print ids in full")]
    verbose: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ScalingEventsArgs {
    #[arg(value_name = "JOB", help = "The job, or the beginning of its id")]
    job: String,
    #[command(flatten)]
    format: Format,
}

fn ask(session: &mut Session, found: &FoundJob) -> Result<Value, Failure> {
    let query = [("namespace", found.namespace.as_str())];
    session.client.get(&found.path("/scale"), &query).map_err(error("querying job"))
}

pub(crate) fn scale(args: &ScaleArgs, session: &mut Session) -> Ended {
    let (group, count) = match &args.wanted[..] {
        [group, count] => (Some(group.clone()), count),
        [count] => (None, count),
        _ => return Err(Failure::new("write job scale JOB [GROUP] COUNT")),
    };
    let count: u32 = count
        .parse()
        .map_err(|_| Failure::new(format!("\"{count}\" is no count: write a whole number")))?;
    let found = session.find_job(&args.job)?;
    let group = match group {
        Some(group) => group,
        None => only_group(session, &found)?,
    };
    let message = args.message.as_deref().unwrap_or("submitted using the command line");
    let body = json!({ "Count": count, "Target": { "Group": group }, "Message": message });
    let query = [("namespace", found.namespace.as_str())];
    let answer = session.client.put(&found.path("/scale"), &query, &body);
    let answer = answer.map_err(error("scaling job"))?;
    let eval = answer.text("EvalID");
    if args.detach || eval.is_empty() {
        session.terminal.line(&format!("Evaluation ID: {eval}"));
        return Ok(Exit::Done);
    }
    monitor(session, eval, args.verbose)
}

fn only_group(session: &mut Session, found: &FoundJob) -> Result<String, Failure> {
    let shown = ask(session, found)?;
    let groups = shown.entries("TaskGroups");
    if let [(name, _)] = groups[..] {
        return Ok(name.to_owned());
    }
    let names: Vec<_> = groups.iter().map(|(name, _)| *name).collect();
    Err(Failure::new(format!(
        "job \"{}\" has several groups: say which one: {}",
        found.id,
        names.join(", ")
    )))
}

pub(crate) fn events(args: &ScalingEventsArgs, session: &mut Session) -> Ended {
    args.format.check()?;
    let found = session.find_job(&args.job)?;
    let shown = ask(session, &found)?;
    if args.format.json {
        return session.print_json(shown.at("TaskGroups"));
    }
    let mut rows = Vec::new();
    for (group, one) in shown.entries("TaskGroups") {
        rows.extend(one.list("Events").iter().map(|event| (group, event)));
    }
    if rows.is_empty() {
        session.terminal.line("No events found");
        return Ok(Exit::Done);
    }
    rows.sort_by_key(|(group, event)| (-event.int("Time"), *group));
    let ids = Ids::of(args.format.verbose);
    let row = |(group, event): &(&str, &Value)| {
        let count = event.at("Count");
        let mut row = vec![
            (*group).to_owned(),
            if count.is_null() { "<nil>".to_owned() } else { count.to_string() },
            event.int("PreviousCount").to_string(),
            event.flag("Error").to_string(),
            event.text("Message").to_owned(),
        ];
        if args.format.verbose {
            row.push(ids.show(event.text("EvalID")));
        }
        row.push(time::stamp(event.int("Time")));
        row
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    let mut header = vec!["Task Group", "Count", "PrevCount", "Error", "Message"];
    if args.format.verbose {
        header.push("Eval ID");
    }
    header.push("Date");
    session.terminal.line(&table(&header, &rows));
    Ok(Exit::Done)
}
