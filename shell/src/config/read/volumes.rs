//! The blocks `host_volume` of the block `client`: directories of the machine that tasks may have.
use std::collections::BTreeMap;
use std::path::Path;

use drover_core::types::{Access, HostVolume};

use crate::jobspec::reader::Reader;

/// By name.
pub(super) fn host_volumes(reader: &Reader<'_>) -> BTreeMap<String, HostVolume> {
    let mut volumes = BTreeMap::new();
    for (name, block) in reader.labelled("host_volume") {
        let place = block.block.place.clone();
        if name.is_empty() {
            let hint = "jobs ask for it by name, such as host_volume \"data\" { ... }";
            block.wrong(&place, "a host volume has a name".to_owned(), hint);
        }
        let volume = volume(&name, block);
        if volumes.contains_key(&name) {
            let why = format!("there are two host volumes called \"{name}\"");
            reader.wrong(&place, why, "keep one of them");
        }
        volumes.insert(name, volume);
    }
    volumes
}

fn volume(name: &str, reader: Reader<'_>) -> HostVolume {
    let path = reader.text("path").unwrap_or_default();
    if !Path::new(&path).is_absolute() {
        let attribute = reader.attribute("path");
        let place = attribute.map_or(&reader.block.place, |one| &one.value_place);
        let why = format!("the path of the host volume \"{name}\" must be absolute");
        reader.wrong(place, why, "name a directory of this machine, such as path = \"/srv/data\"");
    }
    let access = Access::of(reader.flag("read_only"));
    reader.finish(&[]);
    HostVolume { path, access }
}
