//! Why a connection ended: as a code on the wire, and in words that an operator can act on.
//!
//! Invariants
//! - codes are appended and never change their meaning.
use quinn::{ConnectionError, VarInt};

/// Why a connection was closed, on the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Close {
    /// The agent stops.
    Stopping = 0,
    /// Another connection between the same two stays. The reason holds the closer's `PeerId`.
    Duplicate = 1,
    /// The greeting was not acceptable. The reason says why.
    Refused = 2,
    /// The peer is no longer wanted.
    HungUp = 3,
    /// The peer broke a rule. The reason says which.
    Fault = 4,
    /// The dialler reached itself.
    Ourselves = 5,
}

impl Close {
    pub(super) fn code(self) -> VarInt {
        VarInt::from_u32(self as u32)
    }
}

/// TLS alerts (RFC 8446 §6) that need explaining.
const ALERT_BAD_CERTIFICATE: u64 = 0x100 + 42;
const ALERT_EXPIRED: u64 = 0x100 + 45;
const ALERT_UNKNOWN_CA: u64 = 0x100 + 48;
const ALERT_DECRYPT: u64 = 0x100 + 51;
const ALERT_NO_CERTIFICATE: u64 = 0x100 + 116;
const ALERT_NO_PROTOCOL: u64 = 0x100 + 120;

/// What QUIC (RFC 9000 §20.1) says when a connection is turned away unseen.
const CONNECTION_REFUSED: u64 = 2;

/// Why a connection ended, in words an operator can act on.
pub(super) fn words(error: &ConnectionError) -> String {
    match error {
        ConnectionError::TransportError(fault) => {
            let what = match u64::from(fault.code) {
                // webpki says so too when only the name of the authority is the same.
                ALERT_UNKNOWN_CA | ALERT_DECRYPT => {
                    "presents a certificate that our CA did not sign"
                }
                ALERT_EXPIRED => "presents a certificate that has expired or is not valid yet",
                ALERT_BAD_CERTIFICATE => "presents a certificate that cannot be accepted",
                ALERT_NO_CERTIFICATE => "presents no certificate",
                ALERT_NO_PROTOCOL => "does not speak Drover's protocol",
                _ => "broke the rules of QUIC",
            };
            format!("{what}: {}", fault.reason)
        }
        ConnectionError::ConnectionClosed(close) => match u64::from(close.error_code) {
            ALERT_UNKNOWN_CA | ALERT_DECRYPT => {
                "refused our certificate: its CA did not sign it".to_owned()
            }
            ALERT_EXPIRED => {
                "refused our certificate: it has expired or is not valid yet".to_owned()
            }
            ALERT_BAD_CERTIFICATE => "refused our certificate".to_owned(),
            ALERT_NO_CERTIFICATE => "wants a certificate, and we presented none".to_owned(),
            ALERT_NO_PROTOCOL => "does not speak Drover's protocol".to_owned(),
            CONNECTION_REFUSED => "has too many new connections at once".to_owned(),
            _ => format!("aborted the connection: {close}"),
        },
        ConnectionError::ApplicationClosed(close) => {
            let reason = String::from_utf8_lossy(&close.reason);
            match close.error_code {
                code if code == Close::Stopping.code() => "stops".to_owned(),
                code if code == Close::Duplicate.code() => {
                    "keeps another connection between us".to_owned()
                }
                code if code == Close::Refused.code() => format!("refused us: this agent {reason}"),
                code if code == Close::HungUp.code() => "hung up".to_owned(),
                _ => format!("cut us off: {reason}"),
            }
        }
        ConnectionError::VersionMismatch => "speaks no version of QUIC that we know".to_owned(),
        ConnectionError::Reset => "does not know our connection: it was restarted".to_owned(),
        ConnectionError::TimedOut => "does not answer".to_owned(),
        ConnectionError::LocallyClosed => "was hung up by us".to_owned(),
        ConnectionError::CidsExhausted => "has no connection ids left".to_owned(),
    }
}
