//! `cofferdam tenant …`: what can be asked, and the help that goes with it.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::server::{args::AtServer, key_args::KeysCommand};
use crate::{
    config::{
        job::{CpuShare, Grant},
        tenant::{self, MOST_COUNT, MOST_WEIGHT},
        units::parse_size,
    },
    ids::TenantId,
    tenancy::{
        registry::{Change, Changes},
        usage::summary::By,
    },
};

/// `cofferdam tenant …`
#[derive(Debug, Subcommand)]
pub enum TenantCommand {
    /// Make a tenant
    #[command(after_help = CREATE_HELP)]
    Create(ChangeArgs),
    /// Change the quotas and grants of a tenant; jobs that run follow within a second
    #[command(after_help = SET_HELP)]
    Set(ChangeArgs),
    /// List all tenants with their quotas
    List(TenantsAt),
    /// Show the quotas and grants of a tenant
    Show(OneArgs),
    /// Delete a tenant; what it has used stays in the records
    Delete(OneArgs),
    /// Show what tenants have used
    #[command(after_help = USAGE_HELP)]
    Usage(UsageArgs),
    /// Register the keys that operators of a tenant are signed with
    #[command(subcommand, arg_required_else_help = true)]
    Keys(KeysCommand),
}

/// Where tenants are kept: by a server, or in a data directory of this machine.
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct TenantsAt {
    /// A data directory of this machine, in the place of a server [default, where no server is
    /// named: COFFERDAM_DATA, else $XDG_DATA_HOME/cofferdam, else ~/.local/share/cofferdam]
    #[arg(long, value_name = "DIR")]
    #[arg(conflicts_with_all = ["server", "profile", "token", "token_file", "tenant", "ca"])]
    pub data: Option<PathBuf>,

    #[command(flatten)]
    pub at: AtServer,
}

/// Whose job it is.
#[derive(Debug, Clone, Default, Args)]
pub struct TenantArgs {
    /// Run it as this tenant, with its quotas and grants, and record what it uses
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub tenant: Option<TenantId>,

    /// Where tenants and usage records are kept [default: COFFERDAM_DATA; with --tenant, else
    /// $XDG_DATA_HOME/cofferdam, else ~/.local/share/cofferdam]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// `cofferdam tenant create` and `set`
#[derive(Debug, Args)]
pub struct ChangeArgs {
    /// The tenant: letters, digits, `-` and `_`
    #[arg(value_name = "NAME", value_parser = name)]
    pub name: TenantId,

    /// Slots (subtasks of operators) that its jobs may hold at once
    #[arg(long, value_name = "N", value_parser = count)]
    pub slots: Option<Setting<u32>>,

    /// Memory that its slots may hold together, such as 2GiB
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub memory: Option<Setting<u64>>,

    /// Keyed state that its operators may keep together, such as 500MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub state: Option<Setting<u64>>,

    /// Jobs that may run at once
    #[arg(long, value_name = "N", value_parser = count)]
    pub jobs: Option<Setting<u32>>,

    /// Different artifacts that its running jobs may use
    #[arg(long, value_name = "N", value_parser = count)]
    pub artifacts: Option<Setting<u32>>,

    /// How large these may be together, such as 64MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub artifact_bytes: Option<Setting<u64>>,

    /// What checkpoints, savepoints and posted records of its jobs may take on disk together, such
    /// as 10GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub disk: Option<Setting<u64>>,

    /// Its share of the cores beside other tenants, 1 to 10000 [default: 100]
    #[arg(long, value_name = "N", value_parser = weight)]
    pub cpu_weight: Option<Setting<u32>>,

    /// What its guests may use at most, all together, of one core: 50%, or 400% for four
    #[arg(long, value_name = "PERCENT", value_parser = cap)]
    pub cpu_cap: Option<Setting<CpuShare>>,

    /// Records that its sources may bring in, such as 1000/s; they are slowed to that
    #[arg(long, value_name = "N/s", value_parser = record_rate)]
    pub ingest_records: Option<Setting<u64>>,

    /// Bytes that its sources may bring in, such as 10MiB/s
    #[arg(long, value_name = "SIZE/s", value_parser = byte_rate)]
    pub ingest_bytes: Option<Setting<u64>>,

    /// What its operators may be granted beyond log, config and metrics, such as
    /// wasi-clocks (may be repeated; replaces what was allowed before)
    #[arg(long = "grant", value_name = "GRANT", value_parser = grant)]
    pub grants: Vec<Setting<Grant>>,

    /// Whether a server takes signed operators only: true, false or none
    #[arg(long, value_name = "BOOL", value_parser = yes_or_no)]
    pub require_signatures: Option<Setting<bool>>,

    #[command(flatten)]
    #[expect(missing_docs, reason = "it says itself what it is")]
    pub place: TenantsAt,
}

/// `cofferdam tenant show` and `delete`
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub struct OneArgs {
    /// The tenant
    #[arg(value_name = "NAME", value_parser = name)]
    pub name: TenantId,

    #[command(flatten)]
    pub place: TenantsAt,
}

/// `cofferdam tenant usage` and `cofferdam usage`
#[derive(Debug, Args)]
pub struct UsageArgs {
    /// The tenant; all of them if not given
    #[arg(value_name = "NAME", value_parser = name)]
    pub name: Option<TenantId>,

    /// From when on: a date, a time with an offset, or how long ago (24h, 7d)
    #[arg(long, value_name = "T")]
    pub since: Option<String>,

    /// Until when, in the same way
    #[arg(long, value_name = "T")]
    pub until: Option<String>,

