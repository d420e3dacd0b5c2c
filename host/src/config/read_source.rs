//! Reads a `[[source]]`.

use std::time::Duration;

use super::{
    graph::{Graph, Kind},
    job::{
        ColumnType, CsvSource, FileInput, GeneratorField, GeneratorSource, GeneratorValues,
        HttpFormat, HttpSource, JsonLinesSource, SourceConnector, SourceSpec, TimestampField,
        TimestampFormat,
    },
    node::{Entry, Node, Value},
    read::Surroundings,
    section::{self, Read, Refusal, Section, listed, suggest},
};

/// The largest count that TOML can write.
const MOST: u64 = i64::MAX.unsigned_abs();

#[derive(Clone, Copy)]
enum Connector {
    Csv,
    JsonLines,
    Lines,
    Generator,
    Stdin,
    Http,
}

const CONNECTORS: &[(&str, Connector)] = &[
    ("csv", Connector::Csv),
    ("jsonl", Connector::JsonLines),
    ("lines", Connector::Lines),
    ("generator", Connector::Generator),
    ("stdin", Connector::Stdin),
    ("http", Connector::Http),
];

const HTTP_FORMATS: &[(&str, bool)] = &[("jsonl", true), ("lines", false)];

const COLUMN_TYPES: &[(&str, ColumnType)] = &[
    ("string", ColumnType::String),
    ("integer", ColumnType::Integer),
    ("float", ColumnType::Float),
    ("boolean", ColumnType::Boolean),
];

const TIMESTAMP_FORMATS: &[(&str, TimestampFormat)] = &[
    ("rfc3339", TimestampFormat::Rfc3339),
    ("millis", TimestampFormat::Millis),
    ("seconds", TimestampFormat::Seconds),
];

pub(super) fn read(node: Node, around: &Surroundings<'_>, graph: &mut Graph) -> Option<SourceSpec> {
    let mut section = Section::new("[[source]]", node, around.problems)?;
    let name = graph.name(&mut section, Kind::Source);
    let parallelism = section.get("parallelism", section::integer(1..=around.max_parallelism));
    let max_out_of_orderness = section.get("max_out_of_orderness", section::millis_or_zero);
    let idle_timeout = section.get("idle_timeout", section::millis);
    let max_rejected = section.get("max_rejected", section::integer(0..=MOST));
    let kind = section.require("connector", "connector = \"csv\"", |node| {
        let kind = section::one_of(CONNECTORS)(node)?;
        if matches!(kind, Connector::Stdin) && around.folder.is_walled() {
            return Err(Refusal::new("cannot be \"stdin\" on a server")
                .with_help("read a file in the tenant's directory, or \"http\""));
        }
        if matches!(kind, Connector::Http) {
            check_http(around)?;
        }
        Ok(kind)
    });
    // Without it, nobody knows which other keys there may be.
    let connector = match kind? {
        Connector::Csv => read_csv(&mut section, around).map(SourceConnector::Csv),
        Connector::JsonLines => read_json_lines(&mut section, around),
        Connector::Lines => read_files(&mut section, around).map(SourceConnector::Lines),
        Connector::Generator => read_generator(&mut section).map(SourceConnector::Generator),
        Connector::Stdin => Some(SourceConnector::Stdin),
        Connector::Http => Some(SourceConnector::Http(read_http(&mut section))),
    };
    section.finish();
    // So that what was posted first comes first, if nobody says otherwise.
    let is_http = matches!(connector, Some(SourceConnector::Http(_)));
    let parallelism = parallelism.or(is_http.then_some(1));
    Some(SourceSpec {
        name: name?,
        parallelism,
        connector: connector?,
        max_out_of_orderness: max_out_of_orderness.unwrap_or(Duration::ZERO),
        idle_timeout,
        max_rejected,
    })
}

fn read_files(section: &mut Section<'_>, around: &Surroundings<'_>) -> Option<FileInput> {
    let paths = section.require("path", "path = \"data/*.csv\"", |node| around.folder.files(node));
    let max_line = section.get("max_line", section::memory_size(1..=1 << 30)).unwrap_or(1 << 20);
    paths.map(|paths| FileInput { paths, max_line })
}

fn read_json_lines(
    section: &mut Section<'_>,
    around: &Surroundings<'_>,
) -> Option<SourceConnector> {
    let files = read_files(section, around);
    let key = section.get("key", section::text);
    let timestamp = read_timestamp(section, None);
    files.map(|files| SourceConnector::JsonLines(JsonLinesSource { files, key, timestamp }))
}

/// That there is somebody who posts, and that what was posted is removed at last.
fn check_http(around: &Surroundings<'_>) -> Read<()> {
    if !around.folder.is_walled() {
        return Err(Refusal::new("can be \"http\" on a server only")
            .with_help("submit the job to `cofferdam serve`, or read \"stdin\""));
    }
    if !around.checkpoints_by_time {
        return Err(Refusal::new("cannot be \"http\" without checkpoints by time")
            .with_help("add `[checkpoints]` with `interval = \"10s\"`: what was posted is kept on disk until a checkpoint covers it"));
    }
    Ok(())
}

