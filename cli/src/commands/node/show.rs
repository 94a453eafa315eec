//! `drover node status NODE`: one machine, what it has, and what runs on it.
//!
//! Invariants
//! - a node whose agent cannot be asked is shown all the same, only without its measurements.
use serde_json::Value;

use super::pool;
use crate::api::Fields as _;
use crate::args::Format;
use crate::commands::{Ended, Session};
use crate::failure::{Exit, error};
use crate::find::alloc_rows;
use crate::table::{block, bytes, mebibytes, table};
use crate::time;

pub(crate) fn show(typed: &str, format: &Format, session: &mut Session) -> Ended {
    format.check()?;
    let node = session.find_node(typed)?;
    if format.json {
        return session.print_json(&node);
    }
    let id = node.text("ID");
    let allocs = session.client.get(&format!("/v1/node/{id}/allocations"), &[]);
    let allocs = allocs.map_err(error("querying node allocations"))?;
    let stats = if node.text("Status") == "ready" {
        session.client.get("/v1/client/stats", &[("node_id", id)]).ok()
    } else {
        None
    };
    let terminal = session.terminal;
    terminal.line(&basics(&node, stats.as_ref()));
    if format.verbose {
        let volumes = volumes(&node);
        if !volumes.is_empty() {
            terminal.section("Host Volumes", &volumes);
        }
        terminal.section("Drivers", &drivers(&node));
        let networks = networks(&node);
        if !networks.is_empty() {
            terminal.section("Host Networks", &networks);
        }
    }
    let events = events(&node, format.verbose);
    if !events.is_empty() {
        terminal.section("Node Events", &events);
    }
    let devices = devices(&node, allocs.items());
    if !devices.is_empty() {
        terminal.section("Devices", &devices);
    }
    terminal.section("Allocated Resources", &allocated(&node, allocs.items()));
    if let Some(stats) = stats.filter(Value::is_object) {
        terminal.section("Host Resource Utilization", &used(&node, &stats));
    }
    if allocs.items().is_empty() {
        terminal.section("Allocations", "No allocations placed");
    } else {
        let rows = alloc_rows(allocs.items(), format.verbose, time::now_unix_ns());
        terminal.section("Allocations", &rows);
    }
    if format.verbose {
        terminal.section("Attributes", &settings(&node, "Attributes"));
        if !node.entries("Meta").is_empty() {
            terminal.section("Meta", &settings(&node, "Meta"));
        }
    }
    Ok(Exit::Done)
}

/// Only the first block of `show`.
pub(crate) fn basics_only(typed: &str, format: &Format, session: &mut Session) -> Ended {
    format.check()?;
    let node = session.find_node(typed)?;
    session.terminal.line(&basics(&node, None));
    Ok(Exit::Done)
}

fn basics(node: &Value, stats: Option<&Value>) -> String {
    let healthy = |(name, driver): (&str, &Value)| driver.flag("Healthy").then(|| name.to_owned());
    let healthy: Vec<_> = node.entries("Drivers").into_iter().filter_map(healthy).collect();
    let mut pairs = vec![
        ("ID", node.text("ID").to_owned()),
        ("Name", node.text("Name").to_owned()),
        ("Node Pool", pool(node)),
        ("Class", node.text("NodeClass").to_owned()),
        ("DC", node.text("Datacenter").to_owned()),
        ("Drain", node.flag("Drain").to_string()),
        ("Eligibility", node.text("SchedulingEligibility").to_owned()),
        ("Status", node.text("Status").to_owned()),
    ];
    if !node.text("StatusDescription").is_empty() {
        pairs.push(("Status Description", node.text("StatusDescription").to_owned()));
    }
    if let Some(uptime) = stats.map(|stats| stats.int("Uptime")).filter(|uptime| *uptime > 0) {
        pairs.push(("Uptime", time::span(uptime)));
    }
    let volumes: Vec<_> = node.entries("HostVolumes").into_iter().map(|(name, _)| name).collect();
    pairs.push(("Host Volumes", volumes.join(",")));
    pairs.push(("Driver Status", healthy.join(",")));
    pairs.extend(drained(node));
    block(&pairs)
}

/// How a drain goes on, or how the last one ended.
fn drained(node: &Value) -> Vec<(&'static str, String)> {
    let (strategy, last) = (node.at("DrainStrategy"), node.at("LastDrain"));
    let mut pairs = Vec::new();
    if node.flag("Drain") {
        let deadline = match (strategy.int("Deadline"), time::parse(strategy.text("ForceDeadline")))
        {
            (..0, _) => "by force".to_owned(),
            (0, _) | (_, None) => "none".to_owned(),
            (_, Some(at)) => time::stamp(at),
        };
        pairs.push(("Drain Deadline", deadline));
    } else if last.is_object() {
        let at = time::parse(last.text("UpdatedAt")).map(time::stamp).unwrap_or_default();
        pairs.push(("Last Drain", format!("{} at {at}", last.text("Status"))));
    }
    let message = last.at("Meta").text("message");
    if !message.is_empty() {
        pairs.push(("Drain Message", message.to_owned()));
    }
    pairs
}

fn drivers(node: &Value) -> String {
    let row = |(name, driver): (&str, &Value)| {
        let told = time::parse(driver.text("UpdateTime")).unwrap_or(0);
        vec![
            name.to_owned(),
            driver.flag("Detected").to_string(),
            driver.flag("Healthy").to_string(),
            driver.text("HealthDescription").to_owned(),
            time::stamp(told),
        ]
    };
    let rows: Vec<_> = node.entries("Drivers").into_iter().map(row).collect();
    table(&["Driver", "Detected", "Healthy", "Message", "Time"], &rows)
}

