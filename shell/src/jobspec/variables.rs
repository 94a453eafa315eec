//! `variable`, `variables` and `locals` blocks, and where the values of variables come from.
//!
//! Environment, then variables files in their order, then flags: later ones win.
//!
//! Invariants
//! - a value given from outside is converted to the type that was declared, or refused;
//! - `var` and `local` always exist, so that a forgotten name is a finding and not a literal.
use std::collections::{BTreeMap, BTreeSet};

use hcl_edit::Span as _;
use hcl_edit::expr::{Expression, Traversal, TraversalOperator};
use hcl_edit::structure::{Attribute, Block, Body};
use hcl_edit::visit::{self, Visit};

use super::diagnostic::{Findings, Place, Source, nearest};
use super::eval::{Evaluator, Unbound, place_of};
use super::expand::Expander;
use super::functions::Folder;
use super::scope::Scope;
use super::types::Type;
use super::value::Value;

/// More locals than any job file has; they may refer to each other, and each is a step of recursion.
const LOCALS_MAX: usize = 256;

/// What is given to a job file from outside.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// `-var name=value`.
    pub flags: BTreeMap<String, String>,
    /// `-var-file`, in their order.
    pub files: Vec<Source>,
    /// The environment: `NOMAD_VAR_name` and `DROVER_VAR_name` are looked for in it.
    pub environment: BTreeMap<String, String>,
    /// Where file functions look.
    pub folder: Folder,
}

impl Default for Inputs {
    fn default() -> Self {
        let (flags, files, environment) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        Self { flags, files, environment, folder: Folder::Closed }
    }
}

/// One declared variable.
struct Variable {
    place: Place,
    wanted: Type,
    /// Whether text from outside is meant literally rather than as an expression.
    literal: bool,
    value: Option<Value>,
}

/// Reads the declarations of one file.
struct Declarations<'a> {
    expander: &'a Expander<'a>,
    variables: BTreeMap<String, Variable>,
}

/// The outermost scope of a job file: `var` and `local`.
pub(crate) fn outermost<'s>(body: &Body, inputs: &Inputs, expander: &Expander<'_>) -> Scope<'s> {
    let mut declarations = Declarations { expander, variables: BTreeMap::new() };
    for block in body.get_blocks("variables") {
        for attribute in block.body.attributes() {
            declarations.declare_short(attribute);
        }
    }
    for block in body.get_blocks("variable") {
        declarations.declare(block);
    }
    declarations.take_inputs(inputs);
    let mut scope = Scope::default();
    let values = declarations.values();
    scope.set("var", Value::Object(values));
    scope.set("local", Value::Object(BTreeMap::new()));
    for block in body.get_blocks("variable") {
        declarations.check(block, &scope);
    }
    let locals: Vec<&Attribute> =
        body.get_blocks("locals").flat_map(|block| block.body.attributes()).collect();
    set_locals(&locals, &mut scope, expander);
    scope
}

