//! `drover deployment`: new versions on their way.
//!
//! Invariants
//! - what steers a deployment is sent once, for exactly one.
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::api::{Fields as _, Ids};
use crate::args::Format;
use crate::commands::{Ended, Session};
use crate::deployment::{basics, deployed, follow};
use crate::failure::{Exit, Failure, error};
use crate::find::alloc_rows;
use crate::monitor::monitor;
use crate::table::table;
use crate::time;

#[derive(Debug, Subcommand)]
pub(crate) enum DeploymentCommand {
    #[command(about = "List deployments")]
    List(ListArgs),
    #[command(about = "Show a deployment and its allocations")]
    Status(StatusArgs),
    #[command(about = "Let the version of the canaries take over")]
    Promote(PromoteArgs),
    #[command(about = "Place nothing more of the new version for now")]
    Pause(SteerArgs),
    #[command(about = "Go on after a pause")]
    Resume(SteerArgs),
    #[command(about = "Give the new version up")]
    Fail(SteerArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    format: Format,
}

#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    #[arg(value_name = "DEPLOYMENT", help = "The deployment, or the beginning of its id")]
    deployment: String,
    #[arg(long, help = "Watch it to its end")]
    monitor: bool,
    #[command(flatten)]
    format: Format,
}

/// Which deployment, and whether to watch what follows.
#[derive(Args, Debug)]
pub(crate) struct SteerArgs {
    #[arg(value_name = "DEPLOYMENT", help = "The deployment, or the beginning of its id")]
    deployment: String,
    #[arg(long, help = "Do not watch: print the evaluation's id and end")]
    detach: bool,
    #[arg(long, help = "Print ids in full")]
    verbose: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PromoteArgs {
    #[command(flatten)]
    steer: SteerArgs,
    #[arg(long = "group", value_name = "GROUP", help = "Only this group; may be repeated")]
    groups: Vec<String>,
}

pub(crate) fn run(command: &DeploymentCommand, session: &mut Session) -> Ended {
    match command {
        DeploymentCommand::List(args) => list(&args.format, session),
        DeploymentCommand::Status(args) => status(args, session),
        DeploymentCommand::Promote(args) => {
            let id = find(&args.steer, session)?;
            let watch = Watch { detach: args.steer.detach, verbose: args.steer.verbose };
            promote(&id, &args.groups, watch, session)
        }
        DeploymentCommand::Pause(args) => {
            let id = find(args, session)?;
            steer(&format!("pause/{id}"), &json!({ "DeploymentID": id, "Pause": true }), session)?;
            session.terminal.line(&format!("Deployment \"{}\" paused", shown(args, &id)));
            Ok(Exit::Done)
        }
        DeploymentCommand::Resume(args) => {
            let id = find(args, session)?;
            let body = json!({ "DeploymentID": id, "Pause": false });
            let answer = steer(&format!("pause/{id}"), &body, session)?;
            session.terminal.line(&format!("Deployment \"{}\" resumed", shown(args, &id)));
            watch(&answer, Watch { detach: args.detach, verbose: args.verbose }, session)
        }
        DeploymentCommand::Fail(args) => {
            let id = find(args, session)?;
            let answer = steer(&format!("fail/{id}"), &json!({ "DeploymentID": id }), session)?;
            session.terminal.line(&format!("Deployment \"{}\" marked as failed", shown(args, &id)));
            if let Some(version) = answer.at("RevertedJobVersion").as_u64() {
                session.terminal.line(&format!("Job goes back, as version {version}"));
            }
            watch(&answer, Watch { detach: args.detach, verbose: args.verbose }, session)
        }
    }
}

/// What is watched after a write.
#[derive(Clone, Copy)]
pub(crate) struct Watch {
    pub(crate) detach: bool,
    pub(crate) verbose: bool,
}

fn shown(args: &SteerArgs, id: &str) -> String {
    Ids::of(args.verbose).show(id)
}

fn find(args: &SteerArgs, session: &mut Session) -> Result<String, Failure> {
    Ok(session.find_deployment(&args.deployment)?.text("ID").to_owned())
}

fn steer(rest: &str, body: &Value, session: &mut Session) -> Result<Value, Failure> {
    let answer = session.client.put(&format!("/v1/deployment/{rest}"), &[], body);
    answer.map_err(error("steering deployment"))
}

/// Promote the groups (none: all) of the deployment, and watch what comes of it.
pub(crate) fn promote(id: &str, groups: &[String], then: Watch, session: &mut Session) -> Ended {
    let all = groups.is_empty();
    let body = json!({ "DeploymentID": id, "All": all, "Groups": groups });
    let answer = steer(&format!("promote/{id}"), &body, session)?;
    watch(&answer, then, session)
}

fn watch(answer: &Value, then: Watch, session: &mut Session) -> Ended {
    let eval = answer.text("EvalID");
    if eval.is_empty() {
        return Ok(Exit::Done);
    }
    if then.detach {
        session.terminal.line(&format!("Evaluation ID: {eval}"));
        return Ok(Exit::Done);
    }
    monitor(session, eval, then.verbose)
}

fn list(format: &Format, session: &mut Session) -> Ended {
    format.check()?;
    let deployments = session.client.get("/v1/deployments", &[]);
    let deployments = deployments.map_err(error("retrieving deployments"))?;
    if format.json {
        return session.print_json(&deployments);
    }
    if deployments.items().is_empty() {
        session.terminal.line("No deployments found");
        return Ok(Exit::Done);
    }
    session.terminal.line(&rows(deployments.items(), Ids::of(format.verbose)));
    Ok(Exit::Done)
}

/// A table of deployments, newest first.
pub(crate) fn rows(deployments: &[Value], ids: Ids) -> String {
    let mut sorted: Vec<_> = deployments.iter().collect();
    sorted.sort_by_key(|one| (-one.int("CreateIndex"), one.text("ID")));
    let row = |one: &&Value| {
        vec![
            ids.show(one.text("ID")),
            one.text("JobID").to_owned(),
            one.int("JobVersion").to_string(),
            one.text("Status").to_owned(),
            one.text("StatusDescription").to_owned(),
        ]
    };
    let rows: Vec<_> = sorted.iter().map(row).collect();
    table(&["ID", "Job ID", "Job Version", "Status", "Description"], &rows)
}

fn status(args: &StatusArgs, session: &mut Session) -> Ended {
    if args.monitor {
        let found = session.find_deployment(&args.deployment)?;
        return follow(session, found.text("ID"), Ids::of(args.format.verbose));
    }
    show(&args.deployment, &args.format, session)
}

/// The deployment that `typed` begins the id of.
pub(crate) fn show(typed: &str, format: &Format, session: &mut Session) -> Ended {
    format.check()?;
    let found = session.find_deployment(typed)?;
    if format.json {
        return session.print_json(&found);
    }
    let ids = Ids::of(format.verbose);
    session.terminal.line(&basics(&found, ids));
    session.terminal.section("Deployed", &deployed(&found));
    let path = format!("/v1/deployment/allocations/{}", found.text("ID"));
    let allocs = session.client.get(&path, &[]).map_err(error("querying allocations"))?;
    if allocs.items().is_empty() {
        session.terminal.section("Allocations", "No allocations placed");
    } else {
        let rows = alloc_rows(allocs.items(), format.verbose, time::now_unix_ns());
        session.terminal.section("Allocations", &rows);
    }
    Ok(Exit::Done)
}
