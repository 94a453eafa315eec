//! Expressions of HCL2, evaluated where they stand, so that a fault knows its place.
//!
//! A root name that is neither `var`, `local` nor bound around the expression belongs to the node
//! that will run the task: `node.datacenter` becomes the text `${node.datacenter}`, for the client.
//! Both branches of a condition may be wrong as long as the untaken one is not needed, `try` and
//! `can` are lazy, and numbers, bools and strings convert where one is wanted, as in HCL.
//!
//! Invariants
//! - work and memory are bounded by `WORK_MAX`, whatever the file says: servers evaluate files too.
use std::cell::Cell;
use std::collections::BTreeMap;

use hcl_edit::Span as _;
use hcl_edit::expr::{
    BinaryOp, BinaryOperator, Expression, ForExpr, FuncCall, Object, ObjectKey, Traversal,
    TraversalOperator, UnaryOperator,
};

use super::diagnostic::{Place, Source, nearest};
use super::functions::{self, Args, Folder};
use super::scope::Scope;
use super::types::Type;
use super::value::Value;

/// Steps and copied units of sixteen bytes that one file may take: some 32 MiB and a second.
const WORK_MAX: u64 = 2_000_000;

/// Why an expression has no value.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) place: Place,
    pub(crate) message: String,
    pub(crate) hint: String,
}

pub(crate) type Outcome<T = Value> = Result<T, Box<Fault>>;

/// What becomes of a name that nothing binds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unbound {
    /// It is the client's: keep it as `${name}`.
    Kept,
    /// There is nobody to resolve it: variables files and defaults.
    Refused,
}

/// Evaluates the expressions of one source.
pub(crate) struct Evaluator<'a> {
    pub(crate) source: &'a Source,
    pub(crate) folder: &'a Folder,
    pub(crate) unbound: Unbound,
    work: Cell<u64>,
}

pub(crate) fn fault<T>(place: Place, message: impl Into<String>) -> Outcome<T> {
    Err(Box::new(Fault { place, message: message.into(), hint: String::new() }))
}

fn fault_with<T>(place: Place, message: String, hint: String) -> Outcome<T> {
    Err(Box::new(Fault { place, message, hint }))
}

/// Where `expr` stands.
pub(crate) fn place_of(expr: &Expression) -> Place {
    expr.span().unwrap_or_default()
}

impl<'a> Evaluator<'a> {
    pub(crate) const fn new(source: &'a Source, folder: &'a Folder, unbound: Unbound) -> Self {
        Self { source, folder, unbound, work: Cell::new(0) }
    }

    /// The value of `expr`.
    pub(crate) fn value(&self, expr: &Expression, scope: &Scope<'_>) -> Outcome {
        self.spend(1, &place_of(expr))?;
        match expr {
            Expression::Null(_) => Ok(Value::Null),
            Expression::Bool(value) => Ok(Value::Bool(*value.value())),
            Expression::Number(number) => Ok(number.value().as_i64().map_or_else(
                || Value::number(number.value().as_f64().unwrap_or(f64::MAX)),
                Value::Int,
            )),
            Expression::String(text) => Ok(Value::Text(text.value().clone())),
            Expression::Array(array) => array
                .iter()
                .map(|one| self.value(one, scope))
                .collect::<Outcome<_>>()
                .map(Value::List),
            Expression::Object(object) => self.object(object, scope),
            Expression::StringTemplate(text) => self.template_value(text.iter(), scope),
            Expression::HeredocTemplate(text) => self.template_value(text.template.iter(), scope),
            Expression::Parenthesis(inner) => self.value(inner.inner(), scope),
            Expression::Variable(name) => self.name(name.as_str(), &place_of(expr), scope),
            Expression::Conditional(choice) => {
                let branch = if self.truth(&choice.cond_expr, scope)? {
                    &choice.true_expr
                } else {
                    &choice.false_expr
                };
                self.value(branch, scope)
            }
            Expression::FuncCall(call) => self.call(call, &place_of(expr), scope),
            Expression::Traversal(path) => self.path(path, &place_of(expr), scope),
            Expression::UnaryOp(op) => match op.operator.value() {
                UnaryOperator::Neg => Ok(Value::number(-self.number(&op.expr, scope)?)),
                UnaryOperator::Not => Ok(Value::Bool(!self.truth(&op.expr, scope)?)),
            },
            Expression::BinaryOp(op) => self.binary(op, &place_of(expr), scope),
            Expression::ForExpr(each) => self.for_each(each, scope),
        }
    }

