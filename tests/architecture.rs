//! The rules of `src` that no compiler knows: which way the arrows point, where the clock, the system and
//! nothing else is, and what a file looks like. See the crate's documentation for the layers.
//!
//! The checker reads tokens, not a syntax tree: comments and literals are blanked first, so that what is
//! said of a thing is not taken for the thing. Its own tests, at the end, are bad samples that it must find.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Who may use whom. `cli` and `main` may use all.
const LAYERS: [(&str, &[&str]); 21] = [
    (
        "lib",
        &[
            "chat",
            "cli",
            "clients",
            "codec",
            "deadlines",
            "engine",
            "event_loop",
            "input_texts",
            "lab",
            "limits",
            "log_window",
            "memory",
            "metrics",
            "output_queues",
            "progress",
            "recording",
            "sabotage",
            "servers",
            "simulation",
            "socketserver",
            "stats",
        ],
    ),
    ("lab", &["chat", "engine", "event_loop", "codec", "limits", "deadlines", "output_queues"]),
    (
        "servers",
        &[
            "engine",
            "event_loop",
            "codec",
            "limits",
            "deadlines",
            "input_texts",
            "output_queues",
            "progress",
            "sabotage",
            "socketserver",
        ],
    ),
    ("socketserver", &["engine", "event_loop", "codec", "limits", "deadlines", "output_queues"]),
    ("recording", &["engine", "event_loop", "codec", "limits", "memory"]),
    ("chat", &["engine", "codec", "limits", "deadlines", "log_window", "memory", "metrics", "sabotage"]),
    ("stats", &["engine", "codec", "limits", "metrics"]),
    ("clients", &["engine", "codec", "limits", "deadlines", "output_queues", "progress"]),
    ("event_loop", &["engine", "limits", "deadlines", "log_window", "memory", "sabotage"]),
    (
        "simulation",
        &[
            "chat",
            "codec",
            "engine",
            "event_loop",
            "limits",
            "memory",
            "progress",
            "sabotage",
            "servers",
            "socketserver",
        ],
    ),
    ("sabotage", &[]),
    ("codec", &["limits"]),
    ("engine", &["limits"]),
    ("deadlines", &["engine", "limits"]),
    ("output_queues", &["engine", "limits"]),
    ("input_texts", &["engine", "codec", "limits"]),
    ("progress", &["engine"]),
    ("log_window", &["engine", "limits"]),
    ("metrics", &["engine", "limits"]),
    ("limits", &[]),
    ("memory", &[]),
];

/// The only places of the operating system.
const SYSTEM: [&str; 2] = ["event_loop/io.rs", "event_loop/io/"];

/// What the lessons are about is the system itself: they have the sockets and the clock, too.
const LESSONS: &str = "lab/";

/// The log has times of its own, which nothing depends on.
const LOG_CLOCK: &str = "cli/logging.rs";

const FILE_LINES_MAX: usize = 600;

/// What would make it two programs at once.
const CONCURRENCY: [&str; 14] = [
    "thread::",
    "thread_local",
    "Mutex",
    "RwLock",
    "Condvar",
    "Barrier",
    "OnceLock",
    "LazyLock",
    "Atomic",
    "mpsc",
    "async ",
    ".await",
    "Future",
    "tokio",
];

/// A descriptor that is duplicated keeps telling of a socket that is gone.
const DUPLICATES: [&str; 6] = ["try_clone", "dup(", "dup;", "dup2", "dup3", "fcntl_dup"];

const CLOCKS: [&str; 6] =
    ["Instant::now", "SystemTime::now", "Zoned::now", "Timestamp::now", "clock_gettime", ".elapsed()"];

/// Sockets and polls by any other name.
const SYSTEM_CALLS: [&str; 10] = [
    "mio::",
    "mio;",
    "socket2::",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixDatagram",
    "UnixStream",
    "UnixListener",
    "rustix::event",
];

