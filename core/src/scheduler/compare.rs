//! Whether one constraint holds between two texts.
//!
//! Source: the operators of Nomad's `constraint` block, and go-version's demands for `version`.
//!
//! Invariants
//! - a missing side meets only `!=` and `is_not_set`;
//! - two numbers are compared as numbers, digit by digit and so exactly; anything else as texts, byte by
//!   byte;
//! - a malformed expression or version never holds, and never stops the scheduler.
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Ordering;

use regex::{Regex, RegexBuilder};
use semver::Prerelease;

use crate::types::Operator;

/// Largest compiled expression: a job file cannot make servers spend memory on its constraints.
const REGEX_BYTES_MAX: usize = 256 << 10;
/// The largest exponent of a number, either way: beyond it, a text is no number.
const EXPONENT_MAX: i64 = 9_999;

/// An expression of a constraint, compiled once; `None` if it is malformed or too large.
pub(super) fn compile(expression: &str) -> Option<Regex> {
    RegexBuilder::new(expression).size_limit(REGEX_BYTES_MAX).build().ok()
}

/// Whether `left operator right` holds. Who else is there, which `distinct_hosts` and
/// `distinct_property` ask, is decided elsewhere.
pub(super) fn holds(left: Option<&str>, operator: Operator, right: Option<&str>) -> bool {
    match operator {
        Operator::IsSet => left.is_some(),
        Operator::IsNotSet => left.is_none(),
        Operator::NotEqual => left != right,
        Operator::Equal => both(left, right, |l, r| l == r),
        Operator::Less => both(left, right, |l, r| order(l, r).is_lt()),
        Operator::LessOrEqual => both(left, right, |l, r| order(l, r).is_le()),
        Operator::Greater => both(left, right, |l, r| order(l, r).is_gt()),
        Operator::GreaterOrEqual => both(left, right, |l, r| order(l, r).is_ge()),
        Operator::Regexp => both(left, right, |l, r| compile(r).is_some_and(|re| re.is_match(l))),
        Operator::Version => both(left, right, |l, r| version_meets(l, r, PreRelease::Hidden)),
        Operator::Semver => both(left, right, |l, r| version_meets(l, r, PreRelease::Ordered)),
        Operator::SetContains => {
            both(left, right, |l, r| words(r).all(|w| words(l).any(|h| h == w)))
        }
        Operator::SetContainsAny => {
            both(left, right, |l, r| words(r).any(|w| words(l).any(|h| h == w)))
        }
        Operator::DistinctHosts | Operator::DistinctProperty => true,
    }
}

fn both(left: Option<&str>, right: Option<&str>, test: impl Fn(&str, &str) -> bool) -> bool {
    matches!((left, right), (Some(l), Some(r)) if test(l, r))
}

fn order(left: &str, right: &str) -> Ordering {
    match (Decimal::parse(left), Decimal::parse(right)) {
        (Some(l), Some(r)) => l.order(&r),
        (Some(_) | None, _) => left.cmp(right),
    }
}

/// A number as it is written, `0.DIGITS` times ten to the power of `point`.
struct Decimal {
    is_negative: bool,
    /// Neither the first nor the last is zero; none: the number is zero.
    digits: Vec<u8>,
    point: i64,
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        if !is_number || !(-EXPONENT_MAX..=EXPONENT_MAX).contains(&exponent) {
            return None;
        }
        let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
        digits.drain(..zeros);
        digits.truncate(digits.iter().rposition(|&digit| digit != b'0').map_or(0, |last| last + 1));
        let point = i64::try_from(whole.len()).ok()? - i64::try_from(zeros).ok()? + exponent;
        Some(Self { is_negative: text.starts_with('-') && !digits.is_empty(), digits, point })
    }

    fn order(&self, other: &Self) -> Ordering {
        match (self.is_negative, other.is_negative) {
            (false, false) => self.size_order(other),
            (true, true) => other.size_order(self),
            (is_negative, _) => {
                if is_negative {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
        }
    }

    /// The order of the two without their signs.
    fn size_order(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (false, false) => {
                self.point.cmp(&other.point).then_with(|| self.digits.cmp(&other.digits))
            }
            (is_zero, other_is_zero) => other_is_zero.cmp(&is_zero),
        }
    }
}

