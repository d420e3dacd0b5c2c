//! Reads `tenants.toml`: a table `[tenant.NAME]` for each tenant.

use std::path::Path;

use super::{
    errors::{JobFileErrors, Place, Problems},
    node::{Entry, Node},
    read_operator::GRANTS,
    section::{self, Read, Refusal, Section},
    tenant::{
        DEFAULT_WEIGHT, LEAST_MEMORY, MOST_COUNT, MOST_WEIGHT, Quotas, TenantSpec, parse_byte_rate,
        parse_cap, parse_record_rate,
    },
};
use crate::ids::TenantId;

const MOST_SIZE: u64 = i64::MAX.unsigned_abs();

/// Reads the text of `tenants.toml`. `origin` is its path, for errors.
///
/// # Errors
/// All mistakes of the file, each with its line.
pub fn parse_tenants(text: &str, origin: &Path) -> Result<Vec<TenantSpec>, JobFileErrors> {
    let problems = Problems::default();
    let tenants = Node::parse_toml(text, &problems).and_then(|root| read(root, &problems));
    match tenants {
        Some(tenants) if problems.is_empty() => Ok(tenants),
        _ => Err(problems.into_errors(text, origin, &[])),
    }
}

fn read(root: Node, problems: &Problems) -> Option<Vec<TenantSpec>> {
    let mut file = Section::new("the file of tenants", root, problems)?;
    let named = match file.take("tenant") {
        Some(entry) => Section::new("[tenant]", entry.node, problems),
        None => None,
    };
    file.finish();
    let entries = named.map(|mut named| named.take_rest()).unwrap_or_default();
    Some(entries.into_iter().filter_map(|entry| read_tenant(entry, problems)).collect())
}

fn read_tenant(entry: Entry, problems: &Problems) -> Option<TenantSpec> {
    let name = tenant_name(&entry.key, &entry.key_place, problems);
    let mut section = Section::new(&format!("[tenant.{}]", entry.key), entry.node, problems)?;
    let count = || section::integer(0..=MOST_COUNT);
    let quotas = Quotas {
        slots: section.get("slots", count()),
        memory: section.get("memory", section::memory_size(LEAST_MEMORY..=MOST_SIZE)),
        state: section.get("state", section::memory_size(0..=MOST_SIZE)),
        jobs: section.get("jobs", count()),
        artifacts: section.get("artifacts", count()),
        artifact_bytes: section.get("artifact_bytes", section::size(0..=MOST_SIZE)),
        disk: section.get("disk", section::size(0..=MOST_SIZE)),
        cpu_weight: section
            .get("cpu_weight", section::integer(1..=MOST_WEIGHT))
            .unwrap_or(DEFAULT_WEIGHT),
        cpu_cap: section.get("cpu_cap", |node| read_text(node, parse_cap)),
        ingest_records: section.get("ingest_records", |node| read_text(node, parse_record_rate)),
        ingest_bytes: section.get("ingest_bytes", |node| read_text(node, parse_byte_rate)),
    };
    let grants = section.get("grants", section::list(section::one_of(GRANTS)));
    let require_signatures = section.get("require_signatures", section::boolean).unwrap_or(false);
    section.finish();
    Some(TenantSpec { name: name?, quotas, grants, require_signatures })
}

fn tenant_name(name: &str, place: &Place, problems: &Problems) -> Option<TenantId> {
    TenantId::new(name)
        .map_err(|bad| {
            let message = format!("`{}` cannot name a tenant: {}", bad.name, bad.reason);
            problems.add(place, message, None);
        })
        .ok()
}

/// A value that is written as text.
fn read_text<T>(node: &Node, parse: fn(&str) -> Result<T, String>) -> Read<T> {
    let text = section::text(node);
    let read = text.ok().and_then(|text| parse(&text).ok());
    read.ok_or_else(|| {
        // What it must be stands in every refusal of the reader.
        let must = parse("").err().unwrap_or_default();
        Refusal::new(format!("{must}, not {}", node.describe()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::job::{CpuShare, Grant};

    fn errors(text: &str) -> String {
        parse_tenants(text, Path::new("tenants.toml")).unwrap_err().to_string()
    }

    #[test]
    fn a_file_says_all_that_a_tenant_may_use() {
        let text = r#"
[tenant.acme]
slots = 4
memory = "2GiB"
state = "500MiB"
jobs = 2
artifacts = 20
artifact_bytes = "64MiB"
disk = "10GiB"
cpu_weight = 300
cpu_cap = "150%"
ingest_records = "1000/s"
ingest_bytes = "1MiB/s"
grants = ["wasi-clocks"]
require_signatures = true

[tenant.default]
"#;
        let tenants = parse_tenants(text, Path::new("t")).unwrap();
        let quotas = Quotas {
            slots: Some(4),
            memory: Some(2 << 30),
            state: Some(500 << 20),
            jobs: Some(2),
            artifacts: Some(20),
            artifact_bytes: Some(64 << 20),
            disk: Some(10 << 30),
            cpu_weight: 300,
            cpu_cap: Some(CpuShare(1_500)),
            ingest_records: Some(1_000),
            ingest_bytes: Some(1 << 20),
        };
        let name = TenantId::new("acme").unwrap();
        let grants = Some(vec![Grant::WasiClocks]);
        let acme = TenantSpec { name, quotas, grants, require_signatures: true };
        assert_eq!(tenants, [acme, TenantSpec::new(TenantId::default())]);
        assert_eq!(parse_tenants("", Path::new("t")), Ok(Vec::new()));
    }

    #[test]
    fn mistakes_have_their_line_and_a_suggestion() {
        let shown = errors("[tenant.acme]\nslot = 4\nmemory = '2GB'\n");
        for part in ["unknown key `slot` in [tenant.acme]", "tenants.toml:2:1", "`slots`?"] {
            assert!(shown.contains(part), "`{part}` is not in:\n{shown}");
        }
        for (text, part) in [
            ("[tenants.acme]", "did you mean `tenant`?"),
            ("[tenant.'a b']", "`a b` cannot name a tenant"),
            ("[tenant.a]\ncpu_cap = 50", "must be a percentage of one core"),
            ("[tenant.a]\ncpu_cap = '200000%'", "not \"200000%\""),
            ("[tenant.a]\ningest_records = '10'", "such as 1000/s"),
            ("[tenant.a]\ningest_bytes = '10 MB'", "such as 10MiB/s"),
            ("[tenant.a]\ncpu_weight = 0", "from 1 to 10000, not 0"),
            ("[tenant.a]\nmemory = '1KiB'", "`memory` must be at least 65536 bytes"),
            ("[tenant.a]\ngrants = ['wasi-clock']", "did you mean `wasi-clocks`?"),
            ("[tenant.a]\nslots = -1", "from 0 to 1000000, not -1"),
            ("[tenant.a]\nslots = 1\n[tenant.a]\nslots = 2", "not TOML"),
            ("tenant = 3", "[tenant] must be a table, not 3"),
        ] {
            let shown = errors(text);
            assert!(shown.contains(part), "`{part}` is not in:\n{shown}");
        }
    }
}
