//! A collector of traces: takes what a program sends by OTLP over HTTP with protobuf, and reads the
//! spans in it. It knows the published numbers of fields and nothing of the code that writes them.

use std::{collections::BTreeMap, thread, time::Duration};

use serde_json::Value;

use crate::receiver::{Received, Receiver};

/// How often it is looked whether something came, and for how long.
const BETWEEN: Duration = Duration::from_millis(20);
const LOOKS: usize = 3_000;

/// A span that came.
#[derive(Debug, Clone, Default)]
pub struct Span {
    /// The trace, in hexadecimal.
    pub trace: String,
    /// The span.
    pub id: String,
    /// Its parent; empty if it has none.
    pub parent: String,
    /// What travels with the trace (`trace_state`).
    pub state: String,
    /// What it is called.
    pub name: String,
    /// 1: internal, 2: server.
    pub kind: u64,
    /// When it began and ended, in nanoseconds since 1970.
    pub time: (u64, u64),
    /// What is known of it.
    pub attributes: BTreeMap<String, Value>,
    /// Other spans that it comes from: trace and span.
    pub links: Vec<(String, String)>,
    /// Its status: a code, 2 if it failed, and why.
    pub status: (u64, String),
    /// Its flags.
    pub flags: u64,
    /// Who tells of it.
    pub resource: BTreeMap<String, Value>,
}

impl Span {
    /// Something that is known of it; null if it is not.
    #[must_use]
    pub fn get(&self, key: &str) -> &Value {
        self.attributes.get(key).unwrap_or(&Value::Null)
    }

    /// The same, as a number.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn number(&self, key: &str) -> i64 {
        self.get(key).as_i64().unwrap_or_else(|| panic!("`{key}` is no number of {self:#?}"))
    }

    /// Whether it belongs below another one.
    #[must_use]
    pub fn is_below(&self, other: &Span) -> bool {
        self.trace == other.trace && self.parent == other.id
    }
}

/// A collector, until the test ends.
#[derive(Debug)]
pub struct Collector {
    receiver: Receiver,
}

impl Default for Collector {
    fn default() -> Self {
        Self::start()
    }
}

impl Collector {
    /// One that takes everything.
    #[must_use]
    pub fn start() -> Self {
        Self { receiver: Receiver::start(&[], 200) }
    }

    /// From now on answers with this status.
    pub fn answer(&self, status: u16) {
        self.receiver.answer(status);
    }

    /// `http://127.0.0.1:1234`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.receiver.address())
    }

    /// The requests that came.
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        self.receiver.received()
    }

    /// The spans that came and were taken.
    ///
    /// # Panics
    /// If something came that is no request of the protocol.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let taken = self.receiver.received().into_iter().filter(|came| came.status == 200);
        taken.flat_map(|came| spans(&came.body)).collect()
    }

    /// Waits until of the spans that came this is so; then the answer is there.
    ///
    /// # Panics
    /// If it does not come to that.
    pub fn until<T>(&self, what: &str, found: impl Fn(&[Span]) -> Option<T>) -> T {
        for _ in 0..LOOKS {
            if let Some(found) = found(&self.spans()) {
                return found;
            }
            thread::sleep(BETWEEN);
        }
        let names: Vec<_> = self.spans().into_iter().map(|s| (s.trace, s.parent, s.name)).collect();
        panic!("{what} does not come; there are {names:#?}");
    }
}

/// One value of a field, as it is written.
#[derive(Debug, Clone)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn number(&self) -> u64 {
        let Self::Number(number) = self else { panic!("not a number: {self:?}") };
        *number
    }

    fn bytes(&self) -> &'a [u8] {
        let Self::Bytes(bytes) = self else { panic!("not bytes: {self:?}") };
        bytes
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).expect("a text is UTF-8")
    }

    fn hex(&self) -> String {
        self.bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().expect("a number has an end");
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    number
}

/// The fields of a message, in the order in which they are written.
fn fields(mut message: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let fixed = |message: &mut &[u8], width: usize| {
            let (bytes, rest) = message.split_at(width);
            *message = rest;
            bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let value = match tag & 7 {
            0 => Field::Number(varint(&mut message)),
            1 => Field::Number(fixed(&mut message, 8)),
            5 => Field::Number(fixed(&mut message, 4)),
            2 => {
                let length = usize::try_from(varint(&mut message)).expect("a length");
                let (bytes, rest) = message.split_at(length);
                message = rest;
                Field::Bytes(bytes)
            }
            other => panic!("there is no way {other} to write a field"),
        };
        found.push((tag >> 3, value));
    }
    found
}

fn all(message: &[u8], wanted: u64) -> impl Iterator<Item = &[u8]> {
    fields(message).into_iter().filter(move |(field, _)| *field == wanted).map(|(_, v)| v.bytes())
}

/// `KeyValue`s.
fn attributes<'a>(pairs: impl Iterator<Item = &'a [u8]>) -> BTreeMap<String, Value> {
    let pair = |pair: &'a [u8]| {
        let (mut key, mut value) = (String::new(), Value::Null);
        for (field, read) in fields(pair) {
            match field {
                1 => key = read.text(),
                2 => {
                    for (kind, read) in fields(read.bytes()) {
                        value = match kind {
                            1 => read.text().into(),
                            2 => (read.number() == 1).into(),
                            3 => read.number().cast_signed().into(),
                            other => panic!("an attribute of kind {other}"),
                        };
                    }
                }
                other => panic!("a pair has no field {other}"),
            }
        }
        (key, value)
    };
    pairs.map(pair).collect()
}

fn spans(request: &[u8]) -> Vec<Span> {
    let mut found = Vec::new();
    for of_resource in all(request, 1) {
        let resource = all(of_resource, 1).next().expect("a resource");
        let resource = attributes(all(resource, 1));
        for of_scope in all(of_resource, 2) {
            let read = |bytes| Span { resource: resource.clone(), ..span(bytes) };
            found.extend(all(of_scope, 2).map(read));
        }
    }
    found
}

fn span(message: &[u8]) -> Span {
    let mut span = Span { attributes: attributes(all(message, 9)), ..Span::default() };
    for (field, value) in fields(message) {
        match field {
            1 => span.trace = value.hex(),
            2 => span.id = value.hex(),
            3 => span.state = value.text(),
            4 => span.parent = value.hex(),
            5 => span.name = value.text(),
            6 => span.kind = value.number(),
            7 => span.time.0 = value.number(),
            8 => span.time.1 = value.number(),
            9 => {}
            13 => {
                let [of_trace, of_span] = [1, 2].map(|field| {
                    let id = all(value.bytes(), field).next().expect("a link leads somewhere");
                    Field::Bytes(id).hex()
                });
                span.links.push((of_trace, of_span));
            }
            15 => {
                for (field, value) in fields(value.bytes()) {
                    match field {
                        2 => span.status.1 = value.text(),
                        3 => span.status.0 = value.number(),
                        other => panic!("a status has no field {other}"),
                    }
                }
            }
            16 => span.flags = value.number(),
            other => panic!("a span of ours has no field {other}"),
        }
    }
    span
}
