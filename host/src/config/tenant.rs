//! The checked model of `tenants.toml`: tenants, their quotas, and what their
//! operators may be granted. Also how a rate and a cap are written. Whether a
//! quota is exceeded is decided in `tenancy`.

use super::{
    job::{CpuShare, Grant},
    read_operator::GRANTS,
    units::{self, parse_size},
};
use crate::ids::TenantId;

/// The weight of a tenant of which nothing is said.
pub const DEFAULT_WEIGHT: u32 = 100;
/// The greatest weight.
pub const MOST_WEIGHT: u32 = 10_000;
/// The greatest count that a quota may name.
pub const MOST_COUNT: u32 = 1_000_000;
/// The least budget of memory, in bytes: a page of Wasm memory, without which nothing
/// runs.
pub const LEAST_MEMORY: u64 = 64 << 10;
/// The greatest cap, in thousandths of a core: a hundred cores.
pub const MOST_CAP: CpuShare = CpuShare(100_000);
/// The greatest rate, in records or bytes a second.
pub const MOST_RATE: u64 = 1 << 50;

/// A tenant as `tenants.toml` has it: the table `[tenant.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSpec {
    /// Its name.
    pub name: TenantId,
    /// What it may use.
    pub quotas: Quotas,
    /// `grants`: what its operators may be granted beyond `log`, `config` and
    /// `metrics`, which everybody's may. None if not given: then nothing more, and for
    /// the default tenant whatever a job file says.
    pub grants: Option<Vec<Grant>>,
    /// `require_signatures`: whether a server takes artifacts of it that are signed, and no others.
    pub require_signatures: bool,
}

impl TenantSpec {
    /// A tenant of which nothing is said.
    #[must_use]
    pub fn new(name: TenantId) -> Self {
        Self { name, quotas: Quotas::default(), grants: None, require_signatures: false }
    }
}

/// What a tenant may use. Where nothing is said there is no limit but the
/// TaskManager's own. Sizes are in bytes, rates are per second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quotas {
    /// `slots` that its jobs may hold at once, 0 to 1,000,000.
    pub slots: Option<u32>,
    /// `memory` that its slots may hold together, 64 KiB or more.
    pub memory: Option<usize>,
    /// `state`: how much keyed state its operators may keep together. It counts in
    /// `memory` too.
    pub state: Option<usize>,
    /// `jobs` that may run at once, 0 to 1,000,000.
    pub jobs: Option<u32>,
    /// `artifacts`: how many different ones its running jobs may use, 0 to 1,000,000.
    pub artifacts: Option<u32>,
    /// `artifact_bytes`: how large these may be together, as uploaded.
    pub artifact_bytes: Option<u64>,
    /// `disk`: what the checkpoints, savepoints and posted records of its jobs may take on disk
    /// together, those of jobs included that have ended and are remembered.
    pub disk: Option<u64>,
    /// `cpu_weight`: its share of the cores beside other tenants, where they are short;
    /// 1 to 10,000, and 100 if not given.
    pub cpu_weight: u32,
    /// `cpu_cap`: what its guests may use at most, all together, in parts of a core;
    /// 1 % to 10,000 %, so more than one core is possible.
    pub cpu_cap: Option<CpuShare>,
    /// `ingest_records`: records that its sources may bring in, at least 1 a second.
    pub ingest_records: Option<u64>,
    /// `ingest_bytes`: bytes that its sources may bring in, at least 1 a second.
    pub ingest_bytes: Option<u64>,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            slots: None,
            memory: None,
            state: None,
            jobs: None,
            artifacts: None,
            artifact_bytes: None,
            disk: None,
            cpu_weight: DEFAULT_WEIGHT,
            cpu_cap: None,
            ingest_records: None,
            ingest_bytes: None,
        }
    }
}

