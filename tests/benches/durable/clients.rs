//! Clients: kept connections that ask for one thing at a time, all on one thread.
//!
//! As much of HTTP/1.1 as that needs, by hand: what the clients cost is taken from the servers.
//!
//! Invariants
//! - an answer is counted when it has arrived whole, and only while answers are counted;
//! - whatever is no 200 is counted by what it is, and so is a client that hears nothing.
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Measured;
use crate::agents::{TRUE, job};

/// After anything but a 200: whoever is refused does not ask again at once.
const PAUSE: Duration = Duration::from_millis(10);
/// For the last answer of each client; longer than the server's own patience.
const PATIENCE: Duration = Duration::from_secs(25);
const NAME: &str = "name-of-the-job";
/// Of clients that heard nothing at all while answers were counted.
const NO_ANSWER: &str = "client without an answer";

/// What clients ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ask {
    Light,
    Job,
    NoWrite,
}

/// Where the run is.
#[derive(Debug, Default)]
pub(crate) struct Phase(AtomicU8);

impl Phase {
    const NOT_COUNTED: u8 = 0;
    const COUNTED: u8 = 1;
    const OVER: u8 = 2;

    pub(crate) fn begin_counting(&self) {
        self.0.store(Self::COUNTED, Ordering::Relaxed);
    }

    /// The clients go on: a thread that has ended cannot be asked what it has used.
    pub(crate) fn end_counting(&self) {
        self.0.store(Self::NOT_COUNTED, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.0.store(Self::OVER, Ordering::Relaxed);
    }

    fn is_counted(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::COUNTED
    }

    fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::OVER
    }
}

/// What the clients heard.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// From before the request was sent to after its answer, of every 200.
    pub(crate) answered_ns: Vec<u64>,
    /// Other answers, and broken connections.
    pub(crate) others: BTreeMap<String, u64>,
}

/// What the clients share.
struct Plan {
    address: SocketAddr,
    ask: Ask,
    phase: Arc<Phase>,
    job: String,
}

/// Runs `count` clients on the calling thread until the phase is over. `connected` is told once all
/// are.
pub(crate) fn run(
    (ask, count): (Ask, usize),
    address: SocketAddr,
    phase: Arc<Phase>,
    connected: &Sender<()>,
) -> Measured<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| format!("no runtime for the clients: {why}"))?;
    let plan = Arc::new(Plan { address, ask, phase, job: job(NAME, 1, TRUE).to_string() });
    runtime.block_on(async {
        let mut clients = Vec::new();
        for number in 1..=count {
            let line = Line::connect(address).await;
            let line = line.map_err(|why| format!("client {number} cannot connect: {why}"))?;
            clients.push(tokio::spawn(client(Arc::clone(&plan), line)));
        }
        connected.send(()).ok();
        let mut all = Tally::default();
        for mut client in clients {
            while !plan.phase.is_over() {
                tokio::time::sleep(PAUSE).await;
            }
            let tally = match tokio::time::timeout(PATIENCE, &mut client).await {
                Ok(ended) => ended.map_err(|why| format!("a client: {why}"))?,
                Err(_) => {
                    client.abort();
                    Tally { others: [(NO_ANSWER.to_owned(), 1)].into(), ..Tally::default() }
                }
            };
            all.answered_ns.extend(tally.answered_ns);
            for (what, count) in tally.others {
                *all.others.entry(what).or_default() += count;
            }
        }
        Ok(all)
    })
}

async fn client(plan: Arc<Plan>, mut line: Line) -> Tally {
    let mut tally = Tally::default();
    while !plan.phase.is_over() {
        let request = plan.request();
        let begun = Instant::now();
        let answer = line.ask(request.as_bytes()).await;
        let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let other = match &answer {
            Ok(200) => {
                if plan.phase.is_counted() {
                    tally.answered_ns.push(took);
                }
                continue;
            }
            Ok(status) => status.to_string(),
            Err(why) => format!("broken: {}", why.kind()),
        };
        if plan.phase.is_counted() {
            *tally.others.entry(other).or_default() += 1;
        }
        tokio::time::sleep(PAUSE).await;
        if answer.is_err()
            && let Ok(again) = Line::connect(plan.address).await
        {
            line = again;
        }
    }
    // Most likely nobody took the connection: it waits in the system's queue, and so would a user.
    if tally.answered_ns.is_empty() && tally.others.is_empty() {
        tally.others.insert(NO_ANSWER.to_owned(), 1);
    }
    tally
}

impl Plan {
    fn request(&self) -> String {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let (what, body) = match self.ask {
            Ask::Light => ("PUT /v1/system/gc", String::new()),
            Ask::NoWrite => ("GET /v1/regions", String::new()),
            Ask::Job => {
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                ("PUT /v1/jobs", self.job.replace(NAME, &format!("job-{number}")))
            }
        };
        let length = body.len();
        format!("{what} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}")
    }
}

/// A connection.
struct Line {
    stream: TcpStream,
    arrived: Vec<u8>,
}

impl Line {
    async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, arrived: Vec::with_capacity(4_096) })
    }

    /// The status of the answer, once all of it has arrived.
    async fn ask(&mut self, request: &[u8]) -> io::Result<u16> {
        self.stream.write_all(request).await?;
        self.arrived.clear();
        loop {
            if self.stream.read_buf(&mut self.arrived).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(status) = whole(&self.arrived)? {
                return Ok(status);
            }
        }
    }
}

/// The status of an answer that has arrived whole.
fn whole(arrived: &[u8]) -> io::Result<Option<u16>> {
    let Some(end) = arrived.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&arrived[..end]);
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
    });
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    let (Some(length), Some(status)) = (length, status) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    Ok((end + 4 + length <= arrived.len()).then_some(status))
}
