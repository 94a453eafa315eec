//! Pieces of a machine: what is not divided, and what one alloc has for itself: cores, and the
//! instances of devices.
//!
//! Invariants
//! - a set of cores has one form: it ends with a word that is not zero;
//! - on a node, groups of devices stand in the order of their names, and each has one.
use ::alloc::boxed::Box;
use ::alloc::collections::BTreeMap;
use ::alloc::string::String;
use ::alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::constraint::Constraint;
use super::leaning::Affinity;
use super::resources::{Capacity, PortGrant};

/// Cores by their numbers in the machine's kernel.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct CoreSet(Vec<u64>);

impl CoreSet {
    /// Put one in.
    pub fn insert(&mut self, core: u16) {
        let (word, bit) = Self::place(core);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= bit;
    }

    /// Whether it is there.
    #[must_use]
    pub fn has(&self, core: u16) -> bool {
        let (word, bit) = Self::place(core);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// The lowest first.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        let words = (0_u16..).step_by(64).zip(&self.0);
        words.flat_map(|(first, &word)| {
            let there = (0..64_u16).filter(move |bit| word >> bit & 1 != 0);
            there.map(move |bit| first + bit)
        })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that are not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.iter().filter(|&core| !other.has(core)).collect()
    }

    fn place(core: u16) -> (usize, u64) {
        (usize::from(core / 64), 1 << (core % 64))
    }
}

impl FromIterator<u16> for CoreSet {
    fn from_iter<I: IntoIterator<Item = u16>>(cores: I) -> Self {
        let mut set = Self::default();
        cores.into_iter().for_each(|core| set.insert(core));
        set
    }
}

/// As the kernel and job files write it: `0-2,7`.
impl fmt::Display for CoreSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cores = self.iter().peekable();
        let mut comma = "";
        while let Some(first) = cores.next() {
            let mut last = first;
            while let Some(next) = cores.next_if(|&next| next == last + 1) {
                last = next;
            }
            write!(f, "{comma}{first}")?;
            if first != last {
                write!(f, "-{last}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

/// What devices of one make are called.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct DeviceName {
    pub vendor: String,
    /// Such as `gpu`.
    pub kind: String,
    pub name: String,
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.vendor, self.kind, self.name)
    }
}

impl DeviceName {
    /// Whether who asks for `asked` may get these: `gpu`, `nvidia/gpu` or `nvidia/gpu/1080ti`.
    #[must_use]
    pub fn answers_to(&self, asked: &str) -> bool {
        match asked.split_once('/') {
            None => self.kind == asked,
            Some((vendor, rest)) => {
                let (kind, name) = match rest.split_once('/') {
                    None => (rest, None),
                    Some((kind, name)) => (kind, Some(name)),
                };
                self.vendor == vendor
                    && self.kind == kind
                    && name.is_none_or(|name| self.name == name)
            }
        }
    }
}

/// Devices of one make.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct DeviceGroup {
    pub name: DeviceName,
    /// Such as `memory` to `11 GiB`.
    pub attributes: BTreeMap<String, String>,
    pub instances: Vec<DeviceInstance>,
}

/// One device.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct DeviceInstance {
    /// Unique within its group.
    pub id: String,
    pub healthy: bool,
}

impl DeviceGroup {
    /// The ids of those that work.
    pub fn healthy(&self) -> impl Iterator<Item = &String> {
        self.instances.iter().filter(|instance| instance.healthy).map(|instance| &instance.id)
    }
}

/// Devices that a task asks for.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct DeviceAsk {
    /// As `DeviceName::answers_to` has it.
    pub name: String,
    pub count: u32,
    /// Of the devices: `${device.attr.memory}`, `${device.model}`.
    pub constraints: Vec<Constraint>,
    pub affinities: Vec<Affinity>,
}

/// What a machine has in pieces.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct NodePieces {
    /// What a core counts for in `cpu_mhz`.
    pub core_mhz: u32,
    /// Those that tasks may have for themselves.
    pub cores: CoreSet,
    /// Kept back for the machine itself; none of them is in `cores`.
    pub reserved_cores: CoreSet,
    pub devices: Vec<DeviceGroup>,
}

impl NodePieces {
    /// What the cores that are kept back count for.
    #[must_use]
    pub fn reserved_mhz(&self) -> u32 {
        self.reserved_cores.count().saturating_mul(self.core_mhz)
    }
}

/// What an alloc has in pieces, by task. Tasks that have none are not in it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pieces {
    pub tasks: Vec<TaskPieces>,
}

/// What a task has for itself.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct TaskPieces {
    pub task: String,
    pub cores: CoreSet,
    /// One for each that the task asks for, in that order.
    pub devices: Vec<DeviceGrant>,
}

/// Devices of one make.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct DeviceGrant {
    pub name: DeviceName,
    pub ids: Vec<String>,
}

impl Pieces {
    /// `None`: there are none.
    #[must_use]
    pub fn boxed(tasks: Vec<TaskPieces>) -> Option<Box<Self>> {
        (!tasks.is_empty()).then(|| Box::new(Self { tasks }))
    }

    /// What the task called `name` has.
    #[must_use]
    pub fn of_task(&self, name: &str) -> Option<&TaskPieces> {
        self.tasks.iter().find(|pieces| pieces.task == name)
    }

    /// Every core.
    pub fn cores(&self) -> impl Iterator<Item = u16> + '_ {
        self.tasks.iter().flat_map(|pieces| pieces.cores.iter())
    }

    /// Every device.
    pub fn devices(&self) -> impl Iterator<Item = (&DeviceName, &String)> {
        let grants = self.tasks.iter().flat_map(|pieces| &pieces.devices);
        grants.flat_map(|grant| grant.ids.iter().map(|id| (&grant.name, id)))
    }
}

/// All that an alloc takes of its node, or would.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    pub capacity: Capacity,
    pub ports: &'a [PortGrant],
    pub pieces: Option<&'a Pieces>,
}

impl<'a> Claim<'a> {
    /// What is no piece.
    #[must_use]
    pub const fn of(capacity: Capacity, ports: &'a [PortGrant]) -> Self {
        Self { capacity, ports, pieces: None }
    }
}
