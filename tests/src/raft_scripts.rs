//! The commands of the scripts under `scenarios/raft/`, on raft machines alone.
//!
//! | command | what happens |
//! |---|---|
//! | `narrow` | servers that are named later have little room: see the function of that name |
//! | `servers 1,2,3 learners=4` | they stand, with the configuration in their log |
//! | `logs s1=1,1,4 s2=1 term=7` | the same with these logs: a frame of one entry for each term |
//! | `new 1,2,3` · `bootstrap s1` | servers without a past · one is told of the cluster |
//! | `silence s1` | time passes until s1, and nobody else, loses its patience |
//! | `wait ms=50` · `pass ms=50` | time passes for all · and nobody is told |
//! | `drift s1 permille=-50` · `priority s1 low` | its clock runs so much too fast · it should rather not lead |
//! | `deliver` · `settle` | what is under way arrives · and all that follows from it |
//! | `disk s1 count=1` · `hold s1` · `release s1` | writes finish · do not by themselves · do again |
//! | `lose` · `delay` · `late` · `double`, with `from=` `to=` | messages are lost, set aside, brought back, doubled |
//! | `cut 1 3` · `heal` | they do not reach each other · everyone does again |
//! | `mute 1 3` | what s1 says does not reach s3 |
//! | `crash s1 kept=0` · `restart s1` | unfinished writes but the first are gone |
//! | `propose s1 bytes=9` · `read s1 tag=1 leased` · `change s1 voters=1,2` · `transfer s1 to=2` · `snapshot s1` | |
//! | `tell s1 from=2 term=3 request-vote last=1@2` | a message made by hand arrives: also `append`, |
//! | | `request-pre-vote`, `request-vote-by-transfer`, `timeout-now` |
//! | `show` | everyone's standing and log |
//!
//! `quietly` hides what a command prints.
use std::sync::Arc;

use drover_core::raft::{
    Body, Campaign, Config, Configuration, Frame, Message, Output, Payload, Position, Priority,
    Proof, Raft, Refused,
};
use drover_core::time::MonoTime;
use drover_core::types::{Index, ServerId, Term};

use crate::Command;
use crate::rig::raft::{Cluster, Letter};
use crate::rig::raft_ladder::portrait;

/// Servers without anything around them.
pub struct Bench {
    cluster: Cluster,
    delayed: Vec<Letter>,
}

fn tune(config: &mut Config) {
    config.retained_bytes_max = 0;
    config.snapshot_chunk_bytes = 32;
}

/// Two empty frames an append, three such appends under way to a follower, ten such frames uncommitted.
fn narrow(config: &mut Config) {
    tune(config);
    config.append_bytes_max = 128;
    config.inflight_bytes_max = 384;
    config.uncommitted_bytes_max = 640;
    config.frame_bytes_max = 1_000;
}

impl Default for Bench {
    fn default() -> Self {
        Self { cluster: Cluster::new(7, tune), delayed: Vec::new() }
    }
}

impl Bench {
    /// Carries out one command. Answers what it printed.
    ///
    /// # Panics
    /// If the command makes no sense, or a rule of the protocol is broken.
    pub fn run(&mut self, command: &Command<'_>) -> String {
        match command.name {
            "narrow" => self.cluster.tune = narrow,
            "servers" | "logs" | "new" | "bootstrap" => self.found(command),
            "drift" | "priority" => self.equip(command),
            "silence" | "wait" | "pass" => self.pass_time(command),
            "deliver" | "settle" | "lose" | "delay" | "late" | "double" => self.carry(command),
            "disk" | "hold" | "release" => self.write(command),
            "cut" | "mute" | "heal" | "crash" | "restart" => self.fail(command),
            "propose" | "read" | "change" | "transfer" | "snapshot" => self.ask(command),
            "tell" => self.tell(command),
            "show" => self.show(),
            other => panic!("no such command: {other}"),
        }
        let printed = std::mem::take(&mut self.cluster.ladder).join("\n");
        if command.plain().any(|word| word == "quietly") { String::new() } else { printed }
    }

