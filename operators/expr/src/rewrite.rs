//! An expression, made ready to be evaluated often: what it wants of a record is found once, and
//! each field of it gets a number, so that a record is read no further than that.
//!
//! | written | evaluated as | what that is |
//! | --- | --- | --- |
//! | `record.delay`, `record["delay"]` | `@f3` | the value of field 3 |
//! | `has(record.delay)` | `@h3` | whether there is a field 3 |
//! | `record` otherwise | `record` | the whole object |
//!
//! A name of CEL cannot begin with `@`.

use cel::{
    IdedExpr,
    common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, operators},
};

/// What expressions see.
pub(crate) const NAMES: [&str; 4] = ["record", "value", "key", "timestamp"];
pub(crate) const FIELD: &str = "@f";
pub(crate) const HAS: &str = "@h";

/// The fields that the expressions of an operator want, each once.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) fields: Vec<String>,
}

impl Wanted {
    /// The number of a field, which is wanted from now on.
    fn number(&mut self, name: &str) -> usize {
        self.position(name).unwrap_or_else(|| {
            self.fields.push(name.to_owned());
            self.fields.len() - 1
        })
    }

    /// The number of a field, if it is wanted.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|known| known == name)
    }
}

/// What an expression uses.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Uses {
    pub(crate) fields: bool,
    /// The record as a whole.
    pub(crate) record: bool,
    pub(crate) value: bool,
    pub(crate) key: bool,
}

/// Makes an expression ready.
///
/// # Errors
/// With the first name that it sees and nothing has.
pub(crate) fn ready(code: &mut IdedExpr, wanted: &mut Wanted) -> Result<Uses, String> {
    let mut rewriting =
        Rewriting { wanted, uses: Uses::default(), bound: Vec::new(), unknown: None };
    rewriting.expression(code);
    match rewriting.unknown {
        Some(unknown) => Err(unknown),
        None => Ok(rewriting.uses),
    }
}

struct Rewriting<'w> {
    wanted: &'w mut Wanted,
    uses: Uses,
    /// The names that comprehensions around here have made: `x` in `list.exists(x, x > 1)`.
    bound: Vec<String>,
    unknown: Option<String>,
}

impl Rewriting<'_> {
    fn expression(&mut self, code: &mut IdedExpr) {
        if let Some(name) = self.field_of(&code.expr) {
            self.uses.fields = true;
            let number = self.wanted.number(&name);
            let test = matches!(&code.expr, Expr::Select(select) if select.test);
            let prefix = if test { HAS } else { FIELD };
            code.expr = Expr::Ident(format!("{prefix}{number}"));
            return;
        }
        match &mut code.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => {
                let name = name.clone();
                self.name(&name);
            }
            Expr::Select(select) => self.expression(&mut select.operand),
            Expr::Call(call) => {
                call.target.iter_mut().for_each(|target| self.expression(target));
                call.args.iter_mut().for_each(|argument| self.expression(argument));
            }
            Expr::List(list) => list.elements.iter_mut().for_each(|one| self.expression(one)),
            Expr::Map(map) => map.entries.iter_mut().for_each(|entry| self.entry(&mut entry.expr)),
            Expr::Struct(made) => {
                made.entries.iter_mut().for_each(|entry| self.entry(&mut entry.expr));
            }
            Expr::Comprehension(over) => {
                self.expression(&mut over.iter_range);
                self.expression(&mut over.accu_init);
                let outside = self.bound.len();
                self.bound.extend([over.iter_var.clone(), over.accu_var.clone()]);
                self.bound.extend(over.iter_var2.clone());
                self.expression(&mut over.loop_cond);
                self.expression(&mut over.loop_step);
                self.expression(&mut over.result);
                self.bound.truncate(outside);
            }
        }
    }

    fn entry(&mut self, entry: &mut EntryExpr) {
        match entry {
            EntryExpr::StructField(field) => self.expression(&mut field.value),
            EntryExpr::MapEntry(entry) => {
                self.expression(&mut entry.key);
                self.expression(&mut entry.value);
            }
        }
    }

    /// The field of the record that it stands for, if it is nothing else.
    fn field_of(&self, code: &Expr) -> Option<String> {
        let (of, field) = match code {
            Expr::Select(select) => (&select.operand.expr, select.field.clone()),
            Expr::Call(CallExpr { func_name, target: None, args })
                if func_name == operators::INDEX && args.len() == 2 =>
            {
                let Expr::Literal(LiteralValue::String(field)) = &args[1].expr else { return None };
                (&args[0].expr, field.inner().to_owned())
            }
            _ => return None,
        };
        let is_record = matches!(of, Expr::Ident(name) if name == NAMES[0]);
        (is_record && !self.is_bound(NAMES[0])).then_some(field)
    }

    fn is_bound(&self, name: &str) -> bool {
        self.bound.iter().any(|bound| bound == name)
    }

    fn name(&mut self, name: &str) {
        if self.is_bound(name) || name.starts_with('@') {
            return;
        }
        match name {
            "record" => self.uses.record = true,
            "value" => self.uses.value = true,
            "key" => self.uses.key = true,
            "timestamp" => {}
            // Names of types: `type(record.a) == int`.
            "bool" | "bytes" | "double" | "int" | "list" | "map" | "null_type" | "string"
            | "type" | "uint" => {}
            unknown => {
                self.unknown.get_or_insert_with(|| unknown.to_owned());
            }
        }
    }
}
