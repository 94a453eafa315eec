//! Addresses and ports as operators write them.
//!
//! Invariants
//! - what comes out can be dialled: it has a host and a port that is not zero.
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// An IP address with or without a port.
pub(super) fn with_port(text: &str, port: u16) -> Option<SocketAddr> {
    if let Ok(whole) = text.parse::<SocketAddr>() {
        return (whole.port() != 0).then_some(whole);
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port))
}

/// A host's name or address with or without a port, as `host:port`.
pub(crate) fn host_port(text: &str, port: u16) -> Option<String> {
    if let Some(address) = with_port(text, port) {
        return Some(address.to_string());
    }
    let (host, port) = match text.split_once(':') {
        Some((host, given)) => (host, given.parse().ok().filter(|&given| given != 0)?),
        None => (text, port),
    };
    let part = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    let named = host.trim_end_matches('.');
    named.split('.').all(part).then(|| format!("{named}:{port}"))
}

/// `22,80,8500-8600`.
pub(super) fn ports(text: &str) -> Result<Vec<u16>, String> {
    let mut all = BTreeSet::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let wrong = |_| format!("\"{part}\" is no port or range of ports");
        let first: u16 = first.trim().parse().map_err(wrong)?;
        let last: u16 = last.trim().parse().map_err(wrong)?;
        if last < first || first == 0 {
            return Err(format!("\"{part}\" is no range of ports"));
        }
        all.extend(first..=last);
    }
    Ok(all.into_iter().collect())
}
