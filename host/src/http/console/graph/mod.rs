//! A job's plan as a drawing: boxes with their parallelism and how busy they are, arrows with what
//! moves on them, how long who sends waits, and how far event time has come. All of it stands in
//! tables below the drawing too, for those who do not see it.

mod layout;

use maud::{Markup, html};
use serde_json::Value;

use self::layout::{HEIGHT, Layout, WIDTH};
use super::{
    parts::{float, list, number, part, share, text},
    rates::Rates,
};
use crate::human;

/// How many characters of a name there is room for.
const NAME: usize = 22;
/// The same of what it is.
const DETAIL: usize = 28;
/// From which on it is said that somebody waits.
const WAITS: f64 = 0.01;

/// A plan with what there is to see of it.
pub(super) struct Graph<'a> {
    vertices: &'a [Value],
    edges: &'a [Value],
    status: &'a [Value],
    rates: &'a Rates,
    live: bool,
}

/// What is said of an arrow.
pub(super) struct Flow {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) exchange: String,
    pub(super) chained: bool,
    /// Records a second, or all of them of a job that does not run.
    pub(super) rate: Option<String>,
    /// How long who sends waits for room.
    pub(super) waits: f64,
    /// How far event time has come where it begins.
    pub(super) watermark: Option<i64>,
}

impl<'a> Graph<'a> {
    pub(super) fn new(plan: &'a Value, status: &'a Value, rates: &'a Rates, live: bool) -> Self {
        Self {
            vertices: list(plan, "vertices"),
            edges: list(plan, "edges"),
            status: list(status, "vertices"),
            rates,
            live,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.vertices.is_empty()
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.vertices.iter().position(|vertex| text(vertex, "name") == name)
    }

    /// What there is to see of a vertex; null if nothing is known.
    fn status_of(&self, name: &str) -> &'a Value {
        self.status.iter().find(|vertex| text(vertex, "name") == name).unwrap_or(&Value::Null)
    }

    /// What is said of each arrow.
    pub(super) fn flows(&self) -> Vec<Flow> {
        self.edges.iter().map(|edge| self.flow(edge)).collect()
    }

    fn flow(&self, edge: &Value) -> Flow {
        let (from, to) = (text(edge, "from"), text(edge, "to"));
        let sender = self.status_of(from);
        let port = edge["from_port"].as_str().map(|port| format!(".{port}")).unwrap_or_default();
        Flow {
            from: format!("{from}{port}"),
            to: to.to_owned(),
            exchange: text(edge, "exchange").to_owned(),
            chained: edge["chained"].as_bool().unwrap_or(false),
            rate: self.rate(from, to),
            waits: part(sender, "backpressured"),
            watermark: sender["watermark"].as_i64(),
        }
    }

    /// What moves on an arrow, where the counts of its ends say it: who has one input only counts
    /// what comes by it, and who has one reader only what goes to it.
    fn rate(&self, from: &str, to: &str) -> Option<String> {
        let ends = |end, name| self.edges.iter().filter(|edge| text(edge, end) == name).count();
        let (alone_in, alone_out) = (ends("to", to) == 1, ends("from", from) == 1);
        if self.live {
            let rate = if alone_in {
                self.rates.entering(to)?
            } else if alone_out {
                self.rates.leaving(from)?
            } else {
                return None;
            };
            return Some(format!("{}/s", human::count(rate)));
        }
        let count = if alone_in {
            number(self.status_of(to), "records_in")
        } else if alone_out {
            number(self.status_of(from), "records_out")
        } else {
            return None;
        };
        Some(human::count(float(count)))
    }

    /// The drawing.
    pub(super) fn draw(&self) -> Markup {
        let ends: Vec<(usize, usize)> = self
            .edges
            .iter()
            .filter_map(|e| Some((self.index(text(e, "from"))?, self.index(text(e, "to"))?)))
            .collect();
        let layout = layout::place(self.vertices.len(), &ends);
        let (width, height) = (format!("{:.0}", layout.width), format!("{:.0}", layout.height));
        html! {
            div.scroll.drawing tabindex="0" role="region" aria-label="The job as a drawing" {
                svg.graph viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height)
                    role="img" aria-label="Boxes are sources, operators and sinks; arrows are streams. The tables below say the same." {
                    defs {
                        marker #arrow viewBox="0 0 8 8" refX="7" refY="4" markerWidth="11"
                            markerHeight="11" markerUnits="userSpaceOnUse" orient="auto" { path d="M0 0 8 4 0 8z" {} }
                    }
                    @for (flow, points) in self.flows().iter().zip(&layout.arrows) {
                        (arrow(flow, points))
                    }
                    (self.boxes(&layout))
                    @for (flow, points) in self.flows().iter().zip(&layout.arrows) {
                        (said(flow, points, self.live))
                    }
                }
            }
        }
    }

    fn boxes(&self, layout: &Layout) -> Markup {
        html! {
            @for (vertex, (x, y)) in self.vertices.iter().zip(&layout.boxes) {
                @let name = text(vertex, "name");
                @let status = self.status_of(name);
                @let known = number(status, "parallelism");
                @let parallelism = if known == 0 { number(vertex, "parallelism") } else { known };
                g class={ "box " (text(vertex, "kind")) } transform={ "translate(" (px(x - WIDTH / 2.0)) " " (px(*y)) ")" } {
                    title {
                        (name) ": " (text(vertex, "kind")) ", " (text(vertex, "detail"))
                        @for expression in list(vertex, "expressions") { "; " (expression.as_str().unwrap_or_default()) }
                    }
                    rect.frame width=(WIDTH) height=(HEIGHT) rx="8" {}
                    text.name x="12" y="23" { (cut(name, NAME)) }
                    text.times x=(WIDTH - 12.0) y="23" { "×" (parallelism) }
                    text.what x="12" y="42" { (cut(&what(vertex), DETAIL)) }
                    @if self.live && !status.is_null() { (busy(status)) }
                    @else { text.what x="12" y="64" { (text(vertex, "kind")) } }
                }
            }
        }
    }
}

