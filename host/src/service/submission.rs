//! What has to be right before a job is taken: its file, what it grants, the artifacts that it
//! names, how large it is, and that its operators open. The file's own mistakes are told all at
//! once, each with its line. A job that comes back after a restart goes the same way, with the
//! artifacts that it was given then.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{Service, error::ServiceError};
use crate::{
    config::{
        self, HOSTED_ORIGIN, OperatorFault, Override,
        job::{ArtifactRef, EXPR, HttpHost, JobSpec, SinkConnector, SourceConnector},
        webhook::Reach,
    },
    ids::{JobId, OperatorName, TenantId},
    job_manager::{check::check, control::RunOptions, plan::Plan},
    registry::records::{BuiltIn, Pin, VersionRecord},
    task_manager::slots::Request,
    tenancy::grants,
};

/// The longest job file, in bytes, with what is changed of it.
pub const LONGEST_FILE: usize = 256 << 10;
/// How many settings may be changed.
const MOST_OVERRIDES: usize = 100;
/// What a channel of a tenant's job may hold: the host's memory, beside its slots.
const LARGEST_CHANNEL: usize = 8 << 20;
/// The longest line that a source of a tenant's job may read.
const LONGEST_LINE: usize = 16 << 20;

/// A job file, as somebody hands it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Its text.
    pub file: String,
    /// What is changed of it.
    pub overrides: Vec<Override>,
}

/// What each operator runs.
pub(super) type Pins = BTreeMap<OperatorName, Pin>;

impl Submission {
    /// Checks what is given, but not yet what it says.
    ///
    /// # Errors
    /// If a change is none, or it is too long.
    pub fn new(file: String, overrides: &[String]) -> Result<Self, ServiceError> {
        let length = file.len() + overrides.iter().map(String::len).sum::<usize>();
        if length > LONGEST_FILE || overrides.len() > MOST_OVERRIDES {
            return Err(ServiceError::TooLarge { what: "a job file", limit: LONGEST_FILE as u64 });
        }
        let parse = |text: &String| {
            let wrong = |e| ServiceError::Invalid(format!("`set={text}` cannot be used: {e}"));
            text.parse().map_err(wrong)
        };
        let overrides = overrides.iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Self { file, overrides })
    }

    fn mistakes(&self, faults: &[OperatorFault]) -> ServiceError {
        let origin = Path::new(HOSTED_ORIGIN);
        ServiceError::JobFile(config::point_out(&self.file, origin, &self.overrides, faults))
    }
}

impl Service {
    /// Reads a job file of a tenant. Blocks.
    pub(super) fn read(
        &self,
        tenant: &TenantId,
        submission: &Submission,
    ) -> Result<JobSpec, ServiceError> {
        let about = self.tenant(tenant)?;
        let home = self.home_of(tenant)?;
        let others = self.spec.files_of(tenant);
        let Submission { file, overrides } = submission;
        let secrets = self.dir.join("secrets").join(tenant.as_str());
        let mut spec = config::parse_hosted(file, &home, &others, &secrets, overrides)
            .map_err(ServiceError::JobFile)?;
        self.open_webhooks(&mut spec);
        let refused = grants::refused(&about, &spec);
        if !refused.is_empty() {
            return Err(submission.mistakes(&refused));
        }
        check_size(&spec, self.spec.max_subtasks)?;
        Ok(spec)
    }

    /// Lets sinks reach the hosts that the configuration lists, wherever they are, and trust whom
    /// it says there.
    fn open_webhooks(&self, spec: &mut JobSpec) {
        for sink in &mut spec.sinks {
            if let SinkConnector::Http(webhook) = &mut sink.connector {
                let url = &webhook.url;
                let is_it = |host: &HttpHost| {
                    host.name == url.host && host.ports().any(|port| port == url.port)
                };
                if self.spec.webhook_hosts.iter().any(is_it) {
                    webhook.reach = Reach::Any;
                    let ca = self.spec.webhook_ca.iter();
                    webhook.roots.extend(ca.flat_map(|ca| ca.certificates.iter().cloned()));
                }
            }
        }
    }

