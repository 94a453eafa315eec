//! Hosts as a plan names them: `leader`, `s2`, `c14`, `f1`.
//!
//! Invariants
//! - what is printed is read back the same.
use std::fmt;

use crate::plan::Who;

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader => write!(f, "leader"),
            Self::Server(number) => write!(f, "s{number}"),
            Self::Client(number) => write!(f, "c{number}"),
            Self::Foreigner(number) => write!(f, "f{number}"),
        }
    }
}

pub(super) fn read(word: &str) -> Option<Who> {
    let numbered = |letter| word.strip_prefix(letter)?.parse().ok();
    if word == "leader" {
        return Some(Who::Leader);
    }
    let server = numbered('s').map(Who::Server);
    server.or(numbered('c').map(Who::Client)).or(numbered('f').map(Who::Foreigner))
}
