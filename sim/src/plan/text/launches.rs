//! What is wanted of jobs that make children, as text.
use std::fmt;

use crate::plan::{Launching, Overlap};

/// What such a line begins with.
pub(super) const WORDS: [&str; 5] = ["periodic", "parameterized", "force", "dispatch", "scale"];

pub(super) fn write(f: &mut fmt::Formatter<'_>, job: &str, what: Launching) -> fmt::Result {
    match what {
        Launching::Periodic { every_s, overlap } => {
            let how = match overlap {
                Overlap::Allowed => "beside",
                Overlap::Prohibited => "alone",
            };
            write!(f, "periodic {job} every={every_s} {how}")
        }
        Launching::Parameterized => write!(f, "parameterized {job}"),
        Launching::Force => write!(f, "force {job}"),
        Launching::Dispatch { token } => write!(f, "dispatch {job} token={token}"),
        Launching::Scale { count } => write!(f, "scale {job} count={count}"),
    }
}

pub(super) fn read(word: &str, rest: &[&str]) -> Option<Launching> {
    let number = |word: &str, name: &str| word.strip_prefix(name)?.parse().ok();
    Some(match (word, rest) {
        ("periodic", [every, how]) => Launching::Periodic {
            every_s: number(every, "every=")?,
            overlap: match *how {
                "beside" => Overlap::Allowed,
                "alone" => Overlap::Prohibited,
                _ => return None,
            },
        },
        ("parameterized", []) => Launching::Parameterized,
        ("force", []) => Launching::Force,
        ("dispatch", [token]) => Launching::Dispatch { token: number(token, "token=")? },
        ("scale", [count]) => Launching::Scale { count: number(count, "count=")? },
        _ => return None,
    })
}
