//! The plan: which vertices a job has, with what parallelism, and how their
//! subtasks are connected. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::{
    config::job::{
        JobSpec, OperatorSpec, OutputRef, PortRef, SinkSpec, SourceSpec, WindowAssigner,
    },
    connectors,
    ids::OperatorName,
    sandbox::OperatorKind,
    stream::{exchange::Exchange, keys::KeyGroups},
    task_manager::{SubtaskId, output::OutputPort},
};

/// A job's plan.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Sources, operators and sinks, in the job file's order.
    pub vertices: Vec<Vertex>,
    /// Streams between them.
    pub edges: Vec<Edge>,
    /// The number of key groups.
    pub max_parallelism: u32,
}

/// A source, operator or sink.
#[derive(Debug, Clone)]
pub struct Vertex {
    /// Its name.
    pub name: OperatorName,
    /// What it is.
    pub role: Role,
    /// How many subtasks it has.
    pub parallelism: u32,
}

/// What a vertex is.
#[derive(Debug, Clone)]
pub enum Role {
    /// A source.
    Source(SourceSpec),
    /// An operator, and its kind.
    Operator(Box<OperatorSpec>, OperatorKind),
    /// A sink.
    Sink(SinkSpec),
}

/// A stream from one vertex to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// From which vertex.
    pub from: usize,
    /// From which of its outputs.
    pub port: OutputPort,
    /// To which vertex.
    pub to: usize,
    /// To which of its input ports.
    pub input: u32,
    /// How records find their subtask.
    pub exchange: Exchange,
    /// Whether both ends run in one task.
    pub chained: bool,
}

/// Why a job cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// More subtasks than key groups.
    #[error(
        "`{vertex}` has a parallelism of {parallelism}, more than the job's max_parallelism of {max}"
    )]
    TooParallel {
        /// Which vertex.
        vertex: OperatorName,
        /// Its parallelism.
        parallelism: u32,
        /// The greatest possible.
        max: u32,
    },
    /// Windows belong to keyed operators.
    #[error(
        "operator `{0}` has a `window`, but its artifact keeps no state by key; \
         remove the `window`, or use an operator that exports `keyed-processor`"
    )]
    WindowWithoutKeys(OperatorName),
    /// Session windows need a merge.
    #[error(
        "operator `{0}` has session windows, but its artifact does not export `session-merge`, \
         which says how the states of two sessions become one"
    )]
    SessionsWithoutMerge(OperatorName),
    /// An input names something that is not there.
    #[error("`{vertex}` reads `{input}`, which is not there")]
    UnknownInput {
        /// Which vertex.
        vertex: OperatorName,
        /// What it names.
        input: String,
    },
}

impl Plan {
    /// Plans a job whose operators' artifacts have the given kinds.
    ///
    /// # Errors
    /// If the job does not hang together.
    pub fn new(
        spec: &JobSpec,
        kinds: &HashMap<OperatorName, OperatorKind>,
    ) -> Result<Self, PlanError> {
        let mut plan = Plan {
            vertices: Vec::new(),
            edges: Vec::new(),
            max_parallelism: spec.job.max_parallelism,
        };
        for source in &spec.sources {
            let wanted = source.parallelism.unwrap_or(spec.job.parallelism);
            let splits = connectors::splits(&source.connector);
            let most = splits.and_then(|s| u32::try_from(s).ok()).unwrap_or(u32::MAX).max(1);
            plan.add(&source.name, Role::Source(source.clone()), wanted.min(most))?;
        }
        for operator in &spec.operators {
            let parallelism = operator.parallelism.unwrap_or(spec.job.parallelism);
            let kind = kinds[&operator.name];
            check_windows(operator, kind)?;
            plan.add(
                &operator.name,
                Role::Operator(Box::new(operator.clone()), kind),
                parallelism,
            )?;
        }
        for sink in &spec.sinks {
            plan.add(&sink.name, Role::Sink(sink.clone()), sink.parallelism)?;
        }
        plan.connect_all(spec)?;
        if spec.job.operator_chaining {
            plan.chain();
        }
        Ok(plan)
    }

