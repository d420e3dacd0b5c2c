//! `/metrics`: what there is to see, in the text format of Prometheus (OpenMetrics 1.0). What the
//! metrics are stands in `named`. Only what runs has metrics of its own, but for failures of jobs that
//! ended within the last hour, so that there are never many more series than jobs, vertices and
//! subtasks that run; how many metrics of its own an operator
//! may have, the sandbox bounds.

mod named;

use std::{borrow::Cow, collections::BTreeMap, fmt};

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::{Registry, Unit},
};

use self::named::{BYTES, Metric, Number, OF_JOB, OF_TASK_MANAGER, OF_VERTEX, SECONDS, amount};
use super::{Answer, Shared, problem::Problem};
use crate::{
    job_manager::status::{FailureCount, JobStatus, VertexStatus},
    sandbox::{GuestMetrics, Histogram},
    service::{
        access::Caller,
        conditions::ConditionKind,
        seen::{DiskSeen, JobSeen, Seen},
    },
};

/// Before each name.
const PREFIX: &str = "cofferdam";
/// What is said of a job of three vertices, in bytes, about: text that grows is copied.
const OF_A_JOB: usize = 8 << 10;
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Metrics for Prometheus
///
/// A token of a tenant sees that tenant's, one for every tenant all, and the TaskManager's.
#[utoipa::path(get, path = "/metrics", operation_id = "showMetrics",
    responses((status = 200, description = "OpenMetrics 1.0", body = String,
        content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(caller: Caller, State(service): State<Shared>) -> Answer<Response> {
    // With a thousand jobs it is seven megabytes of text, for which nobody else is to wait.
    let text = super::blocking(service, move |service| Ok(exposed(service.seen(&caller)))).await?;
    let text = text.map_err(|error| Problem::bug(&error))?;
    let kind = HeaderValue::from_static(CONTENT_TYPE);
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// All of it as text.
fn exposed(seen: Seen) -> Result<String, fmt::Error> {
    let mut text = String::with_capacity(seen.jobs.len() * OF_A_JOB);
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Exposition(seen)));
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// All that is said, of what was seen at one moment.
struct Exposition(Seen);

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exposition").field("jobs", &self.0.jobs.len()).finish_non_exhaustive()
    }
}

/// One of the numbers that a tenant has used.
type OfUsage = fn(&(u64, u64)) -> u64;

/// Names and values; of a thousand jobs there are many, so that none is a copy.
type Labels<'a> = Vec<(&'static str, Cow<'a, str>)>;

fn put<T>(
    encoder: &mut DescriptorEncoder<'_>,
    metric: &Metric<T>,
    things: &[(Labels<'_>, &T)],
) -> fmt::Result {
    let unit = unit(metric.unit);
    let kind = metric.kind;
    let mut family = encoder.encode_descriptor(metric.name, metric.help, unit.as_ref(), kind)?;
    for (labels, thing) in things {
        match (metric.value)(thing) {
            None => {}
            Some(number) if labels.is_empty() => put_number(&mut family, number)?,
            Some(number) => put_number(&mut family.encode_family(labels)?, number)?,
        }
    }
    Ok(())
}

/// As the library has it, whose own word for a ratio is not Prometheus'.
fn unit(name: Option<&str>) -> Option<Unit> {
    name.map(|name| Unit::Other(name.to_owned()))
}

fn put_number(to: &mut MetricEncoder<'_>, number: Number) -> fmt::Result {
    match number {
        Number::Count(n) => to.encode_counter::<NoLabelSet, _, f64>(&n, None),
        Number::Sum(n) => to.encode_counter::<NoLabelSet, _, f64>(&n, None),
        Number::Gauge(n) => to.encode_gauge(&n),
    }
}

/// Which job.
fn of_job(job: &JobSeen) -> Labels<'_> {
    vec![
        ("tenant", job.record.tenant.as_str().into()),
        ("job_id", job.record.id.to_string().into()),
        ("job_name", job.record.name.as_str().into()),
    ]
}

/// The same, and one more.
fn with<'a>(labels: &Labels<'a>, name: &'static str, value: impl Into<Cow<'a, str>>) -> Labels<'a> {
    labels.iter().cloned().chain([(name, value.into())]).collect()
}

