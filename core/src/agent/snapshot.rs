//! The bytes of a snapshot: where in the log it was taken, and the state there.
//!
//! Every server makes the same bytes at the same cut, so a snapshot may come from any of them.
//!
//! Invariants
//! - `unpack` gives back what `pack` was given.
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;
use crate::raft::{Configuration, Position, SnapshotMark};
use crate::state::State;

/// What stands before the state.
#[derive(Deserialize, Serialize)]
enum Header {
    V1 { position: Position, configuration: Configuration, state_bytes: u64 },
}

/// A snapshot of the state encoded as `state`, taken at `position`.
#[must_use]
pub fn pack(position: Position, configuration: &Configuration, state: &[u8]) -> Vec<u8> {
    let configuration = configuration.clone();
    let header = Header::V1 { position, configuration, state_bytes: state.len() as u64 };
    let mut bytes =
        postcard::to_allocvec(&header).expect("invariant: a header is plain data and encodes");
    bytes.extend_from_slice(state);
    bytes
}

/// The snapshot's name and the encoded state in it.
///
/// # Errors
/// When the bytes are not a snapshot of this version.
pub fn unpack(bytes: &[u8]) -> Result<(SnapshotMark, &[u8]), String> {
    let (header, state) = postcard::take_from_bytes(bytes).map_err(|fault| format!("{fault}"))?;
    let Header::V1 { position, configuration, state_bytes } = header;
    if state.len() as u64 != state_bytes {
        return Err(format!("{state_bytes} bytes were promised and {} are there", state.len()));
    }
    let mark = SnapshotMark {
        index: position.index,
        term: position.term,
        digest: Digest::of(bytes),
        bytes: bytes.len() as u64,
        configuration,
    };
    Ok((mark, state))
}

/// A snapshot with the state that is in it: read by whoever loaded it, so that no step has to.
///
/// It crosses serde as its bytes alone.
#[derive(Clone)]
pub struct Loaded {
    bytes: Arc<[u8]>,
    state: Box<State>,
}

impl Loaded {
    /// Read the state in a snapshot's bytes.
    ///
    /// # Errors
    /// When the bytes are not a snapshot of this version.
    pub fn read(bytes: Arc<[u8]>) -> Result<Self, String> {
        let (_, state) = unpack(&bytes)?;
        let state = State::decode(state).map_err(|fault| format!("{fault:?}"))?;
        Ok(Self { bytes, state: Box::new(state) })
    }

    /// The state in it.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn into_state(self) -> State {
        *self.state
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Loaded({} bytes, index {})", self.bytes.len(), self.state.index().0)
    }
}

impl PartialEq for Loaded {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Serialize for Loaded {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.bytes)
    }
}

impl<'de> Deserialize<'de> for Loaded {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(from)?;
        Self::read(bytes.into()).map_err(D::Error::custom)
    }
}

/// A state inside a frozen agent.
pub(super) mod frozen {
    use alloc::format;
    use alloc::vec::Vec;

    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::state::State;

    pub(in crate::agent) fn serialize<S: Serializer>(
        state: &State,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&state.encode())
    }

    pub(in crate::agent) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<State, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        State::decode(&bytes).map_err(|fault| D::Error::custom(format!("{fault:?}")))
    }
}
