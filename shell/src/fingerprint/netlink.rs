//! The machine's addresses, asked of the kernel by a netlink socket: no file lists them.
//!
//! Invariants
//! - what cannot be understood is skipped, and every read stays within the answer.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// An address of an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Address {
    /// The number of its interface.
    pub(super) interface: u32,
    pub(super) ip: IpAddr,
    /// Others than the machine itself and its neighbours may use it.
    pub(super) is_global: bool,
    /// Not one that is replaced by and by, nor one that is not usable yet or any more.
    pub(super) is_lasting: bool,
}

/// The protocol for interfaces and routes has the number that stands for the usual one.
const ROUTE: Option<Protocol> = None;
const HEAD_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 8;
const DONE: u16 = 3;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESSES: u16 = 22;
/// A request, for everything there is.
const DUMP: u16 = 0x301;
const ATTRIBUTE_ADDRESS: u16 = 1;
const ATTRIBUTE_LOCAL: u16 = 2;
const ATTRIBUTE_FLAGS: u16 = 8;
/// From here on an address is of use to nobody beyond a link.
const SCOPE_LINK: u8 = 253;
/// Of IPv6: it hides the machine for a day.
const TEMPORARY: u32 = 0x01;
const VERSION_4_SECONDARY: u32 = 0x01;
/// Found to be another's, on its way out, or not known to be free.
const UNUSABLE: u32 = 0x08 | 0x20 | 0x40;
/// The kernel sends no part of an answer that is longer.
const PART_BYTES_MAX: usize = 64 << 10;
/// So many parts hold the addresses of the largest machine.
const PARTS_MAX: usize = 1_024;

/// All addresses; none where the kernel does not tell.
pub(super) fn addresses() -> Vec<Address> {
    ask().unwrap_or_default()
}

fn ask() -> rustix::io::Result<Vec<Address>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, ROUTE)?;
    let length = u32::try_from(HEAD_BYTES + ADDRESS_BYTES).unwrap_or_default();
    let mut request = Vec::with_capacity(HEAD_BYTES + ADDRESS_BYTES);
    request.extend(length.to_ne_bytes());
    request.extend(GET_ADDRESSES.to_ne_bytes());
    request.extend(DUMP.to_ne_bytes());
    request.resize(HEAD_BYTES + ADDRESS_BYTES, 0);
    send(&socket, &request, SendFlags::empty())?;
    let (mut found, mut part) = (Vec::new(), vec![0; PART_BYTES_MAX]);
    for _ in 0..PARTS_MAX {
        let (length, _) = recv(&socket, &mut part[..], RecvFlags::empty())?;
        if length == 0 || read(&part[..length], &mut found) == Answer::Whole {
            break;
        }
    }
    Ok(found)
}

/// Whether more follows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Answer {
    Whole,
    Partial,
}

fn read(mut part: &[u8], found: &mut Vec<Address>) -> Answer {
    while let Some((length, kind)) = u32_at(part, 0).zip(u16_at(part, 4)) {
        let length = length as usize;
        if length < HEAD_BYTES || part.len() < length {
            return Answer::Whole;
        }
        match kind {
            NEW_ADDRESS => found.extend(address(&part[HEAD_BYTES..length])),
            // An error ends an answer as well.
            0..=DONE => return Answer::Whole,
            _ => {}
        }
        part = part.get(aligned(length)..).unwrap_or_default();
    }
    Answer::Partial
}

fn address(message: &[u8]) -> Option<Address> {
    let (&family, &scope) = (message.first()?, message.get(3)?);
    let interface = u32_at(message, 4)?;
    let (mut flags, mut ip, mut local) = (u32::from(*message.get(2)?), None, None);
    let mut rest = message.get(ADDRESS_BYTES..)?;
    while let Some((length, kind)) = u16_at(rest, 0).zip(u16_at(rest, 2)) {
        let length = usize::from(length);
        let Some(value) = rest.get(4..length) else { break };
        match kind {
            ATTRIBUTE_ADDRESS => ip = ip_of(value),
            // Of a link between two the other end is the address, and this end is local.
            ATTRIBUTE_LOCAL => local = ip_of(value),
            ATTRIBUTE_FLAGS => flags = u32_at(value, 0)?,
            _ => {}
        }
        rest = rest.get(aligned(length)..).unwrap_or_default();
    }
    if i32::from(family) == libc::AF_INET {
        flags &= !VERSION_4_SECONDARY;
    }
    let is_lasting = flags & (TEMPORARY | UNUSABLE) == 0;
    Some(Address { interface, ip: local.or(ip)?, is_global: scope < SCOPE_LINK, is_lasting })
}

fn ip_of(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn message(kind: u16, head: [u8; 4], interface: u32, attributes: &[Vec<u8>]) -> Vec<u8> {
        let body = [&head[..], &interface.to_ne_bytes(), &attributes.concat()].concat();
        let length = u32::try_from(HEAD_BYTES + body.len()).unwrap();
        let head = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10]].concat();
        [head, body].concat()
    }

    #[test]
    fn an_answer_is_read_to_its_end() {
        let two = u8::try_from(libc::AF_INET).unwrap();
        let ten = u8::try_from(libc::AF_INET6).unwrap();
        let point_to_point = [
            attribute(ATTRIBUTE_ADDRESS, &[10, 0, 0, 1]),
            attribute(ATTRIBUTE_LOCAL, &[10, 0, 0, 2]),
        ];
        let hidden = [
            attribute(ATTRIBUTE_ADDRESS, &Ipv6Addr::LOCALHOST.octets()),
            attribute(ATTRIBUTE_FLAGS, &0x101_u32.to_ne_bytes()),
        ];
        let first = message(NEW_ADDRESS, [two, 24, 0x81, 0], 2, &point_to_point);
        let second = message(NEW_ADDRESS, [ten, 64, 0, SCOPE_LINK], 3, &hidden);
        let (other, end) = (message(16, [0; 4], 9, &[]), message(DONE, [0; 4], 0, &[]));
        let mut found = Vec::new();
        let part = [first.clone(), other, second].concat();
        assert_eq!(read(&part, &mut found), Answer::Partial);
        assert_eq!(read(&end, &mut found), Answer::Whole);
        let ip = Ipv4Addr::new(10, 0, 0, 2).into();
        let hidden = Address {
            interface: 3,
            ip: Ipv6Addr::LOCALHOST.into(),
            is_global: false,
            is_lasting: false,
        };
        let own = Address { interface: 2, ip, is_global: true, is_lasting: true };
        assert_eq!(found, [own, hidden]);
        for cut in 0..first.len() {
            found.clear();
            read(&first[..cut], &mut found);
            assert_eq!(found, [], "half a message says nothing");
        }
    }

    #[test]
    fn this_machine_has_an_address() {
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        let found = addresses();
        let own = found.iter().find(|address| address.ip == loopback);
        assert!(own.is_some_and(|own| !own.is_global && own.is_lasting), "{found:?}");
    }
}
