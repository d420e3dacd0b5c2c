//! What of a plan is shown to people: boxes and arrows, without the types that
//! the plan itself needs.

use std::fmt;

use serde::Serialize;

use super::status::VertexKind;
use crate::{
    config::job::{
        ArtifactRef, JobSpec, OperatorSpec, OutputRef, PortRef, SinkConnector, SourceConnector,
        WindowAssigner,
    },
    ids::OperatorName,
};

/// A plan as boxes and arrows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanView {
    /// Sources, operators and sinks.
    pub vertices: Vec<PlanVertex>,
    /// Streams between them.
    pub edges: Vec<PlanEdge>,
}

/// A box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanVertex {
    /// Its name.
    pub name: OperatorName,
    /// What it is.
    pub kind: VertexKind,
    /// The connector or artifact, and a window.
    pub detail: String,
    /// How many subtasks.
    pub parallelism: u32,
}

/// An arrow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanEdge {
    /// From which vertex.
    pub from: OperatorName,
    /// From which of its outputs; none for the main one.
    pub from_port: Option<String>,
    /// To which vertex.
    pub to: OperatorName,
    /// To which of its input ports.
    pub to_port: u32,
    /// How records find their subtask.
    pub exchange: ExchangeKind,
}

/// How records go from subtasks to subtasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExchangeKind {
    /// From subtask *i* to subtask *i*.
    Forward,
    /// By the key's key group.
    Hash,
    /// Batch by batch, to each in turn.
    Rebalance,
}

impl fmt::Display for ExchangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Forward => "forward",
            Self::Hash => "hash",
            Self::Rebalance => "rebalance",
        })
    }
}

impl PlanView {
    /// The plan that a job file describes. `keyed` says which operators keep
    /// state by key, which only their components tell.
    #[must_use]
    pub fn of_spec(spec: &JobSpec, keyed: impl Fn(&OperatorSpec) -> bool) -> Self {
        let mut view = Self { vertices: Vec::new(), edges: Vec::new() };
        for source in &spec.sources {
            let parallelism = source.parallelism.unwrap_or(spec.job.parallelism);
            let detail = source_detail(&source.connector);
            view.add(&source.name, VertexKind::Source, detail, parallelism);
        }
        for operator in &spec.operators {
            let parallelism = operator.parallelism.unwrap_or(spec.job.parallelism);
            view.add(&operator.name, VertexKind::Operator, operator_detail(operator), parallelism);
        }
        for sink in &spec.sinks {
            let detail = sink_detail(&sink.connector);
            view.add(&sink.name, VertexKind::Sink, detail, sink.parallelism);
        }
        for operator in &spec.operators {
            let hash = keyed(operator);
            for (port, outputs) in (0..).zip(&operator.inputs) {
                for output in outputs {
                    view.connect(output, &operator.name, port, hash);
                }
            }
        }
        for sink in &spec.sinks {
            for output in &sink.inputs {
                view.connect(output, &sink.name, 0, false);
            }
        }
        view
    }

    fn add(&mut self, name: &OperatorName, kind: VertexKind, detail: String, parallelism: u32) {
        self.vertices.push(PlanVertex { name: name.clone(), kind, detail, parallelism });
    }

    fn connect(&mut self, output: &OutputRef, to: &OperatorName, to_port: u32, hash: bool) {
        let parallelism = |name: &OperatorName| {
            self.vertices.iter().find(|vertex| vertex.name == *name).map(|v| v.parallelism)
        };
        let exchange = match hash {
            true => ExchangeKind::Hash,
            false if parallelism(&output.node) == parallelism(to) => ExchangeKind::Forward,
            false => ExchangeKind::Rebalance,
        };
        let from_port = match &output.port {
            PortRef::Number(0) => None,
            PortRef::Number(number) => Some(number.to_string()),
            PortRef::Name(name) => Some(name.to_string()),
            PortRef::Late => Some("late".to_owned()),
            PortRef::DeadLetters => Some("dead-letters".to_owned()),
        };
        let from = output.node.clone();
        self.edges.push(PlanEdge { from, from_port, to: to.clone(), to_port, exchange });
    }
}

fn source_detail(connector: &SourceConnector) -> String {
    let files = |kind: &str, count: usize| match count {
        1 => format!("{kind}, 1 file"),
        n => format!("{kind}, {n} files"),
    };
    match connector {
        SourceConnector::Csv(csv) => files("csv", csv.files.paths.len()),
        SourceConnector::JsonLines(lines) => files("jsonl", lines.files.paths.len()),
        SourceConnector::Lines(lines) => files("lines", lines.paths.len()),
        SourceConnector::Generator(_) => "generator".to_owned(),
        SourceConnector::Stdin => "stdin".to_owned(),
    }
}

fn sink_detail(connector: &SinkConnector) -> String {
    match connector {
        SinkConnector::Csv { .. } => "csv",
        SinkConnector::JsonLines(_) => "jsonl",
        SinkConnector::Lines(_) => "lines",
        SinkConnector::Stdout { .. } => "stdout",
        SinkConnector::Discard => "discard",
    }
    .to_owned()
}

fn operator_detail(operator: &OperatorSpec) -> String {
    let artifact = match &operator.artifact {
        ArtifactRef::Named(name) => name.to_string(),
        ArtifactRef::Path(path) => {
            path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
        }
    };
    let window = match operator.window.map(|window| window.assigner) {
        None => return artifact,
        Some(WindowAssigner::Tumbling { size, .. }) => format!("tumbling {size:?}"),
        Some(WindowAssigner::Sliding { size, slide, .. }) => {
            format!("sliding {size:?} every {slide:?}")
        }
        Some(WindowAssigner::Session { gap }) => format!("session {gap:?}"),
    };
    format!("{artifact}, {window}")
}
