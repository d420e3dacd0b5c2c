//! Reads a table of a job file key by key. A reader takes the keys that it
//! knows, each with a function that says what the value must be, and
//! [`Section::finish`] reports the keys that nobody took. A mistake is noted
//! and reading goes on, so that one run shows all of them.

use std::{fmt::Display, ops::RangeInclusive, time::Duration};

use super::{
    errors::{Place, Problems},
    node::{Entry, Node, Value},
    units::{self, InvalidQuantity},
};
use crate::ids::InvalidName;

/// Why a value is refused: reads on after "`key` ".
#[derive(Debug)]
pub(super) struct Refusal {
    /// Where, if not the whole value.
    pub(super) place: Option<Place>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Refusal {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { place: None, message: message.into(), help: None }
    }

    pub(super) fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    pub(super) fn at(self, place: &Place) -> Self {
        Self { place: Some(self.place.unwrap_or_else(|| place.clone())), ..self }
    }
}

/// What a value is read into, or why it is refused.
pub(super) type Read<T> = Result<T, Refusal>;

/// A table that is being read.
pub(super) struct Section<'p> {
    /// What it is called in messages: `[job]`, `[[source]] "flights"`.
    pub(super) title: String,
    /// Where it begins.
    pub(super) place: Place,
    pub(super) problems: &'p Problems,
    entries: Vec<Entry>,
    known: Vec<&'static str>,
}

impl<'p> Section<'p> {
    /// Begins to read a table; notes a mistake if it is none.
    pub(super) fn new(title: &str, node: Node, problems: &'p Problems) -> Option<Self> {
        let Value::Table(entries) = node.value else {
            problems.add(
                &node.place,
                format!("{title} must be a table, not {}", node.describe()),
                None,
            );
            return None;
        };
        let title = title.to_owned();
        Some(Self { title, place: node.place, problems, entries, known: Vec::new() })
    }

    /// Takes a key and its value, as they are.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Entry> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }

    /// Takes all that is left, in the file's order.
    pub(super) fn take_rest(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }

    /// Takes and reads a key. None if it is missing, or wrong and noted.
    pub(super) fn get<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Node) -> Read<T>,
    ) -> Option<T> {
        self.get_placed(key, read).map(|(value, _)| value)
    }

    /// As [`get`](Self::get), and where the value stands.
    pub(super) fn get_placed<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Node) -> Read<T>,
    ) -> Option<(T, Place)> {
        let entry = self.take(key)?;
        match read(&entry.node) {
            Ok(value) => Some((value, entry.node.place)),
            Err(refusal) => {
                self.refuse(key, &entry.node.place, refusal);
                None
            }
        }
    }

    /// As [`get`](Self::get), and a missing key is a mistake. `example` is what
    /// the person could write.
    pub(super) fn require<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&Node) -> Read<T>,
    ) -> Option<T> {
        if self.has(key) {
            return self.get(key, read);
        }
        self.known.push(key);
        self.missing(key, example);
        None
    }

    /// Takes a key that is a table, and begins to read that.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Section<'p>> {
        let entry = self.take(key)?;
        Section::new(&format!("`{key}` of {}", self.title), entry.node, self.problems)
    }

    /// Notes a mistake if both of two keys are given that say the same; then
    /// neither is left, and the answer is no.
    pub(super) fn one_of_two(&mut self, one: &'static str, other: &'static str) -> bool {
        if !self.has(one) || !self.has(other) {
            return true;
        }
        self.take(one);
        if let Some(second) = self.take(other) {
            let message = format!("{} has both `{one}` and `{other}`", self.title);
            self.problems.add(&second.key_place, message, Some("keep one of them".to_owned()));
        }
        false
    }

    /// Whether a key was given and not taken yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Notes that a key is missing.
    pub(super) fn missing(&self, key: &str, example: &str) {
        // It may be there, misspelt; whoever reads a section may end early
        // without this key, and never get to the unknown ones.
        let misspelt = self.entries.iter().find(|entry| {
            !self.known.contains(&entry.key.as_str())
                && suggest(&entry.key, std::iter::once(key)).is_some()
        });
        let help = match misspelt {
            Some(entry) => format!("there is `{}`; write `{key}`", entry.key),
            None => format!("add `{example}`"),
        };
        self.problems.add(&self.place, format!("{} has no `{key}`", self.title), Some(help));
    }

    /// Notes a refused value.
    pub(super) fn refuse(&self, key: &str, place: &Place, refusal: Refusal) {
        let place = refusal.place.as_ref().unwrap_or(place);
        self.problems.add(place, format!("`{key}` {}", refusal.message), refusal.help);
    }

    /// Ends the reading: whatever is left is unknown.
    pub(super) fn finish(self) {
        for entry in &self.entries {
            let message = format!("unknown key `{}` in {}", entry.key, self.title);
            let help = suggest(&entry.key, self.known.iter().copied())
                .unwrap_or_else(|| format!("known here: {}", listed(&self.known)));
            self.problems.add(&entry.key_place, message, Some(help));
        }
    }
}

