//! What a step changed about a server: who leads, in which term, who votes.
//!
//! Invariants
//! - it is read off the agent after the step, as anyone could.
use drover_core::raft::{Configuration, Role};
use drover_core::types::{ServerId, Term};

use super::command_words::of_configuration;
use super::rung::Kind;
use super::words::{Dull, Said};
use super::{Ladder, Reign};
use crate::clock::Moment;
use crate::host::Host;
use crate::network::HostId;

/// What an agent was when it was last looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// Why it wants to be woken.
    wake: Option<&'static str>,
    server: Option<ServerStanding>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct ServerStanding {
    role: Role,
    term: Term,
    leader: Option<ServerId>,
    configuration: Configuration,
}

impl Ladder {
    /// Why the host wanted to be woken.
    pub(super) fn wake_of(&self, host: HostId) -> &'static str {
        self.standings.get(&host).and_then(|standing| standing.wake).unwrap_or("resumed")
    }

    pub(super) fn look_at_standing(&mut self, at: Moment, host: &Host, wake: Option<&'static str>) {
        let raft = host.agent.as_ref().and_then(|agent| agent.raft());
        let server = raft.map(|raft| ServerStanding {
            role: raft.role(),
            term: raft.term(),
            leader: raft.leader(),
            configuration: raft.configuration().clone(),
        });
        let now = Standing { wake, server };
        let before = self.standings.insert(host.id, now.clone()).and_then(|was| was.server);
        let Some(now) = now.server else { return };
        let has_voters = |standing: &ServerStanding| !standing.configuration.voters.is_empty();
        if has_voters(&now)
            && before.as_ref().is_none_or(|was| was.configuration != now.configuration)
        {
            let text = format!("counts {}", of_configuration(&now.configuration, &self.names));
            let dull = if before.is_some() { Dull::Never } else { Dull::Always };
            self.note(at, host.id, self.stepping, Said::new(Kind::Election, "voters", text, dull));
        }
        self.look_at_role(at, host.id, (before.as_ref(), &now));
    }

    fn look_at_role(
        &mut self,
        at: Moment,
        host: HostId,
        (before, now): (Option<&ServerStanding>, &ServerStanding),
    ) {
        let was = before.map(|was| (was.role, was.term, was.leader));
        if was == Some((now.role, now.term, now.leader)) || now.term == Term(0) {
            return;
        }
        let led = before.filter(|was| was.role == Role::Leader).map(|was| was.term);
        if led.is_some_and(|term| now.role != Role::Leader || now.term != term) {
            self.end_reign(at, host);
        }
        let term = now.term.0;
        let (sort, text) = match (now.role, now.leader) {
            (Role::Leader, _) => {
                self.reigns.push(Reign { term: now.term, host, from: at, until: None });
                ("leads", format!("LEADS in term {term}"))
            }
            (Role::Candidate, _) => ("campaign", format!("campaigns in term {term}")),
            (Role::PreCandidate, _) => {
                ("would lead", format!("hears no leader of term {term}: could it win?"))
            }
            (Role::Follower, Some(leader)) => {
                ("follows", format!("follows {} in term {term}", self.names.server(leader)))
            }
            (Role::Follower, None) => ("waits", format!("follows nobody in term {term}")),
        };
        let text = match led {
            Some(of) if now.role != Role::Leader => {
                format!("NO LONGER LEADS (term {}), {text}", of.0)
            }
            Some(_) | None => text,
        };
        self.note(at, host, self.stepping, Said::new(Kind::Election, sort, text, Dull::Never));
    }

    /// Whoever led on this host does not any more.
    pub(super) fn end_reign(&mut self, at: Moment, host: HostId) {
        for reign in &mut self.reigns {
            if reign.host == host {
                reign.until.get_or_insert(at);
            }
        }
    }
}
