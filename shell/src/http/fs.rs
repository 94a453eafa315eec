//! Files of allocs on this node: listed, read, followed.
//!
//! Invariants
//! - a stream ends when nobody listens;
//! - what blocks runs on threads that may block.
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drover_core::time::WallTime;
use drover_core::types::Uuid;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::answer::{self, Answer, Failure};
use super::query::{self, Query};
use super::{Http, Shared};
use crate::api::time::rfc3339;
use crate::logs::follow::{Event, Follower, Origin, Piece};
use crate::logs::{AllocDir, Entry, Refusal};

/// How often a file is looked at for more.
const LOOK: Duration = Duration::from_millis(100);
/// A stream with nothing to tell says so this often.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Frames that wait for a slow reader.
const FRAMES_WAITING_MAX: usize = 8;
/// Read at once of a file that is sent whole.
const CHUNK_BYTES: usize = 64 << 10;

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound(why) => Self::new(StatusCode::NOT_FOUND, why),
            Refusal::Forbidden(why) => Self::new(StatusCode::FORBIDDEN, why),
            Refusal::Unfit(why) => Self::bad(why),
            Refusal::Failed(why) => Self::broken(why),
        }
    }
}

impl Http {
    fn dir(&self, id: &str) -> Result<AllocDir, Failure> {
        let alloc: Uuid = query::uuid(id)?;
        let root = self.api.me.alloc_dir.as_deref();
        let root = root.ok_or_else(|| Failure::missing("alloc"))?;
        Ok(AllocDir::open(root, alloc)?)
    }
}

/// `work` on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|why| Failure::broken(why.to_string()))??)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    name: String,
    is_dir: bool,
    size: u64,
    file_mode: String,
    mod_time: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    content_type: &'static str,
}

impl Info {
    fn of(entry: Entry, content_type: &'static str) -> Self {
        Self {
            name: entry.name,
            is_dir: entry.is_dir,
            size: entry.size_bytes,
            file_mode: entry.mode,
            mod_time: rfc3339(WallTime { unix_ms: entry.modified_unix_ms }),
            content_type,
        }
    }
}

pub(super) async fn list(
    State(http): State<Shared>,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    let dir = http.dir(&id)?;
    let path = query.text("path").unwrap_or("/").to_owned();
    let entries = blocking(move || dir.list(&path)).await?;
    let infos: Vec<Info> = entries.into_iter().map(|entry| Info::of(entry, "")).collect();
    answer::json(&infos)
}

pub(super) async fn stat(
    State(http): State<Shared>,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    let dir = http.dir(&id)?;
    let path = path_of(&query)?;
    let (entry, content) = blocking(move || dir.stat(&path)).await?;
    answer::json(&Info::of(entry, content))
}

pub(super) async fn cat(
    State(http): State<Shared>,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    let dir = http.dir(&id)?;
    let path = path_of(&query)?;
    http.send_part(dir, path, 0, None).await
}

pub(super) async fn read_at(
    State(http): State<Shared>,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    let dir = http.dir(&id)?;
    let path = path_of(&query)?;
    let offset = query.number("offset")?.unwrap_or(0);
    let offset = u64::try_from(offset).map_err(|_| Failure::bad("offset must not be negative"))?;
    // A negative limit means no limit.
    let limit = query.number("limit")?.and_then(|limit| u64::try_from(limit).ok());
    http.send_part(dir, path, offset, limit).await
}

impl Http {
    /// At most `limit` bytes of a file from `offset`, as they are.
    async fn send_part(
        &self,
        dir: AllocDir,
        path: String,
        offset: u64,
        limit: Option<u64>,
    ) -> Answer {
        let permit = self.stream_permit()?;
        let file = blocking(move || dir.file(&path)).await?;
        let (sender, body) = channel();
        let _until_sent = tokio::task::spawn_blocking(move || {
            use std::os::unix::fs::FileExt as _;
            let _held = permit;
            let (mut at, mut left) = (offset, limit.unwrap_or(u64::MAX));
            loop {
                let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
                let mut chunk = vec![0; wanted];
                let Ok(read) = file.read_at(&mut chunk, at) else { break };
                chunk.truncate(read);
                if read == 0 || sender.blocking_send(Bytes::from(chunk)).is_err() {
                    break;
                }
                at += read as u64;
                left -= read as u64;
            }
        });
        let mut response = answer::text(StatusCode::OK, body);
        // Whatever a task wrote is never a page of ours.
        for (name, value) in [
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::X_XSS_PROTECTION, "1; mode=block"),
            (
                header::CONTENT_SECURITY_POLICY,
                "default-src 'none'; style-src 'unsafe-inline'; sandbox",
            ),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Ok(response)
    }

