//! One expression: made ready once, evaluated for each record; and what it sees of that.

use std::{collections::HashMap, fmt, sync::Arc};

use cel::{
    Context, Env, ExecutionError, IdedExpr, Value as Cel,
    common::{
        types::{CelBool, CelInt, CelNull, CelString},
        value::{CowVal, Val},
    },
    context::VariableResolver,
    extensions,
    objects::{Key, Map as CelMap},
};
use cofferdam_sdk::Record;
use serde_json::{Map, Number, Value};

use crate::{
    compile,
    json::{self, Field, Slot},
    rewrite::{self, FIELD, HAS, NAMES, Uses, Wanted},
};

/// An expression.
pub(crate) struct Expression {
    code: IdedExpr,
    uses: Uses,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expression").field("uses", &self.uses).finish_non_exhaustive()
    }
}

/// What all expressions of an operator share.
pub(crate) struct Evaluator {
    env: Arc<Env>,
    context: Context<'static, 'static>,
    pub(crate) wanted: Wanted,
}

impl fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evaluator").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

/// A record, read as far as expressions have asked for it.
#[derive(Debug)]
pub(crate) struct Seen<'a, 'w> {
    record: Record<'a>,
    wanted: &'w Wanted,
    /// The values of the fields that are wanted, once they are read.
    slots: Vec<Slot<'a>>,
    fields_read: bool,
    value: Slot<'a>,
    key: Slot<'a>,
    timestamp: Slot<'a>,
    whole: Slot<'a>,
    /// Whether all fields are kept, to be written again.
    rewritten: bool,
    all: Vec<Piece<'a>>,
}

/// A field of a record that is written again.
#[derive(Debug)]
enum Piece<'a> {
    /// As it was.
    Was(Field<'a>),
    /// A name, and JSON.
    Set(String, String),
}

impl Piece<'_> {
    fn is(&self, name: &str) -> bool {
        match self {
            Self::Was(field) => field.is(name),
            Self::Set(known, _) => known == name,
        }
    }
}

impl<'a, 'w> Seen<'a, 'w> {
    /// With `rewritten`, it will be [written](Self::object) with what was set.
    pub(crate) fn of(record: &Record<'a>, wanted: &'w Wanted, rewritten: bool) -> Self {
        let timestamp =
            record.timestamp().map_or(Slot::Null(CelNull), |at| Slot::Int(CelInt::from(at)));
        Self {
            record: *record,
            wanted,
            slots: Vec::new(),
            fields_read: false,
            value: Slot::Missing,
            key: Slot::Missing,
            timestamp,
            whole: Slot::Missing,
            rewritten,
            all: Vec::new(),
        }
    }

    /// The value as a JSON object, with what was set.
    pub(crate) fn object(&mut self) -> Result<String, String> {
        self.read_fields()?;
        let mut text = String::with_capacity(self.record.value().len() + 64);
        text.push('{');
        for (i, piece) in self.all.iter().enumerate() {
            if i > 0 {
                text.push(',');
            }
            match piece {
                Piece::Was(field) => {
                    field.write_name(&mut text);
                    text.push(':');
                    write_again(field.value, &mut text);
                }
                Piece::Set(name, value) => {
                    text.push_str(&Value::from(name.as_str()).to_string());
                    text.push(':');
                    text.push_str(value);
                }
            }
        }
        text.push('}');
        Ok(text)
    }

    pub(crate) fn set(&mut self, name: &str, value: &Value) -> Result<(), String> {
        self.read_fields()?;
        if let Some(number) = self.wanted.position(name) {
            self.slots[number] = Slot::of_value(value);
        }
        self.whole = Slot::Missing;
        let set = Piece::Set(name.to_owned(), value.to_string());
        match self.all.iter_mut().rfind(|piece| piece.is(name)) {
            Some(piece) => *piece = set,
            None => self.all.push(set),
        }
        Ok(())
    }

    pub(crate) fn drop_field(&mut self, name: &str) -> Result<(), String> {
        self.read_fields()?;
        self.all.retain(|piece| !piece.is(name));
        if let Some(number) = self.wanted.position(name) {
            self.slots[number] = Slot::Missing;
        }
        self.whole = Slot::Missing;
        Ok(())
    }

