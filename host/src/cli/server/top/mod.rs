//! `cofferdam top`: what jobs of a server do, looked at again and again. Asks for what the server
//! says to Prometheus, so that a look costs the same however many jobs there are.
//!
//! | file | what lives there |
//! | --- | --- |
//! | here | looking, and what is shown around the table |
//! | `sample` | what was seen, and what happened between two looks |
//! | `view` | the table, and its order |
//! | `screen` | the terminal and its keys |

mod sample;
mod screen;
mod view;

use std::{
    io::{self, IsTerminal as _},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use self::{
    sample::{Row, Sample},
    screen::{Screen, Wish},
    view::Order,
};
use super::{Server, failed, refuse, text, top_args::TopArgs};
use crate::{
    cli::{exit::Exit, human},
    client::{Request, error::ClientError},
    clock::{Clock, Stopwatch},
};

/// How many jobs are asked for at once, and how often at most: what runs is told by its numbers.
const PAGE: usize = 1_000;
const PAGES: usize = 5;
/// Lines around the table: two above it, its header, and one below.
const AROUND: usize = 5;

/// A look that has been taken.
struct Look {
    sample: Sample,
    taken: Stopwatch,
}

/// What is shown: a server between two looks.
struct Shown {
    rows: Vec<Row>,
    sample: Sample,
}

pub(in crate::cli) fn top(args: &TopArgs) -> Result<Exit, Exit> {
    let server = Server::of(&args.at.server)?;
    let order = Order { by: args.sort, reversed: false };
    let before = look(&server, args.all).map_err(|error| failed(&error))?;
    if args.once || args.at.json || !io::stdout().is_terminal() {
        return follow(&server, args, order, before);
    }
    watch(&server, args, order, before)
}

fn look(server: &Server, all: bool) -> Result<Look, ClientError> {
    let metrics = server.client.fetch(&Request::get(&["metrics"]))?;
    let taken = Stopwatch::start();
    let (mut listed, mut after): (Vec<Value>, Option<String>) = (Vec::new(), None);
    for _ in 0..PAGES {
        let request = Request::get(&["v1", "jobs"])
            .query("limit", PAGE)
            .query_if("tenant", server.tenant.as_ref())
            .query_if("after", after.as_ref());
        let page = server.client.send(&request)?.json;
        let jobs = page["jobs"].as_array().into_iter().flatten();
        listed.extend(jobs.filter(|job| all || job["ended_at"].is_null()).cloned());
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    let overview = server.client.send(&Request::get(&["v1", "overview"]))?.json;
    let mut sample = Sample::of(&String::from_utf8_lossy(&metrics), &listed, overview);
    if let Some(tenant) = &server.tenant {
        sample.jobs.retain(|_, job| job.tenant == tenant.as_str());
    }
    Ok(Look { sample, taken })
}

fn between(before: &Look, now: &Look, order: Order) -> Shown {
    let seconds = before.taken.elapsed().saturating_sub(now.taken.elapsed()).as_secs_f64();
    let mut rows = now.sample.since(&before.sample, seconds);
    order.sort(&mut rows);
    Shown { rows, sample: now.sample.clone() }
}

/// Prints what happened, once or again and again, for who has no terminal.
fn follow(server: &Server, args: &TopArgs, order: Order, before: Look) -> Result<Exit, Exit> {
    let mut before = before;
    loop {
        thread::sleep(args.interval);
        let now = look(server, args.all).map_err(|error| failed(&error))?;
        let shown = between(&before, &now, order);
        let json = json!({
            "at": Clock::System.now_millis(),
            "server": server.client.address().to_string(),
            "overview": shown.sample.overview,
            "jobs": shown.rows,
        });
        super::show(args.at.json, &json, |_| {
            let table = view::jobs(&shown.rows, order, usize::MAX);
            format!("{}\n\n{table}", headline(server, &shown.sample))
        })?;
        if args.once {
            return Ok(Exit::Success);
        }
        before = now;
    }
}

/// Draws what happened until somebody has seen enough.
fn watch(server: &Server, args: &TopArgs, order: Order, before: Look) -> Result<Exit, Exit> {
    let cannot = |error: io::Error| refuse(&format!("the terminal cannot be used: {error}"));
    let screen = Screen::enter().map_err(cannot)?;
    let mut shown =
        Shown { rows: before.sample.since(&before.sample, 0.0), sample: before.sample.clone() };
    let (mut order, mut before) = (order, before);
    let (mut first, mut held, mut trouble) = (0_usize, false, None::<String>);
    // The first rates come soon.
    let mut pause = args.interval.min(Duration::from_secs(1));
    loop {
        order.sort(&mut shown.rows);
        let room = screen.size().0.saturating_sub(AROUND).max(1);
        first = first.min(shown.rows.len().saturating_sub(room));
        let state = match (&trouble, held) {
            (Some(trouble), _) => trouble.clone(),
            (None, true) => "held still; space goes on".to_owned(),
            (None, false) => keys(shown.rows.len(), first, room),
        };
        let table = human::plain(&view::jobs(&shown.rows, order, screen.size().1));
        let lines = lines(&headline(server, &shown.sample), &table, (first, room), &state);
        screen.draw(&lines, &[2]).map_err(cannot)?;
        let waited = Stopwatch::start();
        match screen.wish(pause) {
            Some(Wish::Quit) => return Ok(Exit::Success),
            Some(Wish::Key(' ')) => held = !held,
            Some(Wish::Key(key)) => order = order.after(key),
            Some(Wish::Scroll(by)) => first = first.saturating_add_signed(by),
            None if held => {}
            None => {
                match look(server, args.all) {
                    Ok(now) => {
                        shown = between(&before, &now, order);
                        (before, trouble) = (now, None);
                    }
                    // It may come back.
                    Err(error) => trouble = Some(one_line(&error)),
                }
                pause = args.interval;
                continue;
            }
        }
        // A key does not put off the next look.
        pause = pause.saturating_sub(waited.elapsed()).max(Duration::from_millis(1));
    }
}

fn one_line(error: &ClientError) -> String {
    let text = human::plain(&error.to_string());
    text.lines().next().unwrap_or_default().to_owned()
}

/// What is on the screen: columns are those of all rows, so that they stand still when it is
/// scrolled.
fn lines(head: &str, table: &str, (first, room): (usize, usize), state: &str) -> Vec<String> {
    let mut lines = vec![head.to_owned(), String::new()];
    let mut rows = table.lines();
    lines.extend(rows.next().map(str::to_owned));
    lines.extend(rows.skip(first).take(room).map(str::to_owned));
    lines.extend([String::new(), state.to_owned()]);
    lines
}

fn keys(rows: usize, first: usize, room: usize) -> String {
    let keys = "q ends · n t s i o b p c m r sort · space holds still";
    match rows > room {
        true => {
            format!("{keys} · arrows scroll, {}–{} of {rows}", first + 1, (first + room).min(rows))
        }
        false => keys.to_owned(),
    }
}

/// The server in a line.
fn headline(server: &Server, sample: &Sample) -> String {
    let overview = &sample.overview;
    let states = overview["jobs"].as_object().into_iter().flatten();
    let states: Vec<String> = states.map(|(state, count)| format!("{count} {state}")).collect();
    let states = if states.is_empty() { "no jobs".to_owned() } else { states.join(", ") };
    let total = overview["slots_total"].as_u64().unwrap_or(0);
    let used = total.saturating_sub(overview["slots_free"].as_u64().unwrap_or(0));
    let memory = match sample.memory {
        Some((reserved, limit)) => {
            format!(" · memory {} of {}", human::bytes(reserved), human::bytes(limit))
        }
        None => String::new(),
    };
    human::plain(&format!(
        "cofferdam {} at {} · {states} · slots {used} of {total}{memory}",
        text(&overview["version"]),
        server.client.address(),
    ))
}
