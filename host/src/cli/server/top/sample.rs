//! What a server looks like at one moment, read from what it says to Prometheus and from its lists;
//! and what happened between two such moments.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::super::text;

/// A server at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// Of each job by its identifier.
    pub(super) jobs: BTreeMap<String, Numbers>,
    pub(super) overview: Value,
    /// Memory that slots have reserved, and may; none for a tenant's token.
    pub(super) memory: Option<(f64, f64)>,
}

/// A job at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Numbers {
    pub(super) name: String,
    pub(super) tenant: String,
    pub(super) state: String,
    uptime: Option<f64>,
    records_in: Option<f64>,
    records_out: Option<f64>,
    cpu_seconds: Option<f64>,
    /// By operator: how busy it is, and how many records have come in. A source, which has none,
    /// is at work while it waits for its rate.
    busy: BTreeMap<String, (f64, f64)>,
    backpressured: f64,
    memory: f64,
    restarts: f64,
    checkpoints: f64,
    checkpoints_failed: f64,
    last_checkpoint_seconds: Option<f64>,
    error: Option<String>,
}

/// A job between two moments, as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) tenant: String,
    pub(super) state: String,
    /// Since it was started in the server's process; none if it does not run.
    pub(super) uptime_seconds: Option<f64>,
    /// What its sources brought in; none if it was not there, or began anew, in between.
    pub(super) records_in_per_second: Option<f64>,
    pub(super) records_out_per_second: Option<f64>,
    /// Of its busiest operator, 0 to 1.
    pub(super) busy: f64,
    pub(super) backpressured: f64,
    /// Of one core, by its guests: 1 is a whole one.
    pub(super) cpu: Option<f64>,
    pub(super) memory_bytes: f64,
    pub(super) restarts: f64,
    pub(super) checkpoints_completed: f64,
    pub(super) checkpoints_failed: f64,
    pub(super) last_checkpoint_seconds: Option<f64>,
    pub(super) error: Option<String>,
}

/// A line of OpenMetrics: the name, what is between the braces, and the value.
fn parts(line: &str) -> Option<(&str, &str, f64)> {
    let (named, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    Some(match named.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?, value),
        None => (named, "", value),
    })
}

/// A label. What is looked for are names of ours, in which nothing is escaped.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels
        .split(',')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
}

impl Sample {
    /// Puts what a server says to Prometheus, a list of jobs and its overview together.
    pub(super) fn of(metrics: &str, listed: &[Value], overview: Value) -> Self {
        let mut jobs: BTreeMap<String, Numbers> = BTreeMap::new();
        let (mut reserved, mut limit) = (None, None);
        for (name, labels, value) in metrics.lines().filter_map(parts) {
            match name {
                "cofferdam_taskmanager_memory_reserved_bytes" => reserved = Some(value),
                "cofferdam_taskmanager_memory_limit_bytes" => limit = Some(value),
                name if name.starts_with("cofferdam_job_")
                    || name.starts_with("cofferdam_operator_") =>
                {
                    let Some(id) = label(labels, "job_id") else { continue };
                    let job = jobs.entry(id.to_owned()).or_default();
                    if job.name.is_empty() {
                        let own = |key| label(labels, key).unwrap_or_default().to_owned();
                        (job.name, job.tenant) = (own("job_name"), own("tenant"));
                        // Only what runs has numbers; the list may say it better.
                        "running".clone_into(&mut job.state);
                    }
                    job.take(name, label(labels, "operator").unwrap_or_default(), value);
                }
                _ => {}
            }
        }
        for job in listed {
            let of = jobs.entry(text(&job["id"]).to_owned()).or_default();
            for (member, key) in
                [(&mut of.name, "name"), (&mut of.tenant, "tenant"), (&mut of.state, "state")]
            {
                text(&job[key]).clone_into(member);
            }
            of.error = job["error"].as_str().map(str::to_owned);
        }
        Self { jobs, overview, memory: reserved.zip(limit) }
    }

    /// What happened since another moment, which was so many seconds ago.
    pub(super) fn since(&self, before: &Self, seconds: f64) -> Vec<Row> {
        let rate = |now: Option<f64>, then: Option<f64>| match (now, then) {
            // Counters begin anew with the server.
            (Some(now), Some(then)) if now >= then && seconds > 0.0 => Some((now - then) / seconds),
            _ => None,
        };
        let rows = self.jobs.iter().map(|(id, now)| {
            let then = before.jobs.get(id).cloned().unwrap_or_default();
            Row {
                id: id.clone(),
                name: now.name.clone(),
                tenant: now.tenant.clone(),
                state: now.state.clone(),
                uptime_seconds: now.uptime,
                records_in_per_second: rate(now.records_in, then.records_in),
                records_out_per_second: rate(now.records_out, then.records_out),
                busy: now.busy(),
                backpressured: now.backpressured,
                cpu: rate(now.cpu_seconds, then.cpu_seconds),
                memory_bytes: now.memory,
                restarts: now.restarts,
                checkpoints_completed: now.checkpoints,
                checkpoints_failed: now.checkpoints_failed,
                last_checkpoint_seconds: now.last_checkpoint_seconds,
                error: now.error.clone(),
            }
        });
        rows.collect()
    }
}

