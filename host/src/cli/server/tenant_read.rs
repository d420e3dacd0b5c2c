//! What a server says of tenants and of what they have used, read into what this program has for
//! it, so that both are shown in one way. Members that are not known are left alone.

use serde_json::Value;

use crate::{
    config::{
        job::{CpuShare, Grant},
        tenant::{DEFAULT_WEIGHT, Quotas, TenantSpec},
    },
    ids::{JobName, OperatorName, TenantId},
    tenancy::usage::{
        Consumption,
        summary::{By, Key, Row},
    },
};

/// A tenant; none if it is none.
pub(super) fn tenant_of(json: &Value) -> Option<TenantSpec> {
    let count = |key: &str| json[key].as_u64().and_then(|n| u32::try_from(n).ok());
    let size = |key: &str| json[key].as_u64().and_then(|n| usize::try_from(n).ok());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it saturates, and a share is at most 100,000"
    )]
    let cap = json["cpu_cap_percent"].as_f64().map(|percent| CpuShare((percent * 10.0) as u32));
    let grants = json["grants"].as_array();
    Some(TenantSpec {
        name: TenantId::new(json["name"].as_str()?).ok()?,
        quotas: Quotas {
            slots: count("slots"),
            memory: size("memory"),
            state: size("state"),
            jobs: count("jobs"),
            artifacts: count("artifacts"),
            artifact_bytes: json["artifact_bytes"].as_u64(),
            disk: json["disk"].as_u64(),
            cpu_weight: count("cpu_weight").unwrap_or(DEFAULT_WEIGHT),
            cpu_cap: cap,
            ingest_records: json["ingest_records"].as_u64(),
            ingest_bytes: json["ingest_bytes"].as_u64(),
        },
        require_signatures: json["require_signatures"] == true,
        grants: grants
            .map(|all| all.iter().filter_map(|grant| Grant::named(grant.as_str()?).ok()).collect()),
    })
}

/// A row of usage; none if it is none.
pub(super) fn row_of(json: &Value, by: By) -> Option<Row> {
    let number = |key: &str| json[key].as_u64().unwrap_or(0);
    let text = |key: &str| json[key].as_str().filter(|text| !text.is_empty());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it saturates, and nobody has used less than nothing"
    )]
    let cpu_nanos = (json["cpu_seconds"].as_f64().unwrap_or(0.0) * 1e9).round() as u64;
    let period = match by {
        By::Hour => text("hour"),
        By::Day => text("day"),
        By::Tenant | By::Job | By::Operator => None,
    };
    Some(Row {
        key: Key {
            tenant: TenantId::new(text("tenant")?).ok()?,
            job: text("job").and_then(|name| JobName::new(name).ok()),
            operator: text("operator").and_then(|name| OperatorName::new(name).ok()),
            period: period.map(str::to_owned),
        },
        consumed: Consumption {
            cpu_nanos,
            fuel: number("fuel"),
            memory_byte_seconds: number("memory_byte_seconds"),
            records_in: number("records_in"),
            records_out: number("records_out"),
            bytes_in: number("bytes_in"),
            bytes_out: number("bytes_out"),
            checkpoint_bytes: number("checkpoint_bytes"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{service::quotas::TenantView, tenancy::usage::summary::to_json};

    #[test]
    fn a_tenant_is_read_as_it_was_written() {
        let mut tenant = TenantSpec::new(TenantId::new("acme").unwrap());
        tenant.quotas.slots = Some(4);
        tenant.quotas.memory = Some(3 << 29);
        tenant.quotas.cpu_cap = Some(CpuShare(1_500));
        tenant.quotas.ingest_bytes = Some(7);
        tenant.quotas.disk = Some(9);
        tenant.grants = Some(vec![Grant::WasiClocks]);
        tenant.require_signatures = true;
        let json = serde_json::to_value(TenantView::from(tenant.clone())).unwrap();
        assert_eq!(tenant_of(&json), Some(tenant));
        assert_eq!(tenant_of(&serde_json::json!({"name": "../x"})), None);
    }

    #[test]
    fn a_row_of_usage_is_read_as_it_was_written() {
        let row = Row {
            key: Key {
                tenant: TenantId::new("acme").unwrap(),
                job: None,
                operator: None,
                period: Some("2026-11-21".to_owned()),
            },
            consumed: Consumption { cpu_nanos: 1_500_000_001, records_in: 7, ..Default::default() },
        };
        let json = to_json(std::slice::from_ref(&row), By::Day);
        assert_eq!(row_of(&json[0], By::Day), Some(row));
    }
}