    /// Count work done; a fault once the file has had its share.
    pub(crate) fn spend(&self, units: u64, place: &Place) -> Outcome<()> {
        self.work.set(self.work.get().saturating_add(units));
        if self.work.get() <= WORK_MAX {
            return Ok(());
        }
        fault(place.clone(), "evaluating this file takes more work than is allowed")
    }

    pub(crate) fn truth(&self, expr: &Expression, scope: &Scope<'_>) -> Outcome<bool> {
        let value = self.value(expr, scope)?;
        match value.to_bool() {
            Some(truth) => Ok(truth),
            None => mismatch(place_of(expr), "a bool", &value),
        }
    }

    fn number(&self, expr: &Expression, scope: &Scope<'_>) -> Outcome<f64> {
        let value = self.value(expr, scope)?;
        match value.to_number() {
            Some(number) => Ok(number),
            None => mismatch(place_of(expr), "a number", &value),
        }
    }

    fn name(&self, name: &str, place: &Place, scope: &Scope<'_>) -> Outcome {
        if let Some(value) = scope.find(name) {
            self.spend(value.weight(), place)?;
            return Ok(value.clone());
        }
        self.runtime(place)
    }

    /// The text at `place`, left to the client.
    fn runtime(&self, place: &Place) -> Outcome {
        let text = self.source.text.get(place.clone()).unwrap_or_default().trim();
        match self.unbound {
            Unbound::Kept => Ok(Value::Text(format!("${{{text}}}"))),
            Unbound::Refused => fault_with(
                place.clone(),
                format!("nothing called `{text}` can be used here"),
                format!("if the word itself is meant, write \"{text}\""),
            ),
        }
    }

    fn object(&self, object: &Object, scope: &Scope<'_>) -> Outcome {
        let mut map = BTreeMap::new();
        for (key, value) in object {
            let name = match key {
                ObjectKey::Ident(name) => name.as_str().to_owned(),
                ObjectKey::Expression(expr) => self.text(expr, scope)?,
            };
            map.insert(name, self.value(value.expr(), scope)?);
        }
        Ok(Value::Object(map))
    }

    pub(crate) fn text(&self, expr: &Expression, scope: &Scope<'_>) -> Outcome<String> {
        let value = self.value(expr, scope)?;
        match value.to_text() {
            Some(text) => Ok(text),
            None => fault(place_of(expr), format!("a string is wanted here, not {}", value.kind())),
        }
    }

    fn binary(&self, op: &BinaryOp, place: &Place, scope: &Scope<'_>) -> Outcome {
        let (left, right) = (&op.lhs_expr, &op.rhs_expr);
        Ok(match op.operator.value() {
            BinaryOperator::And => {
                Value::Bool(self.truth(left, scope)? && self.truth(right, scope)?)
            }
            BinaryOperator::Or => {
                Value::Bool(self.truth(left, scope)? || self.truth(right, scope)?)
            }
            BinaryOperator::Eq => {
                Value::Bool(self.value(left, scope)? == self.value(right, scope)?)
            }
            BinaryOperator::NotEq => {
                Value::Bool(self.value(left, scope)? != self.value(right, scope)?)
            }
            arithmetic => {
                let (left, right) = (self.number(left, scope)?, self.number(right, scope)?);
                match arithmetic {
                    BinaryOperator::Less => Value::Bool(left < right),
                    BinaryOperator::LessEq => Value::Bool(left <= right),
                    BinaryOperator::Greater => Value::Bool(right < left),
                    BinaryOperator::GreaterEq => Value::Bool(right <= left),
                    BinaryOperator::Plus => Value::number(left + right),
                    BinaryOperator::Minus => Value::number(left - right),
                    BinaryOperator::Mul => Value::number(left * right),
                    BinaryOperator::Div | BinaryOperator::Mod if right == 0.0 => {
                        return fault(place.clone(), "division by zero");
                    }
                    BinaryOperator::Div => Value::number(left / right),
                    _ => Value::number(left % right),
                }
            }
        })
    }

