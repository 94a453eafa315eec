//! Watching an evaluation until it is settled, a line for everything that changes.
//!
//! Invariants
//! - every change is said once.
use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::{Fields as _, Ids};
use crate::commands::{Ended, Session};
use crate::deployment::follow;
use crate::failure::{Exit, Failure, Refusal, error};
use crate::reasons;
use crate::watch::{Watch, heading, say};

/// A follower may not have heard of a new evaluation for this many looks.
const UNKNOWN_MAX: u32 = 25;

/// What was last said of the things that are watched.
#[derive(Default)]
struct Said {
    status: String,
    job: bool,
    deployment: bool,
    /// Client status by alloc.
    allocs: BTreeMap<String, String>,
}

/// Watches `eval` to its end, and then the deployment that it is a part of.
pub(crate) fn monitor(session: &mut Session, eval: &str, verbose: bool) -> Ended {
    let (exit, deployment) = monitor_eval(session, eval, verbose)?;
    match deployment.filter(|_| exit == Exit::Done) {
        // Who finds no room is told so at once: a deployment would be waited for in vain.
        None => Ok(exit),
        Some(deployment) => follow(session, &deployment, Ids::of(verbose)),
    }
}

/// Watches `eval` to its end. Answers its deployment, if it has one that goes on.
fn monitor_eval(
    session: &mut Session,
    eval: &str,
    verbose: bool,
) -> Result<(Exit, Option<String>), Failure> {
    let ids = Ids::of(verbose);
    let short = ids.show(eval);
    crate::interrupt::say_on_interrupt(format!(
        "\nNot watching any more; the servers go on. See: drover eval status {short}"
    ));
    heading(session, &format!("Monitoring evaluation \"{short}\""));
    let mut said = Said::default();
    let path = format!("/v1/evaluation/{eval}");
    let mut watch = Watch::new(path.clone());
    let mut unknown = 0;
    loop {
        let eval = match watch.look(session) {
            Ok(eval) => eval,
            Err(Refusal::Status { code: 404, .. }) if unknown < UNKNOWN_MAX => {
                unknown += 1;
                continue;
            }
            Err(refusal) => return Err(error("reading evaluation")(refusal)),
        };
        if !said.job {
            said.job = true;
            say(session, &triggered_by(&eval, ids));
        }
        if !eval.text("DeploymentID").is_empty() && !said.deployment {
            said.deployment = true;
            let deployment = ids.show(eval.text("DeploymentID"));
            say(session, &format!("Evaluation within deployment: \"{deployment}\""));
        }
        say_allocs(session, &path, &mut said, &eval, ids)?;
        let status = eval.text("Status");
        if said.status != status {
            if !said.status.is_empty() || status != "pending" {
                let before = if said.status.is_empty() { "pending" } else { &said.status };
                let line = format!("Evaluation status changed: \"{before}\" -> \"{status}\"");
                say(session, &line);
            }
            said.status = status.to_owned();
        }
        if !matches!(status, "pending" | "blocked") {
            let deployment = Some(eval.text("DeploymentID")).filter(|id| !id.is_empty());
            let deployment = deployment.map(str::to_owned);
            return Ok((finish(session, &eval, verbose), deployment));
        }
    }
}

fn triggered_by(eval: &Value, ids: Ids) -> String {
    match eval.text("TriggeredBy") {
        "node-update" => {
            format!("Evaluation triggered by node \"{}\"", ids.show(eval.text("NodeID")))
        }
        _ => format!("Evaluation triggered by job \"{}\"", eval.text("JobID")),
    }
}

fn say_allocs(
    session: &mut Session,
    path: &str,
    said: &mut Said,
    eval: &Value,
    ids: Ids,
) -> Result<(), Failure> {
    let allocs = session
        .client
        .get(&format!("{path}/allocations"), &[])
        .map_err(error("reading allocations"))?;
    let mut allocs: Vec<_> = allocs.items().iter().collect();
    allocs.sort_by_key(|alloc| (alloc.int("CreateIndex"), alloc.text("Name"), alloc.text("ID")));
    for alloc in allocs {
        let (id, status) = (alloc.text("ID"), alloc.text("ClientStatus"));
        let short = ids.show(id);
        let place = format!(
            "node \"{}\", group \"{}\"",
            ids.show(alloc.text("NodeID")),
            alloc.text("TaskGroup")
        );
        match said.allocs.get(id) {
            Some(before) if before != status => {
                let change = format!("\"{before}\" -> \"{status}\"");
                say(session, &format!("Allocation \"{short}\" status changed: {change}"));
            }
            Some(_) => (),
            // An alloc that is older than the evaluation was changed by it.
            None if alloc.int("CreateIndex") < eval.int("CreateIndex") => {
                say(session, &format!("Allocation \"{short}\" modified: {place}"));
            }
            None => say(session, &format!("Allocation \"{short}\" created: {place}")),
        }
        said.allocs.insert(id.to_owned(), status.to_owned());
    }
    Ok(())
}

fn finish(session: &Session, eval: &Value, verbose: bool) -> Exit {
    let ids = Ids::of(verbose);
    let (id, status) = (ids.show(eval.text("ID")), eval.text("Status"));
    let failed = eval.entries("FailedTGAllocs");
    if failed.is_empty() {
        heading(session, &format!("Evaluation \"{id}\" finished with status \"{status}\""));
        let description = eval.text("StatusDescription");
        if status == "complete" {
            return Exit::Done;
        }
        if !description.is_empty() {
            say(session, description);
        }
        return Exit::Failed;
    }
    let waits = reasons::only_wait(&failed);
    let but = if waits { "and waits:" } else { "but failed to place all allocations:" };
    heading(session, &format!("Evaluation \"{id}\" finished with status \"{status}\" {but}"));
    for &(group, metrics) in &failed {
        say(session, &reasons::headline(group, metrics));
        for line in reasons::lines(metrics, "      ") {
            session.terminal.line(&line);
        }
    }
    let blocked = eval.text("BlockedEval");
    if !blocked.is_empty() {
        let blocked = ids.show(blocked);
        let wait = reasons::awaited(&failed);
        say(session, &format!("Evaluation \"{blocked}\" {wait}"));
    }
    // Whoever comes after something else has not failed.
    if waits { Exit::Waiting } else { Exit::Unplaced }
}
