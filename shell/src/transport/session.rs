//! One connection from its handshake to its end.
//!
//! ```text
//!   dialler                                answerer
//!      │ ── QUIC and TLS, both certificates ── │
//!      │ ── ordered stream, greeting ────────▶ │  judges the greeting, chooses the link
//!      │ ◀──────── ordered stream, greeting ── │  Connected
//!      │  Connected                            │
//!      │ ◀═══ ordered · datagrams · bulk ════▶ │
//! ```
//!
//! The answerer greets last, so that a dialler who is refused never believes itself connected.
//! One task carries a connection: its lanes are futures that it polls together.
//!
//! Invariants
//! - no message is told before the greeting was judged against the certificate;
//! - whoever breaks a rule of `frame` is cut off and told which.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use quinn::{Connection, ConnectionError, ReadError, RecvStream, SendStream, WriteError};

use super::close::{self, Close};
use super::dial::Dialled;
use super::frame::{self, Decoder, Fault, Greeting, HELLO_BYTES_MAX, LANE_BULK, LANE_ORDERED};
use super::introduction::Claims;
use super::peers::{Link, Peers, Rank, Seat, count};
use super::queue::Queue;
use super::quic;
use super::{Hello, Lane, PeerId, TransportEvent, judge};

/// Chunks taken from a stream at once.
const CHUNKS: usize = 32;

/// Why there is no session, or no longer.
pub(super) enum End {
    /// The connection broke or was closed.
    Lost(ConnectionError),
    /// The peer broke a rule.
    Fault(Fault),
    /// The greeting cannot be accepted.
    Refused(String),
    /// It took too long.
    TimedOut,
    /// We dialled ourselves.
    Ourselves,
    /// Nobody listens to our events: the agent stops.
    Unheard,
}

impl End {
    fn words(&self) -> String {
        match self {
            Self::Lost(error) => close::words(error),
            Self::Fault(fault) => format!("broke a rule: {fault}"),
            Self::Refused(why) => why.clone(),
            Self::TimedOut => "does not answer".to_owned(),
            Self::Ourselves => "is ourselves".to_owned(),
            Self::Unheard => "was left: the agent stops".to_owned(),
        }
    }

    fn close(&self, connection: &Connection) {
        let close = match self {
            Self::Lost(_) | Self::Unheard | Self::TimedOut => Close::Stopping,
            Self::Fault(_) => Close::Fault,
            Self::Refused(_) => Close::Refused,
            Self::Ourselves => Close::Ourselves,
        };
        connection.close(close.code(), self.words().as_bytes());
    }
}

