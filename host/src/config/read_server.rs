//! Reads a server's configuration: a table for each part of it, and every key optional.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    environment,
    errors::{JobFileErrors, Place, Problems},
    node::{self, Entry, Node, Override, Value},
    read_http_hosts,
    section::{self, Read, Refusal, Section},
    server::{
        Certificates, Configured, DiskLimits, LogFormat, LogSpec, PlaygroundLimits, ServerSpec,
        Source, TenantLimits, TlsFiles,
    },
    traces,
};
use crate::ids::{InvalidName, TenantId};

/// The longest time that anything may be set to.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// What an artifact may have at most, whatever is configured: `sandbox` takes no more.
const LARGEST_ARTIFACT: u64 = 64 << 20;
/// What a trial may be fed, and what may be told of it, whatever is configured: it is in the host's
/// memory.
const LARGEST_TRIAL: u64 = 64 << 20;

/// Reads the text of a server's configuration, changed by variables of the environment. `origin`
/// is its path, for errors; files and directories are relative to that.
///
/// # Errors
/// All mistakes of the file, each with its line.
pub fn parse_server(
    text: &str,
    origin: &Path,
    variables: &[Override],
) -> Result<Configured, JobFileErrors> {
    let problems = Problems::default();
    let mut sources = BTreeMap::new();
    let spec = Node::parse_toml(text, &problems).and_then(|mut root| {
        node::apply_variables(&mut root, variables);
        find_sources(&root, "", text, variables, &mut sources);
        read(root, origin, &problems)
    });
    match spec {
        Some(spec) if problems.is_empty() => Ok(Configured { spec, sources }),
        _ => {
            let given: Vec<_> = variables.iter().map(Override::as_str).collect();
            let mut errors = problems.into_errors(text, origin, &given);
            for error in errors.errors.iter_mut().filter(|error| error.file == "--set") {
                error.file = "the environment".to_owned();
            }
            Err(errors)
        }
    }
}

/// What these variables of the environment say of the log, for what has no configuration.
///
/// # Errors
/// All mistakes of `COFFERDAM_LOG_FORMAT` and `COFFERDAM_LOG_LEVEL`.
pub fn log_of_environment(variables: Vec<(String, String)>) -> Result<LogSpec, JobFileErrors> {
    let about = variables.into_iter().filter(|(name, _)| name.starts_with("COFFERDAM_LOG_"));
    let read = parse_server("", Path::new("the environment"), &environment::settings(about))?;
    Ok(read.spec.log)
}

/// Where each value stands, those of tables by themselves.
fn find_sources(
    node: &Node,
    path: &str,
    text: &str,
    variables: &[Override],
    sources: &mut BTreeMap<String, Source>,
) {
    let source = match &node.place {
        Place::File(range) => {
            let before = text.get(..range.start).unwrap_or_default();
            Source::File(before.matches('\n').count() + 1)
        }
        Place::Set(number, _) => {
            let given = variables.get(*number).map_or("", Override::as_str);
            Source::Environment(given.split('=').next().unwrap_or_default().to_owned())
        }
    };
    sources.insert(path.to_owned(), source);
    if let Value::Table(entries) = &node.value {
        for Entry { key, node, .. } in entries {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            find_sources(node, &path, text, variables, sources);
        }
    }
}

