//! What servers say of who is there.
use drover_core::gossip::swim::{Matter, Outline, Packet, Record, State, Version};
use drover_core::gossip::{Message as Gossip, Said, Stage, Word};
use drover_core::types::{NodeId, ServerId};
use drover_core::wire::Message;
use drover_tests::rig::agent::dev_config;

pub(super) const fn matter_name(matter: &Matter) -> &'static str {
    match matter {
        Matter::Ping { .. } => ".gossip.ping",
        Matter::Ack { .. } => ".gossip.ack",
        Matter::PingReq { .. } => ".gossip.ping_req",
        Matter::Knock { .. } => ".gossip.knock",
        Matter::Reached { .. } => ".gossip.reached",
        Matter::Nack { .. } => ".gossip.nack",
        Matter::News => ".gossip.news",
        Matter::Tell { .. } => ".gossip.tell",
        Matter::Join { .. } => ".gossip.join",
        Matter::Snapshot => ".gossip.snapshot",
        Matter::Compare { .. } => ".gossip.compare",
        Matter::Outlines { .. } => ".gossip.outlines",
        Matter::Want(_) => ".gossip.want",
    }
}

fn record(state: State, version: Version, said: Option<Said>) -> Record<Said> {
    let accusers = if state == State::Failed { vec![ServerId(2), ServerId(4)] } else { vec![] };
    Record { id: ServerId(2), version, state, accusers, said }
}

pub(super) fn samples() -> Vec<Message> {
    let server = dev_config(ServerId(2), NodeId(7)).server.expect("it is a server");
    let own = server.gossip.own;
    let version = Version { incarnation: own.incarnation, turn: 3 };
    let outline = Outline { id: own.id, version, state: State::Suspect };
    let own = record(State::Alive, version, Some(own.into()));
    let word = Word { own: own.clone(), met: vec![ServerId(1)], stage: Stage::Settled };
    let (seq, view, subject, buckets) = (3, 4, ServerId(3), vec![5, 6]);
    let judged = [State::Alive, State::Suspect, State::Failed, State::Left];
    let news = judged.map(|state| record(state, version, None)).to_vec();
    let datagram = |matter, news| Gossip::Datagram(Packet { matter, news });
    let stream = |matter, news| Gossip::Stream(Packet { matter, news });
    [
        Gossip::Push(word.clone().into()),
        Gossip::Pull(word.into()),
        datagram(Matter::Ping { seq, view }, news.clone()),
        datagram(Matter::Ack { seq, view }, vec![]),
        datagram(Matter::PingReq { seq, subject }, vec![]),
        stream(Matter::Knock { seq }, vec![]),
        stream(Matter::Reached { seq }, vec![]),
        datagram(Matter::Nack { seq }, vec![]),
        datagram(Matter::News, news),
        datagram(Matter::Tell { subject }, vec![]),
        stream(Matter::Join { view }, vec![own.clone()]),
        stream(Matter::Snapshot, vec![own]),
        stream(Matter::Compare { buckets: buckets.clone() }, vec![]),
        stream(Matter::Outlines { buckets, outlines: vec![outline] }, vec![]),
        stream(Matter::Want(vec![subject]), vec![]),
        Gossip::Forget { id: subject, incarnation: version.incarnation },
    ]
    .map(Message::Gossip)
    .to_vec()
}
