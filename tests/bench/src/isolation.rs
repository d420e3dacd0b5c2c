//! Neighbours: what a hundred spinning guests leave to others, how exactly shares
//! and caps hold, and what it costs to see to that.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use cofferdam::{
    config::job::CpuShare,
    failure::FailureKind,
    ids::TenantId,
    sandbox::{Artifact, Instance, Metering, Sandbox, SandboxConfig, engine::EPOCH},
    stream::Batch,
    task_manager::{
        gate::{Gate, GateSettings, TenantShare, policy::Policy, turn::breathe},
        workers::Workers,
    },
};
use tokio::task::JoinSet;

use crate::{
    Places,
    machine::{median_and_p99, per},
    native,
    report::{Bar, Report},
    slots::{load, settings},
};

/// What a guest may do and nobody waits for.
const LONG: Duration = Duration::from_secs(3_600);

/// What all measures need.
struct Bench {
    // Its ticker is what makes guests yield.
    _sandbox: Sandbox,
    spinner: Artifact,
    upper: Artifact,
    identity: Artifact,
    batches: Arc<Vec<Batch>>,
    workers: Workers,
}

pub(crate) async fn measure(places: &Places, report: &mut Report) -> anyhow::Result<()> {
    let sandbox = Sandbox::new(&SandboxConfig::uncached(128))?;
    let bench = Bench {
        spinner: load(&sandbox, places, "crasher")?,
        upper: load(&sandbox, places, "upper")?,
        identity: load(&sandbox, places, "identity")?,
        batches: Arc::new(native::batches(64, 5_000)),
        workers: Workers::start(std::thread::available_parallelism()?.get())?,
        _sandbox: sandbox,
    };
    bench.deadline(report).await?;
    bench.bystander(report).await?;
    bench.throughput(report).await?;
    bench.weights(report).await?;
    bench.cap(report).await?;
    bench.cost(report).await?;
    fuel(places, &bench.batches, report).await
}

fn tenant(name: &str) -> anyhow::Result<TenantId> {
    Ok(TenantId::new(name)?)
}