fn read(root: Node, origin: &Path, problems: &Problems) -> Option<ServerSpec> {
    let mut file = Section::new("the configuration", root, problems)?;
    let mut spec = ServerSpec::default();
    if let Some(section) = file.table("server") {
        read_server(section, &mut spec);
    }
    if let Some(section) = file.table("tls") {
        spec.tls = read_tls(section, origin);
    }
    if let Some(mut section) = file.table("auth") {
        put(&mut spec.open_on_loopback, section.get("open_on_loopback", section::boolean));
        section.finish();
    }
    if let Some(mut section) = file.table("task_manager") {
        spec.slots = section.get("slots", section::integer(1..=100_000));
        spec.memory =
            section.get("memory", section::memory_size(64 << 20..=i64::MAX.unsigned_abs()));
        section.finish();
    }
    if let Some(mut section) = file.table("audit") {
        put(&mut spec.audited_calls, section.get("keep", section::integer(1..=100_000)));
        section.finish();
    }
    if let Some(section) = file.table("limits") {
        read_limits(section, &mut spec);
    }
    if let Some(mut section) = file.table("artifacts") {
        let size = section::memory_size(1 << 10..=LARGEST_ARTIFACT);
        put(&mut spec.max_artifact, section.get("max_size", size));
        let storage = section::size(0..=i64::MAX.unsigned_abs());
        put(&mut spec.max_storage, section.get("max_storage", storage));
        section.finish();
    }
    if let Some(mut section) = file.table("ingest") {
        put(&mut spec.max_post, section.get("max_body", section::memory_size(1 << 10..=256 << 20)));
        let log = section::size(64 << 10..=i64::MAX.unsigned_abs());
        put(&mut spec.max_log, section.get("max_log", log));
        put(&mut spec.key_window, section.get("key_window", time));
        section.finish();
    }
    if let Some(mut section) = file.table("jobs") {
        put(&mut spec.max_subtasks, section.get("max_subtasks", section::integer(1..=10_000)));
        put(&mut spec.max_live, section.get("max_live", section::integer(1..=1_000_000)));
        put(&mut spec.history, section.get("history", section::integer(0..=1_000_000)));
        put(&mut spec.idle_after, section.get("idle_after", section::millis_or_zero));
        section.finish();
    }
    if let Some(section) = file.table("playground") {
        read_playground(section, &mut spec.playground);
    }
    if let Some(mut section) = file.table("log") {
        put(&mut spec.log.format, section.get("format", section::one_of(LOG_FORMATS)));
        spec.log.level = section.get("level", log_level);
        section.finish();
    }
    if let Some(section) = file.table("disk") {
        read_disk(section, &mut spec.disk);
    }
    if let Some(mut section) = file.table("network") {
        let ports = section::list(|node| section::integer(1..=u16::MAX)(node));
        put(&mut spec.ports, section.get("ports", ports));
        let hosts = section.get("webhook_hosts", section::list(read_http_hosts::host));
        put(&mut spec.webhook_hosts, hosts);
        spec.webhook_ca = section.get("webhook_ca", |node| certificates(node, origin));
        section.finish();
    }
    if let Some(section) = file.table("traces") {
        traces::read(section, origin, &mut spec.traces);
    }
    if let Some(section) = file.table("files") {
        read_files(section, origin, &mut spec);
    }
    file.finish();
    Some(spec)
}

pub(super) fn put<T>(field: &mut T, read: Option<T>) {
    if let Some(value) = read {
        *field = value;
    }
}

fn read_server(mut section: Section<'_>, spec: &mut ServerSpec) {
    put(&mut spec.listen, section.get("listen", address));
    put(&mut spec.shutdown_timeout, section.get("shutdown_timeout", time));
    put(&mut spec.max_connections, section.get("max_connections", section::integer(1..=100_000)));
    put(&mut spec.read_timeout, section.get("read_timeout", time));
    section.finish();
}

fn read_playground(mut section: Section<'_>, of: &mut PlaygroundLimits) {
    put(&mut of.at_once, section.get("at_once", section::integer(0..=1_000)));
    put(&mut of.records, section.get("records", section::integer(1..=100_000)));
    let told = || section::memory_size(1 << 10..=LARGEST_TRIAL);
    put(&mut of.input, section.get("input", told()));
    put(&mut of.output, section.get("output", told()));
    put(&mut of.time, section.get("time", time));
    let memory = section::memory_size(64 << 10..=4 << 30);
    put(&mut of.memory, section.get("memory", memory));
    section.finish();
}

const LOG_FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

fn log_level(node: &Node) -> Read<String> {
    let text = section::text(node)?;
    match tracing_subscriber::EnvFilter::builder().parse(&text) {
        Ok(_) if !text.trim().is_empty() => Ok(text),
        _ => Err(Refusal::new("is no level").with_help(
            "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"; or filters, as \"warn,guest=info\"",
        )),
    }
}

fn read_disk(mut section: Section<'_>, of: &mut DiskLimits) {
    let bytes = || section::size(0..=i64::MAX.unsigned_abs());
    of.low = section.get("low", bytes());
    of.full = section.get("full", bytes());
    put(&mut of.check_every, section.get("check_every", time));
    section.finish();
}

const RATES: RangeInclusive<u32> = 1..=1_000_000;

