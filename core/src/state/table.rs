//! One table: rows by key, in the order of their keys, with the sum of the rows' hashes.
//!
//! The map behind it is a detail that nobody outside sees: a slab may take its place where rows are
//! counted in millions.
//!
//! Invariants
//! - `digest` is the sum of the hashes of (table, key, row) over all rows.
//!
//! It does not know what a row means, and keeps no index: that is `Txn`'s work.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::borrow::Borrow;
use core::ops::RangeBounds;

use serde::ser::{Serialize, SerializeSeq, Serializer};

use crate::digest::Digest;

/// Which table a row belongs to, mixed into its hash so that equal bytes of two tables differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tag {
    Node = 1,
    Job = 2,
    Eval = 3,
    Alloc = 4,
    Tombstone = 5,
    Session = 6,
    Remembered = 7,
    Header = 8,
    Part = 9,
    Deployment = 10,
    Pool = 11,
}

/// The hash of one row.
pub(crate) fn row_digest<K: Serialize, V: Serialize>(tag: Tag, key: &K, row: &V) -> Digest {
    Digest::of_value(&(tag as u8, key, row))
}

#[derive(Clone, Debug)]
struct Stored<V> {
    row: V,
    /// Kept beside the row so that overwriting it needs no second encoding of what was there.
    digest: Digest,
}

/// Rows of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Table<K, V> {
    tag: Tag,
    // Boxed: ids grow, so leaves of the tree stay half full, and rows are large.
    rows: BTreeMap<K, Box<Stored<V>>>,
    digest: Digest,
}

impl<K: Clone + Ord + Serialize, V: Serialize> Table<K, V> {
    /// An empty table.
    pub(crate) const fn new(tag: Tag) -> Self {
        Self { tag, rows: BTreeMap::new(), digest: Digest(0) }
    }

    /// The sum of its rows' hashes.
    pub(crate) const fn digest(&self) -> Digest {
        self.digest
    }

    /// The same sum, from nothing.
    pub(crate) fn digest_recomputed(&self) -> Digest {
        let mut sum = Digest(0);
        for (key, stored) in &self.rows {
            sum.add(row_digest(self.tag, key, &stored.row));
        }
        sum
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn has(&self, key: K) -> bool {
        self.rows.contains_key(&key)
    }

    pub(crate) fn row(&self, key: K) -> Option<&V> {
        self.rows.get(&key).map(|stored| &stored.row)
    }

    /// The rows with these keys, which grow; one that follows the last in the table is not looked for.
    pub(crate) fn rows_of(&self, keys: impl Iterator<Item = K>) -> impl Iterator<Item = &V> {
        let mut after = self.rows.range(..);
        keys.map(move |key| {
            let (found, stored) = match after.next() {
                Some(next) if *next.0 == key => next,
                Some(_) | None => {
                    after = self.rows.range(key.clone()..);
                    after.next().expect("invariant: an index names rows that exist")
                }
            };
            assert!(*found == key, "an index names rows that exist");
            &stored.row
        })
    }

    /// The row whose key is written so.
    pub(crate) fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.rows.get(key).map(|stored| &stored.row)
    }

    /// Every row, in the order of keys.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (K, &V)> {
        self.rows.iter().map(|(key, stored)| (key.clone(), &stored.row))
    }

    /// The rows with a key in `range`.
    pub(crate) fn range(
        &self,
        range: impl RangeBounds<K>,
    ) -> impl DoubleEndedIterator<Item = (K, &V)> {
        self.rows.range(range).map(|(key, stored)| (key.clone(), &stored.row))
    }

    /// Write a row and hand back what it replaced.
    pub(crate) fn put(&mut self, key: K, row: V) -> Option<V> {
        let digest = row_digest(self.tag, &key, &row);
        self.digest.add(digest);
        let before = self.rows.insert(key, Box::new(Stored { row, digest }))?;
        self.digest.remove(before.digest);
        Some(before.row)
    }

    /// Take a row out.
    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        let before = self.rows.remove(&key)?;
        self.digest.remove(before.digest);
        Some(before.row)
    }
}

/// As a list of (key, row), which `Snapshot` reads back one by one.
impl<K: Serialize, V: Serialize> Serialize for Table<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.rows.len()))?;
        for (key, stored) in &self.rows {
            list.serialize_element(&(key, &stored.row))?;
        }
        list.end()
    }
}
