//! Services of this node's allocs in the catalog of the Consul agent beside it.
//!
//! The core says what stands of each alloc; here that is kept, and Consul's agent is made to have the same,
//! again and again: whatever one of the two forgets comes back.
//!
//! Invariants
//! - nothing waits for Consul, and what it refuses keeps nothing else from being told;
//! - only what this node has put there is taken away, whoever else registers with the same Consul agent;
//! - nothing is taken away before the core has said what runs on from before.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drover_core::agent::Event;
use drover_core::time::go_duration;
use drover_core::types::{Advert, AdvertCheck, AllocId, CheckKind, NodeId, Uuid};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::api::job::status_word;
use crate::config;
use crate::consul::{Consul, Fault, Listed};
use crate::node::OwnNode;
use crate::run::{Core, Inbox};

/// What begins the id of each entry.
const PREFIX: &str = "_drover-task-";
/// Which node has put an entry there: several may share one Consul agent.
const NODE_KEY: &str = "drover-node";
/// How often both are compared though nothing has changed, and how soon again when Consul is away.
const PAUSE: Duration = Duration::from_secs(30);
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// By id, what is told to Consul.
type Entries = BTreeMap<String, Json>;

/// What stands of this node's allocs.
#[derive(Clone, Debug)]
pub struct Services {
    node: NodeId,
    stand: Arc<Mutex<BTreeMap<AllocId, Stand>>>,
    nudge: mpsc::Sender<()>,
}

/// What stands of one alloc.
#[derive(Clone, Debug)]
struct Stand {
    /// In which the core told it.
    round: u32,
    entries: Entries,
}

/// Says that something is another than before.
pub type Nudges = mpsc::Receiver<()>;

/// What is to be done next.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Due {
    /// Whatever the Consul agent may have become or forgotten.
    Everything,
    /// What stands is another than before.
    Changes,
    /// What Consul thinks may be.
    Checks,
}

/// What is known of the Consul agent.
#[derive(Debug, Default)]
struct Book {
    compared_at: Option<Instant>,
    /// What was told last, and taken in.
    told: Entries,
    /// What was told last, and refused.
    refused: Entries,
    /// In which round the checks of an alloc all passed when it was last asked.
    passing: BTreeMap<AllocId, u32>,
}

impl Services {
    /// Nothing stands yet.
    #[must_use]
    pub fn new(node: NodeId) -> (Self, Nudges) {
        let (nudge, nudges) = mpsc::channel(1);
        (Self { node, stand: Arc::default(), nudge }, nudges)
    }

    /// From now on these stand of the alloc. Waits for nothing.
    pub fn advertise(&self, (alloc, round): (AllocId, u32), uuid: Uuid, services: &[Advert]) {
        let entries: Entries =
            services.iter().map(|advert| entry(self.node, uuid, advert)).collect();
        let mut stand = self.stand();
        if entries.is_empty() {
            stand.remove(&alloc);
        } else {
            stand.insert(alloc, Stand { round, entries });
        }
        let _one_nudge_is_enough = self.nudge.try_send(());
    }

    /// Nothing of this node stands any more.
    pub fn clear(&self) {
        self.stand().clear();
    }

    /// Makes Consul's agent have what stands, until the agent ends; and tells of the Consul agent as of a
    /// part of the machine.
    pub async fn keep(
        self,
        consul: Arc<Consul>,
        mut nudges: Nudges,
        (core, node): (Core, OwnNode),
    ) {
        // When that is answered, the core has said what it found running.
        drop(core.view().await);
        let (mut book, mut due) = (Book::default(), Due::Everything);
        loop {
            let done = async {
                if due == Due::Everything {
                    look_at(&consul, &node).await?;
                }
                if due != Due::Checks {
                    self.compare(&consul, &mut book).await?;
                    book.compared_at = Some(Instant::now());
                }
                self.tell_checks(&consul, &core, &mut book).await
            };
            let done = done.await;
            consul.note(done.as_ref().err());
            let is_stale = book.compared_at.is_none_or(|at| PAUSE <= at.elapsed());
            due = match done {
                Ok(()) if !is_stale && self.has_checks() => Due::Checks,
                Ok(()) | Err(_) => Due::Everything,
            };
            let pause =
                if done.is_ok() && due == Due::Everything && !is_stale { PAUSE } else { PAUSE_MIN };
            tokio::select! {
                biased;
                _ = nudges.recv() => due = due.min(Due::Changes),
                () = sleep(pause) => (),
            }
        }
    }

