//! A server of prepared answers, and the program run against it.
//!
//! The server is a table of routes; each test says what it knows. What the program asks is kept, so
//! that a test can look at it.
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

pub(crate) const ALLOC: &str = "a1b2c3d4-0000-4000-8000-000000000001";
pub(crate) const NODE: &str = "0d0e0f00-0000-4000-8000-000000000002";
pub(crate) const EVAL: &str = "e1e2e3e4-0000-4000-8000-000000000003";

/// Status, body; several are given one after the other, the last one for ever.
type Answers = Vec<(u16, String)>;

#[derive(Default)]
struct Routes {
    answers: BTreeMap<String, Answers>,
    asked: Vec<(String, String)>,
    tokens: Vec<String>,
}

/// A server on a port of its own.
pub(crate) struct Server {
    pub(crate) address: String,
    routes: Arc<Mutex<Routes>>,
}

impl Server {
    /// Routes are `METHOD /path` without the query.
    pub(crate) fn with(routes: &[(&str, u16, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        let server = Self { address, routes: Arc::default() };
        for (route, status, body) in routes {
            server.add(route, *status, body);
        }
        let shared = Arc::clone(&server.routes);
        // Ends with the test's process: nothing waits for it.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &shared));
            }
        });
        server
    }

    pub(crate) fn add(&self, route: &str, status: u16, body: &str) {
        let mut routes = self.routes.lock().expect("no test panicked");
        routes.answers.entry(route.to_owned()).or_default().push((status, body.to_owned()));
    }

    /// What was asked: request lines with their queries, and bodies.
    pub(crate) fn asked(&self) -> Vec<(String, String)> {
        self.routes.lock().expect("no test panicked").asked.clone()
    }

    /// Tokens that were shown, in order.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.routes.lock().expect("no test panicked").tokens.clone()
    }

    pub(crate) fn drover(&self, args: &[&str]) -> Ran {
        ran(Command::new(env!("CARGO_BIN_EXE_drover")).args(args).env("DROVER_ADDR", &self.address))
    }
}

fn serve(stream: TcpStream, routes: &Mutex<Routes>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a header");
            if line.trim().is_empty() {
                break;
            }
            if let Some(token) = line.strip_prefix("X-Nomad-Token: ") {
                let mut routes = routes.lock().expect("no test panicked");
                routes.tokens.push(token.trim().to_owned());
            }
            if let Some(text) = line.strip_prefix("Content-Length: ") {
                length = text.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("the body");
        let target = first.trim().trim_end_matches(" HTTP/1.1").to_owned();
        let route = target.split('?').next().expect("a path").to_owned();
        let (status, text) = {
            let mut routes = routes.lock().expect("no test panicked");
            routes.asked.push((target, String::from_utf8_lossy(&body).into_owned()));
            match routes.answers.get_mut(&route) {
                Some(answers) if answers.len() > 1 => answers.remove(0),
                Some(answers) => answers[0].clone(),
                None => (404, "not found".to_owned()),
            }
        };
        let stream = reader.get_mut();
        // Streams come in chunks of a few bytes, to be put together again.
        if target_streams(&route) {
            let head = format!("HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n\r\n");
            stream.write_all(head.as_bytes()).expect("the head");
            for chunk in text.as_bytes().chunks(7) {
                let size = format!("{:x}\r\n", chunk.len());
                stream.write_all(&[size.as_bytes(), chunk, b"\r\n"].concat()).expect("a chunk");
            }
            stream.write_all(b"0\r\n\r\n").expect("the end");
        } else {
            let length = text.len();
            let head = format!("X-Nomad-Index: 7\r\nContent-Length: {length}");
            let all = format!("HTTP/1.1 {status} X\r\n{head}\r\n\r\n{text}");
            stream.write_all(all.as_bytes()).expect("the answer");
        }
    }
}

fn target_streams(route: &str) -> bool {
    route.contains("/fs/logs/") || route.contains("/agent/monitor")
}

/// What a run of the program left.
pub(crate) struct Ran {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: i32,
}

pub(crate) fn ran(command: &mut Command) -> Ran {
    for name in ["NOMAD_ADDR", "NOMAD_TOKEN", "NOMAD_NAMESPACE", "NOMAD_REGION", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    let Output { status, stdout, stderr } = command.output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran { out: text(stdout), err: text(stderr), code: status.code().expect("it ends by itself") }
}

/// Moments of the monitor are now: they are blanked.
pub(crate) fn without_times(text: &str) -> String {
    let blank = |line: &str| match line.split_once("Z: ") {
        Some((before, rest)) => {
            let margin: String = before.chars().take_while(|c| *c == ' ' || *c == '=').collect();
            let arrow = if before.starts_with("==>") { "==> T: " } else { "" };
            if arrow.is_empty() { format!("{margin}T: {rest}") } else { format!("{arrow}{rest}") }
        }
        None => line.to_owned(),
    };
    text.lines().map(|line| blank(line) + "\n").collect()
}

pub(crate) fn job_list() -> String {
    r#"[{"ID":"web","Namespace":"default","Type":"service","Priority":50,"Status":"running",
        "Stop":false,"SubmitTime":1795346904268554926,"Periodic":false},
        {"ID":"count","Namespace":"default","Type":"batch","Priority":70,"Status":"dead",
        "Stop":true,"SubmitTime":1795346904000000000,"Extra":{"unknown":1}}]"#
        .to_owned()
}

pub(crate) fn job_file(folder: &tempfile::TempDir) -> String {
    let path = folder.path().join("web.nomad.hcl");
    let text = "job \"web\" {\n  group \"app\" {\n    task \"srv\" {\n      driver = \"raw_exec\"\n      \
                config { command = \"/bin/true\" }\n    }\n  }\n}\n";
    std::fs::write(&path, text).expect("the file is written");
    path.display().to_string()
}