/// What is not finished, or talks past the one path for messages.
const LEFTOVERS: [&str; 8] =
    ["todo!", "unimplemented!", "dbg!", "println!", "eprintln!", "print!", "eprint!", "process::exit"];

/// A file of `src`: its path below it, its text, and its code alone.
struct Source {
    path: String,
    text: String,
    /// The text without comments and the insides of literals; lines stay lines.
    code: String,
    /// Lines of `code` before the inline tests.
    lines_before_tests: usize,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let code = blank(text);
        let is_test_file = path.ends_with("/tests.rs") || path.contains("/tests/");
        let lines_before_tests = if is_test_file {
            0
        } else {
            let lines: Vec<&str> = code.lines().collect();
            // An inline module of tests, not a declaration of one in another file.
            (0..lines.len())
                .find(|at| {
                    lines[*at].trim() == "#[cfg(test)]"
                        && lines.get(at + 1).is_some_and(|next| next.contains("mod ") && next.contains('{'))
                })
                .unwrap_or(lines.len())
        };
        Source { path: path.into(), text: text.into(), code, lines_before_tests }
    }

    /// The module right below the crate's root that it belongs to.
    fn layer(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Lines that are part of the program, with their numbers.
    fn program(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().take(self.lines_before_tests).enumerate().map(|(at, line)| (at + 1, line))
    }

    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path == *place || place.ends_with('/') && self.path.starts_with(place))
    }

    /// How many `super`s lead from this file's own module to the crate's root.
    fn depth(&self) -> usize {
        let path = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        if matches!(path, "lib" | "main") { 0 } else { path.split('/').count() }
    }
}

