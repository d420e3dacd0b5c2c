//! Event times as text or numbers, in the formats a job file can name, to
//! milliseconds since 1970. Knows nothing of where the text came from.

use crate::config::job::TimestampFormat;

/// Event times must be within so many milliseconds of 1970: 2^53 - 1, what every
/// guest language can hold exactly. That is some 285,000 years.
const FARTHEST: i64 = (1 << 53) - 1;

/// Milliseconds since 1970 of an event time written as text.
///
/// # Errors
/// Says what the text should have looked like.
pub(crate) fn parse(text: &str, format: TimestampFormat) -> Result<i64, String> {
    let parsed = match format {
        TimestampFormat::Rfc3339 => utc(text.as_bytes()).or_else(|| any_rfc3339(text)),
        TimestampFormat::Millis => text.parse().ok(),
        TimestampFormat::Seconds => seconds(text),
    };
    parsed.filter(|&t| is_near(t)).ok_or_else(|| {
        let wanted = match format {
            TimestampFormat::Rfc3339 => "an RFC 3339 time like 2013-01-01T10:00:00Z",
            TimestampFormat::Millis => "a whole number of milliseconds since 1970",
            TimestampFormat::Seconds => "a number of seconds since 1970",
        };
        format!("`{}` is not {wanted}", shorten(text))
    })
}

/// Whether every language can hold this time.
fn is_near(millis: i64) -> bool {
    (-FARTHEST..=FARTHEST).contains(&millis)
}

/// The common form `2013-01-01T10:00:00Z`, several times faster than the full grammar.
fn utc(text: &[u8]) -> Option<i64> {
    let text: &[u8; 20] = text.try_into().ok()?;
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')];
    if separators.iter().any(|&(i, c)| text[i] != c) {
        return None;
    }
    let two = |i: usize| -> Option<i64> {
        let (tens, ones) = (text[i].wrapping_sub(b'0'), text[i + 1].wrapping_sub(b'0'));
        (tens < 10 && ones < 10).then(|| i64::from(tens) * 10 + i64::from(ones))
    };
    let year = two(0)? * 100 + two(2)?;
    let (month, day, hour, minute, second) = (two(5)?, two(8)?, two(11)?, two(14)?, two(17)?);
    // Days that only some months have, and leap seconds, are left to the full parser.
    let plain = (1..=12).contains(&month) && (1..=28).contains(&day);
    if !plain || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some((((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; years begin in
/// March, so that the leap day is the last. (Hinnant, "chrono-compatible
/// low-level date algorithms", `days_from_civil`.)
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn any_rfc3339(text: &str) -> Option<i64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(time.as_nanosecond().div_euclid(1_000_000)).ok()
}

fn seconds(text: &str) -> Option<i64> {
    match text.parse::<i64>() {
        Ok(whole) => whole.checked_mul(1000),
        Err(_) => rounded_millis(text.parse().ok()?),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn rounded_millis(seconds: f64) -> Option<i64> {
    let millis = (seconds * 1000.0).round();
    (millis.abs() <= FARTHEST as f64).then_some(millis as i64)
}

/// The beginning of a text, for a message.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_format_is_read_to_the_millisecond() {
        let rfc = |t| parse(t, TimestampFormat::Rfc3339);
        assert_eq!(rfc("1970-01-01T00:00:00Z"), Ok(0));
        assert_eq!(rfc("2013-01-01T10:00:00Z"), Ok(1_357_034_400_000));
        assert_eq!(rfc("2013-01-01T11:00:00.25+01:00"), Ok(1_357_034_400_250));
        assert_eq!(rfc("2012-02-29T00:00:00Z"), Ok(1_330_473_600_000));
        assert_eq!(rfc("1969-12-31T23:59:59.9995Z"), Ok(-1));
        assert_eq!(parse("-7", TimestampFormat::Millis), Ok(-7));
        assert_eq!(parse("12", TimestampFormat::Seconds), Ok(12_000));
        assert_eq!(parse("1357034400.1234", TimestampFormat::Seconds), Ok(1_357_034_400_123));
    }

    #[test]
    fn what_is_not_a_time_is_refused_with_an_example() {
        for text in ["", "2013-13-01T10:00:00Z", "2013-02-30T10:00:00Z", "2013-01-01", "10:00"] {
            let error = parse(text, TimestampFormat::Rfc3339).unwrap_err();
            assert!(error.contains("2013-01-01T10:00:00Z"), "{error}");
        }
        assert!(parse("1.5", TimestampFormat::Millis).is_err());
        assert!(parse("nan", TimestampFormat::Seconds).is_err());
        assert!(parse("1e300", TimestampFormat::Seconds).is_err());
    }

    #[test]
    fn times_that_some_guest_could_not_hold_are_refused() {
        assert_eq!(parse("9007199254740991", TimestampFormat::Millis), Ok(FARTHEST));
        assert!(parse("9007199254740992", TimestampFormat::Millis).is_err());
        assert!(parse("9223372036854775807", TimestampFormat::Seconds).is_err());
    }

    proptest! {
        #[test]
        fn the_fast_path_agrees_with_the_full_grammar(second in -62_167_219_200_i64..253_402_207_200) {
            let text = jiff::Timestamp::from_second(second).unwrap().to_string();
            if let Some(fast) = utc(text.as_bytes()) {
                prop_assert_eq!(fast, second * 1000);
            }
            prop_assert_eq!(parse(&text, TimestampFormat::Rfc3339), Ok(second * 1000));
        }
    }
}
