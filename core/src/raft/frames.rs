//! The frames of one append. Nearly every append of a calm cluster carries one, and then the list takes
//! no memory of its own.
//!
//! Invariants
//! - `rest` is empty while `first` is;
//! - what crosses the wire is a sequence, however it is held here.
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::iter::Chain;
use core::{option, slice};

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::message::Frame;

/// Frames in the order of the log.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Frames {
    first: Option<Arc<Frame>>,
    rest: Vec<Arc<Frame>>,
}

impl Frames {
    /// One more, at the end.
    pub fn push(&mut self, frame: Arc<Frame>) {
        if self.first.is_none() {
            self.first = Some(frame);
        } else {
            self.rest.push(frame);
        }
    }

    /// Whether there is none: a heartbeat or a probe.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The newest.
    #[must_use]
    pub fn last(&self) -> Option<&Arc<Frame>> {
        self.rest.last().or(self.first.as_ref())
    }

    /// Oldest first.
    pub fn iter(&self) -> Chain<option::Iter<'_, Arc<Frame>>, slice::Iter<'_, Arc<Frame>>> {
        self.first.iter().chain(&self.rest)
    }
}

impl IntoIterator for Frames {
    type Item = Arc<Frame>;
    type IntoIter = Chain<option::IntoIter<Arc<Frame>>, alloc::vec::IntoIter<Arc<Frame>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}

impl<'a> IntoIterator for &'a Frames {
    type Item = &'a Arc<Frame>;
    type IntoIter = Chain<option::Iter<'a, Arc<Frame>>, slice::Iter<'a, Arc<Frame>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Arc<Frame>> for Frames {
    fn from_iter<I: IntoIterator<Item = Arc<Frame>>>(frames: I) -> Self {
        let mut frames = frames.into_iter();
        Self { first: frames.next(), rest: frames.collect() }
    }
}

impl Serialize for Frames {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let length = usize::from(self.first.is_some()) + self.rest.len();
        let mut sequence = to.serialize_seq(Some(length))?;
        for frame in self {
            serde::ser::SerializeSeq::serialize_element(&mut sequence, &**frame)?;
        }
        serde::ser::SerializeSeq::end(sequence)
    }
}

impl<'de> Deserialize<'de> for Frames {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Sequence)
    }
}

struct Sequence;

impl<'de> Visitor<'de> for Sequence {
    type Value = Frames;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence of frames")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Frames, A::Error> {
        let mut frames = Frames::default();
        while let Some(frame) = sequence.next_element::<Frame>()? {
            frames.push(Arc::new(frame));
        }
        Ok(frames)
    }
}
