//! An HTTP client as small as it gets, so that what is tested is what stands on the wire.
use std::time::Duration;

use serde_json::Value as Json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than anything here takes on a busy machine; only a hang lasts so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a request came to.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn index(&self) -> u64 {
        self.header("x-nomad-index").expect("an index").parse().expect("a number")
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text")
    }

    pub(super) fn json(&self) -> Json {
        assert_eq!(self.status, 200, "{}", self.text());
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// Asks one agent.
#[derive(Clone, Debug)]
pub(super) struct Browser {
    pub(super) address: String,
}

impl Browser {
    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], None).await
    }

    pub(super) async fn put(&self, path: &str, body: &Json) -> Answer {
        self.ask("PUT", path, &[], Some(body)).await
    }

    /// The whole answer.
    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Json>,
    ) -> Answer {
        let mut stream = self.send(method, path, headers, body).await;
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
        read.expect("an answer in time").expect("an answer");
        parse(&bytes)
    }

    /// The beginning of an answer that does not end, up to where it holds `wanted`.
    pub(super) async fn listen(&self, path: &str, wanted: &str) -> String {
        let mut stream = self.send("GET", path, &[], None).await;
        let mut bytes = Vec::new();
        let heard = async {
            loop {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                if text.contains(wanted) {
                    return text;
                }
                let read = stream.read_buf(&mut bytes).await.expect("a stream");
                assert!(0 < read, "the stream ended without {wanted:?}: {text}");
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.expect("in time")
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Json>,
    ) -> TcpStream {
        let body = body.map(Json::to_string).unwrap_or_default();
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if headers.iter().all(|(name, _)| *name != "Host") {
            head += &format!("Host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        let mut stream = TcpStream::connect(&self.address).await.expect("an agent");
        stream.write_all(head.as_bytes()).await.expect("a connection");
        stream
    }
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = std::str::from_utf8(&bytes[..end]).expect("a head of text");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer {
        status: status.parse().expect("a number"),
        headers,
        body: bytes[end + 4..].into(),
    };
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = joined(&answer.body);
    }
    answer
}

/// Chunks put together.
fn joined(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = chunks.windows(2).position(|two| two == b"\r\n").expect("a chunk's length");
        let length = std::str::from_utf8(&chunks[..end]).expect("hex digits");
        let length = usize::from_str_radix(length, 16).expect("hex digits");
        if length == 0 {
            return body;
        }
        body.extend(&chunks[end + 2..end + 2 + length]);
        chunks = &chunks[end + 4 + length..];
    }
}
