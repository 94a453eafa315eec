//! One exchange of HTTP/1.1 on a blocking socket: the request as bytes, the answer as a reader.
//!
//! Invariants
//! - a head is at most `HEAD_BYTES_MAX`: a stranger on the port cannot fill the memory;
//! - a body ends where its framing says, and a body that ends earlier is an error;
//! - a connection is used again only after its last body was read to the end.
//!
//! Does not know paths, JSON, or TLS.
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

const HEAD_BYTES_MAX: u64 = 64 * 1024;
const CONNECT_MS_MAX: u64 = 5_000;

pub(crate) type Stream = BufReader<TcpStream>;

/// What is asked.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// Path and query, ready to send.
    pub(crate) path: &'a str,
    pub(crate) host: &'a str,
    pub(crate) token: Option<&'a str>,
    pub(crate) body: Option<Content<'a>>,
}

/// What is sent along.
#[derive(Clone, Copy)]
pub(crate) enum Content<'a> {
    Json(&'a [u8]),
    Bytes(&'a [u8]),
}

/// An answer whose body has not been read yet.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `X-Nomad-Index`, or zero.
    pub(crate) index: u64,
    pub(crate) body: Body,
}

/// The rest of an answer.
pub(crate) struct Body {
    stream: Stream,
    framing: Framing,
    reusable: bool,
}

enum Framing {
    /// So many bytes are left.
    Sized(u64),
    /// So many bytes of this chunk are left.
    Chunked(u64),
    /// Everything until the other side closes.
    UntilClose,
    Ended,
}

/// A connection to the first address of `host` that accepts one.
pub(crate) fn connect(host: &str, port: u16) -> io::Result<Stream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, Duration::from_millis(CONNECT_MS_MAX)) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(BufReader::with_capacity(32 * 1024, stream));
            }
            Err(why) => failed = why,
        }
    }
    Err(failed)
}

/// Sends `request` and reads the head of its answer; every read waits at most `silence`.
pub(crate) fn exchange(
    mut stream: Stream,
    request: &Request<'_>,
    silence: Duration,
) -> io::Result<Answer> {
    stream.get_ref().set_read_timeout(Some(silence))?;
    stream.get_ref().set_write_timeout(Some(silence))?;
    // One write, one packet.
    stream.get_mut().write_all(&bytes(request))?;
    loop {
        let (status, head) = read_head(&mut stream)?;
        if (100..200).contains(&status) {
            continue;
        }
        let find = |name: &str| {
            head.iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, text)| text.as_str())
        };
        let chunked =
            find("transfer-encoding").is_some_and(|text| text.eq_ignore_ascii_case("chunked"));
        let length = find("content-length").map(str::parse).transpose();
        let length = length.map_err(|_| malformed("its Content-Length is no number"))?;
        let framing = match (chunked, length) {
            _ if status == 204 || status == 304 => Framing::Ended,
            (true, _) => Framing::Chunked(0),
            (false, Some(0)) => Framing::Ended,
            (false, Some(length)) => Framing::Sized(length),
            (false, None) => Framing::UntilClose,
        };
        let closing = find("connection").is_some_and(|text| text.eq_ignore_ascii_case("close"));
        let index = find("x-nomad-index").and_then(|text| text.parse().ok()).unwrap_or(0);
        let reusable = !closing && !matches!(framing, Framing::UntilClose);
        return Ok(Answer { status, index, body: Body { stream, framing, reusable } });
    }
}

fn bytes(request: &Request<'_>) -> Vec<u8> {
    let Request { method, path, host, token, body } = request;
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: drover\r\n");
    if let Some(token) = token {
        text.push_str(&format!("X-Nomad-Token: {token}\r\n"));
    }
    match body {
        Some(content) => {
            let (kind, body) = match content {
                Content::Json(body) => ("application/json", body),
                Content::Bytes(body) => ("application/octet-stream", body),
            };
            let length = body.len();
            text.push_str(&format!("Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"));
            let mut bytes = text.into_bytes();
            bytes.extend_from_slice(body);
            bytes
        }
        None => {
            text.push_str("\r\n");
            text.into_bytes()
        }
    }
}

fn malformed(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

fn read_head(stream: &mut Stream) -> io::Result<(u16, Vec<(String, String)>)> {
    let mut limited = stream.take(HEAD_BYTES_MAX);
    let mut line = |why: &str| -> io::Result<String> {
        let mut bytes = Vec::new();
        limited.read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why.to_owned()));
        }
        if bytes.last() != Some(&b'\n') {
            return Err(malformed("the head of the answer is too long or torn"));
        }
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    };
    let first = line("the connection was closed without an answer")?;
    let status = first
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| malformed("this is not an HTTP/1.1 server"))?;
    let mut head = Vec::new();
    loop {
        let text = line("the connection was closed within the head of the answer")?;
        if text.is_empty() {
            return Ok((status, head));
        }
        let (key, value) =
            text.split_once(':').ok_or_else(|| malformed("a header has no colon"))?;
        head.push((key.to_owned(), value.trim().to_owned()));
    }
}

impl Body {
    /// The connection, if it can carry another exchange.
    pub(crate) fn into_stream(self) -> Option<Stream> {
        (self.reusable && matches!(self.framing, Framing::Ended)).then_some(self.stream)
    }

    /// The next chunk's size; zero after the last one, whose trailers are skipped.
    fn next_chunk(&mut self) -> io::Result<u64> {
        let mut line = String::new();
        (&mut self.stream).take(HEAD_BYTES_MAX).read_line(&mut line)?;
        let digits = line.trim().split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(digits, 16).map_err(|_| {
            io::Error::new(io::ErrorKind::UnexpectedEof, "the answer ended before its last chunk")
        })?;
        if size == 0 {
            loop {
                line.clear();
                let read = (&mut self.stream).take(HEAD_BYTES_MAX).read_line(&mut line)?;
                if read == 0 || line.trim().is_empty() {
                    break;
                }
            }
        }
        Ok(size)
    }

    fn read_up_to(&mut self, left: u64, buffer: &mut [u8]) -> io::Result<u64> {
        let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.stream.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            let why = "the answer ended before all of it had come";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
        Ok(read as u64)
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = match self.framing {
            Framing::Ended => 0,
            Framing::UntilClose => self.stream.read(buffer)? as u64,
            Framing::Sized(left) => {
                let read = self.read_up_to(left, buffer)?;
                self.framing =
                    if read == left { Framing::Ended } else { Framing::Sized(left - read) };
                read
            }
            Framing::Chunked(0) => {
                let size = self.next_chunk()?;
                self.framing = if size == 0 { Framing::Ended } else { Framing::Chunked(size) };
                return self.read(buffer);
            }
            Framing::Chunked(left) => {
                let read = self.read_up_to(left, buffer)?;
                if read == left {
                    let mut end = [0; 2];
                    self.stream.read_exact(&mut end)?;
                }
                self.framing = Framing::Chunked(left - read);
                read
            }
        };
        usize::try_from(read).map_err(|_| malformed("a read is longer than its buffer"))
    }
}