    /// The pairs that `for` and `dynamic` walk over.
    pub(crate) fn pairs(
        &self,
        expr: &Expression,
        scope: &Scope<'_>,
    ) -> Outcome<Vec<(Value, Value)>> {
        match self.value(expr, scope)? {
            Value::List(list) => Ok((0..).map(Value::Int).zip(list).collect()),
            Value::Object(map) => {
                Ok(map.into_iter().map(|(key, value)| (Value::Text(key), value)).collect())
            }
            other => fault(
                place_of(expr),
                format!("a list or a map is wanted here, not {}", other.kind()),
            ),
        }
    }

    fn for_each(&self, each: &ForExpr, scope: &Scope<'_>) -> Outcome {
        let (mut list, mut map) = (Vec::new(), BTreeMap::new());
        for (key, value) in self.pairs(&each.intro.collection_expr, scope)? {
            let mut inner = scope.inner();
            if let Some(name) = &each.intro.key_var {
                inner.set(name.as_str(), key);
            }
            inner.set(each.intro.value_var.as_str(), value);
            if let Some(cond) = &each.cond
                && !self.truth(&cond.expr, &inner)?
            {
                continue;
            }
            let made = self.value(&each.value_expr, &inner)?;
            let Some(key_expr) = &each.key_expr else {
                list.push(made);
                continue;
            };
            let key = self.text(key_expr, &inner)?;
            if each.grouping {
                match map.entry(key).or_insert_with(|| Value::List(Vec::new())) {
                    Value::List(group) => group.push(made),
                    other => *other = made,
                }
                continue;
            }
            if map.insert(key.clone(), made).is_some() {
                return fault_with(
                    place_of(key_expr),
                    format!("the key `{key}` comes up twice"),
                    "to collect all values of a key, end the value with `...`".to_owned(),
                );
            }
        }
        Ok(if each.key_expr.is_some() { Value::Object(map) } else { Value::List(list) })
    }

    fn path(&self, path: &Traversal, place: &Place, scope: &Scope<'_>) -> Outcome {
        let mut steps = path.operators.iter().map(|step| step.value()).collect::<Vec<_>>();
        let Expression::Variable(root) = &path.expr else {
            return self.follow(self.value(&path.expr, scope)?, &steps, place, scope);
        };
        let Some(found) = scope.find(root.as_str()) else { return self.runtime(place) };
        let mut found = found;
        // Walked by reference as far as possible: `var` may be large, and what is asked for small.
        while let (Some(TraversalOperator::GetAttr(name)), Value::Object(map)) =
            (steps.first(), found)
        {
            let Some(inner) = map.get(name.as_str()) else {
                return missing(root.as_str(), name.as_str(), map, place);
            };
            found = inner;
            steps.remove(0);
        }
        self.spend(found.weight(), place)?;
        self.follow(found.clone(), &steps, place, scope)
    }

