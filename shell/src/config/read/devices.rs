//! The blocks `device` of the block `client`: devices that nothing finds by itself.
use drover_core::types::{DeviceGroup, DeviceInstance, DeviceName};

use crate::jobspec::reader::Reader;

/// In the order of their names.
pub(super) fn devices(reader: &Reader<'_>) -> Vec<DeviceGroup> {
    let blocks = reader.labelled("device").into_iter();
    let mut groups: Vec<DeviceGroup> =
        blocks.filter_map(|(label, block)| device(&label, block)).collect();
    groups.sort_by(|one, other| one.name.cmp(&other.name));
    groups
}

fn device(label: &str, reader: Reader<'_>) -> Option<DeviceGroup> {
    let ids = reader.texts("ids").unwrap_or_default();
    let attributes = reader.map("attributes").unwrap_or_default();
    let parts: Vec<&str> = label.splitn(3, '/').filter(|part| !part.is_empty()).collect();
    let place = &reader.block.place;
    let name = match parts[..] {
        [vendor, kind, name] => {
            Some(DeviceName { vendor: vendor.into(), kind: kind.into(), name: name.into() })
        }
        _ => {
            let why = format!("\"{label}\" is not the whole name of a device");
            reader.wrong(place, why, "such as device \"nvidia/gpu/1080ti\"");
            None
        }
    };
    let is_twice = |(nth, id): (usize, &String)| id.is_empty() || ids[..nth].contains(id);
    if ids.is_empty() || ids.iter().enumerate().any(is_twice) {
        let why = format!("the devices of \"{label}\" have no ids, or two have the same");
        reader.wrong(place, why, "such as ids = [\"GPU-1\", \"GPU-2\"]");
    }
    reader.finish(&[]);
    let instances = ids.into_iter().map(|id| DeviceInstance { id, healthy: true });
    Some(DeviceGroup { name: name?, attributes, instances: instances.collect() })
}
