//! What operators say of a node while it runs, laid over what its configuration says.
//!
//! Invariants
//! - what is known is on disk, and outlives the agent;
//! - a key that constraints could not name is refused.
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files;

/// In the directory of the client's state.
const FILE: &str = "node_meta.json";
const VERSION: u32 = 1;
const KEY_BYTES_MAX: usize = 128;
const VALUE_BYTES_MAX: usize = 4_096;
/// With what the configuration says; all of it goes with every registration.
const PAIRS_MAX: usize = 256;

/// `None`: the key is not there, whatever the configuration says.
pub type Changes = BTreeMap<String, Option<String>>;

/// Key by key, who said what.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    path: PathBuf,
    /// `client.meta`.
    configured: BTreeMap<String, String>,
    dynamic: Changes,
}

/// What is true, and who said it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Told {
    pub all: BTreeMap<String, String>,
    pub dynamic: Changes,
    pub configured: BTreeMap<String, String>,
}

/// The file's content.
#[derive(Debug, Deserialize, Serialize)]
struct Written {
    version: u32,
    dynamic: Changes,
}

/// Why nothing was changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    NotKept(String),
}

/// Why it cannot be known what operators said.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{}: {source}. Check that the agent may read and write there", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{} is damaged ({why}). Restore it from a backup; or remove it, and say again what \
         `drover node meta apply` said of this node", path.display()
    )]
    Damaged { path: PathBuf, why: String },
}

impl Metadata {
    /// What was kept in `dir`, over `configured`.
    pub(super) fn open(dir: &Path, configured: BTreeMap<String, String>) -> Result<Self, Failure> {
        let path = dir.join(FILE);
        let dynamic = match fs::read(&path) {
            Ok(bytes) => {
                let read = serde_json::from_slice::<Written>(&bytes).map_err(|why| why.to_string());
                let known = read.and_then(|written| match written.version {
                    VERSION => Ok(written.dynamic),
                    other => Err(format!("it has the version {other}")),
                });
                known.map_err(|why| Failure::Damaged { path: path.clone(), why })?
            }
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Changes::new(),
            Err(source) => return Err(Failure::Io { path, source }),
        };
        Ok(Self { path, configured, dynamic })
    }

    pub(super) fn told(&self) -> Told {
        let (configured, dynamic) = (self.configured.clone(), self.dynamic.clone());
        Told { all: laid_over(&configured, &dynamic), dynamic, configured }
    }

    /// All of `changes` or nothing.
    pub(super) fn apply(&mut self, changes: Changes) -> Result<(), Refused> {
        check(&changes).map_err(Refused::Invalid)?;
        let mut dynamic = self.dynamic.clone();
        dynamic.extend(changes);
        // What the configuration does not say need not be denied.
        dynamic.retain(|key, value| value.is_some() || self.configured.contains_key(key));
        let count = self.configured.keys().filter(|key| !dynamic.contains_key(*key)).count();
        if PAIRS_MAX < count + dynamic.len() {
            let why = format!("a node has at most {PAIRS_MAX} keys: unset some of them first");
            return Err(Refused::Invalid(why));
        }
        self.keep(&dynamic).map_err(|fault| {
            let why = format!("it cannot be kept in {}: {fault}", self.path.display());
            Refused::NotKept(why)
        })?;
        self.dynamic = dynamic;
        Ok(())
    }

    fn keep(&self, dynamic: &Changes) -> io::Result<()> {
        let written = Written { version: VERSION, dynamic: dynamic.clone() };
        if let Some(dir) = self.path.parent() {
            files::make_private_dir(dir)?;
        }
        files::replace(&self.path, serde_json::to_string_pretty(&written)?.as_bytes())
    }
}

fn laid_over(configured: &BTreeMap<String, String>, dynamic: &Changes) -> BTreeMap<String, String> {
    let mut all = configured.clone();
    for (key, value) in dynamic {
        match value {
            Some(value) => all.insert(key.clone(), value.clone()),
            None => all.remove(key),
        };
    }
    all
}

fn check(changes: &Changes) -> Result<(), String> {
    if changes.is_empty() {
        return Err("Meta is empty: name at least one key, with a text or null".into());
    }
    for (key, value) in changes {
        check_key(key)?;
        if value.as_ref().is_some_and(|value| VALUE_BYTES_MAX < value.len()) {
            return Err(format!("the value of {key:?} is longer than {VALUE_BYTES_MAX} bytes"));
        }
    }
    Ok(())
}

