//! The one error of the SDK. What goes wrong with a single record is not an
//! error but a rejection (`outcome.rs`).

use std::fmt;

/// Why an operator cannot go on, in words for the person who runs the job.
///
/// ```
/// use cofferdam_sdk::Error;
///
/// fn ratio(text: &str) -> Result<f64, Error> {
///     let ratio: f64 = text.parse().map_err(|e| Error::new(format!("ratio `{text}`: {e}")))?;
///     if ratio < 0.0 {
///         return Err("a ratio is not negative".into());
///     }
///     Ok(ratio)
/// }
/// assert_eq!(ratio("-1").unwrap_err().to_string(), "a ratio is not negative");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    /// An error with this message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// The same error, told what was being done: `doing: message`.
    #[must_use]
    pub fn while_doing(self, doing: impl fmt::Display) -> Self {
        Self(format!("{doing}: {}", self.0))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self(message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Self(message.to_owned())
    }
}

impl From<Error> for String {
    fn from(error: Error) -> Self {
        error.0
    }
}

macro_rules! from_display {
    ($($source:ty),*) => {
        $(impl From<$source> for Error {
            fn from(error: $source) -> Self {
                Self(error.to_string())
            }
        })*
    };
}

from_display!(
    serde_json::Error,
    postcard::Error,
    std::str::Utf8Error,
    std::num::ParseIntError,
    std::num::ParseFloatError
);
