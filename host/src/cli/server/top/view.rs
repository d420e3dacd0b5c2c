//! Jobs as a table that fits a terminal, sorted as wanted.

use std::cmp::Ordering;

use super::{super::top_args::Sort, sample::Row};
use crate::cli::human::{self, table};

/// How much of an identifier is shown: enough to name a job.
const SHORT: usize = 8;
/// How much of a name is shown, in characters.
const LONGEST_NAME: usize = 24;

/// What comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) by: Sort,
    pub(super) reversed: bool,
}

impl Order {
    /// The order after a key was pressed; the same one if the key means none.
    pub(super) fn after(self, key: char) -> Self {
        let by = match key {
            'n' => Sort::Name,
            't' => Sort::Tenant,
            's' => Sort::State,
            'i' => Sort::In,
            'o' => Sort::Out,
            'b' => Sort::Busy,
            'p' => Sort::Backpressured,
            'c' => Sort::Cpu,
            'm' => Sort::Memory,
            'r' => Sort::Restarts,
            _ => return self,
        };
        Self { by, reversed: by == self.by && !self.reversed }
    }

    pub(super) fn sort(self, rows: &mut [Row]) {
        let text = |a: &str, b: &str| a.cmp(b);
        // The most comes first.
        let number = |a: f64, b: f64| b.total_cmp(&a);
        let known = |a: Option<f64>, b: Option<f64>| number(a.unwrap_or(-1.0), b.unwrap_or(-1.0));
        let compare = |a: &Row, b: &Row| -> Ordering {
            match self.by {
                Sort::Name => text(&a.name, &b.name),
                Sort::Tenant => text(&a.tenant, &b.tenant),
                Sort::State => text(&a.state, &b.state),
                Sort::In => known(a.records_in_per_second, b.records_in_per_second),
                Sort::Out => known(a.records_out_per_second, b.records_out_per_second),
                Sort::Busy => number(a.busy, b.busy),
                Sort::Backpressured => number(a.backpressured, b.backpressured),
                Sort::Cpu => known(a.cpu, b.cpu),
                Sort::Memory => number(a.memory_bytes, b.memory_bytes),
                Sort::Restarts => number(a.restarts, b.restarts),
            }
        };
        rows.sort_by(|a, b| {
            let order = compare(a, b);
            let order = if self.reversed { order.reverse() } else { order };
            // What is the same stays where it was from one look to the next.
            order.then_with(|| a.name.cmp(&b.name)).then_with(|| a.id.cmp(&b.id))
        });
    }
}

