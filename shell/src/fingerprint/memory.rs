//! Memory, and how it and the cores lie in a machine of several parts (NUMA).
//!
//! Invariants
//! - memory that the agent's own container may not use is not the node's.
use super::cgroup::Cgroups;
use super::root::Root;
use super::{Fingerprint, MIB, whole};

/// What does not change while the machine runs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Memory {
    total_bytes: Option<u64>,
    nodes: Vec<NumaNode>,
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct NumaNode {
    number: u32,
    /// As the kernel lists them.
    cores: String,
    bytes: Option<u64>,
}

impl Memory {
    pub(super) fn look(root: &Root, cgroups: &Cgroups) -> Self {
        let machine = bytes(&root.text("proc/meminfo"), "MemTotal");
        // The true root of the hierarchy has no limits: one that is there is that of a container.
        let limit = cgroups.unified().and_then(|dir| root.number(dir.join("memory.max")));
        let total_bytes = machine.map(|bytes| limit.map_or(bytes, |limit| bytes.min(limit)));
        let dir = "sys/devices/system/node";
        let numbers = root.names(dir);
        let mut numbers: Vec<u32> =
            numbers.iter().filter_map(|name| name.strip_prefix("node")?.parse().ok()).collect();
        numbers.sort_unstable();
        let node = |number| NumaNode {
            number,
            cores: root.line(format!("{dir}/node{number}/cpulist")).unwrap_or_default(),
            bytes: bytes(&root.text(format!("{dir}/node{number}/meminfo")), "MemTotal"),
        };
        Self { total_bytes, nodes: numbers.into_iter().map(node).collect() }
    }

    pub(super) fn add(&self, found: &mut Fingerprint, configured_mib: Option<u32>) {
        let configured = configured_mib.map(|mib| u64::from(mib) * MIB);
        if let Some(bytes) = configured.or(self.total_bytes) {
            found.put("memory.totalbytes", bytes);
            found.capacity.memory_mib = whole(bytes / MIB);
        }
        found.put_some("numa.node.count", self.nodes.len());
        for NumaNode { number, cores, bytes } in &self.nodes {
            found.put(&format!("numa.node{number}.cores"), cores);
            if let Some(bytes) = bytes {
                found.put(&format!("numa.node{number}.memory.totalbytes"), bytes);
            }
        }
    }
}

/// Of the line of `key` in a `meminfo`; that of a part of the machine has its name before it.
fn bytes(meminfo: &str, key: &str) -> Option<u64> {
    let lines = meminfo.lines().filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(name, _)| name.split(' ').next_back() == Some(key));
    let kib: u64 = values.next()?.1.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::super::root::tree::grow;
    use super::*;

    const MOUNTS: &str = "30 24 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

    fn seen(files: &[(&str, &str)], configured_mib: Option<u32>) -> Fingerprint {
        let (_dir, root) = grow(files);
        let mut found = Fingerprint::default();
        Memory::look(&root, &Cgroups::look(&root)).add(&mut found, configured_mib);
        found
    }

    #[test]
    fn memory_is_the_machines_or_less_where_a_container_has_less() {
        let files = [
            ("proc/meminfo", "MemTotal:    8388608 kB\nMemFree: 1 kB\n"),
            ("proc/self/mountinfo", MOUNTS),
            ("sys/fs/cgroup/cgroup.controllers", "memory\n"),
            ("sys/fs/cgroup/memory.max", "1073741824\n"),
        ];
        assert_eq!(seen(&files[..3], None).capacity.memory_mib, 8_192);
        let contained = seen(&files, None);
        assert_eq!(contained.capacity.memory_mib, 1_024);
        assert_eq!(contained.attributes["memory.totalbytes"], "1073741824");
        let unlimited = [files[0], files[1], files[2], ("sys/fs/cgroup/memory.max", "max\n")];
        assert_eq!(seen(&unlimited, None).capacity.memory_mib, 8_192);
        assert_eq!(seen(&files, Some(512)).capacity.memory_mib, 512, "the configuration knows");
    }

    #[test]
    fn the_parts_of_a_machine_are_told_with_their_cores_and_memory() {
        let files = [
            ("sys/devices/system/node/online", "0-1\n"),
            ("sys/devices/system/node/node0/cpulist", "0-3,8-11\n"),
            ("sys/devices/system/node/node0/meminfo", "\nNode 0 MemTotal:   2048 kB\n"),
            ("sys/devices/system/node/node10/cpulist", "4-7\n"),
        ];
        let found = seen(&files, None);
        assert_eq!(found.attributes["numa.node.count"], "2");
        assert_eq!(found.attributes["numa.node0.cores"], "0-3,8-11");
        assert_eq!(found.attributes["numa.node0.memory.totalbytes"], "2097152");
        assert_eq!(found.attributes["numa.node10.cores"], "4-7");
        assert!(!found.attributes.contains_key("numa.node10.memory.totalbytes"));
    }
}
