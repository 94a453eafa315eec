//! Identifiers. Small integers inside, UUIDs outside.
//!
//! An object's id is made from the log: `index << ORDINAL_BITS | ordinal`, where the ordinal counts
//! the objects of that kind that the entry at `index` created. So ids are unique, ordered by age, and
//! need no chance inside the state machine. What users see is `Uuid::of_object`, an invertible keyed
//! permutation, so that two clusters never show the same ids.
//!
//! Invariants
//! - no id is ever given twice;
//! - `Uuid::of_object` is undone by `Uuid::object`.
use ::alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::rng::mix;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
        )]
        pub struct $name(pub $inner);
    };
}

id!(/** A server agent: a voter or learner of the consensus. Drawn once and kept in its data directory. */ ServerId(u64));
id!(/** A client node in the tables: the hash of its own key. Shown as a UUID. */ NodeId(u128));
id!(/** Which start of an agent this is: grows with every start. */ Incarnation(u64));
id!(/** A cluster, drawn when it is bootstrapped. Zero before. */ ClusterId(u128));
id!(/** A request of an outside caller, chosen by the shell; unique within one start of the agent. */ RequestId(u64));
id!(/** A Raft term. */ Term(u64));
id!(/** A position in the replicated log; the first entry is 1. */ Index(u64));
id!(/** Position in this agent's stream of durable writes; the first is 1. */ WriteSeq(u64));
id!(/** A job's row, made from the log. Its name is in its specification. */ JobId(u64));
id!(/** An evaluation. */ EvalId(u64));
id!(/** An allocation. */ AllocId(u64));
id!(/** A deployment. */ DeploymentId(u64));
id!(/** A node's dense position in the scheduler's columns; reused after the node is gone. */ NodeSlot(u32));

impl From<u32> for NodeSlot {
    fn from(slot: u32) -> Self {
        Self(slot)
    }
}

impl From<NodeSlot> for u32 {
    fn from(slot: NodeSlot) -> Self {
        slot.0
    }
}

/// Bits of an object's id that hold its ordinal within one log entry.
pub const ORDINAL_BITS: u32 = 20;

/// The id of the `ordinal`-th object created by the entry at `index`.
#[must_use]
pub const fn object_id(index: Index, ordinal: u32) -> u64 {
    assert!(ordinal < 1 << ORDINAL_BITS, "an entry creates fewer objects than ordinals exist");
    assert!(index.0 < 1 << (64 - ORDINAL_BITS), "the log's index fits beside the ordinal");
    (index.0 << ORDINAL_BITS) | ordinal as u64
}

impl Index {
    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What outsiders see of an object: 128 bits printed as 8-4-4-4-12 hex digits.
#[derive(Clone, Copy, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Uuid(pub u128);

impl Uuid {
    /// The UUID of the object with `id`, under a cluster's `key`.
    #[must_use]
    pub const fn of_object(id: u64, key: u64) -> Self {
        let high = permute(id, key);
        Self(((high as u128) << 64) | mix(high ^ key.rotate_left(17)) as u128)
    }

    /// The id whose UUID this is under `key`, if there is one.
    #[must_use]
    pub fn object(self, key: u64) -> Option<u64> {
        let high = u64::try_from(self.0 >> 64).expect("invariant: 64 bits remain");
        let id = permute_back(high, key);
        (Self::of_object(id, key) == self).then_some(id)
    }

    /// Reads 32 hex digits with or without dashes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|&c| c != '-').collect();
        let shaped = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        shaped.then(|| u128::from_str_radix(&digits, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v = self.0;
        let (a, b, c) = (v >> 96, (v >> 80) & 0xffff, (v >> 64) & 0xffff);
        let (d, e) = ((v >> 48) & 0xffff, v & 0xffff_ffff_ffff);
        write!(f, "{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl AllocId {
    /// The entry that created it.
    #[must_use]
    pub const fn made_by(self) -> Index {
        Index(self.0 >> ORDINAL_BITS)
    }
}

impl NodeId {
    /// The node whose key has this hash (SHA-256 of its public half).
    #[must_use]
    pub const fn of_hash(hash: &[u8; 32]) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(hash.split_at(16).0);
        Self(u128::from_be_bytes(id))
    }

    /// How users see the node.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        Uuid(self.0)
    }
}

const ROUNDS: u64 = 4;

/// A Feistel network over two 32-bit halves: a bijection whatever the round function is.
const fn permute(id: u64, key: u64) -> u64 {
    let (mut left, mut right) = (id >> 32, id & 0xffff_ffff);
    let mut round = 0;
    while round < ROUNDS {
        let mixed = left ^ (mix(right ^ key ^ (round << 56)) & 0xffff_ffff);
        (left, right) = (right, mixed);
        round += 1;
    }
    (left << 32) | right
}

const fn permute_back(uuid: u64, key: u64) -> u64 {
    let (mut left, mut right) = (uuid >> 32, uuid & 0xffff_ffff);
    let mut round = ROUNDS;
    while round > 0 {
        round -= 1;
        let mixed = right ^ (mix(left ^ key ^ (round << 56)) & 0xffff_ffff);
        (left, right) = (mixed, left);
    }
    (left << 32) | right
}

/// Names one request of one start of a server: its write in the log, and who waits for it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Session {
    pub origin: ServerId,
    pub incarnation: Incarnation,
    pub seq: u64,
}
