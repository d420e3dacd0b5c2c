//! Tenants and what they have used, as text and as JSON.

use serde_json::{Map, Value, json};

use super::{human, tenant_args::Format};
use crate::{
    config::{
        job::Grant,
        tenant::{TenantSpec, show_byte_rate, show_record_rate},
        units::show_size,
    },
    ids::TenantId,
    tenancy::usage::{
        Consumption,
        summary::{By, Row, to_json, write_csv},
    },
};

/// Each quota of a tenant that has a limit: its key, and the limit as it is written.
fn quotas(tenant: &TenantSpec) -> Vec<(&'static str, Value)> {
    let q = &tenant.quotas;
    let size = |bytes: usize| Value::from(show_size(bytes as u64));
    let all = [
        ("slots", q.slots.map(Value::from)),
        ("memory", q.memory.map(size)),
        ("state", q.state.map(size)),
        ("jobs", q.jobs.map(Value::from)),
        ("artifacts", q.artifacts.map(Value::from)),
        ("artifact_bytes", q.artifact_bytes.map(show_size).map(Value::from)),
        ("disk", q.disk.map(show_size).map(Value::from)),
        ("cpu_weight", Some(Value::from(q.cpu_weight))),
        ("cpu_cap", q.cpu_cap.map(|cap| Value::from(cap.to_string()))),
        ("ingest_records", q.ingest_records.map(show_record_rate).map(Value::from)),
        ("ingest_bytes", q.ingest_bytes.map(show_byte_rate).map(Value::from)),
        ("require_signatures", tenant.require_signatures.then(|| Value::from("yes"))),
    ];
    all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn grants(tenant: &TenantSpec) -> String {
    match &tenant.grants {
        Some(grants) if !grants.is_empty() => {
            grants.iter().map(|grant| grant.word()).collect::<Vec<_>>().join(", ")
        }
        None if tenant.name == TenantId::default() => "whatever a job file says".to_owned(),
        _ => "only log, config, metrics".to_owned(),
    }
}

/// A tenant, a line for each quota.
pub(super) fn one(tenant: &TenantSpec) -> String {
    let mut lines = vec![format!("tenant {}", tenant.name)];
    let quotas = quotas(tenant);
    lines.extend(quotas.iter().map(|(key, value)| format!("  {key:<18} {}", plain(value))));
    lines.push(format!("  {:<18} {}", "grants", grants(tenant)));
    lines.join("\n") + "\n"
}

fn object(tenant: &TenantSpec) -> Value {
    let mut map = Map::new();
    map.insert("name".to_owned(), tenant.name.as_str().into());
    let q = &tenant.quotas;
    // For programs: numbers, in bytes and per second, and null where there is no limit.
    let numbers = json!({
        "slots": q.slots,
        "memory": q.memory,
        "state": q.state,
        "jobs": q.jobs,
        "artifacts": q.artifacts,
        "artifact_bytes": q.artifact_bytes,
        "disk": q.disk,
        "cpu_weight": q.cpu_weight,
        "cpu_cap_percent": q.cpu_cap.map(|cap| f64::from(cap.0) / 10.0),
        "ingest_records": q.ingest_records,
        "ingest_bytes": q.ingest_bytes,
        "grants": tenant.grants.as_ref().map(|all| all.iter().map(|g: &Grant| g.word()).collect::<Vec<_>>()),
        "require_signatures": tenant.require_signatures,
    });
    if let Value::Object(numbers) = numbers {
        map.extend(numbers);
    }
    Value::Object(map)
}

/// A tenant as an object.
pub(super) fn one_json(tenant: &TenantSpec) -> String {
    format!("{}\n", object(tenant))
}

/// Tenants as a list of objects.
pub(super) fn list_json<'a>(tenants: impl Iterator<Item = &'a TenantSpec>) -> String {
    format!("{}\n", Value::Array(tenants.map(object).collect()))
}

/// Tenants, a line for each.
pub(super) fn list<'a>(tenants: impl Iterator<Item = &'a TenantSpec>) -> String {
    let rows: Vec<Vec<String>> = tenants
        .map(|tenant| {
            let quotas = quotas(tenant);
            let shown: Vec<_> =
                quotas.iter().map(|(key, value)| format!("{key} {}", plain(value))).collect();
            vec![tenant.name.to_string(), shown.join(", "), grants(tenant)]
        })
        .collect();
    human::table(&["tenant", "quotas", "grants"], &rows, 3)
}

