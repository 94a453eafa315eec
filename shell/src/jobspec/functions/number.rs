//! Numbers.
//!
//! Invariants
//! - what is no finite number is an error, not a value.
use super::{Answer, Args, Function};
use crate::jobspec::value::Value;

pub(super) const TABLE: &[(&str, Function)] = &[
    ("abs", |args, _| one(args, f64::abs)),
    ("ceil", |args, _| one(args, f64::ceil)),
    ("floor", |args, _| one(args, f64::floor)),
    ("signum", |args, _| one(args, |x| if x == 0.0 { 0.0 } else { x.signum() })),
    ("log", |args, _| two(args, |x, base| x.ln() / base.ln())),
    ("pow", |args, _| two(args, f64::powf)),
    ("max", |args, _| most(args, f64::max)),
    ("min", |args, _| most(args, f64::min)),
    ("parseint", |args, _| parse_int(args)),
];

fn finite(number: f64) -> Answer {
    if number.is_finite() { Ok(Value::number(number)) } else { Err("is not a number".to_owned()) }
}

fn one(args: &Args, change: fn(f64) -> f64) -> Answer {
    args.count(1, 1)?;
    finite(change(args.number(0)?))
}

fn two(args: &Args, join: fn(f64, f64) -> f64) -> Answer {
    args.count(2, 2)?;
    finite(join(args.number(0)?, args.number(1)?))
}

fn most(args: &Args, better: fn(f64, f64) -> f64) -> Answer {
    args.count(1, usize::MAX)?;
    let mut best = args.number(0)?;
    for at in 1..args.list.len() {
        best = better(best, args.number(at)?);
    }
    finite(best)
}

fn parse_int(args: &Args) -> Answer {
    args.count(2, 2)?;
    let (text, base) = (args.text(0)?, args.int(1)?);
    let base = u32::try_from(base).ok().filter(|base| (2..=36).contains(base));
    let Some(base) = base else { return Err("the base must be 2 to 36".to_owned()) };
    let number = i64::from_str_radix(&text, base);
    number.map(Value::Int).map_err(|_| format!("\"{text}\" is no number of base {base}"))
}
