//! The variables of the environment that OpenTelemetry gives the same meaning in every program, as
//! settings of `[traces]`. They hold where neither the file nor a variable of ours says something.

use std::collections::BTreeMap;

use super::{node::Override, traces::PATH};

/// A variable, the key that it sets, and how its value is written there.
type Row = (&'static str, &'static str, fn(&str) -> String);

/// The more special ones last, since they go before the others.
const ROWS: &[Row] = &[
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "endpoint", |base| {
        text(&format!("{}{PATH}", base.trim_end_matches('/')))
    }),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "endpoint", text),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "protocol", text),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "protocol", text),
    ("OTEL_EXPORTER_OTLP_HEADERS", "headers", text),
    ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "headers", text),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca", text),
    ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "ca", text),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "timeout", millis),
    ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "timeout", millis),
    ("OTEL_RESOURCE_ATTRIBUTES", "resource", text),
    ("OTEL_SERVICE_NAME", "service_name", text),
    ("OTEL_BSP_SCHEDULE_DELAY", "schedule_delay", millis),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "max_queue", str::to_owned),
];
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";

/// As TOML has it.
fn text(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

fn millis(value: &str) -> String {
    format!("\"{value}ms\"")
}

/// What those among some variables say; nothing if they say that nothing is to be traced.
pub(super) fn settings(variables: &[(String, String)]) -> Vec<Override> {
    // An empty one is as none, as the specification has it.
    let given: BTreeMap<&str, &str> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.trim()))
        .filter(|(name, value)| name.starts_with("OTEL_") && !value.is_empty())
        .collect();
    let is = |name: &str, wanted: &str| {
        given.get(name).is_some_and(|value| value.eq_ignore_ascii_case(wanted))
    };
    if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return Vec::new();
    }
    let set = |name: &str, value: &str, key: &str| {
        Override::of_variable(name, value, ["traces", key]).unless_in_file()
    };
    let rows = ROWS
        .iter()
        .filter_map(|(name, key, form)| given.get(name).map(|value| set(name, &form(value), key)));
    let mut found: Vec<Override> = rows.collect();
    if let Some((name, ratio)) = sampler(&given) {
        found.push(set(name, ratio, "sample_ratio"));
    }
    found
}

/// Which part of the batches is sampled. The argument is taken without a sampler, too.
fn sampler<'a>(given: &BTreeMap<&str, &'a str>) -> Option<(&'static str, &'a str)> {
    let ratio = given.get(SAMPLER_ARG).map(|ratio| (SAMPLER_ARG, *ratio));
    let Some(named) = given.get(SAMPLER) else { return ratio };
    match named.strip_prefix("parentbased_").unwrap_or(named) {
        "always_on" => Some((SAMPLER, "1.0")),
        "always_off" => Some((SAMPLER, "0.0")),
        "traceidratio" => Some(ratio.unwrap_or((SAMPLER, "1.0"))),
        // What others do is not done here.
        _ => None,
    }
}