/// Jobs of a tenant that are in a state.
fn by_state(jobs: &[JobSeen]) -> BTreeMap<(&str, &'static str), u64> {
    let mut by_state = BTreeMap::new();
    for job in jobs {
        *by_state.entry((job.record.tenant.as_str(), job.state.word())).or_default() += 1;
    }
    by_state
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Seen { jobs, task_manager, .. } = &self.0;
        if let Some(seen) = task_manager {
            for metric in OF_TASK_MANAGER {
                put(&mut encoder, metric, &[(Labels::new(), seen)])?;
            }
        }
        if let Some(seen) = task_manager {
            let help = "1 while the condition of the server holds.";
            let mut family =
                encoder.encode_descriptor("condition", help, None, MetricType::Gauge)?;
            for kind in ConditionKind::OF_SERVER {
                let holds = f64::from(u8::from(seen.machine.conditions.contains(&kind)));
                family.encode_family(&[("type", kind.word())])?.encode_gauge(&holds)?;
            }
        }
        let help = "Jobs, those too that have ended and are remembered.";
        let mut family = encoder.encode_descriptor("jobs", help, None, MetricType::Gauge)?;
        for ((tenant, state), count) in by_state(jobs) {
            let labels = [("tenant", tenant), ("state", state)];
            family.encode_family(&labels)?.encode_gauge(&amount(count))?;
        }
        let running = jobs.iter().filter_map(|job| Some((job, job.status.as_ref()?)));
        let running: Vec<(Labels<'_>, &JobStatus)> =
            running.map(|(job, status)| (of_job(job), &**status)).collect();
        self.put_tenants(&mut encoder, &running)?;
        self.put_disks(&mut encoder)?;
        for metric in OF_JOB {
            put(&mut encoder, metric, &running)?;
        }
        put_failures(&mut encoder, jobs, &running)?;
        let vertices: Vec<(Labels<'_>, &VertexStatus)> = running
            .iter()
            .flat_map(|(labels, job)| job.vertices.iter().map(move |vertex| (labels, vertex)))
            .map(|(labels, vertex)| (with(labels, "operator", vertex.name.as_str()), vertex))
            .collect();
        for metric in OF_VERTEX {
            put(&mut encoder, metric, &vertices)?;
        }
        put_guests(&mut encoder, &vertices)
    }
}

impl Exposition {
    /// Every job of a tenant tells of all of that tenant's.
    fn put_tenants(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        running: &[(Labels<'_>, &JobStatus)],
    ) -> fmt::Result {
        let mut tenants = BTreeMap::new();
        for (_, job) in running {
            let used = tenants.entry(job.tenant.name.as_str()).or_insert((0, 0));
            *used = (used.0.max(job.tenant.guest_millis), used.1.max(job.tenant.core_millis));
        }
        let metrics: [(_, _, OfUsage); 2] = [
            ("tenant_guest_cpu", "How long the tenant's guests ran.", |used| used.0),
            ("tenant_cpu", "How long the tenant had a core.", |used| used.1),
        ];
        for (name, help, value) in metrics {
            let unit = unit(SECONDS);
            let kind = MetricType::Counter;
            let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), kind)?;
            for (tenant, used) in &tenants {
                let sum = Number::Sum(amount(value(used)) / 1e3);
                put_number(&mut family.encode_family(&[("tenant", *tenant)])?, sum)?;
            }
        }
        let Some(seen) = &self.0.task_manager else { return Ok(()) };
        let help = "Memory that the tenant's slots have reserved.";
        let (name, unit) = ("tenant_memory_reserved", unit(BYTES));
        let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        for tenant in &seen.memory.tenants {
            let labels = [("tenant", tenant.tenant.as_str())];
            family.encode_family(&labels)?.encode_gauge(&amount(tenant.reserved as u64))?;
        }
        Ok(())
    }
}

impl Exposition {
    /// What tenants keep on disk, and whether they are refused more.
    fn put_disks(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let disks = &self.0.disks;
        let bytes = unit(BYTES);
        let gauge = MetricType::Gauge;
        let help = "What the tenant keeps on disk: checkpoints, savepoints, posted records.";
        let mut family =
            encoder.encode_descriptor("tenant_disk_used", help, bytes.as_ref(), gauge)?;
        for DiskSeen { disk, .. } in disks {
            let kept = [
                ("checkpoints", disk.checkpoints),
                ("savepoints", disk.savepoints),
                ("posted", disk.posted),
            ];
            for (kept, used) in kept {
                let labels = [("tenant", disk.tenant.as_str()), ("kept", kept)];
                family.encode_family(&labels)?.encode_gauge(&amount(used))?;
            }
        }
        let help = "What the tenant may keep on disk, if that is bounded.";
        let mut family =
            encoder.encode_descriptor("tenant_disk_limit", help, bytes.as_ref(), gauge)?;
        for DiskSeen { disk, .. } in disks {
            if let Some(limit) = disk.limit {
                let labels = [("tenant", disk.tenant.as_str())];
                family.encode_family(&labels)?.encode_gauge(&amount(limit))?;
            }
        }
        let help = "1 while the condition of the tenant holds.";
        let mut family = encoder.encode_descriptor("tenant_condition", help, None, gauge)?;
        for DiskSeen { disk, exceeded } in disks {
            let kind = ConditionKind::DiskQuotaExceeded.word();
            let labels = [("tenant", disk.tenant.as_str()), ("type", kind)];
            family.encode_family(&labels)?.encode_gauge(&f64::from(u8::from(*exceeded)))?;
        }
        Ok(())
    }
}

/// Failures by cause and by whose fault they are. There are as many causes as classes of failures, and
/// a job has series of those only that it met; of those too that have ended lately.
fn put_failures(
    encoder: &mut DescriptorEncoder<'_>,
    jobs: &[JobSeen],
    running: &[(Labels<'_>, &JobStatus)],
) -> fmt::Result {
    let help = "Failures since the job was started in this process, by cause.";
    let mut family = encoder.encode_descriptor("job_failures", help, None, MetricType::Counter)?;
    let running = running.iter().map(|(of_job, job)| (of_job.clone(), &job.restarts.by_cause));
    let ended = jobs.iter().filter(|job| job.status.is_none() && !job.failures.is_empty());
    let ended = ended.map(|job| (of_job(job), &job.failures));
    for (labels, by_cause) in running.chain(ended) {
        for FailureCount { operator, kind, count } in by_cause {
            let mut labels = labels.clone();
            // The job as a whole has no operator.
            let operator = operator.as_ref().map_or("", |name| name.as_str());
            labels.push(("operator", operator.into()));
            labels.push(("cause", kind.word().into()));
            labels.push(("fault", kind.fault().word().into()));
            put_number(&mut family.encode_family(&labels)?, Number::Count(*count))?;
        }
    }
    Ok(())
}

/// Operators' own metrics, by subtask.
fn put_guests(
    encoder: &mut DescriptorEncoder<'_>,
    vertices: &[(Labels<'_>, &VertexStatus)],
) -> fmt::Result {
    let subtasks: Vec<(Labels<'_>, &GuestMetrics)> = vertices
        .iter()
        .flat_map(|(labels, vertex)| {
            vertex
                .guest_metrics
                .iter()
                .enumerate()
                .map(move |(subtask, own)| (with(labels, "subtask", subtask.to_string()), own))
        })
        .collect();
    let help = "A counter of the operator's own, since its instance was made.";
    let mut family =
        encoder.encode_descriptor("operator_guest_counter", help, None, MetricType::Counter)?;
    for (labels, own) in &subtasks {
        for (name, value) in &own.counters {
            let labels = with(labels, "metric", name.as_str());
            put_number(&mut family.encode_family(&labels)?, Number::Count(*value))?;
        }
    }
    let help = "A gauge of the operator's own.";
    let mut family =
        encoder.encode_descriptor("operator_guest_gauge", help, None, MetricType::Gauge)?;
    for (labels, own) in &subtasks {
        for (name, value) in &own.gauges {
            family.encode_family(&with(labels, "metric", name.as_str()))?.encode_gauge(value)?;
        }
    }
    let help = "A histogram of the operator's own, since its instance was made.";
    let mut family =
        encoder.encode_descriptor("operator_guest_histogram", help, None, MetricType::Histogram)?;
    for (labels, own) in &subtasks {
        for (name, histogram) in &own.histograms {
            let labels = with(labels, "metric", name.as_str());
            let mut to = family.encode_family(&labels)?;
            let buckets = buckets(histogram);
            to.encode_histogram::<NoLabelSet>(histogram.sum, histogram.count, &buckets, None)?;
        }
    }
    Ok(())
}

/// Those that hold something, and the last one, which takes the rest.
fn buckets(histogram: &Histogram) -> Vec<(f64, u64)> {
    let last = histogram.buckets.len().saturating_sub(1);
    let bound = |i: usize| match i32::try_from(i) {
        Ok(power) if i < last => 2_f64.powi(power - 16),
        _ => f64::MAX,
    };
    let held = histogram.buckets.iter().enumerate().filter(|(i, n)| **n > 0 || *i == last);
    held.map(|(i, n)| (bound(i), *n)).collect()
}
