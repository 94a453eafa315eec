//! The types that `variable` blocks and `convert` name: `string`, `list(number)`, `object({...})`.
//!
//! Invariants
//! - what `convert` gives back is of the type, or it says why not.
use std::collections::{BTreeMap, BTreeSet};

use hcl_edit::expr::{Expression, ObjectKey};

use super::eval::{Outcome, fault, place_of};
use super::value::Value;

/// What a value has to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    Any,
    Text,
    Number,
    Bool,
    List(Box<Self>),
    Set(Box<Self>),
    Map(Box<Self>),
    Tuple(Vec<Self>),
    Object(BTreeMap<String, (Self, Presence)>),
}

/// Whether an object may lack an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Presence {
    Required,
    Optional,
}

impl Type {
    /// The type that `expr` names.
    pub(crate) fn parse(expr: &Expression) -> Outcome<Self> {
        let known = "a type is one of string, number, bool, any, list(...), set(...), map(...), \
                     tuple([...]), object({...})";
        match expr {
            Expression::Parenthesis(inner) => Self::parse(inner.inner()),
            Expression::Variable(name) => Self::simple(name.as_str())
                .map_or_else(|| fault(place_of(expr), format!("`{}`: {known}", name.as_str())), Ok),
            // Files of old write the type as a string.
            Expression::String(name) => Self::simple(name.value())
                .map_or_else(|| fault(place_of(expr), format!("`{}`: {known}", name.value())), Ok),
            Expression::FuncCall(call) if call.args.len() == 1 => {
                let inner = call.args.iter().next();
                let Some(inner) = inner else { return fault(place_of(expr), known) };
                match (call.name.name.as_str(), inner) {
                    ("list", _) => Ok(Self::List(Box::new(Self::parse(inner)?))),
                    ("set", _) => Ok(Self::Set(Box::new(Self::parse(inner)?))),
                    ("map", _) => Ok(Self::Map(Box::new(Self::parse(inner)?))),
                    ("tuple", Expression::Array(parts)) => {
                        parts.iter().map(Self::parse).collect::<Outcome<_>>().map(Self::Tuple)
                    }
                    ("object", Expression::Object(_)) => Self::parse_object(inner),
                    _ => fault(place_of(expr), known),
                }
            }
            _ => fault(place_of(expr), known),
        }
    }

    fn simple(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::Text,
            "number" => Self::Number,
            "bool" => Self::Bool,
            "any" => Self::Any,
            "list" => Self::List(Box::new(Self::Any)),
            "set" => Self::Set(Box::new(Self::Any)),
            "map" => Self::Map(Box::new(Self::Any)),
            _ => return None,
        })
    }

    fn parse_object(expr: &Expression) -> Outcome<Self> {
        let Expression::Object(object) = expr else {
            return fault(place_of(expr), "object({...}) names its attributes and their types");
        };
        let mut parts = BTreeMap::new();
        for (key, value) in object {
            let name = match key {
                ObjectKey::Ident(name) => name.as_str().to_owned(),
                ObjectKey::Expression(Expression::String(name)) => name.value().clone(),
                ObjectKey::Expression(other) => {
                    return fault(place_of(other), "a name is wanted here");
                }
            };
            let part = match value.expr() {
                Expression::FuncCall(call) if call.name.name.as_str() == "optional" => {
                    let Some(inner) = call.args.iter().next() else {
                        return fault(place_of(value.expr()), "optional(...) names a type");
                    };
                    (Self::parse(inner)?, Presence::Optional)
                }
                plain => (Self::parse(plain)?, Presence::Required),
            };
            parts.insert(name, part);
        }
        Ok(Self::Object(parts))
    }

    /// `value` as this type; the error says what is wanted.
    pub(crate) fn convert(&self, value: Value) -> Result<Value, String> {
        if value == Value::Null {
            return Ok(value);
        }
        let refused =
            |wanted: &str, value: &Value| Err(format!("{wanted} is wanted, not {}", value.kind()));
        match self {
            Self::Any => Ok(value),
            Self::Text => {
                value.to_text().map_or_else(|| refused("a string", &value), |t| Ok(Value::Text(t)))
            }
            Self::Number => {
                if let Some(whole) = value.to_int() {
                    return Ok(Value::Int(whole));
                }
                value
                    .to_number()
                    .map_or_else(|| refused("a number", &value), |n| Ok(Value::number(n)))
            }
            Self::Bool => {
                value.to_bool().map_or_else(|| refused("a bool", &value), |b| Ok(Value::Bool(b)))
            }
            Self::List(inner) | Self::Set(inner) => match value {
                Value::List(list) => {
                    let mut made: Vec<Value> =
                        list.into_iter().map(|one| inner.convert(one)).collect::<Result<_, _>>()?;
                    if matches!(self, Self::Set(_)) {
                        made = distinct(made);
                    }
                    Ok(Value::List(made))
                }
                other => refused("a list", &other),
            },
            Self::Map(inner) => match value {
                Value::Object(map) => map
                    .into_iter()
                    .map(|(key, one)| Ok((key, inner.convert(one)?)))
                    .collect::<Result<_, _>>()
                    .map(Value::Object),
                other => refused("a map", &other),
            },
            Self::Tuple(parts) => match value {
                Value::List(list) if list.len() == parts.len() => parts
                    .iter()
                    .zip(list)
                    .map(|(part, one)| part.convert(one))
                    .collect::<Result<_, _>>()
                    .map(Value::List),
                Value::List(list) => {
                    Err(format!("{} elements are wanted, not {}", parts.len(), list.len()))
                }
                other => refused("a list", &other),
            },
            Self::Object(parts) => convert_object(parts, value),
        }
    }
}

fn convert_object(
    parts: &BTreeMap<String, (Type, Presence)>,
    value: Value,
) -> Result<Value, String> {
    let Value::Object(mut map) = value else {
        return Err(format!("a map is wanted, not {}", value.kind()));
    };
    let mut made = BTreeMap::new();
    for (name, (part, presence)) in parts {
        let one = match (map.remove(name), presence) {
            (Some(one), _) => part.convert(one).map_err(|why| format!("`{name}`: {why}"))?,
            (None, Presence::Optional) => Value::Null,
            (None, Presence::Required) => return Err(format!("the attribute `{name}` is missing")),
        };
        made.insert(name.clone(), one);
    }
    Ok(Value::Object(made))
}

/// The elements of `list` without repetition, in their order.
pub(crate) fn distinct(list: Vec<Value>) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    list.into_iter().filter(|one| seen.insert(one.to_json().to_string())).collect()
}
