//! Sums of usage records, as rows that are printed, exported or billed.

use std::{collections::BTreeMap, io};

use clap::ValueEnum;
use serde::Serialize;

use super::{Consumption, UsageRecord};
use crate::{
    config::units::parse_duration,
    ids::{JobName, OperatorName, TenantId},
};

/// What makes a row. A tenant's usage is never mixed with another's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// The tenant
    #[default]
    Tenant,
    /// The tenant and the job
    Job,
    /// The tenant, the job, and the operator, source or sink
    Operator,
    /// The tenant and the hour (UTC)
    Hour,
    /// The tenant and the day (UTC)
    Day,
}

impl By {
    /// The columns that say what a row is about.
    #[must_use]
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Tenant => &["tenant"],
            Self::Job => &["tenant", "job"],
            Self::Operator => &["tenant", "job", "operator"],
            Self::Hour => &["tenant", "hour"],
            Self::Day => &["tenant", "day"],
        }
    }
}

/// Which records count: those that begin at `since` or later, and before `until`; of
/// one tenant or of all. Milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Whose.
    pub tenant: Option<TenantId>,
    /// From when on.
    pub since: Option<i64>,
    /// Until when.
    pub until: Option<i64>,
}

impl Filter {
    fn takes(&self, record: &UsageRecord) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| *tenant == record.tenant)
            && self.since.is_none_or(|since| record.start >= since)
            && self.until.is_none_or(|until| record.start < until)
    }
}

/// What a row is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Key {
    /// Whose.
    pub tenant: TenantId,
    /// The job; none if rows are not by job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobName>,
    /// The operator; none if rows are not by operator, and for what belongs to the job
    /// as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorName>,
    /// When the hour or day began: `2026-11-21T17:00:00Z`, `2026-11-21`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<String>,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What about.
    pub key: Key,
    /// How much.
    pub consumed: Consumption,
}

/// Adds records up.
#[must_use]
pub fn summarise<'a>(
    records: impl IntoIterator<Item = &'a UsageRecord>,
    filter: &Filter,
    by: By,
) -> Vec<Row> {
    let mut rows: BTreeMap<Key, Consumption> = BTreeMap::new();
    for record in records.into_iter().filter(|record| filter.takes(record)) {
        rows.entry(key(record, by)).or_default().add(&record.consumed);
    }
    rows.into_iter().map(|(key, consumed)| Row { key, consumed }).collect()
}

fn key(record: &UsageRecord, by: By) -> Key {
    let job = matches!(by, By::Job | By::Operator).then(|| record.job.clone());
    let operator = record.operator.clone().filter(|_| by == By::Operator);
    let format = match by {
        By::Hour => Some("%Y-%m-%dT%H:00:00Z"),
        By::Day => Some("%Y-%m-%d"),
        By::Tenant | By::Job | By::Operator => None,
    };
    let start = jiff::Timestamp::from_millisecond(record.start).unwrap_or_default();
    let period = format.map(|format| start.strftime(format).to_string());
    Key { tenant: record.tenant.clone(), job, operator, period }
}

