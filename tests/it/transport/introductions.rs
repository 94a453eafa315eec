//! Clients that nobody knows, where servers want them introduced.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use drover_core::time::WallTime;
use drover_shell::transport::introduction::{Claims, Enforcement, Gate};
use drover_shell::transport::tls::Pem;
use drover_shell::transport::{Config, Role};

use super::rig::{Agent, authority, certificates, client, client_config, config, server, wall};

/// A server that lets nobody in whom it does not know, and what it knows.
struct Strict {
    authority: Pem,
    agent: Agent,
    knows: Arc<AtomicBool>,
}

impl Strict {
    fn new() -> Self {
        let (authority, knows) = (authority(), Arc::new(AtomicBool::new(false)));
        let known = Arc::clone(&knows);
        let gate = Gate {
            enforcement: Enforcement::Strict,
            knows: Arc::new(move |_| known.load(Ordering::Relaxed)),
        };
        let config = Config { gate: Some(gate), ..config(server(1)) };
        let agent = Agent::start(config, &certificates(&authority, Role::Server));
        Self { authority, agent, knows }
    }

    fn token(&self, claims: &Claims) -> Option<String> {
        Some(self.agent.transport.introduce(claims).expect("a server makes tokens"))
    }

    fn knock(&self, introduction: Option<String>) -> Agent {
        let config = Config { introduction, ..client_config(7) };
        let node = Agent::start(config, &certificates(&self.authority, Role::Client));
        node.dial(&self.agent);
        node
    }

    fn refuses(&mut self, introduction: Option<String>, why: &str) {
        let mut node = self.knock(introduction);
        let said = self.agent.refused_of(&node);
        assert!(said.contains(why), "{said}");
        let said = node.dial_failed();
        assert!(said.contains(why), "the client hears it too: {said}");
    }
}

fn anybody() -> Claims {
    let until = WallTime { unix_ms: wall().unix_ms + 60_000 };
    Claims {
        region: "global".to_owned(),
        node_name: String::new(),
        node_pool: String::new(),
        until,
    }
}

#[test]
fn a_new_node_needs_a_token_and_a_known_one_needs_none() {
    let mut strict = Strict::new();
    strict.refuses(None, "drover node intro create");
    let mut node = strict.knock(strict.token(&anybody()));
    assert_eq!(strict.agent.connected(), client(7));
    assert_eq!(node.connected(), server(1));
    drop(node);
    strict.knows.store(true, Ordering::Relaxed);
    let mut node = strict.knock(None);
    assert_eq!(node.connected(), server(1));
}

#[test]
fn a_token_is_for_whom_it_says_and_for_as_long() {
    let mut strict = Strict::new();
    let other = Claims { node_name: "other".to_owned(), ..anybody() };
    strict.refuses(strict.token(&other), "is for a node called \"other\"");
    let expired = Claims { until: WallTime { unix_ms: wall().unix_ms - 1 }, ..anybody() };
    strict.refuses(strict.token(&expired), "has expired");
    let abroad = Claims { region: "eu".to_owned(), ..anybody() };
    strict.refuses(strict.token(&abroad), "is for region \"eu\"");
    let name = format!("{}", client(7));
    let own = Claims { node_name: name, ..anybody() };
    let mut node = strict.knock(strict.token(&own));
    assert_eq!(node.connected(), server(1));
}

#[test]
fn only_servers_of_the_region_make_tokens() {
    let mut strict = Strict::new();
    let made_by = |authority: &Pem, role: Role| {
        let maker = match role {
            Role::Server => config(server(2)),
            Role::Client => client_config(8),
        };
        let maker = Agent::start(maker, &certificates(authority, role));
        Some(maker.transport.introduce(&anybody()).expect("whoever has a key signs"))
    };
    let by_client = made_by(&strict.authority, Role::Client);
    strict.refuses(by_client, "only servers of region global make them");
    strict.refuses(made_by(&authority(), Role::Server), "is signed by a stranger");
    let by_another = made_by(&strict.authority, Role::Server);
    let mut node = strict.knock(by_another.clone());
    assert_eq!(node.connected(), server(1));
    assert_eq!(strict.agent.connected(), client(7));
    drop(node);
    let whole = by_another.expect("made above");
    let altered = whole.replacen(&whole[20..24], "AAAA", 1);
    strict.refuses(Some(altered), "does not bear its signer's signature");
    strict.refuses(Some(whole[..whole.len() / 2].to_owned()), "is damaged");
}

/// Whoever else has a certificate of the cluster could come in by it.
#[test]
fn a_token_is_shown_to_servers_only() {
    let strict = Strict::new();
    let gate = Gate { enforcement: Enforcement::Strict, knows: Arc::new(|_| false) };
    let config = Config { gate: Some(gate), ..client_config(8) };
    let mut listener = Agent::start(config, &certificates(&strict.authority, Role::Client));
    let config = Config { introduction: strict.token(&anybody()), ..client_config(7) };
    let node = Agent::start(config, &certificates(&strict.authority, Role::Client));
    node.dial(&listener);
    let said = listener.refused();
    assert!(said.contains("it brings no introduction token"), "{said}");
}
