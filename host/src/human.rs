//! Numbers, sizes, durations and times as people like to read them.

/// Four figures at most: `999`, `27.0 k`, `1.25 M`.
pub(crate) fn count(n: f64) -> String {
    scaled(n, 1_000.0, &["", " k", " M", " G", " T"])
}

/// `512 B`, `64.0 KiB`, `1.50 MiB`.
pub(crate) fn bytes(n: f64) -> String {
    scaled(n, 1_024.0, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

fn scaled(n: f64, base: f64, units: &[&str]) -> String {
    let mut n = n.max(0.0);
    let mut unit = 0;
    // What would be rounded up to the base belongs to the next unit.
    while n >= base - 0.5 && unit + 1 < units.len() {
        n /= base;
        unit += 1;
    }
    let unit = units[unit];
    match n {
        n if unit == units[0] || n >= 99.95 => format!("{n:.0}{unit}"),
        n if n >= 9.995 => format!("{n:.1}{unit}"),
        n => format!("{n:.2}{unit}"),
    }
}

/// A count with separators: `336,776`.
pub(crate) fn exact(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `40 ms`, `1.2 s`, `3 m 05 s`, `2 h 00 m`, `12 d 03 h`.
pub(crate) fn millis(n: u64) -> String {
    let seconds = n / 1_000;
    match n {
        0..1_000 => format!("{n} ms"),
        1_000..10_000 => format!("{}.{} s", seconds, n % 1_000 / 100),
        10_000..60_000 => format!("{seconds} s"),
        60_000..3_600_000 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        3_600_000..86_400_000 => format!("{} h {:02} m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// `800 µs`, `1.2 ms`, and then as [`millis`].
pub(super) fn micros(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} µs"),
        1_000..10_000 => format!("{}.{} ms", n / 1_000, n % 1_000 / 100),
        n => millis(n / 1_000),
    }
}

/// `2013-01-05 10:00:00`, in UTC.
pub(crate) fn time(millis: i64) -> String {
    match jiff::Timestamp::from_millisecond(millis) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        // The last watermark of all, which says that the input has ended.
        Err(_) if millis > 0 => "end of input".to_owned(),
        Err(_) => "-".to_owned(),
    }
}

/// Text from elsewhere without what a terminal would obey, but with its lines.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// Columns below each other; from number `left` on they are set to the right.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>], left: usize) -> String {
    let width = |i: usize| {
        let cells = rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count());
        cells.chain([header[i].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(i, (cell, width))| {
            if i < left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut out = line(header.to_vec());
    for row in rows {
        out.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_figures() {
        for (n, want) in [
            (0.0, "0"),
            (999.4, "999"),
            (999.5, "1.00 k"),
            (27_004.0, "27.0 k"),
            (336_776.0, "337 k"),
            (1_249_999.0, "1.25 M"),
            (-1.0, "0"),
        ] {
            assert_eq!(count(n), want);
        }
        assert_eq!(bytes(65_536.0), "64.0 KiB");
        assert_eq!(bytes(1_023.9), "1.00 KiB");
        assert_eq!(bytes(1_572_864.0), "1.50 MiB");
        assert_eq!(exact(336_776), "336,776");
        assert_eq!(exact(12), "12");
        assert_eq!(exact(1_000_000), "1,000,000");
    }

    #[test]
    fn durations_and_times_are_short() {
        for (n, want) in [
            (40, "40 ms"),
            (1_290, "1.2 s"),
            (59_999, "59 s"),
            (185_000, "3 m 05 s"),
            (7_200_000, "2 h 00 m"),
            (1_047_600_000, "12 d 03 h"),
        ] {
            assert_eq!(millis(n), want);
        }
        assert_eq!(time(1_357_380_000_000), "2013-01-05 10:00:00");
        assert_eq!(time(i64::MAX), "end of input");
        assert_eq!(time(i64::MIN), "-");
    }
}
