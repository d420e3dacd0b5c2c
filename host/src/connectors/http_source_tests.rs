//! What the `http` source promises: each record once, whatever the parallelism was.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    clock::Clock,
    config::job::{TimestampField, TimestampFormat},
    connectors::file_source::testing::{self, Record, alone, drain},
    intake::log::Limits,
};

const LIMITS: Limits = Limits { bytes: 64 << 20, window: Duration::from_secs(60), keys: 100 };

fn json() -> Spec {
    let timestamp = TimestampField { field: "t".into(), format: TimestampFormat::Millis };
    let format = HttpFormat::JsonLines { key: Some("k".into()), timestamp: Some(timestamp) };
    Spec { format, max_line: 100 }
}

fn lines() -> Spec {
    Spec { format: HttpFormat::Lines, max_line: 100 }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn of(
    log: &Arc<Log>,
    spec: &Spec,
    context: ConnectorContext,
    at: Option<&SplitPositions>,
) -> HttpSource {
    HttpSource::open(spec, Some(log), context, at).unwrap()
}

#[test]
fn a_body_is_checked_as_a_whole_and_each_bad_line_is_told() {
    let checker = Checker::new(&json());
    assert_eq!(checker.check(b"{\"k\":\"a\",\"t\":1}\r\n\n{\"k\":2,\"t\":2}"), Ok(2));
    assert_eq!(checker.check(b"\n \n"), Ok(0));
    let long = format!("{{\"k\":1,\"t\":1,\"x\":\"{}\"}}", "x".repeat(100));
    let body = format!("{{\"k\":1,\"t\":1}}\n{{\"t\":1}}\nnope\n{long}\n");
    let bad = checker.check(body.as_bytes()).unwrap_err();
    let told: Vec<_> = bad.iter().map(|bad| (bad.line, bad.reason.as_str())).collect();
    assert_eq!(told[0], (2, "field `k` is missing, but it is the key"));
    assert!(told[1].1.contains("is not valid JSON") && told[1].0 == 3, "{told:?}");
    assert!(told[2].1.contains("more than max_line = 100") && told[2].0 == 4, "{told:?}");
    assert_eq!(Checker::new(&json()).check(&b"x\n".repeat(1_000)).unwrap_err().len(), MOST_TOLD);
    let checker = Checker::new(&lines());
    assert_eq!(checker.check(b"a\n\nb\n"), Ok(3));
    assert_eq!(checker.check(b"a\n\xff\n").unwrap_err()[0].line, 2);
}

#[test]
fn records_have_their_keys_and_times_and_the_source_ends_when_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), LIMITS, Clock::default()).unwrap();
    let body = b"{\"k\":\"a\",\"t\":1}\r\n\n{\"k\":2,\"t\":2}";
    run(log.append(body, 2, None)).unwrap();
    run(log.end()).unwrap();
    let want = |key: &str, value: &str, at| -> Record { (key.into(), value.into(), Some(at)) };
    let (records, rejected, error) = drain(&mut of(&log, &json(), alone(), None));
    assert_eq!(records, [want("a", "{\"k\":\"a\",\"t\":1}", 1), want("2", "{\"k\":2,\"t\":2}", 2)]);
    assert!(rejected.is_empty() && error.is_none());
    // If the job file is another one by now, what does not fit is a dead letter.
    let mut other = json();
    other.format = HttpFormat::JsonLines { key: Some("other".into()), timestamp: None };
    let (records, rejected, _) = drain(&mut of(&log, &other, alone(), None));
    assert_eq!((records.len(), rejected.len()), (0, 2));
}

#[test]
fn waiting_for_more_can_be_cancelled_without_loss() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), LIMITS, Clock::default()).unwrap();
    let mut source = of(&log, &lines(), alone(), None);
    run(async {
        tokio::select! {
            biased;
            _ = source.next() => panic!("there is nothing yet"),
            () = std::future::ready(()) => {}
        }
        log.append(b"a", 1, None).await.unwrap();
        let Ok(SourceEvent::Batch { batch, .. }) = source.next().await else { panic!("a record") };
        assert_eq!(testing::records(&batch), [(vec![], b"a".to_vec(), None)]);
    });
}

#[test]
fn a_checkpoint_that_goes_on_from_what_is_not_there_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), LIMITS, Clock::default()).unwrap();
    run(log.append(b"a", 1, None)).unwrap();
    run(log.end()).unwrap();
    let mut source = of(&log, &lines(), alone(), None);
    drain(&mut source);
    let saved = source.positions();
    assert_eq!(needed_from(&saved).unwrap(), Some(log.durable()));
    let other = tempfile::tempdir().unwrap();
    let empty = Log::open(other.path(), LIMITS, Clock::default()).unwrap();
    let error = HttpSource::open(&lines(), Some(&empty), alone(), Some(&saved)).err().unwrap();
    assert!(matches!(error, ConnectorError::CannotResume { .. }), "{error}");
    assert!(HttpSource::open(&lines(), None, alone(), None).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_parallelism_reads_each_record_once_even_when_resumed_with_another(
        sizes in prop::collection::vec(0_usize..3_000, 1..40),
        first in 1_u32..5,
        then in 1_u32..5,
        batches in prop::collection::vec(0_usize..6, 4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path(), LIMITS, Clock::default()).unwrap();
        let mut whole = Vec::new();
        for (i, size) in sizes.iter().enumerate() {
            let bodies: Vec<String> = (0..*size).map(|n| format!("{i}-{n}")).collect();
            let count = u32::try_from(*size).unwrap();
            run(log.append(bodies.join("\n").as_bytes(), count, None)).unwrap();
            whole.extend(bodies);
        }
        run(log.end()).unwrap();
        let (mut got, mut saved) = (Vec::new(), SplitPositions::new());
        for subtask in 0..first {
            let context = ConnectorContext { subtask, parallelism: first };
            let mut source = of(&log, &lines(), context, None);
            for _ in 0..batches[subtask as usize] {
                match run(source.next()).unwrap() {
                    SourceEvent::Batch { batch, .. } => got.extend(testing::records(&batch)),
                    SourceEvent::End => break,
                }
            }
            saved.extend(source.positions());
        }
        for subtask in 0..then {
            let context = ConnectorContext { subtask, parallelism: then };
            got.extend(drain(&mut of(&log, &lines(), context, Some(&saved))).0);
        }
        let mut got: Vec<String> =
            got.into_iter().map(|(_, value, _)| String::from_utf8(value).unwrap()).collect();
        got.sort();
        whole.sort();
        prop_assert!(got == whole);
    }
}
