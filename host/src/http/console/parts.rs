//! Small things that many pages show. A number is short to read, and exact where one points at it.

use maud::{Markup, html};
use serde_json::Value;

use super::{jobs, page};
use crate::{human, service::conditions::Condition};

/// A count: `337 k`.
pub(super) fn count(n: u64) -> Markup {
    let short = human::count(float(n));
    html! { span.num title=[(n >= 1_000).then(|| human::exact(n))] { (short) } }
}

/// A size: `1.50 MiB`.
pub(super) fn bytes(n: u64) -> Markup {
    let exact = format!("{} bytes", human::exact(n));
    html! { span.num title=[(n >= 1_024).then_some(exact)] { (human::bytes(float(n))) } }
}

/// How long something takes or took: `3 m 05 s`.
pub(super) fn lasting(millis: u64) -> Markup {
    let exact = format!("{} ms", human::exact(millis));
    html! { span.num title=[(millis >= 1_000).then_some(exact)] { (human::millis(millis)) } }
}

/// The same of a time in microseconds: `0.4 ms`.
pub(super) fn micros(n: u64) -> Markup {
    let text = match n {
        0..10_000 => format!("{:.1} ms", float(n) / 1_000.0),
        _ => human::millis(n / 1_000),
    };
    html! { span.num title={ (human::exact(n)) " µs" } { (text) } }
}

/// A part of a whole, 0 to 1: `34 %`.
pub(super) fn share(part: f64) -> String {
    format!("{:.0} %", part.clamp(0.0, 1.0) * 100.0)
}

/// A moment, as how long ago it was; the moment itself where one points at it.
pub(super) fn ago(now: i64, at: i64) -> Markup {
    let passed = u64::try_from(now.saturating_sub(at)).unwrap_or(0) / 1_000;
    let text = match passed {
        0..5 => "just now".to_owned(),
        5..60 => format!("{passed} s ago"),
        60..3_600 => format!("{} min ago", passed / 60),
        3_600..86_400 => format!("{} h ago", passed / 3_600),
        _ => format!("{} d ago", passed / 86_400),
    };
    html! { time datetime=(machine(at)) title={ (human::time(at)) " UTC" } { (text) } }
}

/// A moment that lies ahead, or none at all.
pub(super) fn at(at: i64) -> Markup {
    html! { time.num datetime=(machine(at)) title="UTC" { (human::time(at)) } }
}

fn machine(at: i64) -> String {
    human::time(at).replace(' ', "T") + "Z"
}

/// What something is doing, in a word that has a colour too.
pub(super) fn badge(word: &str) -> Markup {
    let tone = match word {
        "running" | "finished" | "completed" | "good" | "free" => "good",
        "created" | "queued" | "restarting" | "stopping" | "cancelling" | "in-progress"
        | "drained" | "warn" => "warn",
        "failed" | "quarantined" | "revoked" | "expired" | "error" => "bad",
        _ => "plain",
    };
    html! { span class={ "badge " (tone) } { (word) } }
}

/// What is shown where there is nothing: why, and what to do next.
pub(super) fn empty(what: &str, next: &Markup) -> Markup {
    html! { div.empty { p { strong { (what) } } (next) } }
}

/// A command to type.
pub(super) fn command(text: &str) -> Markup {
    html! { pre.command { code { (text) } } }
}

/// A figure with its name.
pub(super) fn figure(name: &str, value: &Markup, about: &Markup) -> Markup {
    html! { div.figure { dt { (name) } dd { (value) span.about { (about) } } } }
}

/// What is not as it should be, and what to do about it.
pub(super) fn conditions(now: i64, conditions: &[Condition]) -> Markup {
    html! {
        @for condition in conditions {
            div.notice.warn {
                strong { (page::sentence(&condition.message)) } " " (page::sentence(&condition.help))
                div.fine {
                    "Since " (ago(now, condition.since))
                    @if let Some(job) = condition.job { " · " a href={ "/console/jobs/" (job) } { "job " (jobs::short(&job.to_string())) } }
                }
            }
        }
    }
}

/// How much of a limit is taken, as a bar and in words.
pub(super) fn meter(part: f64, label: &str) -> Markup {
    let tone = if part >= 0.9 {
        "bad"
    } else if part >= 0.75 {
        "warn"
    } else {
        "good"
    };
    let width = format!("{:.2}", part.clamp(0.0, 1.0) * 100.0);
    html! {
        svg.meter viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label=(label) {
            rect.back width="100" height="6" {}
            rect class=(tone) width=(width) height="6" {}
        }
    }
}

/// What opens to ask whether it is meant. Works without a script.
pub(super) fn action(name: &str, href: &str, about: &str, sure: &str, tone: &str) -> Markup {
    asking(name, href, about, sure, tone, &html! {})
}

/// The same, with fields to fill in.
pub(super) fn asking(
    name: &str,
    href: &str,
    about: &str,
    sure: &str,
    tone: &str,
    fields: &Markup,
) -> Markup {
    html! {
        details.action name="action" {
            summary.button { (name) "…" }
            form.panel.stack method="post" action=(href) {
                p { (about) }
                (fields)
                button type="submit" class=(tone) { (sure) }
            }
        }
    }
}

/// A number of a status; 0 if it is not there.
pub(super) fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(0)
}

/// A part of a whole that a status tells of.
pub(super) fn part(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or(0.0)
}

/// A text of a status; empty if it is not there.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// The things that a status lists.
pub(super) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// For figures that are shown with four digits at most.
#[expect(clippy::cast_precision_loss, reason = "it is shown with four digits at most")]
pub(super) fn float(n: u64) -> f64 {
    n as f64
}

/// A path's or query's part, as an address has it.
pub(super) fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_as_how_long_ago_it_was() {
        let now = 1_357_380_000_000;
        for (before, wanted) in [
            (0, "just now"),
            (-90_000, "just now"),
            (42_000, "42 s ago"),
            (185_000, "3 min ago"),
            (7_300_000, "2 h ago"),
            (200_000_000, "2 d ago"),
        ] {
            let shown = ago(now, now - before).into_string();
            assert!(shown.contains(&format!(">{wanted}<")), "{shown}");
        }
        assert!(ago(now, now).into_string().contains("datetime=\"2013-01-05T10:00:00Z\""));
    }

    #[test]
    fn what_is_short_says_exactly_what_it_stands_for() {
        assert_eq!(
            count(336_776).into_string(),
            "<span class=\"num\" title=\"336,776\">337 k</span>"
        );
        assert_eq!(count(12).into_string(), "<span class=\"num\">12</span>");
        assert!(bytes(1_572_864).into_string().contains("1,572,864 bytes"));
        assert_eq!(share(1.7), "100 %");
    }
}