    /// What makes a row
    #[arg(long, value_enum, default_value_t)]
    pub by: By,

    /// How rows are printed; --json is --format json
    #[arg(long, value_enum, default_value_t, conflicts_with = "json")]
    pub format: Format,

    #[command(flatten)]
    #[expect(missing_docs, reason = "it says itself what it is")]
    pub place: TenantsAt,
}

impl UsageArgs {
    /// How rows are printed.
    pub(super) fn shown_as(&self) -> Format {
        if self.place.at.json { Format::Json } else { self.format }
    }
}

/// How rows of usage are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// Comma-separated values with a header, exact
    Csv,
    /// A list of objects
    Json,
}

/// A value, or `none`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting<T> {
    /// `none`: as if nothing had been said.
    None,
    /// The value.
    To(T),
}

fn setting<T>(
    text: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Setting<T>, String> {
    if text == "none" {
        return Ok(Setting::None);
    }
    read(text).map(Setting::To).map_err(|error| format!("it {error}, or none"))
}

/// The name of a tenant.
pub(super) fn name(text: &str) -> Result<TenantId, String> {
    TenantId::new(text).map_err(|bad| bad.reason.to_owned())
}

fn count(text: &str) -> Result<Setting<u32>, String> {
    setting(text, |text| whole(text, 0, MOST_COUNT))
}

fn weight(text: &str) -> Result<Setting<u32>, String> {
    setting(text, |text| whole(text, 1, MOST_WEIGHT))
}

fn whole(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let read = text.parse().ok().filter(|n| (least..=most).contains(n));
    read.ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

fn size(text: &str) -> Result<Setting<u64>, String> {
    setting(text, |text| {
        parse_size(text).map_err(|why| format!("must be a size such as 64MiB or 2GB, but {why}"))
    })
}

fn memory(text: &str) -> Result<Setting<u64>, String> {
    match size(text)? {
        Setting::To(bytes) if bytes < tenant::LEAST_MEMORY => {
            Err(format!("it must be at least {} bytes, or none", tenant::LEAST_MEMORY))
        }
        size => Ok(size),
    }
}

fn yes_or_no(text: &str) -> Result<Setting<bool>, String> {
    setting(text, |text| text.parse().map_err(|_| "must be true or false".to_owned()))
}

fn cap(text: &str) -> Result<Setting<CpuShare>, String> {
    setting(text, tenant::parse_cap)
}

fn record_rate(text: &str) -> Result<Setting<u64>, String> {
    setting(text, tenant::parse_record_rate)
}

fn byte_rate(text: &str) -> Result<Setting<u64>, String> {
    setting(text, tenant::parse_byte_rate)
}

fn grant(text: &str) -> Result<Setting<Grant>, String> {
    let named = Grant::named(text).map_err(|must| must.replacen("it ", "", 1));
    setting(text, |_| named)
}

impl ChangeArgs {
    /// What is to be changed.
    pub(super) fn changes(&self) -> Changes {
        fn change<T: Clone>(setting: Option<&Setting<T>>) -> Change<T> {
            match setting {
                None => Change::Keep,
                Some(Setting::None) => Change::Remove,
                Some(Setting::To(value)) => Change::Set(value.clone()),
            }
        }
        let granted: Vec<Grant> = self
            .grants
            .iter()
            .filter_map(|setting| match setting {
                Setting::To(grant) => Some(*grant),
                Setting::None => None,
            })
            .collect();
        Changes {
            slots: change(self.slots.as_ref()),
            memory: change(self.memory.as_ref()),
            state: change(self.state.as_ref()),
            jobs: change(self.jobs.as_ref()),
            artifacts: change(self.artifacts.as_ref()),
            artifact_bytes: change(self.artifact_bytes.as_ref()),
            disk: change(self.disk.as_ref()),
            cpu_weight: change(self.cpu_weight.as_ref()),
            cpu_cap: change(self.cpu_cap.as_ref()),
            ingest_records: change(self.ingest_records.as_ref()),
            ingest_bytes: change(self.ingest_bytes.as_ref()),
            grants: match (self.grants.is_empty(), granted.is_empty()) {
                (true, _) => Change::Keep,
                (false, true) => Change::Remove,
                (false, false) => Change::Set(granted),
            },
            require_signatures: change(self.require_signatures.as_ref()),
        }
    }
}

const CREATE_HELP: &str = "\
Examples:
  cofferdam tenant create acme
  cofferdam tenant create acme --slots 8 --memory 2GiB --cpu-cap 150% --grant wasi-clocks
  cofferdam run job.toml --tenant acme

What is not given is not limited. The tenant `default` is there without being made.";

const SET_HELP: &str = "\
Examples:
  cofferdam tenant set acme --slots 16 --ingest-records 50000/s
  cofferdam tenant set acme --cpu-cap none       take a quota away
  cofferdam tenant set acme --grant none         allow no grants but log, config and metrics
  cofferdam tenant set default --memory 4GiB     for jobs for which no tenant is named

Quotas stand in tenants.toml in the data directory, which may be edited, too.
A server that is named, or a current profile, is asked, and has its own: --data DIR means this machine.";

/// The end of `cofferdam usage --help`.
pub const USAGE_HELP: &str = "\
Examples:
  cofferdam tenant usage
  cofferdam tenant usage acme --by job --since 24h
  cofferdam tenant usage --by day --since 2026-11-01 --until 2026-12-01 --format csv > november.csv
  cofferdam tenant usage --by operator --format json | jq '.[] | select(.cpu_seconds > 60)'

A record counts in the period in which it begins; jobs write one every 10 s and at their end.
Work that is done again after a restart counts again.";
