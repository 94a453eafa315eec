//! How hosts, jobs and allocs are called: `s1`, `c4`, `web.main[0] (1f0a3c7e)`.
//!
//! Invariants
//! - a host is called one name for the whole run; a server that lost its disk gets a stroke: `s1'`.
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use drover_core::state::State;
use drover_core::types::{AllocId, Assignment, JobId, NodeId, ServerId, TaskKey, TaskStart, Uuid};
use drover_core::wire::PeerId;

use crate::network::HostId;

/// Digits of a UUID that are shown.
const SHORT_DIGITS: usize = 8;

/// How an alloc is called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AllocName {
    /// The first digits of what users see.
    pub short: String,
    pub job: Arc<str>,
    /// `job.group[ordinal]`.
    pub name: String,
}

/// Everything that has a name.
#[derive(Debug, Default)]
pub struct Names {
    hosts: Vec<Arc<str>>,
    peers: BTreeMap<PeerId, (HostId, Arc<str>)>,
    allocs: BTreeMap<AllocId, AllocName>,
    jobs: BTreeMap<JobId, Arc<str>>,
}

impl Names {
    /// The host at `id` is called `name`, and speaks as `peer` now.
    pub fn meet(&mut self, id: HostId, name: &str, peer: PeerId) {
        while self.hosts.len() <= id.0 {
            self.hosts.push("".into());
        }
        self.hosts[id.0] = name.into();
        if !self.peers.contains_key(&peer) {
            let before = self.peers.values().filter(|(host, _)| *host == id).count();
            let called = format!("{name}{}", "'".repeat(before));
            self.peers.insert(peer, (id, called.into()));
        }
    }

    /// What the leader's tables say of an alloc.
    pub fn learn_alloc(&mut self, state: &State, id: AllocId) {
        let Some(alloc) = state.alloc(id) else { return };
        let Some(job) = state.job(alloc.job) else { return };
        let version = job.versions.iter().find(|version| version.version == alloc.version);
        let spec = &version.unwrap_or(job.newest()).spec;
        let group = spec.groups.get(usize::from(alloc.group)).map_or("?", |group| &group.name);
        self.jobs.insert(alloc.job, spec.id.as_str().into());
        self.name_alloc(id, state.uuid(id.0), (&spec.id, group, alloc.ordinal));
    }

    /// What the leader's tables say of a job.
    pub fn learn_job(&mut self, state: &State, id: JobId) {
        if let Some(job) = state.job(id) {
            self.jobs.insert(id, job.newest().spec.id.as_str().into());
        }
    }

    /// What a client is told to run.
    pub fn learn_assignment(&mut self, assignment: &Assignment) {
        for run in &assignment.runs {
            let at = usize::try_from(run.spec).unwrap_or(usize::MAX);
            if let Some(spec) = assignment.specs.get(at) {
                self.name_alloc(run.id, run.uuid, (&spec.job_id, &spec.group.name, run.ordinal));
            }
        }
    }

    /// What a driver is told to start: the ordinal is not in it.
    pub fn learn_start(&mut self, id: AllocId, start: &TaskStart) {
        self.allocs.entry(id).or_insert_with(|| AllocName {
            short: short_of(start.uuid),
            job: start.spec.job_id.as_str().into(),
            name: format!("{}.{}", start.spec.job_id, start.spec.group.name),
        });
    }

    fn name_alloc(&mut self, id: AllocId, uuid: Uuid, (job, group, ordinal): (&str, &str, u32)) {
        let name = format!("{job}.{group}[{ordinal}]");
        self.allocs.insert(id, AllocName { short: short_of(uuid), job: job.into(), name });
    }

    /// Every host, in order.
    pub fn hosts(&self) -> impl Iterator<Item = (HostId, &str)> {
        self.hosts.iter().enumerate().map(|(at, name)| (HostId(at), &**name))
    }

    /// How many hosts there are.
    #[must_use]
    pub fn host_count(&self) -> usize {
        self.hosts.len()
    }

    /// A host's name.
    #[must_use]
    pub fn host(&self, id: HostId) -> &str {
        self.hosts.get(id.0).map_or("?", |name| name)
    }

    /// The host that speaks, or spoke, as `peer`.
    #[must_use]
    pub fn host_of(&self, peer: PeerId) -> Option<HostId> {
        let known = |peer| self.peers.get(&peer).map(|(host, _)| *host);
        known(peer).or_else(|| match peer {
            PeerId::Server(id) => known(PeerId::Foreign(id)),
            PeerId::Foreign(id) => known(PeerId::Server(id)),
            PeerId::Client(_) => None,
        })
    }

    /// Whether jobs run there.
    #[must_use]
    pub fn is_client(&self, id: HostId) -> bool {
        let here = |(peer, (host, _)): (&PeerId, &(HostId, Arc<str>))| {
            *host == id && matches!(peer, PeerId::Client(_))
        };
        self.peers.iter().any(here)
    }