    /// Finds the artifacts that a job names, and puts their files into it. Blocks.
    pub(super) fn pin(
        &self,
        tenant: &TenantId,
        spec: &mut JobSpec,
        submission: &Submission,
    ) -> Result<Pins, ServiceError> {
        let (mut pins, mut faults) = (Pins::new(), Vec::new());
        let must_be_signed = self.tenant(tenant)?.require_signatures;
        let keys = self.keyring(tenant)?;
        for operator in &mut spec.operators {
            let shown = operator.artifact.to_string();
            let found = match &operator.artifact {
                ArtifactRef::Uploaded { name, version, .. } => {
                    self.find(tenant, name, version.as_ref())?
                }
                ArtifactRef::OfShelf { name, .. } => self.built_in(tenant, name, None)?,
                ArtifactRef::Named(_) | ArtifactRef::Path(_) => {
                    return Err(ServiceError::Internal(format!("`{shown}` was not uploaded")));
                }
            };
            match found {
                // What comes with the program is as trusted as that.
                Some(found)
                    if must_be_signed
                        && found.built_in != BuiltIn::Yes
                        && !keys.trusts(found.signed.as_ref()) =>
                {
                    faults.push(OperatorFault {
                        operator: operator.name.clone(),
                        key: "artifact",
                        message: format!(
                            "`{}@{}` is not signed by a key of tenant `{tenant}`, which takes \
                             signed artifacts only: push the same bytes again with a signature",
                            found.name, found.version
                        ),
                    });
                }
                Some(found) => {
                    let built_in = found.built_in == BuiltIn::Yes;
                    let pin = Pin {
                        name: found.name,
                        version: found.version,
                        digest: found.digest,
                        built_in,
                    };
                    let file = Some(self.file_of(&found.digest)?);
                    put_file(&mut operator.artifact, &pin, file);
                    pins.insert(operator.name.clone(), pin);
                }
                None => faults.push(OperatorFault {
                    operator: operator.name.clone(),
                    key: "artifact",
                    message: self.not_found(tenant, &shown)?,
                }),
            }
        }
        if faults.is_empty() { Ok(pins) } else { Err(submission.mistakes(&faults)) }
    }

    fn not_found(&self, tenant: &TenantId, shown: &str) -> Result<String, ServiceError> {
        let mut known: Vec<_> = self.built_in.names().map(ToString::to_string).collect();
        for record in self.registry.all::<VersionRecord>(&[tenant.as_str()])? {
            known.push(format!("{}@{}", record.name, record.version));
            known.push(record.name.to_string());
        }
        let nearest = known.iter().map(|known| (strsim::osa_distance(shown, known), known)).min();
        let suggestion = match nearest {
            Some((distance, known)) if distance <= (shown.len() / 3).max(1) => {
                format!(" (did you mean `{known}`?)")
            }
            _ if shown == EXPR && self.built_in.is_empty() => {
                return Ok(format!(
                    "`{EXPR}` comes with the program, but this server was started without the \
                     operators that do: put the release's folder `operators` beside the program, or \
                     upload `{EXPR}` under that name"
                ));
            }
            _ => String::new(),
        };
        Ok(format!(
            "there is no artifact `{shown}` of tenant `{tenant}`{suggestion}; upload it with PUT \
             /v1/artifacts/NAME/versions/VERSION"
        ))
    }

    /// Puts the files of the artifacts that a job was given into it, however they are called by
    /// now. Blocks.
    pub(super) fn pin_again(&self, spec: &mut JobSpec, pins: &Pins) -> Result<(), ServiceError> {
        for operator in &mut spec.operators {
            let pin = pins.get(&operator.name).ok_or_else(|| {
                ServiceError::Internal(format!("operator `{}` has no artifact", operator.name))
            })?;
            let file = self.file_of(&pin.digest)?;
            if !file.exists() {
                return Err(ServiceError::JobRefused(format!(
                    "the bytes of `{}@{}`, which operator `{}` runs, are gone: put sha256-{}.wasm \
                     back into the server's directory `artifacts`, or submit the job anew",
                    pin.name, pin.version, operator.name, pin.digest
                )));
            }
            put_file(&mut operator.artifact, pin, Some(file));
        }
        Ok(())
    }

