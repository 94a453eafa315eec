//! Devices: what a node has, and what an alloc holds, as Nomad's clients read them.
use std::collections::BTreeMap;

use drover_core::types::{DeviceGrant, DeviceGroup};
use serde::Serialize;

/// Devices of one make on a node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Group {
    pub vendor: String,
    #[serde(rename = "Type")]
    pub kind: String,
    pub name: String,
    pub attributes: BTreeMap<String, Attribute>,
    pub instances: Vec<Instance>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Instance {
    #[serde(rename = "ID")]
    pub id: String,
    pub healthy: bool,
    pub health_description: String,
}

/// A text, or a whole number and its unit.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attribute {
    #[serde(rename = "Int", skip_serializing_if = "Option::is_none")]
    pub number: Option<i64>,
    #[serde(rename = "String", skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unit: String,
}

/// Devices of one make that a task has for itself.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Granted {
    pub vendor: String,
    #[serde(rename = "Type")]
    pub kind: String,
    pub name: String,
    #[serde(rename = "DeviceIDs")]
    pub device_ids: Vec<String>,
}

impl Attribute {
    fn of(value: &str) -> Self {
        let (number, unit) = value.split_once(' ').unwrap_or((value, ""));
        match number.parse() {
            Ok(number) => Self { number: Some(number), text: None, unit: unit.to_owned() },
            Err(_) => Self { number: None, text: Some(value.to_owned()), unit: String::new() },
        }
    }
}

impl Group {
    pub(super) fn of(group: &DeviceGroup) -> Self {
        let attributes = group.attributes.iter();
        let instances = group.instances.iter().map(|instance| Instance {
            id: instance.id.clone(),
            healthy: instance.healthy,
            health_description: String::new(),
        });
        Self {
            vendor: group.name.vendor.clone(),
            kind: group.name.kind.clone(),
            name: group.name.name.clone(),
            attributes: attributes
                .map(|(key, value)| (key.clone(), Attribute::of(value)))
                .collect(),
            instances: instances.collect(),
        }
    }
}

impl Granted {
    pub(super) fn of(grant: &DeviceGrant) -> Self {
        Self {
            vendor: grant.name.vendor.clone(),
            kind: grant.name.kind.clone(),
            name: grant.name.name.clone(),
            device_ids: grant.ids.clone(),
        }
    }
}
