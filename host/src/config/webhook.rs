//! The checked model of an `http` sink, and how it is read: where it posts to, with which headers,
//! signed with what, and how patiently. Secrets are never in the job file of a server: it names
//! files that whoever runs the server has put there.

use std::{
    fmt,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper::{
    Uri,
    header::{HeaderName, HeaderValue},
};

use rustls::pki_types::CertificateDer;

use super::{
    job::HttpHost,
    node::{Entry, Node, Value},
    read::Surroundings,
    read_http_hosts,
    section::{self, Read, Refusal, Section},
};
use crate::ids::OperatorName;

/// How many headers a sink may add.
const MOST_HEADERS: usize = 32;
/// The longest secret, in bytes.
const LONGEST_SECRET: u64 = 4 << 10;
/// The shortest key that something is signed with, in bytes.
const SHORTEST_KEY: usize = 16;

/// Settings of an `http` sink.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookSpec {
    /// `url`
    pub url: Target,
    /// `format`: whether a batch is one JSON array, and not JSON lines.
    pub array: bool,
    /// `batch_records`: how many records a request has at most; 1,000 if not given.
    pub batch_records: usize,
    /// `batch_size`: how many bytes at most, but for a single record; 1 MiB if not given.
    pub batch_size: usize,
    /// `timeout`: how long a request may take; 30 s if not given.
    pub timeout: Duration,
    /// `max_backoff`: the longest time from one try to the next; 1 minute if not given.
    pub max_backoff: Duration,
    /// `refused`: whether what the receiver refuses for good is left out, and not the job's
    /// failure.
    pub drops_refused: bool,
    /// `headers`
    pub headers: Vec<(HeaderName, Secret)>,
    /// `sign_with`: the key that requests are signed with.
    pub sign_with: Option<Secret>,
    /// Which addresses it may reach.
    pub reach: Reach,
    /// `ca`: whom it trusts beside those that everybody trusts.
    pub roots: Vec<CertificateDer<'static>>,
}

/// Which addresses may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All of them.
    Any,
    /// Those that are public: neither this machine's nor of its network.
    Public,
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whether by TLS.
    pub tls: bool,
    /// A name in lower case or an address, of IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What the header `Host` says.
    pub authority: String,
    /// What is asked for: path and query.
    pub path: String,
}

impl fmt::Display for Target {
    /// Without what may be a secret: the query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{scheme}://{}{path}", self.authority)
    }
}

/// What is not to be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a job file's secrets are.
#[derive(Debug, Clone)]
pub(super) enum Secrets {
    /// In variables of the environment.
    Environment,
    /// In files of this directory.
    Files(PathBuf),
}

const FORMATS: &[(&str, bool)] = &[("jsonl", false), ("json-array", true)];
const REFUSED: &[(&str, bool)] = &[("fail", false), ("drop", true)];

pub(super) fn read(section: &mut Section<'_>, around: &Surroundings<'_>) -> Option<WebhookSpec> {
    let url = section.require("url", "url = \"https://hooks.example.com/in\"", target);
    let array = section.get("format", section::one_of(FORMATS)).unwrap_or(false);
    let batch_records = section.get("batch_records", section::integer(1..=100_000));
    let batch_size = section.get("batch_size", section::memory_size(1 << 10..=8 << 20));
    let timeout = section.get("timeout", section::millis);
    let max_backoff = section.get("max_backoff", section::millis);
    let drops_refused = section.get("refused", section::one_of(REFUSED)).unwrap_or(false);
    let headers = section.take("headers").map(|entry| read_headers(entry, around));
    let sign_with = section.get("sign_with", |node| {
        let Secret(key) = secret(node, around)?;
        let key = signing_key(&key).ok_or_else(|| {
            Refusal::new("must be text, or `whsec_` and base64, of 16 bytes at least")
        })?;
        Ok(Secret(key))
    });
    let roots = section.get("ca", |node| {
        if url.as_ref().is_some_and(|url| !url.tls) {
            return Err(
                Refusal::new("is of no use without TLS").with_help("write https:// in `url`")
            );
        }
        read_http_hosts::ca(node, around)
    });
    let reach = if around.folder.is_walled() { Reach::Public } else { Reach::Any };
    url.map(|url| WebhookSpec {
        url,
        array,
        batch_records: batch_records.unwrap_or(1_000),
        batch_size: batch_size.unwrap_or(1 << 20),
        timeout: timeout.unwrap_or(Duration::from_secs(30)),
        max_backoff: max_backoff.unwrap_or(Duration::from_secs(60)),
        drops_refused,
        headers: headers.unwrap_or_default(),
        sign_with,
        reach,
        roots: roots.unwrap_or_default(),
    })
}