impl Declarations<'_> {
    fn wrong(&self, place: Place, message: String, hint: &str) {
        self.expander.findings.wrong(place, message, hint.to_owned());
    }

    fn default_of(&self, expr: &Expression) -> Option<Value> {
        let (source, folder) = (self.expander.evaluator.source, self.expander.evaluator.folder);
        let evaluator = Evaluator::new(source, folder, Unbound::Refused);
        let value = evaluator.value(expr, &Scope::default());
        value.map_err(|fault| self.wrong(fault.place, fault.message, &fault.hint)).ok()
    }

    /// `variables { name = default }`.
    fn declare_short(&mut self, attribute: &Attribute) {
        let value = self.default_of(&attribute.value);
        let literal = !matches!(value, Some(Value::List(_) | Value::Object(_)));
        let wanted = value.as_ref().map_or(Type::Any, type_of);
        let place = attribute.key.span().unwrap_or_default();
        let variable = Variable { place, wanted, literal, value };
        self.variables.insert(attribute.key.as_str().to_owned(), variable);
    }

    /// `variable "name" { ... }`.
    fn declare(&mut self, block: &Block) {
        let place = block.ident.span().unwrap_or_default();
        let [name] = &block.labels[..] else {
            self.wrong(place, "`variable` has one label: its name".to_owned(), "");
            return;
        };
        let name_place = name.span().unwrap_or(place);
        for attribute in block.body.attributes() {
            if !matches!(
                attribute.key.as_str(),
                "type" | "default" | "description" | "sensitive" | "nullable"
            ) {
                let why = format!("`{}` is not known in `variable`", attribute.key.as_str());
                let hint = "known here: type, default, description, validation";
                self.wrong(attribute.key.span().unwrap_or_default(), why, hint);
            }
        }
        let value = block.body.get_attribute("default").and_then(|one| self.default_of(&one.value));
        let declared = block.body.get_attribute("type").and_then(|one| {
            let parsed = Type::parse(&one.value);
            parsed.map_err(|fault| self.wrong(fault.place, fault.message, &fault.hint)).ok()
        });
        let inferred = || value.as_ref().map_or(Type::Any, type_of);
        let literal = match &declared {
            Some(wanted) => matches!(wanted, Type::Text | Type::Number | Type::Bool),
            None => !matches!(value, Some(Value::List(_) | Value::Object(_))),
        };
        let wanted = declared.unwrap_or_else(inferred);
        let value = value.and_then(|value| {
            let place = block.body.get_attribute("default").map(|one| place_of(&one.value));
            let made = wanted.convert(value);
            made.map_err(|why| {
                self.wrong(place.unwrap_or_default(), format!("the default: {why}"), "");
            })
            .ok()
        });
        let variable = Variable { place: name_place.clone(), wanted, literal, value };
        if self.variables.insert(name.as_str().to_owned(), variable).is_some() {
            self.wrong(
                name_place,
                format!("the variable `{}` is declared twice", name.as_str()),
                "",
            );
        }
    }

    fn take_inputs(&mut self, inputs: &Inputs) {
        for prefix in ["NOMAD_VAR_", "DROVER_VAR_"] {
            for (key, text) in &inputs.environment {
                if let Some(name) = key.strip_prefix(prefix)
                    && self.variables.contains_key(name)
                {
                    self.give_text(name, text, key);
                }
            }
        }
        for source in &inputs.files {
            self.take_file(source);
        }
        for (name, text) in &inputs.flags {
            let origin = format!("-var {name}");
            if self.known(name, || Source { file: origin.clone(), text: text.clone() }, 0..0) {
                self.give_text(name, text, &origin);
            }
        }
    }

    fn known(&self, name: &str, source: impl Fn() -> Source, place: Place) -> bool {
        if self.variables.contains_key(name) {
            return true;
        }
        let hint = match nearest(name, self.variables.keys().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("declare it in the job file: variable \"{name}\" {{}}"),
        };
        let message = format!("the job file declares no variable `{name}`");
        self.expander.findings.elsewhere(source().find(place, message, hint));
        false
    }

    fn take_file(&mut self, source: &Source) {
        if source.file.ends_with(".json") {
            match serde_json::from_str(&source.text).map(|json| Value::from_json(&json)) {
                Ok(Value::Object(map)) => {
                    for (name, value) in map {
                        if self.known(&name, || source.clone(), 0..0) {
                            self.give(&name, value, source, 0..0);
                        }
                    }
                }
                Ok(_) => self.in_file(source, 0..0, "a variables file is a JSON object".to_owned()),
                Err(why) => self.in_file(source, 0..0, format!("is not JSON: {why}")),
            }
            return;
        }
        let body = match hcl_edit::parser::parse_body(&source.text) {
            Ok(body) => body,
            Err(why) => {
                let at = why.location().offset();
                return self.in_file(source, at..at + 1, why.message().to_owned());
            }
        };
        let folder = Folder::Closed;
        let evaluator = Evaluator::new(source, &folder, Unbound::Refused);
        for block in body.blocks() {
            let why = "a variables file has only lines of the form name = value".to_owned();
            self.in_file(source, block.ident.span().unwrap_or_default(), why);
        }
        for attribute in body.attributes() {
            let name = attribute.key.as_str();
            if !self.known(name, || source.clone(), attribute.key.span().unwrap_or_default()) {
                continue;
            }
            match evaluator.value(&attribute.value, &Scope::default()) {
                Ok(value) => self.give(name, value, source, place_of(&attribute.value)),
                Err(fault) => self.expander.findings.elsewhere(source.find(
                    fault.place,
                    fault.message,
                    fault.hint,
                )),
            }
        }
    }

    fn in_file(&self, source: &Source, place: Place, message: String) {
        self.expander.findings.elsewhere(source.find(place, message, String::new()));
    }

    /// Text from the command line or the environment.
    fn give_text(&mut self, name: &str, text: &str, origin: &str) {
        let source = Source { file: origin.to_owned(), text: text.to_owned() };
        let whole = 0..text.len();
        if self.variables.get(name).is_none_or(|variable| variable.literal) {
            self.give(name, Value::text(text), &source, whole);
            return;
        }
        let folder = Folder::Closed;
        match hcl_edit::parser::parse_expr(text) {
            Ok(expr) => {
                let evaluator = Evaluator::new(&source, &folder, Unbound::Refused);
                match evaluator.value(&expr, &Scope::default()) {
                    Ok(value) => self.give(name, value, &source, whole),
                    Err(fault) => {
                        self.expander.findings.elsewhere(source.find(
                            fault.place,
                            fault.message,
                            fault.hint,
                        ));
                    }
                }
            }
            Err(why) => self.in_file(&source, whole, why.message().to_owned()),
        }
    }

    fn give(&mut self, name: &str, value: Value, source: &Source, place: Place) {
        let Some(variable) = self.variables.get_mut(name) else { return };
        match variable.wanted.convert(value) {
            Ok(value) => variable.value = Some(value),
            Err(why) => self.in_file(source, place, format!("the variable `{name}`: {why}")),
        }
    }

    fn values(&self) -> BTreeMap<String, Value> {
        let mut made = BTreeMap::new();
        for (name, variable) in &self.variables {
            let value = variable.value.clone().unwrap_or_else(|| {
                let hint = format!(
                    "give it a default, or -var {name}=..., or DROVER_VAR_{name} in the environment"
                );
                self.wrong(
                    variable.place.clone(),
                    format!("the variable `{name}` has no value"),
                    &hint,
                );
                stand_in(name, &variable.wanted)
            });
            made.insert(name.clone(), value);
        }
        made
    }

    /// The `validation` blocks of a variable.
    fn check(&self, block: &Block, scope: &Scope<'_>) {
        for inner in block.body.blocks() {
            let place = inner.ident.span().unwrap_or_default();
            let condition = inner.body.get_attribute("condition");
            let (true, Some(condition)) = (inner.ident.as_str() == "validation", condition) else {
                let why = format!("`{}` is not known in `variable`", inner.ident.as_str());
                self.wrong(
                    place,
                    why,
                    "known here: validation { condition = ...  error_message = ... }",
                );
                continue;
            };
            if self.expander.findings.any() {
                return;
            }
            if self.expander.evaluator.truth(&condition.value, scope).is_ok_and(|holds| !holds) {
                let said = inner.body.get_attribute("error_message");
                let said = said
                    .and_then(|one| self.expander.value(&one.value, scope))
                    .and_then(|one| one.to_text());
                let message =
                    said.unwrap_or_else(|| "the variable's value is not allowed".to_owned());
                self.wrong(place_of(&condition.value), message, "");
            }
        }
    }
}