/// Rows of usage in one of the formats.
pub(super) fn usage(rows: &[Row], by: By, format: Format) -> String {
    match format {
        Format::Table => usage_table(rows, by),
        Format::Csv => {
            let mut out = Vec::new();
            // Into memory, where there is always room.
            let _ = write_csv(rows, by, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        }
        Format::Json => format!("{:#}\n", to_json(rows, by)),
    }
}

/// What tenants keep on a server's disk, a line for each, as the server says it.
pub(super) fn disks(all: &[Value]) -> String {
    let columns = ["used", "limit", "checkpoints", "savepoints", "posted"];
    let size = |value: &Value| {
        let none = || "no limit".to_owned();
        #[expect(clippy::cast_precision_loss, reason = "for people, three figures")]
        value.as_u64().map_or_else(none, |n| human::bytes(n as f64))
    };
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|disk| {
            let name = disk["tenant"].as_str().unwrap_or_default().to_owned();
            std::iter::once(name).chain(columns.map(|column| size(&disk[column]))).collect()
        })
        .collect();
    let header = ["on disk now", "used", "at most", "checkpoints", "savepoints", "posted"];
    human::table(&header, &rows, 1)
}

fn usage_table(rows: &[Row], by: By) -> String {
    let about = by.columns();
    let columns =
        ["cpu", "memory", "records in", "records out", "bytes in", "bytes out", "checkpoints"];
    let header: Vec<&str> = about.iter().copied().chain(columns).collect();
    let mut shown: Vec<Vec<String>> = rows
        .iter()
        .map(|Row { key, consumed }| {
            let mut fields = vec![key.tenant.to_string()];
            fields.extend(key.job.as_ref().map(ToString::to_string));
            if by == By::Operator {
                let job = || "(job)".to_owned();
                fields.push(key.operator.as_ref().map_or_else(job, ToString::to_string));
            }
            fields.extend(key.period.clone());
            fields.extend(figures(consumed));
            fields
        })
        .collect();
    if rows.len() > 1 {
        let mut sum = Consumption::default();
        rows.iter().for_each(|row| sum.add(&row.consumed));
        let mut fields = vec!["total".to_owned()];
        fields.resize(about.len(), String::new());
        fields.extend(figures(&sum));
        shown.push(fields);
    }
    human::table(&header, &shown, about.len())
}

fn figures(consumed: &Consumption) -> [String; 7] {
    #[expect(clippy::cast_precision_loss, reason = "for people, three figures")]
    let bytes = |n: u64| human::bytes(n as f64);
    [
        human::millis(consumed.cpu_nanos / 1_000_000),
        format!("{} s", bytes(consumed.memory_byte_seconds)),
        human::exact(consumed.records_in),
        human::exact(consumed.records_out),
        bytes(consumed.bytes_in),
        bytes(consumed.bytes_out),
        bytes(consumed.checkpoint_bytes),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::job::CpuShare, tenancy::usage::summary::Key};

    fn acme() -> TenantSpec {
        let mut tenant = TenantSpec::new(TenantId::new("acme").unwrap());
        tenant.quotas.slots = Some(4);
        tenant.quotas.memory = Some(3 << 29);
        tenant.quotas.cpu_cap = Some(CpuShare(1_500));
        tenant.grants = Some(vec![Grant::WasiClocks]);
        tenant
    }

    #[test]
    fn a_tenant_is_shown_as_it_is_written() {
        let shown = "tenant acme\n  slots              4\n  memory             1536MiB\n  \
                     cpu_weight         100\n  cpu_cap            150%\n  grants             wasi-clocks\n";
        assert_eq!(one(&acme()), shown);
        let default = TenantSpec::new(TenantId::default());
        let shown = list([&acme(), &default].into_iter());
        let lines: Vec<&str> = shown.lines().collect();
        let quotas = "slots 4, memory 1536MiB, cpu_weight 100, cpu_cap 150%";
        assert_eq!(lines[1], format!("acme     {quotas}  wasi-clocks"));
        assert!(lines[2].starts_with("default  cpu_weight 100 "), "{shown}");
        assert!(lines[2].ends_with("  whatever a job file says"), "{shown}");
    }

    #[test]
    fn a_tenant_as_json_has_numbers() {
        let json: Value = serde_json::from_str(&one_json(&acme())).unwrap();
        assert_eq!((&json["memory"], &json["state"]), (&(3 << 29).into(), &Value::Null));
        assert_eq!(
            (&json["cpu_cap_percent"], &json["grants"][0]),
            (&150.0.into(), &"wasi-clocks".into())
        );
    }

    #[test]
    fn a_table_of_usage_has_a_total_where_there_is_something_to_add() {
        let row = |tenant: &str| Row {
            key: Key {
                tenant: TenantId::new(tenant).unwrap(),
                job: None,
                operator: None,
                period: None,
            },
            consumed: Consumption {
                cpu_nanos: 1_500_000_000,
                records_in: 1_000,
                ..Default::default()
            },
        };
        let shown = usage(&[row("a"), row("b")], By::Tenant, Format::Table);
        let last = shown.lines().last().unwrap();
        assert!(last.starts_with("total   3.0 s") && last.contains("2,000"), "{shown}");
        let shown = usage(&[row("a")], By::Tenant, Format::Table);
        assert_eq!(shown.lines().count(), 2, "{shown}");
        assert!(usage(&[], By::Job, Format::Csv).starts_with("tenant,job,cpu_seconds"));
    }
}