fn read_limits(mut section: Section<'_>, spec: &mut ServerSpec) {
    let rate = section.get("requests_per_second", section::integer(RATES)).map(f64::from);
    put(&mut spec.requests.a_second, rate);
    put(&mut spec.requests.burst, section.get("burst", section::integer(RATES)));
    let failed = section.get("failed_tokens_per_minute", section::integer(0..=*RATES.end()));
    put(&mut spec.failed_tokens_per_minute, failed);
    if let Some(mut tenants) = section.table("tenants") {
        for entry in tenants.take_rest() {
            let title = format!("[limits.tenants.{}]", entry.key);
            let name = tenant(&entry.key);
            let Some(mut own) = Section::new(&title, entry.node, tenants.problems) else {
                continue;
            };
            let limits = TenantLimits {
                requests_per_second: own.get("requests_per_second", section::integer(RATES)),
                burst: own.get("burst", section::integer(RATES)),
                max_artifact: own
                    .get("max_artifact", section::memory_size(1 << 10..=LARGEST_ARTIFACT)),
            };
            own.finish();
            match name {
                Ok(name) => drop(spec.tenant_limits.insert(name, limits)),
                Err(refusal) => tenants.refuse(&entry.key, &entry.key_place, refusal),
            }
        }
    }
    section.finish();
}

fn tenant(name: &str) -> Read<TenantId> {
    let wrong = |bad: InvalidName| Refusal::new(format!("cannot name a tenant: {}", bad.reason));
    TenantId::new(name).map_err(wrong)
}

/// An empty table is as none.
fn read_tls(mut section: Section<'_>, origin: &Path) -> Option<TlsFiles> {
    let read = |node: &Node| a_file(node, origin);
    let files = if section.has("certificate") || section.has("key") {
        let certificate = section.require("certificate", "certificate = \"server.pem\"", read);
        certificate.zip(section.require("key", "key = \"server.key\"", read))
    } else {
        None
    };
    section.finish();
    files.map(|(certificate, key)| TlsFiles { certificate, key })
}

fn certificates(node: &Node, origin: &Path) -> Read<Certificates> {
    let file = a_file(node, origin)?;
    let refuse = |why: String| {
        Refusal::new(format!("names {}, {why}", file.display())).with_help(read_http_hosts::PEM)
    };
    let certificates = read_http_hosts::certificates(&file).map_err(refuse)?;
    Ok(Certificates { file, certificates })
}

fn address(node: &Node) -> Read<SocketAddr> {
    section::text(node)?.parse().map_err(|_| {
        Refusal::new(format!("must be an address and a port, not {}", node.describe()))
            .with_help("\"127.0.0.1:8080\", or \"[::]:8080\" for every address of this machine")
    })
}

pub(super) fn time(node: &Node) -> Read<Duration> {
    let read = section::millis(node)?;
    if read > LONGEST { Err(Refusal::new("must be a day at most")) } else { Ok(read) }
}

fn read_files(mut section: Section<'_>, origin: &Path, spec: &mut ServerSpec) {
    let list = |node: &Node| section::list(|node| directory(node, origin))(node);
    put(&mut spec.shared_files, section.get("shared", list));
    if let Some(mut tenants) = section.table("tenants") {
        let mut listed = BTreeMap::new();
        for entry in tenants.take_rest() {
            match tenant(&entry.key).and_then(|name| Ok((name, list(&entry.node)?))) {
                Ok((name, directories)) => {
                    listed.insert(name, directories);
                }
                Err(refusal) => tenants.refuse(&entry.key, &entry.node.place, refusal),
            }
        }
        spec.tenant_files = listed;
    }
    section.finish();
}

fn beside(origin: &Path, path: &str) -> PathBuf {
    let absolute = std::path::absolute(origin).unwrap_or_else(|_| origin.to_owned());
    absolute.parent().unwrap_or(Path::new("/")).join(path)
}

/// A file that is there.
pub(super) fn a_file(node: &Node, origin: &Path) -> Read<PathBuf> {
    let path = beside(origin, &section::text(node)?);
    match std::fs::metadata(&path) {
        Ok(found) if found.is_file() => Ok(path),
        Ok(_) => Err(Refusal::new("must be a file")),
        Err(error) => {
            let message = format!("names a file that cannot be read: {error}");
            Err(Refusal::new(message).with_help(format!("looked for {}", path.display())))
        }
    }
}

