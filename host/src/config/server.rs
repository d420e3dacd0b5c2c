//! The checked model of a server's configuration. Reading it is `read_server`'s; what each key
//! means for users stands in `docs/server-configuration.md`.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use rustls::pki_types::CertificateDer;

use super::{job::HttpHost, server_view::Setting, traces::TracesSpec};
use crate::ids::TenantId;

/// A configuration, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configured {
    /// It.
    pub spec: ServerSpec,
    /// Where each value that is given stands, by its table and key.
    pub(super) sources: BTreeMap<String, Source>,
}

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In this line of the file, from 1.
    File(usize),
    /// In this variable of the environment.
    Environment(String),
}

impl Configured {
    /// Where the value of a setting stands; none if nobody gave one.
    #[must_use]
    pub fn source(&self, of: &Setting) -> Option<&Source> {
        self.sources.get(&format!("{}.{}", of.table, of.key))
    }
}

/// Certificates that were read from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificates {
    /// Which.
    pub file: PathBuf,
    /// What is in it.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// The files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// `[tls] certificate`: PEM, with those that it is signed by.
    pub certificate: PathBuf,
    /// `[tls] key`: its secret key, PEM.
    pub key: PathBuf,
}

/// A server's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSpec {
    /// `[server] listen`: where it listens; `127.0.0.1:8080` if not given.
    pub listen: SocketAddr,
    /// `[server] shutdown_timeout`: how long jobs may take for their final checkpoints when the
    /// server is asked to end; 30 s if not given.
    pub shutdown_timeout: Duration,
    /// `[server] max_connections`: how many there may be at once; 1024 if not given.
    pub max_connections: usize,
    /// `[server] read_timeout`: how long a client may take for the head of a request, and from one
    /// piece of its body to the next; 30 s if not given.
    pub read_timeout: Duration,
    /// `[tls]`: with what connections are encrypted; not at all if not given.
    pub tls: Option<TlsFiles>,
    /// `[auth] open_on_loopback`: whether who comes from this machine needs no token, and may do
    /// everything; no if not given.
    pub open_on_loopback: bool,
    /// `[task_manager] slots`: how many slots there are; 16 for each core if not given.
    pub slots: Option<u32>,
    /// `[task_manager] memory`: what all slots may hold together, in bytes; a share of the
    /// machine's if not given.
    pub memory: Option<usize>,
    /// `[audit] keep`: how many calls of a tenant that changed something are remembered; 1,000 if
    /// not given.
    pub audited_calls: usize,
    /// `[limits] requests_per_second` and `burst`: of each tenant; 1,000 and 2,000 if not given.
    pub requests: RequestLimit,
    /// `[limits] failed_tokens_per_minute`: how many tokens that open nothing an address may try;
    /// 60 if not given. No limit if 0.
    pub failed_tokens_per_minute: u32,
    /// `[limits.tenants.NAME]`: what is otherwise for this tenant.
    pub tenant_limits: BTreeMap<TenantId, TenantLimits>,
    /// `[artifacts] max_size`: the longest upload, in bytes; 64 MiB if not given.
    pub max_artifact: usize,
    /// `[artifacts] max_storage`: bytes of all artifacts that a tenant may keep; 4 GiB if not given.
    pub max_storage: u64,
    /// `[ingest] max_body`: the longest request that posts records, in bytes; 8 MiB if not given.
    pub max_post: usize,
    /// `[ingest] max_log`: what is kept of what was posted to a source and is not covered by a
    /// checkpoint yet, in bytes; 256 MiB if not given.
    pub max_log: u64,
    /// `[ingest] key_window`: for how long idempotency keys are remembered; a day if not given.
    pub key_window: Duration,
    /// `[jobs] max_subtasks`: how many subtasks a job may have; 256 if not given.
    pub max_subtasks: u32,
    /// `[jobs] max_live`: how many jobs of a tenant may run or wait at once; 1,000 if not given.
    pub max_live: u32,
    /// `[jobs] idle_after`: after how long without work an operator's slot gives the memory of its
    /// guest back; 5 min if not given, never if 0.
    pub idle_after: Duration,
    /// `[jobs] history`: how many jobs of a tenant that have ended are remembered; 1,000 if not
    /// given.
    pub history: u32,
    /// `[playground]`: what trying an operator may take.
    pub playground: PlaygroundLimits,
    /// `[log]`: what is logged, and how.
    pub log: LogSpec,
    /// `[disk]`: how the room of the data directory is watched.
    pub disk: DiskLimits,
    /// `[network] ports`: which TCP ports operators may reach at all; 80 and 443 if not given.
    pub ports: Vec<u16>,
    /// `[network] webhook_hosts`: hosts that sinks `http` may reach although their addresses are
    /// private; none if not given.
    pub webhook_hosts: Vec<HttpHost>,
    /// `[network] webhook_ca`: whom sinks `http` trust at these hosts, beside those that everybody
    /// trusts.
    pub webhook_ca: Option<Certificates>,
    /// `[files] shared`: directories that job files of every tenant may name.
    pub shared_files: Vec<PathBuf>,
    /// `[files.tenants] NAME`: directories that job files of this tenant may name.
    pub tenant_files: BTreeMap<TenantId, Vec<PathBuf>>,
    /// `[traces]`
    pub traces: TracesSpec,
}

