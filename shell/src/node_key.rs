//! The key that a client node is known by. Its id is the hash of it, and on each connection it shows that it
//! holds it: a certificate says what its owner may be, and many nodes may share one.
//!
//! Invariants
//! - a proof is good for one connection: what is signed comes of its TLS session's secrets, which both
//!   certificates are a part of, so that whoever is shown a proof cannot show it to others.
use drover_core::types::NodeId;
use quinn::Connection;
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

/// Sets what is signed apart from all else that these secrets may be used for (RFC 8446, section 7.5).
const LABEL: &[u8] = b"EXPORTER-drover-node-key";

/// A node's own key, which never leaves its machine.
#[derive(Debug)]
pub struct NodeKey(Ed25519KeyPair);

/// What a node shows of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Proof {
    key: [u8; 32],
    /// 64 bytes.
    signature: Vec<u8>,
}

impl NodeKey {
    /// The key that these bytes of chance make.
    ///
    /// # Panics
    /// Never: every seed makes a key.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed);
        Self(pair.expect("invariant: every seed of 32 bytes makes a key"))
    }

    /// Who is known by it.
    #[must_use]
    pub fn node(&self) -> NodeId {
        node_of(self.0.public_key().as_ref())
    }

    /// Shows whoever is at the other end that this one holds the key; `None` if the session has no secrets left.
    #[must_use]
    pub fn prove(&self, connection: &Connection) -> Option<Proof> {
        let session = session(connection)?;
        let mut key = [0; 32];
        key.copy_from_slice(self.0.public_key().as_ref());
        Some(Proof { key, signature: self.0.sign(&session).as_ref().to_vec() })
    }
}

impl Proof {
    /// Whom it proves to be at the other end, if it proves anything.
    #[must_use]
    pub fn node(&self, connection: &Connection) -> Option<NodeId> {
        let session = session(connection)?;
        UnparsedPublicKey::new(&ED25519, self.key).verify(&session, &self.signature).ok()?;
        Some(node_of(&self.key))
    }
}

fn node_of(key: &[u8]) -> NodeId {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, key).as_ref());
    NodeId::of_hash(&hash)
}

/// The same at both ends of a connection, and at no end of any other.
fn session(connection: &Connection) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    connection.export_keying_material(&mut bytes, LABEL, &[]).ok()?;
    Some(bytes)
}
