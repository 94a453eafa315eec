//! Mutual TLS that repeats: certificates from fixed keys, and a provider whose chance comes from the seed.
//!
//! Ciphers and signatures are the ones of production. Replaced are the randomness, and the key exchange,
//! for which ring draws from the system and from nobody else: it exchanges values as long as X25519's.
//!
//! Invariants
//! - certificates are the same bytes in every run;
//! - every signature is checked by the real algorithm before it counts;
//! - all chance of one thread's run comes from the seed that was set last.
use std::cell::RefCell;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use drover_core::rng::Rng;
use drover_shell::transport::tls::{Pem, dns_name, provider};
use drover_shell::transport::{Certificates, Role};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ED25519, SerialNumber, date_time_ymd,
};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret,
    SupportedKxGroup, WebPkiSupportedAlgorithms,
};
use rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, PrivatePkcs8KeyDer, SignatureVerificationAlgorithm,
    alg_id,
};
use rustls::{NamedGroup, SignatureScheme};

use crate::lock;

/// Of every simulated agent.
pub const REGION: &str = "global";
/// What precedes the 32 bytes of an Ed25519 key in its PKCS #8 form.
const PKCS8_HEAD: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// Years around whatever a simulated clock shows, also after it jumped.
const VALID_FROM_YEAR: i32 = 1_971;
const VALID_DAYS: u64 = 200 * 365;

thread_local! {
    static CHANCE: RefCell<Rng> = const { RefCell::new(Rng::from_seed(0)) };
}

/// All chance of TLS on this thread comes from `rng` from now on.
pub fn set_chance(rng: Rng) {
    CHANCE.set(rng);
}

fn draw(into: &mut [u8]) {
    CHANCE.with_borrow_mut(|rng| {
        for chunk in into.chunks_mut(8) {
            chunk.copy_from_slice(&rng.next_u64().to_le_bytes()[..chunk.len()]);
        }
    });
}

/// The certificate of an agent of this role, and its authority.
#[must_use]
pub fn certificates(role: Role) -> Certificates {
    static MADE: OnceLock<[Certificates; 2]> = OnceLock::new();
    let [server, client] = MADE.get_or_init(|| {
        let (authority, issuer) = make_authority();
        [Role::Server, Role::Client].map(|role| make(role, &authority, &issuer))
    });
    match role {
        Role::Server => server.clone(),
        Role::Client => client.clone(),
    }
}

fn key_of(number: u8) -> KeyPair {
    let der = [PKCS8_HEAD.as_slice(), &[number; 32]].concat();
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(der), &PKCS_ED25519)
        .expect("invariant: 32 bytes are a key")
}

fn params_of(name: &str, serial: u64) -> CertificateParams {
    let names = vec![name.to_owned()];
    let mut params = CertificateParams::new(names).expect("invariant: it is a DNS name");
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_before = date_time_ymd(VALID_FROM_YEAR, 1, 1);
    params.not_after = params.not_before + Duration::from_hours(24 * VALID_DAYS);
    params
}

fn make_authority() -> (String, Issuer<'static, KeyPair>) {
    let mut params = params_of("authority.drover", 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = key_of(1);
    let certificate = params.self_signed(&key).expect("invariant: its key signs");
    (certificate.pem(), Issuer::new(params, key))
}

fn make(role: Role, authority: &str, issuer: &Issuer<'_, KeyPair>) -> Certificates {
    let number = match role {
        Role::Server => 2,
        Role::Client => 3,
    };
    let mut params = params_of(&dns_name(role, REGION), u64::from(number));
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = key_of(number);
    let certificate = params.signed_by(&key, issuer).expect("invariant: the authority signs");
    let pem = Pem { certificate: certificate.pem(), key: key.serialize_pem() };
    Certificates::from_pem(authority, &pem).expect("invariant: it was just made")
}

/// The cryptography of production, but for chance.
#[must_use]
pub fn seeded_provider() -> Arc<CryptoProvider> {
    static MADE: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let mut seeded = CryptoProvider::clone(&provider());
        seeded.secure_random = &Seeded;
        seeded.kx_groups = vec![&Exchange];
        seeded.signature_verification_algorithms = WebPkiSupportedAlgorithms {
            all: &[&Remembering],
            mapping: &[(SignatureScheme::ED25519, &[&Remembering])],
        };
        Arc::new(seeded)
    });
    Arc::clone(made)
}

/// Checks each signature once: those on the certificates come with every handshake, and are a tenth of
/// what all of them cost.
#[derive(Debug)]
struct Remembering;

/// Signatures that are remembered: of the first handshakes, and so of all certificates.
const REMEMBERED_MAX: usize = 16;

impl SignatureVerificationAlgorithm for Remembering {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        static VALID: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
        let all = [public_key, signature, message].concat();
        if lock(&VALID).contains(&all) {
            return Ok(());
        }
        let real = provider().signature_verification_algorithms;
        let is_ours = |real: &&&dyn SignatureVerificationAlgorithm| {
            real.signature_alg_id() == alg_id::ED25519
        };
        let real = real.all.iter().find(is_ours).ok_or(InvalidSignature)?;
        real.verify_signature(public_key, message, signature)?;
        let mut valid = lock(&VALID);
        if valid.len() < REMEMBERED_MAX {
            valid.push(all);
        }
        Ok(())
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ED25519
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ED25519
    }
}

#[derive(Debug)]
struct Seeded;

impl SecureRandom for Seeded {
    fn fill(&self, into: &mut [u8]) -> Result<(), GetRandomFailed> {
        draw(into);
        Ok(())
    }
}

/// A key exchange without secrets: what both ends say, hashed.
#[derive(Debug)]
struct Exchange;

impl SupportedKxGroup for Exchange {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, rustls::Error> {
        let mut said = [0; 32];
        draw(&mut said);
        Ok(Box::new(Said(said)))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

struct Said([u8; 32]);

impl ActiveKeyExchange for Said {
    fn complete(self: Box<Self>, heard: &[u8]) -> Result<SharedSecret, rustls::Error> {
        let (first, second) = (self.0.as_slice().min(heard), self.0.as_slice().max(heard));
        let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
        hash.update(first);
        hash.update(second);
        Ok(SharedSecret::from(hash.finish().as_ref()))
    }

    fn pub_key(&self) -> &[u8] {
        &self.0
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}