/// Something of the type, so that one missing value is one finding.
fn stand_in(name: &str, wanted: &Type) -> Value {
    match wanted {
        Type::Any | Type::Text => Value::Text(format!("${{var.{name}}}")),
        Type::Number => Value::Int(1),
        Type::Bool => Value::Bool(false),
        Type::List(_) | Type::Set(_) | Type::Tuple(_) => Value::List(Vec::new()),
        Type::Map(_) | Type::Object(_) => Value::Object(BTreeMap::new()),
    }
}

/// The type that a default stands for when none is written.
const fn type_of(value: &Value) -> Type {
    match value {
        Value::Bool(_) => Type::Bool,
        Value::Int(_) | Value::Float(_) => Type::Number,
        Value::Text(_) => Type::Text,
        Value::Null | Value::List(_) | Value::Object(_) => Type::Any,
    }
}

/// The names after `local.` in an expression.
#[derive(Default)]
struct Needs {
    names: BTreeSet<String>,
}

impl Visit for Needs {
    fn visit_traversal(&mut self, path: &Traversal) {
        if let (Expression::Variable(root), Some(first)) = (&path.expr, path.operators.first())
            && root.as_str() == "local"
            && let TraversalOperator::GetAttr(name) = first.value()
        {
            self.names.insert(name.as_str().to_owned());
        }
        visit::visit_traversal(self, path);
    }
}

/// Evaluate each local once all that it needs are known.
fn set_locals(locals: &[&Attribute], scope: &mut Scope<'_>, expander: &Expander<'_>) {
    let findings: &Findings<'_> = expander.findings;
    if let Some(one) = locals.get(LOCALS_MAX) {
        let why = format!("a file has at most {LOCALS_MAX} locals");
        return findings.wrong(one.key.span().unwrap_or_default(), why, String::new());
    }
    let declared: BTreeSet<&str> = locals.iter().map(|one| one.key.as_str()).collect();
    let mut done = BTreeMap::new();
    let mut settled: BTreeSet<&str> = BTreeSet::new();
    let mut waiting: Vec<&Attribute> = locals.to_vec();
    loop {
        let before = waiting.len();
        let mut still = Vec::new();
        for one in waiting {
            let mut needs = Needs::default();
            needs.visit_expr(&one.value);
            // A name that is declared nowhere is waited for by nobody: evaluating tells of it.
            let ready = needs
                .names
                .iter()
                .all(|name| !declared.contains(name.as_str()) || settled.contains(name.as_str()));
            if !ready {
                still.push(one);
                continue;
            }
            let value = expander.value(&one.value, scope).unwrap_or(Value::Null);
            settled.insert(one.key.as_str());
            done.insert(one.key.as_str().to_owned(), value);
            scope.set("local", Value::Object(done.clone()));
        }
        waiting = still;
        if waiting.is_empty() {
            return;
        }
        if waiting.len() == before {
            for one in waiting {
                let why = format!("the local `{}` needs itself", one.key.as_str());
                findings.wrong(one.key.span().unwrap_or_default(), why, String::new());
            }
            return;
        }
    }
}