/// Nanoseconds as seconds, exactly: `1.500000000`.
#[must_use]
pub fn exact_seconds(nanos: u64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

/// The columns of what was consumed.
const COLUMNS: [&str; 8] = [
    "cpu_seconds",
    "fuel",
    "memory_byte_seconds",
    "records_in",
    "records_out",
    "bytes_in",
    "bytes_out",
    "checkpoint_bytes",
];

/// Writes rows as CSV, with a header: what they are about, then what was consumed.
///
/// # Errors
/// If it cannot be written.
pub fn write_csv(rows: &[Row], by: By, out: impl io::Write) -> io::Result<()> {
    let about = by.columns();
    let mut out = csv::Writer::from_writer(out);
    out.write_record(about.iter().chain(&COLUMNS))?;
    for Row { key, consumed } in rows {
        let operator = || key.operator.as_ref().map_or("", OperatorName::as_str).to_owned();
        let job = || key.job.as_ref().map_or("", JobName::as_str).to_owned();
        let mut fields = vec![key.tenant.to_string()];
        match by {
            By::Tenant => {}
            By::Job => fields.push(job()),
            By::Operator => fields.extend([job(), operator()]),
            By::Hour | By::Day => fields.push(key.period.clone().unwrap_or_default()),
        }
        fields.push(exact_seconds(consumed.cpu_nanos));
        let numbers = [
            consumed.fuel,
            consumed.memory_byte_seconds,
            consumed.records_in,
            consumed.records_out,
            consumed.bytes_in,
            consumed.bytes_out,
            consumed.checkpoint_bytes,
        ];
        fields.extend(numbers.map(|number| number.to_string()));
        out.write_record(fields)?;
    }
    out.flush()
}

/// Rows as JSON: a list of objects, with the columns of the CSV as their fields.
#[must_use]
pub fn to_json(rows: &[Row], by: By) -> serde_json::Value {
    #[derive(Serialize)]
    struct Shown<'a> {
        tenant: &'a TenantId,
        #[serde(skip_serializing_if = "Option::is_none")]
        job: Option<&'a JobName>,
        #[serde(skip_serializing_if = "Option::is_none")]
        operator: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        hour: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        day: Option<&'a str>,
        cpu_seconds: f64,
        fuel: u64,
        memory_byte_seconds: u64,
        records_in: u64,
        records_out: u64,
        bytes_in: u64,
        bytes_out: u64,
        checkpoint_bytes: u64,
    }
    let shown = rows.iter().map(|Row { key, consumed }| Shown {
        tenant: &key.tenant,
        job: key.job.as_ref(),
        operator: (by == By::Operator)
            .then(|| key.operator.as_ref().map_or("", OperatorName::as_str)),
        hour: key.period.as_deref().filter(|_| by == By::Hour),
        day: key.period.as_deref().filter(|_| by == By::Day),
        #[expect(clippy::cast_precision_loss, reason = "exact for a hundred days of a core")]
        cpu_seconds: consumed.cpu_nanos as f64 / 1e9,
        fuel: consumed.fuel,
        memory_byte_seconds: consumed.memory_byte_seconds,
        records_in: consumed.records_in,
        records_out: consumed.records_out,
        bytes_in: consumed.bytes_in,
        bytes_out: consumed.bytes_out,
        checkpoint_bytes: consumed.checkpoint_bytes,
    });
    shown.map(|row| serde_json::to_value(row).unwrap_or_default()).collect()
}

