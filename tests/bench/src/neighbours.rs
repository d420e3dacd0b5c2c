//! Noisy neighbours: what a bystander's batches take beside hostile tenants of each
//! kind, who are real jobs in the same TaskManager; and how many live instances of
//! many tenants fit on the machine.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use cofferdam::{
    config,
    ids::TenantId,
    job_manager::{
        self,
        control::{Control, RunOptions},
        status::{JobState, JobStatus},
    },
    sandbox::{Instance, engine::EPOCH},
    task_manager::{TaskManager, TaskManagerSettings, gate::turn::breathe},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::{
    Places,
    machine::{median_and_p99, resident_kib},
    native,
    report::{Bar, Report},
    slots::{load, settings},
};

/// Hostile operators: the kind, the artifact, and what the job file says of it.
const HOSTILE: [(&str, &str, &str); 4] = [
    ("spinner", "crasher", "deadline = '1h'\nconfig.spin = 1"),
    ("memory hog", "misbehave", "memory = '64MiB'\nconfig.mode = 'grow-and-give-up'"),
    ("log flooder", "misbehave", "config.mode = 'log-flood'"),
    ("crash-looper", "crasher", "config.trap_at = 1"),
];
/// How long the bystander is watched.
const BATCHES: usize = 200;
/// Batches of the first second, which are told apart: how long the turns of a tenant are
/// is not known yet, and a hundred that have just come are all let in once.
const FIRST: usize = 40;
/// How often its batches come: it uses some 40 % of what is its share beside a hundred
/// others of two cores. Whoever wants more than its share waits for its share.
const PACE: Duration = Duration::from_millis(25);
/// What a batch of a bystander that stays below its share may wait, besides what it
/// takes alone: for a turn to end, which is an epoch, and once more where an epoch ends within
/// the batch and somebody else's turn comes in between.
const WAIT: Duration = EPOCH.saturating_mul(2);

fn tenant(name: &str) -> anyhow::Result<TenantId> {
    Ok(TenantId::new(name)?)
}

/// A job that never ends by itself.
fn job(artifact: &str, operator: &str) -> String {
    format!(
        "[job]\nname = 'hostile'\n[restart]\nstrategy = 'fixed-delay'\nattempts = 1_000_000\n\
         delay = '1ms'\n[[source]]\nname = 'in'\nconnector = 'generator'\n[[operator]]\n\
         name = 'guest'\nartifact = '{artifact}'\ninput = 'in'\n{operator}\n[[sink]]\nname = 'out'\n\
         connector = 'discard'\ninput = 'guest'\n"
    )
}

/// Hostile tenants, each with a job of one slot.
struct Hostile {
    jobs: JoinSet<()>,
    statuses: Vec<watch::Receiver<Arc<JobStatus>>>,
    _controls: Vec<watch::Sender<Control>>,
}

impl Hostile {
    async fn start(
        shared: &TaskManager,
        places: &Places,
        count: usize,
        (artifact, operator): (&str, &str),
    ) -> anyhow::Result<Self> {
        let spec = config::parse(&job(artifact, operator), Path::new("hostile.toml"), &[])
            .map_err(|e| anyhow::anyhow!("{e}"))?;
        let (mut jobs, mut statuses, mut controls) = (JoinSet::new(), Vec::new(), Vec::new());
        for i in 0..count {
            let options = RunOptions {
                tenant: tenant(&format!("hostile-{i}"))?,
                task_manager: Some(shared.clone()),
                artifacts: Some(places.guests.clone()),
                ..RunOptions::default()
            };
            let (control, listen) = watch::channel(Control::Run);
            let (publish, status) = JobStatus::watched(spec.job.name.clone());
            let run = job_manager::run(spec.clone(), options, listen, publish);
            jobs.spawn(async move {
                drop(run.await);
            });
            statuses.push(status);
            controls.push(control);
        }
        for status in &mut statuses {
            let begun =
                |s: &Arc<JobStatus>| matches!(s.state, JobState::Running | JobState::Restarting);
            status.wait_for(begun).await?;
        }
        Ok(Self { jobs, statuses, _controls: controls })
    }

    fn restarts(&self) -> u32 {
        self.statuses.iter().map(|s| s.borrow().restarts.count).sum()
    }

    async fn end(mut self) {
        self.jobs.shutdown().await;
    }
}

