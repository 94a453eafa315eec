//! Reads one block: each key is asked for by name, and what nobody asked for is told at the end.
//!
//! Invariants
//! - nothing that is written is ignored: it is read, refused by name, or unknown;
//! - where each field stood is kept, so that later checks can point at it.
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::{Dialect, Findings, Place, nearest};
use super::duration;
use super::tree::{Attribute, Block};
use super::value::Value;

/// A block while it is read.
pub(crate) struct Reader<'a> {
    pub(crate) block: &'a Block,
    /// The field path of the block, as problems name it; empty at the top.
    pub(crate) path: String,
    findings: &'a Findings<'a>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(block: &'a Block, path: String, findings: &'a Findings<'a>) -> Self {
        findings.place(path.clone(), block.place.clone());
        Self { block, path, findings, asked: RefCell::default() }
    }

    /// Something is wrong at `place`.
    pub(crate) fn wrong(&self, place: &Place, message: String, hint: &str) {
        self.findings.wrong(place.clone(), message, hint.to_owned());
    }

    /// The field path of `name` in this block.
    pub(crate) fn field(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// From here on the block's path is `path`.
    pub(crate) fn move_to(&mut self, path: String) {
        self.findings.place(path.clone(), self.block.place.clone());
        self.path = path;
    }

    /// What stands at `name` answers for the field `field` too.
    pub(crate) fn alias(&self, field: &str, name: &str) {
        if let Some(place) = self.findings.place_of(&self.field(name)) {
            self.findings.place(self.field(field), place);
        }
    }

    /// The attribute `name`, unless it is absent or null.
    pub(crate) fn attribute(&self, name: &'static str) -> Option<&'a Attribute> {
        self.asked.borrow_mut().insert(name);
        let mut all = self.block.attributes.iter().filter(|one| one.name == name);
        let first = all.next()?;
        if let Some(second) = all.next() {
            self.wrong(&second.place, format!("`{name}` is set twice"), "");
        }
        self.findings.place(self.field(name), first.value_place.clone());
        (first.value != Value::Null).then_some(first)
    }

    fn single<T>(
        &self,
        name: &'static str,
        wanted: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        if self.refuse_block(name, wanted) {
            return None;
        }
        let attribute = self.attribute(name)?;
        let value = read(&attribute.value);
        if value.is_none() {
            let given = match &attribute.value {
                Value::Text(text) => format!("\"{text}\""),
                other => other.kind().to_owned(),
            };
            self.wrong(
                &attribute.value_place,
                format!("`{name}` must be {wanted}, not {given}"),
                "",
            );
        }
        value
    }

    fn refuse_block(&self, name: &'static str, wanted: &str) -> bool {
        let found = self.block.blocks.iter().find(|one| one.name == name);
        if let Some(block) = found {
            self.asked.borrow_mut().insert(name);
            self.wrong(&block.place, format!("`{name}` must be {wanted}, not a block"), "");
        }
        found.is_some()
    }

    pub(crate) fn text(&self, name: &'static str) -> Option<String> {
        self.single(name, "a string", Value::to_text)
    }

    pub(crate) fn int(&self, name: &'static str) -> Option<i64> {
        self.single(name, "a whole number", Value::to_int)
    }

    pub(crate) fn flag(&self, name: &'static str) -> Option<bool> {
        self.single(name, "true or false", Value::to_bool)
    }

    /// Nanoseconds: `"1h30m"`, or a number of nanoseconds as in Nomad.
    pub(crate) fn duration_ns(&self, name: &'static str) -> Option<i64> {
        self.single(name, "a duration such as \"30s\" or \"1h30m\"", |value| match value {
            Value::Text(text) => duration::parse_ns(text),
            other => other.to_int(),
        })
    }

    pub(crate) fn texts(&self, name: &'static str) -> Option<Vec<String>> {
        self.single(name, "a list of strings", |value| match value {
            Value::List(list) => list.iter().map(Value::to_text).collect(),
            _ => None,
        })
    }

    /// `name { key = value }` or `name = { key = value }`, with single things as values.
    pub(crate) fn map(&self, name: &'static str) -> Option<BTreeMap<String, String>> {
        let Value::Object(map) = self.object(name)? else { return None };
        let mut made = BTreeMap::new();
        for (key, value) in map {
            if value == Value::Null {
                continue;
            }
            let Some(text) = value.to_text() else {
                let place = self.findings.place_of(&format!("{}.{key}", self.field(name)));
                let why = format!("`{name}.{key}` must be a string, not {}", value.kind());
                self.wrong(&place.unwrap_or_default(), why, "");
                continue;
            };
            made.insert(key, text);
        }
        Some(made)
    }

    /// `name { ... }` or `name = { ... }` as one value; several blocks are merged.
    pub(crate) fn object(&self, name: &'static str) -> Option<Value> {
        let attribute = self.attribute(name);
        let blocks = self.blocks(name);
        if let Some(one) = attribute {
            if !matches!(one.value, Value::Object(_)) {
                let why = format!("`{name}` must be a map or a block, not {}", one.value.kind());
                self.wrong(&one.value_place, why, "");
                return None;
            }
            if let Some(block) = blocks.first() {
                self.wrong(&block.place, format!("`{name}` is set twice"), "");
            }
            return Some(one.value.clone());
        }
        let mut made: Option<BTreeMap<String, Value>> = None;
        for block in blocks {
            self.findings.place(self.field(name), block.place.clone());
            for one in &block.attributes {
                let field = format!("{}.{}", self.field(name), one.name);
                self.findings.place(field, one.value_place.clone());
            }
            if let Value::Object(map) = block.to_value() {
                made.get_or_insert_default().extend(map);
            }
        }
        made.map(Value::Object)
    }

    /// All blocks called `name`.
    pub(crate) fn blocks(&self, name: &'static str) -> Vec<&'a Block> {
        self.asked.borrow_mut().insert(name);
        self.block.blocks.iter().filter(|one| one.name == name).collect()
    }

    /// A reader of the one block called `name`, which has no labels.
    pub(crate) fn one(&self, name: &'static str) -> Option<Self> {
        let blocks = self.blocks(name);
        self.refuse_attribute(name);
        if let Some(second) = blocks.get(1) {
            self.wrong(
                &second.place,
                format!("there is more than one `{name}`"),
                "keep one of them",
            );
        }
        let block = *blocks.first()?;
        if let Some(label) = block.labels.first() {
            self.wrong(&label.place, format!("`{name}` has no label"), "");
        }
        Some(Reader::new(block, self.field(name), self.findings))
    }

    /// Readers of all blocks called `name`, numbered.
    pub(crate) fn numbered(&self, name: &'static str) -> Vec<Self> {
        self.refuse_attribute(name);
        let blocks = self.blocks(name).into_iter().enumerate();
        blocks
            .map(|(at, block)| {
                Reader::new(block, format!("{}[{at}]", self.field(name)), self.findings)
            })
            .collect()
    }

    /// Readers of all blocks called `name`, each with its one label. In JSON the label is a key around it.
    pub(crate) fn labelled(&self, name: &'static str) -> Vec<(String, Self)> {
        self.refuse_attribute(name);
        let mut made = Vec::new();
        let mut put = |label: &str, place: &Place, block: &'a Block| {
            let path = format!("{}[{label}]", self.field(name));
            made.push((label.to_owned(), Reader::new(block, path.clone(), self.findings)));
            self.findings.place(format!("{path}.name"), place.clone());
        };
        for block in self.blocks(name) {
            let may_be_keyed = self.findings.dialect == Dialect::AgentFile;
            match &block.labels[..] {
                [label] => put(&label.text, &label.place, block),
                [] if may_be_keyed && block.attributes.is_empty() && !block.blocks.is_empty() => {
                    block.blocks.iter().for_each(|inner| put(&inner.name, &inner.place, inner));
                }
                _ => {
                    let hint = format!("write {name} \"NAME\" {{ ... }}");
                    let why = format!("`{name}` has one label: its name");
                    self.wrong(&block.place, why, &hint);
                }
            }
        }
        made
    }

    fn refuse_attribute(&self, name: &'static str) {
        if let Some(one) = self.block.attributes.iter().find(|one| one.name == name) {
            let hint = format!("write {name} {{ ... }}, without an equals sign");
            self.wrong(&one.place, format!("`{name}` is a block"), &hint);
        }
    }

    /// Tell of everything that was not asked for; `foreign` is Nomad's and not supported.
    pub(crate) fn finish(self, foreign: &[&'static str]) {
        let asked = self.asked.borrow();
        let attributes = self.block.attributes.iter().map(|one| (&one.name, &one.place));
        let blocks = self.block.blocks.iter().map(|one| (&one.name, &one.place));
        for (name, place) in attributes.chain(blocks) {
            if asked.contains(name.as_str()) {
                continue;
            }
            if foreign.contains(&name.as_str()) {
                self.wrong(place, self.findings.dialect.refusal(name), "");
                continue;
            }
            let known = asked.iter().chain(foreign).copied();
            let hint = nearest(name, known).map_or_else(
                || format!("known here: {}", asked.iter().copied().collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            let around = if self.block.name.is_empty() {
                "here".to_owned()
            } else {
                format!("in `{}`", self.block.name)
            };
            self.wrong(place, format!("`{name}` is not known {around}"), &hint);
        }
    }
}
