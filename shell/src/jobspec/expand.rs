//! From parsed blocks to evaluated ones: expressions become values, `dynamic` blocks what they make.
//!
//! Invariants
//! - a fault in one attribute does not hide the faults of the others;
//! - at most `BLOCKS_MAX` blocks come of one file.
use std::cell::Cell;

use hcl_edit::Span as _;
use hcl_edit::expr::Expression;
use hcl_edit::structure::{Block as Written, BlockLabel, Body, Structure};

use super::diagnostic::{Findings, Place};
use super::eval::{Evaluator, Fault, Outcome, place_of};
use super::scope::Scope;
use super::tree::{Attribute, Block, Label};
use super::value::Value;

/// More blocks than any job file has; what multiplies further is a mistake.
const BLOCKS_MAX: usize = 10_000;

/// Expands the bodies of one file.
pub(crate) struct Expander<'a> {
    pub(crate) evaluator: &'a Evaluator<'a>,
    pub(crate) findings: &'a Findings<'a>,
    made: Cell<usize>,
}

fn label_of(label: &BlockLabel) -> Label {
    Label { text: label.as_str().to_owned(), place: label.span().unwrap_or_default() }
}

impl<'a> Expander<'a> {
    pub(crate) const fn new(evaluator: &'a Evaluator<'a>, findings: &'a Findings<'a>) -> Self {
        Self { evaluator, findings, made: Cell::new(0) }
    }

    fn tell(&self, fault: Fault) {
        self.findings.wrong(fault.place, fault.message, fault.hint);
    }

    /// The value, if there is one; a fault is told.
    pub(crate) fn value(&self, expr: &Expression, scope: &Scope<'_>) -> Option<Value> {
        self.evaluator.value(expr, scope).map_err(|fault| self.tell(*fault)).ok()
    }

    /// The block with everything in it evaluated.
    pub(crate) fn block(&self, written: &Written, scope: &Scope<'_>) -> Block {
        let place = written.ident.span().unwrap_or_default();
        let mut block = Block::empty(written.ident.as_str().to_owned(), place);
        block.labels = written.labels.iter().map(label_of).collect();
        self.fill(&mut block, &written.body, scope);
        block
    }

    fn fill(&self, block: &mut Block, body: &Body, scope: &Scope<'_>) {
        for structure in body {
            match structure {
                Structure::Attribute(attribute) => {
                    let Some(value) = self.value(&attribute.value, scope) else { continue };
                    block.attributes.push(Attribute {
                        name: attribute.key.as_str().to_owned(),
                        place: attribute.key.span().unwrap_or_default(),
                        value,
                        value_place: place_of(&attribute.value),
                    });
                }
                Structure::Block(inner) if inner.ident.as_str() == "dynamic" => {
                    if let Err(fault) = self.dynamic(block, inner, scope) {
                        self.tell(*fault);
                    }
                }
                Structure::Block(inner) => {
                    if self.admit(&inner.ident.span().unwrap_or_default()) {
                        block.blocks.push(self.block(inner, scope));
                    }
                }
            }
        }
    }

    fn admit(&self, place: &Place) -> bool {
        self.made.set(self.made.get() + 1);
        if self.made.get() <= BLOCKS_MAX {
            return true;
        }
        if self.made.get() == BLOCKS_MAX + 1 {
            let why = format!("this file makes more than {BLOCKS_MAX} blocks");
            self.findings.wrong(place.clone(), why, String::new());
        }
        false
    }

    fn dynamic(&self, block: &mut Block, written: &Written, scope: &Scope<'_>) -> Outcome<()> {
        let place = written.ident.span().unwrap_or_default();
        let wrong = |message: &str| {
            let hint = "dynamic \"NAME\" { for_each = LIST  content { ... } }".to_owned();
            Err(Box::new(Fault { place: place.clone(), message: message.to_owned(), hint }))
        };
        let [name] = &written.labels[..] else {
            return wrong("`dynamic` has one label: the name of the blocks that it makes");
        };
        let name = label_of(name);
        let Some(each) = written.body.get_attribute("for_each") else {
            return wrong("`dynamic` needs the attribute `for_each`");
        };
        let Some(content) = written.body.get_blocks("content").next() else {
            return wrong("`dynamic` needs a block `content`");
        };
        self.refuse_others(&written.body);
        let iterator = match written.body.get_attribute("iterator").map(|one| &one.value) {
            None => name.text.clone(),
            Some(Expression::Variable(word)) => word.as_str().to_owned(),
            Some(Expression::String(word)) => word.value().clone(),
            Some(_) => return wrong("`iterator` is a name"),
        };
        for (key, value) in self.evaluator.pairs(&each.value, scope)? {
            self.evaluator.spend(1, &place)?;
            if !self.admit(&place) {
                return Ok(());
            }
            let mut inner = scope.inner();
            let each = [("key".to_owned(), key), ("value".to_owned(), value)];
            inner.set(&iterator, Value::Object(each.into()));
            let mut made = Block::empty(name.text.clone(), place.clone());
            made.labels = self.labels(&written.body, &inner)?;
            self.fill(&mut made, &content.body, &inner);
            block.blocks.push(made);
        }
        Ok(())
    }

    fn refuse_others(&self, body: &Body) {
        for structure in body {
            let (name, place) = match structure {
                Structure::Attribute(one) => (one.key.as_str(), one.key.span()),
                Structure::Block(one) => (one.ident.as_str(), one.ident.span()),
            };
            if !matches!(name, "for_each" | "iterator" | "labels" | "content") {
                let hint = "known here: for_each, iterator, labels, content".to_owned();
                let why = format!("`{name}` is not known in `dynamic`");
                self.findings.wrong(place.unwrap_or_default(), why, hint);
            }
        }
    }

    fn labels(&self, body: &Body, scope: &Scope<'_>) -> Outcome<Vec<Label>> {
        let Some(labels) = body.get_attribute("labels") else { return Ok(Vec::new()) };
        let place = place_of(&labels.value);
        let pairs = self.evaluator.pairs(&labels.value, scope)?;
        let texts = pairs.into_iter().map(|(_, value)| value.to_text());
        texts
            .map(|text| match text {
                Some(text) => Ok(Label { text, place: place.clone() }),
                None => super::eval::fault(place.clone(), "labels are strings"),
            })
            .collect()
    }
}