/// As constraints name them: `${meta.rack.row}`.
fn check_key(key: &str) -> Result<(), String> {
    let is_word = |part: &str| {
        let mut chars = part.chars();
        let rest_is_fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        chars.next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
            && chars.all(rest_is_fine)
    };
    let why = if key.is_empty() {
        "a key is empty".to_owned()
    } else if KEY_BYTES_MAX < key.len() {
        format!("a key is longer than {KEY_BYTES_MAX} bytes")
    } else if !key.split('.').all(is_word) {
        format!("the key {key:?} cannot be used")
    } else {
        return Ok(());
    };
    Err(format!(
        "{why}: keys are letters, digits, _ and -, in parts with dots between, such as rack.row"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn changes(list: &[(&str, Option<&str>)]) -> Changes {
        list.iter().map(|&(key, value)| (key.to_owned(), value.map(str::to_owned))).collect()
    }

    fn open(dir: &Path, configured: &[(&str, &str)]) -> Metadata {
        Metadata::open(dir, pairs(configured)).unwrap()
    }

    #[test]
    fn what_operators_say_goes_before_the_configuration_and_outlives_the_agent() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("client");
        let configured = [("rack", "r1"), ("row", "a")];
        let mut metadata = open(&state, &configured);
        let said = changes(&[("rack", Some("r2")), ("row", None), ("new", Some("")), ("no", None)]);
        metadata.apply(said).unwrap();
        let told = metadata.told();
        assert_eq!(told.all, pairs(&[("new", ""), ("rack", "r2")]));
        assert_eq!(told.configured, pairs(&configured));
        let kept = changes(&[("new", Some("")), ("rack", Some("r2")), ("row", None)]);
        assert_eq!(told.dynamic, kept, "what nobody says need not be denied");
        assert_eq!(open(&state, &configured).told(), told);
        // The configuration has changed meanwhile.
        assert_eq!(open(&state, &[("rack", "r9")]).told().all, told.all);
        let mut metadata = open(&state, &configured);
        metadata.apply(changes(&[("new", None), ("row", Some("b"))])).unwrap();
        assert_eq!(open(&state, &configured).told().all, pairs(&[("rack", "r2"), ("row", "b")]));
    }

    #[test]
    fn a_key_or_value_that_cannot_be_used_is_refused_with_all_that_came_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut metadata = open(dir.path(), &[]);
        let (long, longer) = ("k".repeat(129), "v".repeat(4_097));
        for (key, value, why) in [
            ("", "x", "a key is empty"),
            ("a b", "x", "the key \"a b\" cannot be used: keys are letters"),
            ("a..b", "x", "cannot be used"),
            (".a", "x", "cannot be used"),
            ("-a", "x", "cannot be used"),
            ("ä", "x", "cannot be used"),
            (long.as_str(), "x", "longer than 128 bytes"),
            ("a", longer.as_str(), "the value of \"a\" is longer than 4096 bytes"),
        ] {
            let said = changes(&[("fine", Some("1")), (key, Some(value))]);
            let refused = metadata.apply(said).unwrap_err();
            assert!(matches!(&refused, Refused::Invalid(said) if said.contains(why)), "{refused}");
        }
        assert!(metadata.apply(Changes::new()).is_err());
        assert!(metadata.told().all.is_empty());
        let many = (0..=PAIRS_MAX).map(|n| (format!("k{n}"), Some(String::new()))).collect();
        assert!(metadata.apply(many).unwrap_err().to_string().contains("at most 256 keys"));
        assert!(!dir.path().join(FILE).exists(), "nothing was kept");
    }

    #[test]
    fn what_cannot_be_kept_is_not_said_and_what_is_damaged_is_not_guessed() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("client");
        let mut metadata = open(&state, &[]);
        fs::write(&state, "a file").unwrap();
        let refused = metadata.apply(changes(&[("a", Some("1"))])).unwrap_err();
        assert!(matches!(&refused, Refused::NotKept(why) if why.contains("node_meta.json")));
        assert!(metadata.told().all.is_empty());
        for text in ["{", "{\"version\": 2, \"dynamic\": {}}"] {
            fs::write(dir.path().join(FILE), text).unwrap();
            let why = Metadata::open(dir.path(), BTreeMap::new()).unwrap_err().to_string();
            assert!(why.contains("is damaged") && why.contains("or remove it"), "{why}");
        }
    }
}
