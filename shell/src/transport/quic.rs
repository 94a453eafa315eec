//! The endpoint: keys, timings and windows.
//!
//! Everything that a simulator must replace comes in as `Env`. Nothing here reads a clock.
//!
//! Invariants
//! - both directions of every connection show a certificate, or there is no connection;
//! - one lane cannot use up the room of the other: each stream's window is a part of the whole.
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    AsyncTimer, AsyncUdpSocket, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig,
    IdleTimeout, Runtime, TransportConfig, VarInt,
};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::tls13::OkmBlock;
use rustls::crypto::{
    CryptoProvider, SecureRandom, WebPkiSupportedAlgorithms, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use thiserror::Error;

use super::introduction::Introducer;
use super::tls::{self, Certificates};
use super::{Config, Role, Timings, Wall, resolve};

/// Named in the handshake, so that nothing else is mistaken for us.
const ALPN: &[u8] = b"drover/1";
/// The name dialled. It is not compared: who answers is learned from the certificate and greeting.
pub(super) const SERVER_NAME: &str = "drover";
/// One stream's part of what may be on its way.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// All streams together: room for both lanes and some.
const CONNECTION_WINDOW_BYTES: u32 = 10 << 20;
const DATAGRAM_BUFFER_BYTES: usize = 1 << 20;
/// Asked of the system; fewer losses when many peers speak at once.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// Before it is measured. Bounds the first retransmission, and thereby a handshake's patience.
const INITIAL_RTT_MS: u64 = 100;

const _: () = assert!(2 * STREAM_WINDOW_BYTES < CONNECTION_WINDOW_BYTES);

/// What the operator must mend.
#[derive(Debug, Error)]
pub enum Failure {
    /// The system or the request did not allow it.
    #[error("cannot make a certificate: {0}")]
    Making(rcgen::Error),
    /// A file of the `tls` block is missing or not ours to read.
    #[error("cannot read {}: {why}; check the `tls` block of the configuration", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// A certificate or key could not be kept.
    #[error("cannot write {}: {why}; existing files are never overwritten", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// A file of the `tls` block does not hold what it should.
    #[error("{} {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Certificates given in memory cannot be used.
    #[error("the certificates cannot be used: {0}")]
    Unusable(String),
    /// Every peer would refuse us.
    #[error(
        "our certificate is for {owner}, but this agent needs one that names {wanted}; make it \
         with `drover tls cert create`"
    )]
    WrongOwner {
        /// For whom it is.
        owner: String,
        /// The name it should have.
        wanted: String,
    },
    /// The port is taken, or the address is not ours.
    #[error("{}", bind_text(*addr, why))]
    Bind {
        /// As configured.
        addr: SocketAddr,
        /// What the system says.
        why: io::Error,
    },
}

fn bind_text(addr: SocketAddr, why: &io::Error) -> String {
    match why.kind() {
        io::ErrorKind::AddrInUse => format!(
            "RPC port {} (UDP) on {} is in use: is another agent running? Stop it, or set \
             `ports {{ rpc = ... }}`",
            addr.port(),
            addr.ip()
        ),
        _ => format!(
            "cannot listen on UDP {addr} for RPC: {why}. Check `bind_addr` and `addresses.rpc`"
        ),
    }
}

/// The answer to "which addresses has this name".
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Everything that a simulator replaces.
#[derive(Clone)]
pub struct Env {
    /// Runs tasks, owns the clock.
    pub runtime: Arc<dyn Runtime>,
    /// Bound already.
    pub socket: Arc<dyn AsyncUdpSocket>,
    /// Of randomness, signatures and ciphers.
    pub provider: Arc<CryptoProvider>,
    /// Finds the addresses of `host:port`.
    pub resolve: Arc<dyn Fn(String) -> Resolving + Send + Sync>,
}

