//! Looking for a text in values: what a filter does first, before anything is parsed.

use std::fmt;

use memchr::memmem::Finder;
use serde::{Deserialize, Deserializer};

/// A text to look for, made ready once and for all: in Wasm sixteen bytes are looked at at a time,
/// which is ten times as fast as `value.windows(n).any(…)`.
///
/// ```
/// use cofferdam_sdk::Search;
///
/// let search = Search::new("error");
/// assert!(search.is_in(b"an error in line 3"));
/// assert_eq!(search.find("an error".as_bytes()), Some(3));
/// assert!(Search::new("").is_in(b"anything"));
/// ```
///
/// It can be a field of your configuration, where it is a text:
///
/// ```
/// # use cofferdam_sdk::Search;
/// #[derive(serde::Deserialize)]
/// struct Config {
///     contains: Search,
/// }
/// let config: Config = serde_json::from_str(r#"{"contains":"error"}"#)?;
/// assert!(config.contains.is_in(b"no errors so far"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone)]
pub struct Search(Finder<'static>);

impl Search {
    /// Makes a text, or bytes, ready to be looked for. The empty one is everywhere.
    #[must_use]
    pub fn new(text: impl AsRef<[u8]>) -> Self {
        Self(Finder::new(text.as_ref()).into_owned())
    }

    /// Whether it is in these bytes.
    #[must_use]
    #[inline]
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.find(bytes).is_some()
    }

    /// Where in these bytes it begins first.
    #[must_use]
    #[inline]
    pub fn find(&self, bytes: &[u8]) -> Option<usize> {
        self.0.find(bytes)
    }

    /// What is looked for.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.0.needle()
    }
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Search({:?})", String::from_utf8_lossy(self.text()))
    }
}

impl PartialEq for Search {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Search {}

impl<'de> Deserialize<'de> for Search {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_finds_what_a_search_byte_by_byte_finds(
            bytes in "[ab]{0,80}",
            text in "[ab]{0,6}",
        ) {
            let search = Search::new(&text);
            prop_assert_eq!(search.find(bytes.as_bytes()), bytes.find(&text));
            prop_assert_eq!(search.is_in(bytes.as_bytes()), bytes.contains(&text));
        }
    }
}
