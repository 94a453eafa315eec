//! Figures for monitoring: as Nomad's JSON, and as Prometheus reads them.
//!
//! Invariants
//! - both forms show the same figures under the names that Nomad's dashboards use.
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::{HeaderValue, header};
use drover_core::agent::View;
use drover_core::raft::Role;
use drover_core::state::State as Tables;
use drover_core::types::{ClientStatus, NodeStatus};
use serde::Serialize;

use super::answer::{self, Answer, Failure};
use super::query::Query;
use super::{Http, Shared};
use crate::api::jobs::{Summary, status};
use crate::api::time::rfc3339;
use crate::api::{alloc, node};
use crate::clock::Clock;
use crate::transport::Counts;

/// Counted since the agent started.
#[derive(Debug, Default)]
pub(super) struct Counters {
    requests: AtomicU64,
}

impl Counters {
    pub(super) fn on_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}

type Labels = BTreeMap<&'static str, String>;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Gauge {
    name: String,
    value: f64,
    labels: Labels,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Counter {
    name: String,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    mean: f64,
    stddev: f64,
    rate: f64,
    labels: Labels,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    timestamp: String,
    gauges: Vec<Gauge>,
    points: [(); 0],
    counters: Vec<Counter>,
    samples: [(); 0],
}

/// Gauges as they are gathered.
struct Gauges {
    host: String,
    list: Vec<Gauge>,
}

impl Gauges {
    fn set(&mut self, name: &str, value: f64) {
        self.labelled(name, value, Labels::new());
    }

    fn labelled(&mut self, name: &str, value: f64, mut labels: Labels) {
        labels.insert("host", self.host.clone());
        self.list.push(Gauge { name: format!("nomad.{name}"), value, labels });
    }
}

