//! Durations and sizes as people write them: `"1m30s"`, `"64MiB"`. Reading
//! only; how the terminal shows them is the CLI's.

use std::time::Duration;

/// The longest duration that is accepted: 100 years. Everything that is
/// computed from one then fits into 64-bit milliseconds.
pub const MAX_DURATION: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The units of a duration and how many nanoseconds each has.
const DURATION_UNITS: &[(&str, u128)] = &[
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("min", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("d", 86_400 * 1_000_000_000),
];

/// The units of a size and how many bytes each has.
const SIZE_UNITS: &[(&str, u128)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Why a text is not a duration or a size. Reads on after "…, but ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuantity {
    /// Nothing stands there.
    #[error("it is empty")]
    Empty,
    /// No number where one should begin.
    #[error("`{0}` does not begin with a number")]
    NoNumber(String),
    /// A number without a unit.
    #[error("`{0}` has no unit")]
    NoUnit(String),
    /// A unit that is not known.
    #[error("`{0}` is not a unit")]
    UnknownUnit(String),
    /// A unit that came before, or a larger one after a smaller one.
    #[error("`{0}` must come before smaller units, and once only")]
    UnitOrder(String),
    /// More than can be held.
    #[error("it is too large")]
    TooLarge,
    /// Something finer than the smallest unit.
    #[error("it is finer than {0}")]
    TooFine(&'static str),
    /// A size in parts.
    #[error("`{0}` is left over after the unit")]
    Trailing(String),
}

/// Reads a duration: one or more numbers with units, larger units first, such
/// as `250ms`, `1.5h`, `1d`, `1m30s`. Units are `us`, `ms`, `s`, `m` (or
/// `min`), `h` and `d`.
///
/// # Errors
/// If it is not one, or is longer than [`MAX_DURATION`].
pub fn parse_duration(text: &str) -> Result<Duration, InvalidQuantity> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(InvalidQuantity::Empty);
    }
    let mut total: u128 = 0;
    let mut last_unit = u128::MAX;
    while !rest.is_empty() {
        let (number, unit, after) = next_part(rest)?;
        if unit.is_empty() {
            return Err(InvalidQuantity::NoUnit(number.to_owned()));
        }
        let nanos = unit_of(unit, DURATION_UNITS)?;
        if nanos >= last_unit {
            return Err(InvalidQuantity::UnitOrder(format!("{number}{unit}")));
        }
        last_unit = nanos;
        let part = scaled(number, nanos, "a nanosecond")?;
        total = total.checked_add(part).ok_or(InvalidQuantity::TooLarge)?;
        rest = after.trim_start();
    }
    if total > MAX_DURATION.as_nanos() {
        return Err(InvalidQuantity::TooLarge);
    }
    u64::try_from(total).map(Duration::from_nanos).map_err(|_| InvalidQuantity::TooLarge)
}

/// Reads a size in bytes: `4096`, `64KiB`, `1MB`, `1.5GiB`. Units are `B`,
/// `kB`, `MB`, `GB`, `TB` (powers of 1000) and `KiB`, `MiB`, `GiB`, `TiB`
/// (powers of 1024).
///
/// # Errors
/// If it is not one, is not a whole number of bytes, or is 2^63 or more.
pub fn parse_size(text: &str) -> Result<u64, InvalidQuantity> {
    let text = text.trim();
    if text.is_empty() {
        return Err(InvalidQuantity::Empty);
    }
    let (number, unit, after) = next_part(text)?;
    if !after.is_empty() {
        return Err(InvalidQuantity::Trailing(after.to_owned()));
    }
    let bytes = if unit.is_empty() { 1 } else { unit_of(unit, SIZE_UNITS)? };
    let total = scaled(number, bytes, "a byte")?;
    match i64::try_from(total) {
        Ok(total) => Ok(total.unsigned_abs()),
        Err(_) => Err(InvalidQuantity::TooLarge),
    }
}

/// A size as [`parse_size`] reads it, exactly: `1536` is `1536`, 1,572,864 is
/// `1536KiB`.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    let units = ["", "KiB", "MiB", "GiB", "TiB"];
    let fits = |power: &u32| bytes > 0 && bytes.is_multiple_of(1 << (10 * power));
    let power = (0..=4_u32).rev().find(fits).unwrap_or(0);
    format!("{}{}", bytes >> (10 * power), units[power as usize])
}

