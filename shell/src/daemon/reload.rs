//! A configuration that is read again while the agent runs.
//!
//! | what | how |
//! |---|---|
//! | `log_level` | from the next line on |
//! | `tls` | the files are read again, for all connections from now on |
//! | `server_join` | who is new is dialled, who is not listed any more is not dialled again |
//! | `leave_on_interrupt`, `leave_on_terminate` | from the next signal on |
//!
//! Invariants
//! - what is wrong with the new configuration is said, and the agent goes on with the one it has;
//! - whatever has changed and cannot be changed now is named.
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, Registry, reload};

use super::Flags;
use crate::config::{Certificates, Join, Resolved};
use crate::transport::{Certificates as Loaded, Transport, tls};

/// The filter of what is logged, to be exchanged.
pub(super) type LogLevel = reload::Handle<EnvFilter, Registry>;

/// What is let through to the console at `level`.
///
/// # Errors
/// There is no such level.
pub(super) fn filter(level: &str) -> Result<EnvFilter, String> {
    let is_word = level.chars().all(char::is_alphabetic);
    if is_word && level.parse::<LevelFilter>().is_err() {
        return Err(format!("log_level {level:?}: write TRACE, DEBUG, INFO, WARN, ERROR or OFF"));
    }
    let rest = "quinn=warn,quinn_proto=warn,rustls=warn,hyper=warn";
    EnvFilter::try_new(format!("{},{rest}", level.to_lowercase()))
        .map_err(|fault| format!("log_level {level:?}: {fault}"))
}

/// Read the configuration again, and do as it says where that is possible now.
pub(super) fn reload(
    flags: &Flags,
    current: &mut Resolved,
    transport: &Transport,
    level: &LogLevel,
) {
    tracing::info!("reading the configuration again");
    let next = match super::resolve(flags, current.data_dir.clone()) {
        Ok(next) => next,
        Err(why) => return tracing::error!("{why}\nThe agent goes on with the one before"),
    };
    if next.log_level != current.log_level {
        let changed = filter(&next.log_level)
            .and_then(|filter| level.reload(filter).map_err(|fault| fault.to_string()));
        match changed {
            Ok(()) => {
                tracing::info!("log_level is {} now", next.log_level);
                current.log_level.clone_from(&next.log_level);
            }
            Err(why) => tracing::error!("{why}: it stays {}", current.log_level),
        }
    }
    renew_certificates(current, &next, transport);
    join(current, &next, transport);
    current.leave_on_interrupt = next.leave_on_interrupt;
    current.leave_on_terminate = next.leave_on_terminate;
    for key in ignored(current, &next) {
        tracing::warn!("{key} has changed: it is ignored until the agent is restarted");
    }
}

fn renew_certificates(current: &mut Resolved, next: &Resolved, transport: &Transport) {
    let Certificates::Files { ca, cert, key } = &next.certificates else { return };
    let files = tls::Files { ca_file: ca.clone(), cert_file: cert.clone(), key_file: key.clone() };
    let renewed = Loaded::load(&files).and_then(|loaded| transport.replace_certificates(&loaded));
    match renewed {
        Ok(()) => {
            tracing::info!("the certificates were read again; new connections use them");
            current.certificates = next.certificates.clone();
        }
        Err(failure) => tracing::error!("{failure}. The certificates before stay in use"),
    }
}

/// Whom an agent looks for.
fn sought(resolved: &Resolved) -> Vec<String> {
    resolved.joins().flat_map(Join::addresses).collect()
}

fn join(current: &mut Resolved, next: &Resolved, transport: &Transport) {
    let (before, now) = (sought(current), sought(next));
    for address in now.iter().filter(|address| !before.contains(address)) {
        tracing::info!("looks for a server at {address} from now on");
        transport.dial(address);
    }
    for address in before.iter().filter(|address| !now.contains(address)) {
        tracing::info!("does not look for a server at {address} any more");
        transport.forget(address);
    }
    let adopt = |current: &mut Join, next: &Join| {
        *current = Join { programs: current.programs.clone(), ..next.clone() };
    };
    if let (Some(current), Some(next)) = (&mut current.server, &next.server) {
        adopt(&mut current.join, &next.join);
    }
    if let (Some(current), Some(next)) = (&mut current.client, &next.client) {
        adopt(&mut current.join, &next.join);
    }
}

/// What else the new configuration says, by the keys that operators write.
fn ignored(current: &Resolved, next: &Resolved) -> Vec<&'static str> {
    // Programs go on as they were begun.
    let nobody = |programs: &[String]| Join { programs: programs.to_vec(), ..Join::default() };
    let mut server = (current.server.clone(), next.server.clone());
    let mut client = (current.client.clone(), next.client.clone());
    for server in [&mut server.0, &mut server.1].into_iter().flatten() {
        server.join = nobody(&server.join.programs);
    }
    for client in [&mut client.0, &mut client.1].into_iter().flatten() {
        client.join = nobody(&client.join.programs);
    }
    let http = |of: &Resolved| (of.http_bind, of.http_advertise, of.unsafe_open);
    let rpc = |of: &Resolved| (of.rpc_bind, of.rpc_advertise);
    let changed = [
        ("region", current.region != next.region),
        ("datacenter", current.datacenter != next.datacenter),
        ("name", current.name != next.name),
        ("data_dir", current.data_dir != next.data_dir),
        ("the address of HTTP", http(current) != http(next)),
        ("the address of RPC", rpc(current) != rpc(next)),
        ("server", server.0 != server.1),
        ("client", client.0 != client.1),
        ("log_json", current.log_json != next.log_json),
        ("enable_debug", current.debug != next.debug),
        ("telemetry", current.prometheus != next.prometheus),
        ("recorder", current.recorder != next.recorder),
        ("consul", current.consul != next.consul),
    ];
    changed.into_iter().filter(|(_, is_changed)| *is_changed).map(|(key, _)| key).collect()
}
