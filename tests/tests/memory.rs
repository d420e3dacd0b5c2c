//! What operators may hold: a limit for each slot over everything that is held
//! for it, budgets of tenants and of the TaskManager above, and what is said when
//! one of them is used up.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::time::Duration;

use cofferdam::{
    failure::FailureKind,
    ids::{JobName, OperatorName, SubtaskIndex, TenantId},
    job_manager::{control::Outcome, status::JobStatus},
    memory::{SlotMeter, SlotReport},
    sandbox::{CpuMeter, LogBudget, Sandbox, SandboxConfig, SlotSettings},
    task_manager::{TaskManager, TaskManagerSettings},
};
use cofferdam_tests::{Hosted, Place, zoo::Guest};

const MIB: usize = 1 << 20;

/// A job of one guest, which is not restarted. `source` and `extra` go into the
/// source and the operator.
fn job(artifact: &str, source: &str, extra: &str) -> String {
    format!(
        r#"
[job]
name = "holds"

[restart]
strategy = "none"

[[source]]
name = "numbers"
connector = "generator"
{source}

[[operator]]
name = "guest"
artifact = "{artifact}"
input = "numbers"
{extra}

[[sink]]
name = "out"
input = "guest"
connector = "discard"
"#
    )
}

const SOME: &str = "records = 20_000\nkeys = 10";
const WITHOUT_END: &str = "rate = 200_000\nkeys = 10";

#[test]
fn memories_and_tables_together_are_held_to_one_limit_with_the_figures() {
    let grow = |what: &str| format!("(if (i32.eq (i32.const -1) ({what})) (then unreachable))");
    let guest = Guest {
        fields: "(memory $other 1) (table $t 0 funcref)".into(),
        open: format!(
            "(loop $again {} {} {} (br $again)) (i32.const 16)",
            grow("memory.grow $memory (i32.const 1)"),
            grow("memory.grow $other (i32.const 1)"),
            grow("table.grow $t (ref.null func) (i32.const 1000)"),
        ),
        ..Guest::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // Memories are shared out among the instances of a pool.
        let sandbox = Sandbox::new(&SandboxConfig::uncached(8)).unwrap();
        let artifact = sandbox.load(&guest.build(), &[]).unwrap();
        let meter = SlotMeter::alone(3 * MIB);
        let settings = SlotSettings {
            tenant: TenantId::default(),
            memory: meter.clone(),
            deadline: Duration::from_secs(10),
            operator: "hog".into(),
            subtask: 0,
            parallelism: 1,
            inputs: 1,
            outputs: 1,
            config: Default::default(),
            metrics: Default::default(),
            cpu: CpuMeter::default(),
            log: LogBudget::default(),
            folders: Default::default(),
            http_hosts: Default::default(),
            http_roots: Default::default(),
        };
        let failure = artifact.instantiate(&settings).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::OutOfMemory, "{failure}");
        let figures = format!("of {} bytes (guest ", 3 * MIB);
        assert!(failure.message.contains(&figures), "{failure}");
        // Two memories and a table: none of them alone comes near the limit.
        let held: usize = word_after(&failure.message, "while holding ");
        assert!((3 * MIB - 2 * 65_536..=3 * MIB).contains(&held), "{failure}");
        assert_eq!(meter.usage().total(), 0, "what is gone holds nothing");
    });
}

fn word_after(text: &str, before: &str) -> usize {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("`{before}` not in {text}")).1;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().unwrap_or_else(|_| panic!("no number after `{before}` in {text}"))
}

#[test]
fn a_guest_that_gives_up_politely_after_a_refusal_is_out_of_memory_in_its_own_words() {
    let extra = "memory = '24MiB'\nconfig.mode = 'grow-and-give-up'";
    let ended = Place::new().run_job(&job("misbehave", SOME, extra), &[]);
    ended.failed(
        1,
        &[
            "`guest` (subtask 0) failed: out of memory: `process` said: no room for the index",
            "before that, it asked for 4194304 bytes more while holding ",
            " of 25165824 bytes (guest ",
            "raise the operator's `memory`",
        ],
    );
}

#[test]
fn keyed_state_beyond_the_limit_is_out_of_memory_with_the_same_figures() {
    let source = "records = 100_000\nkeys = 100_000";
    let extra = "memory = '64MiB'\nconfig.mode = 'hoard'";
    let ended = Place::new().run_job(&job("misbehave-keyed", source, extra), &[]);
    ended.failed(1, &["`guest` (subtask 0) failed: out of memory: ", " of 67108864 bytes (guest "]);
    let state = word_after(&ended.stderr, ", keyed state ");
    assert!(state > 16 * MIB && state < 64 * MIB, "{}", ended.stderr);
    let asked = word_after(&ended.stderr, "asked for ");
    assert!((1..64 * MIB).contains(&asked), "{}", ended.stderr);
}

