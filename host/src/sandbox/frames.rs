//! The frames of a guest's backtrace, as an author reads them: names demangled, calls that the compiler
//! inlined shown as calls, with short names of files, and without what is above and below the author's
//! own: how Rust's standard library panics, and how an SDK calls an operator. Which class of failure it
//! is, `trap` says.

use wasmtime::{FrameInfo, WasmBacktrace};

use super::guest_log::shown_up_to;

/// How many frames a failure shows.
const MOST: usize = 20;
/// The longest name of a function or file that a frame shows, in bytes: guests
/// name them as they like.
const MAX_NAME: usize = 256;

/// Where SDKs stand in a project, and Rust's in a registry.
const SDK: [&str; 5] = [
    "cofferdam/cofferdam.h",
    "cofferdam/cofferdam.zig",
    "cofferdam/contract.zig",
    "cofferdam/guest-sdk/rust/",
    "cofferdam-sdk-",
];

/// One frame, innermost first.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    function: String,
    /// File and line, where debug information tells.
    place: Option<(String, u32)>,
    /// The index of a function of which nothing else is known.
    nameless: Option<u32>,
}

/// The frames of a trap, a line each. None for a guest that has told where by itself, unless they say
/// more than names: those of an interpreter, or of Go's runtime, say nothing to who wrote for it.
pub(super) fn frames(error: &wasmtime::Error, told_itself: bool) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let all: Vec<Frame> = backtrace.frames().iter().flat_map(read).collect();
    if told_itself && all.iter().all(|frame| frame.place.is_none()) {
        return Vec::new();
    }
    told_once(lines(&without_sdk(without_panicking(all))))
}

/// Functions of which nothing but the index is known share a line, one after the other: an
/// interpreter has many, and they say nothing to who writes for it.
fn lines(frames: &[Frame]) -> Vec<String> {
    let runs = frames.chunk_by(|a, b| a.nameless.is_some() && b.nameless.is_some());
    let line = |run: &[Frame]| {
        let mut indexes: Vec<u32> = run.iter().filter_map(|frame| frame.nameless).collect();
        indexes.dedup();
        let told: Vec<String> = indexes.iter().take(MOST).map(u32::to_string).collect();
        match &*told {
            [] => run.first().map(Frame::shown),
            [one] => Some(format!("function {one}, without a name")),
            _ => {
                let more = if indexes.len() > MOST { " and more" } else { "" };
                Some(format!("functions {}{more}, without names", told.join(", ")))
            }
        }
    };
    runs.filter_map(line).collect()
}

/// A frame of the machine is a frame of the source for each call that was inlined in it.
fn read(frame: &FrameInfo) -> Vec<Frame> {
    let index = frame.func_index();
    let given = frame.func_name();
    let name = given.map_or_else(|| format!("function {index}"), demangled);
    let mut found: Vec<Frame> = frame
        .symbols()
        .iter()
        .map(|symbol| Frame {
            function: symbol.name().map_or_else(|| name.clone(), demangled),
            place: symbol.file().map(|file| (file.to_owned(), symbol.line().unwrap_or(0))),
            nameless: None,
        })
        .collect();
    match found.last_mut() {
        // As the function is called where it stands in the module: an export has a better name there.
        Some(outermost) => outermost.function = name,
        None => {
            let nameless = given.is_none().then_some(index);
            found.push(Frame { function: name, place: None, nameless });
        }
    }
    found
}

/// Linkers demangle C++'s names in the name section, but nobody does in debug information.
fn demangled(name: &str) -> String {
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return format!("{rust:#}");
    }
    let cpp = name.starts_with("_Z").then(|| cpp_demangle::Symbol::new(name).ok()).flatten();
    let cpp = cpp.and_then(|symbol| symbol.demangle().ok());
    without_versions(&cpp.unwrap_or_else(|| without_types(name).to_owned()))
}

/// C++'s library has its own version in its names, as `std::__2::vector` and `at[abi:nqn220108]`.
fn without_versions(name: &str) -> String {
    let mut rest = name;
    let mut left = String::with_capacity(name.len());
    while let Some((before, after)) = rest.split_once("[abi:") {
        left.push_str(before);
        rest = after.split_once(']').map_or("", |(_, after)| after);
    }
    left.push_str(rest);
    left.replace("std::__2::", "std::")
}