impl Grant {
    /// As job files and `tenants.toml` have it.
    #[must_use]
    pub fn word(self) -> &'static str {
        GRANTS.iter().find(|(_, grant)| *grant == self).map_or("?", |(word, _)| word)
    }

    /// The grant of this name.
    ///
    /// # Errors
    /// If there is none; says which there are.
    pub fn named(name: &str) -> Result<Self, String> {
        let found = GRANTS.iter().find(|(word, _)| *word == name);
        found.map(|(_, grant)| *grant).ok_or_else(|| {
            let words: Vec<&str> = GRANTS.iter().map(|(word, _)| *word).collect();
            format!("it must be one of {}", words.join(", "))
        })
    }
}

/// Reads a rate such as `1000/s`: so many a second.
///
/// # Errors
/// Reads on after "it " or "the value ": what it must be.
pub fn parse_record_rate(text: &str) -> Result<u64, String> {
    let must = || format!("must be records a second, such as 1000/s, from 1/s to {MOST_RATE}/s");
    let number = text.trim().strip_suffix("/s").ok_or_else(must)?;
    let digits: String = number.trim().chars().filter(|c| *c != '_').collect();
    let rate: u64 = digits.parse().map_err(|_| must())?;
    if (1..=MOST_RATE).contains(&rate) { Ok(rate) } else { Err(must()) }
}

/// Reads a rate such as `10MiB/s`: so many bytes a second.
///
/// # Errors
/// As [`parse_record_rate`].
pub fn parse_byte_rate(text: &str) -> Result<u64, String> {
    let must = || "must be bytes a second, such as 10MiB/s, at least 1/s".to_owned();
    let size = text.trim().strip_suffix("/s").ok_or_else(must)?;
    let rate = parse_size(size).map_err(|why| format!("{}, but {why}", must()))?;
    if (1..=MOST_RATE).contains(&rate) { Ok(rate) } else { Err(must()) }
}

/// Reads a cap such as `150%`: so much of one core.
///
/// # Errors
/// As [`parse_record_rate`].
pub fn parse_cap(text: &str) -> Result<CpuShare, String> {
    let must =
        || format!("must be a percentage of one core, such as 50% or 400%, from 1% to {MOST_CAP}");
    let percent = text.trim().strip_suffix('%').and_then(|n| n.trim().parse::<u32>().ok());
    let share = percent.and_then(|percent| percent.checked_mul(10)).map(CpuShare);
    share.filter(|share| (CpuShare(10)..=MOST_CAP).contains(share)).ok_or_else(must)
}

/// A rate as it is written.
#[must_use]
pub fn show_record_rate(rate: u64) -> String {
    format!("{rate}/s")
}

/// A rate as it is written.
#[must_use]
pub fn show_byte_rate(rate: u64) -> String {
    format!("{}/s", units::show_size(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_caps_are_read_as_they_are_shown() {
        for (text, rate) in [("1/s", 1), ("1000/s", 1_000), (" 1_000 /s", 1_000)] {
            assert_eq!(parse_record_rate(text), Ok(rate), "{text}");
        }
        for (text, rate) in [("1/s", 1), ("10MiB/s", 10 << 20), ("1.5 kB/s", 1_500)] {
            assert_eq!(parse_byte_rate(text), Ok(rate), "{text}");
            assert_eq!(parse_byte_rate(&show_byte_rate(rate)), Ok(rate));
        }
        for (text, cap) in [("1%", 10), ("50 %", 500), ("10000%", 100_000)] {
            assert_eq!(parse_cap(text), Ok(CpuShare(cap)), "{text}");
        }
        for text in ["", "0/s", "10", "x/s", "-1/s", "99999999999999999999/s"] {
            assert!(parse_record_rate(text).is_err(), "{text}");
            assert!(parse_byte_rate(text).is_err(), "{text}");
        }
        for text in ["0%", "50", "10001%", "4294967295%", "x%"] {
            assert!(parse_cap(text).unwrap_err().contains("such as 50%"), "{text}");
        }
    }

    #[test]
    fn every_grant_has_a_word_that_means_it() {
        for (word, grant) in GRANTS {
            assert_eq!((grant.word(), Grant::named(word)), (*word, Ok(*grant)));
        }
        assert!(Grant::named("wasi-sockets").unwrap_err().contains("wasi-clocks"));
    }
}
