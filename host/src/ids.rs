//! Validated names and numbers. No bare `String` or `u64` that means one of
//! these crosses a module edge.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a valid name: {reason}")]
pub struct InvalidName {
    /// The name as given.
    pub name: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The longest name that is accepted, in bytes.
pub const MAX_NAME: usize = 64;

fn check_name(name: &str) -> Result<(), InvalidName> {
    let refuse = |reason| Err(InvalidName { name: name.chars().take(80).collect(), reason });
    if name.is_empty() {
        return refuse("it is empty");
    }
    if name.len() > MAX_NAME {
        return refuse("it is longer than 64 characters");
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        return refuse("only ASCII letters, digits, `-` and `_` may stand in it");
    }
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return refuse("it must begin with a letter or a digit");
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Accepts 1 to 64 ASCII letters, digits, `-` and `_`, the first a
            /// letter or digit.
            ///
            /// # Errors
            /// [`InvalidName`] says what is wrong.
            pub fn new(name: impl Into<String>) -> Result<Self, InvalidName> {
                let name = name.into();
                check_name(&name)?;
                Ok(Self(name))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(name: String) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name_type! {
    /// The name of a source, operator or sink: unique within its job.
    OperatorName
}
name_type! {
    /// The name of a job.
    JobName
}
name_type! {
    /// The name of a source, operator or sink's output port, as a job file gives it.
    PortName
}

name_type! {
    /// The name of an uploaded artifact: unique within its tenant, with a version for each upload.
    ArtifactName
}

name_type! {
    /// The name of a savepoint: unique within its job.
    SavepointName
}

name_type! {
    /// Who a job belongs to, and whose slots, memory and time it uses.
    TenantId
}

name_type! {
    /// The name of a server, and of what opens it, on the command line.
    ProfileName
}

/// The tenant of whoever does not speak of tenants.
impl Default for TenantId {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

/// A version of an artifact, or a tag that points to one: `1.4.0`, `2026-11-22`, `latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionName(String);

impl VersionName {
    /// Accepts 1 to 64 ASCII letters, digits, `.`, `+`, `-` and `_`, the first a letter or digit.
    ///
    /// # Errors
    /// [`InvalidName`] says what is wrong.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidName> {
        let name = name.into();
        let plain: String = name.chars().filter(|c| !matches!(c, '.' | '+')).collect();
        let shown = |reason| InvalidName { name: name.chars().take(80).collect(), reason };
        if name.len() > MAX_NAME {
            return Err(shown("it is longer than 64 characters"));
        }
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(shown("it must begin with a letter or a digit"));
        }
        check_name(&plain).map_err(|_| {
            shown("only ASCII letters, digits, `.`, `+`, `-` and `_` may stand in it")
        })?;
        Ok(Self(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for VersionName {
    type Error = InvalidName;
    fn try_from(name: String) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

impl From<VersionName> for String {
    fn from(name: VersionName) -> String {
        name.0
    }
}

impl fmt::Display for VersionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A text that is not the identifier that it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not an identifier: {digits} hexadecimal digits in lower case")]
pub struct NotAnId {
    /// How many digits it should have.
    pub digits: usize,
}

macro_rules! random_id_type {
    ($(#[$doc:meta])* $name:ident($bytes:literal)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; $bytes]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Hex(&self.0).fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let wrong = NotAnId { digits: 2 * $bytes };
                let digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
                if text.len() != 2 * $bytes || !text.bytes().all(digit) {
                    return Err(wrong);
                }
                let mut id = [0; $bytes];
                for (i, byte) in id.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| wrong)?;
                }
                Ok(Self(id))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnId;
            fn try_from(text: String) -> Result<Self, NotAnId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

random_id_type! {
    /// A job that was submitted: 32 hexadecimal digits, as in Flink. Random, and so not guessed.
    JobId(16)
}
random_id_type! {
    /// A token, as it is shown: it opens nothing.
    TokenId(8)
}
random_id_type! {
    /// A public key that artifacts are signed with: the beginning of its SHA-256.
    KeyId(8)
}

/// Shows bytes in hexadecimal, two digits each.
#[derive(Debug, Clone, Copy)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The SHA-256 digest of an operator's component, which identifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ArtifactDigest(pub [u8; 32]);

impl fmt::Display for ArtifactDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

/// A text that is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a SHA-256 digest: 64 hexadecimal digits")]
pub struct NotADigest;

impl FromStr for ArtifactDigest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let mut digest = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(NotADigest);
        }
        for (i, byte) in digest.iter_mut().enumerate() {
            let digits = &text[2 * i..2 * i + 2];
            *byte = u8::from_str_radix(digits, 16).map_err(|_| NotADigest)?;
        }
        Ok(Self(digest))
    }
}

macro_rules! number_type {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_type! {
    /// Number of a checkpoint of a job: 1 is the first, later ones are greater.
    CheckpointId(u64)
}
number_type! {
    /// A slot of the TaskManager, from 0.
    SlotId(u32)
}
number_type! {
    /// One of an operator's parallel instances, from 0.
    SubtaskIndex(u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_traversal_or_nonsense_are_refused() {
        for bad in ["", ".", "..", "a/b", "a\\b", "-x", "a b", "ä", "a.b", &"x".repeat(65)] {
            assert!(OperatorName::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "window-stats", "top_n", "9E", &"x".repeat(64)] {
            assert!(OperatorName::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_version_may_have_dots_and_no_traversal() {
        for bad in ["", ".", "..", "a/b", ".1", "1 0", "é", "a@b", &"1".repeat(65)] {
            assert!(VersionName::new(bad).is_err(), "{bad:?}");
        }
        for good in ["1.4.0", "1.0.0-rc.1+build", "latest", "v2", "1..2"] {
            assert!(VersionName::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn an_identifier_is_read_in_one_form_only() {
        let text = "00ff10a0000000000000000000000000";
        assert_eq!(text.parse::<JobId>().unwrap().to_string(), text);
        for bad in
            ["", "00FF10A0000000000000000000000000", "+0ff10a0000000000000000000000000", "00"]
        {
            assert!(bad.parse::<JobId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_default_tenant_has_a_valid_name() {
        assert_eq!(TenantId::new("default"), Ok(TenantId::default()));
    }

    #[test]
    fn a_deserialised_name_is_checked_too() {
        assert!(serde_json::from_str::<JobName>("\"../etc\"").is_err());
        assert_eq!(serde_json::from_str::<JobName>("\"flights\"").unwrap().as_str(), "flights");
    }
}
