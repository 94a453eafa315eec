//! The node that this agent is: what it tells the servers of its machine, at first and whenever that
//! changes.
//!
//! The machine is looked at on a thread of its own, every so often. What comes of it, and what operators
//! say of the node while it runs (`metadata`), are laid together; the loop is told if that is another
//! node than before.
//!
//! Invariants
//! - what an operator said is on disk before it is told;
//! - the same node is not told twice in a row: each telling is an entry in the servers' log;
//! - of two changes the later is told last.
mod metadata;

pub use metadata::{Changes, Refused, Told};

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use drover_core::agent::Event;
use drover_core::types::{Capacity, Named, NodeId, NodeSpec};

use self::metadata::Metadata;
use crate::config::{Client, Resolved};
use crate::fingerprint::{Fingerprint, FingerprintConfig, Fingerprinter, NetworkConfig};
use crate::run::{Core, Inbox};

/// Names of what has changed that are logged at once.
const NAMES_MAX: usize = 8;

/// This agent's node. The machine is looked at until the last copy is dropped.
#[derive(Clone, Debug)]
pub struct OwnNode(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    shared: Arc<Shared>,
    /// Nothing is sent: that it is gone is the message.
    _until_dropped: mpsc::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    core: Core,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    /// What the configuration alone says, but for metadata.
    fixed: NodeSpec,
    found: Fingerprint,
    /// What is known of the Consul agent beside it, as attributes.
    consul: BTreeMap<String, String>,
    metadata: Metadata,
    told: Arc<NodeSpec>,
}

impl OwnNode {
    /// Looks at the machine, and again every `look_every` from then on. The first node is the caller's
    /// to tell.
    ///
    /// # Errors
    /// When there can be no further thread, or what operators said cannot be read.
    pub fn watch(
        resolved: &Resolved,
        client: &Client,
        id: NodeId,
        core: Core,
    ) -> Result<(Self, Arc<NodeSpec>), Failure> {
        let metadata = Metadata::open(&client.state_dir, client.meta.clone())?;
        let mut fingerprinter = Fingerprinter::new(config(resolved, client));
        let (fixed, found) = (fixed(resolved, client, id), fingerprinter.look());
        let consul = BTreeMap::new();
        let told = Arc::new(laid_together(&fixed, (&found, &consul), &metadata));
        let known = Known { fixed, found, consul, metadata, told: Arc::clone(&told) };
        let shared = Arc::new(Shared { core, known: Mutex::new(known) });
        let (until_dropped, is_dropped) = mpsc::channel();
        if let Some(every) = client.look_every {
            let shared = Arc::clone(&shared);
            let body = move || {
                while is_dropped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    let found = fingerprinter.look();
                    shared.change(|known| known.found = found);
                }
            };
            let _detached = thread::Builder::new().name("fingerprint".into()).spawn(body)?;
        }
        let watched = Watched { shared, _until_dropped: until_dropped };
        Ok((Self(Arc::new(watched)), told))
    }

    /// What operators and the configuration say of the node.
    #[must_use]
    pub fn metadata(&self) -> Told {
        self.0.shared.known().metadata.told()
    }

    /// What its Consul agent says of itself, as attributes. Waits for the loop.
    pub fn set_consul(&self, attributes: BTreeMap<String, String>) {
        self.0.shared.change(|known| known.consul = attributes);
    }

    /// An operator says more of it. Waits for the disk.
    ///
    /// # Errors
    /// When it cannot be said, or not be kept; then nothing is changed.
    pub fn apply_metadata(&self, changes: Changes) -> Result<Told, Refused> {
        self.0.shared.change(|known| {
            known.metadata.apply(changes)?;
            Ok(known.metadata.told())
        })
    }
}

/// Why there is no node.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Metadata(#[from] metadata::Failure),
    #[error("the machine cannot be watched: {0}")]
    Thread(#[from] io::Error),
}

