//! Strings.
//!
//! Invariants
//! - positions and lengths count characters, never bytes.
use std::fmt::Write as _;

use super::{Answer, Args, Function};
use crate::jobspec::value::Value;

pub(super) const TABLE: &[(&str, Function)] = &[
    ("upper", |args, _| one(args, |text| text.to_uppercase())),
    ("lower", |args, _| one(args, |text| text.to_lowercase())),
    ("title", |args, _| one(args, title)),
    ("chomp", |args, _| one(args, |text| text.trim_end_matches(['\r', '\n']).to_owned())),
    ("trimspace", |args, _| one(args, |text| text.trim().to_owned())),
    ("strrev", |args, _| one(args, |text| text.chars().rev().collect())),
    ("trim", |args, _| two(args, |text, set| text.trim_matches(|c| set.contains(c)).to_owned())),
    ("trimprefix", |args, _| {
        two(args, |text, start| text.strip_prefix(start).unwrap_or(text).to_owned())
    }),
    ("trimsuffix", |args, _| {
        two(args, |text, end| text.strip_suffix(end).unwrap_or(text).to_owned())
    }),
    ("startswith", |args, _| {
        args.count(2, 2)?;
        Ok(Value::Bool(args.text(0)?.starts_with(&args.text(1)?)))
    }),
    ("endswith", |args, _| {
        args.count(2, 2)?;
        Ok(Value::Bool(args.text(0)?.ends_with(&args.text(1)?)))
    }),
    ("strlen", |args, _| {
        args.count(1, 1)?;
        Ok(Value::Int(i64::try_from(args.text(0)?.chars().count()).unwrap_or(i64::MAX)))
    }),
    ("join", |args, _| join(args)),
    ("split", |args, _| split(args)),
    ("replace", |args, _| replace(args)),
    ("regex", |args, _| regex(args)),
    ("regex_replace", |args, _| regex_replace(args)),
    ("substr", |args, _| substr(args)),
    ("indent", |args, _| indent(args)),
    ("format", |args, _| {
        args.count(1, usize::MAX)?;
        format(&args.text(0)?, &args.list[1..]).map(Value::Text)
    }),
    ("formatlist", |args, _| format_list(args)),
];

fn one(args: &Args, change: fn(&str) -> String) -> Answer {
    args.count(1, 1)?;
    Ok(Value::Text(change(&args.text(0)?)))
}

fn two(args: &Args, change: fn(&str, &str) -> String) -> Answer {
    args.count(2, 2)?;
    Ok(Value::Text(change(&args.text(0)?, &args.text(1)?)))
}

fn title(text: &str) -> String {
    let mut inside = false;
    let mut made = String::with_capacity(text.len());
    for c in text.chars() {
        if !inside && c.is_alphabetic() {
            made.extend(c.to_uppercase());
        } else {
            made.push(c);
        }
        inside = !c.is_whitespace();
    }
    made
}

fn join(args: &Args) -> Answer {
    args.count(2, usize::MAX)?;
    let mut pieces = Vec::new();
    for at in 1..args.list.len() {
        pieces.extend(args.texts(at)?);
    }
    Ok(Value::Text(pieces.join(&args.text(0)?)))
}

fn split(args: &Args) -> Answer {
    args.count(2, 2)?;
    let (mark, text) = (args.text(0)?, args.text(1)?);
    if text.is_empty() {
        return Ok(Value::List(vec![Value::text("")]));
    }
    if mark.is_empty() {
        return Ok(Value::List(text.chars().map(Value::text).collect()));
    }
    Ok(Value::List(text.split(&mark).map(Value::text).collect()))
}

fn pattern(text: &str) -> Answer<regex::Regex> {
    regex::RegexBuilder::new(text)
        .size_limit(1 << 20)
        .build()
        .map_err(|why| format!("\"{text}\" is no regular expression: {why}"))
}

fn replace(args: &Args) -> Answer {
    args.count(3, 3)?;
    let (text, old, new) = (args.text(0)?, args.text(1)?, args.text(2)?);
    let inner = old.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
    Ok(Value::Text(match inner {
        Some(inner) if 1 < old.len() => {
            pattern(inner)?.replace_all(&text, new.as_str()).into_owned()
        }
        _ => text.replace(&old, &new),
    }))
}

fn regex_replace(args: &Args) -> Answer {
    args.count(3, 3)?;
    let (text, old, new) = (args.text(0)?, args.text(1)?, args.text(2)?);
    Ok(Value::Text(pattern(&old)?.replace_all(&text, new.as_str()).into_owned()))
}

/// The match, or, with groups, the list or map of what they caught.
fn regex(args: &Args) -> Answer {
    args.count(2, 2)?;
    let (wanted, text) = (args.text(0)?, args.text(1)?);
    let pattern = pattern(&wanted)?;
    let Some(found) = pattern.captures(&text) else {
        return Err(format!("\"{wanted}\" does not match \"{text}\""));
    };
    let caught = |group: Option<regex::Match<'_>>| {
        group.map_or(Value::Null, |one| Value::text(one.as_str()))
    };
    let named: Vec<&str> = pattern.capture_names().flatten().collect();
    if !named.is_empty() {
        let pairs = named.into_iter().map(|name| (name.to_owned(), caught(found.name(name))));
        return Ok(Value::Object(pairs.collect()));
    }
    if found.len() == 1 {
        return Ok(caught(found.get(0)));
    }
    Ok(Value::List(found.iter().skip(1).map(caught).collect()))
}

