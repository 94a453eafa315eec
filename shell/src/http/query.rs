//! What the query of a request says, apart from what it asks for.
//!
//! Invariants
//! - a parameter that cannot be understood is refused, never ignored.
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use drover_core::api::Consistency;
use drover_core::state::UuidPrefix;
use drover_core::types::{Index, Uuid};

use super::Shared;
use super::answer::Failure;
use crate::jobspec::duration;

const WAIT_MAX: Duration = Duration::from_mins(5);
/// Rows of a page, whatever the caller asks for.
const PAGE_ROWS_MAX: usize = 10_000;

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    pairs: Vec<(String, String)>,
    pub(super) namespace: Scope,
    pub(super) prefix: String,
    pub(super) freshness: Freshness,
    pub(super) wait: Option<Wait>,
    pub(super) page: Page,
}

/// Which namespaces are meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Scope {
    One(String),
    All,
}

impl Default for Scope {
    fn default() -> Self {
        Self::One("default".to_owned())
    }
}

impl Scope {
    pub(super) fn holds(&self, namespace: &str) -> bool {
        match self {
            Self::One(name) => name == namespace,
            Self::All => true,
        }
    }

    /// The one namespace that an object's name is looked up in.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::One(name) => name,
            Self::All => "default",
        }
    }
}

/// What a read must have seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Freshness {
    /// Everything that was committed before the read began.
    Fresh(Consistency),
    /// Whatever this server has.
    Stale,
}

impl Default for Freshness {
    fn default() -> Self {
        Self::Fresh(Consistency::Default)
    }
}

/// Answer once the object is newer than `index`, or `most` has passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Wait {
    pub(super) index: Index,
    pub(super) most: Duration,
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Page {
    /// `None`: everything.
    pub(super) rows_max: Option<usize>,
    /// The first row, as an earlier answer named it.
    pub(super) from: Option<String>,
}

impl Query {
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let mut query = Self { pairs: pairs(text)?, ..Self::default() };
        match query.text("namespace") {
            Some("*") => query.namespace = Scope::All,
            Some(name) => query.namespace = Scope::One(name.to_owned()),
            None => (),
        }
        query.prefix = query.text("prefix").unwrap_or_default().to_owned();
        query.freshness = match (query.has("stale"), query.has("consistent")) {
            (true, true) => {
                return Err(Failure::bad("a read is stale or consistent: ask for one of them"));
            }
            (true, false) => Freshness::Stale,
            (false, true) => Freshness::Fresh(Consistency::Consistent),
            (false, false) => Freshness::default(),
        };
        query.wait = query.parse_wait()?;
        query.page = query.parse_page()?;
        Ok(query)
    }

    /// The value of `name`, if it has one.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Every value of `name`.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether `name` is there at all.
    pub(super) fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(key, _)| key == name)
    }

    /// A flag, in the words that Go's clients use.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Failure> {
        match self.text(name) {
            None => Ok(None),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Some(true)),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Some(false)),
            Some(other) => {
                Err(Failure::bad(format!("{name} is true or false, and {other:?} is neither")))
            }
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, Failure> {
        let number = self.text(name).map(str::parse).transpose();
        number.map_err(|_| Failure::bad(format!("{name} must be a whole number")))
    }

    /// `cas`: the entry that must have set last what is to be set now; `known` is the one that did.
    pub(super) fn check_index(&self, known: Index) -> Result<Option<Index>, Failure> {
        let Some(index) = self.number("cas")? else { return Ok(None) };
        let index = u64::try_from(index).map_err(|_| {
            Failure::bad(format!("cas: {index} is no index: use the ModifyIndex that was read"))
        })?;
        // One stands for what was never set.
        Ok(Some(if known == Index(0) && index == 1 { known } else { Index(index) }))
    }

    fn parse_wait(&self) -> Result<Option<Wait>, Failure> {
        let most = match self.text("wait") {
            None => WAIT_MAX,
            Some(text) => {
                let ns = duration::parse_ns(text).and_then(|ns| u64::try_from(ns).ok());
                Duration::from_nanos(ns.ok_or_else(|| Failure::bad("Invalid wait time"))?)
            }
        };
        let index = match self.text("index") {
            None => 0,
            Some(text) => text.parse().map_err(|_| Failure::bad("Invalid index"))?,
        };
        Ok((0 < index).then(|| Wait { index: Index(index), most: most.min(WAIT_MAX) }))
    }

    fn parse_page(&self) -> Result<Page, Failure> {
        let rows = self.number("per_page")?.filter(|&rows| rows != 0);
        let rows = rows.map(usize::try_from).transpose();
        let rows = rows.map_err(|_| Failure::bad("per_page must not be negative"))?;
        let from = self.text("next_token").map(str::to_owned);
        Ok(Page { rows_max: rows.map(|rows| rows.min(PAGE_ROWS_MAX)), from })
    }

    /// The prefix as that of UUIDs.
    pub(super) fn uuid_prefix(&self) -> Result<UuidPrefix, Failure> {
        UuidPrefix::parse(&self.prefix).ok_or_else(|| {
            Failure::bad(format!("prefix {:?} is no start of an id: hex digits only", self.prefix))
        })
    }
}