fn read_http(section: &mut Section<'_>) -> HttpSource {
    let is_json = section.get("format", section::one_of(HTTP_FORMATS)).unwrap_or(true);
    let max_line = section.get("max_line", section::memory_size(1..=1 << 30)).unwrap_or(1 << 20);
    let format = if is_json {
        let key = section.get("key", section::text);
        HttpFormat::JsonLines { key, timestamp: read_timestamp(section, None) }
    } else {
        HttpFormat::Lines
    };
    HttpSource { format, max_line }
}

fn read_csv(section: &mut Section<'_>, around: &Surroundings<'_>) -> Option<CsvSource> {
    let files = read_files(section, around);
    let delimiter = section.get("delimiter", section::delimiter).unwrap_or(b',');
    let null = section.get("null", section::text).unwrap_or_default();
    let columns = section.get("columns", columns);
    let names: Option<Vec<String>> =
        columns.as_ref().map(|columns| columns.iter().map(|(name, _)| name.clone()).collect());
    let key = section.get("key", |node| column_of(section::text(node)?, names.as_deref()));
    let timestamp = read_timestamp(section, names.as_deref());
    files.map(|files| CsvSource { files, delimiter, null, columns, key, timestamp })
}

/// `["a", "b"]`, all strings, or a table of names and types.
fn columns(node: &Node) -> Read<Vec<(String, ColumnType)>> {
    let read = match &node.value {
        Value::List(_) => {
            let names = section::list(section::text)(node)?;
            names.into_iter().map(|name| (name, ColumnType::String)).collect::<Vec<_>>()
        }
        Value::Table(entries) => entries
            .iter()
            .map(|entry| {
                let kind = section::one_of(COLUMN_TYPES)(&entry.node).map_err(|refusal| {
                    let message = format!("of `{}` {}", entry.key, refusal.message);
                    Refusal { message, ..refusal }.at(&entry.node.place)
                })?;
                Ok((entry.key.clone(), kind))
            })
            .collect::<Read<_>>()?,
        _ => {
            return Err(Refusal::new(format!(
                "must be a list of names or a table of names and types, not {}",
                node.describe()
            )));
        }
    };
    if read.is_empty() {
        return Err(Refusal::new("must name at least one column"));
    }
    let twice = read
        .iter()
        .enumerate()
        .find(|(i, (name, _))| read[..*i].iter().any(|(earlier, _)| earlier == name));
    match twice {
        Some((_, (name, _))) => Err(Refusal::new(format!("names `{name}` twice"))),
        None => Ok(read),
    }
}

/// A column must be among those that are read.
fn column_of(name: String, columns: Option<&[String]>) -> Read<String> {
    match columns {
        Some(columns) if !columns.contains(&name) => {
            let names: Vec<&str> = columns.iter().map(String::as_str).collect();
            let help = suggest(&name, names.iter().copied())
                .unwrap_or_else(|| format!("add it to `columns`, which has {}", listed(&names)));
            Err(Refusal::new(format!("must be one of `columns`, not \"{name}\"")).with_help(help))
        }
        _ => Ok(name),
    }
}

/// `timestamp = "field"`, or `timestamp = { field, format }`.
fn read_timestamp(section: &mut Section<'_>, columns: Option<&[String]>) -> Option<TimestampField> {
    let Entry { node, .. } = section.take("timestamp")?;
    let column = |node: &Node| column_of(section::text(node)?, columns);
    if let Value::Table(_) = node.value {
        let title = format!("`timestamp` of {}", section.title);
        let mut table = Section::new(&title, node, section.problems)?;
        let field = table.require("field", "field = \"time\"", column);
        let format = table.get("format", section::one_of(TIMESTAMP_FORMATS));
        table.finish();
        let format = format.unwrap_or(TimestampFormat::Rfc3339);
        return field.map(|field| TimestampField { field, format });
    }
    match column(&node) {
        Ok(field) => Some(TimestampField { field, format: TimestampFormat::Rfc3339 }),
        Err(refusal) => {
            section.refuse("timestamp", &node.place, refusal);
            None
        }
    }
}

fn read_generator(section: &mut Section<'_>) -> Option<GeneratorSource> {
    let keys = section.get("keys", section::integer(1..=MOST));
    Some(GeneratorSource {
        records: section.get("records", section::integer(0..=MOST)),
        rate: section.get("rate", section::integer(1..=MOST)),
        seed: section.get("seed", section::integer(0..=MOST)).unwrap_or(0),
        keys,
        start: section.get("start", instant).unwrap_or(0),
        step_micros: section.get("step", micros).unwrap_or(1_000),
        values: read_values(section, keys.is_some())?,
    })
}