/// Reads a moment: a time with an offset (`2026-11-21T17:00:00Z`), a date (its first
/// moment, in UTC), or how long ago (`24h`). `now` and the answer are in milliseconds
/// since 1970.
///
/// # Errors
/// Reads on after "the value ".
pub fn parse_moment(text: &str, now: i64) -> Result<i64, String> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.as_millisecond());
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>()
        && let Ok(time) = date.to_zoned(jiff::tz::TimeZone::UTC)
    {
        return Ok(time.timestamp().as_millisecond());
    }
    if let Ok(ago) = parse_duration(text) {
        return Ok(now.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)));
    }
    Err("must be a date (2026-11-21), a time with an offset (2026-11-21T17:00:00Z), or how long \
         ago (24h, 7d)"
        .to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;

    fn record(tenant: &str, job: &str, operator: Option<&str>, start: i64) -> UsageRecord {
        let consumed = Consumption {
            cpu_nanos: 1_500_000_000,
            fuel: 5,
            memory_byte_seconds: 100,
            records_in: 3,
            records_out: 2,
            bytes_in: 30,
            bytes_out: 20,
            checkpoint_bytes: 7,
        };
        UsageRecord {
            tenant: TenantId::new(tenant).unwrap(),
            job: JobName::new(job).unwrap(),
            operator: operator.map(|name| OperatorName::new(name).unwrap()),
            start,
            end: start + 10_000,
            consumed,
        }
    }

    fn some() -> Vec<UsageRecord> {
        vec![
            record("acme", "a", Some("o"), 0),
            record("acme", "a", None, 1),
            record("acme", "b", Some("o"), HOUR),
            record("zeta", "a", Some("o"), 30 * HOUR),
        ]
    }

    fn csv(by: By, filter: &Filter) -> String {
        let mut out = Vec::new();
        write_csv(&summarise(&some(), filter, by), by, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_has_a_row_for_each_group() {
        let rest = "cpu_seconds,fuel,memory_byte_seconds,records_in,records_out,bytes_in,bytes_out,\
                    checkpoint_bytes\n";
        let (one, three) = ("1.500000000,5,100,3,2,30,20,7\n", "4.500000000,15,300,9,6,90,60,21\n");
        let all = Filter::default();
        assert_eq!(csv(By::Tenant, &all), format!("tenant,{rest}acme,{three}zeta,{one}"));
        assert_eq!(
            csv(By::Operator, &all),
            format!(
                "tenant,job,operator,{rest}acme,a,,{one}acme,a,o,{one}acme,b,o,{one}zeta,a,o,{one}"
            )
        );
        let zeta = Filter { tenant: TenantId::new("zeta").ok(), ..Filter::default() };
        assert_eq!(csv(By::Day, &zeta), format!("tenant,day,{rest}zeta,1970-01-02,{one}"));
        let hour = Filter { since: Some(HOUR), until: Some(2 * HOUR), ..Filter::default() };
        assert_eq!(
            csv(By::Hour, &hour),
            format!("tenant,hour,{rest}acme,1970-01-01T01:00:00Z,{one}")
        );
    }

    #[test]
    fn json_has_the_same_fields() {
        let rows = summarise(&some(), &Filter::default(), By::Operator);
        let json = to_json(&rows, By::Operator);
        assert_eq!(json[0]["operator"], "", "what belongs to the job as a whole");
        assert_eq!((&json[1]["cpu_seconds"], &json[1]["bytes_in"]), (&1.5.into(), &30.into()));
        let day = to_json(&summarise(&some(), &Filter::default(), By::Day), By::Day);
        let fields: Vec<&String> = day[0].as_object().unwrap().keys().collect();
        assert_eq!(fields[..2], ["tenant", "day"]);
        assert_eq!(fields[2..], COLUMNS);
    }

    #[test]
    fn moments_are_times_dates_or_so_long_ago() {
        let hour = jiff::Timestamp::from_millisecond(HOUR).unwrap().to_string();
        for (text, moment) in
            [(hour.as_str(), HOUR), ("1970-01-02", 24 * HOUR), ("2h", 8 * HOUR), ("0s", 10 * HOUR)]
        {
            assert_eq!(parse_moment(text, 10 * HOUR), Ok(moment), "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "5"] {
            assert!(parse_moment(text, 0).unwrap_err().contains("24h"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn however_rows_are_made_they_have_the_same_sum(
            starts in prop::collection::vec((0_i64..100 * HOUR, 0_usize..4), 0..40),
            border in 0_i64..100 * HOUR,
        ) {
            let records: Vec<UsageRecord> = starts.iter()
                .map(|(start, i)| UsageRecord { start: *start, ..some()[*i].clone() })
                .collect();
            let sum = |filter: &Filter, by| {
                let mut sum = Consumption::default();
                summarise(&records, filter, by).iter().for_each(|row| sum.add(&row.consumed));
                sum
            };
            let all = sum(&Filter::default(), By::Tenant);
            prop_assert_eq!(all.records_in, 3 * records.len() as u64);
            for by in [By::Job, By::Operator, By::Hour, By::Day] {
                prop_assert_eq!(sum(&Filter::default(), by), all);
            }
            // Two periods side by side share nothing and leave nothing out.
            let mut parts = sum(&Filter { until: Some(border), ..Filter::default() }, By::Hour);
            parts.add(&sum(&Filter { since: Some(border), ..Filter::default() }, By::Day));
            prop_assert_eq!(parts, all);
        }
    }
}