    /// Reads what an expression uses.
    fn prepare(&mut self, uses: Uses) -> Result<(), String> {
        if uses.fields || uses.record {
            self.read_fields()?;
        }
        if uses.record && self.whole.is_missing() {
            let object = if self.rewritten {
                serde_json::from_str(&self.object()?)
            } else {
                serde_json::from_slice(self.record.value())
            };
            let object = object.map_err(|wrong| format!("the value is no JSON object: {wrong}"))?;
            self.whole = Slot::of_value(&Value::Object(object));
        }
        if uses.value && self.value.is_missing() {
            self.value = text("value", self.record.value())?;
        }
        if uses.key && self.key.is_missing() {
            self.key = text("key", self.record.key())?;
        }
        Ok(())
    }

    fn read_fields(&mut self) -> Result<(), String> {
        if self.fields_read {
            return Ok(());
        }
        let wanted = &self.wanted.fields;
        self.slots.resize_with(wanted.len(), Slot::default);
        let value = str::from_utf8(self.record.value())
            .map_err(|_| "the value is no JSON object: it is no UTF-8".to_owned())?;
        json::fields(value, |field| {
            if let Some(number) = wanted.iter().position(|name| field.is(name)) {
                self.slots[number] = Slot::of_json(field.value);
            }
            if self.rewritten {
                self.all.push(Piece::Was(field));
            }
        })?;
        self.fields_read = true;
        Ok(())
    }
}

fn text<'a>(what: &str, bytes: &'a [u8]) -> Result<Slot<'a>, String> {
    let text = str::from_utf8(bytes).map_err(|_| format!("the {what} is no UTF-8"))?;
    Ok(Slot::Text(CelString::from(text)))
}

/// Writes a value as it was, in one line.
fn write_again(value: &str, to: &mut String) {
    let nested = value.starts_with(['{', '[']);
    if nested && value.contains(['\n', '\r']) {
        // It was read before.
        let read: Value = serde_json::from_str(value).unwrap_or_default();
        return to.push_str(&read.to_string());
    }
    to.push_str(value);
}

impl VariableResolver for Seen<'_, '_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        if let Some(number) = name.strip_prefix(FIELD) {
            return self.slots.get(number.parse::<usize>().ok()?)?.seen();
        }
        if let Some(number) = name.strip_prefix(HAS) {
            let there = !self.slots.get(number.parse::<usize>().ok()?)?.is_missing();
            return Some(CowVal::owned(CelBool::from(there)));
        }
        match name {
            "record" => self.whole.seen(),
            "value" => self.value.seen(),
            "key" => self.key.seen(),
            "timestamp" => self.timestamp.seen(),
            _ => None,
        }
    }
}

impl Evaluator {
    pub(crate) fn new() -> Result<Self, String> {
        let mut env = Env::stdlib();
        env.add_extension(extensions::strings).map_err(|error| error.to_string())?;
        let env = Arc::new(env);
        let context = Context::with_env(env.clone());
        Ok(Self { env, context, wanted: Wanted::default() })
    }

    pub(crate) fn compile(&mut self, text: &str) -> Result<Expression, String> {
        let program =
            self.env.compile(text).map_err(|errors| compile::wrong_syntax(text, &errors))?;
        let mut code = program.expression().clone();
        let unknown = |name: String| {
            format!("in `{text}` there is no `{name}`; there is {}", NAMES.join(", "))
        };
        let uses = rewrite::ready(&mut code, &mut self.wanted).map_err(unknown)?;
        if let Some(function) = compile::unknown_function(&code, &self.context) {
            return Err(compile::no_function(text, &function));
        }
        Ok(Expression { code, uses })
    }

    /// As [`compile`](Self::compile), of one that is to be true or false.
    pub(crate) fn compile_truth(&mut self, text: &str) -> Result<Expression, String> {
        let expression = self.compile(text)?;
        match compile::never_true_or_false(&expression.code) {
            Some(what) => Err(format!("`{text}` gives {what}, and must give true or false")),
            None => Ok(expression),
        }
    }

    /// Has an expression evaluated, and what it says looked at.
    fn evaluate<T>(
        &self,
        expression: &Expression,
        seen: &mut Seen<'_, '_>,
        look: impl FnOnce(&dyn Val) -> Result<T, String>,
    ) -> Result<T, String> {
        seen.prepare(expression.uses)?;
        let seen = &*seen;
        let mut scope = self.context.new_inner_scope();
        scope.set_variable_resolver(seen);
        match Cel::resolve_val(&expression.code, &scope) {
            Ok(value) => look(value.as_ref()),
            Err(error) => Err(self.said(&error)),
        }
    }