fn substr(args: &Args) -> Answer {
    args.count(3, 3)?;
    let text: Vec<char> = args.text(0)?.chars().collect();
    let (start, length) = (args.int(1)?, args.int(2)?);
    let all = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let start = if start < 0 { all.saturating_add(start) } else { start }.clamp(0, all);
    let end = if length < 0 { all } else { start.saturating_add(length).min(all) };
    let (start, end) = (usize::try_from(start).unwrap_or(0), usize::try_from(end).unwrap_or(0));
    Ok(Value::Text(text[start..end].iter().collect()))
}

fn indent(args: &Args) -> Answer {
    args.count(2, 2)?;
    let (spaces, text) = (args.size(0)?, args.text(1)?);
    if 1024 < spaces {
        return Err("indents by at most 1024".to_owned());
    }
    Ok(Value::Text(text.replace('\n', &format!("\n{}", " ".repeat(spaces)))))
}

fn format_list(args: &Args) -> Answer {
    args.count(1, usize::MAX)?;
    let wanted = args.text(0)?;
    let lists = args.list[1..].iter().filter_map(|one| match one {
        Value::List(list) => Some(list.len()),
        _ => None,
    });
    let count = lists.clone().next().unwrap_or(1);
    if lists.clone().any(|one| one != count) {
        return Err("its lists must be equally long".to_owned());
    }
    let mut made = Vec::with_capacity(count);
    for at in 0..count {
        let row: Vec<Value> = args.list[1..]
            .iter()
            .map(|one| match one {
                Value::List(list) => list[at].clone(),
                single => single.clone(),
            })
            .collect();
        made.push(Value::Text(format(&wanted, &row)?));
    }
    Ok(Value::List(made))
}

/// One `%...` of a format.
#[derive(Default)]
struct Verb {
    left: bool,
    zero: bool,
    plus: bool,
    sharp: bool,
    width: usize,
    precision: Option<usize>,
}

/// Go's verbs as far as HCL has them: `%s %q %v %d %f %g %e %x %X %o %b %t %%`.
fn format(wanted: &str, args: &[Value]) -> Answer<String> {
    let mut made = String::new();
    let mut rest = wanted.chars().peekable();
    let mut args = args.iter();
    while let Some(c) = rest.next() {
        if c != '%' {
            made.push(c);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = rest.next_if(|c| "-0+# ".contains(*c)) {
            match flag {
                '-' => verb.left = true,
                '0' => verb.zero = true,
                '+' => verb.plus = true,
                '#' => verb.sharp = true,
                _ => {}
            }
        }
        let digits = |rest: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut number = 0usize;
            while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                number = (number * 10 + digit as usize - '0' as usize).min(1024);
            }
            number
        };
        verb.width = digits(&mut rest);
        if rest.next_if_eq(&'.').is_some() {
            verb.precision = Some(digits(&mut rest));
        }
        match rest.next() {
            Some('%') => made.push('%'),
            Some(letter) => {
                let Some(value) = args.next() else {
                    return Err("has more verbs than values".to_owned());
                };
                made.push_str(&verb.show(letter, value)?);
            }
            None => return Err("the format ends in the middle of a verb".to_owned()),
        }
    }
    if args.next().is_some() {
        return Err("has more values than verbs".to_owned());
    }
    Ok(made)
}

impl Verb {
    fn show(&self, letter: char, value: &Value) -> Answer<String> {
        let text =
            || value.to_text().ok_or_else(|| format!("%{letter} cannot show {}", value.kind()));
        let number =
            || value.to_number().ok_or_else(|| format!("%{letter} cannot show {}", value.kind()));
        #[expect(clippy::cast_possible_truncation, reason = "Go cuts a fraction off likewise")]
        let whole = || value.to_int().map_or_else(|| number().map(|x| x.trunc() as i64), Ok);
        let shown = match letter {
            's' => text()?.chars().take(self.precision.unwrap_or(usize::MAX)).collect(),
            'q' => serde_json::Value::from(text()?).to_string(),
            'v' if self.sharp => value.to_json().to_string(),
            'v' => value.to_text().unwrap_or_else(|| value.to_json().to_string()),
            't' => value
                .to_bool()
                .ok_or_else(|| format!("%t cannot show {}", value.kind()))?
                .to_string(),
            'd' => self.signed(whole()?.to_string()),
            'f' => self.signed(format!("{:.*}", self.precision.unwrap_or(6), number()?)),
            'e' => self.signed(format!("{:.*e}", self.precision.unwrap_or(6), number()?)),
            'g' => self.signed(number()?.to_string()),
            'x' => format!("{:x}", whole()?),
            'X' => format!("{:X}", whole()?),
            'o' => format!("{:o}", whole()?),
            'b' => format!("{:b}", whole()?),
            _ => return Err(format!("does not know the verb %{letter}")),
        };
        Ok(self.padded(&shown))
    }

    fn signed(&self, shown: String) -> String {
        if self.plus && !shown.starts_with('-') { format!("+{shown}") } else { shown }
    }

    fn padded(&self, shown: &str) -> String {
        let lack = self.width.saturating_sub(shown.chars().count());
        let mut made = String::with_capacity(shown.len() + lack);
        if self.left {
            made.push_str(shown);
            made.push_str(&" ".repeat(lack));
        } else if self.zero {
            let (sign, digits) = shown.split_at(usize::from(shown.starts_with(['-', '+'])));
            // Writing into a String cannot fail.
            write!(made, "{sign}{}{digits}", "0".repeat(lack)).unwrap_or_default();
        } else {
            made.push_str(&" ".repeat(lack));
            made.push_str(shown);
        }
        made
    }
}
