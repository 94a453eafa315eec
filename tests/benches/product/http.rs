//! As much of HTTP as the measurements need: one connection, asked again and again.
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value as Json;

use crate::Measured;

/// Longer than any answer here may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to an agent.
pub(crate) struct Http {
    stream: BufReader<TcpStream>,
}

/// What the agent said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `X-Nomad-Index`: where a blocking query goes on.
    pub(crate) index: u64,
    pub(crate) body: Json,
}

impl Http {
    pub(crate) fn connect(address: SocketAddr) -> Measured<Self> {
        let connect = || -> std::io::Result<TcpStream> {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let stream = connect().map_err(|why| format!("cannot reach {address}: {why}"))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    pub(crate) fn get(&mut self, path: &str) -> Measured<Answer> {
        self.ask("GET", path, "").map_err(|why| format!("GET {path}: {why}"))
    }

    /// As `get`; any status but 200 is a failure.
    pub(crate) fn read(&mut self, path: &str) -> Measured<Answer> {
        self.get(path)?.well(path)
    }

    pub(crate) fn put(&mut self, path: &str, body: &Json) -> Measured<Answer> {
        let body = body.to_string();
        self.ask("PUT", path, &body).map_err(|why| format!("PUT {path}: {why}"))
    }

    pub(crate) fn delete(&mut self, path: &str) -> Measured<Answer> {
        let answer = self.ask("DELETE", path, "").map_err(|why| format!("DELETE {path}: {why}"));
        answer?.well(path)
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> std::io::Result<Answer> {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        self.stream.get_mut().write_all([head.as_bytes(), body.as_bytes()].concat().as_slice())?;
        let status = self.line()?.split(' ').nth(1).and_then(|code| code.parse().ok());
        let (mut index, mut length) = (0, None);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            let Some((name, value)) = line.split_once(": ") else { break };
            match name {
                "x-nomad-index" => index = value.parse().unwrap_or(0),
                "content-length" => length = value.parse().ok(),
                _ => (),
            }
        }
        let bytes = match length {
            Some(length) => self.bytes(length)?,
            None => self.chunks()?,
        };
        let text = || Json::String(String::from_utf8_lossy(&bytes).into_owned());
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| text());
        Ok(Answer { status: status.unwrap_or(0), index, body })
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    fn bytes(&mut self, length: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn chunks(&mut self) -> std::io::Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line()?, 16).unwrap_or(0);
            let chunk = self.bytes(length)?;
            self.line()?;
            if chunk.is_empty() {
                return Ok(all);
            }
            all.extend(chunk);
        }
    }
}

impl Answer {
    fn well(self, path: &str) -> Measured<Self> {
        if self.status == 200 {
            return Ok(self);
        }
        Err(format!("{path}: {} {}", self.status, self.body))
    }
}
