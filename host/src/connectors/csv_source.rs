//! The `csv` source: each row becomes a JSON object. Records are cut at line
//! ends outside quotes here, so that a raw record can be shown and a position is
//! always a record's beginning; `csv-core` takes them apart (RFC 4180).

use std::ops::Range;

use memchr::{memchr, memchr_iter};

use crate::config::job::{ColumnType, CsvSource, TimestampFormat};

use super::{
    ConnectorError,
    file_source::{Format, Output, bad_utf8, place},
    files::Lines,
    json, timestamps,
    timestamps::shorten,
};

/// A column that becomes a field of the object.
struct Column {
    index: usize,
    name: String,
    kind: ColumnType,
    /// What stands before the value: `{"name":` or `,"name":`.
    before: Vec<u8>,
}

/// Makes a record of each row.
pub(crate) struct CsvFormat {
    spec: CsvSource,
    columns: Vec<Column>,
    /// How many fields the header has, and so every row must have.
    width: usize,
    key: Option<usize>,
    timestamp: Option<(usize, TimestampFormat)>,
    row: Row,
    /// The raw record, if it has more than one line.
    record: Vec<u8>,
    /// The object that is being written.
    object: Vec<u8>,
}

impl CsvFormat {
    pub(crate) fn new(spec: &CsvSource) -> Self {
        Self {
            spec: spec.clone(),
            columns: Vec::new(),
            width: 0,
            key: None,
            timestamp: None,
            row: Row::new(spec.delimiter),
            record: Vec::new(),
            object: Vec::new(),
        }
    }

    /// Finds the columns that are wanted in the header.
    fn use_header(&mut self, header: &[String]) -> Result<(), String> {
        let find = |name: &str| {
            let mut places = header.iter().enumerate().filter(|(_, h)| *h == name).map(|(i, _)| i);
            let first = places.next().ok_or_else(|| missing(name, header))?;
            match places.next() {
                None => Ok(first),
                Some(_) => Err(format!("the header has column `{name}` twice; rename one")),
            }
        };
        let wanted: Vec<(String, ColumnType)> = match &self.spec.columns {
            Some(columns) => columns.clone(),
            None => header.iter().map(|name| (name.clone(), ColumnType::String)).collect(),
        };
        self.columns.clear();
        for (name, kind) in wanted {
            let mut before = vec![if self.columns.is_empty() { b'{' } else { b',' }];
            json::write_string(&mut before, &name);
            before.push(b':');
            self.columns.push(Column { index: find(&name)?, name, kind, before });
        }
        self.width = header.len();
        self.key = self.spec.key.as_deref().map(find).transpose()?;
        self.timestamp = match &self.spec.timestamp {
            Some(field) => Some((find(&field.field)?, field.format)),
            None => None,
        };
        Ok(())
    }

    /// Turns the row into a record, or says what is wrong with it.
    fn accept(&mut self, raw: &[u8], out: &mut Output) -> Result<(), String> {
        self.row.split(raw);
        if self.row.len() != self.width {
            let (is, should) = (self.row.len(), self.width);
            return Err(format!(": the row has {is} fields, but the header has {should}"));
        }
        self.object.clear();
        for column in &self.columns {
            self.object.extend_from_slice(&column.before);
            let field = self.row.field(raw, column.index);
            if field == self.spec.null.as_bytes() {
                self.object.extend_from_slice(b"null");
            } else {
                write_value(&mut self.object, field, column.kind)
                    .map_err(|problem| format!(", column `{}`: {problem}", column.name))?;
            }
        }
        self.object.extend_from_slice(if self.columns.is_empty() { b"{}" } else { b"}" });

        let time = match (self.timestamp, &self.spec.timestamp) {
            (Some((index, format)), Some(field)) => {
                let raw = self.row.field(raw, index);
                let parsed = std::str::from_utf8(raw)
                    .map_err(bad_utf8)
                    .and_then(|text| timestamps::parse(text, format));
                Some(parsed.map_err(|problem| format!(", column `{}`: {problem}", field.field))?)
            }
            _ => None,
        };
        // A missing key is the empty one, as nulls are a group of their own in SQL.
        let key = self.key.map(|index| self.row.field(raw, index));
        let key = key.map(|key| if key == self.spec.null.as_bytes() { b"" } else { key });
        out.batch.push(key, &self.object, time);
        Ok(())
    }
}