/// A URL of HTTP.
pub(super) fn target(node: &Node) -> Read<Target> {
    let text = section::text(node)?;
    let refuse = |why: &str| {
        Refusal::new(format!("must be a URL, {why}"))
            .with_help("such as \"https://hooks.example.com/in\"")
    };
    let uri: Uri = text.parse().map_err(|_| refuse("and this is none"))?;
    let (tls, usual) = match uri.scheme_str() {
        Some("http") => (false, HttpHost::PORT),
        Some("https") => (true, HttpHost::TLS_PORT),
        _ => return Err(refuse("with http:// or https:// in front")),
    };
    let authority = uri.authority().ok_or_else(|| refuse("with a host"))?;
    let wrong_port = authority.port().is_some() && authority.port_u16().is_none();
    if authority.as_str().contains('@') || authority.host().is_empty() || wrong_port {
        return Err(refuse("with a host, and without a user"));
    }
    Ok(Target {
        tls,
        host: HttpHost::plain_name(authority.host()),
        port: authority.port_u16().unwrap_or(usual),
        authority: authority.as_str().to_owned(),
        path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
    })
}

fn read_headers(entry: Entry, around: &Surroundings<'_>) -> Vec<(HeaderName, Secret)> {
    let Some(mut section) = Section::new("`headers`", entry.node, around.problems) else {
        return Vec::new();
    };
    let mut headers = Vec::new();
    for Entry { key, key_place, node } in section.take_rest() {
        let read = || -> Read<(HeaderName, Secret)> {
            let name: HeaderName = key.parse().map_err(|_| Refusal::new("is no header's name"))?;
            let ours =
                ["host", "content-length", "content-type", "transfer-encoding", "connection"];
            if ours.contains(&name.as_str()) || name.as_str().starts_with("webhook-") {
                return Err(Refusal::new("is set by the sink itself"));
            }
            let value = secret(&node, around)?;
            HeaderValue::from_bytes(&value.0)
                .map_err(|_| Refusal::new("has a value that no header can have"))?;
            Ok((name, value))
        };
        match read() {
            Ok(_) if headers.len() == MOST_HEADERS => {
                let message = format!("`headers` may have {MOST_HEADERS} entries");
                around.problems.add(&key_place, message, None);
                break;
            }
            Ok(header) => headers.push(header),
            Err(refusal) => section.refuse(&key, &key_place, refusal),
        }
    }
    headers
}

/// A text as it is, or where it is: `{ env = "NAME" }`, on a server `{ secret = "NAME" }`.
fn secret(node: &Node, around: &Surroundings<'_>) -> Read<Secret> {
    let Value::Table(entries) = &node.value else {
        return section::text(node).map(|text| Secret(text.into_bytes()));
    };
    let (wanted, example) = match around.secrets {
        Secrets::Environment => ("env", "{ env = \"HOOK_TOKEN\" }"),
        Secrets::Files(_) => ("secret", "{ secret = \"hook-token\" }"),
    };
    let help = || format!("a text, or `{example}`");
    let name = match entries.as_slice() {
        [Entry { key, node, .. }] if key == wanted => section::text(node)?,
        _ => return Err(Refusal::new("must say where the secret is").with_help(help())),
    };
    let found = match &around.secrets {
        Secrets::Environment => std::env::var(&name).ok().map(String::into_bytes),
        Secrets::Files(dir) => {
            // A name without dots and slashes leads nowhere else.
            let name = OperatorName::new(&*name)
                .map_err(|bad| Refusal::new(format!("cannot name a secret: {}", bad.reason)))?;
            read_secret(&dir.join(name.as_str()))
        }
    };
    let found = found.map(|text| text.trim_ascii().to_vec()).filter(|text| !text.is_empty());
    found.map(Secret).ok_or_else(|| {
        Refusal::new(format!("names `{name}`, which is not there, or empty")).with_help(
            match around.secrets {
                Secrets::Environment => "set this variable of the environment",
                Secrets::Files(_) => {
                    "whoever runs the server puts secrets into `secrets/TENANT/NAME` of its data \
                     directory"
                }
            },
        )
    })
}