impl Numbers {
    /// How busy the busiest is of those that records come to.
    fn busy(&self) -> f64 {
        let all = self.busy.values().filter(|(_, records_in)| *records_in > 0.0);
        all.map(|(busy, _)| *busy).fold(0.0, f64::max)
    }

    fn take(&mut self, metric: &str, operator: &str, value: f64) {
        let add = |to: &mut Option<f64>| *to = Some(to.unwrap_or(0.0) + value);
        match metric {
            "cofferdam_job_uptime_seconds" => self.uptime = Some(value),
            "cofferdam_job_records_in_total" => self.records_in = Some(value),
            "cofferdam_job_records_out_total" => self.records_out = Some(value),
            "cofferdam_job_restarts_total" => self.restarts = value,
            "cofferdam_job_checkpoints_completed_total" => self.checkpoints = value,
            "cofferdam_job_checkpoints_failed_total" => self.checkpoints_failed = value,
            "cofferdam_job_last_checkpoint_duration_seconds" => {
                self.last_checkpoint_seconds = Some(value);
            }
            "cofferdam_operator_busy_ratio" => {
                self.busy.entry(operator.to_owned()).or_default().0 = value;
            }
            "cofferdam_operator_records_in_total" => {
                self.busy.entry(operator.to_owned()).or_default().1 = value;
            }
            "cofferdam_operator_backpressured_ratio" => {
                self.backpressured = self.backpressured.max(value);
            }
            "cofferdam_operator_memory_bytes" => self.memory += value,
            "cofferdam_operator_guest_cpu_seconds_total" => add(&mut self.cpu_seconds),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metrics(records: u32, cpu: f64) -> String {
        let job = "tenant=\"acme\",job_id=\"aa\",job_name=\"flights\"";
        format!(
            "# HELP cofferdam_job_restarts Restarts.\n\
             cofferdam_taskmanager_memory_reserved_bytes 7\n\
             cofferdam_taskmanager_memory_limit_bytes 70\n\
             cofferdam_job_uptime_seconds{{{job}}} 12.5\n\
             cofferdam_job_records_in_total{{{job}}} {records}\n\
             cofferdam_operator_busy_ratio{{{job},operator=\"a\"}} 0.25\n\
             cofferdam_operator_busy_ratio{{{job},operator=\"b\"}} 0.75\n\
             cofferdam_operator_busy_ratio{{{job},operator=\"source\"}} 1.0\n\
             cofferdam_operator_records_in_total{{{job},operator=\"a\"}} 1\n\
             cofferdam_operator_records_in_total{{{job},operator=\"b\"}} 1\n\
             cofferdam_operator_records_in_total{{{job},operator=\"source\"}} 0\n\
             cofferdam_operator_memory_bytes{{{job},operator=\"a\"}} 10\n\
             cofferdam_operator_memory_bytes{{{job},operator=\"b\"}} 20\n\
             cofferdam_operator_guest_cpu_seconds_total{{{job},operator=\"a\"}} {cpu}\n\
             cofferdam_operator_guest_cpu_seconds_total{{{job},operator=\"b\"}} 1\n\
             cofferdam_operator_guest_gauge{{{job},metric=\"x}} y, z\"}} 3\n# EOF\n"
        )
    }

    #[test]
    fn what_happened_between_two_moments_is_told_by_the_second() {
        let listed = [
            json!({"id": "aa", "name": "flights", "tenant": "acme", "state": "restarting"}),
            json!({"id": "bb", "name": "waits", "tenant": "acme", "state": "queued"}),
        ];
        let then = Sample::of(&metrics(100, 1.0), &listed, Value::Null);
        let now = Sample::of(&metrics(300, 2.0), &listed, Value::Null);
        assert_eq!(now.memory, Some((7.0, 70.0)));
        let rows = now.since(&then, 2.0);
        let [flights, waits] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!((flights.name.as_str(), flights.state.as_str()), ("flights", "restarting"));
        assert_eq!((flights.records_in_per_second, flights.cpu), (Some(100.0), Some(0.5)));
        assert_eq!((flights.busy, flights.memory_bytes), (0.75, 30.0));
        assert_eq!(flights.records_out_per_second, None);
        assert_eq!((waits.state.as_str(), waits.uptime_seconds), ("queued", None));
        // A server that was started again counts anew.
        assert_eq!(then.since(&now, 2.0)[0].records_in_per_second, None);
        // What is not in the list any more is known by its numbers.
        let unlisted = Sample::of(&metrics(1, 1.0), &[], Value::Null);
        let job = &unlisted.jobs["aa"];
        assert_eq!((job.name.as_str(), job.tenant.as_str()), ("flights", "acme"));
    }
}
