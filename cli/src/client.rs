//! The API as the commands see it: a path and a query in, JSON or a refusal out.
//!
//! Invariants
//! - a write is sent once, on a connection of its own: it is never repeated by us;
//! - region, namespace and token go with every request.
use std::io::{self, Read as _};
use std::time::Duration;

use serde_json::Value;

use crate::address::Target;
use crate::failure::Refusal;
use crate::http::{self, Answer, Body, Content, Request, Stream};

/// How long a server may be silent before an answer, beside the time it was asked to wait.
const SILENCE_MS: u64 = 30_000;
/// The same while a whole state goes through the log.
const UPLOAD_SILENCE_MS: u64 = 600_000;
/// Larger than any answer to a command.
const BODY_BYTES_MAX: u64 = 512 << 20;

/// Pairs of a query.
pub(crate) type Query<'a> = &'a [(&'a str, &'a str)];

/// What a read came to.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) json: Value,
    /// The index that a blocking query waits to be passed.
    pub(crate) index: u64,
}

pub(crate) struct Client {
    pub(crate) target: Target,
    idle: Option<Stream>,
}

impl Client {
    pub(crate) const fn new(target: Target) -> Self {
        Self { target, idle: None }
    }

    /// Reads `path`.
    pub(crate) fn get(&mut self, path: &str, query: Query<'_>) -> Result<Value, Refusal> {
        self.read(path, query).map(|reply| reply.json)
    }

    /// Reads `path`, with the index of what was read.
    pub(crate) fn read(&mut self, path: &str, query: Query<'_>) -> Result<Reply, Refusal> {
        let answer = self.ask("GET", path, query, None)?;
        self.finish(answer)
    }

    pub(crate) fn put(
        &mut self,
        path: &str,
        query: Query<'_>,
        body: &Value,
    ) -> Result<Value, Refusal> {
        let answer =
            self.ask("PUT", path, query, Some(Content::Json(body.to_string().as_bytes())))?;
        self.finish(answer).map(|reply| reply.json)
    }

    /// Writes bytes that may take the servers a while.
    pub(crate) fn upload(&mut self, path: &str, body: &[u8]) -> Result<Value, Refusal> {
        let answer =
            self.exchange("PUT", path, &[], Some(Content::Bytes(body)), UPLOAD_SILENCE_MS)?;
        self.finish(answer).map(|reply| reply.json)
    }

    pub(crate) fn delete(&mut self, path: &str, query: Query<'_>) -> Result<Value, Refusal> {
        let answer = self.ask("DELETE", path, query, None)?;
        self.finish(answer).map(|reply| reply.json)
    }

    /// Reads `path`, whatever its bytes are.
    pub(crate) fn fetch(&mut self, path: &str, query: Query<'_>) -> Result<Vec<u8>, Refusal> {
        let mut answer = self.ask("GET", path, query, None)?;
        if 300 <= answer.status {
            return Err(self.refused(answer));
        }
        self.rest(&mut answer.body)
    }

    /// Reads `path` as it comes, for as long as it comes.
    pub(crate) fn stream(&mut self, path: &str, query: Query<'_>) -> Result<Body, Refusal> {
        let answer = self.ask("GET", path, query, None)?;
        if answer.status < 300 { Ok(answer.body) } else { Err(self.refused(answer)) }
    }

    fn ask(
        &mut self,
        method: &str,
        path: &str,
        query: Query<'_>,
        body: Option<Content<'_>>,
    ) -> Result<Answer, Refusal> {
        self.exchange(method, path, query, body, SILENCE_MS)
    }

    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        query: Query<'_>,
        body: Option<Content<'_>>,
        silence_ms: u64,
    ) -> Result<Answer, Refusal> {
        let path = self.full_path(path, query);
        let host = self.target.authority();
        let token = self.target.token.clone();
        let request = Request { method, path: &path, host: &host, token: token.as_deref(), body };
        let silence = Duration::from_millis(silence_ms);
        if let Some(stream) = self.idle.take().filter(|_| method == "GET") {
            // The server may have closed it meanwhile; then a new one is as good.
            if let Ok(answer) = http::exchange(stream, &request, silence) {
                return Ok(answer);
            }
        }
        http::connect(&self.target.host, self.target.port)
            .and_then(|stream| http::exchange(stream, &request, silence))
            .map_err(|why| self.unreachable(&why))
    }

    fn full_path(&self, path: &str, query: Query<'_>) -> String {
        let mut full = format!("{}{path}", self.target.path);
        let given = |name: &str| query.iter().any(|(key, _)| *key == name);
        let own = [("namespace", &self.target.namespace), ("region", &self.target.region)];
        let own = own.into_iter().filter(|(name, _)| !given(name));
        let own = own.filter_map(|(name, text)| text.as_deref().map(|text| (name, text)));
        let mut mark = '?';
        for (name, text) in query.iter().copied().chain(own) {
            full.push_str(&format!("{mark}{name}={}", escaped(text)));
            mark = '&';
        }
        full
    }

    fn finish(&mut self, mut answer: Answer) -> Result<Reply, Refusal> {
        if 300 <= answer.status {
            return Err(self.refused(answer));
        }
        let text = self.rest(&mut answer.body)?;
        self.idle = answer.body.into_stream();
        if text.is_empty() {
            return Ok(Reply { json: Value::Null, index: answer.index });
        }
        serde_json::from_slice(&text)
            .map(|json| Reply { json, index: answer.index })
            .map_err(|why| Refusal::Malformed { why: format!("it is not JSON: {why}") })
    }

    fn refused(&mut self, mut answer: Answer) -> Refusal {
        match self.rest(&mut answer.body) {
            Ok(text) => {
                self.idle = answer.body.into_stream();
                let text = String::from_utf8_lossy(&text).trim_end().to_owned();
                Refusal::Status { code: answer.status, text }
            }
            Err(refusal) => refusal,
        }
    }

    fn rest(&self, body: &mut Body) -> Result<Vec<u8>, Refusal> {
        let mut bytes = Vec::new();
        let read = body.take(BODY_BYTES_MAX).read_to_end(&mut bytes);
        read.map_err(|why| self.unreachable(&why)).map(|_| bytes)
    }

    fn unreachable(&self, why: &io::Error) -> Refusal {
        let address = format!("http://{}{}", self.target.authority(), self.target.path);
        match why.kind() {
            io::ErrorKind::InvalidData => Refusal::Malformed { why: format!("{why} at {address}") },
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                let why = "no answer came in time".to_owned();
                Refusal::Unreachable { address, why, hint: self.target.origin.hint() }
            }
            _ => {
                let why = reason(why);
                Refusal::Unreachable { address, why, hint: self.target.origin.hint() }
            }
        }
    }
}

/// The system's words without its number.
fn reason(why: &io::Error) -> String {
    let text = why.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// `text` as it may stand in a query or a segment of a path.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