    fn follow(
        &self,
        mut value: Value,
        steps: &[&TraversalOperator],
        place: &Place,
        scope: &Scope<'_>,
    ) -> Outcome {
        for (at, step) in steps.iter().enumerate() {
            value = match step {
                TraversalOperator::GetAttr(name) => {
                    pick(value, &Value::text(name.as_str()), place)?
                }
                TraversalOperator::Index(expr) => {
                    pick(value, &self.value(expr, scope)?, &place_of(expr))?
                }
                TraversalOperator::LegacyIndex(index) => {
                    let index = i64::try_from(*index.value()).unwrap_or(i64::MAX);
                    pick(value, &Value::Int(index), place)?
                }
                TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_) => {
                    let rest = &steps[at + 1..];
                    let full = matches!(step, TraversalOperator::FullSplat(_));
                    let taken = rest
                        .iter()
                        .take_while(|one| match one {
                            TraversalOperator::GetAttr(_) => true,
                            TraversalOperator::Index(_) => full,
                            _ => false,
                        })
                        .count();
                    let each = match value {
                        Value::Null => Vec::new(),
                        Value::List(list) => list,
                        single => vec![single],
                    };
                    let inner =
                        each.into_iter().map(|one| self.follow(one, &rest[..taken], place, scope));
                    let list = Value::List(inner.collect::<Outcome<_>>()?);
                    return self.follow(list, &rest[taken..], place, scope);
                }
            };
        }
        Ok(value)
    }

    fn call(&self, call: &FuncCall, place: &Place, scope: &Scope<'_>) -> Outcome {
        let name = call.name.name.as_str();
        match name {
            "try" => {
                let mut last = fault(place.clone(), "`try` needs an expression");
                for arg in call.args.iter() {
                    last = self.value(arg, scope);
                    if last.is_ok() {
                        break;
                    }
                }
                return last;
            }
            "can" if call.args.len() == 1 => {
                let worked = call.args.iter().all(|arg| self.value(arg, scope).is_ok());
                return Ok(Value::Bool(worked));
            }
            "convert" if call.args.len() == 2 => {
                let args: Vec<&Expression> = call.args.iter().collect();
                let wanted = Type::parse(args[1])?;
                let value = self.value(args[0], scope)?;
                return wanted.convert(value).or_else(|why| fault(place_of(args[0]), why));
            }
            _ => {}
        }
        let mut args = Vec::with_capacity(call.args.len());
        for (at, arg) in call.args.iter().enumerate() {
            match self.value(arg, scope)? {
                Value::List(list) if call.args.expand_final() && at + 1 == call.args.len() => {
                    args.extend(list);
                }
                value => args.push(value),
            }
        }
        self.apply(name, args, place)
    }

    fn apply(&self, name: &str, args: Vec<Value>, place: &Place) -> Outcome {
        let Some(function) = functions::find(name) else {
            let hint = nearest(name, functions::names())
                .map_or_else(String::new, |near| format!("did you mean `{near}`?"));
            return fault_with(place.clone(), format!("there is no function `{name}`"), hint);
        };
        match function(&Args { list: args }, self.folder) {
            Ok(value) => {
                self.spend(value.weight(), place)?;
                Ok(value)
            }
            Err(why) => fault(place.clone(), format!("`{name}`: {why}")),
        }
    }
}

fn mismatch<T>(place: Place, wanted: &str, value: &Value) -> Outcome<T> {
    let hint = match value {
        Value::Text(text) if text.starts_with("${") => {
            "nothing of that name is declared here: it is left to the node, and text until then"
                .to_owned()
        }
        _ => String::new(),
    };
    fault_with(place, format!("{wanted} is wanted here, not {}", value.kind()), hint)
}

fn missing(root: &str, name: &str, map: &BTreeMap<String, Value>, place: &Place) -> Outcome {
    let message = match root {
        "var" => format!("there is no variable `{name}`"),
        "local" => format!("there is no local `{name}`"),
        _ => format!("there is no `{name}` in it"),
    };
    let hint = match nearest(name, map.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if root == "var" => format!("declare it: variable \"{name}\" {{}}"),
        None if map.is_empty() => String::new(),
        None => format!("it has {}", map.keys().cloned().collect::<Vec<_>>().join(", ")),
    };
    fault_with(place.clone(), message, hint)
}

fn pick(value: Value, key: &Value, place: &Place) -> Outcome {
    match value {
        Value::Object(mut map) => {
            let Some(name) = key.to_text() else {
                return fault(
                    place.clone(),
                    format!("a map is asked by a string, not {}", key.kind()),
                );
            };
            match map.remove(&name) {
                Some(found) => Ok(found),
                None => missing("", &name, &map, place),
            }
        }
        Value::List(list) => {
            let count = list.len();
            let Some(index) = key.to_int() else {
                return fault(
                    place.clone(),
                    format!("a list is asked by a number, not {}", key.kind()),
                );
            };
            let found = usize::try_from(index).ok().and_then(|at| list.into_iter().nth(at));
            match found {
                Some(found) => Ok(found),
                None => fault(
                    place.clone(),
                    format!("there is no element {index}: the list has {count}"),
                ),
            }
        }
        other => fault(place.clone(), format!("{} has nothing inside it", other.kind())),
    }
}