fn gate(shares: &[(&str, u32)], on: bool) -> anyhow::Result<Arc<Gate>> {
    let mut settings = GateSettings { policy: Policy::Fair, on, ..GateSettings::default() };
    for (name, weight) in shares {
        let share = TenantShare { weight: *weight, cap: None };
        settings.tenants.insert(tenant(name)?, share);
    }
    Ok(Gate::new(settings))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn float(number: u64) -> f64 {
    number as f64
}

impl Bench {
    async fn open(
        &self,
        artifact: &Artifact,
        gate: &Gate,
        of: &TenantId,
        cap: Option<CpuShare>,
        config: serde_json::Value,
        deadline: Duration,
    ) -> anyhow::Result<Instance> {
        let mut settings = settings();
        settings.tenant = of.clone();
        settings.deadline = deadline;
        settings.cpu = gate.meter(of, cap);
        if let serde_json::Value::Object(config) = config {
            settings.config = Arc::new(config);
        }
        Ok(artifact.instantiate(&settings).await?)
    }

    /// Guests that never return.
    async fn spinners(
        &self,
        gate: &Arc<Gate>,
        count: usize,
        of: &str,
    ) -> anyhow::Result<JoinSet<()>> {
        let mut tasks = JoinSet::new();
        let of = tenant(of)?;
        for _ in 0..count {
            let config = serde_json::json!({ "spin": 1 });
            let mut guest = self.open(&self.spinner, gate, &of, None, config, LONG).await?;
            let batches = self.batches.clone();
            let spin = async move {
                let _ = guest.process(0, &batches[0]).await;
            };
            self.workers.spawn(&mut tasks, gate.enter(&of, 0).turns(Box::pin(spin)));
        }
        Ok(tasks)
    }

    /// Batches that one guest does one after another, in some seconds.
    async fn saturate(
        &self,
        gate: &Arc<Gate>,
        of: &str,
        cap: Option<CpuShare>,
        stop: &Arc<AtomicBool>,
    ) -> anyhow::Result<(JoinSet<()>, Arc<AtomicU64>)> {
        let of = tenant(of)?;
        let nothing = serde_json::Value::Null;
        let mut guest = self.open(&self.upper, gate, &of, cap, nothing, LONG).await?;
        let (batches, stop) = (self.batches.clone(), stop.clone());
        let done = Arc::new(AtomicU64::new(0));
        let count = done.clone();
        let work = async move {
            for batch in batches.iter().cycle() {
                if stop.load(Relaxed) || guest.process(0, batch).await.is_err() {
                    return;
                }
                count.fetch_add(1, Relaxed);
                breathe().await;
            }
        };
        let mut tasks = JoinSet::new();
        self.workers.spawn(&mut tasks, gate.enter(&of, 0).turns(Box::pin(work)));
        Ok((tasks, done))
    }

    async fn deadline(&self, report: &mut Report) -> anyhow::Result<()> {
        let gate = gate(&[], true)?;
        let of = tenant("spinner")?;
        let deadline = Duration::from_millis(100);
        let mut late = Vec::new();
        for _ in 0..20 {
            let config = serde_json::json!({ "spin": 1 });
            let mut guest = self.open(&self.spinner, &gate, &of, None, config, deadline).await?;
            let start = Instant::now();
            let ended = guest.process(0, &self.batches[0]).await;
            late.push(start.elapsed().saturating_sub(deadline));
            anyhow::ensure!(ended.err().map(|e| e.kind) == Some(FailureKind::DeadlineExceeded));
        }
        let most = late.iter().max().copied().unwrap_or_default();
        let what = "spinner stopped after its deadline (100 ms), latest of 20";
        report.add(what, most.as_secs_f64() * 1e3, "ms", Bar::AtMost(20.0), "");
        Ok(())
    }

    /// A tenant with an equal share, beside none to a hundred spinners of another.
    async fn bystander(&self, report: &mut Report) -> anyhow::Result<()> {
        let mut calm = 0.0;
        for count in [0, 1, 10, 100] {
            let gate = gate(&[], true)?;
            let mut spinners = self.spinners(&gate, count, "hostile").await?;
            let (latencies, beats) = tokio::join!(self.paced(&gate), heartbeat());
            let (median, p99) = median_and_p99(latencies?);
            let (_, late) = median_and_p99(beats);
            let most = if count == 0 {
                calm = p99 / 1e3;
                Bar::Free
            } else {
                // A permit comes back when a turn ends; and a batch that begins just
                // before an epoch ends is interrupted once.
                Bar::AtMost(calm + 2.0 * EPOCH.as_secs_f64() * 1e3)
            };
            let beside = format!("beside {count} spinners");
            report.add(
                format!("paced batch {beside}, p99"),
                p99 / 1e3,
                "ms",
                most,
                format!("p50 {:.2} ms", median / 1e3),
            );
            let bar = Bar::AtMost(20.0);
            report.add(format!("host timer {beside}, late by, p99"), late / 1e3, "ms", bar, "");
            spinners.shutdown().await;
        }
        Ok(())
    }

    /// What a bystander that always has work gets done, beside what it gets done
    /// alone. Of two cores one is its share, which is all that it can use.
    async fn throughput(&self, report: &mut Report) -> anyhow::Result<()> {
        for count in [1, 10, 100] {
            let (mut rates, mut own, mut all) = ([0.0; 2], 0.0, 0.0);
            // In turn, so that other programs disturb both.
            for round in 0..8 {
                let gate = gate(&[], true)?;
                let beside = round % 2;
                let mut spinners = self.spinners(&gate, count * beside, "hostile").await?;
                let stop = Arc::new(AtomicBool::new(false));
                let (work, done) = self.saturate(&gate, "bystander", None, &stop).await?;
                rates[beside] += rate(&done, Duration::from_secs(1)).await;
                stop.store(true, Relaxed);
                work.join_all().await;
                for used in gate.usage().iter().filter(|_| beside == 1) {
                    let core = used.core.as_secs_f64();
                    all += core;
                    own += if used.tenant.as_str() == "bystander" { core } else { 0.0 };
                }
                spinners.shutdown().await;
            }
            // This holds also where other programs use the cores meanwhile.
            let what = format!("core time of a bystander beside {count} spinners, of its half");
            report.add(what, own / all * 2.0, "ratio", Bar::AtLeast(0.8), "");
            let what = format!("saturating bystander beside {count} spinners, of its fair share");
            let note = format!("{:.0} batches a second alone", rates[0] / 4.0);
            report.add(what, rates[1] / rates[0], "ratio", Bar::AtLeast(0.8), note);
        }
        Ok(())
    }

    /// Latencies of batches that come every 10 ms.
    async fn paced(&self, gate: &Arc<Gate>) -> anyhow::Result<Vec<Duration>> {
        let of = tenant("bystander")?;
        let nothing = serde_json::Value::Null;
        let mut guest = self.open(&self.upper, gate, &of, None, nothing, LONG).await?;
        let batches = self.batches.clone();
        let (send, mut due) = tokio::sync::mpsc::channel::<Instant>(1024);
        let clock = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(10));
            for _ in 0..400 {
                ticks.tick().await;
                let _ = send.send(Instant::now()).await;
            }
        });
        let work = async move {
            let mut latencies = Vec::new();
            while let Some(came) = due.recv().await {
                guest.process(0, &batches[0]).await?;
                latencies.push(came.elapsed());
            }
            anyhow::Ok(latencies)
        };
        let mut tasks = JoinSet::new();
        self.workers.spawn(&mut tasks, gate.enter(&of, 0).turns(Box::pin(work)));
        clock.await?;
        tasks.join_next().await.context("the bystander is there")??
    }

    async fn weights(&self, report: &mut Report) -> anyhow::Result<()> {
        let gate = gate(&[("three", 300), ("one", 100)], true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut works = Vec::new();
        let (mut three, mut one) = (Vec::new(), Vec::new());
        for (of, done) in [("three", &mut three), ("one", &mut one)] {
            for _ in 0..2 {
                let (work, count) = self.saturate(&gate, of, None, &stop).await?;
                works.push(work);
                done.push(count);
            }
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        stop.store(true, Relaxed);
        for work in works {
            work.join_all().await;
        }
        let sum = |counts: &[Arc<AtomicU64>]| float(counts.iter().map(|c| c.load(Relaxed)).sum());
        let off = |ratio: f64| (ratio / 3.0 - 1.0).abs() * 100.0;
        let work = sum(&three) / sum(&one);
        let usage = gate.usage();
        let time = |name: &str| {
            let used = usage.iter().find(|used| used.tenant.as_str() == name);
            used.map_or(0.0, |used| used.guest.as_secs_f64())
        };
        let ratio = time("three") / time("one");
        let what = "weights 3:1 over 10 s, guest time off by";
        report.add(what, off(ratio), "%", Bar::AtMost(5.0), format!("{ratio:.3}:1"));
        let what = "weights 3:1 over 10 s, batches done off by";
        report.add(what, off(work), "%", Bar::AtMost(5.0), format!("{work:.3}:1"));
        Ok(())
    }

    async fn cap(&self, report: &mut Report) -> anyhow::Result<()> {
        let gate = gate(&[], true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let start = Instant::now();
        let (work, _) = self.saturate(&gate, "capped", Some(CpuShare(500)), &stop).await?;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let (took, usage) = (start.elapsed(), gate.usage());
        stop.store(true, Relaxed);
        work.join_all().await;
        let used = usage.first().map_or(0.0, |used| used.guest.as_secs_f64());
        let share = used / took.as_secs_f64();
        let off = (share / 0.5 - 1.0).abs() * 100.0;
        let note = format!("{:.2} %", share * 100.0);
        report.add("cap of 50 % over 10 s, off by", off, "%", Bar::AtMost(5.0), note);
        Ok(())
    }

    /// Pass-through with gate, metering and deadline, and with all that off.
    async fn cost(&self, report: &mut Report) -> anyhow::Result<()> {
        let of = tenant("default")?;
        let rounds = 60;
        let mut best = [f64::MAX; 2];
        let mut guests = Vec::new();
        let gates = [gate(&[], false)?, gate(&[], true)?];
        for gate in &gates {
            let nothing = serde_json::Value::Null;
            guests.push(self.open(&self.identity, gate, &of, None, nothing, LONG).await?);
        }
        for _ in 0..20 {
            for (i, guest) in guests.iter_mut().enumerate() {
                let work = async {
                    let start = Instant::now();
                    for _ in 0..rounds {
                        for batch in self.batches.iter() {
                            std::hint::black_box(guest.process(0, batch).await?);
                        }
                    }
                    anyhow::Ok(start.elapsed())
                };
                let took = gates[i].enter(&of, 0).turns(Box::pin(work)).await?;
                let records = (self.batches.len() * native::RECORDS * rounds) as u64;
                best[i] = best[i].min(per(took, records));
            }
        }
        let [off, on] = best;
        let note = format!("{off:.2} ns a record without, {on:.2} with");
        let cost = (on / off - 1.0) * 100.0;
        report.add("pass-through: cost of gate and metering", cost, "%", Bar::AtMost(5.0), note);
        Ok(())
    }
}

/// A map, where guests count fuel and where they do not.
async fn fuel(places: &Places, batches: &[Batch], report: &mut Report) -> anyhow::Result<()> {
    let mut guests = Vec::new();
    // Kept, since its ticker is what makes guests yield.
    let mut sandboxes = Vec::new();
    for metering in [Metering::Time, Metering::Fuel] {
        let sandbox = Sandbox::new(&SandboxConfig { metering, ..SandboxConfig::uncached(4) })?;
        guests.push(load(&sandbox, places, "upper")?.instantiate(&settings()).await?);
        sandboxes.push(sandbox);
    }
    let mut best = [f64::MAX; 2];
    for _ in 0..10 {
        for (i, guest) in guests.iter_mut().enumerate() {
            let start = Instant::now();
            for batch in batches {
                std::hint::black_box(guest.process(0, batch).await?);
            }
            let records = (batches.len() * native::RECORDS) as u64;
            best[i] = best[i].min(per(start.elapsed(), records));
        }
    }
    let [time, fuel] = best;
    let note = format!("{time:.1} ns a record without, {fuel:.1} with");
    report.add("map: cost of counting fuel", (fuel / time - 1.0) * 100.0, "%", Bar::Free, note);
    Ok(())
}

/// Batches a second.
async fn rate(done: &AtomicU64, over: Duration) -> f64 {
    // The first turns are still getting warm.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (before, start) = (done.load(Relaxed), Instant::now());
    tokio::time::sleep(over).await;
    float(done.load(Relaxed) - before) / start.elapsed().as_secs_f64()
}

/// How late a timer of the host's own comes, again and again.
async fn heartbeat() -> Vec<Duration> {
    let beat = tokio::spawn(async {
        let period = Duration::from_millis(10);
        let mut late = Vec::new();
        for _ in 0..400 {
            let start = Instant::now();
            tokio::time::sleep(period).await;
            late.push(start.elapsed().saturating_sub(period));
        }
        late
    });
    beat.await.unwrap_or_default()
}
