//! Devices that the kernel tells of: graphics cards whose driver lists them under /proc.
//!
//! Invariants
//! - groups stand in the order of their names, and a name that was declared is as it was declared.
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use drover_core::types::{DeviceGroup, DeviceInstance, DeviceName};

/// Where the driver of NVIDIA's cards tells of them.
const NVIDIA: &str = "/proc/driver/nvidia";

/// What was declared, and what is found beside it.
pub(super) fn found(declared: &[DeviceGroup]) -> Vec<DeviceGroup> {
    let found = nvidia(Path::new(NVIDIA)).into_iter().chain(declared.iter().cloned());
    let by_name: BTreeMap<DeviceName, DeviceGroup> =
        found.map(|group| (group.name.clone(), group)).collect();
    by_name.into_values().collect()
}

fn nvidia(root: &Path) -> Vec<DeviceGroup> {
    let mut models: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for card in fs::read_dir(root.join("gpus")).into_iter().flatten().flatten() {
        let told = fs::read_to_string(card.path().join("information")).unwrap_or_default();
        let value = |key: &str| {
            let line = told.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        if let (Some(model), Some(id)) = (value("Model"), value("GPU UUID")) {
            models.entry(model).or_default().push(id);
        }
    }
    let version = fs::read_to_string(root.join("version")).unwrap_or_default();
    let words = version.split_whitespace().skip_while(|word| *word != "Module");
    let version = words.skip(1).find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let groups = models.into_iter().map(|(model, mut ids)| {
        ids.sort();
        let name = DeviceName { vendor: "nvidia".into(), kind: "gpu".into(), name: model };
        let instances = ids.into_iter().map(|id| DeviceInstance { id, healthy: true });
        let attributes = version.map(|version| ("driver_version".to_owned(), version.to_owned()));
        DeviceGroup {
            name,
            attributes: attributes.into_iter().collect(),
            instances: instances.collect(),
        }
    });
    groups.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_found_by_model_and_what_is_declared_goes_before() {
        let root = tempfile::tempdir().unwrap();
        for (place, id) in [("0000:02", "GPU-b"), ("0000:01", "GPU-a")] {
            let card = root.path().join("gpus").join(place);
            fs::create_dir_all(&card).unwrap();
            let told = format!("Model: \t\t Tesla T4\nIRQ:   \t 35\nGPU UUID: \t {id}\n");
            fs::write(card.join("information"), told).unwrap();
        }
        let version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.54.03  Tue Jun 6\n";
        fs::write(root.path().join("version"), version).unwrap();
        let found = nvidia(root.path());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name.to_string(), "nvidia/gpu/Tesla T4");
        assert_eq!(found[0].healthy().collect::<Vec<_>>(), ["GPU-a", "GPU-b"]);
        assert_eq!(found[0].attributes["driver_version"], "535.54.03");
        assert!(nvidia(Path::new("/nowhere")).is_empty());
    }
}