impl Env {
    /// Production: tokio, a UDP socket, ring, the system's resolver.
    ///
    /// # Errors
    /// If the port is taken or the address is not ours.
    pub fn tokio(bind: SocketAddr) -> Result<Self, Failure> {
        let failure = |why| Failure::Bind { addr: bind, why };
        let socket = std::net::UdpSocket::bind(bind).map_err(failure)?;
        // The system may grant less; then there are more losses, and nothing else.
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER_BYTES).ok();
        rustix::net::sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER_BYTES).ok();
        let runtime = Arc::new(quinn::TokioRuntime);
        let socket = runtime.wrap_udp_socket(socket).map_err(failure)?;
        let resolve = |addr: String| -> Resolving { Box::pin(resolve::resolve(addr)) };
        Ok(Self { runtime, socket, provider: tls::provider(), resolve: Arc::new(resolve) })
    }

    /// Waits.
    pub(super) fn sleep_ms(&self, ms: u64) -> Sleep {
        Sleep(self.runtime.new_timer(self.runtime.now() + Duration::from_millis(ms)))
    }
}

/// A timer of the runtime as a future.
pub(super) struct Sleep(Pin<Box<dyn AsyncTimer>>);

impl Future for Sleep {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

struct Clock(Wall);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

impl Clock {
    fn since_epoch(&self) -> Duration {
        Duration::from_millis((self.0)().unix_ms)
    }
}

impl rustls::time_provider::TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.since_epoch()))
    }
}

impl quinn::TimeSource for Clock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + self.since_epoch()
    }
}

/// Accepts whoever our authorities signed, whatever name was dialled.
#[derive(Debug)]
struct SignedByOurs {
    authorities: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for SignedByOurs {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.authorities,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("QUIC speaks TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Signs stateless resets with a key that outlives the process.
struct ResetKey {
    key: OkmBlock,
    hkdf: &'static dyn rustls::crypto::tls13::Hkdf,
}

impl quinn::crypto::HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let tag = self.hkdf.hmac_sign(&self.key, data);
        signature_out.copy_from_slice(&tag.as_ref()[..signature_out.len()]);
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), quinn::crypto::CryptoError> {
        let tag = self.hkdf.hmac_sign(&self.key, data);
        let differing = tag.as_ref().iter().zip(signature).fold(0, |acc, (a, b)| acc | (a ^ b));
        let whole = tag.as_ref().len() == signature.len();
        if whole && differing == 0 { Ok(()) } else { Err(quinn::crypto::CryptoError) }
    }
}

/// Names connections by what the provider's randomness gives. quinn's own generator signs its names
/// with a key of the process and so drops, unanswered, what is meant for an earlier life; then the
/// peer of a restarted agent would wait for its idle timeout instead of hearing a reset.
struct Names(&'static dyn SecureRandom);

const NAME_BYTES: usize = 8;

impl Names {
    fn name<const BYTES: usize>(&self) -> ConnectionId {
        let mut bytes = [0; BYTES];
        self.0.fill(&mut bytes).expect("invariant: TLS has drawn from the same source before");
        ConnectionId::new(&bytes)
    }
}

impl ConnectionIdGenerator for Names {
    fn generate_cid(&mut self) -> ConnectionId {
        self.name::<NAME_BYTES>()
    }

    fn cid_len(&self) -> usize {
        NAME_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// The two halves of what quinn must know: how to answer, and how to dial.
pub(super) struct Halves {
    pub(super) answering: quinn::ServerConfig,
    pub(super) dialling: quinn::ClientConfig,
    pub(super) introducer: Introducer,
}

/// Prepares both halves for `certificates`.
pub(super) fn halves(
    provider: &Arc<CryptoProvider>,
    config: &Config,
    certificates: &Certificates,
) -> Result<Halves, Failure> {
    let unusable = |why: String| Failure::Unusable(why);
    let mut authorities = RootCertStore::empty();
    for authority in &certificates.authorities {
        authorities.add(authority.clone()).map_err(|why| unusable(why.to_string()))?;
    }
    let authorities = Arc::new(authorities);
    let clock = Arc::new(Clock(Arc::clone(&config.wall)));
    let (chain, key) = (certificates.chain.clone(), &certificates.key);

    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&authorities), Arc::clone(provider))
            .build()
            .map_err(|why| unusable(why.to_string()))?;
    let introducer = Introducer {
        key: provider
            .key_provider
            .load_private_key(key.clone_key())
            .map_err(|why| unusable(why.to_string()))?,
        chain: chain.clone(),
        verifier: Arc::clone(&verifier) as Arc<dyn ClientCertVerifier>,
        algorithms: provider.signature_verification_algorithms,
    };
    let mut answering =
        rustls::ServerConfig::builder_with_details(Arc::clone(provider), clock.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| {
                builder
                    .with_client_cert_verifier(verifier)
                    .with_single_cert(chain.clone(), key.clone_key())
            })
            .map_err(|why| unusable(why.to_string()))?;
    answering.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would not look at certificates again; every connection shall.
    answering.send_tls13_tickets = 0;

    let algorithms = provider.signature_verification_algorithms;
    let verifier = Arc::new(SignedByOurs { authorities, algorithms });
    let mut dialling =
        rustls::ClientConfig::builder_with_details(Arc::clone(provider), clock.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| {
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(verifier)
                    .with_client_auth_cert(chain, key.clone_key())
            })
            .map_err(|why| unusable(why.to_string()))?;
    dialling.alpn_protocols = vec![ALPN.to_vec()];
    dialling.resumption = Resumption::disabled();

    let answering =
        QuicServerConfig::try_from(answering).map_err(|why| unusable(why.to_string()))?;
    let mut answering = quinn::ServerConfig::with_crypto(Arc::new(answering));
    answering.time_source(clock).transport_config(Arc::new(answering_timings(&config.timings)));
    let dialling = QuicClientConfig::try_from(dialling).map_err(|why| unusable(why.to_string()))?;
    let mut dialling = quinn::ClientConfig::new(Arc::new(dialling));
    let role = Role::of(config.hello.agent);
    let names = Names(provider.secure_random);
    dialling
        .transport_config(Arc::new(dialling_timings(&config.timings, role)))
        // RFC 9000 §7.2: at least 8 bytes that nobody can guess.
        .initial_dst_cid_provider(Arc::new(move || names.name::<16>()));
    Ok(Halves { answering, dialling, introducer })
}

/// Who answers does not know yet who dials: it takes the longest patience and keeps nothing alive.
/// The shorter patience of the two ends holds for both, and the dialler keeps the line alive.
fn answering_timings(timings: &Timings) -> TransportConfig {
    windows(timings.client_idle_ms.max(timings.server_idle_ms))
}

fn dialling_timings(timings: &Timings, role: Role) -> TransportConfig {
    let (idle_ms, keep_alive_ms) = match role {
        Role::Server => (timings.server_idle_ms, timings.server_keep_alive_ms),
        Role::Client => (timings.client_idle_ms, timings.client_keep_alive_ms),
    };
    let mut transport = windows(idle_ms);
    transport.keep_alive_interval(Some(Duration::from_millis(keep_alive_ms)));
    transport
}

fn windows(idle_ms: u64) -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(Duration::from_millis(idle_ms));
    transport
        .max_idle_timeout(Some(idle.expect("invariant: an idle timeout is far below 2^62 ms")))
        .initial_rtt(Duration::from_millis(INITIAL_RTT_MS))
        // One ordered and one bulk stream per direction.
        .max_concurrent_uni_streams(VarInt::from_u32(2))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(u64::from(CONNECTION_WINDOW_BYTES))
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES);
    transport
}

