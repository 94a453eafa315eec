//! Blocks and attributes with every expression evaluated: what decoders read.
//!
//! Invariants
//! - every name and value knows where it stands.
use super::diagnostic::Place;
use super::value::Value;

/// `name "label" { ... }`.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) labels: Vec<Label>,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) blocks: Vec<Self>,
}

/// A block's label.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    pub(crate) text: String,
    pub(crate) place: Place,
}

/// `name = value`.
#[derive(Clone, Debug)]
pub(crate) struct Attribute {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) value: Value,
    pub(crate) value_place: Place,
}

impl Block {
    /// A block with nothing in it.
    pub(crate) const fn empty(name: String, place: Place) -> Self {
        Self { name, place, labels: Vec::new(), attributes: Vec::new(), blocks: Vec::new() }
    }

    /// What is inside as one value: inner blocks become lists of maps, as drivers expect.
    pub(crate) fn to_value(&self) -> Value {
        let mut map: std::collections::BTreeMap<String, Value> =
            self.attributes.iter().map(|one| (one.name.clone(), one.value.clone())).collect();
        for block in &self.blocks {
            let labelled = block.labels.iter().rev().fold(block.to_value(), |inner, label| {
                Value::Object([(label.text.clone(), inner)].into())
            });
            match map.entry(block.name.clone()).or_insert_with(|| Value::List(Vec::new())) {
                Value::List(list) => list.push(labelled),
                taken => *taken = labelled,
            }
        }
        Value::Object(map)
    }
}