    /// Opens each operator once, and sees whether there can ever be slots enough.
    pub(super) async fn try_out(
        &self,
        tenant: &TenantId,
        spec: &JobSpec,
        submission: &Submission,
    ) -> Result<Plan, ServiceError> {
        let checking = self.checks.acquire().await;
        let _checking =
            checking.map_err(|_| ServiceError::Unavailable("the service is ending".to_owned()))?;
        let plan = check(spec, &self.options_of(tenant, None)).await.map_err(|findings| {
            if findings.operators.is_empty() {
                ServiceError::JobRefused(findings.job.unwrap_or_default())
            } else {
                submission.mistakes(&findings.operators)
            }
        })?;
        let request = Request {
            tenant: tenant.clone(),
            job: spec.job.name.clone(),
            priority: spec.job.priority,
            slots: plan.slots(),
            preempts: spec.job.preempts,
        };
        let slots = self.task_manager.slots.check(&request);
        slots.map_err(|refused| ServiceError::JobRefused(refused.to_string()))?;
        Ok(plan)
    }

    /// How a job of a tenant is run; with an identifier, where its state is.
    pub(super) fn options_of(&self, tenant: &TenantId, id: Option<JobId>) -> RunOptions {
        RunOptions {
            tenant: tenant.clone(),
            task_manager: Some(self.task_manager.clone()),
            state: id.map(|id| self.job_dir(id).join("state")),
            usage: Some(self.ledger.clone()),
            id,
            ..RunOptions::default()
        }
    }
}

/// Says which file an operator's artifact is.
fn put_file(artifact: &mut ArtifactRef, pin: &Pin, file: Option<PathBuf>) {
    let name = pin.name.clone();
    *artifact = match artifact {
        ArtifactRef::OfShelf { .. } => ArtifactRef::OfShelf { name, file },
        _ => ArtifactRef::Uploaded { name, version: Some(pin.version.clone()), file },
    };
}

/// What of a job takes the host's own memory is bounded: its slots have their meters, but its
/// channels and sources have none.
fn check_size(spec: &JobSpec, most: u32) -> Result<(), ServiceError> {
    let each = spec.job.parallelism;
    let sources = spec.sources.iter().map(|s| s.parallelism.unwrap_or(each));
    let operators = spec.operators.iter().map(|o| o.parallelism.unwrap_or(each));
    let sinks = spec.sinks.iter().map(|s| s.parallelism);
    let subtasks = sources.chain(operators).chain(sinks).fold(0, u32::saturating_add);
    let refuse = |text: String| Err(ServiceError::JobRefused(text));
    if subtasks > most {
        return refuse(format!(
            "it has {subtasks} subtasks, and may have {most}: lower its parallelism"
        ));
    }
    if spec.job.channel_capacity > LARGEST_CHANNEL {
        return refuse(format!("`channel_capacity` is {LARGEST_CHANNEL} bytes at most"));
    }
    for source in &spec.sources {
        let max_line = match &source.connector {
            SourceConnector::Csv(csv) => csv.files.max_line,
            SourceConnector::JsonLines(jsonl) => jsonl.files.max_line,
            SourceConnector::Lines(files) => files.max_line,
            SourceConnector::Http(http) => http.max_line,
            SourceConnector::Generator(_) | SourceConnector::Stdin => 0,
        };
        if max_line > LONGEST_LINE {
            return refuse(format!(
                "`max_line` of source `{}` is {LONGEST_LINE} bytes at most",
                source.name
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(job: &str, source: &str, sink: &str) -> Result<(), String> {
        let text = format!(
            "[job]\nname = 'j'\n{job}\n[[source]]\nname = 'in'\nconnector = 'generator'\n{source}\n\
             [[sink]]\nname = 'out'\ninput = 'in'\nconnector = 'discard'\n{sink}\n"
        );
        let spec = config::parse(&text, Path::new("job.toml"), &[]).map_err(|e| e.to_string())?;
        check_size(&spec, 256).map_err(|error| error.to_string())
    }

    #[test]
    fn a_job_that_would_take_the_hosts_memory_is_refused() {
        assert_eq!(size("", "", ""), Ok(()));
        assert_eq!(size("max_parallelism = 300\nparallelism = 255", "", ""), Ok(()));
        for (job, source, sink) in [
            ("max_parallelism = 300\nparallelism = 256", "", ""),
            ("max_parallelism = 300", "parallelism = 256", ""),
            ("max_parallelism = 32768", "parallelism = 32768", "parallelism = 32768"),
            ("channel_capacity = '9MiB'", "", ""),
        ] {
            let error = size(job, source, sink).unwrap_err();
            assert!(error.contains("cannot run here"), "{error}");
        }
    }
}