/// Milliseconds since 1970, or an RFC 3339 time.
fn instant(node: &Node) -> Read<i64> {
    match &node.value {
        Value::Integer(n) => Ok(*n),
        Value::Date(text) | Value::Text(text) => {
            text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_millisecond).map_err(|_| {
                Refusal::new("must be a point in time with its offset from UTC")
                    .with_help("such as 2013-01-01T00:00:00Z, or milliseconds since 1970")
            })
        }
        _ => Err(Refusal::new(format!("must be a point in time, not {}", node.describe()))),
    }
}

fn micros(node: &Node) -> Read<u64> {
    let read = section::duration(Duration::ZERO)(node)?;
    if read.subsec_nanos() % 1_000 != 0 {
        return Err(Refusal::new(format!("must be whole microseconds, not {read:?}")));
    }
    u64::try_from(read.as_micros()).map_err(|_| Refusal::new("is too large"))
}

/// One of `value_size`, `fields` and `words`.
fn read_values(section: &mut Section<'_>, keyed: bool) -> Option<GeneratorValues> {
    for (one, other) in [("fields", "words"), ("value_size", "fields"), ("value_size", "words")] {
        if !section.one_of_two(one, other) {
            return None;
        }
    }
    let size = section.get("value_size", section::memory_size(0..=16 << 20));
    let words = section.table("words");
    let fields = section.table("fields");
    if let Some(mut words) = words {
        let per_line = words.get("per_line", section::integer(1..=1_000_000)).unwrap_or(10_usize);
        let vocabulary = words.get("vocabulary", section::integer(1..=100_000_000));
        words.finish();
        let vocabulary = vocabulary.unwrap_or(10_000_usize);
        return Some(GeneratorValues::Words { per_line, vocabulary });
    }
    if let Some(mut fields) = fields {
        let mut read = Vec::new();
        for Entry { key, key_place, node } in fields.take_rest() {
            if keyed && key == "key" {
                let help = "leave it out: `keys` makes that field".to_owned();
                section.problems.add(&key_place, "the field `key` is taken", Some(help));
            }
            let title = format!("field `{}` of {}", key.escape_debug(), section.title);
            if let Some(field) = Section::new(&title, node, section.problems).and_then(read_field) {
                read.push((key, field));
            }
        }
        return Some(GeneratorValues::Fields(read));
    }
    Some(GeneratorValues::Bytes(size.unwrap_or(100)))
}

fn read_field(mut section: Section<'_>) -> Option<GeneratorField> {
    const KINDS: [&str; 4] = ["sequence", "uniform", "normal", "one_of"];
    let given: Vec<&str> = KINDS.into_iter().filter(|kind| section.has(kind)).collect();
    if given.len() > 1 {
        let message = format!("{} is {} at once", section.title, listed(&given));
        section.problems.add(&section.place, message, Some("keep one of them".to_owned()));
        return None;
    }
    let kind = given.first().copied();
    let sequence = section.get("sequence", section::integer(i64::MIN..=i64::MAX));
    let uniform = section.get("uniform", |node| {
        let [low, high] = pair(node)?;
        match low <= high {
            true => Ok(GeneratorField::Uniform(low, high)),
            false => Err(Refusal::new("must be [LOW, HIGH], and LOW cannot be above HIGH")),
        }
    });
    let normal = section.get("normal", |node| {
        let [mean, deviation] = pair(node)?;
        match deviation >= 0.0 {
            true => Ok((mean, deviation)),
            false => Err(Refusal::new("must be [MEAN, DEVIATION], and DEVIATION at least 0")),
        }
    });
    let one_of = section.get("one_of", |node| {
        let texts = section::list(section::text)(node)?;
        match texts.is_empty() {
            true => Err(Refusal::new("must have at least one text")),
            false => Ok(texts),
        }
    });
    let field = match kind {
        Some("sequence") => sequence.map(GeneratorField::Sequence),
        Some("uniform") => uniform,
        Some("one_of") => one_of.map(GeneratorField::OneOf),
        Some(_) => {
            let spikes = section.get("spikes", section::number(0.0..=1.0, "from 0 to 1"));
            let factor = section.get("spike", section::number(f64::MIN..=f64::MAX, ""));
            normal.map(|(mean, deviation)| GeneratorField::Normal {
                mean,
                deviation,
                spikes: spikes.unwrap_or(0.0),
                factor: factor.unwrap_or(10.0),
            })
        }
        None => {
            let message = format!("{} does not say how it varies", section.title);
            let help = format!("add one of {}", listed(&KINDS));
            section.problems.add(&section.place, message, Some(help));
            None
        }
    };
    section.finish();
    field
}

fn pair(node: &Node) -> Read<[f64; 2]> {
    let numbers = section::list(section::number(f64::MIN..=f64::MAX, ""))(node)?;
    numbers.try_into().map_err(|_| Refusal::new("must be two numbers"))
}
