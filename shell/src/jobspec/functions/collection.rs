//! Lists, sets and maps. A set is a sorted list without repetition.
//!
//! Invariants
//! - what grows is bounded: `range` by `RANGE_COUNT_MAX`, products by `PRODUCT_COUNT_MAX`.
use std::collections::BTreeMap;

use super::{Answer, Args, Function};
use crate::jobspec::types::distinct;
use crate::jobspec::value::Value;

/// HCL's own bound on `range`.
const RANGE_COUNT_MAX: usize = 1024;
/// The largest product of sets.
const PRODUCT_COUNT_MAX: usize = 16_384;

pub(super) const TABLE: &[(&str, Function)] = &[
    ("length", |args, _| length(args)),
    ("concat", |args, _| concat(args)),
    ("contains", |args, _| {
        args.count(2, 2)?;
        Ok(Value::Bool(args.list(0)?.contains(args.value(1)?)))
    }),
    ("compact", |args, _| {
        args.count(1, 1)?;
        let kept = args
            .list(0)?
            .iter()
            .filter(|one| !matches!(one, Value::Null) && **one != Value::text(""));
        Ok(Value::List(kept.cloned().collect()))
    }),
    ("distinct", |args, _| {
        args.count(1, 1)?;
        Ok(Value::List(distinct(args.list(0)?.to_vec())))
    }),
    ("reverse", |args, _| {
        args.count(1, 1)?;
        Ok(Value::List(args.list(0)?.iter().rev().cloned().collect()))
    }),
    ("sort", |args, _| {
        args.count(1, 1)?;
        let mut texts = args.texts(0)?;
        texts.sort();
        Ok(Value::List(texts.into_iter().map(Value::Text).collect()))
    }),
    ("keys", |args, _| {
        args.count(1, 1)?;
        Ok(Value::List(args.map(0)?.keys().map(Value::text).collect()))
    }),
    ("values", |args, _| {
        args.count(1, 1)?;
        Ok(Value::List(args.map(0)?.values().cloned().collect()))
    }),
    ("coalesce", |args, _| coalesce(args)),
    ("coalescelist", |args, _| coalesce_list(args)),
    ("chunklist", |args, _| chunk_list(args)),
    ("element", |args, _| element(args)),
    ("index", |args, _| index(args)),
    ("lookup", |args, _| lookup(args)),
    ("flatten", |args, _| {
        args.count(1, 1)?;
        let mut made = Vec::new();
        flatten(args.list(0)?, &mut made);
        Ok(Value::List(made))
    }),
    ("merge", |args, _| merge(args)),
    ("range", |args, _| range(args)),
    ("slice", |args, _| slice(args)),
    ("zipmap", |args, _| zipmap(args)),
    ("toset", |args, _| {
        args.count(1, 1)?;
        Ok(set(args.list(0)?.to_vec()))
    }),
    ("setunion", |args, _| fold_sets(args, |left, right| [left, right].concat())),
    ("setintersection", |args, _| {
        fold_sets(args, |left, right| {
            left.iter().filter(|one| right.contains(one)).cloned().collect()
        })
    }),
    ("setsubtract", |args, _| {
        fold_sets(args, |left, right| {
            left.iter().filter(|one| !right.contains(one)).cloned().collect()
        })
    }),
    ("setproduct", |args, _| set_product(args)),
];

fn count_of(count: usize) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn length(args: &Args) -> Answer {
    args.count(1, 1)?;
    match args.value(0)? {
        Value::List(list) => Ok(count_of(list.len())),
        Value::Object(map) => Ok(count_of(map.len())),
        Value::Text(text) => Ok(count_of(text.chars().count())),
        other => Err(format!("argument 1 must be a list, a map or a string, not {}", other.kind())),
    }
}

fn concat(args: &Args) -> Answer {
    args.count(1, usize::MAX)?;
    let mut made = Vec::new();
    for at in 0..args.list.len() {
        made.extend_from_slice(args.list(at)?);
    }
    Ok(Value::List(made))
}

fn coalesce(args: &Args) -> Answer {
    args.count(1, usize::MAX)?;
    let mut some =
        args.list.iter().filter(|one| !matches!(one, Value::Null) && **one != Value::text(""));
    some.next().cloned().ok_or_else(|| "all arguments are null or empty".to_owned())
}

fn coalesce_list(args: &Args) -> Answer {
    args.count(1, usize::MAX)?;
    for at in 0..args.list.len() {
        let list = args.list(at)?;
        if !list.is_empty() {
            return Ok(Value::List(list.to_vec()));
        }
    }
    Err("all lists are empty".to_owned())
}

