//! How a command ends when it cannot do what it was told, and with which code.
//!
//! Invariants
//! - a failure says what, why, and what to do next, where that can be known;
//! - the words of a server are passed on unchanged.
use std::fmt;
use std::process::ExitCode;

/// The codes of `drover`, as its help lists them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    Done,
    Failed,
    /// `job run`: not everything could be placed. `rebalance apply`: not everything moved.
    Unplaced,
    /// `job run`: something of it waits for another job.
    Waiting,
    /// `job plan`: running the job would start or stop something.
    Changes,
    /// `job plan`: there is no answer.
    Unplanned,
    /// `replay`, `rehearse`, `operator autopilot health`: something is not as it was, or as it should be.
    Found,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done | Self::Waiting => 0,
            Self::Failed | Self::Changes => 1,
            Self::Unplaced | Self::Found => 2,
            Self::Unplanned => 255,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// What is told to the user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    text: String,
}

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a request has no good answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// The server's own words.
    Status { code: u16, text: String },
    /// There was no conversation; `hint` says where the address came from and what to try.
    Unreachable { address: String, why: String, hint: String },
    /// What came is not what the API promises.
    Malformed { why: String },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { code, text } if text.is_empty() => {
                write!(f, "Unexpected response code: {code}")
            }
            Self::Status { code, text } => write!(f, "Unexpected response code: {code} ({text})"),
            Self::Unreachable { address, why, hint } => {
                write!(f, "{address} cannot be reached: {why}; {hint}")
            }
            Self::Malformed { why } => write!(f, "the answer cannot be understood: {why}"),
        }
    }
}

/// Turns a refusal into a failure of `what`, which completes "Error ...".
pub(crate) fn error(what: &str) -> impl Fn(Refusal) -> Failure {
    let what = what.to_owned();
    move |refusal| Failure::new(format!("Error {what}: {refusal}"))
}
