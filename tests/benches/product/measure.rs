//! Figures of the same thing, measured again and again.
use std::time::Duration;

use crate::Measured;

/// What was measured, in the order it was measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    /// Measures `runs` times; the first failure is the result.
    pub(crate) fn of(
        runs: usize,
        mut measure: impl FnMut() -> Measured<Duration>,
    ) -> Measured<Self> {
        (0..runs)
            .map(|_| measure().map(|took| took.as_secs_f64()))
            .collect::<Measured<_>>()
            .map(Self)
    }

    pub(crate) fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// The same in another unit.
    pub(crate) fn map(self, change: impl Fn(f64) -> f64) -> Self {
        Self(self.0.into_iter().map(change).collect())
    }

    /// Of seconds.
    pub(crate) fn seconds(self) -> String {
        self.show("s")
    }

    /// Of seconds, as milliseconds.
    pub(crate) fn ms(self) -> String {
        self.map(|seconds| seconds * 1e3).show("ms")
    }

    /// `median unit (min..max)`.
    pub(crate) fn show(&self, unit: &str) -> String {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else {
            return "nothing was measured".to_owned();
        };
        let median = sorted[sorted.len() / 2];
        let text = |figure: f64| match figure.abs() {
            large if 100.0 <= large => format!("{figure:.0}"),
            middle if 10.0 <= middle => format!("{figure:.1}"),
            middle if 1.0 <= middle => format!("{figure:.2}"),
            _ => format!("{figure:.3}"),
        };
        let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
        format!("{}{unit} ({}..{})", text(median), text(min), text(max))
    }
}
