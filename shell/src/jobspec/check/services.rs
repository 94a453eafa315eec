//! What is wrong with services and their checks.
use std::collections::BTreeSet;

use drover_core::types::{AddressMode, CheckKind, Group, Service};

use super::Check;
use crate::jobspec::duration::show_ms;

/// Nomad's and Consul's least of a check's interval and timeout.
const CHECK_MS_MIN: u64 = 1_000;
/// A name is looked for in DNS: what is longer is no name there (RFC 1123).
const SERVICE_NAME_BYTES_MAX: usize = 63;

impl Check<'_> {
    /// Those of the group and of its tasks.
    pub(super) fn services(&mut self, group: &Group) {
        let mut seen = BTreeSet::new();
        for (at, service) in group.services.iter().enumerate() {
            let mut inner = self.inner(&format!("service[{at}]"));
            inner.service(group, service);
            if !service.task.is_empty() && group.tasks.iter().all(|task| task.name != service.task)
            {
                let why = format!("there is no task \"{}\" in the group", service.task);
                inner.wrong("task", why);
            }
            if !seen.insert((&service.name, &service.port)) {
                inner.wrong("name", twice(service));
            }
        }
        for task in &group.tasks {
            let mut seen = BTreeSet::new();
            for (at, service) in task.services.iter().enumerate() {
                let mut inner = self.inner(&format!("task[{}].service[{at}]", task.name));
                inner.service(group, service);
                if !service.task.is_empty() {
                    inner.wrong("task", "only a service of a group names a task: drop it");
                }
                if !seen.insert((&service.name, &service.port)) {
                    inner.wrong("name", twice(service));
                }
            }
        }
    }

    fn service(&mut self, group: &Group, service: &Service) {
        if !service.name.contains("${") && !is_name(&service.name) {
            let why = format!(
                "\"{}\" is looked for in DNS: at most {SERVICE_NAME_BYTES_MAX} letters, digits and -, \
                 with no - at its ends",
                service.name
            );
            self.wrong("name", why);
        }
        self.port(group, &service.port);
        if !service.address.is_empty() && service.address_mode != AddressMode::Auto {
            self.wrong("address", "is told as it is: drop address_mode, or make it \"auto\"");
        }
        for (at, check) in service.checks.iter().enumerate() {
            let mut inner = self.inner(&format!("check[{at}]"));
            inner.port(group, &check.port);
            if check.port.is_empty() && service.port.is_empty() {
                inner.wrong("port", "names the port that is asked, if the service names none");
            }
            inner.asked(check);
        }
    }

    fn port(&mut self, group: &Group, port: &str) {
        let is_label = group.network.ports.iter().any(|ask| ask.label == port);
        let is_number = port.parse::<u16>().is_ok_and(|port| port != 0);
        if !port.is_empty() && !port.contains("${") && !is_label && !is_number {
            let why = format!(
                "\"{port}\" is no port of the group: write network {{ port \"{port}\" {{}} }} in it"
            );
            self.wrong("port", why);
        }
    }

    fn asked(&mut self, check: &drover_core::types::Check) {
        let least = show_ms(CHECK_MS_MIN);
        if check.interval_ms < CHECK_MS_MIN {
            self.wrong("interval", format!("must be set, and at least {least}"));
        }
        if check.timeout_ms < CHECK_MS_MIN {
            self.wrong("timeout", format!("must be set, and at least {least}"));
        }
        if check.kind == CheckKind::Http {
            if check.path.is_empty() {
                self.wrong("path", "says what is asked for: path = \"/health\"");
            } else if check.path.contains("://") {
                self.wrong("path", "is the part behind the port, such as \"/health\"");
            }
            if !["", "http", "https"].contains(&check.protocol.as_str()) {
                self.wrong("protocol", "is \"http\" or \"https\"");
            }
        } else {
            let of_http = [
                ("path", !check.path.is_empty()),
                ("method", !check.method.is_empty()),
                ("header", !check.header.is_empty()),
                ("body", !check.body.is_empty()),
                ("protocol", !check.protocol.is_empty()),
            ];
            for (name, _) in of_http.into_iter().filter(|(_, is_set)| *is_set) {
                self.wrong(name, "is for checks with type = \"http\": drop it");
            }
        }
        if check.kind != CheckKind::Grpc && (check.grpc_use_tls || !check.grpc_service.is_empty()) {
            self.wrong("type", "grpc_service and grpc_use_tls are for type = \"grpc\"");
        }
        if check.failures_before_critical < check.failures_before_warning {
            let why = "must not be more than failures_before_critical";
            self.wrong("failures_before_warning", why);
        }
    }
}

fn is_name(name: &str) -> bool {
    let is_word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let has_ends = !name.starts_with('-') && !name.ends_with('-');
    is_word && has_ends && !name.is_empty() && name.len() <= SERVICE_NAME_BYTES_MAX
}

fn twice(service: &Service) -> String {
    let Service { name, port, .. } = service;
    let port = if port.is_empty() { "no port".to_owned() } else { format!("port \"{port}\"") };
    format!("there are two services \"{name}\" with {port}: give one another name")
}
