//! Tokens by which a machine that nobody knows may become a client node.
//!
//! A server signs what it vouches for with the key of its own certificate, and lays that certificate beside
//! it. So any server can tell a token that another one has made, and nothing secret is kept for it anywhere.
//!
//! Invariants
//! - only what a server of this region has signed counts, and only until it says;
//! - a node that is known needs no token, whatever becomes of the one that it came with.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use drover_core::time::WallTime;
use drover_core::types::{NodeId, PoolName};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SigningKey;
use rustls::{SignatureScheme, sign};
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Failure, Role, tls};

const PREFIX: &str = "drover-intro-";
/// Sets what is signed apart from all else that the key signs.
const CONTEXT: &[u8] = b"drover node introduction 1\n";
/// A token, as text.
pub const TOKEN_BYTES_MAX: usize = 3 << 10;

/// What a token says.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Claims {
    pub region: String,
    /// Empty: any node.
    pub node_name: String,
    /// Empty: any pool.
    pub node_pool: String,
    pub until: WallTime,
}

impl Claims {
    /// Whether the token is for nodes of this pool.
    #[must_use]
    pub fn admits_to(&self, pool: &PoolName) -> bool {
        self.node_pool.is_empty() || self.node_pool == pool.as_str()
    }
}

/// Whether clients that nobody knows need a token (Nomad's `client_introduction.enforcement`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Enforcement {
    /// A certificate is enough.
    #[default]
    None,
    /// It is, and the operator is told.
    Warn,
    Strict,
}

/// What a server does about clients that nobody knows.
#[derive(Clone)]
pub struct Gate {
    pub enforcement: Enforcement,
    /// Whether the node is in the tables.
    pub knows: Arc<dyn Fn(NodeId) -> bool + Send + Sync>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("enforcement", &self.enforcement).finish_non_exhaustive()
    }
}

/// The text of a token, read.
#[derive(Debug, Deserialize, Serialize)]
struct Token {
    /// `Claims`, as they were signed.
    claims: Vec<u8>,
    /// Whose signature it is, and who vouches for that.
    chain: Vec<Vec<u8>>,
    scheme: u16,
    signature: Vec<u8>,
}

/// Makes tokens and reads them.
pub(super) struct Introducer {
    pub(super) key: Arc<dyn SigningKey>,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl Introducer {
    /// A token of `claims` that every server of the region takes.
    pub(super) fn introduce(&self, claims: &Claims) -> Result<String, Failure> {
        let unusable = |why: String| Failure::Unusable(why);
        let claims = postcard::to_allocvec(claims).map_err(|why| unusable(why.to_string()))?;
        let schemes: Vec<SignatureScheme> =
            self.algorithms.mapping.iter().map(|(scheme, _)| *scheme).collect();
        let signer: Box<dyn sign::Signer> = self
            .key
            .choose_scheme(&schemes)
            .ok_or_else(|| unusable("the agent's own key signs nothing".to_owned()))?;
        let signature = signer.sign(&signed(&claims)).map_err(|why| unusable(why.to_string()))?;
        let token = Token {
            claims,
            chain: self.chain.iter().map(|one| one.to_vec()).collect(),
            scheme: signer.scheme().into(),
            signature,
        };
        let bytes = postcard::to_allocvec(&token).map_err(|why| unusable(why.to_string()))?;
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        if TOKEN_BYTES_MAX < text.len() {
            return Err(unusable("the agent's chain of certificates is too long".to_owned()));
        }
        Ok(text)
    }

    /// What a token says, or what is wrong with it.
    pub(super) fn read(&self, text: &str, region: &str, now: WallTime) -> Result<Claims, String> {
        let damaged = || "is damaged: give the client the whole of what was printed".to_owned();
        let bytes = text.trim().strip_prefix(PREFIX).filter(|_| text.len() <= TOKEN_BYTES_MAX);
        let bytes = bytes.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or_else(damaged)?;
        let token: Token = postcard::from_bytes(&bytes).map_err(|_| damaged())?;
        self.check_signer(&token, region, now)?;
        let claims: Claims = postcard::from_bytes(&token.claims).map_err(|_| damaged())?;
        if claims.region != region {
            return Err(format!("is for region {:?}, and this is {region:?}", claims.region));
        }
        if claims.until < now {
            return Err("has expired: make another with `drover node intro create`".to_owned());
        }
        Ok(claims)
    }

    fn check_signer(&self, token: &Token, region: &str, now: WallTime) -> Result<(), String> {
        let chain: Vec<CertificateDer<'_>> =
            token.chain.iter().map(|one| CertificateDer::from(one.as_slice())).collect();
        let (first, rest) = chain.split_first().ok_or("is signed by nobody")?;
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now.unix_ms));
        self.verifier
            .verify_client_cert(first, rest, now)
            .map_err(|why| format!("is signed by a stranger ({why})"))?;
        let owner = tls::owner_of(first)?;
        if !owner.may_be(Role::Server, region) {
            return Err(format!("is signed by {owner}: only servers of region {region} make them"));
        }
        let (_, signer) = X509Certificate::from_der(first).map_err(|why| why.to_string())?;
        let scheme = SignatureScheme::from(token.scheme);
        let algorithms = self.algorithms.mapping.iter().filter(|(known, _)| *known == scheme);
        let message = signed(&token.claims);
        let key = &signer.public_key().subject_public_key.data;
        let mut algorithms = algorithms.flat_map(|(_, algorithms)| algorithms.iter());
        let is_signed = algorithms
            .any(|algorithm| algorithm.verify_signature(key, &message, &token.signature).is_ok());
        if is_signed { Ok(()) } else { Err("does not bear its signer's signature".to_owned()) }
    }
}

fn signed(claims: &[u8]) -> Vec<u8> {
    [CONTEXT, claims].concat()
}