/// "did you mean `…`?" if one of the candidates is a slip of the finger away:
/// one edit, or one in three letters of a longer word.
pub(super) fn suggest<'a>(
    given: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<String> {
    let lower = given.to_lowercase();
    candidates
        .filter_map(|candidate| {
            let letters = lower.chars().count().max(candidate.chars().count());
            let edits = strsim::osa_distance(&lower, &candidate.to_lowercase());
            (edits <= (letters / 3).max(1) && edits < letters).then_some((edits, candidate))
        })
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}

/// "`a`, `b`, `c`"
pub(super) fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Text.
pub(super) fn text(node: &Node) -> Read<String> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        _ => Err(Refusal::new(format!("must be text, not {}", node.describe()))),
    }
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node) -> Read<bool> {
    match &node.value {
        Value::Boolean(b) => Ok(*b),
        _ => Err(Refusal::new(format!("must be true or false, not {}", node.describe()))),
    }
}

/// A whole number in a range.
pub(super) fn integer<T>(range: RangeInclusive<T>) -> impl FnOnce(&Node) -> Read<T>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    move |node| {
        let read = match node.value {
            Value::Integer(n) => T::try_from(n).ok().filter(|n| range.contains(n)),
            _ => None,
        };
        read.ok_or_else(|| {
            // The ends of a type are no limit that a person cares about.
            let (low, high) = (range.start(), range.end().to_string());
            let limits = if high.len() >= 19 {
                format!("of at least {low}")
            } else {
                format!("from {low} to {high}")
            };
            Refusal::new(format!("must be a whole number {limits}, not {}", node.describe()))
        })
    }
}

/// A finite number in a range; `what` says which, such as "from 0 to 1".
pub(super) fn number(
    range: RangeInclusive<f64>,
    what: &'static str,
) -> impl Fn(&Node) -> Read<f64> {
    move |node| {
        #[expect(clippy::cast_precision_loss, reason = "a fraction is what is asked for")]
        let number = match node.value {
            Value::Integer(n) => Some(n as f64),
            Value::Float(x) => Some(x),
            _ => None,
        };
        number.filter(|x| x.is_finite() && range.contains(x)).ok_or_else(|| {
            Refusal::new(
                format!("must be a number {what}, not {}", node.describe()).replace("  ", " "),
            )
        })
    }
}

/// A duration of at least `shortest`.
pub(super) fn duration(shortest: Duration) -> impl Fn(&Node) -> Read<Duration> {
    move |node| {
        let refuse = |why: String| {
            Refusal::new(format!("must be a duration such as \"250ms\" or \"1m30s\", {why}"))
        };
        let Value::Text(text) = &node.value else {
            let refusal = refuse(format!("not {}", node.describe()));
            return Err(match node.value {
                Value::Integer(n @ 0..) => {
                    refusal.with_help(format!("add the unit: \"{n}s\" or \"{n}ms\""))
                }
                _ => refusal,
            });
        };
        let read = units::parse_duration(text).map_err(|why| {
            let refusal = refuse(format!("but {why}"));
            match why {
                InvalidQuantity::UnknownUnit(_) | InvalidQuantity::NoUnit(_) => {
                    refusal.with_help("the units are us, ms, s, m, h and d")
                }
                _ => refusal,
            }
        })?;
        if read < shortest {
            let least = shortest.as_millis();
            return Err(Refusal::new(format!("must be at least {least} ms, not \"{text}\"")));
        }
        Ok(read)
    }
}