/// The comma-separated words of a set.
fn words(set: &str) -> impl Iterator<Item = &str> {
    set.split(',').map(str::trim)
}

/// A version as go-version reads it: any number of segments, a pre-release, ignored metadata.
struct Version {
    /// Padded with zeros to three.
    segments: Vec<u64>,
    /// How many segments were written.
    written: usize,
    pre: Prerelease,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let text = text.split_once('+').map_or(text, |(version, _)| version);
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (numbers, rest) = text.split_at(end);
        let mut segments =
            numbers.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>()?;
        let written = segments.len();
        segments.resize(written.max(3), 0);
        let pre = Prerelease::new(rest.strip_prefix('-').unwrap_or(rest)).ok()?;
        Some(Self { segments, written, pre })
    }

    fn order(&self, other: &Self) -> Ordering {
        let longest = self.segments.len().max(other.segments.len());
        let at = |version: &Self, nth: usize| version.segments.get(nth).copied().unwrap_or(0);
        let by_segment = (0..longest).map(|nth| at(self, nth).cmp(&at(other, nth)));
        let unequal = by_segment.into_iter().find(|order| order.is_ne());
        unequal.unwrap_or_else(|| self.pre.cmp(&other.pre))
    }

    /// A pre-release is only meant by a demand that names one of the same version.
    fn is_meant_by(&self, demand: &Self) -> bool {
        self.pre.is_empty() || (!demand.pre.is_empty() && self.segments == demand.segments)
    }
}

/// What a pre-release is to a demand that does not name one.
#[derive(Clone, Copy, Eq, PartialEq)]
enum PreRelease {
    /// It is not meant, as in go-version.
    Hidden,
    /// It comes before its release, as in Semantic Versioning.
    Ordered,
}

/// Whether `version` meets every one of the comma-separated `demands`.
fn version_meets(version: &str, demands: &str, pre: PreRelease) -> bool {
    let Some(version) = Version::parse(version) else {
        return false;
    };
    demands.split(',').all(|demand| demand_met(&version, demand.trim(), pre))
}

fn demand_met(version: &Version, demand: &str, pre: PreRelease) -> bool {
    let end = demand.find(|c: char| !"<>=!~".contains(c)).unwrap_or(demand.len());
    let (sign, wanted) = demand.split_at(end);
    let Some(wanted) = Version::parse(wanted) else {
        return false;
    };
    let order = version.order(&wanted);
    let is_meant = pre == PreRelease::Ordered || version.is_meant_by(&wanted);
    match sign {
        "" | "=" | "==" => order.is_eq(),
        "!=" => order.is_ne(),
        ">" => is_meant && order.is_gt(),
        ">=" => is_meant && order.is_ge(),
        "<" => is_meant && order.is_lt(),
        "<=" => is_meant && order.is_le(),
        "~>" if pre == PreRelease::Hidden => {
            // All but the last written segment stay as they are.
            let fixed = wanted.written - 1;
            version.is_meant_by(&wanted)
                && order.is_ge()
                && version.segments[..fixed.min(version.segments.len())] == wanted.segments[..fixed]
        }
        _ => false,
    }
}