impl Shared {
    /// The loop is told while nobody else can change anything.
    fn change<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.known();
        let outcome = change(&mut known);
        let now = laid_together(&known.fixed, (&known.found, &known.consul), &known.metadata);
        if now == *known.told {
            return outcome;
        }
        tracing::info!("this node has changed: {}", differences(&known.told, &now));
        known.told = Arc::new(now);
        let event = Event::Fingerprinted(Arc::clone(&known.told));
        self.core.tell_blocking(Inbox::Event(event));
        outcome
    }

    /// It is whole between any two statements, also of one that panicked.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn config(resolved: &Resolved, client: &Client) -> FingerprintConfig {
    FingerprintConfig {
        root: "/".into(),
        data_dir: resolved.data_dir.clone(),
        alloc_dir: client.alloc_dir.clone(),
        raw_exec: client.raw_exec,
        cpu_total_mhz: client.cpu_total_mhz,
        reserved_mhz: client.reserved.cpu_mhz,
        reservable_cores: client.reservable_cores.clone(),
        reserved_cores: client.reserved.cores.clone(),
        devices: client.devices.clone(),
        memory_total_mib: client.memory_total_mib,
        network: NetworkConfig {
            interface: client.network_interface.clone(),
            speed_mbits: client.network_speed_mbits,
        },
        cni_dirs: client.cni_dirs.clone(),
        address: resolved.http_advertise,
        version: env!("CARGO_PKG_VERSION").into(),
    }
}

fn fixed(resolved: &Resolved, client: &Client, id: NodeId) -> NodeSpec {
    let reserved = &client.reserved;
    NodeSpec {
        id,
        name: resolved.name.clone(),
        datacenter: resolved.datacenter.clone(),
        class: client.node_class.clone(),
        reserved: Capacity {
            cpu_mhz: reserved.cpu_mhz,
            memory_mib: reserved.memory_mib,
            disk_mib: reserved.disk_mib,
        },
        reserved_ports: reserved.ports.clone(),
        http_address: resolved.http_advertise.to_string(),
        pool: client.node_pool.clone(),
        allocs_max: client.allocs_max,
        host_volumes: client.host_volumes.clone().into(),
        ..NodeSpec::default()
    }
}

fn laid_together(
    fixed: &NodeSpec,
    (found, consul): (&Fingerprint, &BTreeMap<String, String>),
    metadata: &Metadata,
) -> NodeSpec {
    let mut attributes = found.attributes.clone();
    attributes.extend(consul.clone());
    NodeSpec {
        meta: metadata.told().all.into(),
        attributes: attributes.into(),
        capacity: found.capacity,
        reserved: Capacity { cpu_mhz: found.reserved_mhz, ..fixed.reserved },
        drivers: found.drivers.clone().into(),
        pieces: Some(found.pieces.clone().into()),
        networks: found.networks.clone(),
        ..fixed.clone()
    }
}

/// What an operator should look at, by name.
fn differences(before: &NodeSpec, now: &NodeSpec) -> String {
    let mut names = BTreeSet::new();
    names.extend(unequal("", &before.attributes, &now.attributes));
    names.extend(unequal("meta.", &before.meta, &now.meta));
    names.extend(unequal("driver.", &before.drivers, &now.drivers));
    if before.networks != now.networks {
        names.insert("networks".to_owned());
    }
    if before.pieces != now.pieces {
        names.insert("devices".to_owned());
    }
    if before.capacity != now.capacity {
        names.insert("capacity".to_owned());
    }
    let more = names.len().saturating_sub(NAMES_MAX);
    let shown: Vec<String> = names.into_iter().take(NAMES_MAX).collect();
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    shown.join(", ") + &rest
}

fn unequal<V: PartialEq>(prefix: &str, before: &Named<V>, now: &Named<V>) -> Vec<String> {
    let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let other = keys.into_iter().filter(|&key| before.get(key) != now.get(key));
    other.map(|key| format!("{prefix}{key}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_is_named_and_not_at_any_length() {
        let spec = |pairs: &[(&str, &str)]| NodeSpec {
            attributes: pairs.iter().map(|&(key, value)| (key.into(), value.into())).collect(),
            ..NodeSpec::default()
        };
        let before = spec(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let mut now = spec(&[("a", "1"), ("b", "2"), ("d", "1")]);
        now.meta.insert("rack".into(), "r1".into());
        assert_eq!(differences(&before, &now), "b, c, d, meta.rack");
        let many: Vec<(String, String)> =
            (0..20).map(|n| (format!("k{n:02}"), "1".into())).collect();
        let many = NodeSpec { attributes: many.into_iter().collect(), ..NodeSpec::default() };
        let said = differences(&NodeSpec::default(), &many);
        assert!(said.ends_with("k07 and 12 more"), "{said}");
    }
}
