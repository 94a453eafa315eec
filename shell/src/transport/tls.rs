//! Certificates: made, written, read, and what they say about their owner.
//!
//! A certificate names what its owner may be by DNS names: `server.<region>.drover` or
//! `client.<region>.drover`; the ending `.nomad` is understood too, so that certificates people
//! already have go on working. One certificate may carry several such names (`agent -dev` does).
//!
//! Keys made here are Ed25519: their signatures have one length, which keeps packets repeatable.
//!
//! Invariants
//! - a private key is written readable by its owner only, and never over an existing file;
//! - whoever is not signed by our authority is refused by TLS before a byte of theirs is read.
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use drover_core::time::WallTime;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, date_time_ymd,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Failure, Role};

/// The one place that chooses the cryptography.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// How long a made authority is valid: five years, as operators are used to.
pub const AUTHORITY_DAYS: u32 = 1_825;
/// How long a made certificate is valid.
pub const CERTIFICATE_DAYS: u32 = 365;
/// Clocks of machines differ: a certificate is valid from a little before it was made.
const BACKDATED_MS: u64 = 3_600_000;
const DAY_MS: u64 = 86_400_000;

/// The `tls` block of the configuration.
#[derive(Clone, Debug)]
pub struct Files {
    /// PEM certificates of the authorities we trust.
    pub ca_file: PathBuf,
    /// PEM certificate of this agent, with its intermediates.
    pub cert_file: PathBuf,
    /// PEM private key of this agent.
    pub key_file: PathBuf,
}

/// A certificate and its private key, as PEM text.
#[derive(Clone)]
pub struct Pem {
    /// Not secret.
    pub certificate: String,
    /// Secret.
    pub key: String,
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pem").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// What a made certificate shall say.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// What the owner may be. More than one for an agent that is both.
    pub roles: &'a [Role],
    /// Where.
    pub region: &'a str,
    /// Further DNS names and IP addresses, for the HTTP API (`localhost` and `127.0.0.1` are added).
    pub names: &'a [String],
    /// Days of validity.
    pub days: u32,
    /// The moment of making.
    pub now: WallTime,
}

