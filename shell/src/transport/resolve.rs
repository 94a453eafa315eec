//! Where a name leads: to the addresses of a host, or to the hosts that an SRV record names (RFC 2782).
//!
//! A name whose first part begins with an underscore, such as `_drover._udp.example.com`, has SRV records;
//! their ports are used then. The system's resolver knows no such records, so its servers are asked here.
//!
//! Invariants
//! - nothing is remembered: whoever asks again is told what is true then;
//! - an answer counts only if it bears the number of the question.
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE};
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

use crate::identity;

const SYSTEM_SERVERS: &str = "/etc/resolv.conf";
const DNS_PORT: u16 = 53;
/// Of one server, and how often all of them are asked.
const PATIENCE: Duration = Duration::from_secs(2);
const ROUNDS: usize = 2;
/// Larger than an answer over UDP.
const ANSWER_BYTES_MAX: usize = 4_096;

/// A host, and where on it.
type Target = (String, u16);

/// The addresses of `addr`, which is `host:port`; of an SRV record's name the port says nothing.
pub(super) async fn resolve(addr: String) -> io::Result<Vec<SocketAddr>> {
    let Some((name, _)) = addr.rsplit_once(':').filter(|(name, _)| name.starts_with('_')) else {
        return Ok(lookup_host(addr).await?.collect());
    };
    let servers = servers_of(&std::fs::read_to_string(SYSTEM_SERVERS)?);
    let mut found = Vec::new();
    for (host, port) in look_up(name, &servers).await? {
        found.extend(lookup_host((host, port)).await?);
    }
    Ok(found)
}

fn servers_of(text: &str) -> Vec<SocketAddr> {
    let named = |line: &str| {
        let mut words = line.split_whitespace();
        let server = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        server.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, DNS_PORT))
    };
    text.lines().filter_map(named).collect()
}

/// The SRV records of `name`, those first that are to be tried first. Who has answered is believed, also
/// where there are none.
async fn look_up(name: &str, servers: &[SocketAddr]) -> io::Result<Vec<Target>> {
    let mut last = io::Error::other(format!("no nameserver stands in {SYSTEM_SERVERS}"));
    for server in std::iter::repeat_n(servers, ROUNDS).flatten() {
        match timeout(PATIENCE, ask(name, *server)).await {
            Ok(Ok(answer)) => {
                let answer = Packet::parse(&answer).map_err(|why| wrong(name, why))?;
                return targets(name, &answer);
            }
            Ok(Err(why)) => last = why,
            Err(_) => last = io::Error::other(format!("nameserver {server} does not answer")),
        }
    }
    Err(last)
}

fn wrong(name: &str, why: simple_dns::SimpleDnsError) -> io::Error {
    io::Error::other(format!("{name}: {why}"))
}

/// The bytes of the answer.
async fn ask(name: &str, server: SocketAddr) -> io::Result<Vec<u8>> {
    let wrong = |why| wrong(name, why);
    let number = u16::try_from(identity::random_u64()? & 0xffff).unwrap_or_default();
    let mut question = Packet::new_query(number);
    question.set_flags(PacketFlag::RECURSION_DESIRED);
    let about = Name::new(name).map_err(wrong)?;
    question.questions.push(Question::new(about, TYPE::SRV.into(), CLASS::IN.into(), false));
    let any: IpAddr =
        if server.is_ipv4() { [0; 4].into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&question.build_bytes_vec().map_err(wrong)?).await?;
    let mut bytes = [0; ANSWER_BYTES_MAX];
    loop {
        let length = socket.recv(&mut bytes).await?;
        match Packet::parse(&bytes[..length]) {
            Ok(answer) if answer.id() == number => return Ok(bytes[..length].to_vec()),
            // Somebody else's.
            Ok(_) | Err(_) => (),
        }
    }
}

fn targets(name: &str, answer: &Packet<'_>) -> io::Result<Vec<Target>> {
    if answer.rcode() != RCODE::NoError {
        return Err(io::Error::other(format!("{name}: {:?}", answer.rcode())));
    }
    let records = answer.answers.iter().filter_map(|record| match &record.rdata {
        RData::SRV(srv) => Some(srv),
        _ => None,
    });
    let mut records: Vec<_> = records.collect();
    if records.is_empty() {
        return Err(io::Error::other(format!("{name} has no SRV record")));
    }
    records.sort_by_key(|srv| (srv.priority, std::cmp::Reverse(srv.weight)));
    Ok(records.into_iter().map(|srv| (srv.target.to_string(), srv.port)).collect())
}

#[cfg(test)]
mod tests {
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::SRV;

    use super::*;

    /// Answers one question as a nameserver would, with these records.
    async fn nameserver(records: Vec<SRV<'static>>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut bytes = [0; ANSWER_BYTES_MAX];
            let (length, from) = socket.recv_from(&mut bytes).await.unwrap();
            let question = Packet::parse(&bytes[..length]).unwrap();
            let name = question.questions[0].qname.clone().into_owned();
            let stray = Packet::new_reply(question.id().wrapping_add(1));
            socket.send_to(&stray.build_bytes_vec().unwrap(), from).await.unwrap();
            let mut answer = Packet::new_reply(question.id());
            for srv in records {
                let record = ResourceRecord::new(name.clone(), CLASS::IN, 30, RData::SRV(srv));
                answer.answers.push(record);
            }
            socket.send_to(&answer.build_bytes_vec().unwrap(), from).await.unwrap();
        });
        address
    }

    fn srv(priority: u16, weight: u16, port: u16, target: &'static str) -> SRV<'static> {
        SRV { priority, weight, port, target: Name::new_unchecked(target) }
    }

    #[tokio::test]
    async fn records_are_tried_by_priority_and_weight() {
        let records =
            vec![srv(2, 9, 3, "c.example"), srv(1, 1, 2, "b.example"), srv(1, 5, 1, "a.example")];
        let server = nameserver(records).await;
        let found = look_up("_drover._udp.example", &[server]).await.unwrap();
        let expected = [("a.example", 1), ("b.example", 2), ("c.example", 3)];
        assert_eq!(found, expected.map(|(host, port)| (host.to_owned(), port)));
    }

    #[tokio::test]
    async fn a_name_without_records_is_refused_by_name() {
        let server = nameserver(Vec::new()).await;
        let why = look_up("_drover._udp.example", &[server]).await.unwrap_err().to_string();
        assert_eq!(why, "_drover._udp.example has no SRV record");
    }

    #[test]
    fn nameservers_are_those_of_the_system() {
        let text =
            "# made by hand\nsearch example\nnameserver 10.0.0.1\nnameserver ::1\noptions edns0\n";
        let servers = servers_of(text).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(servers, ["10.0.0.1:53", "[::1]:53"]);
    }
}
