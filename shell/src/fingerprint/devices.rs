//! Devices that the kernel tells of: graphics cards whose driver lists them under /proc.
//!
//! Invariants
//! - groups stand in the order of their names, and a name that was declared is as it was declared.
use std::collections::BTreeMap;

use drover_core::types::{DeviceGroup, DeviceInstance, DeviceName};

use super::root::Root;

/// Where the driver of NVIDIA's cards tells of them.
const NVIDIA: &str = "proc/driver/nvidia";

/// What was declared, and what is found beside it.
pub(super) fn found(root: &Root, declared: &[DeviceGroup]) -> Vec<DeviceGroup> {
    let found = nvidia(root).into_iter().chain(declared.iter().cloned());
    let by_name: BTreeMap<DeviceName, DeviceGroup> =
        found.map(|group| (group.name.clone(), group)).collect();
    by_name.into_values().collect()
}

fn nvidia(root: &Root) -> Vec<DeviceGroup> {
    let mut models: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for card in root.names(format!("{NVIDIA}/gpus")) {
        let told = root.text(format!("{NVIDIA}/gpus/{card}/information"));
        let value = |key: &str| {
            let line = told.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        if let (Some(model), Some(id)) = (value("Model"), value("GPU UUID")) {
            models.entry(model).or_default().push(id);
        }
    }
    let version = root.text(format!("{NVIDIA}/version"));
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
    use super::super::root::tree::grow;
    use super::*;

    #[test]
    fn cards_are_found_by_model_and_what_is_declared_goes_before() {
        let card = |id| format!("Model: \t\t Tesla T4\nIRQ:   \t 35\nGPU UUID: \t {id}\n");
        let version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.54.03  Tue Jun 6\n";
        let (_dir, root) = grow(&[
            ("proc/driver/nvidia/gpus/0000:02/information", &card("GPU-b")),
            ("proc/driver/nvidia/gpus/0000:01/information", &card("GPU-a")),
            ("proc/driver/nvidia/version", version),
        ]);
        let known = found(&root, &[]);
        assert_eq!(known.len(), 1);
        assert_eq!(known[0].name.to_string(), "nvidia/gpu/Tesla T4");
        assert_eq!(known[0].healthy().collect::<Vec<_>>(), ["GPU-a", "GPU-b"]);
        assert_eq!(known[0].attributes["driver_version"], "535.54.03");
        let declared = DeviceGroup { name: known[0].name.clone(), ..DeviceGroup::default() };
        assert_eq!(found(&root, std::slice::from_ref(&declared)), [declared]);
        let (_dir, bare) = grow(&[]);
        assert!(found(&bare, &[]).is_empty());
    }
}
