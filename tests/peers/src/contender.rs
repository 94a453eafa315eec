//! Who takes part, and what is inside each one's figure.
use crate::limit::Limit;
use crate::load::{Cluster, Load};
use crate::openraft09::Openraft09;
use crate::openraft010::Openraft010;
use crate::ours::{Ours, Weight};
use crate::raftrs::{Codec, RaftRs};

/// One line of the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Contender {
    Ours(Weight),
    RaftRs(Codec),
    Openraft09,
    Openraft010,
    Limit,
}

impl Contender {
    pub(crate) const ALL: [Self; 9] = [
        Self::Ours(Weight::Machine),
        Self::Ours(Weight::Checksum),
        Self::Ours(Weight::Journal),
        Self::Ours(Weight::Wire),
        Self::RaftRs(Codec::Skipped),
        Self::RaftRs(Codec::Protobuf),
        Self::Openraft09,
        Self::Openraft010,
        Self::Limit,
    ];

    /// Its name in the table and on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours(Weight::Machine) => "ours",
            Self::Ours(Weight::Checksum) => "ours+crc",
            Self::Ours(Weight::Journal) => "ours+wal",
            Self::Ours(Weight::Wire) => "ours+wal+wire",
            Self::RaftRs(Codec::Skipped) => "raft-rs",
            Self::RaftRs(Codec::Protobuf) => "raft-rs+wire",
            Self::Openraft09 => "openraft-0.9",
            Self::Openraft010 => "openraft-0.10",
            Self::Limit => "limit",
        }
    }

    /// What its figure holds.
    pub(crate) const fn inside(self) -> &'static str {
        match self {
            Self::Ours(Weight::Machine) => {
                "the frame's bytes made of the payloads, the machine, writes that complete in order; \
                 no serialisation, no checksum"
            }
            Self::Ours(Weight::Checksum) => {
                "the same, and crc32c of the frame's bytes on every voter"
            }
            Self::Ours(Weight::Journal) => {
                "ours, and on every voter: record encoded, appended to wal::Wal, block padded to \
                 4 KiB and sealed with crc32c; no serialisation of messages"
            }
            Self::Ours(Weight::Wire) => {
                "the same, and every message encoded and decoded (postcard, as agents do)"
            }
            Self::RaftRs(Codec::Skipped) => {
                "crate raft 0.7, one MsgPropose a batch, payloads shared as Bytes; no serialisation, \
                 no checksum"
            }
            Self::RaftRs(Codec::Protobuf) => {
                "the same, and every message encoded and decoded (protobuf)"
            }
            Self::Openraft09 => {
                "openraft 0.9.25, client_write_ff, one thread of tokio, payloads shared as Bytes; no \
                 serialisation, no checksum; a batch ends when the leader has applied it; bytes are \
                 those of a codec of fixed fields"
            }
            Self::Openraft010 => "openraft 0.10.0-alpha.37, client_write_many, otherwise the same",
            Self::Limit => {
                "no consensus: a batch copied once into a buffer that three logs share, \
                 acknowledged, counted; says how fast the machine is at the moment"
            }
        }
    }

    pub(crate) fn found(self, load: Load) -> Box<dyn Cluster> {
        match self {
            Self::Ours(weight) => Box::new(Ours::new(load, weight)),
            Self::RaftRs(codec) => Box::new(RaftRs::new(load, codec)),
            Self::Openraft09 => Box::new(Openraft09::new(load)),
            Self::Openraft010 => Box::new(Openraft010::new(load)),
            Self::Limit => Box::new(Limit::new(load)),
        }
    }
}
