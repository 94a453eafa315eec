//! A value of the job file's language.
//!
//! Invariants
//! - a number without a fraction that fits is an `Int`, so that equal numbers are equal values;
//! - an object's keys are in order, as users of HCL expect of `for` and `keys`.
use std::collections::BTreeMap;

/// What an expression comes to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Self>),
    Object(BTreeMap<String, Self>),
}

impl Value {
    /// The number, in its one form.
    #[expect(clippy::cast_possible_truncation, reason = "within the range that f64 holds exactly")]
    pub(crate) fn number(number: f64) -> Self {
        const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
        if number.fract() == 0.0 && number.abs() <= EXACT_MAX {
            Self::Int(number as i64)
        } else {
            Self::Float(number)
        }
    }

    /// A text as a value.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// What it is, for a message.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a bool",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "a map",
        }
    }

    /// As text, if it is a single thing: HCL turns numbers and bools into strings where one is wanted.
    pub(crate) fn to_text(&self) -> Option<String> {
        match self {
            Self::Bool(value) => Some(value.to_string()),
            Self::Int(value) => Some(value.to_string()),
            Self::Float(value) => Some(value.to_string()),
            Self::Text(value) => Some(value.clone()),
            Self::Null | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// As a number, if it is one or a string that spells one.
    pub(crate) fn to_number(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "HCL has one kind of number")]
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Text(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
            Self::Null | Self::Bool(_) | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// As a whole number, if it is one or a string that spells one.
    pub(crate) fn to_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Text(text) => text.trim().parse().ok(),
            Self::Null | Self::Bool(_) | Self::Float(_) | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// As a bool, if it is one or the string `true` or `false`.
    pub(crate) fn to_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::Text(text) => text.parse().ok(),
            Self::Null | Self::Int(_) | Self::Float(_) | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// The same as JSON.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::from(*value),
            Self::Int(value) => Json::from(*value),
            Self::Float(value) => Json::from(*value),
            Self::Text(value) => Json::from(value.as_str()),
            Self::List(list) => Json::Array(list.iter().map(Self::to_json).collect()),
            Self::Object(map) => {
                Json::Object(map.iter().map(|(key, one)| (key.clone(), one.to_json())).collect())
            }
        }
    }

    /// The same from JSON.
    pub(crate) fn from_json(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(value) => value
                .as_i64()
                .map_or_else(|| Self::number(value.as_f64().unwrap_or(f64::MAX)), Self::Int),
            Json::String(value) => Self::Text(value.clone()),
            Json::Array(list) => Self::List(list.iter().map(Self::from_json).collect()),
            Json::Object(map) => Self::Object(
                map.iter().map(|(key, one)| (key.clone(), Self::from_json(one))).collect(),
            ),
        }
    }

    /// How much there is of it: what copying it costs.
    pub(crate) fn weight(&self) -> u64 {
        match self {
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) => 1,
            Self::Text(text) => 1 + text.len() as u64 / 16,
            Self::List(list) => 1 + list.iter().map(Self::weight).sum::<u64>(),
            Self::Object(map) => 1 + map.values().map(|one| 2 + one.weight()).sum::<u64>(),
        }
    }
}
