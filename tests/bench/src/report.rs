//! What was measured, against which bar.

use std::path::Path;

use serde::Serialize;

/// One figure.
#[derive(Debug, Serialize)]
pub(crate) struct Measure {
    measure: String,
    value: f64,
    unit: &'static str,
    /// The bar, in words; empty where there is none.
    bar: String,
    /// Whether the bar is met; null where there is none.
    met: Option<bool>,
    note: String,
}

/// Figures in the order in which they were taken.
#[derive(Debug, Default)]
pub(crate) struct Report {
    measures: Vec<Measure>,
}

/// What a figure has to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bar {
    /// None.
    Free,
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
}

impl Report {
    /// Takes a figure, and prints it at once.
    pub(crate) fn add(
        &mut self,
        measure: impl Into<String>,
        value: f64,
        unit: &'static str,
        bar: Bar,
        note: impl Into<String>,
    ) {
        let (bar, met) = match bar {
            Bar::Free => (String::new(), None),
            Bar::AtMost(most) => (format!("≤ {most}"), Some(value <= most)),
            Bar::AtLeast(least) => (format!("≥ {least}"), Some(value >= least)),
        };
        let measure = Measure { measure: measure.into(), value, unit, bar, met, note: note.into() };
        let verdict = match measure.met {
            None => "",
            Some(true) => "met",
            Some(false) => "MISSED",
        };
        println!(
            "{:<58} {:>10} {:<10} {:>9} {:<7} {}",
            measure.measure,
            round(measure.value),
            measure.unit,
            measure.bar,
            verdict,
            measure.note
        );
        self.measures.push(measure);
    }

    /// Writes `GROUP.json`.
    pub(crate) fn write(&self, group: &str, out: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(out)?;
        let path = out.join(format!("{}.json", group.replace(':', "-")));
        std::fs::write(&path, serde_json::to_string_pretty(&self.measures)?)?;
        let missed = self.measures.iter().filter(|m| m.met == Some(false)).count();
        println!("\n{} measures, {missed} bars missed; {}", self.measures.len(), path.display());
        Ok(())
    }
}

fn round(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
