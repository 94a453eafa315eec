//! Anything that may happen to an agent in any order: callers, client nodes, servers that are no part of
//! the cluster, links, tasks, and time.
//!
//! Disk and drivers do what they are asked (`rig::agent`). What members of the cluster say of consensus is
//! left to the simulator: whoever has a member's key can break what consensus promises.
//!
//! Invariants
//! - the agent checks itself whole after every step.
use std::sync::Arc;

use drover_core::agent::{Event, TaskAsk};
use drover_core::api::Request;
use drover_core::client::NodeMessage;
use drover_core::gossip;
use drover_core::types::{AllocId, JobKind, NodeId, NodeSpec, RequestId, ServerId};
use drover_core::wire::{Message, PeerId};

use super::bytes::Bytes;
use crate::rig::agent::{DevAgent, job_spec, node_spec};

/// Longer stories say nothing new.
const STEPS_MAX: usize = 48;

/// Whatever happens, the agent stays whole.
///
/// # Panics
/// If it does not.
pub fn agent_step(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let mut agent = DevAgent::new();
    agent.pass_ms(2_000);
    for _ in 0..STEPS_MAX {
        if happen(&mut agent, &mut bytes).is_none() {
            break;
        }
    }
    agent.pass_ms(10_000);
}

fn happen(agent: &mut DevAgent, bytes: &mut Bytes<'_>) -> Option<()> {
    match bytes.number(1)? % 16 {
        0 => agent.pass_ms(bytes.number(1)?),
        1 => agent.pass_ms(bytes.number(2)?),
        2 | 3 => {
            let (name, count) = (bytes.number(1)? % 4, bytes.number(1)?);
            let kind = if count & 0x80 == 0 { JobKind::Service } else { JobKind::Batch };
            let count = u32::try_from(count & 0xf).ok()?;
            let mut spec = job_spec(&format!("job{name}"), kind, count);
            spec.groups[0].tasks[0].resources.cpu_mhz = u32::try_from(bytes.number(2)?).ok()?;
            agent.ask(Request::RegisterJob { spec: Arc::new(spec), check_index: None });
        }
        4 => {
            let request = bytes.decoded::<Request>()?;
            agent.ask(request);
        }
        5 | 6 => {
            let from = PeerId::Client(NodeId(bytes.number(1)?.into()));
            let message = Message::FromNode(bytes.decoded::<NodeMessage>()?);
            receive(agent, from, message);
        }
        7 => {
            let from = PeerId::Server(ServerId(2 + bytes.number(1)?));
            let message = Message::Gossip(bytes.decoded::<gossip::Message>()?);
            receive(agent, from, message);
        }
        8 => {
            let from = PeerId::Server(ServerId(2 + bytes.number(1)?));
            receive(agent, from, bytes.decoded::<Message>()?);
        }
        9 => {
            let (up, number) = (bytes.number(1)? & 1 == 0, bytes.number(1)?);
            agent.step(Event::LinkChanged { peer: PeerId::Server(ServerId(2 + number)), up });
        }
        10 => {
            let (up, number) = (bytes.number(1)? & 1 == 0, bytes.number(1)?);
            agent.step(Event::LinkChanged { peer: PeerId::Client(NodeId(number.into())), up });
        }
        11 => {
            let nth = usize::try_from(bytes.number(1)?).ok()?;
            let exit_code = i32::try_from(bytes.number(1)?).ok()?;
            let key = agent.running.keys().nth(nth % agent.running.len().max(1)).copied();
            if let Some(key) = key {
                agent.exit(key, exit_code);
            }
        }
        12 => {
            let nth = usize::try_from(bytes.number(1)?).ok()?;
            let alloc = agent.running.keys().nth(nth).map_or(AllocId(7), |key| key.alloc);
            agent.step(Event::TaskAsked { alloc, task: None, ask: TaskAsk::Restart });
        }
        13 => agent.step(Event::Abandoned { id: RequestId(bytes.number(1)?) }),
        14 => {
            let mut node = node_spec(NodeId(7));
            node.meta.insert("mark".into(), bytes.number(1)?.to_string());
            agent.step(Event::Fingerprinted(node.into()));
        }
        _ => {
            let id = NodeId(8 + u128::from(bytes.number(1)? % 4));
            let spec = Arc::new(NodeSpec { id, ..node_spec(id) });
            let message = Message::FromNode(NodeMessage::Register { spec });
            receive(agent, PeerId::Client(id), message);
        }
    }
    Some(())
}

/// As it comes from the network: what may not be said is not heard. Nor is what only members say.
fn receive(agent: &mut DevAgent, from: PeerId, message: Message) {
    let is_of_consensus = matches!(
        message,
        Message::Raft(_) | Message::Ask { .. } | Message::Answer { .. } | Message::Cut { .. }
    );
    if is_of_consensus {
        return;
    }
    if let Ok(message) = Message::decode(from, &message.encode()) {
        agent.step(Event::Received { from, message });
    }
}