/// Opens the endpoint.
pub(super) fn endpoint(
    env: &Env,
    config: &Config,
    answering: quinn::ServerConfig,
) -> Result<Endpoint, Failure> {
    let mut endpoint = EndpointConfig::default();
    if let Some(key) = config.reset_key {
        let hkdf = env
            .provider
            .cipher_suites
            .iter()
            .filter_map(rustls::SupportedCipherSuite::tls13)
            // A key of 32 bytes is for SHA-256.
            .find(|suite| {
                suite.hkdf_provider.hmac_sign(&OkmBlock::new(&key), &[]).as_ref().len() == 32
            })
            .map(|suite| suite.hkdf_provider)
            .ok_or_else(|| {
                Failure::Unusable("there is no TLS 1.3 suite with SHA-256".to_owned())
            })?;
        endpoint.reset_key(Arc::new(ResetKey { key: OkmBlock::new(&key), hkdf }));
    }
    let random = env.provider.secure_random;
    endpoint.cid_generator(move || Box::new(Names(random))).rng_seed(config.quinn_seed);
    let (socket, runtime) = (Arc::clone(&env.socket), Arc::clone(&env.runtime));
    Endpoint::new_with_abstract_socket(endpoint, Some(answering), socket, runtime)
        .map_err(|why| Failure::Bind { addr: config.bind, why })
}
