//! Shows a plan: as text, for Graphviz, for Mermaid.

use std::fmt::Write as _;

use crate::job_manager::plan_view::{PlanEdge, PlanVertex, PlanView};

/// Boxes with what comes in, in a table.
pub(super) fn text(plan: &PlanView) -> String {
    let width = |of: fn(&PlanVertex) -> usize| plan.vertices.iter().map(of).max().unwrap_or(0);
    let name_width = width(|vertex| vertex.name.as_str().len());
    let detail_width = width(|vertex| vertex.detail.chars().count());
    let mut out = String::new();
    for vertex in &plan.vertices {
        let inputs: Vec<String> =
            plan.edges.iter().filter(|edge| edge.to == vertex.name).map(input).collect();
        let arrow = if inputs.is_empty() { "" } else { "  <- " };
        let line = format!(
            "{:<8}  {:<name_width$}  x{:<3}  {:<detail_width$}{arrow}{}",
            vertex.kind.word(),
            vertex.name,
            vertex.parallelism,
            vertex.detail,
            inputs.join(", "),
        );
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}", line.trim_end());
        for expression in &vertex.expressions {
            // Under the name, however many lines one has.
            let expression = expression.replace('\n', "\n            ");
            let _ = writeln!(out, "            {expression}");
        }
    }
    out
}

/// `hash flights.late (input 1)`
fn input(edge: &PlanEdge) -> String {
    let mut text = format!("{} {}", way(edge), edge.from);
    if let Some(port) = &edge.from_port {
        let _ = write!(text, ".{port}");
    }
    if edge.to_port > 0 {
        let _ = write!(text, " (input {})", edge.to_port);
    }
    text
}

/// How records go along an edge.
fn way(edge: &PlanEdge) -> String {
    if edge.chained { "chained".to_owned() } else { edge.exchange.to_string() }
}

/// What stands at an arrow: the port it leaves, how it goes, the input it enters.
fn label(edge: &PlanEdge) -> String {
    let mut parts = Vec::new();
    parts.extend(edge.from_port.clone());
    parts.push(way(edge));
    if edge.to_port > 0 {
        parts.push(format!("input {}", edge.to_port));
    }
    parts.join(", ")
}

/// A `digraph` for Graphviz.
pub(super) fn dot(plan: &PlanView) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut out = String::from("digraph job {\n  rankdir=LR;\n  node [shape=box];\n");
    for vertex in &plan.vertices {
        let mut label = format!("{} x{}\n{}", vertex.name, vertex.parallelism, vertex.detail);
        for expression in &vertex.expressions {
            let _ = write!(label, "\n{}", in_a_box(expression));
        }
        let name = quoted(vertex.name.as_str());
        let _ = writeln!(out, "  {name} [label={}];", quoted(&label).replace('\n', "\\n"));
    }
    for edge in &plan.edges {
        let (from, to) = (quoted(edge.from.as_str()), quoted(edge.to.as_str()));
        let _ = writeln!(out, "  {from} -> {to} [label={}];", quoted(&label(edge)));
    }
    out.push_str("}\n");
    out
}

/// An expression as one line that fits into a box.
fn in_a_box(expression: &str) -> String {
    const MOST: usize = 60;
    let line = expression.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// A flowchart for Mermaid.
pub(super) fn mermaid(plan: &PlanView) -> String {
    // Names may be words of Mermaid's own, such as `end`, so boxes have numbers.
    let number = |name: &crate::ids::OperatorName| {
        plan.vertices.iter().position(|vertex| vertex.name == *name).unwrap_or(0)
    };
    let escaped = |text: &str| {
        text.replace('#', "#35;").replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;")
    };
    let mut out = String::from("flowchart LR\n");
    for (i, vertex) in plan.vertices.iter().enumerate() {
        let mut detail = escaped(&vertex.detail);
        for expression in &vertex.expressions {
            let _ = write!(detail, "<br>{}", escaped(&in_a_box(expression)));
        }
        let (name, parallelism) = (&vertex.name, vertex.parallelism);
        let _ = writeln!(out, "  v{i}[\"{name} x{parallelism}<br>{detail}\"]");
    }
    for edge in &plan.edges {
        let (from, to) = (number(&edge.from), number(&edge.to));
        let _ = writeln!(out, "  v{from} -->|\"{}\"| v{to}", escaped(&label(edge)));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{config, job_manager::plan::Plan, sandbox::OperatorKind};

    fn plan() -> PlanView {
        let text = r#"
            [job]
            name = "j"
            parallelism = 2
            [[source]]
            name = "in"
            connector = "generator"
            [[operator]]
            name = "flown"
            artifact = "filter"
            input = "in"
            ports = ["kept", "gone"]
            [[operator]]
            name = "end"
            artifact = "join"
            inputs = ["flown", "flown.gone"]
            window = { type = "tumbling", size = "6h" }
            [[sink]]
            name = "out"
            inputs = ["end", "end.late"]
            connector = "jsonl"
            path = "out.jsonl"
        "#;
        let spec = config::parse(text, Path::new("j.toml"), &[]).unwrap();
        let kinds = spec.operators.iter().map(|operator| {
            let kind = match operator.window {
                Some(_) => OperatorKind::Keyed { merge: false },
                None => OperatorKind::Processor { snapshot: false },
            };
            (operator.name.clone(), kind)
        });
        PlanView::of(&Plan::new(&spec, &kinds.collect()).unwrap())
    }

    #[test]
    fn text_says_how_records_reach_each_vertex() {
        let want = "\
source    in     x2    generator
operator  flown  x2    filter                <- chained in
operator  end    x2    join, tumbling 21600s  <- hash flown, hash flown.gone (input 1)
sink      out    x1    jsonl                 <- rebalance end, rebalance end.late
";
        let squeezed = |text: &str| {
            let lines =
                text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
            lines.collect::<Vec<_>>().join("\n")
        };
        assert_eq!(squeezed(&text(&plan())), squeezed(want));
    }

    #[test]
    fn dot_has_a_box_for_each_vertex_and_an_arrow_for_each_stream() {
        let want = r#"digraph job {
  rankdir=LR;
  node [shape=box];
  "in" [label="in x2\ngenerator"];
  "flown" [label="flown x2\nfilter"];
  "end" [label="end x2\njoin, tumbling 21600s"];
  "out" [label="out x1\njsonl"];
  "in" -> "flown" [label="chained"];
  "flown" -> "end" [label="hash"];
  "flown" -> "end" [label="gone, hash, input 1"];
  "end" -> "out" [label="rebalance"];
  "end" -> "out" [label="late, rebalance"];
}
"#;
        assert_eq!(dot(&plan()), want);
    }

    #[test]
    fn mermaid_survives_names_that_are_its_own_words() {
        let want = r#"flowchart LR
  v0["in x2<br>generator"]
  v1["flown x2<br>filter"]
  v2["end x2<br>join, tumbling 21600s"]
  v3["out x1<br>jsonl"]
  v0 -->|"chained"| v1
  v1 -->|"hash"| v2
  v1 -->|"gone, hash, input 1"| v2
  v2 -->|"rebalance"| v3
  v2 -->|"late, rebalance"| v3
"#;
        assert_eq!(mermaid(&plan()), want);
    }
}
