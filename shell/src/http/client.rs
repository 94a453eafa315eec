//! Tasks of this node: what they use, and what operators want of them.
//!
//! Invariants
//! - a signal that does not exist is refused, not replaced;
//! - what is asked of a task that does not run is refused.
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use drover_core::agent::TaskAsk;
use drover_core::time::MonoTime;
use drover_core::types::AllocId;
use serde::{Deserialize, Serialize};

use super::answer::{self, Answer, Failure};
use super::query::{self, Query};
use super::write::body;
use super::{Http, Shared};
use crate::api::Absent;
use crate::api::alloc::group_of;
use crate::api::misc::Done;
use crate::clock::Clock;
use crate::drivers::{TaskStats, signal as signals};
use crate::logs;

/// Tasks whose last reading is kept, to tell how fast they use the processor.
const READINGS_MAX: usize = 8_192;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct AllocUsage {
    resource_usage: Usage,
    tasks: BTreeMap<String, TaskUsage>,
    timestamp: i64,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct TaskUsage {
    resource_usage: Usage,
    timestamp: i64,
    pids: Absent,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Usage {
    memory_stats: MemoryUsage,
    cpu_stats: CpuUsage,
    device_stats: [Absent; 0],
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct MemoryUsage {
    #[serde(rename = "RSS")]
    rss: u64,
    cache: u64,
    swap: u64,
    usage: u64,
    max_usage: u64,
    kernel_usage: u64,
    kernel_max_usage: u64,
    measured: [&'static str; 1],
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct CpuUsage {
    system_mode: f64,
    user_mode: f64,
    total_ticks: f64,
    throttled_periods: u64,
    throttled_time: u64,
    percent: f64,
    measured: [&'static str; 2],
}

/// The last reading of each task.
#[derive(Debug, Default)]
pub(super) struct Readings {
    last: Mutex<BTreeMap<(AllocId, String), (MonoTime, u64)>>,
}

impl Readings {
    /// How much of one processor the task used since the last reading, in percent; zero at the first.
    #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
    fn percent(&self, alloc: AllocId, task: &str, cpu_ns: u64) -> f64 {
        let now = Clock::new().mono();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if READINGS_MAX <= last.len() {
            last.clear();
        }
        let before = last.insert((alloc, task.to_owned()), (now, cpu_ns));
        let Some((at, before_ns)) = before else { return 0.0 };
        let passed_ns = now.ns.saturating_sub(at.ns).max(1) as f64;
        cpu_ns.saturating_sub(before_ns) as f64 / passed_ns * 100.0
    }
}

impl Usage {
    fn of(stats: TaskStats, percent: f64, core_mhz: f64) -> Self {
        Self {
            memory_stats: MemoryUsage {
                rss: stats.memory_rss_bytes,
                measured: ["RSS"],
                ..MemoryUsage::default()
            },
            cpu_stats: CpuUsage {
                percent,
                total_ticks: percent / 100.0 * core_mhz,
                measured: ["Percent", "Total Ticks"],
                ..CpuUsage::default()
            },
            device_stats: [],
        }
    }

    fn add(&mut self, other: &Self) {
        self.memory_stats.rss += other.memory_stats.rss;
        self.memory_stats.measured = ["RSS"];
        self.cpu_stats.percent += other.cpu_stats.percent;
        self.cpu_stats.total_ticks += other.cpu_stats.total_ticks;
        self.cpu_stats.measured = ["Percent", "Total Ticks"];
    }
}

pub(super) async fn stats(
    State(http): State<Shared>,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    let alloc = http.own_alloc(&id).await?;
    let timestamp = crate::api::time::unix_ns(Clock::new().wall());
    let mhz = http.host.core_mhz();
    let mut total = Usage::default();
    let mut tasks = BTreeMap::new();
    let only = query.text("task");
    for (name, stats) in http.api.core.stats(alloc).await {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let percent = http.host.readings.percent(alloc, &name, stats.cpu_ns);
        let usage = Usage::of(stats, percent, mhz);
        total.add(&usage);
        tasks.insert(name, TaskUsage { resource_usage: usage, timestamp, pids: () });
    }
    answer::json(&AllocUsage { resource_usage: total, tasks, timestamp })
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RestartAsk {
    task_name: Option<String>,
}

pub(super) async fn restart(
    State(http): State<Shared>,
    Path(id): Path<String>,
    _: Query,
    bytes: Bytes,
) -> Answer {
    let ask: RestartAsk = body(&bytes)?;
    http.ask_task(&id, ask.task_name, TaskAsk::Restart).await
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SignalAsk {
    signal: Option<String>,
    task: Option<String>,
    task_name: Option<String>,
}

pub(super) async fn signal(
    State(http): State<Shared>,
    Path(id): Path<String>,
    _: Query,
    bytes: Bytes,
) -> Answer {
    let ask: SignalAsk = body(&bytes)?;
    let signal = ask.signal.filter(|name| !name.is_empty());
    let signal = signal.unwrap_or_else(|| "SIGTERM".to_owned());
    signals::parse(&signal).map_err(Failure::bad)?;
    http.ask_task(&id, ask.task.or(ask.task_name), TaskAsk::Signal(signal)).await
}

pub(super) async fn exec(Path(id): Path<String>, _: Query) -> Answer {
    query::uuid(&id)?;
    Err(Failure::new(StatusCode::NOT_IMPLEMENTED, "exec is not supported yet"))
}

pub(super) async fn host_stats(State(http): State<Shared>, _: Query) -> Answer {
    let dir = http.api.me.alloc_dir.clone();
    let stats = http.host.stats(dir.as_deref());
    answer::json(&stats)
}

impl Http {
    async fn ask_task(&self, id: &str, task: Option<String>, ask: TaskAsk) -> Answer {
        let alloc = self.own_alloc(id).await?;
        let task = task.filter(|name| !name.is_empty());
        self.check_task(id, alloc, task.as_deref())?;
        if self.api.core.stats(alloc).await.is_empty() {
            return Err(Failure::broken("Task not running"));
        }
        self.api.core.ask_task(alloc, task, ask).await;
        answer::json(&Done::default())
    }

    /// Refuses a task that the alloc has not got.
    fn check_task(&self, id: &str, alloc: AllocId, task: Option<&str>) -> Result<(), Failure> {
        let Some(name) = task else { return Ok(()) };
        let known = match &self.api.shadow {
            Some(shadow) => {
                let state = shadow.read();
                let row = state.alloc(alloc).ok_or_else(|| Failure::missing("alloc"))?;
                group_of(&state, row).0.tasks.iter().any(|task| task.name == name)
            }
            None => {
                let root = self.api.me.alloc_dir.as_deref();
                let dir =
                    root.and_then(|root| logs::AllocDir::open(root, query::uuid(id).ok()?).ok());
                !name.contains('/') && dir.is_some_and(|dir| dir.stat(name).is_ok())
            }
        };
        let unknown = || Failure::bad(format!("unknown task name {name:?}"));
        if known { Ok(()) } else { Err(unknown()) }
    }
}