/// Writes a field as a JSON value.
fn write_value(out: &mut Vec<u8>, field: &[u8], kind: ColumnType) -> Result<(), String> {
    let text = std::str::from_utf8(field).map_err(bad_utf8)?;
    match kind {
        ColumnType::String => json::write_string(out, text),
        ColumnType::Boolean if matches!(text, "true" | "false") => out.extend_from_slice(field),
        ColumnType::Boolean => return Err(format!("`{}` is not true or false", shorten(text))),
        ColumnType::Integer => {
            let number: i64 = text
                .trim()
                .parse()
                .map_err(|_| format!("`{}` is not a 64-bit integer", shorten(text)))?;
            if json::is_number(field) {
                out.extend_from_slice(field);
            } else {
                out.extend_from_slice(number.to_string().as_bytes());
            }
        }
        ColumnType::Float => {
            let number: Option<f64> = text.trim().parse().ok().filter(|n: &f64| n.is_finite());
            let number = number.ok_or_else(|| format!("`{}` is not a number", shorten(text)))?;
            if json::is_number(field) {
                out.extend_from_slice(field);
            } else {
                // As JSON writes it: `+1` and `.5` are fine in CSV only.
                out.extend_from_slice(serde_json::json!(number).to_string().as_bytes());
            }
        }
    }
    Ok(())
}

/// Says that a column is missing, and which was probably meant.
fn missing(name: &str, header: &[String]) -> String {
    let similar =
        |other: &&String| strsim::jaro_winkler(&name.to_lowercase(), &other.to_lowercase());
    let nearest = header.iter().max_by(|a, b| similar(a).total_cmp(&similar(b)));
    let hint = match nearest.filter(|other| similar(other) > 0.8) {
        Some(other) => format!("; did you mean `{other}`?"),
        None => String::new(),
    };
    format!("there is no column `{name}`{hint} (the header has {})", header.join(", "))
}

impl Format for CsvFormat {
    fn begin(&mut self, lines: &mut Lines) -> Result<(), ConnectorError> {
        let malformed = |lines: &Lines, reason: String| {
            Err(ConnectorError::Malformed { path: lines.path().to_owned(), line: Some(1), reason })
        };
        let header = match next_record(lines, &mut self.record, self.spec.delimiter)? {
            None => return malformed(lines, "the file is empty, but needs a header".to_owned()),
            Some(Record { problem: Some(problem), .. }) => {
                return malformed(lines, format!("the header cannot be read: {problem}"));
            }
            Some(record) => {
                self.row.split(record.raw);
                (0..self.row.len())
                    .map(|i| String::from_utf8(self.row.field(record.raw, i).to_vec()))
                    .collect::<Result<Vec<_>, _>>()
            }
        };
        let used = match header {
            Ok(header) => self.use_header(&header),
            Err(error) => Err(format!("the header {}", bad_utf8(error.utf8_error()))),
        };
        used.or_else(|reason| malformed(lines, reason))
    }

    fn read(&mut self, lines: &mut Lines, out: &mut Output) -> Result<bool, ConnectorError> {
        let mut buffer = std::mem::take(&mut self.record);
        let record = next_record(lines, &mut buffer, self.spec.delimiter);
        let (number, problem, raw) = match record {
            Ok(Some(record)) if record.raw.is_empty() && record.problem.is_none() => {
                self.record = buffer;
                return Ok(true);
            }
            Ok(Some(Record { number, problem, raw })) => match problem {
                Some(problem) => (number, format!(": {problem}"), raw.to_vec()),
                None => match self.accept(raw, out) {
                    Ok(()) => {
                        self.record = buffer;
                        return Ok(true);
                    }
                    Err(problem) => (number, problem, raw.to_vec()),
                },
            },
            Ok(None) => {
                self.record = buffer;
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        self.record = buffer;
        out.reject(format!("{}{problem}", place(lines, number)), &raw);
        Ok(true)
    }
}

/// A raw record.
struct Record<'a> {
    raw: &'a [u8],
    /// Of its first line.
    number: u64,
    /// Why it cannot be used.
    problem: Option<String>,
}

/// Takes lines up to the end of a record: the first line end outside quotes.
fn next_record<'a>(
    lines: &'a mut Lines,
    buffer: &'a mut Vec<u8>,
    delimiter: u8,
) -> Result<Option<Record<'a>>, ConnectorError> {
    let max_line = lines.max_line();
    let too_long =
        |len: u64| Some(format!("the row is {len} bytes long, more than max_line = {max_line}"));
    let Some(line) = lines.next()? else { return Ok(None) };
    let (number, overlong) = (line.number, line.overlong);
    let mut quotes = Quotes::FieldStart.after(line.bytes, delimiter);
    buffer.clear();
    buffer.extend_from_slice(line.bytes);
    if overlong.is_some() || quotes != Quotes::Inside {
        return Ok(Some(Record { raw: buffer, number, problem: overlong.and_then(too_long) }));
    }
    loop {
        let Some(line) = lines.next()? else {
            let problem = Some("a quote is not closed before the end of the file".to_owned());
            return Ok(Some(Record { raw: buffer, number, problem }));
        };
        let len = buffer.len() as u64 + 1 + line.overlong.unwrap_or(line.bytes.len() as u64);
        if len > max_line as u64 {
            let problem = Some(format!(
                "a quote is not closed within max_line = {max_line} bytes; skipped to the end of line {}",
                line.number
            ));
            return Ok(Some(Record { raw: buffer, number, problem }));
        }
        buffer.push(b'\n');
        buffer.extend_from_slice(line.bytes);
        quotes = quotes.after(line.bytes, delimiter);
        if quotes != Quotes::Inside {
            return Ok(Some(Record { raw: buffer, number, problem: None }));
        }
    }
}