pub(crate) async fn measure(places: &Places, report: &mut Report) -> anyhow::Result<()> {
    let shared = TaskManager::start(&TaskManagerSettings {
        slots: Some(128),
        ..TaskManagerSettings::default()
    })
    .map_err(anyhow::Error::msg)?;
    let (_, alone) = median_and_p99(paced(&shared, places).await?.split_off(FIRST));
    for (kind, artifact, operator) in HOSTILE {
        for count in [0, 1, 10, 100] {
            let hostile = Hostile::start(&shared, places, count, (artifact, operator)).await?;
            let mut first = paced(&shared, places).await?;
            let (median, p99) = median_and_p99(first.split_off(FIRST));
            let slowest = first.into_iter().max().unwrap_or_default().as_secs_f64() * 1e3;
            let bound = alone / 1e3 + WAIT.as_secs_f64() * 1e3;
            let bar =
                if count == 0 { Bar::Free } else { Bar::AtMost((bound * 10.0).round() / 10.0) };
            let beside = match count {
                0 => format!("alone (before {kind}s)"),
                1 => format!("beside 1 {kind}"),
                n => format!("beside {n} {kind}s"),
            };
            let restarts = hostile.restarts();
            let note = format!(
                "p50 {:.2} ms; {slowest:.0} ms at most in the first second; {restarts} restarts",
                median / 1e3
            );
            report.add(format!("bystander's batch {beside}, p99"), p99 / 1e3, "ms", bar, note);
            hostile.end().await;
        }
    }
    Ok(())
}

/// Latencies of a bystander's batches.
async fn paced(shared: &TaskManager, places: &Places) -> anyhow::Result<Vec<Duration>> {
    let of = tenant("bystander")?;
    let mut settings = settings();
    settings.tenant = of.clone();
    settings.cpu = shared.gate.meter(&of, None);
    let mut guest = load(&shared.sandbox, places, "upper")?.instantiate(&settings).await?;
    let batch = native::batches(1, 5_000).remove(0);
    let (send, mut due) = mpsc::channel::<Instant>(FIRST + BATCHES);
    let clock = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(PACE);
        for _ in 0..FIRST + BATCHES {
            ticks.tick().await;
            let _ = send.send(Instant::now()).await;
        }
    });
    let work = async move {
        let mut latencies = Vec::new();
        while let Some(came) = due.recv().await {
            guest.process(0, &batch).await?;
            latencies.push(came.elapsed());
        }
        anyhow::Ok(latencies)
    };
    let mut tasks = JoinSet::new();
    shared.workers.spawn(&mut tasks, shared.gate.enter(&of, 0).turns(Box::pin(work)));
    clock.await?;
    tasks.join_next().await.context("the bystander is there")??
}

/// Live instances of many tenants, each of which gets a batch in turn.
pub(crate) async fn crowd(places: &Places, report: &mut Report) -> anyhow::Result<()> {
    let (tenants, each) = (100, 100);
    let total = tenants * each;
    let shared = TaskManager::start(&TaskManagerSettings {
        slots: Some(u32::try_from(total)?),
        ..TaskManagerSettings::default()
    })
    .map_err(anyhow::Error::msg)?;
    let artifact = load(&shared.sandbox, places, "upper")?;
    let before = resident_kib(std::process::id())?;
    let mut crowd: Vec<(TenantId, Vec<Instance>)> = Vec::new();
    for t in 0..tenants {
        let of = tenant(&format!("tenant-{t}"))?;
        let mut own = Vec::new();
        for _ in 0..each {
            let mut settings = settings();
            settings.tenant = of.clone();
            settings.cpu = shared.gate.meter(&of, None);
            own.push(artifact.instantiate(&settings).await?);
        }
        crowd.push((of, own));
    }
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let resident = |now: u64| now.saturating_sub(before) as f64 / total as f64;
    let idle = resident(resident_kib(std::process::id())?);
    let batch = Arc::new(native::batches(1, 5_000).remove(0));
    let mut rounds = Vec::new();
    for _ in 0..4 {
        let start = Instant::now();
        let mut running = JoinSet::new();
        for (of, mut own) in std::mem::take(&mut crowd) {
            let (batch, pass) = (batch.clone(), shared.gate.enter(&of, 0));
            let go_round = async move {
                for guest in &mut own {
                    std::hint::black_box(guest.process(0, &batch).await?);
                    breathe().await;
                }
                anyhow::Ok((of, own))
            };
            shared.workers.spawn(&mut running, pass.turns(Box::pin(go_round)));
        }
        while let Some(done) = running.join_next().await {
            crowd.push(done??);
        }
        rounds.push(start.elapsed());
    }
    let used = resident(resident_kib(std::process::id())?);
    let what = "10,000 instances of 100 tenants";
    report.add(format!("{what}, resident each, opened"), idle, "KiB", Bar::Free, "");
    let note = "a batch of 1,024 records, 118 KiB, goes through the memory of each";
    report.add(format!("{what}, resident each, after a batch"), used, "KiB", Bar::Free, note);
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let first = millis(rounds[0]);
    let best = rounds.iter().skip(1).copied().min().unwrap_or_default();
    report.add(format!("{what}, first time round"), first, "ms", Bar::Free, "");
    let note = format!("{:.1} µs an instance, on all cores", millis(best) * 1e3 / 1e4);
    report.add(format!("{what}, time to go round"), millis(best), "ms", Bar::Free, note);
    Ok(())
}