#[test]
fn a_guest_that_takes_no_for_an_answer_goes_on_and_memory_is_in_the_summary() {
    let extra = "memory = '24MiB'\nconfig.mode = 'grow'";
    let ended = Place::new().run_job(&job("misbehave", SOME, extra), &["--memory", "1GiB"]);
    let ended = ended.finished();
    let memory = &ended.summary["memory"];
    assert_eq!(memory["limit"], 1_u64 << 30);
    assert_eq!(memory["promised"], 24_u64 << 20);
    assert_eq!(memory["segments"]["size"], 32_768);
    assert_eq!(memory["segments"]["total"], 32_768);
    assert_eq!((&memory["used"], &memory["reserved"]), (&0.into(), &0.into()), "all given back");
    let largest = &memory["largest_slot"];
    assert_eq!((&largest["operator"], &largest["limit"]), (&"guest".into(), &(24 << 20).into()));
    let peak = largest["peak"].as_u64().unwrap();
    assert!((20 << 20..=24 << 20).contains(&peak), "{memory}");
    assert!(memory["peak"].as_u64().unwrap() >= peak, "{memory}");
}

#[test]
fn the_status_shows_what_each_slot_holds_and_the_utilisation() {
    let place = Place::new();
    let extra = "memory = '24MiB'\nparallelism = 2\nconfig.mode = 'grow'";
    place.write("job.toml", job("misbehave", WITHOUT_END, extra));
    let mut running = place.start("job.toml", &["--memory", "256MiB"]);
    running.until("two full slots", |status| {
        let memory = &status["memory"];
        let number = |value: &serde_json::Value| value.as_u64().unwrap_or(0);
        let Some(slots) = memory["slots"].as_array() else { return false };
        let full = slots.iter().filter(|slot| number(&slot["parts"]["guest"]) > 20 << 20).count();
        if full < 2 {
            return false;
        }
        let sum = |key: &str| slots.iter().map(|slot| number(&slot[key])).sum::<u64>();
        assert_eq!(sum("used"), number(&memory["used"]), "{memory}");
        assert_eq!(sum("reserved"), number(&memory["reserved"]), "{memory}");
        assert_eq!(number(&memory["tenants"][0]["reserved"]), sum("reserved"), "{memory}");
        let share = sum("used") as f64 / (256 << 20) as f64 * 100.0;
        let shown = memory["utilisation"].as_f64().unwrap();
        assert!((shown - share).abs() < 1e-6, "{memory}");
        true
    });
    running.interrupt();
    assert_eq!(running.wait().code, Some(3));
}

#[test]
fn the_task_managers_budget_is_named_when_it_is_the_one_that_is_used_up() {
    let extra = "memory = '64MiB'\nparallelism = 2\nconfig.mode = 'grow-and-give-up'";
    let job = job("misbehave", "records = 200_000\nkeys = 10", extra);
    let ended = Place::new().run_job(&job, &["--memory", "64MiB"]);
    ended.failed(
        1,
        &[
            "out of memory",
            "which the TaskManager does not have: its slots hold ",
            " of 67108864 bytes",
            "raise `--memory`",
        ],
    );
}

#[test]
fn a_job_that_cannot_have_its_limits_is_refused_by_the_rule_that_was_chosen() {
    let place = Place::new();
    let two = job("misbehave", SOME, "memory = '300MiB'\nparallelism = 2");
    let _ = place.run_job(&two, &["--memory", "512MiB"]).finished();
    let strict = ["--memory", "512MiB", "--memory-admission", "strict"];
    let said = ["may hold 629145600 bytes together", "admission is strict", "(--memory)"];
    place.run_job(&two, &strict).failed(2, &said);
    let said = ["a slot of `guest` may hold 314572800 bytes, more than the 268435456 bytes"];
    place.run_job(&two, &["--memory", "256MiB"]).failed(2, &said);
}

/// A TaskManager with so many bytes for all slots.
fn task_manager(bytes: usize) -> TaskManager {
    let settings = TaskManagerSettings {
        slots: Some(8),
        memory: Some(bytes),
        ..TaskManagerSettings::default()
    };
    TaskManager::start(&settings).unwrap()
}

/// Records that the source has read.
fn read(status: &JobStatus) -> u64 {
    status.vertices.first().map_or(0, |source| source.records_out)
}

