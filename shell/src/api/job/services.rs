//! Services and their checks in the API's shape, from the core's and to it.
//!
//! Invariants
//! - a service that stands in no catalog that Drover knows is refused, never left out.
use drover_core::types::{self, AddressMode, CheckKind, CheckStatus};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::from_spec::{ns, some, text as told};
use super::to_spec::{Conversion, text, texts};
use super::unsupported::{Refusals, asks, is_text};
use super::{Ns, Texts};

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Service {
    pub name: Option<String>,
    pub provider: Option<String>,
    pub port_label: Option<String>,
    pub tags: Option<Vec<String>>,
    pub canary_tags: Option<Vec<String>>,
    pub meta: Option<Texts>,
    pub canary_meta: Option<Texts>,
    pub task_name: Option<String>,
    pub address_mode: Option<String>,
    pub address: Option<String>,
    pub enable_tag_override: Option<bool>,
    pub checks: Option<Vec<Check>>,
    pub on_update: Option<String>,
    pub cluster: Option<String>,
    pub kind: Option<String>,
    pub check_restart: Json,
    pub connect: Json,
    pub identity: Json,
    pub tagged_addresses: Json,
    pub weights: Json,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Check {
    pub name: Option<String>,
    #[serde(rename = "Type")]
    pub kind: Option<String>,
    pub path: Option<String>,
    pub method: Option<String>,
    pub header: Option<std::collections::BTreeMap<String, Vec<String>>>,
    pub body: Option<String>,
    pub protocol: Option<String>,
    pub port_label: Option<String>,
    pub interval: Option<Ns>,
    pub timeout: Option<Ns>,
    #[serde(rename = "GRPCService")]
    pub grpc_service: Option<String>,
    #[serde(rename = "GRPCUseTLS")]
    pub grpc_use_tls: Option<bool>,
    #[serde(rename = "TLSSkipVerify")]
    pub tls_skip_verify: Option<bool>,
    #[serde(rename = "TLSServerName")]
    pub tls_server_name: Option<String>,
    pub success_before_passing: Option<i64>,
    pub failures_before_critical: Option<i64>,
    pub failures_before_warning: Option<i64>,
    pub initial_status: Option<String>,
    pub notes: Option<String>,
    pub on_update: Option<String>,
    pub address_mode: Option<String>,
    pub task_name: Option<String>,
    pub command: Option<String>,
    pub args: Json,
    pub expose: Option<bool>,
    pub check_restart: Json,
}

/// Where a service is written.
#[derive(Clone, Copy)]
pub(super) struct Bearer<'a> {
    pub(super) job: &'a str,
    pub(super) group: &'a str,
    pub(super) task: Option<&'a str>,
}

impl Bearer<'_> {
    /// What a service is called that has no name.
    fn name(self) -> String {
        let parts = [Some(self.job), Some(self.group), self.task];
        parts.into_iter().flatten().collect::<Vec<_>>().join("-")
    }

    /// Nomad's words for parts of names.
    fn fill_in(self, name: &str) -> String {
        name.replace("${JOB}", self.job)
            .replace("${TASKGROUP}", self.group)
            .replace("${TASK}", self.task.unwrap_or("group"))
            .replace("${BASE}", &self.name())
    }
}

impl Conversion {
    pub(super) fn services(
        &mut self,
        path: &str,
        bearer: Bearer<'_>,
        list: Option<&Vec<Service>>,
    ) -> Vec<types::Service> {
        let mut made = Vec::new();
        for (at, one) in list.into_iter().flatten().enumerate() {
            made.push(self.service(&format!("{path}.service[{at}]"), bearer, one));
        }
        made
    }

