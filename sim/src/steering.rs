//! What is done to deployments and to versions of jobs, in words: for the ladder and for replays.
//!
//! Invariants
//! - a command and the request that asked for it are told in the same words.
use drover_core::api::Request;
use drover_core::fsm::Command;
use drover_core::state::State;
use drover_core::types::{Algorithm, AutopilotConfig, PoolSpec, SchedulerConfig};

use crate::plan::Steering;
use crate::workload::NAMESPACE;

/// What an operator asks for who sees `state`; `None`: the job has no deployment.
#[must_use]
pub fn steer(state: &State, job: &str, how: Steering) -> Option<Request> {
    let job = state.job_named(NAMESPACE, job)?;
    let deployment = state.deployments_of_job(job.id).next_back()?.id;
    Some(match how {
        Steering::Promote => Request::PromoteDeployment { deployment, groups: Vec::new() },
        Steering::Pause => Request::PauseDeployment { deployment, pause: true },
        Steering::Resume => Request::PauseDeployment { deployment, pause: false },
        Steering::GiveUp => Request::FailDeployment { deployment },
    })
}

/// What operators set for the whole cluster.
#[must_use]
pub fn scheduling(config: &SchedulerConfig) -> String {
    let mut words = preferring(config.algorithm).to_owned();
    if config.reject_job_registration {
        words.push_str("; takes no jobs");
    }
    if config.pause_eval_broker {
        words.push_str("; lets evaluations wait");
    }
    words
}

const fn preferring(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Pack => "schedules onto the fullest node",
        Algorithm::BinPack => "schedules onto the node that is fullest by Nomad's score",
        Algorithm::Spread => "schedules onto the emptiest node",
    }
}

/// Who is to vote, as operators want it.
#[must_use]
pub fn caring(config: &AutopilotConfig) -> String {
    let seconds = config.stabilization_ms / 1_000;
    let failed = if config.cleanup_dead_servers { "goes" } else { "stays" };
    format!("new servers vote after {seconds} s of health, and whoever failed {failed}")
}

/// A pool, and what operators say of it.
#[must_use]
pub fn pool(spec: &PoolSpec) -> String {
    let name = &spec.name;
    match spec.scheduler.algorithm {
        None => format!("node pool {name} is made or described"),
        Some(algorithm) => format!("node pool {name} {}", preferring(algorithm)),
    }
}

/// The words for a command about deployments or versions; `None`: it is about something else.
#[must_use]
pub fn of_command(command: &Command) -> Option<String> {
    let words = match command {
        Command::PromoteDeployment { deployment, groups } => promoted(deployment.0, groups),
        Command::PauseDeployment { deployment, pause } => paused(deployment.0, *pause),
        Command::FailDeployment { deployment } => failed(deployment.0),
        Command::SetAllocHealth { deployment, healthy, unhealthy } => {
            judged(deployment.0, healthy.len(), unhealthy.len())
        }
        Command::ReviewDeployments { deployments } => {
            format!("{} deployments should have come further by now", deployments.len())
        }
        Command::RevertJob { job, version, .. } => reverted(job, *version),
        Command::SetJobStable { job, version, stable, .. } => stability(job, *version, *stable),
        _ => return None,
    };
    Some(words)
}

/// The same for a request.
#[must_use]
pub fn of_request(request: &Request) -> Option<String> {
    let words = match request {
        Request::PromoteDeployment { deployment, groups } => promoted(deployment.0, groups),
        Request::PauseDeployment { deployment, pause } => paused(deployment.0, *pause),
        Request::FailDeployment { deployment } => failed(deployment.0),
        Request::SetAllocHealth { deployment, healthy, unhealthy } => {
            judged(deployment.0, healthy.len(), unhealthy.len())
        }
        Request::RevertJob { job, version, .. } => reverted(job, *version),
        Request::SetJobStable { job, version, stable, .. } => stability(job, *version, *stable),
        _ => return None,
    };
    Some(words)
}

/// Whether `command` is what `request` asked for; `None`: the request is about something else.
#[must_use]
pub fn is_what_was_asked(request: &Request, command: &Command) -> Option<bool> {
    let asked = of_request(request)?;
    Some(of_command(command) == Some(asked))
}

fn promoted(deployment: u64, groups: &[String]) -> String {
    let which = if groups.is_empty() { "all groups".to_owned() } else { groups.join(", ") };
    format!("deployment {deployment} is promoted: {which}")
}

fn paused(deployment: u64, pause: bool) -> String {
    format!("deployment {deployment} {}", if pause { "is paused" } else { "goes on" })
}

fn failed(deployment: u64) -> String {
    format!("deployment {deployment} is given up")
}

fn judged(deployment: u64, healthy: usize, unhealthy: usize) -> String {
    format!("of deployment {deployment} {healthy} are called healthy, {unhealthy} not")
}

fn reverted(job: &str, version: u64) -> String {
    format!("job {job} goes back to version {version}")
}

fn stability(job: &str, version: u64, stable: bool) -> String {
    format!("version {version} of job {job} is {}stable", if stable { "" } else { "not " })
}