/// Replaces comments and the insides of literals by spaces, and keeps the line ends.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let starts = |at: usize, what: &str| what.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    let hide = |out: &mut String, c: char| out.push(if c == '\n' { '\n' } else { ' ' });
    while at < chars.len() {
        let before = at.checked_sub(1).map(|before| chars[before]);
        let is_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
        // `r"…"`, `r#"…"#`, `br"…"`: as many hashes behind as before.
        let raw = if is_word {
            None
        } else {
            let r = at + usize::from(chars[at] == 'b');
            let hashes = chars.iter().skip(r + 1).take_while(|c| **c == '#').count();
            (chars.get(r) == Some(&'r') && chars.get(r + 1 + hashes) == Some(&'"')).then_some((r, hashes))
        };
        if starts(at, "//") {
            while at < chars.len() && chars[at] != '\n' {
                hide(&mut out, chars[at]);
                at += 1;
            }
        } else if starts(at, "/*") {
            let mut depth = 0;
            loop {
                if starts(at, "/*") || starts(at, "*/") {
                    depth += if chars[at] == '/' { 1 } else { -1 };
                    out.push_str("  ");
                    at += 2;
                } else if at < chars.len() {
                    hide(&mut out, chars[at]);
                    at += 1;
                }
                if depth == 0 || at >= chars.len() {
                    break;
                }
            }
        } else if let Some((r, hashes)) = raw {
            let end = format!("\"{}", "#".repeat(hashes));
            let begin = r + 2 + hashes;
            let close = (begin..chars.len()).find(|at| starts(*at, &end)).unwrap_or(chars.len());
            chars[at..close.min(chars.len())].iter().for_each(|c| hide(&mut out, *c));
            at = close + end.len();
        } else if chars[at] == '"' {
            out.push('"');
            at += 1;
            while at < chars.len() && chars[at] != '"' {
                if chars[at] == '\\' {
                    hide(&mut out, ' ');
                    at += 1;
                }
                if at < chars.len() {
                    hide(&mut out, chars[at]);
                    at += 1;
                }
            }
            out.push('"');
            at += 1;
        } else if chars[at] == '\'' && (chars.get(at + 1) == Some(&'\\') || chars.get(at + 2) == Some(&'\''))
        {
            // A character, not a lifetime: `'\''`, `'\u{7}'`, `'x'`.
            let from = at + if chars[at + 1] == '\\' { 3 } else { 2 };
            let close = (from..chars.len()).find(|at| chars[*at] == '\'').unwrap_or(chars.len());
            chars[at..close].iter().for_each(|c| hide(&mut out, *c));
            at = close + 1;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// The modules right below the crate's root that a file names.
fn uses(source: &Source) -> BTreeSet<String> {
    let program: String = source.program().map(|(_, line)| format!("{line}\n")).collect();
    let mut found = BTreeSet::new();
    let to_root = "super::".repeat(source.depth());
    for root in ["crate::", "onepoll::", &to_root] {
        if root.is_empty() {
            continue;
        }
        for (at, _) in program.match_indices(root) {
            let before = program[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            found.extend(first_names(&program[at + root.len()..]));
        }
    }
    found
}

/// The first name of a path, or of each path of a group.
fn first_names(path: &str) -> Vec<String> {
    let name = |path: &str| -> String {
        path.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let mut names = vec![name(group)];
    let mut depth = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(&group[at + 1..])),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let begins = !before.is_some_and(|c| c.is_alphanumeric() || c == '_');
        begins || !word.starts_with(|c: char| c.is_alphanumeric())
    })
}

/// All that is wrong with a file, each as `path:line: what`.
fn faults(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    let path = &source.path;
    let layer = source.layer();
    if !matches!(layer, "cli" | "main") {
        match LAYERS.iter().find(|(name, _)| *name == layer) {
            None => faults.push(format!("{path}:1: is in no layer: {layer}")),
            Some((_, allowed)) => {
                let modules: BTreeSet<&str> = LAYERS.iter().map(|(name, _)| *name).chain(["cli"]).collect();
                for used in uses(source) {
                    let is_up = modules.contains(used.as_str()) && used != layer;
                    if is_up && !allowed.contains(&used.as_str()) {
                        faults.push(format!("{path}:1: {layer} may not use {used}"));
                    }
                }
            }
        }
    }
    if !source.text.starts_with("//!") {
        faults.push(format!("{path}:1: does not begin with what it is for (//!)"));
    }
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        faults.push(format!("{path}:{lines}: has more than {FILE_LINES_MAX} lines: look for the seam"));
    }
    for (number, line) in source.text.lines().enumerate() {
        for marker in ["TODO", "FIXME", "XXX", "HACK"] {
            if contains_word(line, marker) {
                faults.push(format!("{path}:{}: {marker}", number + 1));
            }
        }
    }
    for (number, line) in source.code.lines().enumerate() {
        // The word itself is in `forbid(unsafe_code)`, which is wanted.
        if contains_word(line, "unsafe") && !line.contains("unsafe_code") {
            faults.push(format!("{path}:{}: unsafe", number + 1));
        }
        if contains_word(line, "dbg!") {
            faults.push(format!("{path}:{}: dbg!", number + 1));
        }
    }
    let mut ban = |words: &[&str], why: &str| {
        for (number, line) in source.program() {
            for word in words.iter().filter(|word| contains_word(line, word)) {
                faults.push(format!("{path}:{number}: {word}: {why}"));
            }
        }
    };
    ban(&CONCURRENCY, "there is one thread, and nothing to lock");
    ban(&DUPLICATES, "sockets are never duplicated");
    if !source.is_in(&SYSTEM) && !source.is_in(&[LESSONS]) {
        // `std::net` has addresses too, which are no sockets: only those are named here.
        let (sockets, poll) = SYSTEM_CALLS.split_at(SYSTEM_CALLS.len() - 1);
        ban(sockets, "the operating system is in event_loop/io only");
        // The terminal is the client's own affair.
        if layer != "cli" {
            ban(poll, "the operating system is in event_loop/io only");
        }
        if path != LOG_CLOCK {
            ban(&CLOCKS, "the clock is read in event_loop/io only");
        }
    }
    if !matches!(layer, "cli" | "main") {
        ban(&LEFTOVERS, "unfinished, or talks past cli");
    }
    faults
}

