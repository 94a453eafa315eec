//! Processors: how many, how fast, and how they lie together.
//!
//! Invariants
//! - the machine's compute is the sum of its cores', unless the configuration says what it is.
use std::collections::BTreeSet;

use drover_core::types::{CoreSet, NodePieces};

use super::root::{Root, value};
use super::{Fingerprint, FingerprintConfig, whole};
use crate::cores;

/// Taken where a machine does not tell how fast it is: Nomad's assumption is a gigahertz, too.
const MHZ_ASSUMED: u64 = 1_000;
const CPUS: &str = "sys/devices/system/cpu";

/// What does not change while the machine runs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Processors {
    online: CoreSet,
    model: String,
    /// MHz of all cores together.
    total_mhz: u64,
    /// MHz of the fastest.
    core_mhz: u64,
    sockets: usize,
    /// Cores whose threads are counted once.
    physical: usize,
    /// Where a machine has cores of two kinds.
    grades: Option<Grades>,
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Grades {
    performance: Grade,
    efficiency: Grade,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Grade {
    count: u32,
    mhz: u64,
}

impl Processors {
    pub(super) fn look(root: &Root) -> Self {
        let info = root.text("proc/cpuinfo");
        let online = online(root, &info);
        let now_mhz = value(&info, "cpu MHz").and_then(|mhz| mhz.split('.').next()?.parse().ok());
        // What the clock says at the moment is near enough where nothing says what it may be.
        let mhz_of = |core| mhz(root, core).or(now_mhz).unwrap_or(MHZ_ASSUMED);
        let id = |core: u16, name: &str| root.line(format!("{CPUS}/cpu{core}/topology/{name}"));
        let packages = online.iter().filter_map(|core| id(core, "physical_package_id"));
        let siblings = online.iter().filter_map(|core| id(core, "thread_siblings_list"));
        Self {
            model: value(&info, "model name").unwrap_or_default().to_owned(),
            total_mhz: online.iter().map(mhz_of).sum(),
            core_mhz: online.iter().map(mhz_of).max().unwrap_or(MHZ_ASSUMED),
            sockets: packages.collect::<BTreeSet<String>>().len(),
            physical: siblings.collect::<BTreeSet<String>>().len(),
            grades: Grades::look(root, &online, mhz_of),
            online,
        }
    }

    pub(super) fn add(&self, found: &mut Fingerprint, config: &FingerprintConfig) {
        let count = self.online.count();
        let total_mhz = config.cpu_total_mhz.unwrap_or_else(|| whole(self.total_mhz));
        found.put("cpu.arch", architecture());
        found.put("arch", architecture());
        found.put("cpu.numcores", count);
        found.put("cpu.modelname", &self.model);
        found.put("cpu.frequency", self.core_mhz);
        found.put("cpu.totalcompute", total_mhz);
        found.put_some("cpu.numsockets", self.sockets);
        found.put_some("cpu.numphysicalcores", self.physical);
        if let Some(Grades { performance, efficiency }) = &self.grades {
            for (name, grade) in [("performance", performance), ("efficiency", efficiency)] {
                found.put(&format!("cpu.numcores.{name}"), grade.count);
                found.put(&format!("cpu.frequency.{name}"), grade.mhz);
            }
        }
        found.capacity.cpu_mhz = total_mhz;
        let reserved = config.reserved_cores.iter().filter(|&core| self.online.has(core));
        let reserved_cores = CoreSet::from_iter(reserved);
        let may_be_had = |core| config.reservable_cores.as_ref().is_none_or(|list| list.has(core));
        let free = self.online.without(&reserved_cores);
        let cores = free.iter().filter(|&core| may_be_had(core)).collect();
        let core_mhz = total_mhz / count.max(1);
        found.pieces.core_mhz = core_mhz;
        (found.pieces.cores, found.pieces.reserved_cores) = (cores, reserved_cores);
        found.put("cpu.reservablecores", found.pieces.cores.count());
        // Cores that are kept back bring theirs.
        found.reserved_mhz = config.reserved_mhz.max(NodePieces::reserved_mhz(&found.pieces));
        found.put("cpu.usablecompute", total_mhz.saturating_sub(found.reserved_mhz));
    }
}

impl Grades {
    fn look(root: &Root, online: &CoreSet, mhz_of: impl Fn(u16) -> u64) -> Option<Self> {
        let listed =
            |name: &str| cores::parse(&root.line(format!("sys/devices/{name}/cpus"))?).ok();
        let slow: CoreSet = if let Some(slow) = listed("cpu_atom") {
            online.iter().filter(|&core| slow.has(core)).collect()
        } else {
            let capacity = |core: u16| root.number::<u64>(format!("{CPUS}/cpu{core}/cpu_capacity"));
            let most = online.iter().filter_map(capacity).max()?;
            online.iter().filter(|&core| capacity(core).is_some_and(|its| its < most)).collect()
        };
        let grade = |cores: CoreSet| Grade {
            count: cores.count(),
            mhz: cores.iter().map(&mhz_of).max().unwrap_or_default(),
        };
        let (performance, efficiency) = (grade(online.without(&slow)), grade(slow));
        (performance.count != 0 && efficiency.count != 0)
            .then_some(Self { performance, efficiency })
    }
}

/// The cores that the kernel uses.
fn online(root: &Root, info: &str) -> CoreSet {
    let listed = root.line(format!("{CPUS}/online")).and_then(|list| cores::parse(&list).ok());
    listed.filter(|cores| !cores.is_empty()).unwrap_or_else(|| {
        let count = info.lines().filter(|line| line.starts_with("processor")).count();
        let all = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        (0..u16::try_from(if count == 0 { all } else { count }).unwrap_or(u16::MAX)).collect()
    })
}

/// As the names of downloads say it, which is what constraints compare.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The base frequency where it is known, else the highest.
fn mhz(root: &Root, core: u16) -> Option<u64> {
    ["base_frequency", "cpuinfo_max_freq"].into_iter().find_map(|name| {
        root.number::<u64>(format!("{CPUS}/cpu{core}/cpufreq/{name}")).map(|khz| khz / 1_000)
    })
}

#[cfg(test)]
mod tests {
    use super::super::root::tree::grow;
    use super::*;

    fn seen(files: &[(&str, &str)], config: &FingerprintConfig) -> Fingerprint {
        let (_dir, root) = grow(files);
        let mut found = Fingerprint::default();
        Processors::look(&root).add(&mut found, config);
        found
    }

    #[test]
    fn a_machine_that_tells_little_is_told_from_cpuinfo() {
        let info = "processor\t: 0\nmodel name\t: An: x\ncpu MHz\t\t: 2596.9\n\nprocessor\t: 1\n";
        let found = seen(&[("proc/cpuinfo", info)], &FingerprintConfig::default());
        let attribute = |name: &str| found.attributes.get(name).map(String::as_str);
        assert_eq!(attribute("cpu.numcores"), Some("2"));
        assert_eq!(attribute("cpu.modelname"), Some("An: x"));
        assert_eq!(attribute("cpu.frequency"), Some("2596"));
        assert_eq!(attribute("cpu.totalcompute"), Some("5192"));
        assert_eq!(attribute("cpu.numsockets"), None, "what is not known is not said");
        assert_eq!(attribute("cpu.numcores.efficiency"), None);
        assert_eq!(found.pieces.core_mhz, 2_596);
    }

    #[test]
    fn sockets_threads_and_kinds_of_cores_are_told_apart() {
        let mut files = vec![
            ("sys/devices/system/cpu/online".to_owned(), "0-5\n".to_owned()),
            ("sys/devices/cpu_core/cpus".into(), "0-3\n".into()),
            ("sys/devices/cpu_atom/cpus".into(), "4-5\n".into()),
        ];
        // Two threads each of two fast cores, and two slow ones; the last core is of another package.
        for (core, siblings, package, khz) in [
            (0, "0-1", 0, 3_000_000),
            (1, "0-1", 0, 3_000_000),
            (2, "2-3", 0, 3_000_000),
            (3, "2-3", 0, 3_000_000),
            (4, "4", 0, 2_000_000),
            (5, "5", 1, 2_000_000),
        ] {
            let dir = format!("sys/devices/system/cpu/cpu{core}");
            files.push((format!("{dir}/topology/thread_siblings_list"), siblings.into()));
            files.push((format!("{dir}/topology/physical_package_id"), format!("{package}\n")));
            files.push((format!("{dir}/cpufreq/base_frequency"), format!("{khz}\n")));
            files.push((format!("{dir}/cpufreq/cpuinfo_max_freq"), "5000000\n".into()));
        }
        let files: Vec<(&str, &str)> =
            files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let config = FingerprintConfig {
            reserved_cores: [0].into_iter().collect(),
            reserved_mhz: 100,
            ..FingerprintConfig::default()
        };
        let found = seen(&files, &config);
        for (name, value) in [
            ("cpu.numcores", "6"),
            ("cpu.numphysicalcores", "4"),
            ("cpu.numsockets", "2"),
            ("cpu.numcores.performance", "4"),
            ("cpu.numcores.efficiency", "2"),
            ("cpu.frequency", "3000"),
            ("cpu.frequency.performance", "3000"),
            ("cpu.frequency.efficiency", "2000"),
            ("cpu.totalcompute", "16000"),
            ("cpu.reservablecores", "5"),
            ("cpu.usablecompute", "13334"),
        ] {
            assert_eq!(found.attributes.get(name).map(String::as_str), Some(value), "{name}");
        }
    }

    #[test]
    fn where_cores_differ_in_capacity_alone_the_weaker_are_the_efficient_ones() {
        let files = [
            ("sys/devices/system/cpu/online", "0-2"),
            ("sys/devices/system/cpu/cpu0/cpu_capacity", "512"),
            ("sys/devices/system/cpu/cpu1/cpu_capacity", "1024"),
            ("sys/devices/system/cpu/cpu2/cpu_capacity", "512"),
        ];
        let found = seen(&files, &FingerprintConfig::default());
        assert_eq!(found.attributes["cpu.numcores.efficiency"], "2");
        assert_eq!(found.attributes["cpu.numcores.performance"], "1");
        let alike = [files[0], files[1]];
        let found = seen(&alike, &FingerprintConfig::default());
        assert!(!found.attributes.contains_key("cpu.numcores.performance"));
    }
}
