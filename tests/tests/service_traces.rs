//! What is traced, and gets to a collector: a sampled batch's way through a job, checkpoints, starts of
//! jobs, and requests; and that a collector that is not there holds nothing up.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{collections::BTreeSet, net::TcpListener, thread, time::Duration};

use cofferdam_tests::{
    Place, Served,
    collector::{Collector, Span},
    guests,
    jobs::COUNTING,
    program,
};

/// Who sends a request, as the standard's example has it.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// Four batches go through a chain, by key to two subtasks, and into a file.
const JOB: &str = r#"
[job]
name = "followed"

[[source]]
name = "numbers"
connector = "generator"
records = 4_000
keys = 100

[[operator]]
name = "copied"
artifact = "identity"
input = "numbers"

[[operator]]
name = "counted"
artifact = "count"
input = "copied"
parallelism = 2

[[sink]]
name = "out"
input = "counted"
connector = "lines"
path = "out.txt"
"#;

fn serve(place: &Place, collector: &str, more: &str) -> Served {
    let traces = format!("[traces]\nendpoint = '{collector}'\nschedule_delay = '50ms'\n{more}");
    let served = Served::of_tenants(place, &["acme"], &traces);
    for operator in ["identity", "count", "window-stats"] {
        served.push("acme", operator, "1");
    }
    served
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn below<'a>(spans: &'a [Span], parent: &Span) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.is_below(parent)).collect()
}

fn sum<'a>(spans: impl IntoIterator<Item = &'a Span>, key: &str) -> i64 {
    spans.into_iter().map(|span| span.number(key)).sum()
}

/// What /metrics says of a counter.
fn counter(served: &Served, name: &str) -> Option<u64> {
    let text = served.ask("GET", "/metrics", b"").expect(200).text;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}_total ")))?;
    line.parse().ok()
}