    fn service(&mut self, path: &str, bearer: Bearer<'_>, one: &Service) -> types::Service {
        let provider = text(one.provider.as_ref(), "consul");
        if provider != "consul" {
            let why = format!(
                "Drover keeps no catalog of its own, so \"{provider}\" is no provider: write provider = \
                 \"consul\", or leave it out, and set consul {{ address = ... }} on the agents"
            );
            self.wrong(format!("{path}.provider"), why);
        }
        let mut refusals = Vec::new();
        Refusals { path, list: &mut refusals }.each(&[
            ("check_restart", asks(&one.check_restart)),
            ("connect", asks(&one.connect)),
            ("identity", asks(&one.identity)),
            ("tagged_addresses", asks(&one.tagged_addresses)),
            ("weights", asks(&one.weights)),
            ("cluster", is_text(one.cluster.as_ref(), &["default"])),
            ("kind", is_text(one.kind.as_ref(), &[])),
            ("on_update", is_text(one.on_update.as_ref(), &["require_healthy"])),
        ]);
        refusals.into_iter().for_each(|problem| self.wrong(problem.field, problem.why));
        let task = text(one.task_name.as_ref(), "");
        // Nomad's clients name the task again in each service of a task.
        let task = if bearer.task == Some(&*task) { String::new() } else { task };
        let name = one.name.as_ref().filter(|name| !name.is_empty());
        let name = name.map_or_else(|| bearer.name(), |name| bearer.fill_in(name));
        let checks = one.checks.iter().flatten().enumerate();
        let checks = checks
            .map(|(at, check)| self.check(&format!("{path}.check[{at}]"), &name, check))
            .collect();
        types::Service {
            port: text(one.port_label.as_ref(), ""),
            tags: one.tags.clone().unwrap_or_default(),
            canary_tags: one.canary_tags.clone().unwrap_or_default(),
            meta: texts(one.meta.as_ref()),
            canary_meta: texts(one.canary_meta.as_ref()),
            task,
            address_mode: self.address_mode(path, one.address_mode.as_ref()),
            address: text(one.address.as_ref(), ""),
            enable_tag_override: one.enable_tag_override.unwrap_or_default(),
            checks,
            name,
        }
    }

    fn address_mode(&mut self, path: &str, word: Option<&String>) -> AddressMode {
        let field = format!("{path}.address_mode");
        if let Some(word) = word.filter(|word| matches!(word.as_str(), "alloc" | "driver")) {
            let why = format!(
                "\"{word}\" is for tasks with a network of their own, and all live in their node's: use \
                 \"host\" or \"auto\""
            );
            self.wrong(field, why);
            return AddressMode::Auto;
        }
        let words = [("auto", AddressMode::Auto), ("host", AddressMode::Host)];
        self.word(&field, word, &words, AddressMode::Auto)
    }

    fn check(&mut self, path: &str, service: &str, one: &Check) -> types::Check {
        let mut refusals = Vec::new();
        Refusals { path, list: &mut refusals }.each(&[
            ("check_restart", asks(&one.check_restart)),
            ("expose", one.expose == Some(true)),
            ("command", is_text(one.command.as_ref(), &[])),
            ("args", asks(&one.args)),
            ("task", is_text(one.task_name.as_ref(), &[])),
            ("address_mode", is_text(one.address_mode.as_ref(), &["auto", "host"])),
            ("on_update", is_text(one.on_update.as_ref(), &["require_healthy"])),
        ]);
        refusals.into_iter().for_each(|problem| self.wrong(problem.field, problem.why));
        let field = |name: &str| format!("{path}.{name}");
        let states = [
            ("passing", Some(CheckStatus::Passing)),
            ("warning", Some(CheckStatus::Warning)),
            ("critical", Some(CheckStatus::Critical)),
        ];
        let word = |given: &Option<String>| text(given.as_ref(), "");
        types::Check {
            name: text(one.name.as_ref(), &format!("service: \"{service}\" check")),
            kind: self.check_kind(&field("type"), one.kind.as_ref()),
            port: word(&one.port_label),
            path: word(&one.path),
            method: word(&one.method),
            header: one.header.clone().unwrap_or_default(),
            body: word(&one.body),
            protocol: word(&one.protocol),
            grpc_service: word(&one.grpc_service),
            grpc_use_tls: one.grpc_use_tls.unwrap_or_default(),
            tls_skip_verify: one.tls_skip_verify.unwrap_or_default(),
            tls_server_name: word(&one.tls_server_name),
            interval_ms: self.ms(&field("interval"), one.interval, 0),
            timeout_ms: self.ms(&field("timeout"), one.timeout, 0),
            success_before_passing: self.number(
                &field("success_before_passing"),
                one.success_before_passing,
                0,
            ),
            failures_before_critical: self.number(
                &field("failures_before_critical"),
                one.failures_before_critical,
                0,
            ),
            failures_before_warning: self.number(
                &field("failures_before_warning"),
                one.failures_before_warning,
                0,
            ),
            initial_status: self.word(
                &field("initial_status"),
                one.initial_status.as_ref(),
                &states,
                None,
            ),
            notes: word(&one.notes),
        }
    }

