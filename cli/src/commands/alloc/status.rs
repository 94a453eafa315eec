//! `drover alloc status`: what became of one copy of a group.
//!
//! Invariants
//! - what the servers know is shown even if the node cannot be asked.
use clap::Args;
use serde_json::Value;

use crate::api::{Fields as _, Ids};
use crate::args::Format;
use crate::commands::{Ended, Session};
use crate::failure::Exit;
use crate::reasons;
use crate::table::{block, bytes, mebibytes, table};
use crate::terminal::Terminal;
use crate::time;

#[derive(Args, Debug)]
pub(crate) struct AllocStatusArgs {
    #[arg(value_name = "ALLOC", help = "The allocation, or the beginning of its id")]
    id: String,
    #[arg(long, help = "Only the first block, and the tasks in a line each")]
    short: bool,
    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(args: &AllocStatusArgs, session: &mut Session) -> Ended {
    if !args.short {
        return show(&args.id, &args.format, session);
    }
    args.format.check()?;
    let alloc = session.find_alloc(&args.id)?;
    session.terminal.line(&basics(&alloc, &args.format));
    session.terminal.section("Tasks", &task_rows(&alloc));
    Ok(Exit::Done)
}

/// The allocation that `typed` begins the id of.
pub(crate) fn show(typed: &str, format: &Format, session: &mut Session) -> Ended {
    format.check()?;
    let alloc = session.find_alloc(typed)?;
    if format.json {
        return session.print_json(&alloc);
    }
    let stats = if alloc.text("ClientStatus") == "running" {
        let path = format!("/v1/client/allocation/{}/stats", alloc.text("ID"));
        session.of_node(&alloc, |client| client.get(&path, &[])).unwrap_or_default()
    } else {
        Value::Null
    };
    let terminal = session.terminal;
    terminal.line(&basics(&alloc, format));
    let addresses = addresses(&alloc);
    if !addresses.is_empty() {
        terminal.section("Allocation Addresses:", &addresses);
    }
    let volumes = volumes(&alloc);
    if !volumes.is_empty() {
        terminal.section("Host Volumes:", &volumes);
    }
    for (name, state) in alloc.entries("TaskStates") {
        task(terminal, &alloc, name, state, &stats);
    }
    let metrics = alloc.at("Metrics");
    let reasons = reasons::lines(metrics, "  ");
    if format.verbose || (!reasons.is_empty() && metrics.int("CoalescedFailures") > 0) {
        let mut lines = reasons;
        lines.push(reasons::scores(metrics));
        lines.retain(|line| !line.is_empty());
        terminal.section("Placement Metrics", &lines.join("\n"));
    }
    Ok(Exit::Done)
}

fn basics(alloc: &Value, format: &Format) -> String {
    let ids = Ids::of(format.verbose);
    let now = time::now_unix_ns();
    let when = |key: &str| {
        let at = alloc.int(key);
        if format.verbose { time::stamp(at) } else { time::ago(at, now) }
    };
    let mut pairs = vec![
        ("ID", alloc.text("ID").to_owned()),
        ("Eval ID", ids.show(alloc.text("EvalID"))),
        ("Name", alloc.text("Name").to_owned()),
        ("Node ID", ids.show(alloc.text("NodeID"))),
        ("Node Name", alloc.text("NodeName").to_owned()),
        ("Job ID", alloc.text("JobID").to_owned()),
        ("Job Version", version(alloc)),
        ("Client Status", alloc.text("ClientStatus").to_owned()),
        ("Client Description", alloc.text("ClientDescription").to_owned()),
        ("Desired Status", alloc.text("DesiredStatus").to_owned()),
        ("Desired Description", alloc.text("DesiredDescription").to_owned()),
        ("Created", when("CreateTime")),
        ("Modified", when("ModifyTime")),
    ];
    if !alloc.text("DeploymentID").is_empty() {
        pairs.push(("Deployment ID", ids.show(alloc.text("DeploymentID"))));
        let health = match alloc.at("DeploymentStatus").at("Healthy").as_bool() {
            None => "unset",
            Some(true) => "healthy",
            Some(false) => "unhealthy",
        };
        pairs.push(("Deployment Health", health.to_owned()));
    }
    let attempts = alloc.at("RescheduleTracker").list("Events").len();
    if attempts > 0 {
        pairs.push(("Reschedule Attempts", attempts.to_string()));
    }
    for (name, key) in
        [("Previous Alloc ID", "PreviousAllocation"), ("Replacement Alloc ID", "NextAllocation")]
    {
        if !alloc.text(key).is_empty() {
            pairs.push((name, ids.show(alloc.text(key))));
        }
    }
    block(&pairs)
}

/// What its group asks for; empty where that is nothing.
fn volumes(alloc: &Value) -> String {
    let mut groups = alloc.at("Job").list("TaskGroups").iter();
    let group = groups.find(|group| group.text("Name") == alloc.text("TaskGroup"));
    let volumes = group.map(|group| group.entries("Volumes")).unwrap_or_default();
    let row = |(_, volume): (&str, &Value)| {
        vec![volume.text("Source").to_owned(), volume.flag("ReadOnly").to_string()]
    };
    let rows: Vec<_> = volumes.into_iter().map(row).collect();
    if rows.is_empty() { String::new() } else { table(&["ID", "Read Only"], &rows) }
}

/// A whole alloc carries its job; one of a list only the version.
fn version(alloc: &Value) -> String {
    let job = alloc.at("Job");
    let version = if job.is_object() { job.int("Version") } else { alloc.int("JobVersion") };
    version.to_string()
}

fn addresses(alloc: &Value) -> String {
    let shared = alloc.at("AllocatedResources").at("Shared");
    let dynamic = |label: &str| {
        shared.list("Networks").iter().any(|network| {
            network.list("DynamicPorts").iter().any(|port| port.text("Label") == label)
        })
    };
    let row = |port: &Value| {
        let label = port.text("Label");
        let to = match port.int("To") {
            0 => String::new(),
            to => format!(" -> {to}"),
        };
        vec![
            format!("*{label}"),
            if dynamic(label) { "yes" } else { "no" }.to_owned(),
            format!("{}:{}{to}", port.text("HostIP"), port.int("Value")),
        ]
    };
    let rows: Vec<_> = shared.list("Ports").iter().map(row).collect();
    if rows.is_empty() { String::new() } else { table(&["Label", "Dynamic", "Address"], &rows) }
}

fn task(terminal: Terminal, alloc: &Value, name: &str, state: &Value, stats: &Value) {
    terminal.section(
        &format!("Task \"{name}\" is \"{}\"", state.text("State")),
        &format!("Task Resources:\n{}", resources(alloc, name, stats)),
    );
    let moment = |key: &str| time::stamp(time::parse(state.text(key)).unwrap_or(0));
    let events = block(&[
        ("Started At", moment("StartedAt")),
        ("Finished At", moment("FinishedAt")),
        ("Total Restarts", state.int("Restarts").to_string()),
        ("Last Restart", moment("LastRestart")),
    ]);
    terminal.section("Task Events:", &events);
    let row = |event: &Value| {
        let message = event.text("DisplayMessage");
        let message = if message.is_empty() { event.text("Message") } else { message };
        vec![time::stamp(event.int("Time")), event.text("Type").to_owned(), message.to_owned()]
    };
    let rows: Vec<_> = state.list("Events").iter().rev().map(row).collect();
    terminal.section("Recent Events:", &table(&["Time", "Type", "Description"], &rows));
}

/// What the task uses, where that is known, of what it was given.
fn resources(alloc: &Value, name: &str, stats: &Value) -> String {
    let held = alloc.at("AllocatedResources");
    let given = held.at("Tasks").at(name);
    let used = stats.at("Tasks").at(name).at("ResourceUsage");
    let (mut cpu, mut memory) = (
        given.at("Cpu").int("CpuShares").to_string(),
        mebibytes(given.at("Memory").int("MemoryMB")),
    );
    let cores: Vec<String> =
        given.at("Cpu").list("ReservedCores").iter().map(Value::to_string).collect();
    if used.is_object() {
        let ticks = used.at("CpuStats").at("TotalTicks").as_f64().unwrap_or(0.0);
        cpu = format!("{ticks:.0}/{cpu}");
        let of = used.at("MemoryStats");
        let measured = if of.int("RSS") > 0 { of.int("RSS") } else { of.int("Usage") };
        memory = format!("{}/{memory}", bytes(u64::try_from(measured).unwrap_or(0)));
    }
    let of = if cores.is_empty() { String::new() } else { format!(" (cores {})", cores.join(",")) };
    match given.at("Memory").int("MemoryMaxMB") {
        0 => {}
        most if most < 0 => memory.push_str(" (may use more, without a limit)"),
        most => memory.push_str(&format!(" (may use {})", mebibytes(most))),
    }
    let disk = mebibytes(held.at("Shared").int("DiskMB"));
    let grants = given.list("Devices").iter().map(|grant| {
        let ids: Vec<_> = grant.list("DeviceIDs").iter().filter_map(Value::as_str).collect();
        let name = ["Vendor", "Type", "Name"].map(|key| grant.text(key)).join("/");
        format!("\nDevice {name}: {}", ids.join(", "))
    });
    let grants: String = grants.collect();
    table(&["CPU", "Memory", "Disk"], &[vec![format!("{cpu} MHz{of}"), memory, disk]]) + &grants
}

fn task_rows(alloc: &Value) -> String {
    let row = |(name, state): (&str, &Value)| {
        let last = state.list("Events").last();
        let at = last.map_or(0, |event| event.int("Time"));
        let event = last.map_or("", |event| event.text("Type"));
        vec![name.to_owned(), state.text("State").to_owned(), event.to_owned(), time::stamp(at)]
    };
    let rows: Vec<_> = alloc.entries("TaskStates").into_iter().map(row).collect();
    table(&["Name", "State", "Last Event", "Time"], &rows)
}
