//! Blocks `volume` of groups and `volume_mount` of tasks, as they were written.
use std::collections::BTreeMap;

use crate::api::job::{Volume, VolumeMount};
use crate::jobspec::reader::Reader;

pub(super) fn volumes(reader: &Reader<'_>) -> Option<BTreeMap<String, Volume>> {
    let mut made = BTreeMap::new();
    for (label, block) in reader.labelled("volume") {
        let place = block.block.place.clone();
        let volume = Volume {
            name: Some(label.clone()),
            kind: block.text("type"),
            source: block.text("source"),
            read_only: block.flag("read_only"),
            per_alloc: block.flag("per_alloc"),
            sticky: block.flag("sticky"),
            ..Volume::default()
        };
        block.finish(&["access_mode", "attachment_mode", "mount_options"]);
        if made.contains_key(&label) {
            let why = format!("there are two volumes called \"{label}\"");
            reader.wrong(&place, why, "keep one of them, or call it something else");
        }
        made.insert(label, volume);
    }
    (!made.is_empty()).then_some(made)
}

pub(super) fn volume_mounts(reader: &Reader<'_>) -> Option<Vec<VolumeMount>> {
    let blocks = reader.numbered("volume_mount").into_iter().map(|block| {
        let mount = VolumeMount {
            volume: block.text("volume"),
            destination: block.text("destination"),
            read_only: block.flag("read_only"),
            propagation_mode: block.text("propagation_mode"),
            ..VolumeMount::default()
        };
        block.finish(&["selinux_label"]);
        mount
    });
    let list: Vec<VolumeMount> = blocks.collect();
    (!list.is_empty()).then_some(list)
}
