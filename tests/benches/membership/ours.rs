//! Our gossip as a member's protocol.
use drover_core::gossip::swim::{
    Config, Description, Matter, Output, Packet, Record, State, Swim, Timings, Version,
};
use drover_core::rng::Rng;
use drover_core::time::MonoTime;
use drover_core::types::{Incarnation, ServerId};

use super::world::{Channel, Protocol, Said, Seen};

/// What foca's identity holds in the same bench: an address, a port and a start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Address;

impl Description for Address {
    fn size_bytes(&self) -> usize {
        8
    }
}

/// A member.
pub(crate) struct Ours {
    id: u32,
    pub(crate) swim: Swim<Address>,
}

type Letter = Packet<Address>;

pub(crate) fn id_of(id: u32) -> ServerId {
    ServerId(u64::from(id) + 1)
}

fn member_of(id: ServerId) -> u32 {
    u32::try_from(id.0 - 1).expect("a small number")
}

/// A member that has started once.
pub(crate) fn known_as(id: u32) -> Record<Address> {
    Record {
        id: id_of(id),
        version: Version { incarnation: Incarnation(1), turn: 0 },
        state: State::Alive,
        accusers: Vec::new(),
        said: Some(Address),
    }
}

fn at(now: u64) -> MonoTime {
    MonoTime { ns: now }
}

impl Ours {
    /// Lets the membership do something.
    pub(crate) fn step(
        &mut self,
        out: &mut Vec<Said<Letter>>,
        does: impl FnOnce(&mut Swim<Address>, &mut Vec<Output<Address>>),
    ) {
        let mut said = Vec::new();
        does(&mut self.swim, &mut said);
        let id = self.id;
        out.extend(said.into_iter().filter_map(|output| {
            Some(match output {
                Output::Datagram(to, packet) => {
                    Said::Letter(member_of(to), Channel::Datagram, packet)
                }
                Output::Stream(to, packet) => Said::Letter(member_of(to), Channel::Stream, packet),
                Output::Alive(of) => Said::Seen(Seen::Alive, member_of(of)),
                Output::Suspected(of) => Said::Seen(Seen::Suspected, member_of(of)),
                Output::Failed(of) => Said::Seen(Seen::Failed, member_of(of)),
                Output::Left(of) => Said::Seen(Seen::Left, member_of(of)),
                Output::Shift(_) => Said::Seen(Seen::Shift, id),
                Output::Cleared(_) => return None,
            })
        }));
    }
}

impl Protocol for Ours {
    type Letter = Letter;

    fn begin(id: u32, incarnation: u64, _room: usize, rng: Rng) -> Self {
        let config = Config {
            id: id_of(id),
            incarnation: Incarnation(incarnation),
            said: Address,
            timings: Timings::default(),
            members_max: 10_000,
        };
        Self { id, swim: Swim::new(config, rng) }
    }

    fn remember(&mut self, now: u64, known: &[u32], _out: &mut Vec<Said<Letter>>) {
        self.swim.on_remembered(at(now), known.iter().map(|&id| known_as(id)));
    }

    fn join(&mut self, now: u64, seed: u32, out: &mut Vec<Said<Letter>>) {
        self.step(out, |swim, said| swim.on_contact(at(now), id_of(seed), said));
    }

    fn hear(&mut self, now: u64, from: u32, letter: Letter, out: &mut Vec<Said<Letter>>) {
        self.step(out, |swim, said| swim.on_packet(at(now), id_of(from), letter, said));
    }

    fn wake(&mut self, now: u64, out: &mut Vec<Said<Letter>>) {
        self.step(out, |swim, said| swim.on_time(at(now), said));
    }

    fn next_deadline(&self) -> Option<u64> {
        self.swim.next_deadline().map(|due| due.ns)
    }

    fn view(&self) -> usize {
        self.swim.active()
    }

    /// Ids count eight bytes.
    fn bytes_of(packet: &Letter) -> u64 {
        let matter = match &packet.matter {
            Matter::Ping { .. } | Matter::Ack { .. } | Matter::PingReq { .. } => 12,
            Matter::Reached { .. } | Matter::Nack { .. } | Matter::Knock { .. } => 4,
            Matter::News | Matter::Snapshot => 0,
            Matter::Tell { .. } | Matter::Join { .. } => 8,
            Matter::Compare { buckets } => 8 * buckets.len(),
            Matter::Outlines { buckets, outlines } => 8 * buckets.len() + 11 * outlines.len(),
            Matter::Want(ids) => 8 * ids.len(),
        };
        let of = |record: &Record<Address>| {
            13 + 8 * record.accusers.len() + if record.said.is_some() { 8 } else { 0 }
        };
        3 + matter as u64 + packet.news.iter().map(of).sum::<usize>() as u64
    }
}
