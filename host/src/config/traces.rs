//! `[traces]` of a server's configuration: where spans go, and which part of what is done is traced.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper::header::{HeaderName, HeaderValue};

use super::{
    environment,
    errors::JobFileErrors,
    node::{Entry, Node, Value},
    read_server::{a_file, parse_server, put, time},
    section::{self, Read, Refusal, Section},
    webhook::{Secret, Target, target},
};
use crate::trace::Ratios;

/// How many headers and attributes there may be.
const MOST_ENTRIES: usize = 32;
/// Where a collector takes traces, if only its host is given.
pub(super) const PATH: &str = "/v1/traces";
/// The only form that spans are sent in; it is a key all the same, so that who wants another is
/// told.
const PROTOCOLS: &[(&str, ())] = &[("http/protobuf", ())];

/// `[traces]`.
#[derive(Debug, Clone, PartialEq)]
pub struct TracesSpec {
    /// `endpoint`: the collector's URL; nothing is traced if none.
    pub endpoint: Option<Target>,
    /// `headers`: what each request to it has, too.
    pub headers: Vec<(HeaderName, Secret)>,
    /// `ca`: certificates that it may be signed by, beside those that everybody trusts; PEM.
    pub ca: Option<PathBuf>,
    /// `sample_ratio`, `job_ratio`, `request_ratio`: 0.001, 1 and 0.01 if not given.
    pub ratios: Ratios,
    /// `service_name`; `cofferdam` if not given.
    pub service_name: String,
    /// `resource`: what else is said of this server.
    pub resource: BTreeMap<String, String>,
    /// `timeout`: how long a request may take; 10 s if not given.
    pub timeout: Duration,
    /// `schedule_delay`: how long a span waits for others to go with; 5 s if not given.
    pub schedule_delay: Duration,
    /// `max_queue`: how many spans may wait; 2,048 if not given.
    pub max_queue: usize,
}

impl Eq for TracesSpec {}

impl Default for TracesSpec {
    fn default() -> Self {
        Self {
            endpoint: None,
            headers: Vec::new(),
            ca: None,
            ratios: Ratios { batches: 0.001, jobs: 1.0, requests: 0.01 },
            service_name: "cofferdam".to_owned(),
            resource: BTreeMap::new(),
            timeout: Duration::from_secs(10),
            schedule_delay: Duration::from_secs(5),
            max_queue: 2_048,
        }
    }
}

/// What these variables of the environment say, where there is no file that could say something.
///
/// # Errors
/// All mistakes of those that are about traces.
pub fn of_environment(variables: Vec<(String, String)>) -> Result<TracesSpec, JobFileErrors> {
    let about = |name: &str| name.starts_with("OTEL_") || name.starts_with("COFFERDAM_TRACES_");
    let about = variables.into_iter().filter(|(name, _)| about(name));
    let variables = environment::settings(about);
    let read = parse_server("", Path::new("the environment"), &variables)?;
    Ok(read.spec.traces)
}

pub(super) fn read(mut section: Section<'_>, origin: &Path, of: &mut TracesSpec) {
    let ratio = || section::number(0.0..=1.0, "from 0 to 1");
    if let Some(endpoint) = section.get("endpoint", endpoint) {
        of.endpoint = endpoint;
    }
    section.get("protocol", section::one_of(PROTOCOLS));
    put(&mut of.headers, section.get("headers", headers));
    of.ca = section.get("ca", |node| a_file(node, origin));
    put(&mut of.ratios.batches, section.get("sample_ratio", ratio()));
    put(&mut of.ratios.jobs, section.get("job_ratio", ratio()));
    put(&mut of.ratios.requests, section.get("request_ratio", ratio()));
    put(&mut of.service_name, section.get("service_name", section::text));
    put(&mut of.resource, section.get("resource", |node| Ok(entries(node)?.into_iter().collect())));
    put(&mut of.timeout, section.get("timeout", time));
    put(&mut of.schedule_delay, section.get("schedule_delay", time));
    put(&mut of.max_queue, section.get("max_queue", section::integer(1..=1_000_000)));
    section.finish();
}