fn sources() -> Vec<Source> {
    fn walk(directory: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).expect("src is there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                into.push(path);
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&src, &mut paths);
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).expect("a source file");
            let below = path.strip_prefix(&src).expect("below src").to_string_lossy().into_owned();
            Source::new(&below, &text)
        })
        .collect()
}

#[test]
fn the_source_keeps_its_rules() {
    let sources = sources();
    assert!(sources.len() > 20, "only {} files were found", sources.len());
    let faults: Vec<String> = sources.iter().flat_map(faults).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn every_module_below_the_root_has_its_layer() {
    let sources = sources();
    let layers: BTreeSet<&str> = sources.iter().map(Source::layer).collect();
    let known: BTreeSet<&str> = LAYERS.iter().map(|(name, _)| *name).chain(["cli", "main"]).collect();
    assert_eq!(layers, known);
}

#[test]
fn p77_the_crate_forbids_unsafe_code_altogether() {
    for root in ["lib.rs", "main.rs"] {
        let sources = sources();
        let source = sources.iter().find(|source| source.path == root).expect("a root");
        assert!(source.text.contains("#![forbid(unsafe_code)]"), "{root}");
    }
}

// ---- what the checker finds ----

fn found(path: &str, code: &str) -> String {
    faults(&Source::new(path, &format!("//! A sample.\n{code}\n"))).join("\n")
}

#[test]
fn arrows_that_point_up_are_found_however_they_are_written() {
    for (path, code) in [
        ("chat/room.rs", "use crate::event_loop::EventLoop;"),
        ("chat/room.rs", "use crate::{engine::Now, event_loop};"),
        ("chat/room.rs", "use crate::{engine::{Now, Peer}, clients};"),
        ("chat/room.rs", "fn f() { crate::cli::run(); }"),
        ("chat/room.rs", "use super::super::event_loop;"),
        ("chat/mod.rs", "use super::event_loop;"),
        ("event_loop/mod.rs", "use crate::chat::Chat;"),
        ("event_loop/mod.rs", "use crate::codec::line;"),
        ("codec/line.rs", "use crate::engine::Now;"),
        ("engine.rs", "use crate::deadlines::Deadlines;"),
        ("engine.rs", "use super::chat;"),
        ("limits.rs", "use crate::engine::Now;"),
        ("clients/chat.rs", "use crate::chat::Chat;"),
        ("clients/chat.rs", "pub(super) use crate::event_loop::io;"),
    ] {
        assert!(found(path, code).contains("may not use"), "{path}: {code}");
    }
    assert!(found("new/new.rs", "").contains("in no layer"));
}

#[test]
fn arrows_that_point_down_or_aside_are_not_faults() {
    for (path, code) in [
        ("chat/room.rs", "use crate::engine::Now;\nuse crate::{codec, limits};\nuse super::log;"),
        ("chat/mod.rs", "use crate::chat::room;"),
        ("event_loop/mod.rs", "use crate::engine::Now; // not crate::chat\n/* crate::chat */"),
        ("event_loop/mod.rs", "const WHY: &str = \"crate::chat\"; const RAW: &str = r#\"crate::chat\"#;"),
        ("cli/serve.rs", "use crate::chat::Chat; use crate::event_loop::io;"),
        ("main.rs", "fn main() { onepoll::cli::run() }"),
    ] {
        assert_eq!(found(path, code), "", "{path}: {code}");
    }
}

#[test]
fn the_system_and_the_clock_are_found_outside_their_place() {
    for code in [
        "use mio::Poll;",
        "use std::net::TcpStream;",
        "use std::time::Instant; fn f() { Instant::now(); }",
        "fn f() { std::time::SystemTime::now(); }",
        "fn f(began: Instant) { began.elapsed(); }",
    ] {
        assert!(found("chat/room.rs", code).contains("event_loop/io only"), "{code}");
        assert!(found("event_loop/mod.rs", code).contains("event_loop/io only"), "{code}");
        assert_eq!(found("event_loop/io.rs", code), "", "{code}");
        assert_eq!(found("event_loop/io/listen.rs", code), "", "{code}");
    }
    assert_eq!(found("cli/logging.rs", "fn f() { jiff::Zoned::now(); }"), "");
    assert_eq!(found("engine.rs", "/// Not `mio::Poll`.\nuse std::time::Duration;"), "");
}

#[test]
fn threads_locks_and_async_are_found_everywhere() {
    for code in [
        "fn f() { std::thread::spawn(|| ()); }",
        "use std::sync::Mutex;",
        "use std::sync::{Arc, RwLock};",
        "use std::sync::mpsc;",
        "use std::sync::Condvar;",
        "async fn f() {}",
        "fn f() { g().await; }",
        "use std::sync::atomic::AtomicBool;",
    ] {
        for path in ["chat/room.rs", "event_loop/io.rs", "cli/serve.rs"] {
            assert!(found(path, code).contains("one thread"), "{path}: {code}");
        }
    }
}

#[test]
fn p13_sockets_that_are_duplicated_are_found() {
    for code in
        ["fn f() { socket.try_clone(); }", "use rustix::io::dup;", "fn f() { fd.try_clone_to_owned(); }"]
    {
        assert!(found("event_loop/io.rs", code).contains("never duplicated"), "{code}");
    }
}

#[test]
fn unsafe_code_and_leftovers_are_found() {
    assert!(found("event_loop/io.rs", "fn f() { unsafe { g() } }").contains("unsafe"));
    assert_eq!(found("main.rs", "#![forbid(unsafe_code)]"), "");
    assert!(found("chat/room.rs", "// TODO: later").contains("TODO"));
    assert!(found("cli/serve.rs", "// FIXME").contains("FIXME"));
    assert!(found("cli/serve.rs", "fn f() { dbg!(1); }").contains("dbg!"));
    assert!(found("chat/room.rs", "fn f() { println!(); }").contains("talks past cli"));
    assert_eq!(found("cli/serve.rs", "fn f() { println!(); }"), "");
    assert_eq!(found("chat/room.rs", "const SAID: &str = \"println!\";"), "");
}

#[test]
fn a_file_without_a_purpose_or_an_end_is_found() {
    assert!(faults(&Source::new("chat/room.rs", "use std::fmt;\n"))[0].contains("what it is for"));
    assert_eq!(found("chat/room.rs", &"\n".repeat(FILE_LINES_MAX - 2)), "");
    assert!(found("chat/room.rs", &"\n".repeat(FILE_LINES_MAX)).contains("look for the seam"));
}

#[test]
fn inline_tests_may_read_the_clock_and_nothing_before_them_may() {
    let tests = "#[cfg(test)]\nmod tests {\n    fn f() { std::time::Instant::now(); }\n}";
    assert_eq!(found("chat/room.rs", tests), "");
    assert!(found("chat/room.rs", &format!("fn f() {{ Instant::now(); }}\n{tests}")).contains(":2:"));
    assert!(found("chat/mod.rs", "#[cfg(test)]\nmod tests;\nfn f() { Instant::now(); }").contains(":4:"));
}

#[test]
fn characters_and_lifetimes_and_escapes_do_not_confuse_the_checker() {
    let code =
        "fn f<'a>(c: char, s: &'a str) -> bool { c == '\"' || c == '\\'' || s == \"\\\"\" }\nuse mio::Poll;";
    assert!(found("chat/room.rs", code).contains("room.rs:3: mio::"), "{}", found("chat/room.rs", code));
    assert_eq!(
        blank("a /* b /* c */ d */ e \"f\\\"g\" 'h' r#\"i\"j\"# k").split_whitespace().collect::<String>(),
        "ae\"\"k"
    );
}
