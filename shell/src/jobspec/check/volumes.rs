//! What is wrong with the volumes that a group asks for, and with where its tasks want them.
use std::path::{Component, Path};

use drover_core::types::{Group, Task};

use super::Check;

impl Check<'_> {
    pub(super) fn volumes(&mut self, group: &Group) {
        for (label, ask) in &group.volumes {
            let mut inner = self.inner(&format!("volume[{label}]"));
            if ask.source.is_empty() {
                let why = "is missing: what client.host_volume of the nodes calls it, such as source = \"data\"";
                inner.wrong("source", why);
            }
        }
    }

    pub(super) fn volume_mounts(&mut self, task: &Task, group: &Group) {
        if !task.volume_mounts.is_empty() && task.driver == "raw_exec" {
            let why = "raw_exec tasks see the files of their machine as they are: drop the block, and let the \
                       task use the volume's path itself; the group's `volume` still chooses the node";
            self.wrong("volume_mount", why);
        }
        for (at, mount) in task.volume_mounts.iter().enumerate() {
            let before = &task.volume_mounts[..at];
            let mut inner = self.inner(&format!("volume_mount[{at}]"));
            if !group.volumes.contains_key(&mount.volume) {
                let known: Vec<String> =
                    group.volumes.keys().map(|label| format!("\"{label}\"")).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let why = format!(
                    "the group has no volume \"{}\"; it has {known}: name one of them, or add \
                     volume \"{}\" to the group",
                    mount.volume, mount.volume
                );
                inner.wrong("volume", why);
            }
            if let Some(why) = refused(&mount.destination) {
                inner.wrong("destination", why);
            }
            let path = Path::new(&mount.destination);
            if before.iter().any(|other| Path::new(&other.destination) == path) {
                let why = format!("another volume is mounted at \"{}\" too", mount.destination);
                inner.wrong("destination", why);
            }
        }
    }
}

/// Why nothing can be mounted there.
fn refused(destination: &str) -> Option<String> {
    let path = Path::new(destination);
    if destination.is_empty() {
        return Some("is missing: where the task finds the volume, such as \"/data\"".to_owned());
    }
    let is_normal = |part| matches!(part, Component::RootDir | Component::Normal(_));
    let is_below = path.is_absolute() && path.components().all(is_normal) && path != Path::new("/");
    (!is_below).then(|| {
        format!("\"{destination}\" is no absolute path below / without `..`, such as \"/data\"")
    })
}
