//! Who gets slots when there are too few: jobs wait and say for what, and are stopped
//! for more important ones only where that is asked for, without losing anything.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use cofferdam::{
    job_manager::{
        control::Outcome,
        status::{JobState, JobStatus},
    },
    task_manager::{
        TaskManager, TaskManagerSettings,
        gate::policy::Policy,
        slots::{TenantSlots, Waiting},
    },
};
use cofferdam_tests::{Hosted, Place, tenant};

fn task_manager(slots: u32, placement: Policy) -> TaskManager {
    let settings =
        TaskManagerSettings { slots: Some(slots), placement, ..TaskManagerSettings::default() };
    TaskManager::start(&settings).unwrap()
}

/// A job that needs so many slots and never ends by itself.
fn endless(name: &str, slots: u32, head: &str) -> String {
    format!(
        "[job]\nname = '{name}'\n{head}\n[[source]]\nname = 'in'\nconnector = 'generator'\n\
         rate = 1_000\nkeys = 10\n[[operator]]\nname = 'guest'\nartifact = 'identity'\ninput = 'in'\n\
         parallelism = {slots}\n[[sink]]\nname = 'out'\nconnector = 'discard'\ninput = 'guest'\n"
    )
}

fn runs(status: &JobStatus) -> bool {
    status.state == JobState::Running
}

fn waits(status: &JobStatus) -> bool {
    status.state == JobState::Queued
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_without_slots_waits_says_for_what_and_runs_when_they_are_free() {
    let shared = task_manager(3, Policy::Fair);
    let mut first = Hosted::start(&endless("first", 2, ""), "a", &shared);
    let status = first.until("running", runs).await;
    assert_eq!(status.placement.slots.len(), 2);
    let mut second = Hosted::start(&endless("second", 2, ""), "b", &shared);
    let status = second.until("waiting", waits).await;
    let expected = Waiting::Slots { asked: 2, free: 1, total: 3, ahead: 0 };
    assert_eq!(status.placement.waiting, Some(expected));
    assert!(matches!(first.stop().await, Outcome::Stopped { .. }));
    let status = second.until("running", runs).await;
    assert_eq!((status.placement.waiting, status.placement.slots.len()), (None, 2));
    second.kill().await;
    assert_eq!(shared.slots.free(), 3, "a job that is killed gives its slots back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_waits_can_be_stopped() {
    let shared = task_manager(1, Policy::Fair);
    let mut first = Hosted::start(&endless("first", 1, ""), "a", &shared);
    first.until("running", runs).await;
    let mut second = Hosted::start(&endless("second", 1, ""), "a", &shared);
    second.until("waiting", waits).await;
    assert_eq!(second.stop().await, Outcome::Stopped { checkpoint: None });
    first.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_over_its_quota_waits_and_others_do_not() {
    let shared = task_manager(8, Policy::Fair);
    let two = TenantSlots { slots: Some(2), ..TenantSlots::default() };
    shared.slots.set_tenant(&tenant("a"), two);
    let mut first = Hosted::start(&endless("first", 2, ""), "a", &shared);
    first.until("running", runs).await;
    let mut second = Hosted::start(&endless("second", 1, ""), "a", &shared);
    let status = second.until("waiting", waits).await;
    let says = status.placement.waiting.unwrap().to_string();
    assert!(
        says.contains("tenant `a` holds 2 of the 2") && says.contains("quota `slots`"),
        "{says}"
    );
    let mut other = Hosted::start(&endless("other", 4, ""), "b", &shared);
    other.until("running", runs).await;
    // Raised while it waits.
    shared.slots.set_tenant(&tenant("a"), TenantSlots { slots: Some(3), ..two });
    second.until("running", runs).await;
    let over = Hosted::start(&endless("over", 4, ""), "a", &shared);
    let Outcome::CannotStart { error } = over.outcome().await else { panic!("it is refused") };
    assert!(error.contains("may have 3 (quota `slots`)"), "{error}");
    for job in [first, second, other] {
        job.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_makes_room_for_a_more_important_one_loses_and_repeats_nothing() {
    let place = Place::new();
    let shared = task_manager(2, Policy::Priority);
    let out = place.path("out.jsonl").display().to_string();
    // It numbers its records, which come fast enough to be many and slowly enough to
    // be interrupted.
    let victim = format!(
        "[job]\nname = 'victim'\n[[source]]\nname = 'in'\nconnector = 'generator'\n\
         records = 30_000\nrate = 20_000\nkeys = 7\nfields.n = {{ sequence = 0 }}\n\
         [[operator]]\nname = 'guest'\nartifact = 'identity'\ninput = 'in'\nparallelism = 2\n\
         [[sink]]\nname = 'out'\nconnector = 'jsonl'\npath = '{out}'\ninput = 'guest'\n"
    );
    let mut victim = Hosted::start(&victim, "a", &shared);
    victim.until("at work", |s| runs(s) && s.vertices[0].records_out > 1_000).await;
    // As important as it may be, it does not push unless it is told to.
    let mut polite = Hosted::start(&endless("polite", 1, "priority = 9"), "b", &shared);
    polite.until("waiting", waits).await;
    assert!(runs(&victim.status.borrow()));
    let head = "priority = 10\npreemption = 'lower-priority'";
    let mut pushy = Hosted::start(&endless("pushy", 1, head), "b", &shared);
    pushy.until("running", runs).await;
    let status = victim.until("waiting", waits).await;
    assert_eq!(status.placement.preemptions, 1);
    // The other slot is the polite one's now.
    polite.until("running", runs).await;
    pushy.kill().await;
    polite.kill().await;
    victim.until("back", runs).await;
    assert_eq!(victim.outcome().await, Outcome::Finished);
    let mut numbers: Vec<_> =
        place.json("out").iter().map(|record| record["n"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers.len(), 30_000);
    assert!(
        numbers.iter().enumerate().all(|(i, n)| i as u64 == *n),
        "a number is missing or twice"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_waits_to_restart_makes_room_at_once() {
    let shared = task_manager(1, Policy::Priority);
    let failing = "[job]\nname = 'failing'\n[restart]\nstrategy = 'fixed-delay'\nattempts = 5\n\
                   delay = '1h'\n[[source]]\nname = 'in'\nconnector = 'generator'\nrecords = 10\n\
                   [[operator]]\nname = 'guest'\nartifact = 'misbehave'\ninput = 'in'\n\
                   config.mode = 'reject-out-of-range'\n[[sink]]\nname = 'out'\nconnector = 'discard'\n\
                   input = 'guest'\n";
    let mut failing = Hosted::start(failing, "a", &shared);
    failing.until("waiting to restart", |s| s.state == JobState::Restarting).await;
    let head = "priority = 1\npreemption = 'lower-priority'";
    let mut pushy = Hosted::start(&endless("pushy", 1, head), "a", &shared);
    pushy.until("running", runs).await;
    failing.until("waiting", waits).await;
    for job in [pushy, failing] {
        job.kill().await;
    }
}