/// An empty text is as none.
fn endpoint(node: &Node) -> Read<Option<Target>> {
    if section::text(node)?.is_empty() {
        return Ok(None);
    }
    let mut at = target(node).map_err(|refusal| Refusal {
        help: Some("such as \"http://127.0.0.1:4318\"".to_owned()),
        ..refusal
    })?;
    if at.path == "/" {
        PATH.clone_into(&mut at.path);
    }
    Ok(Some(at))
}

fn headers(node: &Node) -> Read<Vec<(HeaderName, Secret)>> {
    let header = |(name, value): (String, String)| {
        let refuse = |why: &str| Refusal::new(format!("has `{name}`, which {why}"));
        let read: HeaderName = name.parse().map_err(|_| refuse("is no header's name"))?;
        let ours = ["host", "content-length", "content-type", "transfer-encoding", "connection"];
        if ours.contains(&read.as_str()) {
            return Err(refuse("is set by the server itself"));
        }
        HeaderValue::from_str(&value).map_err(|_| refuse("has a value that no header can have"))?;
        Ok((read, Secret(value.into_bytes())))
    };
    entries(node)?.into_iter().map(header).collect()
}

/// A table of texts, or a text as OpenTelemetry's variables have it: `a=b,c=d`.
fn entries(node: &Node) -> Read<Vec<(String, String)>> {
    let read: Vec<(String, String)> = match &node.value {
        Value::Table(entries) => entries
            .iter()
            .map(|Entry { key, node, .. }| Ok((key.clone(), section::text(node)?)))
            .collect::<Read<_>>()?,
        Value::Text(text) => text
            .split(',')
            .filter(|pair| !pair.trim().is_empty())
            .map(pair)
            .collect::<Option<_>>()
            .ok_or_else(|| Refusal::new("must be a table, or a text such as \"a=b,c=d\""))?,
        _ => {
            let what = node.describe();
            return Err(Refusal::new(format!("must be a table of texts, not {what}")));
        }
    };
    if read.len() > MOST_ENTRIES {
        return Err(Refusal::new(format!("may have {MOST_ENTRIES} entries")));
    }
    Ok(read)
}

/// `a=b`, with what would be mistaken for something else as `%2C`.
fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    let key = key.trim();
    (!key.is_empty()).then(|| (unescape(key), unescape(value.trim())))
}

