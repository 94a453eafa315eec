//! What is done to jobs that make children, as requests and in words: for plans, the ladder and replays.
//!
//! Invariants
//! - a command and the request that asked for it are told in the same words.
use std::collections::BTreeMap;
use std::sync::Arc;

use drover_core::api::Request;
use drover_core::fsm::Command;
use drover_core::types::{JobKind, Launch, Parameterized, Periodic};

use crate::plan::{JobAsk, Launching, Overlap, PiecesAsk, Spread, UpdateAsk};
use crate::workload::{NAMESPACE, spec_of};

/// What a line of the plan asks for.
#[must_use]
pub fn request_of(job: &str, what: Launching) -> Request {
    let (namespace, job) = (NAMESPACE.to_owned(), job.to_owned());
    match what {
        Launching::Periodic { every_s, overlap } => parent(
            &job,
            Launch::Periodic(Periodic {
                crons: vec![format!("*/{every_s} * * * * * *")],
                overlap_prohibited: overlap == Overlap::Prohibited,
                time_zone: "UTC".to_owned(),
                enabled: true,
                zone: Vec::new(),
            }),
        ),
        Launching::Parameterized => parent(&job, Launch::Parameterized(Parameterized::default())),
        Launching::Force => Request::ForcePeriodic { namespace, job },
        Launching::Dispatch { token } => Request::DispatchJob {
            namespace,
            job,
            payload: token.to_le_bytes().as_slice().into(),
            meta: BTreeMap::new(),
            id_prefix: String::new(),
            token: if token == 0 { String::new() } else { format!("token{token}") },
        },
        Launching::Scale { count } => Request::ScaleJob {
            namespace,
            job,
            group: "group".to_owned(),
            count: u32::try_from(count).ok(),
            message: String::new(),
            error: false,
            meta_json: String::new(),
        },
    }
}

fn parent(job: &str, launch: Launch) -> Request {
    let spec = spec_of(&JobAsk {
        job: job.to_owned(),
        kind: JobKind::Batch,
        count: 1,
        tasks: 1,
        cpu_mhz: 50,
        memory_mib: 32,
        ports: 0,
        fixed_port: 0,
        spread: Spread::Anywhere,
        mark: 1,
        build: 1,
        after: None,
        pieces: PiecesAsk::default(),
        volume: None,
        update: UpdateAsk::default(),
    });
    let spec = drover_core::types::JobSpec { launch, ..(*spec).clone() };
    Request::RegisterJob { spec: Arc::new(spec), check_index: None }
}

/// The words for a command about children or counts; `None`: it is about something else.
#[must_use]
pub fn of_command(command: &Command) -> Option<String> {
    Some(match command {
        Command::LaunchPeriodic { jobs } => format!("{} periodic jobs are due", jobs.len()),
        Command::ForcePeriodic { job, .. } => forced(job),
        Command::DispatchJob { job, payload, token, .. } => dispatched(job, payload.len(), token),
        Command::ScaleJob { job, group, count, .. } => scaled(job, group, *count),
        _ => return None,
    })
}

/// The same for a request.
#[must_use]
pub fn of_request(request: &Request) -> Option<String> {
    Some(match request {
        Request::ForcePeriodic { job, .. } => forced(job),
        Request::DispatchJob { job, payload, token, .. } => dispatched(job, payload.len(), token),
        Request::ScaleJob { job, group, count, .. } => scaled(job, group, *count),
        _ => return None,
    })
}

/// Whether `command` is what `request` asked for; `None`: the request is about something else.
#[must_use]
pub fn is_what_was_asked(request: &Request, command: &Command) -> Option<bool> {
    let asked = of_request(request)?;
    Some(of_command(command) == Some(asked))
}

fn forced(job: &str) -> String {
    format!("job {job} is forced to launch")
}

fn dispatched(job: &str, bytes: usize, token: &str) -> String {
    let with = if token.is_empty() { String::new() } else { format!(" with {token}") };
    format!("job {job} is dispatched{with}, {bytes} bytes")
}

fn scaled(job: &str, group: &str, count: Option<u32>) -> String {
    match count {
        Some(count) => format!("group {group} of job {job} shall have {count} allocs"),
        None => format!("something is said of group {group} of job {job}"),
    }
}
