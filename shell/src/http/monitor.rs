//! `/v1/agent/monitor`: what the agent logs, to whoever listens.
//!
//! Invariants
//! - logging never waits for a listener: who is too slow is told how many lines were lost;
//! - where nobody listens, nothing is formatted.
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json, json};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer};

use super::Shared;
use super::answer::{Answer, Failure};
use super::fs::channel;
use super::query::Query;
use crate::api::time::rfc3339;
use crate::clock::Clock;

/// Lines that wait for the slowest listener.
const LINES_WAITING_MAX: usize = 512;
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Lines of one frame are gathered for so long (Nomad's).
const GATHER: Duration = Duration::from_millis(200);
const FRAME_BYTES_MAX: usize = 64 << 10;

/// Where listeners hear what is logged. Cloned freely: all clones are one.
#[derive(Clone, Debug)]
pub struct LogTap {
    lines: broadcast::Sender<Arc<Line>>,
}

/// One line of the log.
#[derive(Debug)]
struct Line {
    level: Level,
    at: String,
    target: &'static str,
    message: String,
    fields: Map<String, Json>,
}

/// The end of the tap that is put beside the formatter of the agent's own log.
#[derive(Debug)]
pub struct LogLayer {
    lines: broadcast::Sender<Arc<Line>>,
}

impl LogTap {
    /// A tap and its other end.
    #[must_use]
    pub fn new() -> (Self, LogLayer) {
        let lines = broadcast::Sender::new(LINES_WAITING_MAX);
        (Self { lines: lines.clone() }, LogLayer { lines })
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    /// Libraries trace each packet: that is asked for only where the agent's own log wants it.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let meta = event.metadata();
        let is_own = meta.target().starts_with("drover");
        // Levels are ordered by how much they let through.
        if self.lines.receiver_count() == 0 || (!is_own && Level::WARN < *meta.level()) {
            return;
        }
        let mut said = Said::default();
        event.record(&mut said);
        let line = Line {
            level: *meta.level(),
            at: rfc3339(Clock::new().wall()),
            target: meta.target(),
            message: said.message,
            fields: said.fields,
        };
        let _nobody_may_listen = self.lines.send(Arc::new(line));
    }
}

/// The message and fields of an event.
#[derive(Default)]
struct Said {
    message: String,
    fields: Map<String, Json>,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.fields.insert(field.name().to_owned(), Json::String(format!("{value:?}")));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.fields.insert(field.name().to_owned(), Json::String(value.to_owned()));
        }
    }
}

impl Line {
    /// As Nomad's agents write it: `2026-11-22T11:26:49.907Z [DEBUG] http: message: key=value`.
    fn text(&self) -> String {
        let target = self.target.rsplit("::").next().unwrap_or_default();
        let mut text = format!(
            "{} {:<7} {target}: {}",
            self.at,
            format!("[{}]", word(self.level)),
            self.message
        );
        for (at, (key, value)) in self.fields.iter().enumerate() {
            let before = if at == 0 { ": " } else { " " };
            let shown = value.as_str().unwrap_or_default();
            let _never_fails = write!(text, "{before}{key}={shown}");
        }
        text.push('\n');
        text
    }

    fn json(&self) -> String {
        let mut line = json!({
            "@level": word(self.level).to_lowercase(),
            "@message": self.message,
            "@module": self.target,
            "@timestamp": self.at,
        });
        if let Json::Object(map) = &mut line {
            map.extend(self.fields.clone());
        }
        format!("{line}\n")
    }
}

const fn word(level: Level) -> &'static str {
    match level {
        Level::TRACE => "TRACE",
        Level::DEBUG => "DEBUG",
        Level::INFO => "INFO",
        Level::WARN => "WARN",
        Level::ERROR => "ERROR",
    }
}

/// How a listener wants the lines.
#[derive(Clone, Copy)]
struct Wish {
    most: Level,
    json: bool,
    plain: bool,
}

pub(super) async fn monitor(State(http): State<Shared>, query: Query) -> Answer {
    let level = query.text("log_level").unwrap_or("info");
    let most = level.parse().map_err(|_| {
        Failure::bad(format!(
            "Unknown log level: {level}; known are trace, debug, info, warn, error"
        ))
    })?;
    let wish = Wish {
        most,
        json: query.flag("log_json")?.unwrap_or(false),
        plain: query.flag("plain")?.unwrap_or(false),
    };
    let permit = http.stream_permit()?;
    let mut lines = http.api.logs.lines.subscribe();
    let (sender, body) = channel();
    let _until_the_listener_goes = tokio::spawn(async move {
        let _held = permit;
        while let Some(bytes) = gather(&mut lines, wish).await {
            if sender.is_closed() || (!bytes.is_empty() && sender.send(bytes).await.is_err()) {
                return;
            }
        }
    });
    let mut response = Response::new(body);
    let kind = if wish.plain { "text/plain" } else { "application/json" };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

/// The next frame: lines of a moment, or a heartbeat. `None`: there will be no more.
async fn gather(lines: &mut broadcast::Receiver<Arc<Line>>, wish: Wish) -> Option<Bytes> {
    let mut text = String::new();
    let mut until = tokio::time::Instant::now() + HEARTBEAT;
    while text.len() < FRAME_BYTES_MAX {
        match tokio::time::timeout_at(until, lines.recv()).await {
            Err(_) => break,
            Ok(Err(RecvError::Closed)) => return None,
            Ok(Err(RecvError::Lagged(lost))) => {
                let _never_fails = writeln!(text, "[WARN]  monitor: {lost} lines were lost");
            }
            Ok(Ok(line)) if wish.most < line.level => continue,
            Ok(Ok(line)) => text.push_str(&if wish.json { line.json() } else { line.text() }),
        }
        until = until.min(tokio::time::Instant::now() + GATHER);
    }
    if wish.plain {
        return Some(Bytes::from(text));
    }
    if text.is_empty() {
        return Some(Bytes::from_static(b"{}"));
    }
    let frame = json!({ "Data": STANDARD.encode(text), "FileEvent": "" });
    Some(Bytes::from(frame.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[tokio::test]
    async fn what_is_logged_is_heard_by_who_listens_for_it() {
        let (tap, layer) = LogTap::new();
        let mut lines = tap.lines.subscribe();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::debug!("not for everyone");
            tracing::warn!(port = 80, "taken");
        });
        let wish = Wish { most: Level::INFO, json: false, plain: true };
        let text = gather(&mut lines, wish).await.unwrap();
        let text = std::str::from_utf8(&text).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(text.ends_with("Z [WARN]  tests: taken: port=80\n"), "{text}");
    }
}
