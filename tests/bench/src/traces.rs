//! What tracing costs: the same job with it off, at the default ratio, and with every batch traced,
//! all sent to a collector in this process. Processor time of the whole process, the collector's
//! too, a record; the median of some rounds that take turns.

use cofferdam::{config::traces::of_environment, otlp::Exporter, trace::Tracer};
use cofferdam_tests::collector::Collector;

use crate::{
    Places,
    jobs::{WORKS, job, run_traced},
    machine::per,
    report::{Bar, Report},
};

const ROUNDS: usize = 5;
/// Ratios, and what each may cost, beside being off.
const RATIOS: [(Option<&str>, Bar); 3] =
    [(None, Bar::Free), (Some("0.001"), Bar::AtMost(1.02)), (Some("1.0"), Bar::Free)];

pub(crate) async fn measure(places: &Places, report: &mut Report) -> anyhow::Result<()> {
    for work in WORKS.iter().filter(|work| ["map", "count-5k"].contains(&work.name)) {
        let text = job(work, 1, None);
        let mut costs = RATIOS.map(|_| Vec::new());
        let mut told = RATIOS.map(|_| 0);
        for _ in 0..ROUNDS {
            for (i, (ratio, _)) in RATIOS.iter().enumerate() {
                let (cost, spans) = one(places, &text, *ratio, work.records).await?;
                costs[i].push(cost);
                told[i] = spans;
            }
        }
        let medians = costs.map(|mut costs| {
            costs.sort_by(f64::total_cmp);
            costs[ROUNDS / 2]
        });
        for (((ratio, bar), median), spans) in RATIOS.iter().zip(medians).zip(told) {
            let shown = ratio.map_or("off".to_owned(), |ratio| format!("sample_ratio {ratio}"));
            let note = format!("{median:.1} cpu ns/rec, {spans} spans sent");
            let name = format!("job {}, traces {shown}, beside off", work.name);
            report.add(name, median / medians[0], "ratio", *bar, note);
        }
    }
    Ok(())
}

/// Processor time a record, and how many spans were sent.
async fn one(
    places: &Places,
    text: &str,
    ratio: Option<&str>,
    records: u64,
) -> anyhow::Result<(f64, u64)> {
    let Some(ratio) = ratio else {
        let (cpu, _, _) = run_traced(places, text, Tracer::default()).await?;
        return Ok((per(cpu, records), 0));
    };
    let collector = Collector::start();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()),
        ("OTEL_TRACES_SAMPLER_ARG", ratio.to_owned()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let spec = of_environment(variables).map_err(|error| anyhow::anyhow!("{error}"))?;
    let opened = Exporter::open(&spec).map_err(|error| anyhow::anyhow!(error))?;
    let (tracer, exporter) = opened.ok_or_else(|| anyhow::anyhow!("nothing is traced"))?;
    let exporting = exporter.start();
    let (cpu, _, _) = run_traced(places, text, tracer.clone()).await?;
    exporting.finish().await;
    Ok((per(cpu, records), tracer.counts().unwrap_or_default().exported))
}