    fn check_kind(&mut self, field: &str, word: Option<&String>) -> CheckKind {
        match text(word, "").as_str() {
            "" => self.wrong(field, "says what is asked: \"http\", \"tcp\" or \"grpc\""),
            "script" => {
                let why = "a check that runs in the task is not supported yet: let the task answer one of \
                           \"http\", \"tcp\" or \"grpc\"";
                self.wrong(field, why);
            }
            _ => {}
        }
        let words = [("http", CheckKind::Http), ("tcp", CheckKind::Tcp), ("grpc", CheckKind::Grpc)];
        let word = word.filter(|word| *word != "script");
        self.word(field, word, &words, CheckKind::Http)
    }
}

impl Service {
    pub(super) fn list(services: &[types::Service]) -> Option<Vec<Self>> {
        (!services.is_empty()).then(|| services.iter().map(Self::of).collect())
    }

    fn of(service: &types::Service) -> Self {
        let listed = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        let checks = service.checks.iter().map(Check::of).collect::<Vec<_>>();
        Self {
            name: told(&service.name),
            provider: told("consul"),
            port_label: told(&service.port),
            tags: listed(&service.tags),
            canary_tags: listed(&service.canary_tags),
            meta: some(&service.meta),
            canary_meta: some(&service.canary_meta),
            task_name: told(&service.task),
            address_mode: told(match service.address_mode {
                AddressMode::Auto => "auto",
                AddressMode::Host => "host",
            }),
            address: told(&service.address),
            enable_tag_override: Some(service.enable_tag_override),
            checks: (!checks.is_empty()).then_some(checks),
            on_update: told("require_healthy"),
            cluster: told("default"),
            ..Self::default()
        }
    }
}

impl Check {
    fn of(check: &types::Check) -> Self {
        Self {
            name: told(&check.name),
            kind: told(kind_word(check.kind)),
            path: told(&check.path),
            method: told(&check.method),
            header: (!check.header.is_empty()).then(|| check.header.clone()),
            body: told(&check.body),
            protocol: told(&check.protocol),
            port_label: told(&check.port),
            interval: ns(check.interval_ms),
            timeout: ns(check.timeout_ms),
            grpc_service: told(&check.grpc_service),
            grpc_use_tls: Some(check.grpc_use_tls),
            tls_skip_verify: Some(check.tls_skip_verify),
            tls_server_name: told(&check.tls_server_name),
            success_before_passing: Some(i64::from(check.success_before_passing)),
            failures_before_critical: Some(i64::from(check.failures_before_critical)),
            failures_before_warning: Some(i64::from(check.failures_before_warning)),
            initial_status: told(check.initial_status.map_or("", status_word)),
            notes: told(&check.notes),
            on_update: told("require_healthy"),
            address_mode: told(""),
            task_name: told(""),
            command: told(""),
            expose: Some(false),
            ..Self::default()
        }
    }
}

const fn kind_word(kind: CheckKind) -> &'static str {
    match kind {
        CheckKind::Http => "http",
        CheckKind::Tcp => "tcp",
        CheckKind::Grpc => "grpc",
    }
}

/// The word of job files and of Consul.
#[must_use]
pub const fn status_word(status: CheckStatus) -> &'static str {
    match status {
        CheckStatus::Passing => "passing",
        CheckStatus::Warning => "warning",
        CheckStatus::Critical => "critical",
    }
}