/// Each directory that tasks may have; empty where there is none.
fn volumes(node: &Value) -> String {
    let row = |(name, volume): (&str, &Value)| {
        let read_only = volume.flag("ReadOnly").to_string();
        vec![name.to_owned(), read_only, volume.text("Path").to_owned()]
    };
    let rows: Vec<_> = node.entries("HostVolumes").into_iter().map(row).collect();
    let header = ["Name", "ReadOnly", "Source"];
    if rows.is_empty() { String::new() } else { table(&header, &rows) }
}

/// Each interface that leads elsewhere; empty where none is known.
fn networks(node: &Value) -> String {
    let row = |network: &Value| {
        let addresses = network.list("Addresses").iter();
        let alias = addresses.clone().map(|address| address.text("Alias")).next();
        let addresses: Vec<_> = addresses.map(|address| address.text("Address")).collect();
        vec![
            network.text("Device").to_owned(),
            alias.unwrap_or_default().to_owned(),
            format!("{} Mbit/s", network.int("Speed")),
            addresses.join(", "),
        ]
    };
    let rows: Vec<_> = node.at("NodeResources").list("NodeNetworks").iter().map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    table(&["Device", "Alias", "Speed", "Addresses"], &rows)
}

fn events(node: &Value, verbose: bool) -> String {
    // The newest first, and no more of them than are news.
    let shown = if verbose { usize::MAX } else { 5 };
    let row = |event: &Value| {
        let at = time::parse(event.text("Timestamp")).unwrap_or(0);
        vec![time::stamp(at), event.text("Subsystem").to_owned(), event.text("Message").to_owned()]
    };
    let rows: Vec<_> = node.list("Events").iter().rev().take(shown).map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    table(&["Time", "Subsystem", "Message"], &rows)
}

/// What the allocations hold, of what there is to hold.
fn allocated(node: &Value, allocs: &[Value]) -> String {
    let (mut cpu, mut memory, mut disk, mut count) = (0, 0, 0, 0);
    for alloc in allocs {
        if !is_live(alloc) {
            continue;
        }
        count += 1;
        let held = alloc.at("AllocatedResources");
        for (_, task) in held.entries("Tasks") {
            cpu += task.at("Cpu").int("CpuShares");
            memory += task.at("Memory").int("MemoryMB");
        }
        disk += held.at("Shared").int("DiskMB");
    }
    let [cpu_all, memory_all, disk_all] = capacity(node);
    let row = vec![
        format!("{cpu}/{cpu_all} MHz"),
        format!("{}/{}", mebibytes(memory), mebibytes(memory_all)),
        format!("{}/{}", mebibytes(disk), mebibytes(disk_all)),
        count.to_string(),
    ];
    table(&["CPU", "Memory", "Disk", "Alloc Count"], &[row])
}

/// Each device, and who has it; empty where there is none.
fn devices(node: &Value, allocs: &[Value]) -> String {
    let mut rows = Vec::new();
    for group in node.at("NodeResources").list("Devices") {
        let name = ["Vendor", "Type", "Name"].map(|key| group.text(key)).join("/");
        let holder = |id: &str| {
            let live = allocs.iter().filter(|alloc| is_live(alloc));
            let mut holders = live.filter(|alloc| {
                let tasks = alloc.at("AllocatedResources").entries("Tasks").into_iter();
                let mut grants = tasks.flat_map(|(_, task)| task.list("Devices"));
                grants.any(|grant| {
                    ["Vendor", "Type", "Name"].iter().all(|key| grant.text(key) == group.text(key))
                        && grant.list("DeviceIDs").iter().any(|one| one.as_str() == Some(id))
                })
            });
            holders.next().map_or("<none>", |alloc| alloc.text("ID"))
        };
        for instance in group.list("Instances") {
            let health = if instance.flag("Healthy") { "healthy" } else { "unhealthy" };
            let id = instance.text("ID");
            let row = [name.as_str(), id, health, holder(id)];
            rows.push(row.map(str::to_owned).to_vec());
        }
    }
    if rows.is_empty() { String::new() } else { table(&["Device", "ID", "Health", "Alloc"], &rows) }
}

fn is_live(alloc: &Value) -> bool {
    matches!(alloc.text("ClientStatus"), "pending" | "running")
}

/// MHz, MiB of memory and MiB of disk, without what is reserved.
fn capacity(node: &Value) -> [i64; 3] {
    let (all, kept) = (node.at("NodeResources"), node.at("ReservedResources"));
    [("Cpu", "CpuShares"), ("Memory", "MemoryMB"), ("Disk", "DiskMB")]
        .map(|(part, key)| all.at(part).int(key) - kept.at(part).int(key))
}

/// What the machine says is in use, whoever uses it.
fn used(node: &Value, stats: &Value) -> String {
    let unsigned = |value: &Value, key: &str| u64::try_from(value.int(key)).unwrap_or(0);
    let memory = stats.at("Memory");
    let disk = stats.at("AllocDirStats");
    let ticks = stats.at("CPUTicksConsumed").as_f64().unwrap_or(0.0);
    let row = vec![
        format!("{ticks:.0}/{} MHz", node.at("NodeResources").at("Cpu").int("CpuShares")),
        format!("{}/{}", bytes(unsigned(memory, "Used")), bytes(unsigned(memory, "Total"))),
        format!("{}/{}", bytes(unsigned(disk, "Used")), bytes(unsigned(disk, "Size"))),
    ];
    table(&["CPU", "Memory", "Disk"], &[row])
}

fn settings(node: &Value, key: &str) -> String {
    let pairs: Vec<_> = node
        .entries(key)
        .into_iter()
        .map(|(name, text)| (name, text.as_str().unwrap_or_default().to_owned()))
        .collect();
    block(&pairs)
}