    /// Takes away what does not stand any more, a last time.
    ///
    /// # Errors
    /// What Consul said, or why it did not.
    pub async fn withdraw(&self, consul: &Consul) -> Result<(), Fault> {
        let listed = consul.services().await?;
        self.remove_others(consul, (&listed, &self.entries())).await
    }

    /// Of what is listed there, what this node put there and what stands no more.
    async fn remove_others(
        &self,
        consul: &Consul,
        (listed, stand): (&Listed, &Entries),
    ) -> Result<(), Fault> {
        let ours = listed.iter().filter(|(id, meta)| id.starts_with(PREFIX) && self.is_ours(meta));
        for (id, _) in ours.filter(|(id, _)| !stand.contains_key(*id)) {
            consul.remove(id).await?;
        }
        Ok(())
    }

    async fn compare(&self, consul: &Consul, book: &mut Book) -> Result<(), Fault> {
        let (listed, stand) = (consul.services().await?, self.entries());
        self.remove_others(consul, (&listed, &stand)).await?;
        book.told.retain(|id, _| listed.contains_key(id));
        book.refused.retain(|id, _| stand.contains_key(id));
        for (id, body) in stand {
            if book.told.get(&id) == Some(&body) {
                continue;
            }
            match consul.register_service(&body).await {
                Ok(()) => {
                    book.refused.remove(&id);
                    book.told.insert(id, body);
                }
                Err(Fault::Refused(why)) => {
                    if book.refused.get(&id) != Some(&body) {
                        tracing::warn!("{why}: {id} stands in no catalog until that is mended");
                        book.refused.insert(id, body);
                    }
                }
                Err(away @ Fault::Away(_)) => return Err(away),
            }
        }
        Ok(())
    }

    /// The core hears of an alloc whose checks have all come to pass, or do not any more.
    async fn tell_checks(
        &self,
        consul: &Consul,
        core: &Core,
        book: &mut Book,
    ) -> Result<(), Fault> {
        if !self.has_checks() {
            return Ok(());
        }
        let checks = consul.checks().await?;
        let stand = self.stand().clone();
        book.passing.retain(|alloc, round| stand.get(alloc).is_some_and(|it| it.round == *round));
        for (alloc, Stand { round, entries }) in stand {
            let pass = entries.iter().all(|(id, body)| {
                let found = checks.get(id).map_or(&[][..], Vec::as_slice);
                check_count(body) <= found.len() && found.iter().all(|&passes| passes)
            });
            let is_news = pass != book.passing.contains_key(&alloc);
            if is_news && entries.values().any(|body| check_count(body) != 0) {
                let event = Event::ChecksChanged { alloc, round, pass };
                core.tell(Inbox::Event(event)).await;
                if pass {
                    book.passing.insert(alloc, round);
                } else {
                    book.passing.remove(&alloc);
                }
            }
        }
        Ok(())
    }

    fn has_checks(&self) -> bool {
        let stand = self.stand();
        stand.values().any(|stand| stand.entries.values().any(|body| check_count(body) != 0))
    }

    fn is_ours(&self, meta: &BTreeMap<String, String>) -> bool {
        meta.get(NODE_KEY).is_some_and(|node| *node == self.node.uuid().to_string())
    }

    fn entries(&self) -> Entries {
        self.stand().values().flat_map(|stand| stand.entries.clone()).collect()
    }