/// A directory that is there: one that is made later would be outside of what the process keeps
/// for itself when it starts.
fn directory(node: &Node, origin: &Path) -> Read<PathBuf> {
    let path = beside(origin, &section::text(node)?);
    match std::fs::metadata(&path) {
        Ok(found) if found.is_dir() => Ok(path),
        Ok(_) => Err(Refusal::new("must be a directory, not a file")),
        Err(error) => {
            let message = format!("names a directory that cannot be read: {error}");
            Err(Refusal::new(message).with_help(format!("looked for {}", path.display())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        environment,
        job::HttpHost,
        server::{LogSpec, RequestLimit},
        traces::TracesSpec,
    };

    fn parse(text: &str) -> Result<ServerSpec, String> {
        let read = parse_server(text, Path::new("/srv/cofferdam.toml"), &[]);
        read.map(|read| read.spec).map_err(|errors| errors.to_string())
    }

    #[test]
    fn an_empty_file_is_the_defaults_and_every_key_changes_one() {
        assert_eq!(parse(""), Ok(ServerSpec::default()));
        assert_eq!(parse("[tls]"), Ok(ServerSpec::default()));
        let text = "
[server]\nlisten = '[::1]:9000'\nshutdown_timeout = '5s'\nmax_connections = 10\nread_timeout = '1s'
[tls]\ncertificate = '/dev/../proc/self/stat'\nkey = '/proc/self/stat'
[auth]\nopen_on_loopback = true
[task_manager]\nslots = 8\nmemory = '1GiB'
[audit]\nkeep = 7
[limits]\nrequests_per_second = 5\nburst = 6\nfailed_tokens_per_minute = 0
tenants.acme = {requests_per_second = 1, burst = 2, max_artifact = '2KiB'}
[artifacts]\nmax_size = '1MiB'\nmax_storage = '10MiB'
[ingest]\nmax_body = '2MiB'\nmax_log = '1MiB'\nkey_window = '1h'
[jobs]\nmax_subtasks = 20\nmax_live = 30\nhistory = 40\nidle_after = '0s'
[playground]\nat_once = 3\nrecords = 5\ninput = '2KiB'\noutput = '3KiB'\ntime = '4s'\nmemory = '5MiB'
[log]\nformat = 'json'\nlevel = 'warn,guest=debug'
[disk]\nlow = '7MiB'\nfull = '0'\ncheck_every = '1m'
[network]\nports = [8080]\nwebhook_hosts = ['10.0.0.7:8080']
[traces]\nmax_queue = 7
[files]\nshared = ['/tmp']\ntenants.acme = ['/']\n";
        let acme = TenantId::new("acme").unwrap();
        let wanted = ServerSpec {
            listen: "[::1]:9000".parse().unwrap(),
            shutdown_timeout: Duration::from_secs(5),
            max_connections: 10,
            read_timeout: Duration::from_secs(1),
            tls: Some(TlsFiles {
                certificate: "/dev/../proc/self/stat".into(),
                key: "/proc/self/stat".into(),
            }),
            open_on_loopback: true,
            slots: Some(8),
            memory: Some(1 << 30),
            audited_calls: 7,
            requests: RequestLimit { a_second: 5.0, burst: 6 },
            failed_tokens_per_minute: 0,
            tenant_limits: [(
                acme.clone(),
                TenantLimits {
                    requests_per_second: Some(1),
                    burst: Some(2),
                    max_artifact: Some(2 << 10),
                },
            )]
            .into(),
            max_artifact: 1 << 20,
            max_storage: 10 << 20,
            max_post: 2 << 20,
            max_log: 1 << 20,
            key_window: Duration::from_secs(3_600),
            max_subtasks: 20,
            max_live: 30,
            history: 40,
            idle_after: Duration::ZERO,
            playground: PlaygroundLimits {
                at_once: 3,
                records: 5,
                input: 2 << 10,
                output: 3 << 10,
                time: Duration::from_secs(4),
                memory: 5 << 20,
            },
            log: LogSpec { format: LogFormat::Json, level: Some("warn,guest=debug".to_owned()) },
            disk: DiskLimits {
                low: Some(7 << 20),
                full: Some(0),
                check_every: Duration::from_secs(60),
            },
            ports: vec![8080],
            webhook_ca: None,
            webhook_hosts: vec![HttpHost { name: "10.0.0.7".to_owned(), port: Some(8080) }],
            shared_files: vec!["/tmp".into()],
            tenant_files: [(acme.clone(), vec!["/".into()])].into(),
            traces: TracesSpec { max_queue: 7, ..TracesSpec::default() },
        };
        let read = parse(text).unwrap();
        assert_eq!(read, wanted);
        assert_eq!(read.files_of(&acme), [PathBuf::from("/tmp"), PathBuf::from("/")]);
        assert_eq!(read.requests_of(Some(&acme)), RequestLimit { a_second: 1.0, burst: 2 });
        assert_eq!(read.requests_of(None), read.requests);
        assert_eq!((read.max_artifact_of(&acme), read.failed_tokens()), (2 << 10, None));
        assert_eq!(read.files_of(&TenantId::default()), [PathBuf::from("/tmp")]);
    }

    #[test]
    fn a_variable_of_the_environment_goes_before_the_file_and_what_is_shown_reads_the_same() {
        let text = "[server]\nmax_connections = 10\n[jobs]\nmax_live = 3\nhistory = 4\n\
                    [limits.tenants.acme]\nburst = 7\n";
        let set = |name: &str, value: &str| (format!("COFFERDAM_{name}"), value.to_owned());
        let variables = environment::settings([
            set("SERVER_LISTEN", "127.0.0.1:9"),
            set("JOBS_MAX_LIVE", "5"),
            set("NETWORK_PORTS", "[1, 2]"),
            set("FILES_TENANTS", "{acme = ['/tmp']}"),
        ]);
        let read = parse_server(text, Path::new("/srv/c.toml"), &variables).unwrap();
        assert_eq!(read.spec.listen.port(), 9);
        let jobs = (read.spec.max_connections, read.spec.max_live, read.spec.history);
        assert_eq!(jobs, (10, 5, 4));
        assert_eq!((&read.spec.ports[..], read.spec.tenant_files.len()), (&[1, 2][..], 1));
        let mut shown = String::new();
        let mut sources = Vec::new();
        for setting in read.spec.settings() {
            if let Some(value) = &setting.value {
                shown.push_str(&format!("{}.{} = {value}\n", setting.table, setting.key));
            }
            sources.extend(read.source(&setting).map(|s| (setting.key.clone(), s.clone())));
        }
        assert_eq!(parse(&shown), Ok(read.spec.clone()), "{shown}");
        let variable = |name: &str| Source::Environment(format!("COFFERDAM_{name}"));
        let wanted = [
            ("listen", variable("SERVER_LISTEN")),
            ("max_connections", Source::File(2)),
            ("max_live", variable("JOBS_MAX_LIVE")),
            ("history", Source::File(5)),
            ("ports", variable("NETWORK_PORTS")),
            ("acme", variable("FILES_TENANTS")),
            ("acme", Source::File(6)),
        ];
        assert_eq!(sources, wanted.map(|(key, source)| (key.to_owned(), source)));

        let wrong = environment::settings([set("SERVER_LISTNE", "x"), set("JOBS_HISTORY", "x")]);
        let errors = parse_server("", Path::new("c.toml"), &wrong).unwrap_err().to_string();
        assert!(errors.contains("the environment:1:"), "{errors}");
        assert!(errors.contains("did you mean `listen`?"), "{errors}");
        assert!(errors.contains("COFFERDAM_JOBS_HISTORY=x"), "{errors}");
    }

    #[test]
    fn mistakes_have_their_line_and_what_to_do() {
        for (text, part) in [
            ("[server]\nlisten = '8080'", "\"127.0.0.1:8080\""),
            ("[server]\nlisen = '::1:1'", "did you mean `listen`?"),
            ("[sever]", "did you mean `server`?"),
            ("[server]\nshutdown_timeout = 5", "add the unit"),
            ("[server]\nread_timeout = '25h'", "a day at most"),
            ("[network]\nports = [0]", "from 1 to 65535"),
            ("[files]\nshared = ['gone']", "looked for /srv/gone"),
            ("[tls]\nkey = '/proc/self/stat'", "has no `certificate`"),
            ("[tls]\nkye = 'x'", "unknown key `kye`"),
            ("[tls]\nkey = 'gone.pem'", "looked for /srv/gone.pem"),
            ("[limits]\ntenants.'a b' = {}", "cannot name a tenant"),
            ("[limits]\ntenants.a = {bursd = 1}", "did you mean `burst`?"),
            ("[limits]\nrequests_per_second = 0", "from 1 to"),
            ("[files]\ntenants.'a b' = []", "cannot name a tenant"),
            ("[log]\nlevel = 'a=b=c'", "is no level"),
            ("[log]\nformat = 'xml'", "format"),
            ("[artifacts]\nmax_size = '1GiB'", "1024 to 67108864 bytes"),
        ] {
            let shown = parse(text).unwrap_err();
            assert!(shown.contains(part), "`{part}` is not in:\n{shown}");
        }
    }
}