/// Where in a field the end of a line is. A quote counts only at a field's beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    FieldStart,
    Plain,
    Inside,
    /// After a quote inside quotes: the field's end, or half of a doubled one.
    Closing,
}

impl Quotes {
    fn after(self, line: &[u8], delimiter: u8) -> Self {
        if self == Self::FieldStart && memchr(b'"', line).is_none() {
            return Self::Plain;
        }
        let mut state = self;
        for &byte in line {
            state = match (state, byte) {
                (Self::Inside, b'"') => Self::Closing,
                (Self::Inside, _) | (Self::FieldStart | Self::Closing, b'"') => Self::Inside,
                (_, byte) if byte == delimiter => Self::FieldStart,
                _ => Self::Plain,
            };
        }
        state
    }
}

/// A row's fields.
struct Row {
    delimiter: u8,
    parser: csv_core::Reader,
    /// Where the fields are: in the raw record, or in `unquoted`.
    fields: Vec<Range<usize>>,
    quoted: bool,
    unquoted: Vec<u8>,
    ends: Vec<usize>,
}

impl Row {
    fn new(delimiter: u8) -> Self {
        let parser = csv_core::ReaderBuilder::new()
            .delimiter(delimiter)
            .terminator(csv_core::Terminator::Any(b'\n'))
            .build();
        let (fields, unquoted, ends) = (Vec::new(), Vec::new(), Vec::new());
        Self { delimiter, parser, fields, quoted: false, unquoted, ends }
    }

    fn len(&self) -> usize {
        self.fields.len()
    }

    fn field<'a>(&'a self, raw: &'a [u8], i: usize) -> &'a [u8] {
        let from = if self.quoted { &self.unquoted } else { raw };
        &from[self.fields[i].clone()]
    }

    fn split(&mut self, raw: &[u8]) {
        self.fields.clear();
        self.quoted = memchr(b'"', raw).is_some();
        if self.quoted {
            self.unquote(raw);
            return;
        }
        let mut start = 0;
        for end in memchr_iter(self.delimiter, raw) {
            self.fields.push(start..end);
            start = end + 1;
        }
        self.fields.push(start..raw.len());
    }

    fn unquote(&mut self, raw: &[u8]) {
        self.parser.reset();
        // Unquoting never makes a row longer, and each field but one needs a delimiter.
        self.unquoted.resize(raw.len() + 1, 0);
        self.ends.resize(memchr_iter(self.delimiter, raw).count() + 2, 0);
        let (_, _, written, ended) =
            self.parser.read_record(raw, &mut self.unquoted, &mut self.ends);
        // No more input: this ends the last field.
        let (_, _, _, more) =
            self.parser.read_record(&[], &mut self.unquoted[written..], &mut self.ends[ended..]);
        let mut start = 0;
        for &end in &self.ends[..ended + more] {
            self.fields.push(start..end);
            start = end;
        }
    }
}

#[cfg(test)]
#[path = "csv_source_tests.rs"]
mod tests;
