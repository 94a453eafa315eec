//! Where the agent is asked, and as whom: flag before `DROVER_*` before `NOMAD_*` before the default.
//!
//! Invariants
//! - every setting remembers who made it, so that an error can name it.
use std::env::VarError;

use crate::args::Global;
use crate::failure::Failure;

const ADDRESS_DEFAULT: &str = "http://127.0.0.1:4646";

/// Who said where the agent is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Origin {
    Flag,
    Environment(&'static str),
    Default,
    /// A server told it: the address of a node.
    Node,
}

impl Origin {
    /// What to do when nobody answers there.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Flag => "the address was given with -address".to_owned(),
            Self::Environment(name) => format!("the address comes from {name}"),
            Self::Default => {
                "is an agent running? Set DROVER_ADDR or -address if it is elsewhere".to_owned()
            }
            Self::Node => "this is what the node says of itself".to_owned(),
        }
    }
}

/// An agent, and how to speak to it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What stands before `/v1` in every path; often empty.
    pub(crate) path: String,
    pub(crate) origin: Origin,
    pub(crate) token: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) region: Option<String>,
}

impl Target {
    /// The target that flags and environment name.
    pub(crate) fn resolve(
        global: &Global,
        environment: impl Fn(&str) -> Result<String, VarError>,
    ) -> Result<Self, Failure> {
        let first = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| {
                environment(name).ok().filter(|text| !text.is_empty()).map(|text| (name, text))
            })
        };
        let setting = |flag: &Option<String>, names| {
            flag.clone().or_else(|| first(names).map(|(_, text)| text))
        };
        let (origin, address) = match &global.address {
            Some(flag) => (Origin::Flag, flag.clone()),
            None => first(["DROVER_ADDR", "NOMAD_ADDR"])
                .map_or((Origin::Default, ADDRESS_DEFAULT.to_owned()), |(name, text)| {
                    (Origin::Environment(name), text)
                }),
        };
        let (host, port, path) = split(&address, &origin)?;
        Ok(Self {
            host,
            port,
            path,
            origin,
            token: setting(&global.token, ["DROVER_TOKEN", "NOMAD_TOKEN"]),
            namespace: setting(&global.namespace, ["DROVER_NAMESPACE", "NOMAD_NAMESPACE"]),
            region: setting(&global.region, ["DROVER_REGION", "NOMAD_REGION"]),
        })
    }

    /// The same caller at the agent of a node, which listens on `address` (`host:port`).
    pub(crate) fn at_node(&self, address: &str) -> Result<Self, Failure> {
        let (host, port, path) = split(address, &Origin::Node)?;
        Ok(Self { host, port, path, origin: Origin::Node, ..self.clone() })
    }

    /// For people, and the `Host` header without the scheme.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

fn split(address: &str, origin: &Origin) -> Result<(String, u16, String), Failure> {
    let wrong = |why: &str| {
        let hint = origin.hint();
        Failure::new(format!("Error reading the address {address:?}: {why}; {hint}"))
    };
    let rest = match address.split_once("://") {
        Some(("http", rest)) => rest,
        Some(("https", _)) => {
            return Err(wrong("https is not supported yet, only http: use http on loopback"));
        }
        Some((scheme, _)) => return Err(wrong(&format!("{scheme} is not supported, only http"))),
        None => address,
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_end_matches('/');
    let path = if path.is_empty() { String::new() } else { format!("/{path}") };
    let (host, port) = if let Some(six) = authority.strip_prefix('[') {
        let (host, rest) = six.split_once(']').ok_or_else(|| wrong("a ] is missing"))?;
        (host, rest.strip_prefix(':'))
    } else {
        authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)))
    };
    if host.is_empty() {
        return Err(wrong("the host is missing, as in http://127.0.0.1:4646"));
    }
    let port = match port {
        None => 4646,
        Some(port) => port.parse().map_err(|_| wrong("the port is not a number below 65536"))?,
    };
    Ok((host.to_owned(), port, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(address: Option<&str>, variables: &[(&str, &str)]) -> Result<Target, Failure> {
        let global = Global { address: address.map(str::to_owned), ..Global::default() };
        Target::resolve(&global, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, text)| (*text).to_owned()).ok_or(VarError::NotPresent)
        })
    }

    #[test]
    fn the_flag_wins_over_our_variable_and_that_over_nomads() {
        let both = [("NOMAD_ADDR", "http://n:1"), ("DROVER_ADDR", "http://d:2")];
        let target = resolved(Some("http://f:3"), &both).expect("an address");
        assert_eq!((target.authority().as_str(), target.origin), ("f:3", Origin::Flag));
        let target = resolved(None, &both).expect("an address");
        assert_eq!(target.authority(), "d:2");
        assert_eq!(target.origin, Origin::Environment("DROVER_ADDR"));
        let target = resolved(None, &both[..1]).expect("an address");
        assert_eq!(target.authority(), "n:1");
        assert_eq!(resolved(None, &[]).expect("an address").authority(), "127.0.0.1:4646");
    }

    #[test]
    fn addresses_are_read_with_and_without_scheme_port_and_path() {
        for (text, authority, path) in [
            ("localhost", "localhost:4646", ""),
            ("10.0.0.1:80", "10.0.0.1:80", ""),
            ("http://[::1]:4646/", "[::1]:4646", ""),
            ("http://proxy/drover/", "proxy:4646", "/drover"),
        ] {
            let target = resolved(Some(text), &[]).expect("an address");
            assert_eq!((target.authority().as_str(), target.path.as_str()), (authority, path));
        }
    }

    #[test]
    fn https_is_refused_by_name_and_says_who_asked_for_it() {
        let failure =
            resolved(None, &[("NOMAD_ADDR", "https://x:4646")]).expect_err("https").to_string();
        assert!(failure.contains("https is not supported yet"), "{failure}");
        assert!(failure.contains("NOMAD_ADDR"), "{failure}");
    }
}
