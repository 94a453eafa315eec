//! Blocks `service` and the blocks `check` in them, as they were written.
//!
//! Invariants
//! - every key that a job file of Nomad may have is read or refused by name.
use std::collections::BTreeMap;

use super::ns;
use crate::api::job::{Check, Service};
use crate::jobspec::reader::Reader;
use crate::jobspec::value::Value;

pub(super) fn services(reader: &Reader<'_>) -> Option<Vec<Service>> {
    let list: Vec<Service> = reader.numbered("service").into_iter().map(service).collect();
    (!list.is_empty()).then_some(list)
}

fn service(reader: Reader<'_>) -> Service {
    if let Some(label) = reader.block.labels.first() {
        let hint = "write name = \"NAME\" in the block";
        reader.wrong(&label.place, "`service` has no label".to_owned(), hint);
    }
    let checks: Vec<Check> = reader.numbered("check").into_iter().map(check).collect();
    let service = Service {
        name: reader.text("name"),
        provider: reader.text("provider"),
        port_label: reader.text("port"),
        tags: reader.texts("tags"),
        canary_tags: reader.texts("canary_tags"),
        meta: reader.map("meta"),
        canary_meta: reader.map("canary_meta"),
        task_name: reader.text("task"),
        address_mode: reader.text("address_mode"),
        address: reader.text("address"),
        enable_tag_override: reader.flag("enable_tag_override"),
        checks: (!checks.is_empty()).then_some(checks),
        on_update: reader.text("on_update"),
        cluster: reader.text("cluster"),
        ..Service::default()
    };
    reader.finish(&["check_restart", "connect", "identity", "tagged_addresses", "weights", "kind"]);
    service
}

fn check(reader: Reader<'_>) -> Check {
    let check = Check {
        name: reader.text("name"),
        kind: reader.text("type"),
        path: reader.text("path"),
        method: reader.text("method"),
        header: header(&reader),
        body: reader.text("body"),
        protocol: reader.text("protocol"),
        port_label: reader.text("port"),
        interval: ns(&reader, "interval"),
        timeout: ns(&reader, "timeout"),
        grpc_service: reader.text("grpc_service"),
        grpc_use_tls: reader.flag("grpc_use_tls"),
        tls_skip_verify: reader.flag("tls_skip_verify"),
        tls_server_name: reader.text("tls_server_name"),
        success_before_passing: reader.int("success_before_passing"),
        failures_before_critical: reader.int("failures_before_critical"),
        failures_before_warning: reader.int("failures_before_warning"),
        initial_status: reader.text("initial_status"),
        notes: reader.text("notes"),
        on_update: reader.text("on_update"),
        address_mode: reader.text("address_mode"),
        expose: reader.flag("expose"),
        ..Check::default()
    };
    reader.finish(&["command", "args", "check_restart", "task"]);
    check
}

/// `header { NAME = ["one", "two"] }`.
fn header(reader: &Reader<'_>) -> Option<BTreeMap<String, Vec<String>>> {
    let Value::Object(map) = reader.object("header")? else { return None };
    let mut made = BTreeMap::new();
    for (name, value) in map {
        let values = match &value {
            Value::List(list) => list.iter().map(Value::to_text).collect(),
            _ => None,
        };
        match values {
            Some(values) => drop(made.insert(name, values)),
            None => {
                let why = format!("`header.{name}` must be a list of strings");
                reader.wrong(&reader.block.place, why, "such as [\"application/json\"]");
            }
        }
    }
    Some(made)
}
