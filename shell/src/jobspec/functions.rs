//! The functions that a job file may call: Nomad's names and meanings.
//!
//! Invariants
//! - a function sees its arguments and, if it is one of the file functions, the job file's folder;
//! - the same call gives the same value, except for files, `timestamp` and `uuidv4`, which is absent.
use std::collections::BTreeMap;
use std::path::PathBuf;

use super::value::Value;

mod collection;
mod encoding;
mod file;
mod hash;
mod net;
mod number;
mod text;
mod time;

/// What a call comes to; the error says what is wrong with its arguments.
pub(crate) type Answer<T = Value> = Result<T, String>;
pub(crate) type Function = fn(&Args, &Folder) -> Answer;

const TABLES: [&[(&str, Function)]; 8] = [
    collection::TABLE,
    encoding::TABLE,
    file::TABLE,
    hash::TABLE,
    net::TABLE,
    number::TABLE,
    text::TABLE,
    time::TABLE,
];

/// Where relative paths of file functions begin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Folder {
    /// Files may be read; relative paths begin here.
    Readable(PathBuf),
    /// No file may be read: a server evaluates somebody else's job file.
    Closed,
}

/// The function called `name`.
pub(crate) fn find(name: &str) -> Option<Function> {
    let mut all = TABLES.iter().flat_map(|table| table.iter());
    all.find(|(one, _)| *one == name).map(|&(_, function)| function)
}

/// The names of all functions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let special = ["try", "can", "convert"];
    TABLES.iter().flat_map(|table| table.iter()).map(|&(name, _)| name).chain(special)
}

/// The arguments of a call.
pub(crate) struct Args {
    pub(crate) list: Vec<Value>,
}

impl Args {
    /// Refuse any other count than `least` to `most`.
    pub(crate) fn count(&self, least: usize, most: usize) -> Answer<()> {
        let given = self.list.len();
        if least <= given && given <= most {
            return Ok(());
        }
        let wanted = match (least, most) {
            (1, 1) => "1 argument".to_owned(),
            _ if least == most => format!("{least} arguments"),
            (_, usize::MAX) => format!("at least {least} arguments"),
            _ => format!("{least} to {most} arguments"),
        };
        Err(format!("takes {wanted}, not {given}"))
    }

    pub(crate) fn value(&self, at: usize) -> Answer<&Value> {
        self.list.get(at).ok_or_else(|| format!("argument {} is missing", at + 1))
    }

    pub(crate) fn text(&self, at: usize) -> Answer<String> {
        let value = self.value(at)?;
        value.to_text().ok_or_else(|| wrong(at, "a string", value))
    }

    pub(crate) fn number(&self, at: usize) -> Answer<f64> {
        let value = self.value(at)?;
        value.to_number().ok_or_else(|| wrong(at, "a number", value))
    }

    pub(crate) fn int(&self, at: usize) -> Answer<i64> {
        let value = self.value(at)?;
        value.to_int().ok_or_else(|| wrong(at, "a whole number", value))
    }

    /// A whole number that is not negative.
    pub(crate) fn size(&self, at: usize) -> Answer<usize> {
        let value = self.int(at)?;
        usize::try_from(value).map_err(|_| format!("argument {} must not be negative", at + 1))
    }

    pub(crate) fn list(&self, at: usize) -> Answer<&[Value]> {
        match self.value(at)? {
            Value::List(list) => Ok(list),
            other => Err(wrong(at, "a list", other)),
        }
    }

    pub(crate) fn map(&self, at: usize) -> Answer<&BTreeMap<String, Value>> {
        match self.value(at)? {
            Value::Object(map) => Ok(map),
            other => Err(wrong(at, "a map", other)),
        }
    }

    /// A list whose elements are all single things, as strings.
    pub(crate) fn texts(&self, at: usize) -> Answer<Vec<String>> {
        let list = self.list(at)?;
        list.iter()
            .map(|one| one.to_text().ok_or_else(|| wrong(at, "a list of strings", one)))
            .collect()
    }
}

fn wrong(at: usize, wanted: &str, given: &Value) -> String {
    format!("argument {} must be {wanted}, not {}", at + 1, given.kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that functions do not expect.
    fn strange() -> Vec<Value> {
        let map = Value::Object([("a".to_owned(), Value::Int(1))].into());
        let mut list: Vec<Value> =
            [i64::MIN, -1, 0, 1, 2, 129, i64::MAX].into_iter().map(Value::Int).collect();
        let texts = [
            "",
            "é%d%-9.3f%",
            "::1/128",
            "::/0",
            "dns",
            "10.0.0.0/0",
            "2026-01-01T00:00:00+00:00",
            "1h",
            "(",
            "~/'",
        ];
        list.extend(texts.into_iter().map(Value::text));
        list.extend([
            Value::Null,
            Value::Float(0.5),
            Value::Float(1e300),
            map,
            Value::List(Vec::new()),
        ]);
        list.push(Value::List(vec![Value::text("é"), Value::Int(2)]));
        list
    }

    #[test]
    fn no_function_panics_whatever_it_is_given() {
        let (values, folder) = (strange(), Folder::Closed);
        for (name, function) in TABLES.iter().flat_map(|table| table.iter()) {
            let mut answered = 0;
            for first in &values {
                answered +=
                    usize::from(function(&Args { list: vec![first.clone()] }, &folder).is_ok());
                for second in &values {
                    let two = vec![first.clone(), second.clone()];
                    answered += usize::from(function(&Args { list: two.clone() }, &folder).is_ok());
                    for third in values.iter().skip(3).step_by(5) {
                        let three = [two.as_slice(), std::slice::from_ref(third)].concat();
                        answered += usize::from(function(&Args { list: three }, &folder).is_ok());
                    }
                }
            }
            let of_files = ["file", "filebase64", "fileexists", "abspath", "csvdecode", "regex"];
            assert!(0 < answered || of_files.contains(name), "{name} never has an answer");
        }
    }
}
