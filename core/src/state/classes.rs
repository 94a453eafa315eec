//! What nodes are alike in, and a number for each kind of likeness.
//!
//! Invariants
//! - two nodes have the same class if and only if their class keys are equal;
//! - a number is free again when the last node of its class has left it.
use ::alloc::collections::{BTreeMap, BTreeSet};
use ::alloc::string::String;
use ::alloc::sync::Arc;
use ::alloc::vec::Vec;

use crate::types::{Access, DeviceGroup, DeviceName, Named, Node, PoolName};

/// A set of nodes that meet the same constraints; a dense number of this process.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClassId(pub u32);

/// Everything that a constraint can see and that is not a node's alone.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct ClassKey {
    pub pool: PoolName,
    pub datacenter: String,
    pub class: String,
    pub attributes: Named<String>,
    pub meta: Named<String>,
    /// Detected and healthy.
    pub drivers: BTreeSet<String>,
    /// Without what tells one instance from another.
    pub devices: Vec<DeviceClass>,
    /// By name, wherever they are on each.
    pub host_volumes: BTreeMap<String, Access>,
}

/// Devices of one make, as a node has them.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct DeviceClass {
    pub name: DeviceName,
    pub attributes: BTreeMap<String, String>,
    pub healthy_count: usize,
}

impl DeviceClass {
    fn of(group: &DeviceGroup) -> Self {
        let healthy_count = group.healthy().count();
        Self { name: group.name.clone(), attributes: group.attributes.clone(), healthy_count }
    }
}

impl ClassKey {
    /// Whether its nodes have devices that work.
    #[must_use]
    pub fn has_devices(&self) -> bool {
        self.devices.iter().any(|class| 0 < class.healthy_count)
    }

    pub(super) fn of(node: &Node) -> Self {
        let shared = |map: &Named<String>| {
            let kept = map.iter().filter(|(key, _)| !key.starts_with("unique."));
            kept.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        let healthy = node.spec.drivers.iter().filter(|(_, info)| info.detected && info.healthy);
        let devices = node.spec.pieces.iter().flat_map(|pieces| &pieces.devices);
        let volumes = node.spec.host_volumes.iter();
        Self {
            pool: node.spec.pool.clone(),
            datacenter: node.spec.datacenter.clone(),
            class: node.spec.class.clone(),
            attributes: shared(&node.spec.attributes),
            meta: shared(&node.spec.meta),
            drivers: healthy.map(|(name, _)| name.clone()).collect(),
            devices: devices.map(DeviceClass::of).collect(),
            host_volumes: volumes.map(|(name, volume)| (name.clone(), volume.access)).collect(),
        }
    }
}

#[derive(Clone, Debug)]
struct Class {
    key: Arc<ClassKey>,
    node_count: u32,
}

/// Class keys to numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Classes {
    ids: BTreeMap<Arc<ClassKey>, ClassId>,
    /// `None` where a number is free.
    classes: Vec<Option<Class>>,
    free: Vec<ClassId>,
}

impl Classes {
    pub(super) fn enter(&mut self, key: ClassKey) -> ClassId {
        if let Some(&known) = self.ids.get(&key) {
            self.class_mut(known).node_count += 1;
            return known;
        }
        let fresh = self.free.pop().unwrap_or_else(|| {
            self.classes.push(None);
            let number = u32::try_from(self.classes.len() - 1);
            ClassId(number.expect("invariant: fewer than 2^32 nodes"))
        });
        let key = Arc::new(key);
        self.classes[fresh.0 as usize] = Some(Class { key: Arc::clone(&key), node_count: 1 });
        self.ids.insert(key, fresh);
        fresh
    }

    pub(super) fn leave(&mut self, id: ClassId) {
        let class = self.class_mut(id);
        class.node_count -= 1;
        if class.node_count == 0 {
            let key = Arc::clone(&class.key);
            self.ids.remove(&key);
            self.classes[id.0 as usize] = None;
            self.free.push(id);
        }
    }

    fn class_mut(&mut self, id: ClassId) -> &mut Class {
        let class = self.classes[id.0 as usize].as_mut();
        class.expect("invariant: a class that a node is of has a number")
    }

    /// What the nodes of the class are alike in, and only of a class that has nodes.
    pub(super) fn key(&self, id: ClassId) -> &ClassKey {
        let class = self.classes[id.0 as usize].as_ref();
        &class.expect("invariant: a class that a node is of has a number").key
    }

    /// The keys of all that have nodes.
    pub(super) fn keys(&self) -> impl Iterator<Item = &ClassKey> {
        self.classes.iter().flatten().map(|class| &*class.key)
    }

    /// One more than the highest number in use.
    pub(super) const fn len(&self) -> usize {
        self.classes.len()
    }

    /// Each class counts its nodes; `members` says how many there are of each.
    ///
    /// # Panics
    /// When one does not.
    pub(super) fn check_invariants(&self, members: &BTreeMap<ClassId, usize>) {
        for (key, &id) in &self.ids {
            let class = self.classes[id.0 as usize].as_ref();
            assert!(class.is_some_and(|class| class.key == *key), "a key and a number lead back");
            let counted = class.map_or(0, |class| class.node_count as usize);
            assert!(members.get(&id) == Some(&counted), "a class counts its nodes");
        }
        assert!(members.len() == self.ids.len(), "a class has nodes");
        let used = self.classes.iter().flatten().count();
        assert!(used == self.ids.len(), "a number without a class is free");
    }
}
