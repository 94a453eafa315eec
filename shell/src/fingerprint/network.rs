//! Interfaces that lead out of the machine, and the addresses it has there.
//!
//! Left out are interfaces that are off or have no address, and those that tasks bring with them
//! (bridges of container engines, ends of virtual cables), unless the configuration names one.
//!
//! Invariants
//! - at most one interface is the default;
//! - addresses that the system changes by itself, to hide the machine, are not told.
use std::collections::BTreeMap;
use std::net::IpAddr;

use drover_core::types::NodeNetwork;

use super::netlink::Address;
use super::root::Root;

const NET: &str = "sys/class/net";
/// More would be those of a router, of no use to anybody who places tasks.
const INTERFACES_MAX: usize = 64;
const ADDRESSES_MAX: usize = 32;
/// Of an interface that does not tell how fast it is, as many in virtual machines: Nomad's assumption.
const SPEED_MBITS: u32 = 1_000;
/// How the names of interfaces begin that come and go with what runs.
const FLEETING: [&str; 8] = ["veth", "docker", "cni", "ifb", "nomad", "drover", "podman", "virbr"];

/// What the configuration says of networks.
#[derive(Clone, Debug, Default)]
pub struct NetworkConfig {
    /// `client.network_interface`: the default one.
    pub interface: Option<String>,
    /// `client.network_speed`, for all of them.
    pub speed_mbits: Option<u32>,
}

/// The machine's interfaces as they were last seen.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    /// Kept for when a cable is out: then the kernel does not tell.
    speeds: BTreeMap<String, u32>,
}

impl Interfaces {
    /// `own` is the address that the agent tells others.
    pub(super) fn look(
        &mut self,
        root: &Root,
        addresses: &[Address],
        own: IpAddr,
        config: &NetworkConfig,
    ) -> Vec<NodeNetwork> {
        let names = root.names(NET);
        let of = |name: &str| {
            let index: u32 = root.number(format!("{NET}/{name}/ifindex")).unwrap_or_default();
            addresses.iter().filter(move |address| address.interface == index)
        };
        let has_own = |name: &&String| of(name).any(|address| address.ip == own);
        let default = config.interface.clone().or_else(|| names.iter().find(has_own).cloned());
        let default = default.or_else(|| routed(&root.text("proc/net/route")));
        let mut networks = Vec::new();
        for name in &names {
            let is_default = Some(name) == default.as_ref();
            let is_fleeting = FLEETING.iter().any(|prefix| name.starts_with(prefix));
            if !is_default && (is_fleeting || !is_up(root, name)) {
                continue;
            }
            let told = of(name).filter(|address| address.is_lasting);
            let mut ips: Vec<IpAddr> =
                told.filter(|one| is_default || one.is_global).map(|one| one.ip).collect();
            // The one that the agent tells others stands first.
            ips.sort_unstable_by_key(|&ip| (ip != own, ip));
            ips.truncate(ADDRESSES_MAX);
            if !ips.is_empty() && networks.len() < INTERFACES_MAX {
                networks.push(NodeNetwork {
                    device: name.clone(),
                    mac: mac(root, name),
                    speed_mbits: config.speed_mbits.unwrap_or_else(|| self.speed(root, name)),
                    addresses: ips.iter().map(IpAddr::to_string).collect(),
                    is_default,
                });
            }
        }
        networks
    }

    fn speed(&mut self, root: &Root, name: &str) -> u32 {
        // Without a cable it is -1, or an error.
        let told = root.number::<u32>(format!("{NET}/{name}/speed")).filter(|&speed| speed != 0);
        if let Some(speed) = told {
            self.speeds.insert(name.to_owned(), speed);
        }
        self.speeds.get(name).copied().unwrap_or(SPEED_MBITS)
    }
}

fn is_up(root: &Root, name: &str) -> bool {
    let flags = root.line(format!("{NET}/{name}/flags")).unwrap_or_default();
    let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap_or_default();
    flags & 1 != 0
}

fn mac(root: &Root, name: &str) -> String {
    let mac = root.line(format!("{NET}/{name}/address")).unwrap_or_default();
    if mac.chars().all(|c| c == '0' || c == ':') { String::new() } else { mac }
}

