//! Volumes of groups and mounts of tasks, between the API's job and the core's.
//!
//! Invariants
//! - what only volumes of Nomad's storage plugins have is refused by name.
use std::collections::BTreeMap;

use drover_core::types::{Access, Propagation, VolumeAsk, VolumeMount as Mount};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::from_spec::text;
use super::to_spec::{self, Conversion};
use super::unsupported::{asks, is_text, refusal};

/// What a group asks for. Whose name it is says the map around it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Volume {
    pub name: Option<String>,
    #[serde(rename = "Type")]
    pub kind: Option<String>,
    pub source: Option<String>,
    pub read_only: Option<bool>,
    pub access_mode: Option<String>,
    pub attachment_mode: Option<String>,
    pub mount_options: Json,
    pub per_alloc: Option<bool>,
    pub sticky: Option<bool>,
}

/// Where a task finds a volume.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeMount {
    pub volume: Option<String>,
    pub destination: Option<String>,
    pub read_only: Option<bool>,
    pub propagation_mode: Option<String>,
    #[serde(rename = "SELinuxLabel")]
    pub selinux_label: Option<String>,
}

impl Conversion {
    pub(super) fn volumes(
        &mut self,
        path: &str,
        volumes: Option<&BTreeMap<String, Volume>>,
    ) -> BTreeMap<String, VolumeAsk> {
        let volume = |(label, one): (&String, &Volume)| {
            let field = format!("{path}.volume[{label}]");
            (label.clone(), self.volume(&field, one))
        };
        volumes.into_iter().flatten().map(volume).collect()
    }

    fn volume(&mut self, field: &str, one: &Volume) -> VolumeAsk {
        let plugins = "the volumes of storage plugins are not supported yet; use type = \"host\", and \
                       lend a directory to jobs by client.host_volume in the agent's configuration";
        match one.kind.as_deref() {
            Some("host") => {}
            Some("csi") => self.wrong(format!("{field}.type"), plugins),
            Some("") | None => self.wrong(format!("{field}.type"), "is missing: type = \"host\""),
            Some(other) => {
                let why = format!("there is no type \"{other}\": type = \"host\"");
                self.wrong(format!("{field}.type"), why);
            }
        }
        for (name, is_asked) in [
            ("access_mode", is_text(one.access_mode.as_ref(), &[])),
            ("attachment_mode", is_text(one.attachment_mode.as_ref(), &[])),
            ("mount_options", asks(&one.mount_options)),
            ("per_alloc", one.per_alloc == Some(true)),
            ("sticky", one.sticky == Some(true)),
        ] {
            if is_asked {
                self.wrong(format!("{field}.{name}"), refusal(name));
            }
        }
        let source = to_spec::text(one.source.as_ref(), "");
        VolumeAsk { source, access: Access::of(one.read_only) }
    }

    pub(super) fn volume_mounts(
        &mut self,
        path: &str,
        mounts: Option<&Vec<VolumeMount>>,
    ) -> Vec<Mount> {
        let mounts = mounts.into_iter().flatten().enumerate();
        let mount = |(at, one): (usize, &VolumeMount)| {
            let field = format!("{path}.volume_mount[{at}]");
            if is_text(one.selinux_label.as_ref(), &[]) {
                self.wrong(format!("{field}.selinux_label"), refusal("selinux_label"));
            }
            let modes = [Propagation::Private, Propagation::HostToTask];
            let modes = modes.map(|mode| (mode.name(), mode));
            let (mode, usual) = (one.propagation_mode.as_ref(), Propagation::default());
            Mount {
                volume: to_spec::text(one.volume.as_ref(), ""),
                destination: to_spec::text(one.destination.as_ref(), ""),
                access: Access::of(one.read_only),
                propagation: self.word(&format!("{field}.propagation_mode"), mode, &modes, usual),
            }
        };
        mounts.map(mount).collect()
    }
}

impl Volume {
    pub(super) fn map(asks: &BTreeMap<String, VolumeAsk>) -> Option<BTreeMap<String, Self>> {
        let one = |(label, ask): (&String, &VolumeAsk)| {
            let volume = Self {
                name: text(label),
                kind: text("host"),
                source: text(&ask.source),
                read_only: Some(ask.access.is_read_only()),
                access_mode: text(""),
                attachment_mode: text(""),
                mount_options: Json::Null,
                per_alloc: Some(false),
                sticky: Some(false),
            };
            (label.clone(), volume)
        };
        (!asks.is_empty()).then(|| asks.iter().map(one).collect())
    }
}

impl VolumeMount {
    pub(super) fn list(mounts: &[Mount]) -> Option<Vec<Self>> {
        let one = |mount: &Mount| Self {
            volume: text(&mount.volume),
            destination: text(&mount.destination),
            read_only: Some(mount.access.is_read_only()),
            propagation_mode: text(mount.propagation.name()),
            selinux_label: text(""),
        };
        (!mounts.is_empty()).then(|| mounts.iter().map(one).collect())
    }
}