/// What trying an operator may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaygroundLimits {
    /// `at_once`: how many of a tenant may be under way; 2 if not given. None at all if 0.
    pub at_once: u32,
    /// `records`: how many it may be fed; 1,000 if not given.
    pub records: usize,
    /// `input`: the longest request, in bytes; 1 MiB if not given.
    pub input: usize,
    /// `output`: how many bytes of what it emits and rejects are told; 1 MiB if not given.
    pub output: usize,
    /// `time`: how long it may take; 10 s if not given.
    pub time: Duration,
    /// `memory`: the largest slot, in bytes; 256 MiB if not given.
    pub memory: usize,
}

impl Default for PlaygroundLimits {
    fn default() -> Self {
        Self {
            at_once: 2,
            records: 1_000,
            input: 1 << 20,
            output: 1 << 20,
            time: Duration::from_secs(10),
            memory: 256 << 20,
        }
    }
}

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `text`: for people.
    #[default]
    Text,
    /// `json`: an object a line, for programs.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogSpec {
    /// `format`; text if not given.
    pub format: LogFormat,
    /// `level`: `error`, `warn`, `info`, `debug`, `trace`, or filters as of `COFFERDAM_LOG`; `warn`
    /// if not given. `COFFERDAM_LOG` goes before it.
    pub level: Option<String>,
}

/// How the room of the data directory is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskLimits {
    /// `low`: with less free there is a condition `DiskLow`; 1 GiB if not given, or a tenth of the
    /// disk if that is less.
    pub low: Option<u64>,
    /// `full`: with less free there is a condition `DiskFull`, and uploads are refused; 64 MiB if
    /// not given, or a hundredth of the disk if that is less.
    pub full: Option<u64>,
    /// `check_every`: how often that, and the clock, is looked at; 5 s if not given.
    pub check_every: Duration,
}

impl Default for DiskLimits {
    fn default() -> Self {
        Self { low: None, full: None, check_every: Duration::from_secs(5) }
    }
}

impl DiskLimits {
    /// With less free than so many bytes, a disk of this size is low.
    #[must_use]
    pub fn low_of(&self, size: u64) -> u64 {
        self.low.unwrap_or((1 << 30).min(size / 10))
    }

    /// With less free than so many bytes, it is full.
    #[must_use]
    pub fn full_of(&self, size: u64) -> u64 {
        self.full.unwrap_or((64 << 20).min(size / 100))
    }
}

/// How often somebody may ask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RequestLimit {
    /// Requests a second, for long.
    pub a_second: f64,
    /// How many at once, after a while without.
    pub burst: u32,
}

impl Eq for RequestLimit {}

/// What is otherwise for a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantLimits {
    /// `requests_per_second`.
    pub requests_per_second: Option<u32>,
    /// `burst`.
    pub burst: Option<u32>,
    /// `max_artifact`: its longest upload, in bytes.
    pub max_artifact: Option<usize>,
}

impl Default for ServerSpec {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            shutdown_timeout: Duration::from_secs(30),
            max_connections: 1024,
            read_timeout: Duration::from_secs(30),
            tls: None,
            open_on_loopback: false,
            slots: None,
            memory: None,
            audited_calls: 1_000,
            requests: RequestLimit { a_second: 1_000.0, burst: 2_000 },
            failed_tokens_per_minute: 60,
            tenant_limits: BTreeMap::new(),
            max_artifact: 64 << 20,
            max_storage: 4 << 30,
            max_post: 8 << 20,
            max_log: 256 << 20,
            key_window: Duration::from_secs(24 * 3_600),
            max_subtasks: 256,
            max_live: 1_000,
            history: 1_000,
            idle_after: Duration::from_secs(300),
            playground: PlaygroundLimits::default(),
            log: LogSpec::default(),
            disk: DiskLimits::default(),
            ports: vec![80, 443],
            webhook_hosts: Vec::new(),
            webhook_ca: None,
            shared_files: Vec::new(),
            tenant_files: BTreeMap::new(),
            traces: TracesSpec::default(),
        }
    }
}

impl ServerSpec {
    /// How often a tenant may ask; whoever speaks for all of them, if none.
    #[must_use]
    pub fn requests_of(&self, tenant: Option<&TenantId>) -> RequestLimit {
        let own = tenant.and_then(|tenant| self.tenant_limits.get(tenant));
        RequestLimit {
            a_second: own
                .and_then(|own| own.requests_per_second)
                .map_or(self.requests.a_second, f64::from),
            burst: own.and_then(|own| own.burst).unwrap_or(self.requests.burst),
        }
    }

    /// How often an address may try tokens that open nothing, if there is a limit.
    #[must_use]
    pub fn failed_tokens(&self) -> Option<RequestLimit> {
        let burst = self.failed_tokens_per_minute;
        (burst > 0).then(|| RequestLimit { a_second: f64::from(burst) / 60.0, burst })
    }

    /// The longest upload of a tenant, in bytes.
    #[must_use]
    pub fn max_artifact_of(&self, tenant: &TenantId) -> usize {
        let own = self.tenant_limits.get(tenant).and_then(|own| own.max_artifact);
        own.unwrap_or(self.max_artifact)
    }

    /// The directories, beside its own, that a tenant's job files may name.
    #[must_use]
    pub fn files_of(&self, tenant: &TenantId) -> Vec<PathBuf> {
        let own = self.tenant_files.get(tenant).into_iter().flatten();
        self.shared_files.iter().chain(own).cloned().collect()
    }
}