    fn add(&mut self, name: &OperatorName, role: Role, parallelism: u32) -> Result<(), PlanError> {
        if parallelism > self.max_parallelism {
            return Err(PlanError::TooParallel {
                vertex: name.clone(),
                parallelism,
                max: self.max_parallelism,
            });
        }
        self.vertices.push(Vertex { name: name.clone(), role, parallelism: parallelism.max(1) });
        Ok(())
    }

    fn connect_all(&mut self, spec: &JobSpec) -> Result<(), PlanError> {
        let index: BTreeMap<OperatorName, usize> =
            self.vertices.iter().enumerate().map(|(i, v)| (v.name.clone(), i)).collect();
        for operator in &spec.operators {
            for (input, outputs) in (0..).zip(&operator.inputs) {
                for output in outputs {
                    self.connect(&index, output, &operator.name, input)?;
                }
            }
        }
        for sink in &spec.sinks {
            for output in &sink.inputs {
                self.connect(&index, output, &sink.name, 0)?;
            }
        }
        Ok(())
    }

    fn connect(
        &mut self,
        index: &BTreeMap<OperatorName, usize>,
        output: &OutputRef,
        to: &OperatorName,
        input: u32,
    ) -> Result<(), PlanError> {
        let unknown = || PlanError::UnknownInput { vertex: to.clone(), input: describe(output) };
        let from = *index.get(&output.node).ok_or_else(unknown)?;
        let to_index = *index.get(to).ok_or_else(unknown)?;
        let port = match (&output.port, &self.vertices[from].role) {
            (PortRef::Number(number), _) => OutputPort::Number(*number),
            (PortRef::Late, _) => OutputPort::Late,
            (PortRef::DeadLetters, _) => OutputPort::DeadLetters,
            (PortRef::Name(name), Role::Operator(operator, _)) => {
                let number = operator.ports.iter().position(|p| p == name).ok_or_else(unknown)?;
                OutputPort::Number(u32::try_from(number).map_err(|_| unknown())?)
            }
            (PortRef::Name(_), _) => return Err(unknown()),
        };
        let exchange = self.exchange(from, to_index);
        self.edges.push(Edge { from, port, to: to_index, input, exchange, chained: false });
        Ok(())
    }

    fn exchange(&self, from: usize, to: usize) -> Exchange {
        let (from, to) = (&self.vertices[from], &self.vertices[to]);
        if let Role::Operator(_, OperatorKind::Keyed { .. }) = to.role {
            Exchange::Hash(KeyGroups::new(self.max_parallelism, to.parallelism))
        } else if from.parallelism == to.parallelism {
            Exchange::Forward
        } else {
            Exchange::Rebalance
        }
    }

    /// Chains what can be chained: by an edge that goes straight on, into a vertex
    /// that hears nothing else. Between two single subtasks a keyed edge goes
    /// straight on too; Flink does not chain that one, but here it halves the
    /// processor time of a keyed count (`docs/benchmarks.md`).
    fn chain(&mut self) {
        let mut inputs = vec![0; self.vertices.len()];
        for edge in &self.edges {
            inputs[edge.to] += 1;
        }
        let single = |vertex: usize| self.vertices[vertex].parallelism == 1;
        for edge in &mut self.edges {
            let straight =
                edge.exchange == Exchange::Forward || (single(edge.from) && single(edge.to));
            edge.chained = straight && inputs[edge.to] == 1;
        }
    }

    /// The vertices of each chain, from upstream to downstream. A vertex that is
    /// not chained is a chain of its own.
    #[must_use]
    pub fn chains(&self) -> Vec<Vec<usize>> {
        let before: HashMap<usize, usize> =
            self.edges.iter().filter(|e| e.chained).map(|e| (e.to, e.from)).collect();
        let mut chains: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
        for vertex in 0..self.vertices.len() {
            let (mut head, mut depth) = (vertex, 0);
            while let Some(from) = before.get(&head) {
                (head, depth) = (*from, depth + 1);
            }
            chains.entry(head).or_default().push((depth, vertex));
        }
        let sorted = |mut chain: Vec<(usize, usize)>| {
            chain.sort_unstable();
            chain.into_iter().map(|(_, vertex)| vertex).collect()
        };
        chains.into_values().map(sorted).collect()
    }

