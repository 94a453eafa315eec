//! Messages between agents: their envelope, their lanes, and who may say what.
//!
//! The envelope is a versioned enum: variants are appended and never changed. What does not decode,
//! is too long, or comes from someone who may not say it, is refused here, before it becomes an event.
//!
//! Invariants
//! - a client speaks only of its own node; Raft, gossip and forwarded requests are heard from servers only;
//! - a server of another region says who is there, and nothing else;
//! - nothing longer than `MESSAGE_BYTES_MAX` is decoded.
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::api::{Rejection, Request, Response};
use crate::client::{NodeMessage, ServerMessage};
use crate::digest::Digest;
use crate::limits::MESSAGE_BYTES_MAX;
use crate::time::WallTime;
use crate::types::{Incarnation, Index, NodeId, ServerId};
use crate::{gossip, raft};

/// Room for a message that carries nothing long.
const SIZE_BYTES_MIN: usize = 64;

/// An agent at the other end of a link, as its certificate and greeting say.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum PeerId {
    /// Of our region, where we are a server.
    Server(ServerId),
    Client(NodeId),
    /// A server of another region.
    Foreign(ServerId),
}

/// Everything that agents tell each other.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Message {
    Raft(raft::Message),
    Gossip(gossip::Message),
    /// A server asks the leader to do what a caller of its own wants.
    Ask {
        incarnation: Incarnation,
        seq: u64,
        /// It was asked before, maybe of another: there is nobody to be told that there is no room.
        is_repeat: bool,
        request: Request,
    },
    /// What became of it. `incarnation` and `seq` are those of the question: the numbers begin anew with
    /// every start of who asked.
    Answer {
        incarnation: Incarnation,
        seq: u64,
        answer: Result<Response, Rejection>,
    },
    /// What a server tells the leader now and then: its clock, and whom it has heard from.
    Sighting {
        wall: WallTime,
        seen: Vec<Seen>,
    },
    /// A server's state at a cut.
    Cut {
        index: Index,
        digest: Digest,
    },
    /// From a client to the server that serves it.
    FromNode(NodeMessage),
    /// From a server to a client.
    ToNode(ServerMessage),
    /// The leader asks to look for client nodes.
    LookFor {
        round: u64,
        nodes: Vec<NodeId>,
    },
    /// These were not heard; the others were.
    LookedFor {
        round: u64,
        silent: Vec<NodeId>,
    },
    /// Which servers of all regions there are.
    Wan(gossip::Message),
}

/// A client node that was heard from, as an age: instants do not travel.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Seen {
    pub node: NodeId,
    pub age_ms: u64,
    /// As its heartbeat said.
    pub is_behind: bool,
}

/// How a message travels. Lanes are not ordered among each other.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Lane {
    /// In order, until the link breaks.
    Ordered,
    /// Maybe once, maybe never.
    Datagram,
    /// In order, behind nothing but its own kind.
    Bulk,
}

/// Why a peer's bytes were refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    TooLong {
        bytes: usize,
    },
    Malformed {
        why: String,
    },
    /// It said what its certificate does not let it say.
    Misbehaved {
        rule: &'static str,
    },
}

#[derive(Deserialize, Serialize)]
enum Envelope {
    V1(Message),
}

/// A borrowing twin of `Envelope`, so that encoding copies nothing.
#[derive(Serialize)]
enum EnvelopeRef<'a> {
    V1(&'a Message),
}

impl Message {
    /// The bytes on the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(&EnvelopeRef::V1(self), Vec::with_capacity(self.size_hint()))
            .expect("invariant: messages are plain data and always encode")
    }

    /// About how long the bytes will be: enough for what is long, so that they are not moved on the way.
    #[must_use]
    pub fn size_hint(&self) -> usize {
        let Self::Raft(raft) = self else { return SIZE_BYTES_MIN };
        let body = if let raft::Body::Append { frames, .. } = &raft.body {
            frames.iter().map(|frame| frame.cost_bytes()).sum()
        } else if let raft::Body::SnapshotChunk { bytes, .. } = &raft.body {
            bytes.len() as u64
        } else {
            0
        };
        SIZE_BYTES_MIN + usize::try_from(body).unwrap_or_default()
    }

    /// Reads what `from` sent, and refuses what it may not say.
    ///
    /// # Errors
    /// `Fault` says which rule was broken; the link's owner counts it.
    pub fn decode(from: PeerId, bytes: &[u8]) -> Result<Self, Fault> {
        if MESSAGE_BYTES_MAX < bytes.len() {
            return Err(Fault::TooLong { bytes: bytes.len() });
        }
        let Envelope::V1(message) = postcard::from_bytes(bytes)
            .map_err(|fault| Fault::Malformed { why: alloc::format!("{fault}") })?;
        message.check_sender(from)?;
        if let Self::Raft(raft) = &message
            && let Some(rule) = raft.fault()
        {
            return Err(Fault::Misbehaved { rule });
        }
        Ok(message)
    }

    /// How this message travels.
    #[must_use]
    pub fn lane(&self) -> Lane {
        match self {
            Self::Raft(raft::Message { body: raft::Body::SnapshotChunk { .. }, .. }) => Lane::Bulk,
            Self::Raft(_)
            | Self::Ask { .. }
            | Self::Answer { .. }
            | Self::Cut { .. }
            | Self::LookFor { .. }
            | Self::LookedFor { .. }
            | Self::FromNode(_)
            | Self::ToNode(_) => Lane::Ordered,
            Self::Gossip(gossip::Message::Datagram(_))
            | Self::Wan(gossip::Message::Datagram(_)) => Lane::Datagram,
            Self::Gossip(_) | Self::Wan(_) | Self::Sighting { .. } => Lane::Ordered,
        }
    }

    fn check_sender(&self, from: PeerId) -> Result<(), Fault> {
        let servers_only = "only servers may say this";
        let clients_only = "only the client node itself may say this";
        let region_only = "only servers of this region may say this";
        match (self, from) {
            (Self::FromNode(_), PeerId::Client(_)) => Ok(()),
            (Self::FromNode(_), PeerId::Server(_) | PeerId::Foreign(_)) => {
                Err(Fault::Misbehaved { rule: clients_only })
            }
            (_, PeerId::Server(_)) | (Self::Wan(_), PeerId::Foreign(_)) => Ok(()),
            (_, PeerId::Foreign(_)) => Err(Fault::Misbehaved { rule: region_only }),
            (_, PeerId::Client(_)) => Err(Fault::Misbehaved { rule: servers_only }),
        }
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(id) => write!(f, "server {:016x}", id.0),
            Self::Client(id) => write!(f, "node {}", id.uuid()),
            Self::Foreign(id) => write!(f, "server {:016x} of another region", id.0),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => write!(f, "a message of {bytes} bytes is too long"),
            Self::Malformed { why } => write!(f, "a message does not decode: {why}"),
            Self::Misbehaved { rule } => write!(f, "refused: {rule}"),
        }
    }
}