    /// What went wrong, in words that people wrote.
    fn said(&self, error: &ExecutionError) -> String {
        if let ExecutionError::UndeclaredReference(name) = error
            && let Some(number) = name.strip_prefix(FIELD)
            && let Some(field) = number.parse().ok().and_then(|n: usize| self.wanted.fields.get(n))
        {
            return format!("the record has no field `{field}`");
        }
        error.to_string()
    }

    /// What it says, which is true or false.
    pub(crate) fn truth(
        &self,
        expression: &Expression,
        seen: &mut Seen<'_, '_>,
    ) -> Result<bool, String> {
        self.evaluate(expression, seen, |value| match value.downcast_ref::<CelBool>() {
            Some(truth) => Ok(*truth.inner()),
            None => Err(wrong(value, "a bool")),
        })
    }

    /// What it says, which is a whole number.
    pub(crate) fn int(
        &self,
        expression: &Expression,
        seen: &mut Seen<'_, '_>,
    ) -> Result<i64, String> {
        self.evaluate(expression, seen, |value| match value.downcast_ref::<CelInt>() {
            Some(n) => Ok(*n.inner()),
            None => Err(wrong(value, "an int")),
        })
    }

    /// What it says: a text as it is, anything else as JSON.
    pub(crate) fn text(
        &self,
        expression: &Expression,
        seen: &mut Seen<'_, '_>,
    ) -> Result<String, String> {
        self.evaluate(expression, seen, |value| match value.downcast_ref::<CelString<'_>>() {
            Some(text) => Ok(text.inner().to_owned()),
            None => Ok(as_json(value)?.to_string()),
        })
    }

    /// What it says, as JSON.
    pub(crate) fn json(
        &self,
        expression: &Expression,
        seen: &mut Seen<'_, '_>,
    ) -> Result<Value, String> {
        self.evaluate(expression, seen, as_json)
    }
}

fn as_json(value: &dyn Val) -> Result<Value, String> {
    to_json(&Cel::try_from(value).map_err(|error| error.to_string())?)
}

fn wrong(found: &dyn Val, wanted: &str) -> String {
    let found = found.get_type().name();
    let article = if found.starts_with(['i', 'o', 'u']) { "an" } else { "a" };
    format!("it gives {article} {found}, and must give {wanted}")
}

fn of_fields(fields: &Map<String, Value>) -> Cel {
    let entries =
        fields.iter().map(|(name, value)| (Key::String(Arc::new(name.clone())), of_json(value)));
    Cel::Map(CelMap { map: Arc::new(entries.collect::<HashMap<_, _>>()) })
}

/// A whole number is an int, so that it can be compared and added to the numbers of an expression.
pub(crate) fn of_json(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(truth) => Cel::Bool(*truth),
        Value::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(n), _) => Cel::Int(n),
            (None, Some(n)) => Cel::UInt(n),
            (None, None) => Cel::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(all) => Cel::List(Arc::new(all.iter().map(of_json).collect())),
        Value::Object(fields) => of_fields(fields),
    }
}

/// The keys of a map, which has no order, are in that of the alphabet: the same answer each time.
fn to_json(value: &Cel) -> Result<Value, String> {
    Ok(match value {
        Cel::Null => Value::Null,
        Cel::Bool(truth) => (*truth).into(),
        Cel::Int(n) => (*n).into(),
        Cel::UInt(n) => (*n).into(),
        Cel::Float(x) => Number::from_f64(*x).map_or(Value::Null, Value::Number),
        Cel::String(text) => text.as_str().into(),
        Cel::List(all) => Value::Array(all.iter().map(to_json).collect::<Result<_, _>>()?),
        Cel::Map(map) => {
            let mut fields: Vec<(String, &Cel)> =
                map.map.iter().map(|(key, value)| (key.to_string(), value)).collect();
            fields.sort_by(|(one, _), (other, _)| one.cmp(other));
            let fields = fields.into_iter().map(|(key, value)| Ok((key, to_json(value)?)));
            Value::Object(fields.collect::<Result<_, String>>()?)
        }
        other => return Err(format!("a {} cannot be written as JSON", other.type_of())),
    })
}