fn unescape(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let escaped = (*first == b'%')
            .then(|| std::str::from_utf8(behind.get(..2)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{environment, parse_server};

    fn parse(text: &str, variables: &[(&str, &str)]) -> Result<TracesSpec, String> {
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let variables = environment::settings(variables);
        let read = parse_server(text, Path::new("/srv/cofferdam.toml"), &variables);
        read.map(|read| read.spec.traces).map_err(|errors| errors.to_string())
    }

    #[test]
    fn every_key_is_read_and_a_secret_is_not_shown() {
        assert_eq!(parse("[traces]", &[]), Ok(TracesSpec::default()));
        let text = "[traces]\nendpoint = 'https://Otel.example:4318'\nca = '/proc/self/stat'
protocol = 'http/protobuf'\nsample_ratio = 0.5\njob_ratio = 0\nrequest_ratio = 1
headers = {authorization = 'Bearer x'}\nservice_name = 's'\nresource = {'a.b' = 'c'}
timeout = '1s'\nschedule_delay = '20ms'\nmax_queue = 7";
        let read = parse(text, &[]).unwrap();
        let endpoint = read.endpoint.clone().unwrap();
        assert_eq!((endpoint.tls, &*endpoint.host, endpoint.port), (true, "otel.example", 4318));
        assert_eq!(endpoint.path, "/v1/traces");
        assert_eq!(read.ratios, Ratios { batches: 0.5, jobs: 0.0, requests: 1.0 });
        assert_eq!((&*read.service_name, &*read.resource["a.b"]), ("s", "c"));
        let delays = (read.timeout, read.schedule_delay);
        assert_eq!(delays, (Duration::from_secs(1), Duration::from_millis(20)));
        assert_eq!((read.max_queue, read.headers.len()), (7, 1));
        assert!(!format!("{read:?}").contains("Bearer"));
        // A path that is given is the whole of it; an empty endpoint is none.
        let path = parse("[traces]\nendpoint = 'http://x/tempo/otlp'", &[]).unwrap();
        assert_eq!(path.endpoint.unwrap().path, "/tempo/otlp");
        assert_eq!(parse("[traces]\nendpoint = ''", &[]).unwrap().endpoint, None);
    }

    #[test]
    fn variables_of_opentelemetry_hold_where_nothing_else_is_said() {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://10.0.0.1:4318/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%2Cb, x-tenant = acme"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
            ("OTEL_SERVICE_NAME", "streams"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=n,deployment.environment.name=prod"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_BSP_SCHEDULE_DELAY", ""),
            ("OTEL_PROPAGATORS", "b3"),
        ];
        let read = parse("", &variables).unwrap();
        let endpoint = read.endpoint.as_ref().unwrap();
        assert_eq!((&*endpoint.host, &*endpoint.path), ("10.0.0.1", "/v1/traces"));
        assert_eq!(read.headers[0].1, Secret(b"a,b".to_vec()));
        assert_eq!(read.headers[1].0, "x-tenant");
        assert_eq!((read.timeout, read.ratios.batches), (Duration::from_millis(250), 0.25));
        assert_eq!((&*read.service_name, &*read.resource["service.namespace"]), ("streams", "n"));
        assert_eq!(read.schedule_delay, TracesSpec::default().schedule_delay);
        // The file goes before them, and our own variables before both.
        let file = "[traces]\nendpoint = 'http://file:1'\nsample_ratio = 1\nresource = {}";
        let ours = [&variables[..], &[("COFFERDAM_TRACES_SAMPLE_RATIO", "0.75")]].concat();
        let read = parse(file, &ours).unwrap();
        assert_eq!((&*read.endpoint.unwrap().host, read.ratios.batches), ("file", 0.75));
        assert_eq!((&*read.service_name, read.resource.len()), ("streams", 0));
        // The special one before the general one.
        let special = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b:9/only/this");
        let read = parse("", &[&variables[..], &[special]].concat()).unwrap();
        assert_eq!(read.endpoint.unwrap().path, "/only/this");
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
            let read = parse("", &[&variables[..], &[off]].concat());
            assert_eq!(read, Ok(TracesSpec::default()));
        }
        for (sampler, ratio) in [
            ("always_on", 1.0),
            ("parentbased_always_off", 0.0),
            ("parentbased_traceidratio", 0.25),
            ("jaeger_remote", 0.001),
        ] {
            let read = parse("", &[&variables[..], &[("OTEL_TRACES_SAMPLER", sampler)]].concat());
            assert_eq!(read.unwrap().ratios.batches.to_bits(), f64::to_bits(ratio), "{sampler}");
        }
    }

    #[test]
    fn mistakes_say_what_to_do() {
        for (text, part) in [
            ("endpoint = '127.0.0.1:4317'", "http://127.0.0.1:4318"),
            ("protocol = 'grpc'", "http/protobuf"),
            ("sample_ratio = 1.5", "from 0 to 1"),
            ("headers = {host = 'x'}", "set by the server itself"),
            ("headers = {'a b' = 'x'}", "no header's name"),
            ("headers = 'a'", "a=b,c=d"),
            ("resource = [1]", "a table of texts"),
            ("max_queue = 0", "from 1 to"),
            ("ca = 'gone.pem'", "looked for /srv/gone.pem"),
            ("sampel_ratio = 1", "did you mean `sample_ratio`?"),
        ] {
            let error = parse(&format!("[traces]\n{text}"), &[]).unwrap_err();
            assert!(error.contains(part), "`{part}` is not in:\n{error}");
        }
        let wrong = parse("", &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap_err();
        assert!(wrong.contains("OTEL_EXPORTER_OTLP_PROTOCOL"), "{wrong}");
        let wrong = parse("", &[("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")]).unwrap_err();
        assert!(wrong.contains("OTEL_EXPORTER_OTLP_TIMEOUT"), "{wrong}");
    }
}