/// How a vertex spends its time: at work, waiting for room, idle.
fn busy(status: &Value) -> Markup {
    let (work, waits) = (part(status, "busy"), part(status, "backpressured"));
    let whole = WIDTH - 24.0;
    let (work_width, waits_width) = (whole * work.clamp(0.0, 1.0), whole * waits.clamp(0.0, 1.0));
    let waits_width = waits_width.min(whole - work_width);
    html! {
        rect.idle x="12" y="51" width=(px(whole)) height="5" rx="2.5" {}
        rect.busy x="12" y="51" width=(px(work_width)) height="5" rx="2.5" {}
        rect.waits x=(px(12.0 + work_width)) y="51" width=(px(waits_width)) height="5" rx="2.5" {}
        text.what x="12" y="70" {
            "busy " (share(work))
            @if waits >= WAITS { " · waits " (share(waits)) }
        }
    }
}

fn arrow(flow: &Flow, points: &[(f64, f64)]) -> Markup {
    let mut path = String::new();
    for (at, (x, y)) in points.iter().enumerate() {
        match at.checked_sub(1).map(|before| points[before]) {
            None => path.push_str(&format!("M{x:.1} {y:.1}")),
            Some((bx, by)) => {
                let middle = f64::midpoint(by, *y);
                path.push_str(&format!("C{bx:.1} {middle:.1} {x:.1} {middle:.1} {x:.1} {y:.1}"));
            }
        }
    }
    let tone = if flow.waits >= 0.5 {
        "bad"
    } else if flow.waits >= 0.1 {
        "warn"
    } else {
        ""
    };
    html! {
        path class={ "arrow " (tone) @if flow.chained { " chained" } } d=(path) marker-end="url(#arrow)" {
            title { (flow.from) " to " (flow.to) ": " (flow.exchange) @if flow.chained { ", chained" } }
        }
    }
}

/// What stands beside an arrow, near its end: there arrows of one box are apart.
fn said(flow: &Flow, points: &[(f64, f64)], live: bool) -> Markup {
    let [.., (fx, fy), (tx, ty)] = points else { return html! {} };
    let y = fy + (ty - fy) * 0.5;
    let (x, anchor) = layout::label(*fx, *tx);
    let port = flow.from.split_once('.').map(|(_, port)| port);
    html! {
        text.said x=(px(x)) y=(px(y)) text-anchor=(anchor) {
            @if let Some(port) = port { tspan.port { (port) " " } }
            @if let Some(rate) = &flow.rate { (rate) }
            @if live && flow.waits >= WAITS { tspan.waits { " · waits " (share(flow.waits)) } }
        }
        @if let Some(watermark) = flow.watermark {
            text.said.time x=(px(x)) y=(px(y + 14.0)) text-anchor=(anchor) { (moment(watermark)) }
        }
    }
}

/// A moment of event time, without its seconds: it is to be short.
fn moment(at: i64) -> String {
    let whole = human::time(at);
    match whole.rsplit_once(':') {
        Some((minutes, _)) => minutes.to_owned(),
        None => whole,
    }
}

fn px(n: f64) -> String {
    format!("{n:.1}")
}

/// What a vertex is; of one that evaluates expressions, these.
fn what(vertex: &Value) -> String {
    let expressions: Vec<_> =
        list(vertex, "expressions").iter().filter_map(Value::as_str).collect();
    if expressions.is_empty() { short(text(vertex, "detail")) } else { expressions.join("; ") }
}

/// A window's size as people say it: `21600s` is `6h`.
fn short(detail: &str) -> String {
    let word = |word: &str| {
        let seconds: Option<u64> = word.strip_suffix('s').and_then(|digits| digits.parse().ok());
        match seconds {
            Some(n) if n >= 86_400 && n % 86_400 == 0 => format!("{}d", n / 86_400),
            Some(n) if n >= 3_600 && n % 3_600 == 0 => format!("{}h", n / 3_600),
            Some(n) if n >= 60 && n % 60 == 0 => format!("{}m", n / 60),
            _ => word.to_owned(),
        }
    };
    detail.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// The beginning of a text that is too long.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_box_says_is_short() {
        assert_eq!(short("window-stats@1, tumbling 21600s"), "window-stats@1, tumbling 6h");
        assert_eq!(short("top-n@1, sliding 86400s every 90s"), "top-n@1, sliding 1d every 90s");
        assert_eq!(cut("carrier-delays", 8), "carrier…");
    }
}
