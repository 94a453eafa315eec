//! Strings and heredocs with `${...}`, `%{if}` and `%{for}` in them.
//!
//! Invariants
//! - a string that is one interpolation and nothing else keeps the type of what is inside.
use hcl_edit::template::{Directive, Element, ForDirective, IfDirective, Strip, Template};

use super::eval::{Evaluator, Outcome, fault, place_of};
use super::scope::Scope;
use super::value::Value;

/// What stands beside a piece of text and may eat its white space.
#[derive(Clone, Copy)]
struct Edges {
    before: Strip,
    after: Strip,
}

const NO_EDGES: Edges = Edges { before: Strip::None, after: Strip::None };

impl Evaluator<'_> {
    /// The value of a template.
    pub(crate) fn template_value<'e>(
        &self,
        elements: impl Iterator<Item = &'e Element>,
        scope: &Scope<'_>,
    ) -> Outcome {
        let elements: Vec<&Element> = elements.collect();
        if let [Element::Interpolation(only)] = elements[..] {
            return self.value(&only.expr, scope);
        }
        let mut text = String::new();
        self.elements(&mut text, &elements, NO_EDGES, scope)?;
        Ok(Value::Text(text))
    }

    fn elements(
        &self,
        text: &mut String,
        elements: &[&Element],
        edges: Edges,
        scope: &Scope<'_>,
    ) -> Outcome<()> {
        for (at, element) in elements.iter().enumerate() {
            match element {
                Element::Literal(literal) => {
                    let before =
                        at.checked_sub(1).map_or(edges.before, |at| end_strip(elements[at]));
                    let after = elements.get(at + 1).map_or(edges.after, |next| start_strip(next));
                    text.push_str(stripped(literal.value(), before, after));
                }
                Element::Interpolation(one) => {
                    let value = self.value(&one.expr, scope)?;
                    match value.to_text() {
                        Some(piece) => text.push_str(&piece),
                        None => {
                            let why = format!("{} cannot stand inside a string", value.kind());
                            return fault(place_of(&one.expr), why);
                        }
                    }
                    self.spend(1 + text.len() as u64 / 64, &place_of(&one.expr))?;
                }
                Element::Directive(directive) => match &**directive {
                    Directive::If(choice) => self.if_directive(text, choice, scope)?,
                    Directive::For(each) => self.for_directive(text, each, scope)?,
                },
            }
        }
        Ok(())
    }

    fn inner(
        &self,
        text: &mut String,
        inner: &Template,
        edges: Edges,
        scope: &Scope<'_>,
    ) -> Outcome<()> {
        let elements: Vec<&Element> = inner.iter().collect();
        self.elements(text, &elements, edges, scope)
    }

    fn if_directive(
        &self,
        text: &mut String,
        choice: &IfDirective,
        scope: &Scope<'_>,
    ) -> Outcome<()> {
        let end = choice.endif_expr.strip;
        if self.truth(&choice.if_expr.cond_expr, scope)? {
            let after = choice.else_expr.as_ref().map_or(end, |other| other.strip);
            let edges = Edges { before: choice.if_expr.strip, after };
            return self.inner(text, &choice.if_expr.template, edges, scope);
        }
        match &choice.else_expr {
            Some(other) => {
                self.inner(text, &other.template, Edges { before: other.strip, after: end }, scope)
            }
            None => Ok(()),
        }
    }

    fn for_directive(
        &self,
        text: &mut String,
        each: &ForDirective,
        scope: &Scope<'_>,
    ) -> Outcome<()> {
        let edges = Edges { before: each.for_expr.strip, after: each.endfor_expr.strip };
        for (key, value) in self.pairs(&each.for_expr.collection_expr, scope)? {
            let mut inner = scope.inner();
            if let Some(name) = &each.for_expr.key_var {
                inner.set(name.as_str(), key);
            }
            inner.set(each.for_expr.value_var.as_str(), value);
            self.spend(1 + text.len() as u64 / 64, &place_of(&each.for_expr.collection_expr))?;
            self.inner(text, &each.for_expr.template, edges, &inner)?;
        }
        Ok(())
    }
}

fn start_strip(element: &Element) -> Strip {
    match element {
        Element::Literal(_) => Strip::None,
        Element::Interpolation(one) => one.strip,
        Element::Directive(directive) => match &**directive {
            Directive::If(choice) => choice.if_expr.strip,
            Directive::For(each) => each.for_expr.strip,
        },
    }
}

fn end_strip(element: &Element) -> Strip {
    match element {
        Element::Literal(_) => Strip::None,
        Element::Interpolation(one) => one.strip,
        Element::Directive(directive) => match &**directive {
            Directive::If(choice) => choice.endif_expr.strip,
            Directive::For(each) => each.endfor_expr.strip,
        },
    }
}

/// `literal` without the white space that its neighbours eat: up to and with one line break.
fn stripped(mut literal: &str, before: Strip, after: Strip) -> &str {
    let blank = |c: char| c.is_whitespace() && c != '\r' && c != '\n';
    if before.strip_end() {
        let rest = literal.trim_start_matches(blank);
        literal = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')).unwrap_or(rest);
    }
    if after.strip_start() {
        let rest = literal.trim_end_matches(blank);
        literal = rest.strip_suffix("\r\n").or_else(|| rest.strip_suffix('\n')).unwrap_or(rest);
    }
    literal
}
