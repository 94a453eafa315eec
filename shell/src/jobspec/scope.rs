//! The names that an expression may use.
//!
//! Invariants
//! - an inner name hides an outer one; leaving a scope brings the outer one back.
use std::collections::BTreeMap;

use super::value::Value;

/// Names of one height, and those around them.
#[derive(Default)]
pub(crate) struct Scope<'a> {
    names: BTreeMap<String, Value>,
    outer: Option<&'a Self>,
}

impl<'a> Scope<'a> {
    /// A scope inside this one.
    pub(crate) const fn inner(&'a self) -> Self {
        Self { names: BTreeMap::new(), outer: Some(self) }
    }

    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.names.insert(name.to_owned(), value);
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Value> {
        self.names.get(name).or_else(|| self.outer.and_then(|outer| outer.find(name)))
    }
}
