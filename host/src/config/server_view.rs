//! A server's configuration as it would be written: every key with what holds, for `cofferdam
//! config show`. A key that is not here does not compile.

use std::{fmt::Display, path::PathBuf, time::Duration};

use toml::Value;

use super::{
    server::{
        DiskLimits, LogFormat, LogSpec, PlaygroundLimits, RequestLimit, ServerSpec, TenantLimits,
        TlsFiles,
    },
    traces::TracesSpec,
    units::show_size,
};

/// A key and what holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The table that it stands in: `server`, `limits.tenants`.
    pub table: &'static str,
    /// The key.
    pub key: String,
    /// What holds; none if nothing does, or what is made of the machine.
    pub value: Option<Value>,
    /// What that means, if there is no value.
    pub otherwise: &'static str,
}

fn time(time: Duration) -> Value {
    let millis = time.as_millis();
    Value::from(if millis.is_multiple_of(1_000) {
        format!("{}s", millis / 1_000)
    } else {
        format!("{millis}ms")
    })
}

fn size(bytes: u64) -> Value {
    Value::from(show_size(bytes))
}

fn number<T: TryInto<i64>>(number: T) -> Value {
    Value::Integer(number.try_into().unwrap_or(i64::MAX))
}

fn text(value: &impl Display) -> Value {
    Value::from(value.to_string())
}

fn paths(paths: &[PathBuf]) -> Value {
    Value::Array(paths.iter().map(|path| text(&path.display())).collect())
}

impl ServerSpec {
    /// Every key with what holds, table by table.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let Self {
            listen,
            shutdown_timeout,
            max_connections,
            read_timeout,
            open_on_loopback,
            tls,
            slots,
            memory,
            audited_calls,
            requests: RequestLimit { a_second, burst },
            failed_tokens_per_minute,
            tenant_limits,
            max_artifact,
            max_storage,
            max_post,
            max_log,
            key_window,
            max_subtasks,
            max_live,
            history,
            idle_after,
            playground:
                PlaygroundLimits { at_once, records, input, output, time: for_trial, memory: of_trial },
            log: LogSpec { format, level },
            disk: DiskLimits { low, full, check_every },
            ports,
            webhook_hosts,
            webhook_ca,
            shared_files,
            tenant_files,
            traces,
        } = self;
        let file = |of: fn(&TlsFiles) -> &PathBuf| tls.as_ref().map(|tls| text(&of(tls).display()));
        #[expect(clippy::cast_possible_truncation, reason = "it was read from a whole number")]
        let a_second = Value::Integer(*a_second as i64);
        let none = "none";
        let rows: Vec<(&'static str, &str, Option<Value>, &'static str)> = vec![
            ("server", "listen", Some(text(listen)), none),
            ("server", "shutdown_timeout", Some(time(*shutdown_timeout)), none),
            ("server", "max_connections", Some(number(*max_connections)), none),
            ("server", "read_timeout", Some(time(*read_timeout)), none),
            ("tls", "certificate", file(|tls| &tls.certificate), none),
            ("tls", "key", file(|tls| &tls.key), none),
            ("auth", "open_on_loopback", Some(Value::Boolean(*open_on_loopback)), none),
            ("limits", "requests_per_second", Some(a_second), none),
            ("limits", "burst", Some(number(*burst)), none),
            ("limits", "failed_tokens_per_minute", Some(number(*failed_tokens_per_minute)), none),
            ("audit", "keep", Some(number(*audited_calls)), none),
            ("task_manager", "slots", slots.map(number), "16 for each core"),
            ("task_manager", "memory", memory.map(|n| size(n as u64)), "3/4 of the machine's"),
            ("artifacts", "max_size", Some(size(*max_artifact as u64)), none),
            ("artifacts", "max_storage", Some(size(*max_storage)), none),
            ("ingest", "max_body", Some(size(*max_post as u64)), none),
            ("ingest", "max_log", Some(size(*max_log)), none),
            ("ingest", "key_window", Some(time(*key_window)), none),
            ("jobs", "max_subtasks", Some(number(*max_subtasks)), none),
            ("jobs", "max_live", Some(number(*max_live)), none),
            ("jobs", "history", Some(number(*history)), none),
            ("jobs", "idle_after", Some(time(*idle_after)), none),
            ("playground", "at_once", Some(number(*at_once)), none),
            ("playground", "records", Some(number(*records)), none),
            ("playground", "input", Some(size(*input as u64)), none),
            ("playground", "output", Some(size(*output as u64)), none),
            ("playground", "time", Some(time(*for_trial)), none),
            ("playground", "memory", Some(size(*of_trial as u64)), none),
            ("log", "format", Some(text(&log_format(*format))), none),
            ("log", "level", level.as_ref().map(text), "warn"),
            ("disk", "low", low.map(size), "1 GiB, or a tenth of the disk"),
            ("disk", "full", full.map(size), "64 MiB, or a hundredth of the disk"),
            ("disk", "check_every", Some(time(*check_every)), none),
            (
                "network",
                "ports",
                Some(Value::Array(ports.iter().copied().map(number).collect())),
                none,
            ),
            (
                "network",
                "webhook_hosts",
                Some(Value::Array(webhook_hosts.iter().map(text).collect())),
                none,
            ),
            (
                "network",
                "webhook_ca",
                webhook_ca.as_ref().map(|ca| text(&ca.file.display())),
                "none",
            ),
            ("files", "shared", Some(paths(shared_files)), none),
        ];
        let mut rows: Vec<Setting> = rows
            .into_iter()
            .map(|(table, key, value, otherwise)| Setting {
                table,
                key: key.to_owned(),
                value,
                otherwise,
            })
            .collect();
        let of_tenant = |table, name: &dyn Display, value| Setting {
            table,
            key: name.to_string(),
            value: Some(value),
            otherwise: none,
        };
        rows.extend(of_traces(traces));
        rows.extend(
            tenant_files.iter().map(|(name, of)| of_tenant("files.tenants", name, paths(of))),
        );
        rows.extend(
            tenant_limits.iter().map(|(name, of)| of_tenant("limits.tenants", name, limits(of))),
        );
        rows
    }
}