fn chunk_list(args: &Args) -> Answer {
    args.count(2, 2)?;
    let (list, size) = (args.list(0)?, args.size(1)?);
    let chunks = list.chunks(if size == 0 { list.len().max(1) } else { size });
    Ok(Value::List(chunks.map(|chunk| Value::List(chunk.to_vec())).collect()))
}

fn element(args: &Args) -> Answer {
    args.count(2, 2)?;
    let list = args.list(0)?;
    let count = i64::try_from(list.len()).unwrap_or(i64::MAX);
    if count == 0 {
        return Err("the list is empty".to_owned());
    }
    let at = usize::try_from(args.int(1)?.rem_euclid(count)).unwrap_or(0);
    Ok(list[at].clone())
}

fn index(args: &Args) -> Answer {
    args.count(2, 2)?;
    let found = args.list(0)?.iter().position(|one| Ok(one) == args.value(1));
    found.map(count_of).ok_or_else(|| "it is not in the list".to_owned())
}

fn lookup(args: &Args) -> Answer {
    args.count(2, 3)?;
    let name = args.text(1)?;
    if let Some(found) = args.map(0)?.get(&name) {
        return Ok(found.clone());
    }
    args.list
        .get(2)
        .cloned()
        .ok_or_else(|| format!("there is no `{name}`, and no default is given"))
}

fn flatten(list: &[Value], made: &mut Vec<Value>) {
    for one in list {
        match one {
            Value::List(inner) => flatten(inner, made),
            single => made.push(single.clone()),
        }
    }
}

fn merge(args: &Args) -> Answer {
    let mut made = BTreeMap::new();
    for (at, one) in args.list.iter().enumerate() {
        if *one != Value::Null {
            made.extend(args.map(at)?.clone());
        }
    }
    Ok(Value::Object(made))
}

fn range(args: &Args) -> Answer {
    args.count(1, 3)?;
    let (start, end) = match args.list.len() {
        1 => (0.0, args.number(0)?),
        _ => (args.number(0)?, args.number(1)?),
    };
    let step = match args.list.len() {
        3 => args.number(2)?,
        _ if end < start => -1.0,
        _ => 1.0,
    };
    if step == 0.0 || (end < start) != (step < 0.0) && start != end {
        return Err("the step must lead from start to end".to_owned());
    }
    let mut made = Vec::new();
    let mut at = start;
    while if step < 0.0 { end < at } else { at < end } {
        if made.len() == RANGE_COUNT_MAX {
            return Err(format!("makes at most {RANGE_COUNT_MAX} numbers"));
        }
        made.push(Value::number(at));
        at += step;
    }
    Ok(Value::List(made))
}

fn slice(args: &Args) -> Answer {
    args.count(3, 3)?;
    let (list, start, end) = (args.list(0)?, args.size(1)?, args.size(2)?);
    let part = list.get(start..end).map(<[Value]>::to_vec);
    part.map(Value::List)
        .ok_or_else(|| format!("{start} to {end} is outside the {} elements", list.len()))
}

fn zipmap(args: &Args) -> Answer {
    args.count(2, 2)?;
    let (keys, values) = (args.texts(0)?, args.list(1)?);
    if keys.len() != values.len() {
        return Err(format!("has {} keys and {} values", keys.len(), values.len()));
    }
    Ok(Value::Object(keys.into_iter().zip(values.iter().cloned()).collect()))
}

fn set(list: Vec<Value>) -> Value {
    let mut list = distinct(list);
    list.sort_by_cached_key(|one| one.to_json().to_string());
    Value::List(list)
}

fn fold_sets(args: &Args, join: fn(&[Value], &[Value]) -> Vec<Value>) -> Answer {
    args.count(1, usize::MAX)?;
    let mut made = args.list(0)?.to_vec();
    for at in 1..args.list.len() {
        let other = args.list(at)?;
        if PRODUCT_COUNT_MAX * 64 < made.len().saturating_mul(other.len()) {
            return Err("the sets are too large".to_owned());
        }
        made = join(&made, other);
    }
    Ok(set(made))
}

fn set_product(args: &Args) -> Answer {
    args.count(2, usize::MAX)?;
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for at in 0..args.list.len() {
        let list = args.list(at)?;
        if PRODUCT_COUNT_MAX < rows.len().saturating_mul(list.len()) {
            return Err(format!("makes at most {PRODUCT_COUNT_MAX} rows"));
        }
        rows = rows
            .iter()
            .flat_map(|row| {
                list.iter().map(move |one| [row.as_slice(), std::slice::from_ref(one)].concat())
            })
            .collect();
    }
    Ok(Value::List(rows.into_iter().map(Value::List).collect()))
}
