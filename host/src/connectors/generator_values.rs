//! What generated records look like: keys, and values of each kind. A hot path
//! in benchmarks: all that can be prepared is, and columns are written in runs.
//!
//! Randomness is a hash of the seed, the record's number and, where there is
//! more to decide, a counter; nothing is carried from record to record.

use std::{io::Write, ops::Range};

use crate::{
    config::job::{GeneratorField, GeneratorValues},
    stream::Column,
};

use super::json;

/// How many different beginnings the fixed-size values have: small enough for
/// the text to stay in the nearest cache.
const OFFSETS: usize = 4096;
/// How many bytes of such a value are the record's own.
const OWN: usize = 8;

/// A well-mixed number for each number (SplitMix64; Steele, Lea and Flood, 2014).
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Numbers that depend on the seed, a purpose, and a record.
#[derive(Clone, Copy)]
pub(crate) struct Random(u64);

impl Random {
    fn new(seed: u64, purpose: u64) -> Self {
        Self(mix(mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)).wrapping_add(purpose)))
    }

    fn of(self, record: u64) -> u64 {
        mix(self.0.wrapping_add(record.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }
}

/// A number below `below`, from a random one (Lemire's multiplication).
fn scale(random: u64, below: u64) -> u64 {
    ((u128::from(random) * u128::from(below)) >> 64) as u64
}

/// From 0 up to but not 1.
fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

/// Keys like `key-0000042`: all of the same length.
pub(crate) struct Keys {
    random: Random,
    count: u64,
    digits: usize,
    /// 0000 to 9999.
    quads: Vec<[u8; 4]>,
}

impl Keys {
    const PREFIX: &'static [u8] = b"key-";

    pub(crate) fn new(count: u64, seed: u64) -> Self {
        let count = count.max(1);
        let digits = (count - 1).to_string().len().max(7);
        let digit = |n: u16, unit: u16| b'0' + (n / unit % 10).to_le_bytes()[0];
        let quad = |n| [digit(n, 1000), digit(n, 100), digit(n, 10), digit(n, 1)];
        let quads = (0..10_000).map(quad).collect();
        Self { random: Random::new(seed, 1), count, digits, quads }
    }

    /// Bytes a key.
    pub(crate) fn width(&self) -> usize {
        Self::PREFIX.len() + self.digits
    }

    /// Appends the key of each record.
    pub(crate) fn write(&self, records: Range<u64>, out: &mut Vec<u8>) {
        if self.digits != 7 {
            return records.for_each(|record| self.write_one(record, out));
        }
        let start = out.len();
        let width = Self::PREFIX.len() + 7;
        #[expect(clippy::cast_possible_truncation, reason = "a run is short")]
        out.resize(start + (records.end - records.start) as usize * width, b'0');
        for (record, key) in records.zip(out[start..].chunks_exact_mut(width)) {
            #[expect(clippy::cast_possible_truncation, reason = "at most ten million")]
            let number = scale(self.random.of(record), self.count) as u32;
            let (high, low) = ((number / 10_000) as usize, (number % 10_000) as usize);
            // The first digit of the upper four is 0, and the prefix's end is put over it.
            key[3..7].copy_from_slice(&self.quads[high]);
            key[7..11].copy_from_slice(&self.quads[low]);
            key[..4].copy_from_slice(Self::PREFIX);
        }
    }

    fn write_one(&self, record: u64, out: &mut Vec<u8>) {
        let number = scale(self.random.of(record), self.count);
        out.extend_from_slice(Self::PREFIX);
        let digits = self.digits;
        write!(out, "{number:0digits$}").expect("memory can be written to");
    }

    /// A column of so many keys that were written one after the other.
    pub(crate) fn column(&self, data: Vec<u8>, count: usize) -> Column {
        let width = self.width();
        let offset = |i| u32::try_from(i * width).expect("a batch is small");
        let offsets = (0..=count).map(offset).collect();
        Column::from_parts(data, offsets).expect("keys have a fixed width")
    }
}

/// Writes values.
pub(crate) enum Values {
    /// Slices of a random text, with some letters of the record's own.
    Bytes { random: Random, size: usize, text: Vec<u8> },
    /// JSON objects.
    Fields(Vec<Field>),
    /// Lines of words.
    Words { random: Random, per_line: usize, words: Column },
}

impl Values {
    pub(crate) fn new(values: &GeneratorValues, seed: u64) -> Self {
        let random = Random::new(seed, 2);
        match values {
            GeneratorValues::Bytes(size) => {
                // Letters and digits only, so that a value needs no quoting anywhere.
                let alphabet = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
                #[expect(clippy::cast_possible_truncation, reason = "below the number of letters")]
                let letter = |i| alphabet[scale(random.of(i), alphabet.len() as u64) as usize];
                let text = (0..(OFFSETS + size) as u64).map(letter).collect();
                Self::Bytes { random, size: *size, text }
            }
            GeneratorValues::Fields(fields) => {
                let numbered = fields.iter().zip(3..);
                Self::Fields(
                    numbered.map(|((n, f), i)| Field::new(n, f, Random::new(seed, i))).collect(),
                )
            }
            GeneratorValues::Words { per_line, vocabulary } => {
                let words = (0..(*vocabulary).max(1)).map(word).collect();
                Self::Words { random, per_line: *per_line, words }
            }
        }
    }

    /// Appends the value of each record.
    pub(crate) fn write(&self, records: Range<u64>, keys: Option<&Keys>, out: &mut Column) {
        match self {
            Self::Bytes { random, size, text } => {
                let own = OWN.min(*size);
                for record in records {
                    let hash = random.of(record);
                    let from = (hash >> 52) as usize;
                    // Four bits a letter, a to p.
                    let letters = (hash & 0x0f0f_0f0f_0f0f_0f0f) + 0x6161_6161_6161_6161;
                    out.push_with(|data| {
                        let start = data.len();
                        data.extend_from_slice(&text[from..from + size]);
                        data[start..start + own].copy_from_slice(&letters.to_le_bytes()[..own]);
                    });
                }
            }
            Self::Fields(fields) => {
                for record in records {
                    out.push_with(|data| write_object(record, fields, keys, data));
                }
            }
            Self::Words { random, per_line, words } => {
                for record in records {
                    let line = Random(random.of(record));
                    out.push_with(|data| write_words(line, *per_line, words, data));
                }
            }
        }
    }
}

/// A word for each number, made of syllables; no two are the same.
fn word(number: usize) -> Vec<u8> {
    const CONSONANTS: &[u8] = b"bdfghklmnprstvz";
    const VOWELS: &[u8] = b"aeiou";
    let mut rest = number;
    let mut word = Vec::new();
    while rest > 0 || word.len() < 4 {
        word.push(CONSONANTS[rest % CONSONANTS.len()]);
        rest /= CONSONANTS.len();
        word.push(VOWELS[rest % VOWELS.len()]);
        rest /= VOWELS.len();
    }
    word
}

#[expect(clippy::cast_possible_truncation, reason = "below the number of words")]
fn write_words(line: Random, per_line: usize, words: &Column, out: &mut Vec<u8>) {
    for i in 0..per_line {
        if i > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(words.get(scale(line.of(i as u64), words.len() as u64) as usize));
    }
}

fn write_object(record: u64, fields: &[Field], keys: Option<&Keys>, out: &mut Vec<u8>) {
    out.push(b'{');
    if let Some(keys) = keys {
        out.extend_from_slice(b"\"key\":\"");
        keys.write(record..record + 1, out);
        out.push(b'"');
    }
    for (i, field) in fields.iter().enumerate() {
        if i > 0 || keys.is_some() {
            out.push(b',');
        }
        out.extend_from_slice(&field.before);
        field.write(record, out);
    }
    out.push(b'}');
}

/// A field of generated objects.
pub(crate) struct Field {
    /// `"name":`
    before: Vec<u8>,
    random: Random,
    kind: GeneratorField,
    /// For numbers: digits after the point, enough to tell some 10,000 apart.
    decimals: u32,
    /// For texts: each as JSON.
    texts: Vec<Vec<u8>>,
}

impl Field {
    fn new(name: &str, kind: &GeneratorField, random: Random) -> Self {
        let mut before = Vec::new();
        json::write_string(&mut before, name);
        before.push(b':');
        let spread = match kind {
            GeneratorField::Uniform(low, high) => high - low,
            GeneratorField::Normal { deviation, .. } => *deviation,
            GeneratorField::Sequence(_) | GeneratorField::OneOf(_) => 1.0,
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let decimals = (4.0 - spread.abs().log10().floor()).clamp(0.0, 15.0) as u32;
        let quoted = |text: &String| {
            let mut out = Vec::new();
            json::write_string(&mut out, text);
            out
        };
        let texts = match kind {
            GeneratorField::OneOf(texts) => texts.iter().map(quoted).collect(),
            _ => Vec::new(),
        };
        Self { before, random, kind: kind.clone(), decimals, texts }
    }

    fn write(&self, record: u64, out: &mut Vec<u8>) {
        let random = self.random.of(record);
        match &self.kind {
            GeneratorField::Sequence(start) => {
                let number = i128::from(*start) + i128::from(record);
                write!(out, "{number}").expect("memory can be written to");
            }
            GeneratorField::Uniform(low, high) => {
                write_number(low + (high - low) * unit(random), self.decimals, out);
            }
            GeneratorField::Normal { mean, deviation, spikes, factor } => {
                let more = Random(random);
                let off = if unit(more.of(0)) < *spikes {
                    if more.of(1) & 1 == 0 { *factor } else { -factor }
                } else {
                    normal(unit(more.of(2)), unit(more.of(3)))
                };
                write_number(mean + deviation * off, self.decimals, out);
            }
            #[expect(clippy::cast_possible_truncation, reason = "below the number of texts")]
            GeneratorField::OneOf(_) => {
                match self.texts.get(scale(random, self.texts.len() as u64) as usize) {
                    Some(text) => out.extend_from_slice(text),
                    None => out.extend_from_slice(b"null"),
                }
            }
        }
    }
}

/// Normally distributed around 0 with deviation 1 (Box and Muller, 1958).
fn normal(a: f64, b: f64) -> f64 {
    // 1 - a is never 0.
    (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}

/// Writes a number rounded to so many decimals, as JSON.
fn write_number(number: f64, decimals: u32, out: &mut Vec<u8>) {
    let power = 10_f64.powi(decimals.cast_signed());
    let rounded = (number * power).round() / power;
    let rounded = if rounded.is_finite() { rounded } else { number };
    serde_json::to_writer(out, &rounded).expect("memory can be written to");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn one(values: &Values, keys: Option<&Keys>, record: u64) -> Vec<u8> {
        let mut column = Column::default();
        values.write(record..record + 1, keys, &mut column);
        column.get(0).to_vec()
    }

    fn keys(count: u64, records: u32) -> Vec<String> {
        let keys = Keys::new(count, 3);
        let mut data = Vec::new();
        keys.write(0..u64::from(records), &mut data);
        let column = keys.column(data, records as usize);
        column.iter().map(|key| String::from_utf8(key.to_vec()).unwrap()).collect()
    }

    #[test]
    fn keys_are_drawn_uniformly_from_so_many() {
        let mut counts = std::collections::BTreeMap::new();
        keys(10, 10_000).into_iter().for_each(|key| *counts.entry(key).or_insert(0) += 1);
        assert_eq!(counts.len(), 10);
        assert_eq!(counts.first_key_value().unwrap().0, "key-0000000");
        assert!(counts.values().all(|n| (850..1150).contains(n)), "{counts:?}");
    }

    #[test]
    fn more_than_ten_million_keys_are_as_long_as_the_longest() {
        let keys = keys(1 << 40, 1000);
        assert!(keys.iter().all(|key| key.len() == 4 + 13));
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 1000);
    }

    #[test]
    fn words_are_distinct_and_lines_have_as_many_as_asked() {
        let words: HashSet<_> = (0..50_000).map(word).collect();
        assert_eq!(words.len(), 50_000);
        let spec = GeneratorValues::Words { per_line: 7, vocabulary: 3 };
        let values = Values::new(&spec, 0);
        let seen: HashSet<_> = (0..50)
            .flat_map(|i| {
                let line = String::from_utf8(one(&values, None, i)).unwrap();
                let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
                assert_eq!(words.len(), 7);
                words
            })
            .collect();
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn small_and_empty_values_are_possible() {
        for size in [0, 1, 7, 8, 9] {
            assert_eq!(one(&Values::new(&GeneratorValues::Bytes(size), 0), None, 5).len(), size);
        }
    }

    #[test]
    fn objects_have_their_fields_distributed_as_asked() {
        let spec = GeneratorValues::Fields(vec![
            ("id".into(), GeneratorField::Sequence(-2)),
            ("u".into(), GeneratorField::Uniform(10.0, 20.0)),
            (
                "t".into(),
                GeneratorField::Normal { mean: 20.0, deviation: 2.0, spikes: 0.01, factor: 10.0 },
            ),
            ("o".into(), GeneratorField::OneOf(vec!["x".into(), "y\"".into()])),
        ]);
        let (values, keys) = (Values::new(&spec, 1), Keys::new(5, 1));
        let (mut sum, mut squares, mut spikes, mut y) = (0.0, 0.0, 0, 0);
        for i in 0..10_000 {
            let value = one(&values, Some(&keys), i);
            let value: serde_json::Value = serde_json::from_slice(&value).unwrap();
            assert!(value["key"].as_str().unwrap().starts_with("key-"));
            assert_eq!(value["id"].as_i64(), Some(i as i64 - 2));
            assert!((10.0..=20.0).contains(&value["u"].as_f64().unwrap()));
            y += i32::from(value["o"] == "y\"");
            let t = value["t"].as_f64().unwrap() - 20.0;
            if t.abs() > 19.9 {
                assert!((t.abs() - 20.0).abs() < 1e-9, "{t}");
                spikes += 1;
            } else {
                sum += t;
                squares += t * t;
            }
        }
        assert!((4700..5300).contains(&y), "{y}");
        assert!((60..140).contains(&spikes), "{spikes}");
        let (mean, deviation) = (sum / 9900.0, (squares / 9900.0_f64).sqrt());
        assert!(mean.abs() < 0.1 && (deviation - 2.0).abs() < 0.1, "{mean} {deviation}");
    }
}