    pub(super) fn stream_permit(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Failure> {
        let permit = std::sync::Arc::clone(&self.streams).try_acquire_owned();
        permit.map_err(|_| Failure::busy("too many streams are open: close some", 1))
    }
}

fn path_of(query: &Query) -> Result<String, Failure> {
    let path = query.text("path").ok_or_else(|| Failure::bad("must provide a file name"))?;
    Ok(path.to_owned())
}

fn origin_of(query: &Query) -> Result<Origin, Failure> {
    let offset = query.number("offset")?.unwrap_or(0);
    let offset = u64::try_from(offset).map_err(|_| Failure::bad("offset must not be negative"))?;
    match query.text("origin").unwrap_or("start") {
        "start" => Ok(Origin::Start(offset)),
        "end" => Ok(Origin::End(offset)),
        _ => Err(Failure::bad("origin must be start or end")),
    }
}

pub(super) async fn logs(
    State(http): State<Shared>,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    let dir = http.dir(&id)?;
    let task = query.text("task").ok_or_else(|| Failure::bad("must provide task name"))?;
    let Some(kind @ ("stdout" | "stderr")) = query.text("type") else {
        return Err(Failure::bad("must provide log type (stdout/stderr)"));
    };
    let follow = query.flag("follow")?.unwrap_or(false);
    let framing =
        if query.flag("plain")?.unwrap_or(false) { Framing::Plain } else { Framing::Frames };
    if task.contains('/') {
        return Err(Failure::bad(format!("unknown task name {task:?}")));
    }
    let (task, kind, origin) = (task.to_owned(), kind.to_owned(), origin_of(&query)?);
    let follower = blocking(move || Follower::of_log(dir, &task, &kind, origin)).await?;
    let content = match framing {
        Framing::Plain => "text/plain",
        Framing::Frames => "application/json",
    };
    http.send_stream(follower, framing, End::after_all_is_read(follow), content)
}

pub(super) async fn stream(
    State(http): State<Shared>,
    Path(id): Path<String>,
    query: Query,
) -> Answer {
    let dir = http.dir(&id)?;
    let (path, origin) = (path_of(&query)?, origin_of(&query)?);
    let follow = query.flag("follow")?.unwrap_or(true);
    let follower = blocking(move || Follower::of_file(dir, &path, origin)).await?;
    let end = End::after_all_is_read(follow);
    http.send_stream(follower, Framing::Frames, end, "text/plain; charset=utf-8")
}

/// How pieces are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Framing {
    /// As JSON objects, one after the other.
    Frames,
    /// As they are.
    Plain,
}

/// When a stream ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    AllRead,
    ReaderGone,
}

impl End {
    const fn after_all_is_read(follow: bool) -> Self {
        if follow { Self::ReaderGone } else { Self::AllRead }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Frame {
    #[serde(skip_serializing_if = "String::is_empty")]
    data: String,
    file: String,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_event: Option<&'static str>,
}

fn framed(piece: Piece) -> Bytes {
    let frame = Frame {
        data: STANDARD.encode(piece.data),
        file: piece.file,
        offset: piece.end,
        file_event: piece.event.map(|event| match event {
            Event::Deleted => "file deleted",
            Event::Truncated => "file truncated",
        }),
    };
    Bytes::from(serde_json::to_vec(&frame).unwrap_or_default())
}

impl Http {
    fn send_stream(
        &self,
        follower: Follower,
        framing: Framing,
        end: End,
        content: &'static str,
    ) -> Answer {
        let permit = self.stream_permit()?;
        let (sender, body) = channel();
        let _until_the_reader_goes = tokio::spawn(async move {
            let _held = permit;
            pump(follower, framing, end, &sender).await;
        });
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Ok(response)
    }
}

/// Send what `follower` finds until there is an end.
async fn pump(mut follower: Follower, framing: Framing, end: End, sender: &mpsc::Sender<Bytes>) {
    let mut spoke = Instant::now();
    loop {
        let looked = tokio::task::spawn_blocking(move || {
            let found = follower.next_piece();
            (follower, found)
        });
        let Ok((back, found)) = looked.await else { return };
        follower = back;
        match found {
            Ok(Some(piece)) => {
                let bytes = match framing {
                    Framing::Plain => Bytes::from(piece.data),
                    Framing::Frames => framed(piece),
                };
                spoke = Instant::now();
                if sender.send(bytes).await.is_err() {
                    return;
                }
            }
            Ok(None) if follower.has_ended() || end == End::AllRead => return,
            Ok(None) => {
                tokio::select! {
                    biased;
                    () = sender.closed() => return,
                    () = tokio::time::sleep(LOOK) => (),
                }
                if framing == Framing::Frames && HEARTBEAT <= spoke.elapsed() {
                    spoke = Instant::now();
                    if sender.send(Bytes::from_static(b"{}")).await.is_err() {
                        return;
                    }
                }
            }
            Err(why) => {
                tracing::debug!("a stream of {} ends: {why:?}", follower.name());
                return;
            }
        }
    }
}

/// A body that is fed through a channel.
pub(super) fn channel() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, receiver) = mpsc::channel::<Bytes>(FRAMES_WAITING_MAX);
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
        let bytes = receiver.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(bytes), receiver))
    });
    (sender, Body::from_stream(stream))
}