/// Makes an authority that signs certificates.
///
/// # Errors
/// If the system has no randomness to give.
pub fn make_authority(now: WallTime, days: u32) -> Result<Pem, Failure> {
    let key = KeyPair::generate_for(&PKCS_ED25519).map_err(Failure::Making)?;
    let mut params = CertificateParams::new(Vec::new()).map_err(Failure::Making)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::OrganizationName, "Drover");
    // The key's own bytes make the name unique: two authorities must never look alike.
    let fingerprint: String =
        key.public_key_raw().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name.push(DnType::CommonName, format!("Drover authority {fingerprint}"));
    set_validity(&mut params, now, days);
    let certificate = params.self_signed(&key).map_err(Failure::Making)?;
    Ok(Pem { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Makes a certificate signed by `authority`.
///
/// # Errors
/// If the authority's PEM cannot be read, or a name is not a DNS name.
pub fn make_certificate(authority: &Pem, request: &Request<'_>) -> Result<Pem, Failure> {
    let ca_key = KeyPair::from_pem(&authority.key).map_err(Failure::Making)?;
    let issuer =
        Issuer::from_ca_cert_pem(&authority.certificate, ca_key).map_err(Failure::Making)?;
    let mut names: Vec<String> =
        request.roles.iter().map(|role| dns_name(*role, request.region)).collect();
    let first = names.first().cloned().unwrap_or_default();
    names.extend(["localhost".to_owned(), "127.0.0.1".to_owned()]);
    names.extend(request.names.iter().cloned());
    let mut params = CertificateParams::new(names).map_err(Failure::Making)?;
    params.distinguished_name.push(DnType::CommonName, first);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, request.now, request.days);
    let key = KeyPair::generate_for(&PKCS_ED25519).map_err(Failure::Making)?;
    let certificate = params.signed_by(&key, &issuer).map_err(Failure::Making)?;
    Ok(Pem { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn set_validity(params: &mut CertificateParams, now: WallTime, days: u32) {
    let epoch = date_time_ymd(1970, 1, 1);
    let from_ms = now.unix_ms.saturating_sub(BACKDATED_MS);
    params.not_before = epoch + Duration::from_millis(from_ms);
    params.not_after = epoch + Duration::from_millis(now.unix_ms + u64::from(days) * DAY_MS);
}

/// The name that makes its owner a `role` of `region`.
#[must_use]
pub fn dns_name(role: Role, region: &str) -> String {
    format!("{role}.{region}.drover")
}

/// Writes `<stem>.pem` and `<stem>-key.pem` into `folder`, and says where.
///
/// # Errors
/// If a file exists already or cannot be written.
pub fn write(folder: &Path, stem: &str, pem: &Pem) -> Result<(PathBuf, PathBuf), Failure> {
    let (certificate, key) =
        (folder.join(format!("{stem}.pem")), folder.join(format!("{stem}-key.pem")));
    // The key first: a certificate without its key would look complete and not be.
    write_new(&key, &pem.key)?;
    write_new(&certificate, &pem.certificate)?;
    Ok((certificate, key))
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|why| Failure::Write { path: path.to_owned(), why })
}

/// What an agent needs to prove who it is and to judge others.
pub struct Certificates {
    pub(super) authorities: Vec<CertificateDer<'static>>,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    owner: Owner,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("owner", &self.owner).finish_non_exhaustive()
    }
}

/// What a certificate says about its owner.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Owner {
    /// Role and region, from each name that speaks of them.
    pub names: Vec<(Role, String)>,
    /// The last moment of validity.
    pub expires: WallTime,
}

impl Owner {
    /// Whether the owner may be `role` in `region`.
    #[must_use]
    pub fn may_be(&self, role: Role, region: &str) -> bool {
        self.names.iter().any(|(named, of)| *named == role && of.eq_ignore_ascii_case(region))
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (nth, (role, region)) in self.names.iter().enumerate() {
            let between = if nth == 0 { "" } else { " and " };
            write!(f, "{between}{role} of region {region}")?;
        }
        if self.names.is_empty() {
            f.write_str("no agent of any region")?;
        }
        Ok(())
    }
}

impl Certificates {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// If a file is missing or does not hold what it should; the failure says which and what to do.
    pub fn load(files: &Files) -> Result<Self, Failure> {
        let authorities = read_certificates(&files.ca_file)?;
        let chain = read_certificates(&files.cert_file)?;
        let key = PrivateKeyDer::from_pem_slice(&read(&files.key_file)?).map_err(|why| {
            let what = format!("holds no private key that can be read ({why}); expected PEM");
            Failure::Content { path: files.key_file.clone(), what }
        })?;
        let owner = owner_of(&chain[0])
            .map_err(|what| Failure::Content { path: files.cert_file.clone(), what })?;
        let certificates = Self { authorities, chain, key, owner };
        certificates.check_key(files)?;
        Ok(certificates)
    }

    /// Reads a certificate, its key and its authority from PEM text in memory.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub fn from_pem(authority: &str, pem: &Pem) -> Result<Self, Failure> {
        let unreadable = |why: rustls::pki_types::pem::Error| Failure::Unusable(why.to_string());
        let parse = |text: &str| {
            CertificateDer::pem_slice_iter(text.as_bytes())
                .collect::<Result<Vec<_>, _>>()
                .map_err(unreadable)
        };
        let (authorities, chain) = (parse(authority)?, parse(&pem.certificate)?);
        let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes()).map_err(unreadable)?;
        let first =
            chain.first().ok_or_else(|| Failure::Unusable("there is no certificate".to_owned()))?;
        let owner = owner_of(first).map_err(Failure::Unusable)?;
        Ok(Self { authorities, chain, key, owner })
    }

    /// An authority and a certificate for one process, in memory: `agent -dev`.
    ///
    /// # Errors
    /// If the system has no randomness to give, or the region is no part of a DNS name.
    pub fn ephemeral(region: &str, now: WallTime) -> Result<Self, Failure> {
        let authority = make_authority(now, CERTIFICATE_DAYS)?;
        let roles = [Role::Server, Role::Client];
        let request = Request { roles: &roles, region, names: &[], days: CERTIFICATE_DAYS, now };
        let pem = make_certificate(&authority, &request)?;
        Self::from_pem(&authority.certificate, &pem)
    }

    /// What our own certificate says about us.
    #[must_use]
    pub const fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Refuses certificates that peers would refuse.
    pub(super) fn check_owner(&self, role: Role, region: &str) -> Result<(), Failure> {
        if self.owner.may_be(role, region) {
            return Ok(());
        }
        let wanted = dns_name(role, region);
        Err(Failure::WrongOwner { owner: self.owner.to_string(), wanted })
    }

    fn check_key(&self, files: &Files) -> Result<(), Failure> {
        rustls::sign::CertifiedKey::from_der(self.chain.clone(), self.key.clone_key(), &provider())
            .map(drop)
            .map_err(|why| {
                let what = format!(
                    "does not belong to the certificate in {} ({why}); make both anew with \
                     `drover tls cert create`",
                    files.cert_file.display()
                );
                Failure::Content { path: files.key_file.clone(), what }
            })
    }
}

