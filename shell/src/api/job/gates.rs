//! `after`, between the API's job and the core's.
//!
//! Invariants
//! - a group of the same job is one without a job, whichever way it was written: children have other names.
use drover_core::types::{Gate, Until};

use super::After;
use super::to_spec::Conversion;

impl Conversion {
    /// The gates of `list`, in a job that is called `id`.
    pub(super) fn gates(&mut self, path: &str, id: &str, list: Option<&Vec<After>>) -> Vec<Gate> {
        let words = [("healthy", Some(Until::Healthy)), ("complete", Some(Until::Complete))];
        let dot = if path.is_empty() { "" } else { "." };
        let list = list.into_iter().flatten().enumerate();
        let gate = |(at, one): (usize, &After)| {
            let named = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
            let (job, group) = (named(&one.job), named(&one.group));
            let field = format!("{path}{dot}after[{at}].until");
            let until = self.word(&field, one.until.as_ref(), &words, None);
            Gate { job: job.filter(|job| group.is_none() || job != id), group, until }
        };
        list.map(gate).collect()
    }
}

impl After {
    pub(super) fn list(gates: &[Gate]) -> Option<Vec<Self>> {
        let one = |gate: &Gate| Self {
            job: gate.job.clone(),
            group: gate.group.clone(),
            until: gate.until.map(|until| until_word(until).to_owned()),
        };
        (!gates.is_empty()).then(|| gates.iter().map(one).collect())
    }
}

/// As job files have it.
#[must_use]
pub const fn until_word(until: Until) -> &'static str {
    match until {
        Until::Healthy => "healthy",
        Until::Complete => "complete",
    }
}
