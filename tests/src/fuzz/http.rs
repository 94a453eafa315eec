//! Whatever is asked of the API: method, path, query and body, through the real router.
//!
//! Behind it is the state of a small agent in which something of each kind has happened, and in place of
//! the loop a stub that takes every write as done. The bytes of a request are its first line, as in
//! `PUT /v1/job/web/plan?region=global`, and its body; bytes that begin with a brace are the body of a
//! registration, whose job is looked at closely.
//!
//! Invariants
//! - no request is answered by a panic, and each answer is what its status and its kind say.
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, Uri, header};
use drover_core::agent::View;
use drover_core::api::{Request as Asked, Response as Said};
use drover_core::fsm::{self, Command, Entry};
use drover_core::state::State;
use drover_core::time::WallTime;
use drover_core::types::{Index, JobKind};
use drover_shell::api::job::Job;
use drover_shell::config::Introduction;
use drover_shell::http::{Api, LogTap, Me, router};
use drover_shell::jobspec;
use drover_shell::run::{Core, Inbox};
use drover_shell::shadow::Shadow;
use http_body_util::BodyExt as _;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tower_service::Service as _;

use crate::rig::agent::{DevAgent, job_spec};

/// Who waits longer waits for something that does not happen here: a change, or the next line of a log.
const PATIENCE: Duration = Duration::from_millis(5);
/// As much of an answer as is read: streams do not end.
const FRAMES_MAX: usize = 64;

/// See the module.
///
/// # Panics
/// If a promise does not hold.
pub fn http(bytes: &[u8]) {
    if bytes.first() == Some(&b'{') {
        return registration(bytes);
    }
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let (line, body) = bytes.split_at(end);
    let body = body.strip_prefix(b"\n").unwrap_or_default();
    let mut words = line.splitn(2, |&byte| byte == b' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return };
    let (Ok(method), Ok(uri)) = (Method::from_bytes(method), Uri::try_from(target)) else { return };
    let request = Request::builder().method(method).uri(uri).body(Body::from(body.to_vec()));
    let Ok(request) = request else { return };
    let runtime =
        Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(ask(request));
}

/// A body is a job, or it is told why not; what is registered can be registered again.
fn registration(bytes: &[u8]) {
    let Ok(written) = Job::decode(bytes) else { return };
    let (_, problems) = written.converted();
    let Ok(spec) = jobspec::from_api(&written) else {
        assert!(!problems.is_empty() || !jobspec::check::check(&written.converted().0).is_empty());
        return;
    };
    let body = serde_json::to_vec(&written).expect("a job is plain data");
    let again = Job::decode(&body).expect("what was written is read");
    assert_eq!(jobspec::from_api(&again), Ok(spec.clone()), "a job is what it was");
    let mut state = State::new();
    let command = Command::RegisterJob { spec: Arc::new(spec), check_index: None };
    let entry = Entry { stamp: WallTime { unix_ms: 1 }, session: None, command };
    let taken = fsm::apply(&mut state, Index(1), &entry, &mut Vec::new());
    let is_taken = matches!(taken, fsm::Outcome::Applied { .. });
    assert!(is_taken, "what callers are told is right is right for the tables: {taken:?}");
}

/// What an agent knows that runs a service and a batch job, and has no room for a third.
static KNOWN: LazyLock<(State, View)> = LazyLock::new(|| {
    let mut dev = DevAgent::new();
    dev.pass_ms(3_000);
    let mut big = job_spec("big", JobKind::Service, 1);
    big.groups[0].tasks[0].resources.memory_mib = 1_000_000;
    for spec in [job_spec("web", JobKind::Service, 2), job_spec("sum", JobKind::Batch, 2), big] {
        dev.run_job(spec).expect("it is registered");
    }
    dev.pass_ms(1_000);
    let first = dev.running.keys().next().copied();
    dev.exit(first.expect("something runs"), 1);
    dev.pass_ms(500);
    (dev.agent.state().expect("it is a server").clone(), dev.agent.view())
});

async fn ask(request: Request<Body>) {
    let (state, view) = KNOWN.clone();
    let (core, inbox) = Core::channel();
    let index = state.index();
    let _until_all_is_told = tokio::spawn(stub(inbox, view, index));
    let me = Me { name: "dev".into(), region: "global".into(), server: true, ..Me::default() };
    let api = Api {
        core,
        shadow: Some(Shadow::still(state)),
        me,
        node: None,
        logs: LogTap::new().0,
        servers: Arc::new(Vec::new),
        joins: None,
        introduction: Introduction::default(),
        unsafe_open: true,
    };
    let asked = format!("{} {}", request.method(), request.uri());
    let answered = tokio::time::timeout(PATIENCE, router(Arc::new(api)).call(request)).await;
    let Ok(Ok(response)) = answered else { return };
    check(&asked, response).await;
}

/// An error says what to do; what is called JSON is JSON.
async fn check(asked: &str, response: Response<Body>) {
    let (status, kind) = (response.status(), response.headers().get(header::CONTENT_TYPE).cloned());
    let (mut body, mut read) = (response.into_body(), Vec::new());
    let mut is_whole = false;
    for _ in 0..FRAMES_MAX {
        match tokio::time::timeout(PATIENCE, body.frame()).await {
            Ok(Some(Ok(frame))) => read.extend(frame.into_data().unwrap_or_default()),
            Ok(None) => {
                is_whole = true;
                break;
            }
            Ok(Some(Err(_))) | Err(_) => break,
        }
    }
    let text = String::from_utf8_lossy(&read);
    let is_json = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if status.is_client_error() || status.is_server_error() {
        // Of a path that there is not, the status is all.
        let is_bare = status == StatusCode::NOT_FOUND || asked.starts_with("HEAD ");
        assert!(is_bare || !text.trim().is_empty(), "{asked}: {status} without a word");
    } else if is_json && is_whole && !read.is_empty() {
        let parsed = serde_json::from_slice::<serde_json::Value>(&read);
        assert!(parsed.is_ok(), "{asked}: {status} with what is no JSON: {text}");
    }
}

/// In place of the loop: every write is done, and changes nothing.
async fn stub(mut inbox: mpsc::Receiver<Inbox>, view: View, index: Index) {
    while let Some(item) = inbox.recv().await {
        match item {
            Inbox::View(answer) => drop(answer.send(view.clone())),
            Inbox::Request { request, answer } => drop(answer.send(Ok(match request {
                Asked::ReadPoint { .. } => Said::ReadPoint { index },
                _ => Said::Applied { index, eval: None, job: None },
            }))),
            Inbox::Stats { answer, .. } => drop(answer.send(Vec::new())),
            Inbox::Event(_)
            | Inbox::Network(_)
            | Inbox::Driver(_)
            | Inbox::Disk(_)
            | Inbox::Shadow(_)
            | Inbox::Snapshot(_)
            | Inbox::Stop(_) => (),
        }
    }
}
