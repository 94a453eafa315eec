//! `drover job explain`: where the next alloc of a job would go, and why nowhere else.
//!
//! Invariants
//! - nothing is changed on the servers.
use clap::Args;

use crate::api::{Fields as _, Ids};
use crate::args::Format;
use crate::commands::{Ended, Session};
use crate::comparison;
use crate::failure::{Exit, error};
use crate::terminal::Style;

/// Candidates that are listed when everything is wanted.
const ALL: &str = "10000";

#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    #[arg(value_name = "JOB", help = "The job, or the beginning of its id")]
    job: String,
    #[arg(value_name = "GROUP", conflicts_with = "group", help = "Only this group")]
    of: Option<String>,
    #[arg(long, value_name = "NAME", help = "The same")]
    group: Option<String>,
    #[arg(
        long,
        value_name = "NODE",
        help = "Also this node in full, by its name or the beginning of its id: each demand, what it \
                has, its score and rank"
    )]
    node: Option<String>,
    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(args: &ExplainArgs, session: &mut Session) -> Ended {
    args.format.check()?;
    let found = session.find_job(&args.job)?;
    let mut query = vec![("namespace", found.namespace.as_str())];
    query.extend(args.group.as_deref().or(args.of.as_deref()).map(|group| ("group", group)));
    query.extend(args.node.as_deref().map(|node| ("node", node)));
    query.extend(args.format.verbose.then_some(("per_page", ALL)));
    let answer =
        session.client.get(&found.path("/explain"), &query).map_err(error("explaining job"))?;
    if args.format.json {
        return session.print_json(&answer);
    }
    let terminal = session.terminal;
    let (id, version, index) = (answer.text("JobID"), answer.int("Version"), answer.int("Index"));
    let heading = format!("Job \"{id}\", version {version}, as of index {index}");
    terminal.line(&terminal.paint(Style::Heading, &heading));
    for group in answer.list("Groups") {
        comparison::group(terminal, group, Ids::of(args.format.verbose));
    }
    Ok(Exit::Done)
}
