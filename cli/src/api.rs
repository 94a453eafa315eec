//! Reading the API's JSON: a field that is absent, null or of another kind reads as nothing.
//!
//! Servers of other versions leave fields out and send null for empty lists; a command that prints
//! has nothing better to do with that than to print nothing.
//!
//! Invariants
//! - no answer of a server makes a command panic.
use serde_json::Value;

/// What every object of the API can be asked.
pub(crate) trait Fields {
    fn at(&self, key: &str) -> &Value;
    fn text(&self, key: &str) -> &str;
    fn int(&self, key: &str) -> i64;
    fn flag(&self, key: &str) -> bool;
    fn list(&self, key: &str) -> &[Value];
    /// The entries of an object, by name.
    fn entries(&self, key: &str) -> Vec<(&str, &Value)>;
    /// The value itself as a list.
    fn items(&self) -> &[Value];
}

impl Fields for Value {
    fn at(&self, key: &str) -> &Value {
        self.get(key).unwrap_or(&Self::Null)
    }

    fn text(&self, key: &str) -> &str {
        self.at(key).as_str().unwrap_or_default()
    }

    fn int(&self, key: &str) -> i64 {
        self.at(key).as_i64().unwrap_or_default()
    }

    fn flag(&self, key: &str) -> bool {
        self.at(key).as_bool().unwrap_or_default()
    }

    fn list(&self, key: &str) -> &[Value] {
        self.at(key).items()
    }

    fn entries(&self, key: &str) -> Vec<(&str, &Value)> {
        let map = self.at(key).as_object();
        let mut entries: Vec<_> =
            map.into_iter().flatten().map(|(name, value)| (name.as_str(), value)).collect();
        entries.sort_by_key(|(name, _)| *name);
        entries
    }

    fn items(&self) -> &[Value] {
        self.as_array().map_or(&[], Vec::as_slice)
    }
}

/// How much of an id is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ids {
    Short,
    Full,
}

impl Ids {
    pub(crate) const fn of(verbose: bool) -> Self {
        if verbose { Self::Full } else { Self::Short }
    }

    /// `id` as it is shown.
    pub(crate) fn show(self, id: &str) -> String {
        match self {
            Self::Short => id.chars().take(8).collect(),
            Self::Full => id.to_owned(),
        }
    }
}