pub(super) async fn metrics(State(http): State<Shared>, query: Query) -> Answer {
    let view = http.view().await?;
    let mut gauges = Gauges { host: http.api.me.name.clone(), list: Vec::new() };
    consensus(&mut gauges, &view);
    if let Some(joins) = &http.api.joins {
        network(&mut gauges, joins.transport.counts());
    }
    if let Some(shadow) = &http.api.shadow {
        tables(&mut gauges, &shadow.read());
    }
    if http.api.me.client.is_some() {
        machine(&mut gauges, &http);
    }
    let requests = http.metrics.requests.load(Ordering::Relaxed);
    match query.text("format") {
        None => json(gauges, requests),
        Some("prometheus") => prometheus(&gauges, requests),
        Some(other) => Err(Failure::bad(format!("no format {other:?}: prometheus, or none"))),
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn consensus(gauges: &mut Gauges, view: &View) {
    gauges.set("runtime.incarnation", view.incarnation.0 as f64);
    gauges.set("wal.blocks_written", view.log_written.blocks as f64);
    gauges.set("wal.bytes_written", view.log_written.bytes as f64);
    let Some(server) = &view.server else { return };
    for (name, value) in [
        ("raft.appliedIndex", server.applied_index.0),
        ("raft.commitIndex", server.commit_index.0),
        ("raft.lastIndex", server.last_index.0),
        ("raft.term", server.term.0),
        ("raft.is_leader", u64::from(server.role == Role::Leader)),
        ("serf.members", server.members.len() as u64),
        ("requests.waiting", server.requests_waiting as u64),
    ] {
        gauges.set(name, value as f64);
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn network(gauges: &mut Gauges, counts: Counts) {
    let Counts { sent, received, refused, duplicates, udp_sent_bytes, udp_received_bytes, .. } =
        counts;
    for (name, value) in [
        ("transport.messages_sent", sent),
        ("transport.messages_received", received),
        (
            "transport.messages_dropped",
            counts.dropped_full + counts.dropped_unconnected + counts.dropped_oversized,
        ),
        ("transport.connections_refused", refused),
        ("transport.connections_duplicate", duplicates),
        ("transport.udp_bytes_sent", udp_sent_bytes),
        ("transport.udp_bytes_received", udp_received_bytes),
    ] {
        gauges.set(name, value as f64);
    }
}

fn tables(gauges: &mut Gauges, state: &Tables) {
    let mut jobs = BTreeMap::from([("pending", 0_u32), ("running", 0), ("dead", 0)]);
    for job in state.jobs().filter(|job| !job.purged) {
        *jobs.entry(status(state, job)).or_default() += 1;
        let summary = Summary::of(state, job);
        for (group, counts) in summary.summary {
            for (name, count) in [
                ("queued", counts.queued),
                ("complete", counts.complete),
                ("failed", counts.failed),
                ("running", counts.running),
                ("starting", counts.starting),
                ("lost", counts.lost),
            ] {
                let labels = Labels::from([
                    ("job", summary.job_id.clone()),
                    ("task_group", group.clone()),
                    ("namespace", summary.namespace.clone()),
                ]);
                gauges.labelled(&format!("nomad.job_summary.{name}"), f64::from(count), labels);
            }
        }
    }
    for (name, count) in jobs {
        gauges.set(&format!("nomad.job_status.{name}"), f64::from(count));
    }
    let mut nodes = [NodeStatus::Init, NodeStatus::Ready, NodeStatus::Down].map(|s| (s, 0_u32));
    for row in state.nodes() {
        let count = nodes.iter_mut().find(|(status, _)| *status == row.status);
        count.expect("invariant: every status is listed").1 += 1;
    }
    for (status, count) in nodes {
        let labels = Labels::from([("status", node::status(status).to_owned())]);
        gauges.labelled("nomad.nodes", f64::from(count), labels);
    }
    let count = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    gauges.set("nomad.blocked_evals.total_blocked", count(state.blocked_evals().count()));
    gauges.set("nomad.broker.total_ready", count(state.pending_evals().count()));
    let ready = state.nodes().filter(|node| node.status == NodeStatus::Ready).count();
    gauges.set("nomad.heartbeat.active", count(ready));
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn machine(gauges: &mut Gauges, http: &Http) {
    let stats = http.host.stats(http.api.me.alloc_dir.as_deref());
    for (name, value) in [
        ("memory.total", stats.memory.total),
        ("memory.available", stats.memory.available),
        ("memory.used", stats.memory.used),
        ("memory.free", stats.memory.free),
        ("disk.size", stats.alloc_dir_stats.size),
        ("disk.used", stats.alloc_dir_stats.used),
        ("disk.available", stats.alloc_dir_stats.available),
    ] {
        gauges.set(&format!("client.host.{name}"), value as f64);
    }
    gauges.set("client.uptime", stats.uptime as f64);
    for cpu in stats.cpu {
        for (name, share) in
            [("user", cpu.user), ("system", cpu.system), ("idle", cpu.idle), ("total", cpu.total)]
        {
            let labels = Labels::from([("cpu", cpu.name.clone())]);
            gauges.labelled(&format!("client.host.cpu.{name}"), share, labels);
        }
    }
    if let (Some(node), Some(shadow)) = (http.api.me.client, &http.api.shadow) {
        allocations(gauges, &shadow.read(), node);
    }
}

fn allocations(gauges: &mut Gauges, state: &Tables, own: drover_core::types::NodeId) {
    let statuses = [
        ClientStatus::Pending,
        ClientStatus::Running,
        ClientStatus::Complete,
        ClientStatus::Failed,
        ClientStatus::Lost,
    ];
    let mut counts = statuses.map(|status| (status, 0_u32));
    let mut held = drover_core::types::Capacity::default();
    for row in state.allocs_of_node(own) {
        let count = counts.iter_mut().find(|(status, _)| *status == row.client_status);
        count.expect("invariant: every status is listed").1 += 1;
        if !row.client_status.is_terminal() {
            held = held.checked_add(row.capacity).unwrap_or(held);
        }
    }
    for (status, count) in counts {
        gauges.set(&format!("client.allocations.{}", alloc::client(status)), f64::from(count));
    }
    gauges.set("client.allocated.cpu", f64::from(held.cpu_mhz));
    gauges.set("client.allocated.memory", f64::from(held.memory_mib));
    gauges.set("client.allocated.disk", f64::from(held.disk_mib));
    let usable = state.node(own).map(|node| node.spec.usable()).unwrap_or_default();
    let free = usable.checked_sub(held).unwrap_or_default();
    gauges.set("client.unallocated.cpu", f64::from(free.cpu_mhz));
    gauges.set("client.unallocated.memory", f64::from(free.memory_mib));
    gauges.set("client.unallocated.disk", f64::from(free.disk_mib));
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn json(mut gauges: Gauges, requests: u64) -> Answer {
    gauges.list.sort_by(|a, b| (&a.name, &a.labels).cmp(&(&b.name, &b.labels)));
    let sum = requests as f64;
    let mean = if requests == 0 { 0.0 } else { 1.0 };
    answer::json(&Report {
        timestamp: format!("{} +0000 UTC", spaced(&rfc3339(Clock::new().wall()))),
        counters: vec![Counter {
            name: "nomad.nomad.rpc.request".to_owned(),
            count: requests,
            sum,
            min: mean,
            max: mean,
            mean,
            stddev: 0.0,
            rate: 0.0,
            labels: Labels::from([("host", gauges.host)]),
        }],
        gauges: gauges.list,
        points: [],
        samples: [],
    })
}

/// `2026-11-22T11:26:40.123Z` as `2026-11-22 11:26:40`.
fn spaced(time: &str) -> String {
    time.chars().take(19).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

fn prometheus(gauges: &Gauges, requests: u64) -> Answer {
    let mut families: BTreeMap<String, Vec<&Gauge>> = BTreeMap::new();
    for gauge in &gauges.list {
        families.entry(gauge.name.replace(['.', '-'], "_")).or_default().push(gauge);
    }
    let mut text = String::new();
    let write = &mut text;
    for (name, family) in families {
        let _never_fails = writeln!(write, "# HELP {name} {name}\n# TYPE {name} gauge");
        for gauge in family {
            let _never_fails = writeln!(write, "{name}{} {}", labels(&gauge.labels), gauge.value);
        }
    }
    let name = "nomad_nomad_rpc_request";
    let own = labels(&Labels::from([("host", gauges.host.clone())]));
    let _never_fails =
        writeln!(write, "# HELP {name} {name}\n# TYPE {name} counter\n{name}{own} {requests}");
    let mut response = answer::text(axum::http::StatusCode::OK, text);
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

fn labels(labels: &Labels) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_as_prometheus_reads_them() {
        let one = Labels::from([("job", "a\"b\\c\nd".to_owned())]);
        assert_eq!(labels(&one), r#"{job="a\"b\\c\nd"}"#);
        assert_eq!(spaced("2026-11-22T11:26:40.123Z"), "2026-11-22 11:26:40");
    }
}