fn read_secret(path: &Path) -> Option<Vec<u8>> {
    if !std::fs::metadata(path).is_ok_and(|found| found.is_file()) {
        return None;
    }
    let mut text = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(LONGEST_SECRET).read_to_end(&mut text).ok()?;
    Some(text)
}

/// As the Standard Webhooks have it, or any text.
fn signing_key(text: &[u8]) -> Option<Vec<u8>> {
    let key = match text.strip_prefix(b"whsec_") {
        Some(encoded) => from_base64(encoded)?,
        None => text.to_vec(),
    };
    (key.len() >= SHORTEST_KEY).then_some(key)
}

/// Base64 with padding (RFC 4648, section 4).
fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"==").or(text.strip_suffix(b"=")).unwrap_or(text);
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    for four in text.chunks(4) {
        let mut bits = 0_u32;
        for byte in four {
            let digit = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(digit);
        }
        let [_, a, b, c] = (bits << (6 * (4 - four.len()))).to_be_bytes();
        match four.len() {
            4 => out.extend([a, b, c]),
            3 => out.extend([a, b]),
            2 => out.push(a),
            _ => return None,
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn parse(settings: &str) -> Result<WebhookSpec, String> {
        let job = format!(
            "[job]\nname = 'j'\n[[source]]\nname = 'in'\nconnector = 'stdin'\n\
             [[sink]]\nname = 'out'\ninput = 'in'\nconnector = 'http'\n{settings}\n"
        );
        let spec = config::parse(&job, Path::new("job.toml"), &[]).map_err(|e| e.to_string())?;
        match &spec.sinks[0].connector {
            config::job::SinkConnector::Http(webhook) => Ok((**webhook).clone()),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn a_webhook_is_read_with_its_secrets_from_the_environment_and_does_not_show_them() {
        let spec = parse(
            "url = 'https://Hooks.Example.com/in?a=b'\nbatch_records = 7\nrefused = 'drop'\n\
             headers = { X-Token = 'abc', x-home = { env = 'PATH' } }\n\
             sign_with = 'whsec_MDEyMzQ1Njc4OWFiY2RlZg=='",
        );
        let spec = spec.unwrap();
        assert_eq!((spec.url.host.as_str(), spec.url.port), ("hooks.example.com", 443));
        assert_eq!((spec.url.path.as_str(), spec.batch_records), ("/in?a=b", 7));
        assert_eq!(spec.url.to_string(), "https://Hooks.Example.com/in");
        assert_eq!(spec.sign_with, Some(Secret(b"0123456789abcdef".to_vec())));
        assert_eq!((spec.headers.len(), spec.reach), (2, Reach::Any));
        assert!(!format!("{spec:?}").contains("abc"), "{spec:?}");
    }

    #[test]
    fn every_mistake_of_a_webhook_is_told() {
        const URL: &str = "url = 'http://x/'\n";
        for (settings, said) in [
            (String::new(), "has no `url`"),
            ("url = 'x'".to_owned(), "with http:// or https://"),
            ("url = 'http://me@x/'".to_owned(), "without a user"),
            (format!("{URL}headers.host = 'y'"), "set by the sink itself"),
            (format!("{URL}headers.webhook-id = 'y'"), "set by the sink itself"),
            (format!("{URL}headers.x = {{ env = 'NOT_THERE_AT_ALL' }}"), "not there, or empty"),
            (format!("{URL}headers.x = {{ secret = 'y' }}"), "where the secret is"),
            (format!("{URL}sign_with = 'short'"), "16 bytes"),
            (format!("{URL}sign_with = 'whsec_!'"), "base64"),
        ] {
            let error = parse(&settings).unwrap_err();
            assert!(error.contains(said), "{settings}: {error}");
        }
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, bytes) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")]
        {
            assert_eq!(from_base64(text.as_bytes()), Some(bytes.as_bytes().to_vec()));
        }
        assert_eq!(from_base64(b"Z"), None);
    }
}