/// Without what is secret: the values of headers.
fn of_traces(of: &TracesSpec) -> Vec<Setting> {
    let TracesSpec {
        endpoint,
        headers,
        ca,
        ratios,
        service_name,
        resource,
        timeout,
        schedule_delay,
        max_queue,
    } = of;
    let table = |entries: Vec<(String, Value)>| Some(Value::Table(entries.into_iter().collect()));
    let hidden = headers.iter().map(|(name, _)| (name.to_string(), Value::from("…")));
    let shown = resource.iter().map(|(key, value)| (key.clone(), text(value)));
    let rows: Vec<(&str, Option<Value>, &'static str)> = vec![
        ("endpoint", endpoint.as_ref().map(text), "nothing is traced"),
        ("headers", table(hidden.collect()), "none"),
        ("ca", ca.as_ref().map(|path| text(&path.display())), "none"),
        ("sample_ratio", Some(Value::Float(ratios.batches)), "none"),
        ("job_ratio", Some(Value::Float(ratios.jobs)), "none"),
        ("request_ratio", Some(Value::Float(ratios.requests)), "none"),
        ("service_name", Some(text(service_name)), "none"),
        ("resource", table(shown.collect()), "none"),
        ("timeout", Some(time(*timeout)), "none"),
        ("schedule_delay", Some(time(*schedule_delay)), "none"),
        ("max_queue", Some(number(*max_queue)), "none"),
    ];
    let setting = |(key, value, otherwise): (&str, _, _)| Setting {
        table: "traces",
        key: key.to_owned(),
        value,
        otherwise,
    };
    rows.into_iter().map(setting).collect()
}

fn log_format(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    }
}

fn limits(of: &TenantLimits) -> Value {
    let TenantLimits { requests_per_second, burst, max_artifact } = of;
    let given = [
        ("requests_per_second", requests_per_second.map(number)),
        ("burst", burst.map(number)),
        ("max_artifact", max_artifact.map(|bytes| size(bytes as u64))),
    ];
    Value::Table(given.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?))).collect())
}