/// Debug information of Rust names what is generic with all of its types, which fill a screen.
fn without_types(name: &str) -> &str {
    match name.split_once('<') {
        Some((short, _)) if name.ends_with('>') && !short.is_empty() && short != "operator" => {
            short
        }
        _ => name,
    }
}

/// Without the frames from a panic of Rust's on, as Rust itself leaves them out.
fn without_panicking(mut frames: Vec<Frame>) -> Vec<Frame> {
    let ends = |frame: &Frame| {
        ["__rust_end_short_backtrace", "rust_begin_unwind"]
            .iter()
            .any(|name| frame.function.contains(name))
    };
    if let Some(last) = frames.iter().rposition(ends) {
        let begins = |frame: &&Frame| frame.function.starts_with("core::panicking::");
        let more = frames[last + 1..].iter().take_while(begins).count();
        // Not all of them: there is always a frame that called.
        frames.drain(..(last + 1 + more).min(frames.len() - 1));
    }
    frames
}

/// Without the outermost frames that are an SDK's: what the host calls, on its way to the author's.
fn without_sdk(mut frames: Vec<Frame>) -> Vec<Frame> {
    // The outermost is the export itself, which may be made by a macro in the author's file.
    let inner = frames.iter().rev().skip(1);
    match inner.take_while(|frame| frame.is_of_sdk()).count() {
        0 => {}
        run if run + 1 == frames.len() => {}
        run => frames.truncate(frames.len() - run - 1),
    }
    frames
}

/// A function that calls itself until the stack is full is one line.
fn told_once(shown: Vec<String>) -> Vec<String> {
    let mut told: Vec<(String, usize)> = Vec::new();
    for line in shown {
        match told.last_mut() {
            Some((last, times)) if *last == line => *times += 1,
            _ => told.push((line, 1)),
        }
    }
    let line = |(line, times)| if times > 1 { format!("{line}, {times} times") } else { line };
    told.into_iter().take(MOST).map(line).collect()
}

impl Frame {
    /// Whether it stands in an SDK, or in a library that the SDK goes through.
    fn is_of_sdk(&self) -> bool {
        let file = self.place.as_ref().map(|(file, _)| short(file));
        file.is_some_and(|file| {
            SDK.iter().any(|part| file.contains(part)) || file.starts_with("library/")
        })
    }

    fn shown(&self) -> String {
        let name = shown_up_to(&self.function, MAX_NAME);
        match &self.place {
            Some((file, line)) => format!("{name} ({}:{line})", shown_up_to(short(file), MAX_NAME)),
            None => name.into_owned(),
        }
    }
}