impl FromRequestParts<Shared> for Query {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Failure> {
        Self::parse(parts.uri.query().unwrap_or_default())
    }
}

/// A whole id, as it stands in a path.
pub(super) fn uuid(text: &str) -> Result<Uuid, Failure> {
    Uuid::parse(text).filter(|_| text.len() == 36).ok_or_else(|| {
        Failure::new(StatusCode::BAD_REQUEST, format!("{text:?} is no id: 36 characters expected"))
    })
}

/// The value of one parameter of a query that may be wrong in other ways; `None` too if it is empty.
pub(super) fn value(text: &str, name: &str) -> Option<String> {
    text.split('&').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        (key == name && !value.is_empty()).then(|| unescaped(value))?
    })
}

fn pairs(text: &str) -> Result<Vec<(String, String)>, Failure> {
    let parts = text.split('&').filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        Some((unescaped(key)?, unescaped(value)?))
    };
    parts
        .map(|part| pair(part).ok_or_else(|| Failure::bad(format!("{part:?} is not a parameter"))))
        .collect()
}

/// `%41+b` is `A b`.
pub(super) fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter();
    while let Some(&byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = [*rest.next()?, *rest.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_go_clients_write_them() {
        let query = "namespace=%2A&stale=&index=7&wait=2000ms&prefix=a%20b+c&per_page=2";
        let query = Query::parse(query).unwrap();
        assert_eq!(query.namespace, Scope::All);
        assert_eq!(query.freshness, Freshness::Stale);
        assert_eq!(query.wait, Some(Wait { index: Index(7), most: Duration::from_secs(2) }));
        assert_eq!(query.prefix, "a b c");
        assert_eq!(query.page.rows_max, Some(2));
    }

    #[test]
    fn a_read_rests_on_a_lease_unless_it_says_otherwise() {
        let freshness = |query| Query::parse(query).map(|query| query.freshness).ok();
        assert_eq!(freshness(""), Some(Freshness::Fresh(Consistency::Default)));
        assert_eq!(freshness("consistent"), Some(Freshness::Fresh(Consistency::Consistent)));
        assert_eq!(freshness("stale=&consistent="), None);
    }

    #[test]
    fn a_parameter_that_cannot_be_understood_is_refused() {
        for (text, why) in [
            ("wait=abc", "Invalid wait time"),
            ("wait=-3s", "Invalid wait time"),
            ("index=x", "Invalid index"),
            ("per_page=-1", "per_page must not be negative"),
            ("a=%zz", "\"a=%zz\" is not a parameter"),
        ] {
            assert_eq!(Query::parse(text).unwrap_err().why, why, "{text}");
        }
    }

    #[test]
    fn nobody_waits_longer_than_five_minutes() {
        let wait = Query::parse("index=1&wait=2h").unwrap().wait.unwrap();
        assert_eq!(wait.most, WAIT_MAX);
        assert_eq!(Query::parse("wait=5s").unwrap().wait, None);
    }
}
