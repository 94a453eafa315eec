//! Who may speak to us: a greeting is judged against its certificate, and against what we are.
//!
//! Invariants
//! - a role and a region come from the certificate, a node's id from its key, and nothing else.
use drover_core::types::ClusterId;
use quinn::Connection;
use rustls::pki_types::CertificateDer;

use super::frame::Greeting;
use super::introduction::{Claims, Enforcement};
use super::peers::Peers;
use super::session::End;
use super::tls::Owner;
use super::{Hello, PeerId, Role, tls};

/// Whether the other end may be a server of this region, whatever it says of itself.
pub(super) fn may_be_our_server(peers: &Peers, connection: &Connection) -> bool {
    owner(connection).is_ok_and(|owner| owner.may_be(Role::Server, &peers.own_hello().region))
}

fn owner(connection: &Connection) -> Result<Owner, String> {
    let none = || "presents no certificate".to_owned();
    let chain = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .ok_or_else(none)?;
    let first = chain.first().ok_or_else(none)?;
    tls::owner_of(first).map_err(|why| format!("presents a certificate that {why}"))
}

/// Judges a greeting. Answers why a client that nobody knows may become a node, where that was asked.
pub(super) fn check(
    peers: &Peers,
    connection: &Connection,
    greeting: &Greeting,
) -> Result<Option<Claims>, End> {
    let hello = &greeting.hello;
    let owner = owner(connection).map_err(End::Refused)?;
    let (role, own) = (Role::of(hello.agent), peers.own_hello());
    if !owner.may_be(role, &hello.region) {
        return Err(End::Refused(format!(
            "claims to be a {role} of region {}, but its certificate is for {owner}",
            hello.region
        )));
    }
    if hello.agent == own.agent {
        return Err(if hello.incarnation == own.incarnation {
            End::Ourselves
        } else {
            End::Refused(format!("has our own id, {}: was a data directory copied?", own.agent))
        });
    }
    check_node(connection, greeting)?;
    check_start(peers, hello)?;
    check_region(hello, &own).and_then(|()| check_cluster(hello, &own)).map_err(End::Refused)?;
    check_introduction(peers, greeting).map_err(End::Refused)
}

/// Nobody speaks for a node but whoever holds its key.
fn check_node(connection: &Connection, greeting: &Greeting) -> Result<(), End> {
    let PeerId::Client(claimed) = greeting.hello.agent else { return Ok(()) };
    let proven = greeting.proof.as_ref().and_then(|proof| proof.node(connection));
    if proven == Some(claimed) {
        return Ok(());
    }
    Err(End::Refused(format!(
        "says that it is node {}, and does not hold that node's key: a data directory can only be moved \
         whole",
        claimed.uuid()
    )))
}

/// Servers of two regions know each other; a client is served in its own.
fn check_region(hello: &Hello, own: &Hello) -> Result<(), String> {
    match (hello.agent, own.agent) {
        _ if hello.region == own.region => Ok(()),
        (PeerId::Server(_), PeerId::Server(_)) => Ok(()),
        _ => Err(format!(
            "is a {} of region {:?}, and this is a {} of region {:?}: let clients name servers of their \
             own region",
            Role::of(hello.agent),
            hello.region,
            Role::of(own.agent),
            own.region
        )),
    }
}

/// A server that goes back to an old copy of its data has forgotten votes and entries that other servers
/// count on. Clients count on nothing: they follow a whole cluster that was put back.
fn check_start(peers: &Peers, hello: &Hello) -> Result<(), End> {
    let (PeerId::Server(id), PeerId::Server(_)) = (hello.agent, peers.own_id()) else {
        return Ok(());
    };
    let Some((latest, name)) = peers.latest_start(id) else { return Ok(()) };
    // What this start's history calls the one that was here, if it reaches back so far.
    let named = hello.incarnation.0.checked_sub(latest.0).map(|ago| {
        usize::try_from(ago).ok().and_then(|ago| hello.starts.get(ago).copied()).unwrap_or(name)
    });
    if named == Some(name) {
        return Ok(());
    }
    Err(End::Refused(format!(
        "is in its start {}, and knows nothing of start {}, in which it was here: its data directory is \
         an old copy, and has forgotten what others count on. Move it away and start it again: it joins \
         as a new server",
        hello.incarnation.0, latest.0
    )))
}

/// A cluster belongs to a region: servers of two regions know each other without being one.
pub(super) fn check_cluster(hello: &Hello, own: &Hello) -> Result<(), String> {
    let unknown = ClusterId::default();
    let comparable = hello.cluster != unknown && own.cluster != unknown;
    if comparable && hello.region == own.region && hello.cluster != own.cluster {
        let (theirs, ours) = (hello.cluster.0, own.cluster.0);
        return Err(format!("belongs to another cluster ({theirs:032x}, ours is {ours:032x})"));
    }
    Ok(())
}

/// A client that nobody knows comes with a token, if the operator wants that.
fn check_introduction(peers: &Peers, greeting: &Greeting) -> Result<Option<Claims>, String> {
    let (Some(gate), PeerId::Client(node)) = (&peers.config.gate, greeting.hello.agent) else {
        return Ok(None);
    };
    if gate.enforcement == Enforcement::None || (gate.knows)(node) {
        return Ok(None);
    }
    let (now, name) = ((peers.config.wall)(), &greeting.hello.name);
    let read = |text: &String| peers.introducer().read(text, &peers.own_hello().region, now);
    let why = match greeting.introduction.as_ref().map(read) {
        Some(Ok(claims)) if claims.node_name.is_empty() || claims.node_name == *name => {
            return Ok(Some(claims));
        }
        Some(Ok(claims)) => format!(
            "its introduction token is for a node called {:?}, and it is called {name:?}",
            claims.node_name
        ),
        Some(Err(why)) => format!("its introduction token {why}"),
        None => "it brings no introduction token: make one with `drover node intro create`, and \
                     give it to the client as DROVER_CLIENT_INTRO_TOKEN"
            .to_owned(),
    };
    if gate.enforcement == Enforcement::Strict {
        return Err(format!("is a node that nobody knows, and {why}"));
    }
    tracing::warn!("node {} ({name}) is new, and {why}; it is let in", node.uuid());
    Ok(None)
}
