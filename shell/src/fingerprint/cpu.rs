//! Processors: how many, how fast.
use std::fs;

use drover_core::types::{CoreSet, NodePieces};

use super::{Fingerprint, FingerprintConfig, read_line, whole};
use crate::cores;

/// Taken where a machine does not tell how fast it is: Nomad's assumption is a gigahertz, too.
const MHZ_ASSUMED: u64 = 1_000;

pub(super) fn add(found: &mut Fingerprint, config: &FingerprintConfig) {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let core_count = core_count(&info);
    let core_mhz = max_mhz().or_else(|| mhz(&info)).unwrap_or(MHZ_ASSUMED);
    let total_mhz = config.cpu_total_mhz.unwrap_or_else(|| whole(core_mhz * core_count));
    found.put("cpu.arch", architecture());
    found.put("arch", architecture());
    found.put("cpu.numcores", core_count);
    found.put("cpu.modelname", value(&info, "model name").unwrap_or_default());
    found.put("cpu.frequency", core_mhz);
    found.put("cpu.totalcompute", total_mhz);
    found.capacity.cpu_mhz = total_mhz;
    let online = online(core_count);
    let reserved_cores = config.reserved_cores.iter().filter(|&core| online.has(core));
    let reserved_cores = CoreSet::from_iter(reserved_cores);
    let may_be_had = |core| config.reservable_cores.as_ref().is_none_or(|list| list.has(core));
    let cores = online.without(&reserved_cores).iter().filter(|&core| may_be_had(core)).collect();
    let core_mhz = whole(u64::from(total_mhz) / core_count.max(1));
    found.pieces = NodePieces { core_mhz, cores, reserved_cores, ..NodePieces::default() };
    found.put("cpu.reservablecores", found.pieces.cores.count());
}

/// The cores that the kernel uses.
fn online(core_count: u64) -> CoreSet {
    let listed = read_line("/sys/devices/system/cpu/online");
    let listed = listed.and_then(|list| cores::parse(&list).ok());
    let last = u16::try_from(core_count).unwrap_or(u16::MAX);
    listed.unwrap_or_else(|| (0..last).collect())
}

/// As the names of downloads say it, which is what constraints compare.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn core_count(info: &str) -> u64 {
    let listed = info.lines().filter(|line| line.starts_with("processor")).count();
    let count = if listed == 0 {
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    } else {
        listed
    };
    count as u64
}

/// The base frequency where it is known, else the highest.
fn max_mhz() -> Option<u64> {
    ["base_frequency", "cpuinfo_max_freq"].into_iter().find_map(|name| {
        let khz = read_line(format!("/sys/devices/system/cpu/cpu0/cpufreq/{name}"))?;
        khz.parse::<u64>().ok().map(|khz| khz / 1_000)
    })
}

fn mhz(info: &str) -> Option<u64> {
    value(info, "cpu MHz")?.split('.').next()?.parse().ok()
}

fn value<'a>(info: &'a str, key: &str) -> Option<&'a str> {
    info.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpuinfo_is_read() {
        let info = "processor\t: 0\nmodel name\t: An: x\ncpu MHz\t\t: 2596.9\n\nprocessor\t: 1\n";
        assert_eq!((core_count(info), mhz(info)), (2, Some(2596)));
        assert_eq!(value(info, "model name"), Some("An: x"));
    }
}
