//! What of a plan is shown to people: boxes and arrows, without the types that
//! the plan itself needs.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::{
    plan::{Edge, Plan, Role, Vertex},
    status::VertexKind,
};
use crate::{
    config::job::{
        ArtifactRef, EXPR, OperatorSpec, SinkConnector, SourceConnector, WindowAssigner,
    },
    ids::OperatorName,
    stream::exchange::Exchange,
    task_manager::output::OutputPort,
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
    /// The expressions that it evaluates: `filter = record.delay > 15`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expressions: Vec<String>,
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
    /// Whether both ends run in one task.
    pub chained: bool,
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
    /// What a plan looks like.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let vertices = plan.vertices.iter().map(vertex_view).collect();
        let edges = plan.edges.iter().map(|edge| edge_view(plan, edge)).collect();
        Self { vertices, edges }
    }
}

fn vertex_view(vertex: &Vertex) -> PlanVertex {
    let (kind, detail) = match &vertex.role {
        Role::Source(source) => (VertexKind::Source, source_detail(&source.connector)),
        Role::Operator(operator, _) => (VertexKind::Operator, operator_detail(operator)),
        Role::Sink(sink) => (VertexKind::Sink, sink_detail(&sink.connector)),
    };
    let expressions = match &vertex.role {
        Role::Operator(operator, _) => expressions_of(operator),
        Role::Source(_) | Role::Sink(_) => Vec::new(),
    };
    let (name, parallelism) = (vertex.name.clone(), vertex.parallelism);
    PlanVertex { name, kind, detail, expressions, parallelism }
}

fn edge_view(plan: &Plan, edge: &Edge) -> PlanEdge {
    let from = &plan.vertices[edge.from];
    let from_port = match (edge.port, &from.role) {
        (OutputPort::Number(0), _) => None,
        (OutputPort::Number(number), Role::Operator(operator, _)) => {
            let name = operator.ports.get(number as usize);
            Some(name.map_or_else(|| number.to_string(), ToString::to_string))
        }
        (OutputPort::Number(number), _) => Some(number.to_string()),
        (OutputPort::Late, _) => Some("late".to_owned()),
        (OutputPort::DeadLetters, _) => Some("dead-letters".to_owned()),
    };
    let exchange = match edge.exchange {
        Exchange::Forward => ExchangeKind::Forward,
        Exchange::Hash(_) => ExchangeKind::Hash,
        Exchange::Rebalance => ExchangeKind::Rebalance,
    };
    let to = plan.vertices[edge.to].name.clone();
    let (from, to_port, chained) = (from.name.clone(), edge.input, edge.chained);
    PlanEdge { from, from_port, to, to_port, exchange, chained }
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
        SourceConnector::Http(_) => "http".to_owned(),
    }
}

fn sink_detail(connector: &SinkConnector) -> String {
    match connector {
        SinkConnector::Csv { .. } => "csv",
        SinkConnector::JsonLines(_) => "jsonl",
        SinkConnector::Lines(_) => "lines",
        SinkConnector::Stdout { .. } => "stdout",
        SinkConnector::Discard => "discard",
        SinkConnector::Http(_) => "http",
    }
    .to_owned()
}

/// The configuration of an operator that evaluates expressions, a line each.
fn expressions_of(operator: &OperatorSpec) -> Vec<String> {
    if operator.artifact.name() != Some(EXPR) {
        return Vec::new();
    }
    let shown = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => {
            let all = all.iter().map(|one| one.as_str().unwrap_or_default());
            all.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    let line = |(key, value): (&String, &Value)| match value {
        Value::Object(inner) => {
            inner.iter().map(|(name, value)| format!("{key}.{name} = {}", shown(value))).collect()
        }
        value => vec![format!("{key} = {}", shown(value))],
    };
    operator.config.iter().flat_map(line).collect()
}

fn operator_detail(operator: &OperatorSpec) -> String {
    let artifact = match &operator.artifact {
        ArtifactRef::Path(path) => {
            path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
        }
        named => named.to_string(),
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