/// Splits a number, its unit and what follows: `1m30s` → `1`, `m`, `30s`.
fn next_part(text: &str) -> Result<(&str, &str, &str), InvalidQuantity> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.' || c == '_';
    let end = text.find(|c| !is_number(c)).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(InvalidQuantity::NoNumber(shortened(text)));
    }
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    Ok((number, unit, rest))
}

fn unit_of(unit: &str, units: &[(&str, u128)]) -> Result<u128, InvalidQuantity> {
    // Greek mu and the micro sign look the same.
    let wanted = unit.replace('\u{3bc}', "\u{b5}");
    let found = units.iter().find(|(name, _)| *name == wanted);
    found.map(|&(_, factor)| factor).ok_or_else(|| InvalidQuantity::UnknownUnit(shortened(unit)))
}

/// `number` times `factor`, exactly.
fn scaled(number: &str, factor: u128, finest: &'static str) -> Result<u128, InvalidQuantity> {
    let digits: String = number.chars().filter(|&c| c != '_').collect();
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    if !fraction.chars().all(|c| c.is_ascii_digit()) {
        return Err(InvalidQuantity::NoNumber(shortened(number)));
    }
    let whole: u128 = whole.parse().map_err(|_| InvalidQuantity::TooLarge)?;
    let whole = whole.checked_mul(factor).ok_or(InvalidQuantity::TooLarge)?;
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        return Ok(whole);
    }
    // 10^20 times the largest factor (8.64e13) still fits into 128 bits.
    let Ok(places @ 1..=20) = u32::try_from(fraction.len()) else {
        return Err(InvalidQuantity::TooFine(finest));
    };
    let numerator: u128 = fraction.parse().map_err(|_| InvalidQuantity::TooLarge)?;
    let scale = 10_u128.pow(places);
    let part = numerator.checked_mul(factor).ok_or(InvalidQuantity::TooLarge)?;
    if part % scale != 0 {
        return Err(InvalidQuantity::TooFine(finest));
    }
    whole.checked_add(part / scale).ok_or(InvalidQuantity::TooLarge)
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("250ms", 250),
            ("1s", 1_000),
            ("1.5s", 1_500),
            ("0s", 0),
            ("90 s", 90_000),
            ("6h", 21_600_000),
            ("1d", 86_400_000),
            ("1m30s", 90_000),
            ("1min 30s", 90_000),
            ("1d12h", 129_600_000),
            ("1_000ms", 1_000),
            ("2000us", 2),
            ("2000µs", 2),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn a_bad_duration_says_why() {
        for (text, why) in [
            ("", "it is empty"),
            ("5", "`5` has no unit"),
            ("1m30", "`30` has no unit"),
            ("s", "`s` does not begin with a number"),
            ("-1s", "`-1s` does not begin with a number"),
            ("5 sec", "`sec` is not a unit"),
            ("30s1m", "`1m` must come before smaller units, and once only"),
            ("1s1s", "`1s` must come before smaller units, and once only"),
            ("1.2.3s", "`1.2.3` does not begin with a number"),
            ("0.0001us", "it is finer than a nanosecond"),
            ("40000d", "it is too large"),
            ("99999999999999999999999999999999999999999d", "it is too large"),
        ] {
            assert_eq!(parse_duration(text).unwrap_err().to_string(), why, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_in_powers_of_ten_and_two() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4_096),
            ("1B", 1),
            ("64KiB", 65_536),
            ("64 MiB", 67_108_864),
            ("1kB", 1_000),
            ("1MB", 1_000_000),
            ("1.5GiB", 1_610_612_736),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for (text, why) in [
            ("64mb", "`mb` is not a unit"),
            ("1M", "`M` is not a unit"),
            ("1.5", "it is finer than a byte"),
            ("1MiB 5", "` 5` is left over after the unit"),
            ("9999999TiB", "it is too large"),
        ] {
            assert_eq!(parse_size(text).unwrap_err().to_string(), why, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_size_that_is_shown_is_read_as_the_same(bytes in 0_u64..1 << 40, shift in 0_u32..23) {
            let bytes = (bytes >> shift) << shift;
            prop_assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics_a_reader(text in "[0-9._ a-zµ]{0,30}|.{0,20}") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
        }

        #[test]
        fn parts_add_up(d in 0_u64..10_000, h in 0_u64..24, m in 0_u64..60, ms in 0_u64..60_000) {
            let text = format!("{d}d{h}h{m}m{ms}ms");
            let millis = d * 86_400_000 + h * 3_600_000 + m * 60_000 + ms;
            prop_assert_eq!(parse_duration(&text), Ok(Duration::from_millis(millis)));
        }
    }
}