/// Whether `pattern` (`*` any text, `?` any one character) matches the whole of `text`.
pub(super) fn glob_matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where to go on when a later character fails: the last star may swallow one more.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            Some(_) | None => {
                let Some((star, swallowed)) = retry else {
                    return false;
                };
                retry = Some((star, swallowed + 1));
                p = star + 1;
                t = swallowed + 1;
            }
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// A constraint as users write it: how it is shown when it excluded a node.
pub(super) fn written(left: &str, operator: Operator, right: &str) -> String {
    let parts = [left, operator.name(), right];
    let kept: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    kept.join(" ").trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(left: &str, word: &str, right: &str) -> bool {
        holds(Some(left), Operator::parse(word).expect("a known operator"), Some(right))
    }

    #[test]
    fn numbers_compare_as_numbers_and_the_rest_as_text() {
        for (left, word, right, expected) in [
            ("10", ">", "9", true),
            ("1.5", "<", "1.25", false),
            ("-2", "<", "-1.5", true),
            ("0.1000001", "=", "0.1", false),
            ("0.10000001", ">", "0.1", true),
            ("18446744073709551617", ">", "18446744073709551616", true),
            ("1e3", ">", "999.9", true),
            ("-0", "<", "0.00", false),
            ("-0.5", "<", ".5", true),
            ("12e-1", ">=", "1.20", true),
            ("1e99999", "<", "2", true),
            ("abc", "<", "abd", true),
            ("10", "<", "9a", true),
            ("linux", "=", "linux", true),
            ("linux", "not", "windows", true),
        ] {
            assert_eq!(check(left, word, right), expected, "{left} {word} {right}");
        }
    }

    #[test]
    fn versions_meet_demands_as_in_go_version() {
        for (version, demands, expected) in [
            ("1.2.3", ">= 1.2, < 2", true),
            ("2.0.0", ">= 1.2, < 2", false),
            ("1.9", "~> 1.2", true),
            ("2.0", "~> 1.2", false),
            ("1.2.9", "~> 1.2.3", true),
            ("1.3.0", "~> 1.2.3", false),
            ("5.10.0-19-amd64", "> 4.0", false),
            ("1.0.0-beta2", "> 1.0.0-beta1", true),
            ("1.2.3.4", "> 1.2.3", true),
            ("v1.2", "= 1.2.0", true),
            ("one", "> 0", false),
            ("1.2", "> x", false),
        ] {
            assert_eq!(check(version, "version", demands), expected, "{version} {demands}");
        }
    }

    #[test]
    fn semantic_versions_have_their_pre_releases_before_them() {
        for (version, demands, expected) in [
            ("1.7.0-beta", ">= 1.6.0", true),
            ("1.7.0-beta", ">= 1.7.0", false),
            ("1.7.0-beta.2", "> 1.7.0-beta.1, < 1.7.0", true),
            ("1.7.0+build5", "= 1.7.0", true),
            ("1.7.3", "~> 1.7", false),
            ("v1.7.3", "!= 1.7.2", true),
        ] {
            assert_eq!(check(version, "semver", demands), expected, "{version} {demands}");
        }
        assert!(!check("1.7.0-beta", "version", ">= 1.6.0"), "which `version` does not see");
    }

    #[test]
    fn a_missing_side_meets_only_what_asks_for_absence() {
        for (word, expected) in
            [("=", false), ("!=", true), ("<", false), ("is_set", false), ("is_not_set", true)]
        {
            let operator = Operator::parse(word).expect("a known operator");
            assert_eq!(holds(None, operator, Some("x")), expected, "{word}");
        }
    }

    #[test]
    fn sets_expressions_and_globs_match() {
        assert!(check("a, b,c", "set_contains", "c,a"));
        assert!(!check("a,b", "set_contains", "a,d"));
        assert!(check("a,b", "set_contains_any", "d, b") && !check("a,b", "set_contains_any", "d"));
        assert!(check("ubuntu-22", "regexp", "^ubuntu-[0-9]+$"));
        assert!(!check("x", "regexp", "("));
        assert!(!check("x", "regexp", "(x{1000}){1000}"), "too large an expression is refused");
        assert!(
            glob_matches("dc?", "dc1") && glob_matches("*", "") && glob_matches("a*c*e", "abcde")
        );
        assert!(!glob_matches("dc?", "dc10") && !glob_matches("a*d", "abc"));
    }
}
