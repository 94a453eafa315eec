//! A moment of a recorded log, as people type it.
use drover_core::time::WallTime;
use drover_core::types::Index;
use drover_shell::api::time::rfc3339;
use drover_sim::replay::{Moments, Source, Until};

use crate::failure::Failure;
use crate::terminal::Terminal;
use crate::time;

/// As it was typed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum When {
    End,
    Input(u64),
    Index(u64),
    Moment(WallTime),
    AfterFirst(u64),
    BeforeLast(u64),
}

const FORMS: &str = "write a moment (2026-11-01T12:00:00Z), a time from the start (+90s) or the end (-5m), \
                     index:N, input:N, or end";

impl When {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let number = |digits: &str| {
            digits.parse().map_err(|_| format!("{digits:?} is not a number: {FORMS}"))
        };
        if text == "end" {
            return Ok(Self::End);
        }
        if let Some(digits) = text.strip_prefix("input:") {
            return number(digits).map(Self::Input);
        }
        if let Some(digits) = text.strip_prefix("index:") {
            return number(digits).map(Self::Index);
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return number(text).map(Self::Index);
        }
        let span = |text: &str| span_ms(text).ok_or_else(|| format!("{text:?}: {FORMS}"));
        if let Some(rest) = text.strip_prefix('+') {
            return span(rest).map(Self::AfterFirst);
        }
        if let Some(rest) = text.strip_prefix('-') {
            return span(rest).map(Self::BeforeLast);
        }
        let moment = time::parse(text).and_then(|ns| u64::try_from(ns / 1_000_000).ok());
        let moment = moment.ok_or_else(|| format!("{text:?} is not understood: {FORMS}"))?;
        Ok(Self::Moment(WallTime { unix_ms: moment }))
    }

    /// In this log. What lies before it is an error; what lies behind it is said and means its end.
    pub(crate) fn within(self, source: &dyn Source, terminal: Terminal) -> Result<Until, Failure> {
        let moments = Moments::of(source);
        let moments = moments.ok_or_else(|| Failure::new("the log holds no input"))?;
        let Moments { first, last } = moments;
        let until = match self {
            Self::End => Until::End,
            Self::Input(0) => return Err(Failure::new("inputs are counted from 1")),
            Self::Input(number) => Until::Input(number),
            Self::Index(index) => Until::Index(Index(index)),
            Self::Moment(at) => Until::Time(at),
            Self::AfterFirst(ms) => Until::Time(first.plus_ms(ms)),
            Self::BeforeLast(ms) => {
                Until::Time(WallTime { unix_ms: last.unix_ms.saturating_sub(ms) })
            }
        };
        if let Until::Time(at) = until
            && at < first
        {
            return Err(Failure::new(format!(
                "{} lies before the first recorded input: the log goes from {} to {}. Name a moment \
                 between them; how far a log goes back is set by `recorder {{ max_mb }}`",
                rfc3339(at),
                rfc3339(first),
                rfc3339(last)
            )));
        }
        if until.is_behind(source) {
            let inputs = source.inputs_before(source.count());
            terminal.complain(&format!(
                "The log ends before that, at {} with input {inputs}: this is what was then.",
                rfc3339(last)
            ));
        }
        Ok(until)
    }
}

/// `1h30m`, `90s`, `250ms`.
fn span_ms(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut sum = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let ms = match &rest[..unit] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        sum = sum.checked_add(number.checked_mul(ms)?)?;
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_are_typed() {
        for (text, when) in [
            ("end", When::End),
            ("input:7", When::Input(7)),
            ("index:7", When::Index(7)),
            ("4711", When::Index(4_711)),
            ("+90s", When::AfterFirst(90_000)),
            ("-1h30m", When::BeforeLast(5_400_000)),
            ("1970-01-01T00:00:01.5Z", When::Moment(WallTime { unix_ms: 1_500 })),
            ("1970-01-01T01:00:01+01:00", When::Moment(WallTime { unix_ms: 1_000 })),
        ] {
            assert_eq!(When::parse(text), Ok(when), "{text}");
        }
        for text in ["", "noon", "input:", "index:x", "+5", "-m", "+5w", "2026-11-01"] {
            assert!(When::parse(text).is_err(), "{text}");
        }
    }
}
