//! A few things by their names, in little memory: there are ten thousand nodes with a dozen attributes
//! each, and a tree of a few leaves takes three times what is in it.
//!
//! Invariants
//! - names are in order, and each is there once.
use ::alloc::collections::BTreeMap;
use ::alloc::string::String;
use core::ops::Index;

use litemap::LiteMap;
use serde::{Deserialize, Serialize};

/// See the module. Written and read as a map.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Named<V>(LiteMap<String, V>);

impl<V> Named<V> {
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&V> {
        self.0.get(name)
    }

    #[must_use]
    pub fn contains_key(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// What had the name before.
    pub fn insert(&mut self, name: String, value: V) -> Option<V> {
        self.0.insert(name, value)
    }

    /// In the order of names.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&String, &V)> {
        self.0.iter()
    }

    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &String> {
        self.iter().map(|(name, _)| name)
    }

    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// As those want it who show it.
    #[must_use]
    pub fn to_tree(&self) -> BTreeMap<String, V>
    where
        V: Clone,
    {
        self.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

impl<V> Default for Named<V> {
    fn default() -> Self {
        Self(LiteMap::new_vec())
    }
}

impl<V> FromIterator<(String, V)> for Named<V> {
    fn from_iter<I: IntoIterator<Item = (String, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl<V, const COUNT: usize> From<[(String, V); COUNT]> for Named<V> {
    fn from(pairs: [(String, V); COUNT]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<V> From<BTreeMap<String, V>> for Named<V> {
    fn from(tree: BTreeMap<String, V>) -> Self {
        tree.into_iter().collect()
    }
}

impl<V> Index<&str> for Named<V> {
    type Output = V;

    fn index(&self, name: &str) -> &V {
        self.get(name).expect("who indexes knows the name")
    }
}