impl From<ConnectionError> for End {
    fn from(error: ConnectionError) -> Self {
        Self::Lost(error)
    }
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The streams of a session that has greeted.
struct Streams {
    send: SendStream,
    recv: RecvStream,
    decoder: Decoder,
    /// Ours to say first: the greeting of the side that was dialled.
    preface: Vec<Bytes>,
}

/// Answers whoever dials, until the endpoint closes.
pub(super) async fn accept_all(peers: Arc<Peers>) {
    while let Some(incoming) = peers.endpoint.accept().await {
        if peers.config.bounds.handshakes_max <= peers.handshakes.load(Ordering::Relaxed) {
            incoming.refuse();
            continue;
        }
        peers.handshakes.fetch_add(1, Ordering::Relaxed);
        let peers_of_task = Arc::clone(&peers);
        peers.env.runtime.spawn(Box::pin(async move { answer(peers_of_task, incoming).await }));
    }
}

async fn answer(peers: Arc<Peers>, incoming: quinn::Incoming) {
    let addr = incoming.remote_address();
    let greeted = tokio::select! {
        biased;
        greeted = answer_greeting(&peers, incoming) => greeted,
        () = peers.env.sleep_ms(peers.config.timings.handshake_ms) => Err(End::TimedOut),
    };
    peers.handshakes.fetch_sub(1, Ordering::Relaxed);
    match greeted {
        Ok((link, streams)) => match peers.admit(&link) {
            Some(seat) => run(peers, link, seat, streams).await,
            None => link.connection.close(Close::Duplicate.code(), &peers.own_id_bytes()),
        },
        // A dialler that gave up or found a better connection is nobody's concern.
        Err(End::Lost(ConnectionError::ApplicationClosed(_)) | End::Ourselves) => (),
        Err(end) => peers.refuse(addr, end.words()),
    }
}

async fn answer_greeting(
    peers: &Arc<Peers>,
    incoming: quinn::Incoming,
) -> Result<(Arc<Link>, Streams), End> {
    let connection = incoming.await?;
    let opened = async {
        let mut recv = connection.accept_uni().await?;
        let mut decoder = Decoder::default();
        let greeting = read_greeting(&mut recv, &mut decoder).await?;
        let claims = judge::check(peers, &connection, &greeting)?;
        let send = connection.open_uni().await?;
        Ok((recv, decoder, greeting, claims, send))
    };
    let (recv, decoder, greeting, claims, send) =
        opened.await.inspect_err(|end: &End| end.close(&connection))?;
    let rank = Rank {
        incarnation: greeting.hello.incarnation,
        dialler: greeting.hello.agent,
        ordinal: greeting.ordinal,
    };
    let own = own_greeting(peers, &connection, 0);
    let link = Arc::new(link(peers, connection, (greeting.hello, claims), rank));
    Ok((link, Streams { send, recv, decoder, preface: preface(&own) }))
}

/// Dials once; a session that begins goes on in a task of its own.
pub(super) async fn dial(peers: &Arc<Peers>, addr: SocketAddr) -> Dialled {
    let greeted = tokio::select! {
        biased;
        greeted = dial_greeting(peers, addr) => greeted,
        () = peers.env.sleep_ms(peers.config.timings.handshake_ms) => Err(End::TimedOut),
    };
    match greeted {
        Ok((link, streams)) => {
            let peer = link.peer;
            match peers.admit(&link) {
                Some(seat) => {
                    let session = run(Arc::clone(peers), link, seat, streams);
                    peers.env.runtime.spawn(Box::pin(session));
                }
                None => link.connection.close(Close::Duplicate.code(), &peers.own_id_bytes()),
            }
            Dialled::Answered(peer)
        }
        Err(End::Ourselves) => Dialled::Ourselves,
        Err(End::Lost(ConnectionError::ApplicationClosed(close)))
            if close.error_code == Close::Ourselves.code() =>
        {
            Dialled::Ourselves
        }
        Err(end) => match other_connection(peers, &end) {
            Some(peer) => Dialled::Answered(peer),
            None => Dialled::Failed(format!("peer {addr} {}", end.words())),
        },
    }
}

/// Whether the peer, whom this names, keeps another connection between us.
fn other_connection(peers: &Peers, end: &End) -> Option<PeerId> {
    match end {
        End::Lost(ConnectionError::ApplicationClosed(close))
            if close.error_code == Close::Duplicate.code() =>
        {
            let (agent, region): (PeerId, String) = postcard::from_bytes(&close.reason).ok()?;
            Some(peers.peer_of(agent, &region))
        }
        _ => None,
    }
}

async fn dial_greeting(peers: &Arc<Peers>, addr: SocketAddr) -> Result<(Arc<Link>, Streams), End> {
    let ordinal = peers.next_ordinal();
    let connecting = peers
        .endpoint
        .connect_with(peers.dialling(), addr, quic::SERVER_NAME)
        .map_err(|why| End::Refused(format!("cannot be dialled: {why}")))?;
    let connection = connecting.await?;
    let opened = async {
        let mut send = connection.open_uni().await?;
        let own = own_greeting(peers, &connection, ordinal);
        send.write_all_chunks(&mut preface(&own))
            .await
            .map_err(|why| lost_by_write(&connection, &why))?;
        let mut recv = connection.accept_uni().await?;
        let mut decoder = Decoder::default();
        let greeting = read_greeting(&mut recv, &mut decoder).await?;
        let claims = judge::check(peers, &connection, &greeting)?;
        Ok((send, recv, decoder, greeting, claims))
    };
    let (send, recv, decoder, greeting, claims) =
        opened.await.inspect_err(|end: &End| end.close(&connection))?;
    let rank = Rank { incarnation: greeting.hello.incarnation, dialler: peers.own_id(), ordinal };
    let link = Arc::new(link(peers, connection, (greeting.hello, claims), rank));
    Ok((link, Streams { send, recv, decoder, preface: Vec::new() }))
}

fn link(
    peers: &Peers,
    connection: Connection,
    (hello, introduction): (Hello, Option<Claims>),
    rank: Rank,
) -> Link {
    let bounds = &peers.config.bounds;
    let (ordered, bulk) = (Queue::new(bounds.ordered_bytes_max), Queue::new(bounds.bulk_bytes_max));
    let peer = peers.peer_of(hello.agent, &hello.region);
    Link { connection, peer, hello, introduction, rank, ordered, bulk }
}

fn own_greeting(peers: &Peers, connection: &Connection, ordinal: u64) -> Greeting {
    let key = peers.config.node_key.as_ref();
    let proof = key.and_then(|key| key.prove(connection));
    // Another client would be let in by it.
    let may_see = judge::may_be_our_server(peers, connection);
    let introduction = peers.config.introduction.clone().filter(|_| may_see);
    Greeting { hello: peers.own_hello(), ordinal, proof, introduction }
}

fn preface(greeting: &Greeting) -> Vec<Bytes> {
    let mut chunks = vec![Bytes::from_static(&[LANE_ORDERED])];
    chunks.extend(frame::join(vec![frame::encode_greeting(greeting)]));
    chunks
}

async fn read_greeting(recv: &mut RecvStream, decoder: &mut Decoder) -> Result<Greeting, End> {
    read_lane(recv, LANE_ORDERED).await?;
    loop {
        if let Some(bytes) = decoder.next(HELLO_BYTES_MAX)? {
            return Ok(frame::decode_greeting(&bytes)?);
        }
        read_some(recv, decoder).await?;
    }
}

async fn read_lane(recv: &mut RecvStream, expected: u8) -> Result<(), End> {
    let chunk = recv.read_chunk(1, true).await.map_err(|why| lost_by_read(&why))?;
    let kind = chunk.and_then(|chunk| chunk.bytes.first().copied()).unwrap_or(0);
    if kind == expected { Ok(()) } else { Err(Fault::UnexpectedStream { kind }.into()) }
}

/// Gives the decoder what has arrived.
async fn read_some(recv: &mut RecvStream, decoder: &mut Decoder) -> Result<(), End> {
    let mut chunks: [Bytes; CHUNKS] = std::array::from_fn(|_| Bytes::new());
    let arrived = recv.read_chunks(&mut chunks).await.map_err(|why| lost_by_read(&why))?;
    // A stream lives as long as its connection: ending it alone breaks the rules.
    let arrived = arrived.ok_or(Fault::UnexpectedStream { kind: 0 })?;
    for chunk in &chunks[..arrived] {
        decoder.push(chunk);
    }
    Ok(())
}

fn lost_by_read(why: &ReadError) -> End {
    match why {
        ReadError::ConnectionLost(error) => End::Lost(error.clone()),
        ReadError::Reset(_)
        | ReadError::ClosedStream
        | ReadError::IllegalOrderedRead
        | ReadError::ZeroRttRejected => Fault::UnexpectedStream { kind: 0 }.into(),
    }
}

fn lost_by_write(connection: &Connection, why: &WriteError) -> End {
    match why {
        WriteError::ConnectionLost(error) => End::Lost(error.clone()),
        WriteError::Stopped(_) | WriteError::ClosedStream | WriteError::ZeroRttRejected => {
            // The peer refuses to read; if it closed as well, that says why.
            connection.close_reason().map_or(Fault::UnexpectedStream { kind: 0 }.into(), End::Lost)
        }
    }
}

/// Carries a link until it ends, and tells what happens on it.
async fn run(peers: Arc<Peers>, link: Arc<Link>, seat: Seat, streams: Streams) {
    let Seat { before, _ended } = seat;
    if let Some(before) = before {
        // An error is the news: the sender is dropped when the replaced link has ended.
        before.await.ok();
    }
    let (peer, addr) = (link.peer, link.connection.remote_address());
    tracing::info!(%peer, %addr, name = link.hello.name, "connected");
    let hello = Box::new(link.hello.clone());
    let introduction = link.introduction.clone();
    let connected = TransportEvent::Connected { peer, hello, introduction, addr };
    let told = peers.events.send(connected).await;
    let end = if told.is_ok() { carry(&peers, &link, streams).await } else { End::Unheard };
    end.close(&link.connection);
    let why = end.words();
    tracing::info!(%peer, %addr, "disconnected: {why}");
    peers.events.send(TransportEvent::Disconnected { peer, why }).await.ok();
    peers.leave(&link);
}

/// The lanes, polled together; the first that ends, ends all.
async fn carry(peers: &Peers, link: &Link, streams: Streams) -> End {
    let Streams { send, recv, decoder, preface } = streams;
    let result = tokio::select! {
        biased;
        error = link.connection.closed() => Err(End::Lost(error)),
        result = write_ordered(link, send, preface) => result,
        result = read_frames(peers, link, Lane::Ordered, (recv, decoder)) => result,
        result = read_datagrams(peers, link) => result,
        result = write_bulk(link) => result,
        result = read_bulk(peers, link) => result,
    };
    match result {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

type Never = std::convert::Infallible;

async fn write_ordered(
    link: &Link,
    mut send: SendStream,
    mut preface: Vec<Bytes>,
) -> Result<Never, End> {
    // The higher number goes first: Raft does not wait behind a snapshot.
    send.set_priority(1).ok();
    let lost = |why: WriteError| lost_by_write(&link.connection, &why);
    send.write_all_chunks(&mut preface).await.map_err(lost)?;
    write_frames(link, &mut send, &link.ordered).await
}

async fn write_bulk(link: &Link) -> Result<Never, End> {
    // The stream is opened with the first message: most links never carry a snapshot.
    let first = link.bulk.next_batch().await;
    let mut send = link.connection.open_uni().await?;
    let lost = |why: WriteError| lost_by_write(&link.connection, &why);
    send.write_all(&[LANE_BULK]).await.map_err(lost)?;
    let (frames, cost_bytes) = first.into_parts();
    send.write_all_chunks(&mut frame::join(frames)).await.map_err(lost)?;
    link.bulk.written(cost_bytes);
    write_frames(link, &mut send, &link.bulk).await
}

async fn write_frames(link: &Link, send: &mut SendStream, queue: &Queue) -> Result<Never, End> {
    loop {
        let (frames, cost_bytes) = queue.next_batch().await.into_parts();
        let mut chunks = frame::join(frames);
        let written = send.write_all_chunks(&mut chunks).await;
        written.map_err(|why| lost_by_write(&link.connection, &why))?;
        queue.written(cost_bytes);
    }
}

async fn read_bulk(peers: &Peers, link: &Link) -> Result<Never, End> {
    let mut recv = link.connection.accept_uni().await?;
    read_lane(&mut recv, LANE_BULK).await?;
    read_frames(peers, link, Lane::Bulk, (recv, Decoder::default())).await
}

async fn read_frames(
    peers: &Peers,
    link: &Link,
    lane: Lane,
    (mut recv, mut decoder): (RecvStream, Decoder),
) -> Result<Never, End> {
    loop {
        while let Some(bytes) = decoder.next(peers.config.bounds.message_bytes_max)? {
            tell(peers, link, lane, bytes).await?;
        }
        read_some(&mut recv, &mut decoder).await?;
    }
}

async fn read_datagrams(peers: &Peers, link: &Link) -> Result<Never, End> {
    loop {
        let bytes = link.connection.read_datagram().await?;
        tell(peers, link, Lane::Datagram, bytes).await?;
    }
}

/// A full channel holds the reader back, and thereby, through QUIC's windows, the peer.
async fn tell(peers: &Peers, link: &Link, lane: Lane, bytes: Bytes) -> Result<(), End> {
    count(&peers.tally.received);
    let received = TransportEvent::Received { peer: link.peer, lane, bytes };
    peers.events.send(received).await.map_err(|_| End::Unheard)
}