    /// A subtask as people read it: `counts/2`.
    #[must_use]
    pub fn subtask(&self, id: SubtaskId) -> String {
        format!("{}/{}", self.vertices[id.vertex].name, id.index)
    }

    /// How many slots the plan needs: one for each subtask of an operator.
    #[must_use]
    pub fn slots(&self) -> u32 {
        let operators = self.vertices.iter().filter(|v| matches!(v.role, Role::Operator(..)));
        operators.map(|v| v.parallelism).sum()
    }
}

/// Whether an operator of this kind can have the window that it is given.
///
/// # Errors
/// If it cannot.
pub fn check_windows(operator: &OperatorSpec, kind: OperatorKind) -> Result<(), PlanError> {
    let Some(window) = operator.window else { return Ok(()) };
    match (kind, window.assigner) {
        (OperatorKind::Processor { .. }, _) => {
            Err(PlanError::WindowWithoutKeys(operator.name.clone()))
        }
        (OperatorKind::Keyed { merge: false }, WindowAssigner::Session { .. }) => {
            Err(PlanError::SessionsWithoutMerge(operator.name.clone()))
        }
        _ => Ok(()),
    }
}

fn describe(output: &OutputRef) -> String {
    match &output.port {
        PortRef::Number(0) => output.node.to_string(),
        PortRef::Number(number) => format!("{}.{number}", output.node),
        PortRef::Name(name) => format!("{}.{name}", output.node),
        PortRef::Late => format!("{}.late", output.node),
        PortRef::DeadLetters => format!("{}.dead-letters", output.node),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    /// The chains of a job with a source, a stateless and a keyed operator, a
    /// second reader of the first, and two sinks.
    fn chains(job: &str) -> Vec<Vec<String>> {
        let text = format!(
            "[job]\nname = 'j'\n{job}\n\
             [[source]]\nname = 'in'\nconnector = 'generator'\n\
             [[sink]]\nname = 'out'\nconnector = 'discard'\ninputs = ['keyed', 'plain']\n\
             [[sink]]\nname = 'aside'\nconnector = 'discard'\ninput = 'plain'\n\
             [[operator]]\nname = 'keyed'\nartifact = 'a'\ninput = 'plain'\n\
             [[operator]]\nname = 'plain'\nartifact = 'a'\ninput = 'in'\n"
        );
        let spec = config::parse(&text, Path::new("j.toml"), &[]).unwrap();
        let kinds = spec.operators.iter().map(|operator| {
            let kind = match operator.name.as_str() {
                "keyed" => OperatorKind::Keyed { merge: false },
                _ => OperatorKind::Processor { snapshot: false },
            };
            (operator.name.clone(), kind)
        });
        let plan = Plan::new(&spec, &kinds.collect()).unwrap();
        let name = |vertex: &usize| plan.vertices[*vertex].name.to_string();
        plan.chains().iter().map(|chain| chain.iter().map(name).collect()).collect()
    }

    #[test]
    fn what_goes_straight_on_is_one_chain_from_upstream_to_downstream() {
        assert_eq!(chains(""), [vec!["in", "plain", "keyed", "aside"], vec!["out"]]);
    }

    #[test]
    fn a_keyed_exchange_between_several_subtasks_ends_a_chain() {
        let found = chains("parallelism = 2");
        assert_eq!(found, [vec!["in", "plain"], vec!["keyed"], vec!["out"], vec!["aside"]]);
    }

    #[test]
    fn without_chaining_every_vertex_is_on_its_own() {
        assert!(chains("operator_chaining = false").iter().all(|chain| chain.len() == 1));
    }
}
