//! What a server needs to know, and whom agents look for.
//!
//! Invariants
//! - a server founds a cluster or joins one.
use std::collections::BTreeMap;
use std::path::Path;

use drover_core::agent::LeadConfig;
use drover_core::limits::{HEARTBEAT_GRACE_MS, HEARTBEAT_TTL_MS, TAG_BYTES_MAX};

use super::{Join, RETRY_INTERVAL_MS, Resolution, Server};
use crate::api::agent::is_own_tag;
use crate::config::written::{Written, WrittenGarbage, WrittenJoin};
use crate::config::{PROGRAM, address};

impl Resolution<'_> {
    pub(super) fn server(&mut self, all: &Written, data_dir: &Path, port: u16) -> Server {
        let written = &all.server;
        let bootstrap_expect = written.bootstrap_expect.unwrap_or(0);
        let join = self.join("server", &written.join, &[], port);
        let looks_up = all.consul.as_ref().is_some_and(|consul| consul.server_joins);
        if bootstrap_expect == 0 && !join.is_any() && !looks_up {
            self.wrong(
                "server.bootstrap_expect",
                "is missing: say how many servers found the cluster, \
                or name one to join: server_join { retry_join = [\"...\"] }",
            );
        }
        if bootstrap_expect != 0 && bootstrap_expect.is_multiple_of(2) {
            self.notes.push(format!("server.bootstrap_expect is {bootstrap_expect}: an odd number bears as many failures with one server less"));
        }
        Server {
            bootstrap_expect,
            election_priority: written.election_priority.unwrap_or_default(),
            tags: self.tags(&written.tags),
            data_dir: written.data_dir.clone().unwrap_or_else(|| data_dir.join("server")),
            join,
            heartbeat_ttl_ms: written.min_heartbeat_ttl_ms.unwrap_or(HEARTBEAT_TTL_MS),
            heartbeat_grace_ms: written.heartbeat_grace_ms.unwrap_or(HEARTBEAT_GRACE_MS),
            scheduler: written.scheduler.unwrap_or_default(),
            autopilot: all.autopilot.unwrap_or_default(),
            lead: lead(written.garbage),
            introduction: written.introduction.unwrap_or_default(),
        }
    }

    fn tags(&mut self, written: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let bytes: usize = written.iter().map(|(name, value)| name.len() + value.len()).sum();
        if TAG_BYTES_MAX < bytes {
            let why = format!(
                "holds {bytes} bytes, and all servers tell each other of them: at most {TAG_BYTES_MAX}"
            );
            self.wrong("server.tags", &why);
        }
        for name in written.keys().filter(|name| is_own_tag(name)) {
            let why = "is what the server says of itself already: choose another name";
            self.wrong(&format!("server.tags[\"{name}\"]"), why);
        }
        written.clone()
    }

    pub(super) fn join(
        &mut self,
        block: &str,
        written: &WrittenJoin,
        more: &[String],
        port: u16,
    ) -> Join {
        let mut programs = Vec::new();
        let mut addresses = |list: &[String], name: &str| {
            let mut made = Vec::with_capacity(list.len());
            for text in list {
                if let Some(program) = text.strip_prefix(PROGRAM) {
                    programs.push(program.to_owned());
                    continue;
                }
                match address::host_port(text, port) {
                    Some(address) if made.contains(&address) => {}
                    Some(address) => made.push(address),
                    None => self.wrong(
                        &format!("{block}.{name}"),
                        format!("\"{text}\" is no address of a server"),
                    ),
                }
            }
            made
        };
        let start = addresses(&written.start_join, "start_join");
        let retry = addresses(&[more, &written.retry_join].concat(), "retry_join");
        let old = start.iter().chain(&retry).find(|address| address.ends_with(":4648"));
        if let Some(old) = old {
            self.notes.push(format!(
                "{old}: 4648 is the gossip port of Nomad; agents of Drover listen on {port}"
            ));
        }
        Join {
            start,
            retry,
            programs,
            retry_interval_ms: written.retry_interval_ms.unwrap_or(RETRY_INTERVAL_MS),
            retry_max: written.retry_max.unwrap_or(0),
        }
    }
}

fn lead(garbage: WrittenGarbage) -> LeadConfig {
    let usual = LeadConfig::default();
    LeadConfig {
        garbage_collect_ms: garbage.every_ms.unwrap_or(usual.garbage_collect_ms),
        evals_kept_ms: garbage.evals_kept_ms.unwrap_or(usual.evals_kept_ms),
        jobs_kept_ms: garbage.jobs_kept_ms.unwrap_or(usual.jobs_kept_ms),
        nodes_kept_ms: garbage.nodes_kept_ms.unwrap_or(usual.nodes_kept_ms),
        ..usual
    }
}
