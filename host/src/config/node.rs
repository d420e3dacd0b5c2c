//! A job file as a tree in which everything knows its place, and `--set`, which
//! changes that tree before it is read. Knows TOML and nothing of jobs, but for
//! where a `--set` leads.

use std::{ops::Range, str::FromStr};

use serde_json::{Map, Number};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::errors::{Place, Problems};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// A TOML value.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    /// An integer that 64 bits do not hold.
    Huge(String),
    Float(f64),
    Boolean(bool),
    Date(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key of a table with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) node: Node,
}

impl Node {
    /// Reads TOML. Syntax errors go to `problems`, and then there is no tree:
    /// what a broken file means is guesswork.
    pub(super) fn parse_toml(text: &str, problems: &Problems) -> Option<Self> {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let range = error.span().unwrap_or(0..0);
            problems.add(&Place::File(range), format!("not TOML: {}", error.message()), None);
        }
        if !errors.is_empty() {
            return None;
        }
        let place = Place::File(table.span());
        Some(Self { value: from_table(table.get_ref(), &Place::File), place })
    }

    /// The table's entries; none if this is something else.
    pub(super) fn entries_mut(&mut self) -> Option<&mut Vec<Entry>> {
        match &mut self.value {
            Value::Table(entries) => Some(entries),
            _ => None,
        }
    }

    /// What it is, for "must be …, not …".
    pub(super) fn describe(&self) -> String {
        match &self.value {
            Value::Text(text) if text.chars().count() > 40 => {
                format!("\"{}…\"", text.chars().take(40).collect::<String>().escape_debug())
            }
            Value::Text(text) => format!("\"{}\"", text.escape_debug()),
            Value::Integer(n) => n.to_string(),
            Value::Huge(digits) => digits.chars().take(40).collect(),
            Value::Float(x) => x.to_string(),
            Value::Boolean(b) => b.to_string(),
            Value::Date(_) => "a date".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Table(_) => "a table".to_owned(),
        }
    }

    /// The value as JSON. Dates become text.
    ///
    /// # Errors
    /// A value that JSON does not have, with its place.
    pub(super) fn to_json(&self) -> Result<serde_json::Value, (Place, String)> {
        Ok(match &self.value {
            Value::Text(text) | Value::Date(text) => text.clone().into(),
            Value::Integer(n) => (*n).into(),
            Value::Huge(digits) => {
                return Err((self.place.clone(), format!("{digits} does not fit into 64 bits")));
            }
            Value::Float(x) => match Number::from_f64(*x) {
                Some(number) => serde_json::Value::Number(number),
                None => {
                    let message = format!("an operator gets its config as JSON, which has no {x}");
                    return Err((self.place.clone(), message));
                }
            },
            Value::Boolean(b) => (*b).into(),
            Value::List(items) => {
                serde_json::Value::Array(items.iter().map(Node::to_json).collect::<Result<_, _>>()?)
            }
            Value::Table(entries) => {
                let mut map = Map::new();
                for entry in entries {
                    map.insert(entry.key.clone(), entry.node.to_json()?);
                }
                serde_json::Value::Object(map)
            }
        })
    }
}

type MakePlace<'a> = &'a dyn Fn(Range<usize>) -> Place;

fn from_toml(value: &Spanned<DeValue<'_>>, place: MakePlace<'_>) -> Node {
    let converted = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix())
            .map_or_else(|_| Value::Huge(n.to_string()), Value::Integer),
        DeValue::Float(x) => {
            f64::from_str(x.as_str()).map_or_else(|_| Value::Huge(x.to_string()), Value::Float)
        }
        DeValue::Boolean(b) => Value::Boolean(*b),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(items) => {
            Value::List(items.iter().map(|item| from_toml(item, place)).collect())
        }
        DeValue::Table(table) => from_table(table, place),
    };
    Node { value: converted, place: place(value.span()) }
}

