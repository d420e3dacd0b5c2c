//! One expression: compiled once, evaluated for each record; and what it sees of that.

use std::{collections::HashMap, fmt, sync::Arc};

use cel::{
    Context, Env, Program, Value as Cel, extensions,
    objects::{Key, Map as CelMap, ValueType},
};
use cofferdam_sdk::Record;
use serde_json::{Map, Number, Value};

/// What expressions see.
const NAMES: [&str; 4] = ["record", "value", "key", "timestamp"];

/// An expression.
pub(crate) struct Expression {
    program: Program,
    env: Arc<Env>,
    /// Which of [`NAMES`] it mentions.
    uses: [bool; 4],
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expression").finish_non_exhaustive()
    }
}

/// A record, read as far as expressions have asked for it.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    record: Record<'a>,
    object: Option<Map<String, Value>>,
}

impl<'a> Seen<'a> {
    pub(crate) fn of(record: &Record<'a>) -> Self {
        Self { record: *record, object: None }
    }

    /// The value as a JSON object, with what was set.
    pub(crate) fn object(&mut self) -> Result<Value, String> {
        self.fields().map(|fields| Value::Object(fields.clone()))
    }

    pub(crate) fn set(&mut self, name: &str, value: Value) -> Result<(), String> {
        self.fields()?.insert(name.to_owned(), value);
        Ok(())
    }

    pub(crate) fn drop_field(&mut self, name: &str) -> Result<(), String> {
        self.fields()?.shift_remove(name);
        Ok(())
    }

    fn fields(&mut self) -> Result<&mut Map<String, Value>, String> {
        if self.object.is_none() {
            let read = serde_json::from_slice::<Map<String, Value>>(self.record.value());
            self.object =
                Some(read.map_err(|wrong| format!("the value is no JSON object: {wrong}"))?);
        }
        self.object.as_mut().ok_or_else(|| "the value was not read".to_owned())
    }
}

impl Expression {
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        let mut env = Env::stdlib();
        env.add_extension(extensions::strings).map_err(|error| error.to_string())?;
        let env = Arc::new(env);
        let program = env.compile(text).map_err(|error| format!("it is no expression: {error}"))?;
        let references = program.references();
        let mut unknown: Vec<_> =
            references.variables().into_iter().filter(|name| !NAMES.contains(name)).collect();
        unknown.sort_unstable();
        if let Some(unknown) = unknown.first() {
            return Err(format!("there is no `{unknown}`; there is {}", NAMES.join(", ")));
        }
        let uses = NAMES.map(|name| references.has_variable(name));
        Ok(Self { program, env, uses })
    }

    fn evaluate(&self, seen: &mut Seen<'_>) -> Result<Cel, String> {
        let mut context = Context::with_env(self.env.clone());
        let [record, value, key, timestamp] = self.uses;
        let text = |what: &str, bytes: &[u8]| match str::from_utf8(bytes) {
            Ok(text) => Ok(Cel::String(Arc::new(text.to_owned()))),
            Err(_) => Err(format!("the {what} is no UTF-8")),
        };
        if record {
            context.add_variable_from_value("record", of_fields(seen.fields()?));
        }
        if value {
            context.add_variable_from_value("value", text("value", seen.record.value())?);
        }
        if key {
            context.add_variable_from_value("key", text("key", seen.record.key())?);
        }
        if timestamp {
            let at = seen.record.timestamp().map_or(Cel::Null, Cel::Int);
            context.add_variable_from_value("timestamp", at);
        }
        self.program.execute(&context).map_err(|error| error.to_string())
    }

    /// What it says, which is true or false.
    pub(crate) fn truth(&self, seen: &mut Seen<'_>) -> Result<bool, String> {
        match self.evaluate(seen)? {
            Cel::Bool(truth) => Ok(truth),
            other => Err(wrong(&other, ValueType::Bool)),
        }
    }

    /// What it says, which is a whole number.
    pub(crate) fn int(&self, seen: &mut Seen<'_>) -> Result<i64, String> {
        match self.evaluate(seen)? {
            Cel::Int(n) => Ok(n),
            other => Err(wrong(&other, ValueType::Int)),
        }
    }

    /// What it says: a text as it is, anything else as JSON.
    pub(crate) fn text(&self, seen: &mut Seen<'_>) -> Result<String, String> {
        Ok(match self.json(seen)? {
            Value::String(text) => text,
            other => other.to_string(),
        })
    }

    /// What it says, as JSON.
    pub(crate) fn json(&self, seen: &mut Seen<'_>) -> Result<Value, String> {
        to_json(&self.evaluate(seen)?)
    }
}

fn wrong(found: &Cel, wanted: ValueType) -> String {
    let found = found.type_of().to_string();
    let article = if found.starts_with(['i', 'o', 'u']) { "an" } else { "a" };
    format!(
        "it gives {article} {found}, and must give a{} {wanted}",
        match wanted {
            ValueType::Int => "n",
            _ => "",
        }
    )
}

fn of_fields(fields: &Map<String, Value>) -> Cel {
    let entries =
        fields.iter().map(|(name, value)| (Key::String(Arc::new(name.clone())), of_json(value)));
    Cel::Map(CelMap { map: Arc::new(entries.collect::<HashMap<_, _>>()) })
}

/// A whole number is an int, so that it can be compared and added to the numbers of an expression.
fn of_json(value: &Value) -> Cel {
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