    fn found(&mut self, command: &Command<'_>) {
        if command.name == "bootstrap" {
            let ids: Vec<_> = self.cluster.hosts.keys().copied().collect();
            let configuration = Configuration::new(&ids, &[]);
            self.step(server(command), |raft, now, out| raft.on_bootstrap(now, configuration, out));
            return;
        }
        let term = command.value("term").map(|term| term.parse().expect("a term is a number"));
        let logs: Vec<(ServerId, Vec<u64>)> = match command.name {
            "logs" => command
                .pairs()
                .filter(|(key, _)| *key != "term")
                .map(|(key, terms)| (named(key), numbers(terms)))
                .collect(),
            _ => all_listed(command).into_iter().map(|id| (id, vec![1])).collect(),
        };
        let voters: Vec<_> = match command.name {
            "logs" => logs.iter().map(|&(id, _)| id).collect(),
            _ => ids(first(command)),
        };
        let learners = command.value("learners").map_or_else(Vec::new, ids);
        let configuration = Configuration::new(&voters, &learners);
        for (id, terms) in logs {
            if command.name == "new" {
                self.cluster.add_new(id);
            } else {
                let term = term.unwrap_or(terms[terms.len() - 1]);
                self.cluster.add(id, &terms, term, &configuration);
            }
        }
    }

    /// A priority takes effect when the server is started again.
    fn equip(&mut self, command: &Command<'_>) {
        let host = self.cluster.hosts.get_mut(&server(command)).expect("the server exists");
        if command.name == "drift" {
            let permille = command.value("permille").expect("permille=<number>");
            host.drift_permille = permille.parse().expect("a number, perhaps negative");
            return;
        }
        host.priority = match command.plain().nth(1) {
            Some("low") => Priority::Low,
            Some("normal") => Priority::Normal,
            other => panic!("no such priority: {other:?}"),
        };
    }

    fn pass_time(&mut self, command: &Command<'_>) {
        if command.name == "wait" {
            self.cluster.wait(command.number("ms"));
            return;
        }
        if command.name == "pass" {
            self.cluster.now = self.cluster.now.plus_ms(command.number("ms"));
            return;
        }
        let id = server(command);
        let at = self.cluster.deadline_of(id);
        self.cluster.now = self.cluster.now.max(at.expect("it waits for something"));
        self.step(id, Raft::on_time);
    }

    fn carry(&mut self, command: &Command<'_>) {
        let is_meant = |letter: &Letter| {
            let fits = |key: &str, id: ServerId| command.value(key).is_none_or(|v| named(v) == id);
            fits("from", letter.from) && fits("to", letter.to)
        };
        if command.name == "settle" {
            self.cluster.settle();
            return;
        }
        if command.name == "late" {
            let (late, still): (Vec<_>, Vec<_>) = self.delayed.drain(..).partition(is_meant);
            self.delayed = still;
            self.cluster.wire.extend(late);
            return;
        }
        let (meant, rest): (Vec<_>, Vec<_>) = self.cluster.wire.drain(..).partition(is_meant);
        self.cluster.wire.extend(rest);
        match command.name {
            "deliver" => meant.into_iter().for_each(|letter| self.cluster.receive(letter)),
            "delay" => self.delayed.extend(meant),
            "double" => self.cluster.wire.extend(meant.iter().chain(&meant).cloned()),
            _ => (),
        }
    }

    fn write(&mut self, command: &Command<'_>) {
        let id = server(command);
        let host = self.cluster.hosts.get_mut(&id).expect("the server exists");
        match command.name {
            "disk" => {
                let count =
                    command.value("count").map_or(usize::MAX, |n| n.parse().expect("a number"));
                self.cluster.persist(id, count);
            }
            name => host.is_disk_held = name == "hold",
        }
    }

    fn fail(&mut self, command: &Command<'_>) {
        match command.name {
            "cut" => {
                let ids: Vec<_> = command.plain().map(named).collect();
                for &other in &ids[1..] {
                    self.cluster.cut(ids[0], other);
                }
            }
            "mute" => {
                let ids: Vec<_> = command.plain().map(named).collect();
                self.cluster.cuts.extend(ids[1..].iter().map(|&other| (ids[0], other)));
            }
            "heal" => self.cluster.cuts.clear(),
            "crash" => {
                let kept = command.number("kept").try_into().expect("a small number");
                self.cluster.crash(server(command), kept);
            }
            _ => self.cluster.restart(server(command)),
        }
    }