fn from_table(table: &DeTable<'_>, place: MakePlace<'_>) -> Value {
    let mut entries: Vec<(usize, Entry)> = table
        .iter()
        .map(|(key, value)| {
            let entry = Entry {
                key: key.get_ref().clone().into_owned(),
                key_place: place(key.span()),
                node: from_toml(value, place),
            };
            (key.span().start, entry)
        })
        .collect();
    // The order of columns and of a generator's fields is the file's.
    entries.sort_by_key(|(start, _)| *start);
    Value::Table(entries.into_iter().map(|(_, entry)| entry).collect())
}

fn from_json(value: serde_json::Value, place: &Place) -> Node {
    let converted = match value {
        // JSON's null is what is not there; a job file has no word for it.
        serde_json::Value::Null => Value::Text("null".to_owned()),
        serde_json::Value::Bool(b) => Value::Boolean(b),
        serde_json::Value::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(n), _) => Value::Integer(n),
            (None, Some(x)) if !n.is_u64() => Value::Float(x),
            _ => Value::Huge(n.to_string()),
        },
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Array(items) => {
            Value::List(items.into_iter().map(|item| from_json(item, place)).collect())
        }
        serde_json::Value::Object(map) => Value::Table(
            map.into_iter()
                .map(|(key, value)| Entry {
                    key,
                    key_place: place.clone(),
                    node: from_json(value, place),
                })
                .collect(),
        ),
    };
    Node { value: converted, place: place.clone() }
}

/// A change to a job file from outside: `--set KEY=VALUE`.
///
/// `KEY` is `job.K`, `checkpoints.K`, `restart.K`, or `NAME.K`: for a source or
/// sink one of its settings, for an operator an entry of its `config`. An
/// operator's own settings are `operator.NAME.K` (so are `source.NAME.K` and
/// `sink.NAME.K`). `K` may go deeper: `stats.limits.high`.
///
/// `VALUE` is a TOML or JSON value; what is neither is text, so that quotes are
/// seldom needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    text: String,
    path: Vec<String>,
    value_at: usize,
    /// What the file says goes before it.
    unless_in_file: bool,
}

/// Why a `--set` is not `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOverride {
    /// No `=`.
    #[error("`{0}` has no `=`: write NAME.KEY=VALUE, such as job.parallelism=4")]
    NoEquals(String),
    /// No `.` in the key, or an empty part.
    #[error("`{0}` does not say of what: write NAME.KEY=VALUE, such as job.parallelism=4")]
    NoTarget(String),
}

impl FromStr for Override {
    type Err = InvalidOverride;

    fn from_str(text: &str) -> Result<Self, InvalidOverride> {
        let Some((key, _)) = text.split_once('=') else {
            return Err(InvalidOverride::NoEquals(text.to_owned()));
        };
        let path: Vec<String> = key.split('.').map(|part| part.trim().to_owned()).collect();
        // As deep as the TOML parser goes with a file.
        if path.len() < 2 || path.len() > 80 || path.iter().any(String::is_empty) {
            return Err(InvalidOverride::NoTarget(key.to_owned()));
        }
        let text = text.to_owned();
        Ok(Self { text, path, value_at: key.len() + 1, unless_in_file: false })
    }
}

impl Override {
    /// What a variable of the environment sets: a key of a table.
    pub(super) fn of_variable(name: &str, value: &str, path: [&str; 2]) -> Self {
        let path = path.map(str::to_owned).to_vec();
        let text = format!("{name}={value}");
        Self { text, path, value_at: name.len() + 1, unless_in_file: false }
    }

