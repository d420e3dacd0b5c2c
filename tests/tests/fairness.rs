//! Jobs of several tenants in one process share its cores as the gate says: by
//! weight, by priority within a tenant, and under caps. A guest that never returns
//! is stopped in time, and the host's own timers come round meanwhile.
//!
//! These tests measure time on machines that have other things to do, so their
//! bounds are wide; `cargo xtask bench isolation` has the narrow ones.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests that measure time")]

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use cofferdam::{
    config::job::Grant,
    failure::FailureKind,
    ids::TenantId,
    job_manager::{control::Outcome, status::JobStatus},
    memory::SlotMeter,
    sandbox::{LogBudget, Sandbox, SandboxConfig, SlotSettings},
    stream::BatchBuilder,
    task_manager::{
        self, TaskManager, TaskManagerSettings,
        gate::{Gate, GateSettings, TenantShare},
    },
};
use cofferdam_tests::{Hosted, Place, guests, tenant};
use tokio::time::timeout;

/// One test at a time has the cores.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run<F: Future>(test: F) -> F::Output {
    let _alone = alone();
    let runtime = task_manager::runtime().unwrap();
    runtime.block_on(async { timeout(Duration::from_secs(120), test).await.unwrap() })
}

fn task_manager(weights: &[(&str, u32)]) -> TaskManager {
    let mut settings = GateSettings { permits: Some(2), ..GateSettings::default() };
    for (name, weight) in weights {
        settings.tenants.insert(tenant(name), TenantShare { weight: *weight, cap: None });
    }
    let settings =
        TaskManagerSettings { slots: Some(200), gate: settings, ..TaskManagerSettings::default() };
    TaskManager::start(&settings).unwrap()
}

/// A job whose operator does as `operator` says.
fn job(head: &str, operator: &str) -> String {
    format!(
        "[job]\nname = 'job'\n{head}\n[[source]]\nname = 'in'\nconnector = 'generator'\n\
         records = 300_000\nkeys = 10\n[[operator]]\nname = 'guest'\nartifact = 'crasher'\n\
         input = 'in'\n{operator}\n[[sink]]\nname = 'out'\nconnector = 'discard'\n\
         input = 'guest'\n"
    )
}

/// One that never ends, in so many slots.
fn spinners(head: &str, count: u32) -> String {
    job(head, &format!("parallelism = {count}\ndeadline = '1h'\nconfig.spin = 1"))
}

/// What the job's guests have used.
fn guest_millis(status: &JobStatus) -> u64 {
    status.vertices.iter().flat_map(|v| &v.guest_millis).sum()
}

/// Waits until the job's guests have used so much.
async fn used(job: &mut Hosted, millis: u64) -> u64 {
    guest_millis(&job.until("at work", |status| guest_millis(status) >= millis).await)
}

fn guest_time(shared: &TaskManager, of: &str) -> f64 {
    let usage = shared.gate.usage();
    usage.iter().find(|u| u.tenant.as_str() == of).map_or(0.0, |u| u.guest.as_secs_f64())
}

#[test]
fn a_guest_that_never_returns_is_stopped_within_20_ms_of_its_deadline() {
    let late = run(async {
        let sandbox = Sandbox::new(&SandboxConfig::uncached(4)).unwrap();
        let bytes = std::fs::read(guests().join("crasher.wasm")).unwrap();
        let grants = [Grant::Log, Grant::Config, Grant::Metrics];
        let artifact = sandbox.load(&bytes, &grants).unwrap();
        let gate = Gate::new(GateSettings::default());
        let deadline = Duration::from_millis(100);
        let mut builder = BatchBuilder::new();
        builder.push(None, b"x", None);
        let batch = builder.take();
        let mut late = Vec::new();
        for _ in 0..5 {
            let serde_json::Value::Object(config) = serde_json::json!({ "spin": 1 }) else {
                unreachable!("an object")
            };
            let settings = SlotSettings {
                tenant: TenantId::default(),
                memory: SlotMeter::alone(64 << 20),
                deadline,
                operator: Arc::from("spinner"),
                subtask: 0,
                parallelism: 1,
                inputs: 1,
                outputs: 1,
                config: Arc::new(config),
                metrics: Arc::default(),
                cpu: gate.meter(&TenantId::default(), None),
                log: LogBudget::default(),
                folders: Arc::default(),
                http_hosts: Arc::default(),
                http_roots: Arc::default(),
            };
            let mut guest = artifact.instantiate(&settings).await.unwrap();
            let began = Instant::now();
            let failure = guest.process(0, &batch).await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::DeadlineExceeded, "{failure}");
            assert!(began.elapsed() >= deadline);
            late.push(began.elapsed() - deadline);
        }
        late
    });
    // On a machine that is busy with other programs, some may be late.
    assert!(late.iter().min().unwrap() < &Duration::from_millis(20), "{late:?}");
}

