//! Who this agent is, kept in its data directory: ids and keys that must outlive a start.
//!
//! Invariants
//! - the file is written whole or not at all, and only its owner may read it;
//! - every start has an incarnation of its own, larger than all before.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drover_core::types::{ClusterId, Incarnation, NodeId, ServerId};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::files;
use crate::node_key::NodeKey;

const FILE: &str = "identity.json";
/// Starts that are remembered, for peers that met one of them.
const STARTS_MAX: usize = 32;

/// The file's content. Numbers are hexadecimal: JSON has no 128 bits.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Written {
    server_id: String,
    /// What the node's own key is made of.
    node_key: String,
    /// Lets peers know at once that connections of an earlier start are gone.
    reset_key: String,
    incarnation: u64,
    /// Chance drawn at each of the last starts, the newest first: two copies of one directory differ.
    starts: Vec<String>,
    boot_id: String,
    /// Empty until it belongs to a cluster.
    cluster: String,
}

/// An agent's identity in this start.
#[derive(Debug)]
pub struct Identity {
    path: PathBuf,
    written: Written,
    node_key: Arc<NodeKey>,
    /// The machine has booted since the last start.
    pub rebooted: bool,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{}: {source}. Check that the agent may write there", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{} is damaged ({why}). Restore it from a backup; or move the data directory away to start \
         as a new agent", path.display()
    )]
    Damaged { path: PathBuf, why: String },
}

impl Identity {
    /// The identity kept in `data_dir`, or a new one; either way a new start of it.
    ///
    /// # Errors
    /// When the file cannot be read, understood or written.
    pub fn begin(data_dir: &Path) -> Result<Self, Failure> {
        let path = data_dir.join(FILE);
        let io = |source| Failure::Io { path: path.clone(), source };
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let boot_id = boot_id.trim().to_owned();
        let mut written = match fs::read(&path) {
            Ok(bytes) => read(&path, &bytes)?,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Written {
                server_id: random_hex(8).map_err(io)?,
                node_key: random_hex(32).map_err(io)?,
                reset_key: random_hex(32).map_err(io)?,
                incarnation: 0,
                starts: Vec::new(),
                boot_id: boot_id.clone(),
                cluster: String::new(),
            },
            Err(source) => return Err(io(source)),
        };
        let rebooted = written.boot_id != boot_id;
        written.boot_id = boot_id;
        written.incarnation += 1;
        written.starts.insert(0, random_hex(8).map_err(io)?);
        written.starts.truncate(STARTS_MAX);
        let node_key = Arc::new(NodeKey::from_seed(&seed_of(&path, &written)?));
        let identity = Self { path: path.clone(), written, node_key, rebooted };
        identity.write().map_err(io)?;
        Ok(identity)
    }

    #[must_use]
    pub fn server(&self) -> ServerId {
        ServerId(u64::from_str_radix(&self.written.server_id, 16).unwrap_or_default())
    }

    /// What the node is known by.
    #[must_use]
    pub const fn node_key(&self) -> &Arc<NodeKey> {
        &self.node_key
    }

    /// The hash of the node's key.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node_key.node()
    }

    #[must_use]
    pub fn reset_key(&self) -> [u8; 32] {
        let hash = ring::digest::digest(&ring::digest::SHA256, self.written.reset_key.as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(hash.as_ref());
        key
    }

    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        Incarnation(self.written.incarnation)
    }

    /// What names this start and the last ones before it, the newest first.
    #[must_use]
    pub fn starts(&self) -> Vec<u64> {
        let starts = self.written.starts.iter();
        starts.map(|start| u64::from_str_radix(start, 16).unwrap_or_default()).collect()
    }

    /// Zero until it belongs to one.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        ClusterId(u128::from_str_radix(&self.written.cluster, 16).unwrap_or_default())
    }

    /// This agent belongs to `cluster` from now on.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn join(&mut self, cluster: ClusterId) -> Result<(), Failure> {
        if self.cluster() == cluster {
            return Ok(());
        }
        self.written.cluster = format!("{:032x}", cluster.0);
        self.write().map_err(|source| Failure::Io { path: self.path.clone(), source })
    }

    /// It is another server from now on, of the same cluster: what the old one promised binds it no more.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn become_new_server(&mut self) -> Result<(), Failure> {
        let io = |source| Failure::Io { path: self.path.clone(), source };
        self.written.server_id = random_hex(8).map_err(io)?;
        self.write().map_err(io)
    }

    fn write(&self) -> io::Result<()> {
        files::replace(&self.path, serde_json::to_string_pretty(&self.written)?.as_bytes())
    }
}

fn seed_of(path: &Path, written: &Written) -> Result<[u8; 32], Failure> {
    let byte = |at: usize| {
        written.node_key.get(2 * at..2 * at + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok())
    };
    let seed: Option<Vec<u8>> = (0..32).map(byte).collect();
    let seed = seed.filter(|_| written.node_key.len() == 64).and_then(|seed| seed.try_into().ok());
    seed.ok_or_else(|| Failure::Damaged {
        path: path.to_owned(),
        why: "`node_key` is not 32 bytes in hexadecimal".into(),
    })
}

fn read(path: &Path, bytes: &[u8]) -> Result<Written, Failure> {
    let damaged = |why: String| Failure::Damaged { path: path.to_owned(), why };
    let written: Written =
        serde_json::from_slice(bytes).map_err(|fault| damaged(fault.to_string()))?;
    if u64::from_str_radix(&written.server_id, 16).is_err() {
        return Err(damaged("`server_id` is not 64 bits in hexadecimal".into()));
    }
    if !written.cluster.is_empty() && u128::from_str_radix(&written.cluster, 16).is_err() {
        return Err(damaged("`cluster` is not 128 bits in hexadecimal".into()));
    }
    Ok(written)
}

/// Chance from the system, for keys and for the seed of the core.
///
/// # Errors
/// When the system gives none.
pub fn random_u64() -> io::Result<u64> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("no randomness"))?;
    Ok(u64::from_le_bytes(bytes))
}

fn random_hex(bytes: usize) -> io::Result<String> {
    let mut filled = vec![0; bytes];
    SystemRandom::new().fill(&mut filled).map_err(|_| io::Error::other("no randomness"))?;
    Ok(filled.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_stays_and_every_start_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Identity::begin(dir.path()).unwrap();
        first.join(ClusterId(7)).unwrap();
        let second = Identity::begin(dir.path()).unwrap();
        assert_eq!(first.server(), second.server());
        assert_eq!(first.node(), second.node());
        assert_eq!(second.cluster(), ClusterId(7));
        assert!(first.incarnation() < second.incarnation());
        assert_eq!(second.starts()[1..], first.starts());
        for _ in 0..STARTS_MAX {
            Identity::begin(dir.path()).unwrap();
        }
        assert_eq!(Identity::begin(dir.path()).unwrap().starts().len(), STARTS_MAX);
        assert!(!second.rebooted);
    }

    #[test]
    fn a_damaged_identity_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "{").unwrap();
        let failure = Identity::begin(dir.path()).unwrap_err().to_string();
        assert!(failure.contains("identity.json is damaged"), "{failure}");
    }
}