/// A duration of whole milliseconds, at least one.
pub(super) fn millis(node: &Node) -> Read<Duration> {
    let read = duration(Duration::from_millis(1))(node)?;
    whole_millis(read)
}

/// A duration of whole milliseconds, or none at all.
pub(super) fn millis_or_zero(node: &Node) -> Read<Duration> {
    whole_millis(duration(Duration::ZERO)(node)?)
}

fn whole_millis(read: Duration) -> Read<Duration> {
    if read.subsec_nanos().is_multiple_of(1_000_000) {
        return Ok(read);
    }
    Err(Refusal::new(format!("must be whole milliseconds, not {read:?}")))
}

/// A size in bytes in a range.
pub(super) fn size(range: RangeInclusive<u64>) -> impl Fn(&Node) -> Read<u64> {
    move |node| {
        let what = "must be a size such as \"64KiB\" or \"1MB\"";
        let read = match &node.value {
            Value::Integer(n) => u64::try_from(*n).ok(),
            Value::Text(text) => Some(units::parse_size(text).map_err(|why| {
                let refusal = Refusal::new(format!("{what}, but {why}"));
                match why {
                    InvalidQuantity::UnknownUnit(_) => {
                        refusal.with_help("the units are B, kB, MB, GB, TB and KiB, MiB, GiB, TiB")
                    }
                    _ => refusal,
                }
            })?),
            _ => None,
        };
        let Some(bytes) = read else {
            return Err(Refusal::new(format!("{what}, not {}", node.describe())));
        };
        if !range.contains(&bytes) {
            let (low, high) = (range.start(), range.end());
            let limits = if *high >= i64::MAX.unsigned_abs() {
                format!("at least {low} bytes")
            } else {
                format!("{low} to {high} bytes")
            };
            return Err(Refusal::new(format!("must be {limits}, not {bytes}")));
        }
        Ok(bytes)
    }
}

/// As [`size`], for what is held in memory.
pub(super) fn memory_size(range: RangeInclusive<u64>) -> impl Fn(&Node) -> Read<usize> {
    move |node| {
        let bytes = size(range.clone())(node)?;
        usize::try_from(bytes).map_err(|_| Refusal::new("is more than this machine can address"))
    }
}

/// One of a closed set of words.
pub(super) fn one_of<T: Copy>(choices: &[(&'static str, T)]) -> impl Fn(&Node) -> Read<T> {
    move |node| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let refusal =
            || Refusal::new(format!("must be one of {}, not {}", listed(&names), node.describe()));
        let Value::Text(text) = &node.value else { return Err(refusal()) };
        match choices.iter().find(|(name, _)| name == text) {
            Some((_, value)) => Ok(*value),
            None => {
                let help = suggest(text, names.iter().copied());
                Err(Refusal { help, ..refusal() })
            }
        }
    }
}

/// A single ASCII character that can stand between fields.
pub(super) fn delimiter(node: &Node) -> Read<u8> {
    match text(node)?.as_bytes() {
        [byte] if byte.is_ascii() && !b"\"\r\n".contains(byte) => Ok(*byte),
        _ => Err(Refusal::new(format!(
            "must be one ASCII character, not a quote or line end, and not {}",
            node.describe()
        ))),
    }
}

/// A name of one of the validated types.
pub(super) fn name<T: TryFrom<String, Error = InvalidName>>(node: &Node) -> Read<T> {
    T::try_from(text(node)?)
        .map_err(|bad| Refusal::new(format!("is not a valid name: {}", bad.reason)))
}

/// A list, each of its entries read in the same way.
pub(super) fn list<T>(each: impl Fn(&Node) -> Read<T>) -> impl Fn(&Node) -> Read<Vec<T>> {
    move |node| {
        let Value::List(items) = &node.value else {
            return Err(Refusal::new(format!("must be a list, not {}", node.describe())));
        };
        items.iter().map(|item| each(item).map_err(|refusal| refusal.at(&item.place))).collect()
    }
}