    /// The same, where the file says nothing.
    pub(super) fn unless_in_file(self) -> Self {
        Self { unless_in_file: true, ..self }
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The value as a tree whose every part stands in `--set` number `number`.
    fn value(&self, number: usize) -> Node {
        let text = &self.text[self.value_at..];
        let whole = Place::Set(number, self.value_at..self.text.len());
        if let Ok(value) = DeValue::parse(text) {
            return from_toml(&value, &|range: Range<usize>| {
                Place::Set(number, range.start + self.value_at..range.end + self.value_at)
            });
        }
        if let Ok(value) = serde_json::from_str(text) {
            return from_json(value, &whole);
        }
        Node { value: Value::Text(text.to_owned()), place: whole }
    }
}

/// Carries out every `--set` on the tree of a job file.
pub(super) fn apply(root: &mut Node, overrides: &[Override], problems: &Problems) {
    for (number, change) in overrides.iter().enumerate() {
        let key_place = Place::Set(number, 0..change.value_at - 1);
        let value = change.value(number);
        let (first, rest) = (change.path[0].as_str(), &change.path[1..]);
        let (table, rest) = match first {
            "job" | "checkpoints" | "restart" => (Some(child_table(root, first, &key_place)), rest),
            "source" | "operator" | "sink" if rest.len() > 1 => {
                (node_named(root, &[first], &rest[0]).map(|(_, node)| node), &rest[1..])
            }
            _ => match node_named(root, &["source", "operator", "sink"], first) {
                Some(("operator", node)) => (Some(child_table(node, "config", &key_place)), rest),
                Some((_, node)) => (Some(node), rest),
                None => (None, rest),
            },
        };
        match table {
            Some(table) => insert(table, rest, value, &key_place),
            None => {
                let name =
                    if rest.len() + 1 == change.path.len() { first } else { &change.path[1] };
                problems.add(
                    &key_place,
                    format!("there is no source, operator or sink `{name}` to set"),
                    Some(
                        "write NAME.KEY=VALUE, job.KEY=VALUE, checkpoints.KEY=VALUE or \
                          restart.KEY=VALUE"
                            .to_owned(),
                    ),
                );
            }
        }
    }
}

/// Carries out what variables of the environment say: each where its path leads.
pub(super) fn apply_variables(root: &mut Node, variables: &[Override]) {
    for (number, change) in variables.iter().enumerate() {
        if change.unless_in_file && stands_in_file(root, &change.path) {
            continue;
        }
        let key_place = Place::Set(number, 0..change.value_at - 1);
        insert(root, &change.path, change.value(number), &key_place);
    }
}

fn stands_in_file(root: &Node, path: &[String]) -> bool {
    let mut node = root;
    for key in path {
        let Value::Table(entries) = &node.value else { return false };
        let Some(entry) = entries.iter().find(|entry| entry.key == *key) else { return false };
        node = &entry.node;
    }
    matches!(node.place, Place::File(_))
}

/// The `[[kind]]` with the given `name`, for one of the kinds.
pub(super) fn node_named<'a, 'k>(
    root: &'a mut Node,
    kinds: &[&'k str],
    name: &str,
) -> Option<(&'k str, &'a mut Node)> {
    let is_it = |node: &Node| match &node.value {
        Value::Table(entries) => entries.iter().any(|entry| {
            entry.key == "name" && matches!(&entry.node.value, Value::Text(text) if text == name)
        }),
        _ => false,
    };
    for entry in root.entries_mut()? {
        let Some(kind) = kinds.iter().find(|kind| **kind == entry.key) else { continue };
        if let Value::List(items) = &mut entry.node.value
            && let Some(node) = items.iter_mut().find(|node| is_it(node))
        {
            return Some((kind, node));
        }
    }
    None
}

/// The table under `key`, made if it is missing or is something else.
fn child_table<'a>(node: &'a mut Node, key: &str, place: &Place) -> &'a mut Node {
    if !matches!(node.value, Value::Table(_)) {
        node.value = Value::Table(Vec::new());
    }
    let Value::Table(entries) = &mut node.value else { unreachable!("it was just made one") };
    let at = entries.iter().position(|entry| entry.key == key).unwrap_or_else(|| {
        let empty = Node { value: Value::Table(Vec::new()), place: place.clone() };
        entries.push(Entry { key: key.to_owned(), key_place: place.clone(), node: empty });
        entries.len() - 1
    });
    &mut entries[at].node
}

fn insert(mut table: &mut Node, path: &[String], value: Node, key_place: &Place) {
    let Some((last, tables)) = path.split_last() else { return };
    for key in tables {
        table = child_table(table, key, key_place);
    }
    let slot = child_table(table, last, key_place);
    *slot = value;
}