    /// A server's name.
    #[must_use]
    pub fn server(&self, id: ServerId) -> String {
        let named = |peer| self.peers.get(&peer);
        let known = named(PeerId::Server(id)).or_else(|| named(PeerId::Foreign(id)));
        known.map_or_else(|| format!("server {}", id.0), |(_, name)| name.to_string())
    }

    /// A client node's name.
    #[must_use]
    pub fn node(&self, id: NodeId) -> String {
        let known = self.peers.get(&PeerId::Client(id));
        known.map_or_else(|| format!("node {}", id.uuid()), |(_, name)| name.to_string())
    }

    /// A job's name.
    #[must_use]
    pub fn job(&self, id: JobId) -> Arc<str> {
        self.jobs.get(&id).cloned().unwrap_or_else(|| format!("job {}", id.0).into())
    }

    /// How the alloc is called, if anyone said.
    #[must_use]
    pub fn known_alloc(&self, id: AllocId) -> Option<&AllocName> {
        self.allocs.get(&id)
    }

    /// An alloc's name.
    #[must_use]
    pub fn alloc(&self, id: AllocId) -> String {
        match self.allocs.get(&id) {
            Some(alloc) => format!("{} ({})", alloc.name, alloc.short),
            None => format!("alloc {}", id.0),
        }
    }

    /// One attempt of a task.
    #[must_use]
    pub fn task(&self, key: TaskKey) -> String {
        let task = if key.task == 0 { String::new() } else { format!(" task {}", key.task) };
        let attempt =
            if key.attempt == 0 { String::new() } else { format!(" attempt {}", key.attempt + 1) };
        format!("{}{task}{attempt}", self.alloc(key.alloc))
    }

    /// A text of the program's own, with names instead of numbers.
    #[must_use]
    pub fn say(&self, text: &str) -> String {
        let mut said = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, name, after)) = self.first_number(rest) {
            said.push_str(before);
            said.push_str(&name);
            rest = after;
        }
        said.push_str(rest);
        said.split(' ').map(|word| self.say_server(word)).collect::<Vec<_>>().join(" ")
    }

    /// Servers as checkers call them, `s101`, by the names that their hosts have.
    fn say_server<'a>(&self, word: &'a str) -> Cow<'a, str> {
        let number = word.strip_prefix('s').and_then(|digits| digits.parse().ok());
        let peer = number.map(|number| PeerId::Server(ServerId(number)));
        match peer.and_then(|peer| self.peers.get(&peer)) {
            Some((_, name)) => name.to_string().into(),
            None => word.into(),
        }
    }

    /// The first `Type(number)` of `text`: what stands before, its name, what stands after.
    fn first_number<'a>(&self, text: &'a str) -> Option<(&'a str, String, &'a str)> {
        for (open, _) in text.match_indices('(') {
            let digits = text[open + 1..].bytes().take_while(u8::is_ascii_digit).count();
            let close = open + 1 + digits;
            if digits == 0 || text[close..].bytes().next() != Some(b')') {
                continue;
            }
            let is_word = |c: char| c.is_ascii_alphanumeric();
            let start = text[..open].rfind(|c| !is_word(c)).map_or(0, |at| at + 1);
            let number: u128 = text[open + 1..close].parse().ok()?;
            let small = u64::try_from(number).unwrap_or(u64::MAX);
            let name = match &text[start..open] {
                "ServerId" | "Server" => self.server(ServerId(small)),
                "NodeId" | "Client" => self.node(NodeId(number)),
                "AllocId" => self.alloc(AllocId(small)),
                "JobId" => self.job(JobId(small)).to_string(),
                "HostId" => self.host(HostId(usize::try_from(small).ok()?)).to_owned(),
                "Term" => format!("term {small}"),
                "Index" => format!("index {small}"),
                "Incarnation" => format!("start {small}"),
                "RequestId" => format!("request {small}"),
                "EvalId" => format!("eval {small}"),
                _ => continue,
            };
            return Some((&text[..start], name, &text[close + 1..]));
        }
        None
    }
}

fn short_of(uuid: Uuid) -> String {
    let mut short = uuid.to_string();
    short.truncate(SHORT_DIGITS);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_program_become_the_names_of_hosts() {
        let mut names = Names::default();
        names.meet(HostId(0), "s1", PeerId::Server(ServerId(1)));
        names.meet(HostId(1), "c1", PeerId::Client(NodeId(49_153)));
        names.meet(HostId(0), "s1", PeerId::Server(ServerId(101)));
        let said =
            names.say("{Some(ServerId(1)), Client(NodeId(49153)), ServerId(101)} at Term(3)");
        assert_eq!(said, "{Some(s1), Client(c1), s1'} at term 3");
        assert_eq!(names.say("s101 calls c5 down"), "s1' calls c5 down");
        assert_eq!(names.say("nothing (to say)"), "nothing (to say)");
        assert_eq!(names.host_of(PeerId::Server(ServerId(101))), Some(HostId(0)));
    }
}