fn until_counted(served: &Served, name: &str) {
    for _ in 0..3_000 {
        if counter(served, name).is_some_and(|count| count > 0) {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("{name} stays {:?}", counter(served, name));
}

#[test]
fn a_sampled_batch_is_followed_through_a_chain_a_hash_exchange_and_into_the_sink() {
    let (place, collector) = (Place::new(), Collector::start());
    let more = "sample_ratio = 1\nrequest_ratio = 0\nmax_queue = 100000\nservice_name = 'test'
resource = {'deployment.environment.name' = 'here'}\nheaders = {x-key = 'secret'}";
    let served = serve(&place, &collector.url(), more);
    let job = served.submit("acme", JOB);
    let _ = served.until_state(&job, "finished");
    // All were sent when it has ended.
    let _ = served.terminate();
    let spans = collector.spans();

    let reads = named(&spans, "read numbers");
    assert_eq!(sum(reads.iter().copied(), "cofferdam.records.out"), 4_000);
    assert_eq!(reads.iter().map(|read| &read.trace).collect::<BTreeSet<_>>().len(), reads.len());
    for read in &reads {
        let records = read.number("cofferdam.records.out");
        assert_eq!((read.parent.as_str(), read.kind, read.flags), ("", 1, 0x101));
        let calls = below(&spans, read);
        let names: Vec<&str> = calls.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(BTreeSet::from_iter(names), BTreeSet::from(["process copied", "wait copied"]));
        let copied = named(&spans, "process copied");
        let copied = *copied.iter().find(|span| span.is_below(read)).unwrap();
        assert_eq!(copied.number("cofferdam.records.in"), records);
        assert_eq!(copied.number("cofferdam.records.out"), records);
        assert!(copied.number("cofferdam.guest.time_ns") > 0, "{copied:#?}");
        let took = i64::try_from(copied.time.1 - copied.time.0).unwrap();
        assert!(copied.number("cofferdam.guest.time_ns") <= took, "{copied:#?}");

        // The hash exchange divides it: each part is folded by one subtask, below the same parent.
        let folds: Vec<&Span> =
            below(&spans, copied).into_iter().filter(|s| s.name == "fold counted").collect();
        let subtasks: BTreeSet<i64> = folds.iter().map(|f| f.number("cofferdam.subtask")).collect();
        assert_eq!((folds.len(), subtasks), (2, BTreeSet::from([0, 1])));
        assert_eq!(sum(folds.iter().copied(), "cofferdam.records.in"), records);
        let slots: BTreeSet<i64> = folds.iter().map(|f| f.number("cofferdam.slot")).collect();
        assert_eq!(slots.len(), 2, "each has a slot of its own");
        for fold in folds {
            let ends = below(&spans, fold);
            let [wait, write] = ["wait out", "write out"]
                .map(|name| *ends.iter().find(|span| span.name == name).unwrap());
            let out = fold.number("cofferdam.records.out");
            assert_eq!(write.number("cofferdam.records.in"), out);
            // It is on its way when it is made, until it is written.
            assert!(fold.time.0 <= wait.time.0 && wait.time.1 <= write.time.1, "{wait:#?}");
            assert_eq!(write.status.0, 0);
        }
    }
    let id = job.rsplit('/').next().unwrap();
    for span in named(&spans, "fold counted") {
        assert_eq!(span.get("cofferdam.tenant"), "acme");
        assert_eq!(
            (span.get("cofferdam.job.id"), span.get("cofferdam.job.name")),
            (&id.into(), &"followed".into())
        );
        assert_eq!(span.get("cofferdam.operator"), "counted");
        assert_eq!(span.resource["service.name"], "test");
        assert_eq!(span.resource["deployment.environment.name"], "here");
    }
    for request in collector.requests() {
        assert_eq!(request.line, "POST /v1/traces HTTP/1.1");
        assert_eq!(request.header("content-type"), "application/x-protobuf");
        assert_eq!(request.header("x-key"), "secret");
    }
    assert!(spans.iter().all(|span| span.time.0 <= span.time.1 && span.trace.len() == 32));
    assert!(spans.iter().all(|span| span.kind != 2), "no request was to be traced");
}

#[test]
fn what_windows_give_out_is_linked_to_the_batches_that_were_folded_into_them() {
    let (place, collector) = (Place::new(), Collector::start());
    let served = serve(&place, &collector.url(), "sample_ratio = 1\nmax_queue = 100000");
    let job = "[job]\nname = 'windows'\n[[source]]\nname = 'readings'\nconnector = 'generator'\n\
               records = 5_000\nkeys = 3\nstart = 2026-01-01T00:00:00Z\nstep = '10ms'\n\
               fields = {reading = {sequence = 1}}\n[[operator]]\nname = 'windows'\n\
               artifact = 'window-stats'\ninput = 'readings'\nwindow = {type = 'tumbling', size = '20s'}\n\
               config.field = 'reading'\n[[sink]]\nname = 'out'\ninput = 'windows'\nconnector = 'discard'\n";
    let job = served.submit("acme", job);
    let _ = served.until_state(&job, "finished");
    let _ = served.terminate();
    let spans = collector.spans();
    let folds: BTreeSet<_> = named(&spans, "fold windows")
        .into_iter()
        .map(|s| (s.trace.clone(), s.id.clone()))
        .collect();
    assert!(folds.len() >= 4, "{folds:?}");
    let fires = named(&spans, "fire windows");
    // 50 s are three windows.
    assert!((1..=3).contains(&fires.len()), "{fires:#?}");
    let mut linked = BTreeSet::new();
    for fire in fires {
        assert!(fire.parent.is_empty() && !fire.links.is_empty(), "{fire:#?}");
        assert!(fire.links.iter().all(|to| folds.contains(to)));
        linked.extend(fire.links.iter().cloned());
        let ends: Vec<_> = below(&spans, fire).iter().map(|span| span.name.clone()).collect();
        assert_eq!(ends.iter().filter(|name| *name == "write out").count(), 1, "{ends:?}");
    }
    assert_eq!(linked, folds, "each fold led to something");
}

#[test]
fn a_checkpoint_is_a_trace_from_its_trigger_to_the_last_commit() {
    let (place, collector) = (Place::new(), Collector::start());
    let served = serve(&place, &collector.url(), "sample_ratio = 0\nrequest_ratio = 0");
    let counting = COUNTING.replace("input = \"numbers\"", "input = \"numbers\"\nparallelism = 2");
    let _ = served.submit("acme", &counting);
    // The commit comes last.
    let (trace, spans) = collector.until("a checkpoint that was committed", |spans| {
        let commits = named(spans, "commit out");
        let of =
            |trace: &str| spans.iter().filter(|s| s.trace == trace).cloned().collect::<Vec<_>>();
        let whole = commits.iter().find(|c| of(&c.trace).iter().any(|s| s.name == "checkpoint"))?;
        Some((whole.trace.clone(), of(&whole.trace)))
    });
    let root = named(&spans, "checkpoint")[0];
    assert!(root.parent.is_empty() && root.number("cofferdam.checkpoint.id") >= 1);
    assert_eq!(root.get("cofferdam.checkpoint.trigger"), "interval");
    assert!(root.number("cofferdam.checkpoint.written_bytes") > 0, "{root:#?}");
    let mut names: Vec<&str> = below(&spans, root).iter().map(|span| span.name.as_str()).collect();
    names.retain(|name| !name.starts_with("align "));
    names.sort_unstable();
    let wanted = [
        "commit out",
        "snapshot count",
        "snapshot count",
        "snapshot numbers",
        "snapshot out",
        "write checkpoint",
    ];
    assert_eq!(names, wanted, "{trace}");
    // The sink waits for the barriers of both subtasks.
    let align = named(&spans, "align out");
    assert!(align.len() <= 1 && align.iter().all(|align| align.time.1 <= root.time.1));
    let (write, commit) = (named(&spans, "write checkpoint")[0], named(&spans, "commit out")[0]);
    for snapshot in spans.iter().filter(|span| span.name.starts_with("snapshot ")) {
        assert!(snapshot.time.1 <= write.time.1 && snapshot.time.0 <= commit.time.0);
    }
    assert!(write.time.0 >= root.time.0 && write.time.1 <= root.time.1, "{write:#?} {root:#?}");
    assert!(commit.time.0 >= write.time.1, "{commit:#?}");
    // Nothing else was to be told of.
    assert!(named(&collector.spans(), "read numbers").is_empty());
}

#[test]
fn a_traceparent_is_continued_from_the_request_to_the_first_record() {
    let (place, collector) = (Place::new(), Collector::start());
    let served = serve(&place, &collector.url(), "sample_ratio = 0\nrequest_ratio = 0");
    let send = |path: &str, flags: &str, token: &str, body: &str| {
        let token = format!("authorization: Bearer {token}\r\n");
        let state = "tracestate: rojo=1\r\ntracestate: congo=t61rcWkgMzE , ,other@us=2\r\n";
        let headers = format!("{token}traceparent: 00-{TRACE}-{CALLER}-{flags}\r\n{state}");
        let method = if body.is_empty() { "GET" } else { "POST" };
        served.send(method, path, &headers, body.as_bytes())
    };
    // Neither who says no, nor who is not let in, has anything told.
    let _ = send("/v1/jobs?limit=3", "00", &served.token, "").expect(200);
    let _ = send("/v1/jobs?limit=4", "01", "cfd_wrong", "").expect(401);
    let submitted = send("/v1/jobs?tenant=acme", "01", &served.token, JOB).expect(201);
    let first = collector.until("the first record", |spans| {
        named(spans, "start job").first().map(|span| (*span).clone())
    });
    let _ = send("/v1/jobs/nonsense", "01", &served.token, "").expect(404);
    let spans = collector.until("a request that found nothing", |spans| {
        let found = spans.iter().any(|s| s.name == "GET /v1/jobs/{id}");
        found.then(|| spans.to_vec())
    });
    let requests: Vec<&Span> = spans.iter().filter(|span| span.kind == 2).collect();
    let names: Vec<&str> = requests.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["POST /v1/jobs", "GET /v1/jobs/{id}"]);
    for request in &requests {
        assert_eq!((request.trace.as_str(), request.parent.as_str()), (TRACE, CALLER));
        assert_eq!(request.flags, 0x301, "sampled, and its parent is another program's");
        assert_eq!(request.state, "rojo=1,congo=t61rcWkgMzE,other@us=2");
        assert_eq!(request.status.0, 0, "who asks for what is not there is no failure of ours");
    }
    let (request, missing) = (requests[0], requests[1]);
    assert_eq!(request.get("http.request.method"), "POST");
    assert_eq!(request.get("http.route"), "/v1/jobs");
    assert_eq!(request.get("url.path"), "/v1/jobs");
    assert_eq!(request.number("http.response.status_code"), 201);
    assert_eq!(request.get("cofferdam.request.id"), submitted.header("x-request-id"));
    assert_eq!(missing.number("http.response.status_code"), 404);

    assert!(first.is_below(request), "{first:#?}");
    assert_eq!(first.get("cofferdam.job.name"), "followed");
    assert_eq!((first.status.0, first.get("cofferdam.tenant")), (0, &"acme".into()));
    let mut steps: Vec<_> = below(&spans, &first).iter().map(|span| span.name.clone()).collect();
    steps.sort_unstable();
    assert_eq!(steps, ["deploy", "prepare", "wait for slots"]);
    // What travels with the trace does so to the last span that the request led to.
    let of_trace = spans.iter().filter(|span| span.trace == TRACE);
    assert!(of_trace.clone().count() >= 6 && of_trace.clone().all(|s| s.state == missing.state));
}

/// A job whose records are posted to it.
const POSTED: &str = r#"
[job]
name = "posted"

[checkpoints]
interval = "1h"

[[source]]
name = "events"
connector = "http"
format = "lines"

[[operator]]
name = "copied"
artifact = "identity"
input = "events"

[[sink]]
name = "out"
input = "copied"
connector = "discard"
"#;

#[test]
fn a_batch_is_linked_to_the_traced_posts_that_its_records_came_with() {
    let (place, collector) = (Place::new(), Collector::start());
    // By chance none is ever chosen.
    let more = "sample_ratio = 0.000000001\nrequest_ratio = 0";
    let served = serve(&place, &collector.url(), more);
    let job = served.submit("acme", POSTED);
    let _ = served.until_state(&job, "running");
    let post = |flags: &str| {
        let token = format!("authorization: Bearer {}\r\n", served.token);
        let state = "tracestate: rojo=1\r\n";
        let headers = format!("{token}traceparent: 00-{TRACE}-{CALLER}-{flags}\r\n{state}");
        let _ =
            served.send("POST", &format!("{job}/sources/events"), &headers, b"a\nb\n").expect(200);
    };
    post("00");
    post("01");
    let spans = collector.until("the way of what was posted", |spans| {
        let there = |is_it: fn(&Span) -> bool| spans.iter().any(is_it);
        let all = there(|span| span.name == "write out") && there(|span| span.kind == 2);
        all.then(|| spans.to_vec())
    });
    let posts: Vec<&Span> = spans.iter().filter(|span| span.kind == 2).collect();
    let reads = named(&spans, "read events");
    assert_eq!((posts.len(), reads.len()), (1, 1), "{spans:#?}");
    let (posted, read) = (posts[0], reads[0]);
    assert_eq!(read.links, [(TRACE.to_owned(), posted.id.clone())]);
    // It is a trace of its own: there may be records of others in it.
    assert_ne!(read.trace, posted.trace);
    assert_eq!((read.parent.as_str(), read.state.as_str()), ("", ""));
    let below_it: Vec<&str> = below(&spans, read).iter().map(|span| span.name.as_str()).collect();
    assert!(below_it.contains(&"process copied"), "{below_it:?}");
}

#[test]
fn a_collector_that_is_not_there_costs_spans_and_nothing_else() {
    let place = Place::new();
    // A port where nobody listens any more.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let more = "sample_ratio = 1\nmax_queue = 8\ntimeout = '1s'";
    let served = serve(&place, &format!("http://{gone}"), more);
    // It goes on telling while nobody takes anything.
    let endless = served.submit("acme", COUNTING);
    let job = served.submit("acme", JOB);
    let _ = served.until_state(&job, "finished");
    // It came to what it must come to.
    assert_eq!(place.counts("data/files/acme/out.txt").values().sum::<u64>(), 4_000);
    until_counted(&served, "cofferdam_traces_spans_dropped");
    until_counted(&served, "cofferdam_traces_spans_lost");
    assert_eq!(counter(&served, "cofferdam_traces_spans_exported"), Some(0));
    let _ = served.until_state(&endless, "running");
    let said = served.terminate();
    let told: Vec<_> =
        said.iter().filter(|line| line.contains("did not reach the collector")).collect();
    // It is said once a minute at most.
    assert_eq!(told.len(), 1, "{said:#?}");
    assert!(told[0].contains(&gone.to_string()) && told[0].contains("nobody listens"), "{told:?}");
}

#[test]
fn a_collector_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let (place, collector) = (Place::new(), Collector::start());
    collector.answer(503);
    let served = serve(&place, &collector.url(), "sample_ratio = 1");
    let _ = served.submit("acme", JOB);
    let until_asked = |status: u16| {
        for _ in 0..3_000 {
            if collector.requests().iter().any(|request| request.status == status) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("nobody asks");
    };
    until_asked(503);
    collector.answer(200);
    collector.until("what was sent again", |spans| (!spans.is_empty()).then_some(()));
    let requests = collector.requests();
    let taken = requests.iter().find(|request| request.status == 200).unwrap();
    assert_eq!(taken.body, requests[0].body, "the same spans");
    until_counted(&served, "cofferdam_traces_spans_exported");
    assert_eq!(counter(&served, "cofferdam_traces_spans_lost"), Some(0));
    collector.answer(400);
    let _ = served.submit("acme", JOB);
    until_asked(400);
    until_counted(&served, "cofferdam_traces_spans_refused");
}

#[test]
fn nothing_is_traced_where_nothing_is_configured() {
    let place = Place::new();
    let served = Served::of_tenants(&place, &["acme"], "");
    served.push("acme", "identity", "1");
    served.push("acme", "count", "1");
    let job = served.submit("acme", JOB);
    let _ = served.until_state(&job, "finished");
    assert_eq!(counter(&served, "cofferdam_traces_spans_exported"), None);
}

#[test]
fn a_job_without_a_server_is_traced_as_the_environment_says() {
    let (place, collector) = (Place::new(), Collector::start());
    place.write("job.toml", JOB);
    let mut command = program();
    command.args(["run", "job.toml", "--artifacts"]).arg(guests()).current_dir(place.path(""));
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
        .env("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%2Cb")
        .env("OTEL_SERVICE_NAME", "streams")
        .env("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=tests")
        .env("OTEL_TRACES_SAMPLER", "always_on");
    let ended = command.output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    // What was left was sent before it ended.
    let spans = collector.spans();
    assert_eq!(sum(named(&spans, "read numbers"), "cofferdam.records.out"), 4_000);
    assert_eq!(sum(named(&spans, "fold counted"), "cofferdam.records.in"), 4_000);
    assert_eq!(named(&spans, "start job").len(), 1);
    assert!(spans.iter().all(|span| span.resource["service.name"] == "streams"));
    assert!(spans.iter().all(|span| span.resource["service.namespace"] == "tests"));
    assert!(collector.requests().iter().all(|request| request.header("api-key") == "a,b"));
}
