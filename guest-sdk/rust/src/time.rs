//! Times as people write them: RFC 3339 in UTC, and durations such as `10m`.
//! Everything else in the SDK is in milliseconds since 1970.

use serde::{Deserialize, Deserializer, de};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A time as RFC 3339 in UTC; milliseconds only where there are some.
///
/// ```
/// use cofferdam_sdk::time;
///
/// assert_eq!(time::rfc3339(1_357_034_400_000), "2013-01-01T10:00:00Z");
/// assert_eq!(time::rfc3339(-1), "1969-12-31T23:59:59.999Z");
/// ```
#[must_use]
pub fn rfc3339(millis: i64) -> String {
    let (days, in_day) = (millis.div_euclid(DAY), millis.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (in_day / HOUR, in_day / MINUTE % 60, in_day / 1000 % 60);
    let fraction = match in_day % 1000 {
        0 => String::new(),
        ms => format!(".{ms:03}"),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Reads RFC 3339 (a space may stand for the `T`); fractions finer than a
/// millisecond are cut off. None if it is something else.
///
/// ```
/// use cofferdam_sdk::time;
///
/// assert_eq!(time::parse_rfc3339("2013-01-01T05:00:00.250-05:00"), Some(1_357_034_400_250));
/// assert_eq!(time::parse_rfc3339("2013-02-29T00:00:00Z"), None);
/// ```
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let mut rest = text.as_bytes();
    let year = digits(&mut rest, 4)?;
    let month = digits(literal(&mut rest, b"-")?, 2)?;
    let day = digits(literal(&mut rest, b"-")?, 2)?;
    let hour = digits(literal(&mut rest, b"Tt ")?, 2)?;
    let minute = digits(literal(&mut rest, b":")?, 2)?;
    let second = digits(literal(&mut rest, b":")?, 2)?;
    let millis = fraction(&mut rest)?;
    let offset = match rest {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let mut rest = rest;
            let hours = digits(&mut rest, 2)?;
            let minutes = digits(literal(&mut rest, b":")?, 2)?;
            if !rest.is_empty() || hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * HOUR + minutes * MINUTE;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let days = days_from_civil(year, month, day);
    // A day that the month does not have comes back as another one.
    let exists = civil(days) == (year, month, day) && hour < 24 && minute < 60 && second < 60;
    let local = days * DAY + hour * HOUR + minute * MINUTE + second * 1000 + millis;
    exists.then_some(local - offset)
}

fn digits(rest: &mut &[u8], count: usize) -> Option<i64> {
    let (number, after) = rest.split_at_checked(count)?;
    *rest = after;
    number.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
}

fn literal<'r, 'a>(rest: &'r mut &'a [u8], any_of: &[u8]) -> Option<&'r mut &'a [u8]> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    any_of.contains(first).then_some(rest)
}

/// Milliseconds of `.123456`, 0 if there is no point.
fn fraction(rest: &mut &[u8]) -> Option<i64> {
    let Some(after) = rest.strip_prefix(b".") else { return Some(0) };
    let length = after.iter().take_while(|b| b.is_ascii_digit()).count();
    let (fraction, after) = after.split_at(length);
    *rest = after;
    let digit = |i: usize| fraction.get(i).map_or(0, |b| i64::from(b - b'0'));
    (length > 0).then(|| digit(0) * 100 + digit(1) * 10 + digit(2))
}

/// Year, month and day of a day since 1970 (Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

/// The inverse of [`civil`].
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, yoe) = (year.div_euclid(400), year.rem_euclid(400));
    let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

/// A duration in a configuration: `"250ms"`, `"10m"`, `"1h30m"`; units are `ms`,
/// `s`, `m`, `h` and `d`.
///
/// ```
/// use cofferdam_sdk::time::Millis;
///
/// let ttl: Millis = serde_json::from_str("\"1h30m\"")?;
/// assert_eq!(ttl.0, 5_400_000);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub i64);

impl Millis {
    /// Reads a duration; none if it is written otherwise or too long.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        let mut total = (!rest.is_empty()).then_some(0_i64)?;
        while !rest.is_empty() {
            let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let unit = rest[number..].find(|c: char| !c.is_ascii_alphabetic());
            let end = unit.map_or(rest.len(), |length| number + length);
            let millis = match &rest[number..end] {
                "ms" => 1,
                "s" => 1000,
                "m" | "min" => MINUTE,
                "h" => HOUR,
                "d" => DAY,
                _ => return None,
            };
            let count: i64 = rest[..number].parse().ok()?;
            total = total.checked_add(count.checked_mul(millis)?)?;
            rest = rest[end..].trim_start();
        }
        Some(Self(total))
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let problem =
            || format!("`{text}` is not a duration; write for example \"10m\" or \"250ms\"");
        Self::parse(&text).ok_or_else(|| de::Error::custom(problem()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rfc3339_agrees_with_jiff(millis in -62_135_596_800_000_i64..253_402_300_799_999) {
            let ours = rfc3339(millis);
            let theirs: jiff::Timestamp = ours.parse().unwrap();
            prop_assert_eq!(theirs.as_millisecond(), millis);
            prop_assert_eq!(parse_rfc3339(&ours), Some(millis));
        }

        #[test]
        fn what_is_no_time_is_none_and_never_a_panic(text in "[0-9TZ:.+ -]{0,30}") {
            if let Some(millis) = parse_rfc3339(&text) {
                prop_assert_eq!(text.replace(' ', "T").parse::<jiff::Timestamp>().unwrap().as_millisecond(), millis);
            }
        }
    }

    #[test]
    fn impossible_times_are_refused() {
        for bad in [
            "",
            "2013-01-01",
            "2013-13-01T00:00:00Z",
            "2013-04-31T00:00:00Z",
            "2013-01-01T24:00:00Z",
            "2013-01-01T00:00:00",
            "2013-01-01T00:00:00.Z",
            "2013-01-01T00:00:00+1:00",
        ] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [("10m", 600_000), ("1d 2h", 93_600_000), ("0s", 0), ("250ms", 250)] {
            assert_eq!(Millis::parse(text), Some(Millis(millis)), "{text}");
        }
        for bad in ["", "10", "m", "-1s", "1.5h", "1w", "9999999999999999d"] {
            assert_eq!(Millis::parse(bad), None, "{bad}");
        }
    }
}
