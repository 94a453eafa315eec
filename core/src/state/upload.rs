//! A saved state on its way back into the cluster: its parts, until the last has come.
//!
//! Invariants
//! - at most one upload is kept, and its parts are numbered from zero without a hole;
//! - it has at most `RESTORE_PARTS_MAX` parts of at most `RESTORE_PART_BYTES` each.
//!
//! What the parts hold is not known here.
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::State;
use super::txn::Txn;
use crate::digest::Digest;
use crate::limits::{RESTORE_PART_BYTES, RESTORE_PARTS_MAX};
use crate::time::WallTime;

/// One part.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Part {
    /// Names the whole.
    of: Digest,
    arrived_at: WallTime,
    #[serde(with = "crate::bytes")]
    bytes: Arc<[u8]>,
}

/// How far an upload is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Upload {
    /// What all parts together should hash to.
    pub(crate) of: Digest,
    pub(crate) parts: u32,
    /// When the newest part came.
    pub(crate) newest_at: WallTime,
}

impl State {
    /// The upload that is under way.
    pub(crate) fn upload(&self) -> Option<Upload> {
        let (nth, part) = self.upload.iter().next_back()?;
        Some(Upload { of: part.of, parts: nth + 1, newest_at: part.arrived_at })
    }

    /// All that has come of it.
    pub(crate) fn uploaded(&self) -> Vec<u8> {
        let parts = self.upload.iter().map(|(_, part)| &part.bytes[..]);
        parts.collect::<Vec<_>>().concat()
    }

    pub(super) fn check_upload(&self) {
        let Some(upload) = self.upload() else { return };
        assert!(upload.parts <= RESTORE_PARTS_MAX, "an upload is bounded");
        assert!(self.upload.len() == upload.parts as usize, "no part is missing");
        for (_, part) in self.upload.iter() {
            assert!(part.of == upload.of, "at most one upload is kept");
            assert!(part.bytes.len() <= RESTORE_PART_BYTES, "a part is bounded");
        }
    }
}

impl Txn<'_> {
    /// Keep the next part of the upload that is under way, or the first of a new one.
    pub(crate) fn put_part(&mut self, of: Digest, bytes: Arc<[u8]>) {
        let upload = self.state().upload();
        assert!(upload.is_none_or(|upload| upload.of == of), "at most one upload is kept");
        let nth = upload.map_or(0, |upload| upload.parts);
        assert!(nth < RESTORE_PARTS_MAX, "an upload is bounded");
        let part = Part { of, arrived_at: self.state().clock(), bytes };
        self.write_part(nth, part);
    }
}
