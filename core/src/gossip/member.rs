//! What servers say of themselves, and who belongs to a membership.
//!
//! Invariants
//! - two clusters of one region never belong together;
//! - members are bounded.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;

use serde::{Deserialize, Serialize};

use super::swim::{Description, State};
use crate::limits::{REGIONS_MAX, SERVERS_MAX};
use crate::types::{ClusterId, Incarnation, ServerId};

/// Failed servers that were replaced are remembered for a while beside the living.
const REGION_MEMBERS_MAX: usize = 4 * SERVERS_MAX;

/// Whose servers belong to a membership.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Scope {
    /// Those of this server's region, which do not belong to different clusters.
    Region,
    /// Those of all regions; of this server's own as above.
    World,
}

impl Scope {
    pub(super) const fn members_max(self) -> usize {
        match self {
            Self::Region => REGION_MEMBERS_MAX,
            Self::World => REGIONS_MAX * REGION_MEMBERS_MAX,
        }
    }

    /// Whether `other` belongs to a membership that `own` is in.
    pub(super) fn holds(self, own: &Member, other: &Member) -> bool {
        if own.region != other.region {
            return self == Self::World;
        }
        let nobody = ClusterId::default();
        own.cluster == nobody || other.cluster == nobody || own.cluster == other.cluster
    }
}

/// Whether a member is there.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Status {
    /// It answers, or has not been silent for long enough to say otherwise.
    Alive,
    /// It answers, and has been told to go.
    Leaving,
    /// Enough servers could not reach it.
    Failed,
    /// It said that it goes, or an operator said it of one who had failed.
    Left,
}

/// What a server says of itself.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Member {
    pub id: ServerId,
    /// Which start of the server says this; a later one knows better.
    pub incarnation: Incarnation,
    /// Zero until it belongs to one; within one start it is never lost again.
    pub cluster: ClusterId,
    pub name: String,
    pub region: String,
    pub datacenter: String,
    /// Where the server is dialled, `host:port`.
    pub address: String,
    /// Where its HTTP API is, `host:port`.
    pub http_address: String,
    /// `bootstrap_expect`; zero: it founds no cluster.
    pub expect: u32,
    pub build: String,
    /// What else it says of itself, by name. Who does not know a name passes it on: what later versions have
    /// to say stands here.
    pub tags: BTreeMap<String, String>,
    /// It has been told to go: nobody should count on it any more.
    pub is_leaving: bool,
    /// The judgement of whoever holds this value. Not part of the description.
    pub status: Status,
}

/// A description on its way.
pub type Said = Box<Member>;

impl Description for Said {
    fn size_bytes(&self) -> usize {
        let Member { name, region, datacenter, address, http_address, build, tags, .. } =
            self.as_ref();
        let texts = [name, region, datacenter, address, http_address, build];
        let tags = tags.iter().map(|(name, value)| 2 + name.len() + value.len());
        48 + texts.into_iter().map(String::len).sum::<usize>() + tags.sum::<usize>()
    }
}

/// What a judgement is called of a member that says this of itself.
pub(super) const fn status_of(state: State, said: &Member) -> Status {
    match state {
        State::Alive | State::Suspect if said.is_leaving => Status::Leaving,
        State::Alive | State::Suspect => Status::Alive,
        State::Failed => Status::Failed,
        State::Left => Status::Left,
    }
}
