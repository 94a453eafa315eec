//! What of a job others may find in Consul's catalog: the blocks `service` of a job file.
//!
//! Invariants
//! - texts keep their `${...}`: what these mean is known where the alloc runs (`client/services`);
//! - of one group no two services share name, port and bearer.
use ::alloc::collections::BTreeMap;
use ::alloc::string::String;
use ::alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::job::Group;

/// The attribute of nodes with a Consul agent beside them: only there can services stand.
pub const CONSUL_VERSION: &str = "consul.version";

/// One service of a group or a task.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Service {
    pub name: String,
    /// The label of a port of the group, or a number; empty: none.
    pub port: String,
    pub tags: Vec<String>,
    /// Of a canary, instead of `tags`; empty: the same.
    pub canary_tags: Vec<String>,
    pub meta: BTreeMap<String, String>,
    /// Of a canary, instead of `meta`; empty: the same.
    pub canary_meta: BTreeMap<String, String>,
    /// Of a service of a group: it stands while this task runs; empty: while any does.
    pub task: String,
    pub address_mode: AddressMode,
    /// What is told instead of the node's address; empty: nothing.
    pub address: String,
    /// Others may change its tags in the catalog.
    pub enable_tag_override: bool,
    pub checks: Vec<Check>,
}

/// Whose address is told. Tasks live in their node's own network, so both come to the same.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum AddressMode {
    #[default]
    Auto,
    Host,
}

/// How Consul finds out whether a service is well.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Check {
    pub name: String,
    pub kind: CheckKind,
    /// As `Service::port`; empty: the service's.
    pub port: String,
    /// Of `http`.
    pub path: String,
    /// Of `http`; empty: GET.
    pub method: String,
    /// Of `http`.
    pub header: BTreeMap<String, Vec<String>>,
    /// Of `http`.
    pub body: String,
    /// Of `http`: `http` or `https`; empty: http.
    pub protocol: String,
    /// Of `grpc`: what is asked about; empty: the server as a whole.
    pub grpc_service: String,
    pub grpc_use_tls: bool,
    pub tls_skip_verify: bool,
    pub tls_server_name: String,
    pub interval_ms: u64,
    pub timeout_ms: u64,
    pub success_before_passing: u32,
    pub failures_before_critical: u32,
    pub failures_before_warning: u32,
    /// Until it was asked for the first time; `None`: as Consul has it, critical.
    pub initial_status: Option<CheckStatus>,
    pub notes: String,
}

/// What is asked.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum CheckKind {
    #[default]
    Http,
    Tcp,
    Grpc,
}

/// What Consul thinks of a service.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum CheckStatus {
    Passing,
    Warning,
    Critical,
}

/// A service of an alloc as it stands in the catalog. Everything is resolved.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Advert {
    /// The task whose service it is; `None`: the group's.
    pub task: Option<String>,
    pub name: String,
    /// As the job has it: it tells services of one name apart.
    pub port_label: String,
    pub tags: Vec<String>,
    pub meta: BTreeMap<String, String>,
    pub address: String,
    /// Zero: none.
    pub port: u16,
    pub enable_tag_override: bool,
    pub checks: Vec<AdvertCheck>,
}

/// A check of a service in the catalog.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct AdvertCheck {
    pub check: Check,
    /// The node's, whatever the service tells.
    pub address: String,
    pub port: u16,
}

impl Group {
    /// Every service of it and of its tasks.
    pub fn all_services(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().chain(self.tasks.iter().flat_map(|task| &task.services))
    }

    /// Whether somebody asks its services whether they are well.
    #[must_use]
    pub fn has_checks(&self) -> bool {
        self.all_services().any(|service| !service.checks.is_empty())
    }

    /// Whether an alloc of it has anything to put into a catalog.
    #[must_use]
    pub fn has_services(&self) -> bool {
        self.all_services().next().is_some()
    }
}
