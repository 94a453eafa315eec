//! Networks in CIDR notation.
//!
//! Invariants
//! - a subnet lies within its network, whatever was asked for.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Answer, Args, Function};
use crate::jobspec::value::Value;

pub(super) const TABLE: &[(&str, Function)] = &[
    ("cidrhost", |args, _| {
        args.count(2, 2)?;
        let network = Network::parse(&args.text(0)?)?;
        network.host(args.int(1)?).map(|address| Value::Text(address.to_string()))
    }),
    ("cidrnetmask", |args, _| {
        args.count(1, 1)?;
        let network = Network::parse(&args.text(0)?)?;
        Ok(Value::Text(network.address(network.mask()).to_string()))
    }),
    ("cidrsubnet", |args, _| {
        args.count(3, 3)?;
        let network = Network::parse(&args.text(0)?)?;
        network.subnet(args.size(1)?, args.size(2)? as u128).map(|one| Value::Text(one.to_string()))
    }),
    ("cidrsubnets", |args, _| subnets(args)),
];

/// An address range; the bits stand at the right end of `bits`.
#[derive(Clone, Copy)]
struct Network {
    bits: u128,
    prefix: usize,
    /// 32 or 128.
    width: usize,
}

impl Network {
    fn parse(text: &str) -> Answer<Self> {
        let wrong = || format!("\"{text}\" is no network such as 10.0.0.0/8");
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let prefix: usize = prefix.parse().map_err(|_| wrong())?;
        let (bits, width) = match address {
            IpAddr::V4(four) => (u128::from(u32::from(four)), 32),
            IpAddr::V6(six) => (u128::from(six), 128),
        };
        if width < prefix {
            return Err(wrong());
        }
        let network = Self { bits, prefix, width };
        Ok(Self { bits: bits & network.mask(), ..network })
    }

    const fn host_bits(self) -> usize {
        self.width - self.prefix
    }

    /// Ones where the network's part is.
    const fn mask(self) -> u128 {
        let all = if self.width == 128 { u128::MAX } else { (1 << self.width) - 1 };
        if self.host_bits() == 128 { 0 } else { all >> self.host_bits() << self.host_bits() }
    }

    #[expect(clippy::cast_possible_truncation, reason = "a network of 32 bits has no more")]
    fn address(self, bits: u128) -> IpAddr {
        if self.width == 32 {
            IpAddr::V4(Ipv4Addr::from(bits as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from(bits))
        }
    }

    /// The address numbered `number`; negative numbers count from the end.
    fn host(self, number: i64) -> Answer<IpAddr> {
        let hosts = if self.host_bits() == 128 { u128::MAX } else { (1 << self.host_bits()) - 1 };
        let distance = u128::from(number.unsigned_abs());
        let offset = if number < 0 { hosts.checked_sub(distance - 1) } else { Some(distance) };
        match offset {
            Some(offset) if offset <= hosts => Ok(self.address(self.bits | offset)),
            _ => Err(format!("there is no host {number} in the network")),
        }
    }

    fn subnet(self, more: usize, number: u128) -> Answer<Self> {
        let prefix = self.prefix.saturating_add(more);
        if self.width < prefix {
            return Err(format!("{more} more bits do not fit into a prefix of {}", self.prefix));
        }
        if more < 128 && number >> more != 0 {
            return Err(format!("{more} bits cannot hold the number {number}"));
        }
        let inner = Self { prefix, ..self };
        Ok(Self {
            bits: self.bits | number.checked_shl(shift(inner.host_bits())).unwrap_or(0),
            ..inner
        })
    }
}

fn shift(bits: usize) -> u32 {
    u32::try_from(bits).unwrap_or(u32::MAX)
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address(self.bits), self.prefix)
    }
}

/// Consecutive subnets, each with so many more bits.
fn subnets(args: &Args) -> Answer {
    args.count(2, usize::MAX)?;
    let whole = Network::parse(&args.text(0)?)?;
    let end = whole.bits | !whole.mask() & Network { prefix: 0, ..whole }.mask() | low_mask(whole);
    let mut next = Some(whole.bits);
    let mut made = Vec::new();
    for at in 1..args.list.len() {
        let sized = whole.subnet(args.size(at)?, 0)?;
        let size = 1u128.checked_shl(shift(sized.host_bits())).unwrap_or(0);
        let start = next.map(|next| next.next_multiple_of(size.max(1)));
        let last = start.and_then(|start| start.checked_add(size.wrapping_sub(1)));
        let (Some(start), Some(last)) = (start, last) else {
            return Err("the network is full".to_owned());
        };
        if end < last {
            return Err("the network is full".to_owned());
        }
        made.push(Value::Text(Network { bits: start, ..sized }.to_string()));
        next = last.checked_add(1);
    }
    Ok(Value::List(made))
}

/// Ones where the hosts' part of `network` is.
const fn low_mask(network: Network) -> u128 {
    if network.host_bits() == 128 { u128::MAX } else { (1 << network.host_bits()) - 1 }
}