    /// It is whole between any two statements.
    fn stand(&self) -> MutexGuard<'_, BTreeMap<AllocId, Stand>> {
        self.stand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What constraints may ask of the Consul agent. It stays as it was while Consul is away.
async fn look_at(consul: &Consul, node: &OwnNode) -> Result<(), Fault> {
    let attributes = consul.attributes().await?;
    let node = node.clone();
    let told = tokio::task::spawn_blocking(move || node.set_consul(attributes));
    let _the_loop_may_have_ended = told.await;
    Ok(())
}

fn check_count(body: &Json) -> usize {
    body["Checks"].as_array().map_or(0, Vec::len)
}

/// An id, and what is told of it.
fn entry(node: NodeId, uuid: Uuid, advert: &Advert) -> (String, Json) {
    let whose = advert.task.as_deref().unwrap_or("group");
    let Advert { name, port_label, .. } = advert;
    let id = format!("{PREFIX}{uuid}-{whose}-{name}-{port_label}");
    let mut meta = advert.meta.clone();
    meta.insert(NODE_KEY.to_owned(), node.uuid().to_string());
    let checks: Vec<Json> = advert.checks.iter().map(check).collect();
    let body = json!({
        "ID": id,
        "Name": name,
        "Tags": advert.tags,
        "Meta": meta,
        "Address": advert.address,
        "Port": advert.port,
        "EnableTagOverride": advert.enable_tag_override,
        "Checks": checks,
    });
    (id, body)
}

fn check(advert: &AdvertCheck) -> Json {
    let AdvertCheck { check, address, port } = advert;
    let place = config::host_port(address, *port).unwrap_or_default();
    let mut body = json!({
        "Name": check.name,
        "Notes": check.notes,
        "Interval": go_duration(check.interval_ms),
        "Timeout": go_duration(check.timeout_ms),
        "TLSSkipVerify": check.tls_skip_verify,
        "TLSServerName": check.tls_server_name,
        "SuccessBeforePassing": check.success_before_passing,
        "FailuresBeforeCritical": check.failures_before_critical,
        "FailuresBeforeWarning": check.failures_before_warning,
    });
    if let Some(status) = check.initial_status {
        body["Status"] = status_word(status).into();
    }
    match check.kind {
        CheckKind::Http => {
            let protocol = if check.protocol.is_empty() { "http" } else { &check.protocol };
            let path = check.path.trim_start_matches('/');
            body["HTTP"] = format!("{protocol}://{place}/{path}").into();
            body["Method"] = check.method.clone().into();
            body["Header"] = json!(check.header);
            body["Body"] = check.body.clone().into();
        }
        CheckKind::Tcp => body["TCP"] = place.into(),
        CheckKind::Grpc => {
            let slash = if check.grpc_service.is_empty() { "" } else { "/" };
            body["GRPC"] = format!("{place}{slash}{}", check.grpc_service).into();
            body["GRPCUseTLS"] = check.grpc_use_tls.into();
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use drover_core::types::{Check, CheckStatus};

    use super::*;

    #[test]
    fn checks_are_told_in_consuls_words() {
        let of = |check: Check| {
            let address = "fd00::1".to_owned();
            super::check(&AdvertCheck { check, address, port: 80 })
        };
        let base = Check { interval_ms: 10_000, timeout_ms: 1_500, ..Check::default() };
        let http = of(Check {
            path: "/well?deep=1".into(),
            protocol: "https".into(),
            initial_status: Some(CheckStatus::Passing),
            ..base.clone()
        });
        assert_eq!(http["HTTP"], "https://[fd00::1]:80/well?deep=1");
        assert_eq!((&http["Interval"], &http["Timeout"]), (&json!("10s"), &json!("1.5s")));
        assert_eq!(http["Status"], "passing");
        let tcp = of(Check { kind: CheckKind::Tcp, ..base.clone() });
        assert_eq!((&tcp["TCP"], &tcp["HTTP"]), (&json!("[fd00::1]:80"), &Json::Null));
        let grpc = of(Check { kind: CheckKind::Grpc, grpc_service: "shop.Cart".into(), ..base });
        assert_eq!(grpc["GRPC"], "[fd00::1]:80/shop.Cart");
    }
}
