//! Deployments as they are shown, and watching one to its end.
//!
//! Invariants
//! - every change is said once;
//! - who went back to an older version is told so, and that the new one failed.
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::api::{Fields as _, Ids};
use crate::client::escaped;
use crate::commands::{Ended, Session};
use crate::failure::{Exit, Failure, error};
use crate::table::{block, table};
use crate::time;
use crate::watch::{Watch, heading, say};

/// How long the servers may take to begin with the version that they go back to.
const WAY_BACK: Duration = Duration::from_secs(10);

/// Whether something can still come of it.
pub(crate) fn is_active(deployment: &Value) -> bool {
    matches!(deployment.text("Status"), "running" | "paused")
}

/// The first lines about a deployment.
pub(crate) fn basics(deployment: &Value, ids: Ids) -> String {
    block(&[
        ("ID", ids.show(deployment.text("ID"))),
        ("Job ID", deployment.text("JobID").to_owned()),
        ("Job Version", deployment.int("JobVersion").to_string()),
        ("Status", deployment.text("Status").to_owned()),
        ("Description", deployment.text("StatusDescription").to_owned()),
    ])
}

/// The same below a job, which is known there.
pub(crate) fn basics_of_job(deployment: &Value, ids: Ids) -> String {
    block(&[
        ("ID", ids.show(deployment.text("ID"))),
        ("Status", deployment.text("Status").to_owned()),
        ("Description", deployment.text("StatusDescription").to_owned()),
    ])
}

/// How far each group has come; columns that say nothing for any group are left out.
pub(crate) fn deployed(deployment: &Value) -> String {
    let groups = deployment.entries("TaskGroups");
    let any = |is: fn(&Value) -> bool| groups.iter().any(|(_, group)| is(group));
    let has_canaries = any(|group| 0 < group.int("DesiredCanaries"));
    let reverts = any(|group| group.flag("AutoRevert"));
    let mut header = vec!["Task Group"];
    header.extend(reverts.then_some("Auto Revert"));
    header.extend(has_canaries.then_some("Promoted"));
    header.push("Desired");
    header.extend(has_canaries.then_some("Canaries"));
    header.extend(["Placed", "Healthy", "Unhealthy", "Progress Deadline"]);
    let row = |(name, group): &(&str, &Value)| {
        let has_own = 0 < group.int("DesiredCanaries");
        let mut row = vec![(*name).to_owned()];
        row.extend(reverts.then(|| group.flag("AutoRevert").to_string()));
        let promoted = if has_own { group.flag("Promoted").to_string() } else { "N/A".to_owned() };
        row.extend(has_canaries.then_some(promoted));
        row.push(group.int("DesiredTotal").to_string());
        row.extend(has_canaries.then(|| group.int("DesiredCanaries").to_string()));
        let counts = ["PlacedAllocs", "HealthyAllocs", "UnhealthyAllocs"];
        row.extend(counts.map(|key| group.int(key).to_string()));
        let has_deadline = 0 < group.int("ProgressDeadline");
        let due = time::parse(group.text("RequireProgressBy")).filter(|_| has_deadline);
        row.push(due.map_or_else(|| "N/A".to_owned(), time::stamp));
        row
    };
    let rows: Vec<_> = groups.iter().map(row).collect();
    table(&header, &rows)
}

/// One line about each group.
fn progress(deployment: &Value) -> String {
    let line = |(name, group): (&str, &Value)| {
        let (healthy, total) = (group.int("HealthyAllocs"), group.int("DesiredTotal"));
        let canaries = group.int("DesiredCanaries");
        let what = if 0 < canaries && !group.flag("Promoted") {
            format!("{healthy} of {canaries} canaries healthy")
        } else {
            format!("{healthy} of {total} healthy")
        };
        let ill = group.int("UnhealthyAllocs");
        let ill = if ill == 0 { String::new() } else { format!(", {ill} unhealthy") };
        format!("group \"{name}\": {what}, {} placed{ill}", group.int("PlacedAllocs"))
    };
    deployment.entries("TaskGroups").into_iter().map(line).collect::<Vec<_>>().join("; ")
}

/// Watches the deployment to its end, and the one that goes back if it fails.
pub(crate) fn follow(session: &mut Session, id: &str, ids: Ids) -> Ended {
    let short = ids.show(id);
    crate::interrupt::say_on_interrupt(format!(
        "\nNot watching any more; the servers go on. See: drover deployment status {short}"
    ));
    heading(session, &format!("Monitoring deployment \"{short}\""));
    let ended = watch(session, id)?;
    let status = ended.text("Status");
    heading(session, &format!("Deployment \"{short}\" finished with status \"{status}\""));
    if status == "successful" {
        return Ok(Exit::Done);
    }
    say(session, ended.text("StatusDescription"));
    if let Some(back) = way_back(session, &ended)? {
        follow(session, &back, ids)?;
    }
    Ok(Exit::Failed)
}

/// Says what changes until nothing does any more.
fn watch(session: &mut Session, id: &str) -> Result<Value, Failure> {
    let mut watch = Watch::new(format!("/v1/deployment/{id}"));
    let (mut said_progress, mut said_words) = (String::new(), String::new());
    loop {
        let deployment = watch.look(session).map_err(error("reading deployment"))?;
        let (line, words) = (progress(&deployment), deployment.text("StatusDescription"));
        if line != said_progress {
            say(session, &line);
            said_progress = line;
        }
        if words != said_words && is_active(&deployment) {
            say(session, words);
            if words.contains("manual promotion") {
                let id = Ids::Short.show(deployment.text("ID"));
                say(session, &format!("Promote it with: drover deployment promote {id}"));
            }
            words.clone_into(&mut said_words);
        }
        if !is_active(&deployment) {
            return Ok(deployment);
        }
    }
}

/// The deployment of the version that the servers went back to.
fn way_back(session: &mut Session, failed: &Value) -> Result<Option<String>, Failure> {
    if !failed.text("StatusDescription").contains("- rolling back") {
        return Ok(None);
    }
    let path = format!("/v1/job/{}/deployment", escaped(failed.text("JobID")));
    let mut watch = Watch::new(path).within(failed.text("Namespace"));
    // The plan that makes it may still be on its way.
    let asked = Instant::now();
    while asked.elapsed() < WAY_BACK {
        let newest = watch.look(session).map_err(error("querying deployment"))?;
        if failed.int("JobVersion") < newest.int("JobVersion") {
            return Ok(Some(newest.text("ID").to_owned()));
        }
    }
    Ok(None)
}