    fn ask(&mut self, command: &Command<'_>) {
        let id = server(command);
        let mut refused: Option<Refused> = None;
        match command.name {
            "propose" => {
                let bytes = command.value("bytes").map_or(0, |n| n.parse().expect("a number"));
                let payload = Payload::Commands { count: 1, bytes: vec![0; bytes].into() };
                self.step(id, |raft, now, out| refused = raft.on_propose(now, payload, out).err());
            }
            "read" => {
                let tag = command.number("tag");
                self.cluster.oracle.note_read(id, tag);
                let leased = command.plain().any(|word| word == "leased");
                let proof = if leased { Proof::Lease } else { Proof::Round };
                self.step(id, |raft, now, out| raft.on_read(now, tag, proof, out));
            }
            "change" => {
                let list = |key| command.value(key).map_or_else(Vec::new, ids);
                let target = Configuration::new(&list("voters"), &list("learners"));
                let payload = Payload::Configuration(Box::new(target));
                self.step(id, |raft, now, out| refused = raft.on_propose(now, payload, out).err());
            }
            "transfer" => {
                let to = named(command.value("to").expect("to=<server>"));
                self.step(id, |raft, now, out| refused = raft.on_transfer(now, to, out).err());
            }
            _ => self.cluster.save_snapshot(id),
        }
        if let Some(refused) = refused {
            self.cluster.ladder.push(format!("refused: {refused:?}"));
        }
    }

    fn tell(&mut self, command: &Command<'_>) {
        let position = |key| command.value(key).map_or(Position::default(), at);
        let says = |word| command.plain().any(|plain| plain == word);
        let body = if says("timeout-now") {
            Body::TimeoutNow
        } else if says("append") {
            let terms =
                command.value("frames").map_or_else(Vec::new, |list| list.split(',').collect());
            let frame = |text: &str| {
                let Position { term, index: first } = at(text);
                Arc::new(Frame { first, term, payload: Payload::Noop })
            };
            let commit = Index(command.value("commit").map_or(0, |n| n.parse().expect("a number")));
            let frames = terms.into_iter().map(frame).collect();
            Body::Append { prev: position("prev"), commit, round: 1, frames }
        } else {
            let campaign = if says("request-pre-vote") {
                Campaign::PreVote
            } else if says("request-vote-by-transfer") {
                Campaign::Transfer
            } else {
                Campaign::Election
            };
            Body::RequestVote { campaign, last: position("last") }
        };
        let from = named(command.value("from").expect("from=<server>"));
        let message = Message { term: Term(command.number("term")), body };
        assert_eq!(message.fault(), None, "a script tells what a server could say");
        let to = server(command);
        self.cluster.oracle.is_blind = true;
        self.cluster.receive(Letter { from, to, message });
        if let Some(host) = self.cluster.hosts.get(&to).filter(|host| !host.is_disk_held) {
            let count = host.pending.len();
            self.cluster.persist(to, count);
        }
    }

    fn show(&mut self) {
        for (&id, host) in &self.cluster.hosts {
            let line = host.raft.as_ref().map(|raft| portrait(id, raft));
            self.cluster.ladder.push(line.unwrap_or_else(|| format!("s{} is down", id.0)));
        }
    }

    fn step(&mut self, id: ServerId, act: impl FnOnce(&mut Raft, MonoTime, &mut Vec<Output>)) {
        self.cluster.step(id, act);
    }
}

fn first<'a>(command: &Command<'a>) -> &'a str {
    command.plain().next().unwrap_or_else(|| panic!("{}: a server is missing", command.name))
}

fn server(command: &Command<'_>) -> ServerId {
    named(first(command))
}

fn all_listed(command: &Command<'_>) -> Vec<ServerId> {
    let mut all = ids(first(command));
    all.extend(command.value("learners").map_or_else(Vec::new, ids));
    all
}

fn named(text: &str) -> ServerId {
    let digits = text.strip_prefix('s').unwrap_or(text);
    ServerId(digits.parse().unwrap_or_else(|_| panic!("{text} is not a server")))
}

fn numbers(text: &str) -> Vec<u64> {
    text.split(',').map(|number| number.parse().expect("a list of numbers")).collect()
}

fn ids(text: &str) -> Vec<ServerId> {
    numbers(text).into_iter().map(ServerId).collect()
}

fn at(text: &str) -> Position {
    let (term, index) = text.split_once('@').expect("<term>@<index>");
    let number = |text: &str| text.parse().expect("<term>@<index>");
    Position { term: Term(number(term)), index: Index(number(index)) }
}