/// The interface that packets for elsewhere leave by.
fn routed(routes: &str) -> Option<String> {
    let mut rows = routes.lines().skip(1).map(|row| row.split_whitespace());
    rows.find_map(|mut row| {
        let (name, to) = (row.next()?, row.next()?);
        (to == "00000000").then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::super::root::tree::grow;
    use super::*;

    const OWN: &str = "10.0.0.5";

    fn address(interface: u32, ip: &str) -> Address {
        Address { interface, ip: ip.parse().unwrap(), is_global: true, is_lasting: true }
    }

    fn files() -> Vec<(&'static str, &'static str)> {
        vec![
            ("sys/class/net/lo/ifindex", "1\n"),
            ("sys/class/net/lo/flags", "0x9\n"),
            ("sys/class/net/eth0/ifindex", "2\n"),
            ("sys/class/net/eth0/flags", "0x1003\n"),
            ("sys/class/net/eth0/speed", "25000\n"),
            ("sys/class/net/eth0/address", "52:54:00:12:34:56\n"),
            ("sys/class/net/eth1/ifindex", "3\n"),
            ("sys/class/net/eth1/flags", "0x1003\n"),
            ("sys/class/net/eth1/speed", "-1\n"),
            ("sys/class/net/eth2/ifindex", "4\n"),
            ("sys/class/net/eth2/flags", "0x1002\n"),
            ("sys/class/net/veth7/ifindex", "9\n"),
            ("sys/class/net/veth7/flags", "0x1003\n"),
        ]
    }

    fn addresses() -> Vec<Address> {
        vec![
            Address { is_global: false, ..address(1, "127.0.0.1") },
            address(2, "fd00::5"),
            address(2, OWN),
            address(2, "10.0.0.4"),
            Address { is_global: false, ..address(2, "fe80::5") },
            address(3, "192.168.1.5"),
            Address { is_lasting: false, ..address(3, "2001:db8::77") },
            address(4, "172.16.0.5"),
            address(9, "10.88.0.1"),
        ]
    }

    fn names(networks: &[NodeNetwork]) -> Vec<&str> {
        networks.iter().map(|network| network.device.as_str()).collect()
    }

    #[test]
    fn what_leads_out_is_told_with_its_lasting_addresses() {
        let (_dir, root) = grow(&files());
        let own = OWN.parse().unwrap();
        let mut interfaces = Interfaces::default();
        let seen = interfaces.look(&root, &addresses(), own, &NetworkConfig::default());
        assert_eq!(
            names(&seen),
            ["eth0", "eth1"],
            "not what is off, comes and goes, or leads nowhere"
        );
        assert!(seen[0].is_default && !seen[1].is_default);
        assert_eq!(seen[0].addresses, [OWN, "10.0.0.4", "fd00::5", "fe80::5"]);
        assert_eq!((seen[0].mac.as_str(), seen[0].speed_mbits), ("52:54:00:12:34:56", 25_000));
        assert_eq!(
            (&seen[1].addresses[..], seen[1].speed_mbits),
            (&["192.168.1.5".into()][..], 1_000)
        );
        // A cable is pulled.
        std::fs::write(root.path("sys/class/net/eth0/speed"), "-1\n").unwrap();
        let again = interfaces.look(&root, &addresses(), own, &NetworkConfig::default());
        assert_eq!(again, seen);
    }

    #[test]
    fn the_configuration_says_which_one_counts_and_how_fast_they_are() {
        let (_dir, root) = grow(&files());
        let own = OWN.parse().unwrap();
        let config = NetworkConfig { interface: Some("veth7".into()), speed_mbits: Some(100) };
        let seen = Interfaces::default().look(&root, &addresses(), own, &config);
        assert_eq!(names(&seen), ["eth0", "eth1", "veth7"]);
        assert!(seen[2].is_default && seen.iter().all(|network| network.speed_mbits == 100));
        let loopback = "127.0.0.1".parse().unwrap();
        let seen =
            Interfaces::default().look(&root, &addresses(), loopback, &NetworkConfig::default());
        assert_eq!(names(&seen), ["eth0", "eth1", "lo"], "an agent that is only for this machine");
    }

    #[test]
    fn an_agent_that_tells_a_foreign_address_is_reached_by_the_default_route() {
        let mut files = files();
        let route = "Iface\tDestination\tGateway\neth0\t0000000A\t0\neth1\t00000000\t0101A8C0\n";
        files.push(("proc/net/route", route));
        let (_dir, root) = grow(&files);
        let own = "203.0.113.9".parse().unwrap();
        let seen = Interfaces::default().look(&root, &addresses(), own, &NetworkConfig::default());
        assert_eq!(seen.iter().find(|network| network.is_default).unwrap().device, "eth1");
    }
}