/// Files of Rust's standard library and of packages from a registry, without where they were on the
/// machine that compiled them.
fn short(file: &str) -> &str {
    let of_rust = file.strip_prefix("/rustc/").and_then(|rest| rest.split_once('/'));
    let of_registry = file.split_once("/registry/src/").and_then(|(_, rest)| rest.split_once('/'));
    let rest = of_rust.or(of_registry).map_or(file, |(_, rest)| rest);
    rest.strip_prefix("./").unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, file: &str, line: u32) -> Frame {
        let place = Some((file.to_owned(), line));
        Frame { function: function.to_owned(), place, nameless: None }
    }

    #[test]
    fn functions_without_names_share_a_line() {
        let told = |indexes: &[u32]| {
            let nameless = |index: &u32| Frame {
                function: format!("function {index}"),
                place: None,
                nameless: Some(*index),
            };
            let run: Vec<Frame> = indexes.iter().map(nameless).collect();
            lines(&run.into_iter().chain([frame("f", "a.c", 1)]).collect::<Vec<_>>())
        };
        assert_eq!(told(&[]), ["f (a.c:1)"]);
        assert_eq!(told(&[645, 645, 645]), ["function 645, without a name", "f (a.c:1)"]);
        assert_eq!(told(&[21, 73, 73, 21])[0], "functions 21, 73, 21, without names");
        let many: Vec<u32> = (0..1000).collect();
        assert!(told(&many)[0].ends_with("19 and more, without names"), "{:?}", told(&many));
    }

    #[test]
    fn what_rust_does_once_it_panics_is_left_out() {
        let panic = |last: &[&str]| {
            let first = ["__rustc::__rust_abort", "std::panicking::panic_with_hook"];
            let middle = ["std::sys::backtrace::__rust_end_short_backtrace::<x>"];
            let then = ["__rustc::rust_begin_unwind", "core::panicking::panic_fmt"];
            let all = first.iter().chain(&middle).chain(&then).chain(last);
            let left = without_panicking(all.map(|name| frame(name, "f.rs", 1)).collect());
            left.into_iter().map(|frame| frame.function).collect::<Vec<_>>()
        };
        let whole = ["core::panicking::panic_bounds_check", "mine::process", "process"];
        assert_eq!(panic(&whole), ["mine::process", "process"]);
        assert_eq!(panic(&["core::slice::index::slice_index_fail"]).len(), 1);
        // Nothing is left to show: what there is, is.
        assert_eq!(panic(&[]), ["core::panicking::panic_fmt"]);
        let none = vec![frame("core::panicking::mine", "f.rs", 1)];
        assert_eq!(without_panicking(none).len(), 1);
    }

    #[test]
    fn what_an_sdk_does_around_an_operator_is_left_out_and_what_it_does_within_stays() {
        let left = |files: &[&str]| {
            let all = files.iter().map(|file| frame("f", file, 1)).collect();
            without_sdk(all).iter().map(|frame| frame.shown()).collect::<Vec<_>>()
        };
        let c = ["./cofferdam/cofferdam.h", "./src/a.c", "./cofferdam/cofferdam.h", "./src/a.c"];
        assert_eq!(left(&c), ["f (cofferdam/cofferdam.h:1)", "f (src/a.c:1)"]);
        let rust = [
            "/rustc/5/library/core/a.rs",
            "src/lib.rs",
            "/p/cofferdam/guest-sdk/rust/src/b.rs",
            "/rustc/5/library/std/c.rs",
            "src/lib.rs",
        ];
        assert_eq!(left(&rust), ["f (library/core/a.rs:1)", "f (src/lib.rs:1)"]);
        // No SDK, or nothing else: all of it.
        assert_eq!(left(&["a.c", "b.c"]).len(), 2);
        assert_eq!(left(&["cofferdam/contract.zig", "cofferdam/contract.zig"]).len(), 2);
        assert_eq!(left(&[]).len(), 0);
    }

    #[test]
    fn a_function_that_calls_itself_is_told_once() {
        let all = ["a", "b", "b", "b", "a"].map(str::to_owned).to_vec();
        assert_eq!(told_once(all), ["a", "b, 3 times", "a"]);
        let many = (0..100).map(|n| n.to_string()).collect();
        assert_eq!(told_once(many).len(), MOST);
    }

    #[test]
    fn names_are_demangled_and_files_are_short() {
        assert_eq!(demangled("_ZN9cofferdam5panicEPKcz"), "cofferdam::panic(char const*, ...)");
        assert_eq!(demangled("_ZN3foo3bar17h0123456789abcdefE"), "foo::bar");
        for plain in ["process", "operator<=>", "<a::B as c::D>::e"] {
            assert_eq!(demangled(plain), plain);
        }
        let at = "std::__2::vector<int>::at[abi:nqn220108](unsigned long)";
        assert_eq!(demangled(at), "std::vector<int>::at(unsigned long)");
        assert_eq!(demangled("f[abi:never"), "f");
        assert_eq!(demangled("index<u8, core::ops::range::RangeFrom<usize>>"), "index");
        let at = |file| frame("f", file, 3).shown();
        assert_eq!(
            at("/rustc/59807616/library/core/src/slice/index.rs"),
            "f (library/core/src/slice/index.rs:3)"
        );
        assert_eq!(
            at("/home/a/.cargo/registry/src/index-1949/serde-1.0.1/src/de.rs"),
            "f (serde-1.0.1/src/de.rs:3)"
        );
        assert_eq!(at("./src/operator.c"), "f (src/operator.c:3)");
    }
}