impl Clone for Certificates {
    fn clone(&self) -> Self {
        Self {
            authorities: self.authorities.clone(),
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            owner: self.owner.clone(),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|why| Failure::Read { path: path.to_owned(), why })
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let bytes = read(path)?;
    let content = |what: String| Failure::Content { path: path.to_owned(), what };
    let certificates = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|why| content(format!("is not PEM ({why})")))?;
    if certificates.is_empty() {
        let what = "holds no certificate; expected PEM with `-----BEGIN CERTIFICATE-----`";
        return Err(content(what.to_owned()));
    }
    Ok(certificates)
}

/// What `certificate` says about its owner, or why it says nothing.
pub(super) fn owner_of(certificate: &CertificateDer<'_>) -> Result<Owner, String> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|why| format!("is not an X.509 certificate ({why})"))?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|why| format!("has names that cannot be read ({why})"))?;
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => role_and_region(name),
        _ => None,
    });
    let expires_ms = parsed.validity().not_after.timestamp().max(0).unsigned_abs() * 1_000;
    Ok(Owner { names: names.collect(), expires: WallTime { unix_ms: expires_ms } })
}

fn role_and_region(name: &str) -> Option<(Role, String)> {
    let name = name.to_ascii_lowercase();
    let rest = name.strip_suffix(".drover").or_else(|| name.strip_suffix(".nomad"))?;
    let (role, region) = rest.split_once('.')?;
    let role = match role {
        "server" => Role::Server,
        "client" => Role::Client,
        _ => return None,
    };
    (!region.is_empty()).then(|| (role, region.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime { unix_ms: 1_800_000_000_000 };

    fn request<'a>(roles: &'a [Role], names: &'a [String]) -> Request<'a> {
        Request { roles, region: "global", names, days: 30, now: NOW }
    }

    #[test]
    fn a_made_certificate_names_role_region_and_end() {
        let authority = make_authority(NOW, 60).unwrap();
        let pem = make_certificate(&authority, &request(&[Role::Client], &[])).unwrap();
        let made = Certificates::from_pem(&authority.certificate, &pem).unwrap();
        assert_eq!(made.owner().names, [(Role::Client, "global".to_owned())]);
        assert_eq!(made.owner().expires, NOW.plus_ms(30 * DAY_MS));
        made.check_owner(Role::Client, "global").unwrap();
        let refused = made.check_owner(Role::Server, "global").unwrap_err().to_string();
        assert!(refused.contains("server.global.drover"), "{refused}");
    }

    #[test]
    fn names_of_nomad_are_understood_and_others_are_nobody() {
        assert_eq!(role_and_region("server.eu-west.nomad"), Some((Role::Server, "eu-west".into())));
        assert_eq!(role_and_region("Client.global.drover"), Some((Role::Client, "global".into())));
        for nobody in ["localhost", "server.nomad", "cli.global.nomad", "server..drover"] {
            assert_eq!(role_and_region(nobody), None, "{nobody}");
        }
    }

    #[test]
    fn files_are_private_never_overwritten_and_read_back() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let authority = make_authority(NOW, 60).unwrap();
        let pem = make_certificate(&authority, &request(&[Role::Server], &[])).unwrap();
        let (ca_file, _) = write(folder.path(), "ca", &authority).unwrap();
        let (cert_file, key_file) = write(folder.path(), "server", &pem).unwrap();
        let mode = std::fs::metadata(&key_file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        write(folder.path(), "server", &pem).unwrap_err();
        let files = Files { ca_file, cert_file, key_file: key_file.clone() };
        Certificates::load(&files).unwrap().check_owner(Role::Server, "global").unwrap();

        let other = make_certificate(&authority, &request(&[Role::Server], &[])).unwrap();
        std::fs::write(&key_file, other.key).unwrap();
        let failure = Certificates::load(&files).unwrap_err().to_string();
        assert!(failure.contains("server-key.pem") && failure.contains("belong"), "{failure}");
        std::fs::write(&key_file, "nonsense").unwrap();
        let failure = Certificates::load(&files).unwrap_err().to_string();
        assert!(failure.contains("private key"), "{failure}");
        std::fs::remove_file(&key_file).unwrap();
        let failure = Certificates::load(&files).unwrap_err().to_string();
        assert!(failure.contains("cannot read"), "{failure}");
    }
}