#[test]
fn tenants_in_one_process_get_the_cores_by_their_weights() {
    let (three, one) = run(async {
        let shared = task_manager(&[("three", 300), ("one", 100)]);
        let mut jobs = [
            Hosted::start(&spinners("", 3), "three", &shared),
            Hosted::start(&spinners("", 3), "one", &shared),
        ];
        for job in &mut jobs {
            used(job, 50).await;
        }
        let before = ["three", "one"].map(|name| guest_time(&shared, name));
        // The lighter one gets a quarter of two cores.
        let before_that = guest_millis(&jobs[1].status.borrow());
        used(&mut jobs[1], before_that + 1_000).await;
        let after = ["three", "one"].map(|name| guest_time(&shared, name));
        for job in jobs {
            job.kill().await;
        }
        (after[0] - before[0], after[1] - before[1])
    });
    let ratio = three / one;
    assert!((2.7..3.3).contains(&ratio), "{three} s to {one} s: {ratio}");
}

#[test]
fn a_higher_priority_goes_first_within_its_tenant() {
    let (high, low) = run(async {
        let shared = task_manager(&[]);
        let mut low = Hosted::start(&spinners("", 2), "one", &shared);
        let before = used(&mut low, 200).await;
        let mut high = Hosted::start(&spinners("priority = 5", 2), "one", &shared);
        let used = used(&mut high, 2_000).await;
        let then = guest_millis(&low.status.borrow());
        high.kill().await;
        low.kill().await;
        (used, then - before)
    });
    assert!(high > 3 * low, "{high} ms to {low} ms");
}

#[test]
fn a_cap_of_half_a_core_holds_on_an_idle_machine() {
    let share = run(async {
        let shared = task_manager(&[]);
        let capped = "deadline = '1h'\ncpu_cap = '50%'\nconfig.spin = 1";
        let mut job = Hosted::start(&job("", capped), "one", &shared);
        let before = used(&mut job, 100).await;
        let began = Instant::now();
        let used = used(&mut job, before + 1_000).await - before;
        let took = began.elapsed();
        job.kill().await;
        Duration::from_millis(used).as_secs_f64() / took.as_secs_f64()
    });
    assert!((0.4..0.55).contains(&share), "{share}");
}

#[test]
fn beside_a_hundred_spinners_jobs_finish_and_timers_come() {
    let mut late = run(async {
        let shared = task_manager(&[]);
        let mut hostile = Hosted::start(&spinners("", 100), "hostile", &shared);
        used(&mut hostile, 500).await;
        let mut late = Vec::new();
        for _ in 0..100 {
            let (period, began) = (Duration::from_millis(5), Instant::now());
            // The host's own timers are what is tested.
            tokio::spawn(tokio::time::sleep(period)).await.unwrap();
            late.push(began.elapsed().saturating_sub(period));
        }
        let bystander = Hosted::start(&job("", ""), "bystander", &shared);
        assert_eq!(bystander.outcome().await, Outcome::Finished);
        hostile.kill().await;
        late
    });
    late.sort_unstable();
    assert!(late[90] < Duration::from_millis(50), "{late:?}");
}

#[test]
fn what_guests_used_is_told_by_subtask_and_by_tenant() {
    let text = job("", "parallelism = 2\nconfig.work = 2000");
    let ended = Place::new().run_job(&text, &[]);
    let summary = ended.summary;
    let guest = &summary["vertices"][1];
    let used: Vec<u64> =
        guest["guest_millis"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect();
    assert_eq!(used.len(), 2, "{guest}");
    assert!(used.iter().all(|millis| *millis > 0), "{guest}");
    assert_eq!(summary["vertices"][0]["guest_millis"].as_array().unwrap().len(), 0);
    let all = &summary["tenant"];
    assert_eq!(all["name"], "default");
    assert!(all["guest_millis"].as_u64().unwrap() >= used.iter().sum(), "{all}");
    assert!(all["core_millis"].as_u64() > all["guest_millis"].as_u64(), "{all}");
}

#[test]
fn fuel_is_the_same_for_the_same_input_and_counted_only_where_it_is_asked_for() {
    let text = job("", "config.work = 100");
    let fuel = |arguments: &[&str]| {
        let summary = Place::new().run_job(&text, arguments).summary;
        summary["vertices"][1]["guest_fuel"][0].as_u64().unwrap()
    };
    let [one, two] = [fuel(&["--metering", "fuel"]), fuel(&["--metering", "fuel"])];
    assert_eq!(one, two);
    // 300,000 records with a hundred turns of a loop each.
    assert!(one > 300_000 * 100, "{one}");
    assert_eq!(fuel(&[]), 0);
}
