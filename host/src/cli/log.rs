//! The log: what of it is written, and what a line looks like. As text it is for people. As JSON each
//! line is an object, and at its top stands all that is known of whose it is: what the spans say that it
//! was written in, from the outermost to the innermost, and then what the line says itself.
//!
//! What a command says to its user is in `terminal`; where the log is JSON, it is lines of it.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fmt,
    panic::PanicHookInfo,
    sync::OnceLock,
};

use indicatif::MultiProgress;
use serde_json::{Map, Value};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::{JsonFields, Writer},
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

use super::terminal;
use crate::config::{
    self, environment,
    server::{LogFormat, LogSpec},
};

/// What is said where nothing else says whose a line is.
const TARGET: &str = "cofferdam";
/// What no field can take the place of.
const RESERVED: [&str; 3] = ["timestamp", "level", "target"];

static JSON: OnceLock<()> = OnceLock::new();

/// Whether each line is to be an object.
pub(super) fn is_json() -> bool {
    JSON.get().is_some()
}

/// Logs to standard error, in between what shows progress, as the environment says.
pub(super) fn start() -> MultiProgress {
    let spec = config::log_of_environment(environment::variables());
    start_as(&spec.unwrap_or_else(|errors| {
        terminal::say(&errors.to_string());
        LogSpec::default()
    }))
}

/// The same, as a configuration says. What `COFFERDAM_LOG` says goes before it.
pub(super) fn start_as(spec: &LogSpec) -> MultiProgress {
    let progress = terminal::shared_progress();
    let filter = std::env::var("COFFERDAM_LOG").ok().or_else(|| spec.level.clone());
    let filter = filter.unwrap_or_else(|| "warn".to_owned());
    let writer = terminal::LogWriter(progress.clone());
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(move || writer.clone());
    match spec.format {
        LogFormat::Text => log.with_ansi(terminal::colours()).init(),
        LogFormat::Json => {
            let _ = JSON.set(());
            log.event_format(JsonLines).fmt_fields(JsonFields::new()).init();
            std::panic::set_hook(Box::new(panicked));
        }
    }
    progress
}

/// A bug, which is a line as well.
fn panicked(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let said = payload.downcast_ref::<&str>().copied();
    let said = said.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let place = panic.location().map(ToString::to_string);
    let thread = std::thread::current();
    let backtrace = Backtrace::capture();
    let known = backtrace.status() == BacktraceStatus::Captured;
    tracing::error!(
        location = place,
        thread = thread.name(),
        backtrace = known.then(|| backtrace.to_string()),
        "panicked: {}",
        said.unwrap_or("it says nothing")
    );
}

/// What a command says to its user, as a line.
pub(super) fn line_of(said: &str) -> String {
    let (level, message) = match (said.strip_prefix("error: "), said.strip_prefix("warning: ")) {
        (Some(error), _) => (Level::ERROR, error),
        (_, Some(warning)) => (Level::WARN, warning),
        _ => (Level::INFO, said),
    };
    let mut line = begin(level, TARGET);
    line.insert("message".to_owned(), message.trim_end().into());
    Value::Object(line).to_string()
}

fn begin(level: Level, target: &str) -> Map<String, Value> {
    let mut now = String::new();
    // A text takes what is written to it.
    let _ = SystemTime.format_time(&mut Writer::new(&mut now));
    let [timestamp, of_level, of_target] = RESERVED;
    let pairs =
        [(timestamp, now.into()), (of_level, level.as_str().into()), (of_target, target.into())];
    pairs.into_iter().map(|(key, value): (&str, Value)| (key.to_owned(), value)).collect()
}

/// An event as an object.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut own = Fields::default();
        event.record(&mut own);
        let mut line = begin(*event.metadata().level(), event.metadata().target());
        if let Some(message) = own.0.shift_remove("message") {
            line.insert("message".to_owned(), message);
        }
        let mut insert = |fields: Map<String, Value>| {
            for (key, value) in fields {
                if !RESERVED.contains(&key.as_str()) {
                    line.insert(key, value);
                }
            }
        };
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let said = extensions.get::<FormattedFields<N>>();
            // They are an object, as `JsonFields` writes it.
            insert(said.and_then(|said| serde_json::from_str(said).ok()).unwrap_or_default());
        }
        insert(own.0);
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// The fields of an event.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: impl FnOnce()) -> Vec<Value> {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(JsonLines)
            .fmt_fields(JsonFields::new())
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_has_all_that_the_spans_say_and_its_own_words_go_before_theirs() {
        let lines = logged(|| {
            let job = tracing::error_span!("job", job = "j", tenant = "acme", level = "mine");
            let subtask = tracing::error_span!(
                parent: &job, "subtask", operator = "count", subtask = 3, trace_id = tracing::field::Empty
            );
            let _in = subtask.enter();
            subtask.record("trace_id", "4bf9");
            tracing::warn!(
                checkpoint = 7_u64,
                ok = true,
                tenant = "other",
                none = None::<u32>,
                "two\nlines {}",
                1
            );
            tracing::info!(target: "guest", parent: None, ratio = 0.5, what = ?[1], "alone");
        });
        let [inner, alone] = &lines[..] else { panic!("{lines:#?}") };
        let keys: Vec<_> = inner.as_object().unwrap().keys().map(String::as_str).collect();
        let first = ["timestamp", "level", "target", "message", "job", "tenant", "operator"];
        assert_eq!(keys[..first.len()], first);
        assert_eq!((&inner["level"], &inner["message"]), (&"WARN".into(), &"two\nlines 1".into()));
        assert_eq!((&inner["job"], &inner["tenant"]), (&"j".into(), &"other".into()));
        assert_eq!((&inner["operator"], &inner["subtask"]), (&"count".into(), &3.into()));
        assert_eq!((&inner["trace_id"], &inner["checkpoint"]), (&"4bf9".into(), &7.into()));
        assert_eq!((&inner["ok"], inner.get("none")), (&true.into(), None));
        assert!(inner["timestamp"].as_str().unwrap().ends_with('Z'), "{inner}");
        assert_eq!((&alone["target"], alone.get("job")), (&"guest".into(), None));
        assert_eq!((&alone["ratio"], &alone["what"]), (&0.5.into(), &"[1]".into()));
    }

    #[test]
    fn what_is_said_to_the_user_is_a_line_of_its_level() {
        for (said, level, message) in [
            ("error: no\nhelp: yes\n", "ERROR", "no\nhelp: yes"),
            ("warning: it is late", "WARN", "it is late"),
            ("serving at x", "INFO", "serving at x"),
        ] {
            let line: Value = serde_json::from_str(&line_of(said)).unwrap();
            assert_eq!((&line["level"], &line["message"]), (&level.into(), &message.into()));
            assert_eq!(line["target"], "cofferdam");
        }
    }
}