fn guest_bytes(slots: &[SlotReport]) -> usize {
    slots.iter().map(|slot| slot.parts.guest).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_is_short_of_memory_goes_to_another_slot_and_has_less_there() {
    let settings = TaskManagerSettings {
        memory: Some(1 << 30),
        slots: Some(2),
        ..TaskManagerSettings::default()
    };
    let shared = TaskManager::start(&settings).unwrap();
    let text = job("misbehave", WITHOUT_END, "memory = '64MiB'\nconfig.mode = 'grow'");
    let mut running = Hosted::start(&text, "default", &shared);
    let moved = running.until("moved", |s| s.placement.relocations == 1).await;
    assert_eq!(moved.placement.slots.iter().map(|slot| slot.0).collect::<Vec<_>>(), [1]);
    assert_eq!(moved.restarts.count, 0, "nothing restarted for that");
    let before = read(&moved);
    running.until("going on", |s| read(s) > before + 10_000).await;
    assert!(matches!(running.stop().await, Outcome::Stopped { .. }));
    assert_eq!((shared.memory.report().reserved, shared.slots.free()), (0, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_raised_and_lowered_while_the_job_runs() {
    // No other slot is free: it would go there, and take no more than it needs.
    let settings = TaskManagerSettings {
        memory: Some(1 << 30),
        slots: Some(1),
        ..TaskManagerSettings::default()
    };
    let shared = TaskManager::start(&settings).unwrap();
    let memory = &shared.memory;
    let text = job("misbehave", WITHOUT_END, "memory = '16MiB'\nconfig.mode = 'grow'");
    let mut running = Hosted::start(&text, "default", &shared);
    let set = |bytes| {
        let (job, operator) = (JobName::new("holds").unwrap(), OperatorName::new("guest").unwrap());
        memory.set_operator_limit(&TenantId::default(), &job, &operator, bytes).unwrap();
    };
    // It asks for 4 MiB at every batch; there is no more to be had below 16.
    let full = running.until("full", |s| guest_bytes(&s.memory.slots) > 10 * MIB).await;
    let before = read(&full);
    let later = running.until("going on", |s| read(s) > before + 50_000).await;
    assert!(guest_bytes(&later.memory.slots) < 16 * MIB, "{:?}", later.memory);

    set(64 * MIB);
    running.until("grown", |s| guest_bytes(&s.memory.slots) > 50 * MIB).await;

    set(8 * MIB);
    let held = guest_bytes(&memory.report().slots);
    let before = read(&running.status.borrow());
    let later = running.until("going on", |s| read(s) > before + 100_000).await;
    assert_eq!(guest_bytes(&later.memory.slots), held, "it keeps what it has and gets no more");
    assert_eq!((later.memory.slots[0].limit, later.memory.slots[0].free), (8 * MIB, 0));
    assert_eq!(later.restarts.count, 0);
    assert!(matches!(running.stop().await, Outcome::Stopped { .. }));
    assert_eq!((memory.report().reserved, memory.report().promised), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_budget_of_the_task_manager_can_be_lowered_and_raised_under_a_job() {
    let shared = task_manager(64 * MIB);
    let memory = &shared.memory;
    // A neighbour has most of it.
    let (name, other) = (JobName::new("other").unwrap(), TenantId::new("other").unwrap());
    let operator = OperatorName::new("large").unwrap();
    let neighbour = memory.admit(&other, &name, [(operator.clone(), 64 * MIB, 1)]).unwrap();
    let slot = neighbour.open_slot(&operator, SubtaskIndex(0), 0).unwrap();
    slot.grow_guest(40 * MIB).unwrap();
    let text = job("misbehave", WITHOUT_END, "memory = '64MiB'\nconfig.mode = 'grow'");
    let mut running = Hosted::start(&text, "default", &shared);
    let full = running.until("full", |s| guest_bytes(&s.memory.slots) > 15 * MIB).await;
    assert_eq!(full.memory.slots.len(), 1, "a job's status shows its own slots");
    memory.set_limit(MIB);
    let held = guest_bytes(&memory.report().slots) - 40 * MIB;
    let before = read(&running.status.borrow());
    let later = running.until("going on", |s| read(s) > before + 50_000).await;
    assert_eq!(guest_bytes(&later.memory.slots), held);
    memory.set_limit(1 << 30);
    running.until("grown", |s| guest_bytes(&s.memory.slots) > 50 * MIB).await;
    assert!(matches!(running.stop().await, Outcome::Stopped { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_at_its_budget_fails_by_itself_and_others_notice_nothing() {
    let shared = task_manager(1 << 30);
    let memory = &shared.memory;
    memory.set_tenant_limit(&TenantId::new("hog").unwrap(), 40 * MIB);
    let quiet = job("misbehave", WITHOUT_END, "memory = '32MiB'");
    let mut quiet = Hosted::start(&quiet, "quiet", &shared);
    quiet.until("running", |s| read(s) > 0).await;
    let hog = "memory = '40MiB'\nparallelism = 2\nconfig.mode = 'grow-and-give-up'";
    let hog = job("misbehave", "records = 200_000\nkeys = 10", hog);
    let hog = Hosted::start(&hog, "hog", &shared);
    let Outcome::Failed { error } = hog.outcome().await else { panic!("it fails") };
    for part in [
        "out of memory",
        "which the budget of tenant `hog` does not have: its slots hold ",
        " of 41943040 bytes",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let before = read(&quiet.status.borrow());
    let later = quiet.until("going on", |s| read(s) > before).await;
    assert_eq!(later.restarts.count, 0);
    let tenants = &memory.report().tenants;
    let reserved = |name: &str| tenants.iter().find(|t| t.tenant.as_str() == name).unwrap();
    assert_eq!(reserved("hog").reserved, 0);
    assert!(reserved("hog").peak <= 40 * MIB && reserved("quiet").reserved > 0);
    assert!(matches!(quiet.stop().await, Outcome::Stopped { .. }));
}
