//! The demands of a `version` or `semver` constraint: `>= 1.2, < 2.0`, `~> 3.1`.
//!
//! Invariants
//! - what passes here the scheduler can compare.

use drover_core::types::Operator;

const OPERATORS: [&str; 7] = [">=", "<=", "!=", "~>", "=", ">", "<"];

/// Refuse what is no comma-separated list of demands.
pub(super) fn parse(demands: &str, comparison: Operator) -> Result<(), String> {
    for demand in demands.split(',').map(str::trim) {
        if comparison == Operator::Semver && demand.starts_with("~>") {
            return Err(format!(
                "`semver` has no ~>: write \"{demand}\" as a range, or use `version`"
            ));
        }
        let operator = OPERATORS.iter().find(|operator| demand.starts_with(**operator));
        let version = operator.map_or(demand, |operator| demand[operator.len()..].trim());
        if !is_version(version) {
            return Err(format!(
                "\"{demand}\" is no demand on a version such as \">= 1.2\" or \"~> 3.1\""
            ));
        }
    }
    Ok(())
}

/// `v1.2.3-beta.1+build`: one to many numbers, then a pre-release, then build data.
fn is_version(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (text, build) = text.split_once('+').unwrap_or((text, "0"));
    let (numbers, pre) = text.split_once('-').unwrap_or((text, "0"));
    let number = |part: &str| {
        !part.is_empty() && part.len() <= 9 && part.bytes().all(|b| b.is_ascii_digit())
    };
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '~');
    let words = |part: &str| !part.is_empty() && part.chars().all(word);
    numbers.split('.').all(number) && words(pre) && words(build)
}