/// A column: what it is called, what sorts by it, and how soon it is left out where there is no room
/// for all (0: never).
type Column = (&'static str, Option<Sort>, u8);

const COLUMNS: [Column; 14] = [
    ("JOB", None, 3),
    ("NAME", Some(Sort::Name), 0),
    ("TENANT", Some(Sort::Tenant), 5),
    ("STATE", Some(Sort::State), 0),
    ("UP", None, 4),
    ("IN/s", Some(Sort::In), 0),
    ("OUT/s", Some(Sort::Out), 0),
    ("BUSY", Some(Sort::Busy), 0),
    ("HELD", Some(Sort::Backpressured), 0),
    ("CPU", Some(Sort::Cpu), 0),
    ("MEMORY", Some(Sort::Memory), 0),
    ("RESTARTS", Some(Sort::Restarts), 6),
    ("CHECKPOINTS", None, 2),
    ("LAST TOOK", None, 1),
];
/// How many of them hold text, which begins at the left.
const TEXTS: usize = 4;

/// Rows as a table, with its header, of those columns for which there is room. The one that they
/// are sorted by is marked, and stays.
pub(super) fn jobs(rows: &[Row], order: Order, width: usize) -> String {
    let mark = if order.reversed { '▲' } else { '▼' };
    let header = COLUMNS.map(|(name, sort, _)| match sort {
        Some(sort) if sort == order.by => format!("{name}{mark}"),
        _ => name.to_owned(),
    });
    let cells: Vec<[String; 14]> = rows.iter().map(cells).collect();
    let last = COLUMNS.iter().map(|(_, _, leaves)| *leaves).max().unwrap_or(0);
    let mut shown = String::new();
    for left_out in 0..=last {
        let stays = |i: &usize| {
            let (_, sort, leaves) = COLUMNS[*i];
            leaves == 0 || leaves > left_out || sort == Some(order.by)
        };
        let kept: Vec<usize> = (0..COLUMNS.len()).filter(stays).collect();
        let names: Vec<&str> = kept.iter().map(|i| header[*i].as_str()).collect();
        let pick = |row: &[String; 14]| kept.iter().map(|i| row[*i].clone()).collect();
        let rows: Vec<Vec<String>> = cells.iter().map(pick).collect();
        shown = table(&names, &rows, kept.iter().filter(|i| **i < TEXTS).count());
        if shown.lines().all(|line| line.chars().count() <= width) {
            break;
        }
    }
    shown
}

fn cells(row: &Row) -> [String; 14] {
    let none = || "-".to_owned();
    let number = |value: Option<f64>| value.map_or_else(none, human::count);
    let share = |part: f64| format!("{:.0}%", part * 100.0);
    let took = |seconds: Option<f64>| seconds.map_or_else(none, |s| human::millis(whole(s * 1e3)));
    let lives = row.uptime_seconds.is_some();
    let of = |value: String| if lives { value } else { none() };
    [
        row.id.chars().take(SHORT).collect(),
        short(&row.name),
        short(&row.tenant),
        row.state.clone(),
        took(row.uptime_seconds),
        number(row.records_in_per_second),
        number(row.records_out_per_second),
        of(share(row.busy)),
        of(share(row.backpressured)),
        row.cpu.map_or_else(none, share),
        of(human::bytes(row.memory_bytes)),
        of(human::count(row.restarts)),
        of(human::count(row.checkpoints_completed)),
        took(row.last_checkpoint_seconds),
    ]
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
fn whole(n: f64) -> u64 {
    n as u64
}

fn short(name: &str) -> String {
    match name.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// The first characters of a line, as many as there is room for.
pub(super) fn cut(line: &str, width: usize) -> &str {
    line.char_indices().nth(width).map_or(line, |(end, _)| &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, name: &str, rate: Option<f64>, memory: f64) -> Row {
        Row {
            id: id.to_owned(),
            name: name.to_owned(),
            tenant: "acme".to_owned(),
            state: "running".to_owned(),
            uptime_seconds: rate.map(|_| 5.0),
            records_in_per_second: rate,
            memory_bytes: memory,
            ..Row::default()
        }
    }

    #[test]
    fn the_most_comes_first_and_the_same_key_again_turns_it_round() {
        let mut rows = [
            row("1", "b", Some(5.0), 1.0),
            row("2", "a", None, 3.0),
            row("3", "c", Some(9.0), 2.0),
        ];
        let mut order = Order { by: Sort::In, reversed: false };
        let mut names = |order: Order| {
            order.sort(&mut rows);
            rows.iter().map(|row| row.name.as_str()).collect::<String>()
        };
        assert_eq!(names(order), "cba");
        order = order.after('i');
        assert_eq!(names(order), "abc");
        order = order.after('x');
        assert!(order.reversed, "no key of ours");
        order = order.after('m');
        assert_eq!((names(order), order.reversed), ("acb".to_owned(), false));
        assert_eq!(names(order.after('n')), "abc");
    }

    #[test]
    fn a_table_shows_what_is_not_known_as_that() {
        let rows = [
            row("0123456789", "flights", Some(1_234.0), 2_048.0),
            row("1", &"x".repeat(40), None, 0.0),
        ];
        let order = Order { by: Sort::Memory, reversed: false };
        let shown = jobs(&rows, order, 200);
        let lines: Vec<Vec<&str>> = shown
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect())
            .collect();
        assert!(lines[0].contains(&"MEMORY▼"), "{shown}");
        assert_eq!(
            lines[1],
            [
                "01234567", "flights", "acme", "running", "5.0 s", "1.23 k", "-", "0%", "0%", "-",
                "2.00 KiB", "0", "0", "-"
            ]
        );
        assert_eq!(lines[2][1].chars().count(), 25);
        assert_eq!(lines[2][4..], ["-"; 10]);
        // What matters less goes first; what it is sorted by stays.
        for (width, has, has_not) in [
            (130, "CHECKPOINTS", "LAST TOOK"),
            (100, "RESTARTS", "JOB"),
            (20, "MEMORY", "RESTARTS"),
        ] {
            let header = jobs(&rows, order, width);
            let header = header.lines().next().unwrap();
            assert!(header.contains(has) && !header.contains(has_not), "{width}: {header}");
        }
        let by_restarts = jobs(&rows, order.after('r'), 20);
        assert!(by_restarts.contains("RESTARTS▼") && !by_restarts.contains("TENANT"));
        assert_eq!(cut("äbc", 2), "äb");
        assert_eq!(cut("äb", 9), "äb");
    }
}
