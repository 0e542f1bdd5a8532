//! The noise-free gauge: instructions in user space for each delivery, line and connection.
//!
//! Callgrind counts them over the production loop and the production chat engine; only the operating system
//! is a simulated one, whose sockets take everything and whose peers speak by a script. So the same
//! build counts the same on a busy machine as on an idle one. Each figure is the difference of two runs
//! of this program that differ only in how much of one thing they do: start-up cancels out. Each run
//! reports the bytes that it wrote, so that nothing can get cheaper by not being done.
//!
//! - `cargo bench --bench gauge` compares with `gauge.txt`, and exits 1 where a figure grew by more than
//!   `GROWTH_MAX_PERCENT`; `-- --keep` writes the file instead; `-- NAME` selects by part of the name.
//! - `cargo test --benches` and `cargo bench -- --test` only check that the simulation works.
//!
//! The figures belong to x86-64, glibc and one compiler: another compiler is a reason to keep them anew.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::time::Duration;

use onepoll::chat::Chat;
use onepoll::chat::config::{Config, ConnectRate, Rate};
use onepoll::engine::{Endpoint, Moment, Now, Peer};
use onepoll::event_loop::io::{Event, Io, Source};
use onepoll::event_loop::{EventLoop, Linger};
use onepoll::limits;

const GROWTH_MAX_PERCENT: f64 = 5.0;

const KEPT_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/gauge.txt");

const KEPT_HEAD: &str = "\
# Instructions in user space, as counted by benches/gauge.rs (x86-64): CI fails where one grows by more
# than 5 %. To keep new ones, and say in the commit why: cargo bench --bench gauge -- --keep
";

/// What a simulated server lives through.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Workload {
    /// Who connects, at the start.
    members: u32,
    /// How often one of them sends.
    posts: u32,
    /// How many of them take turns in that: the last ones.
    speakers: u32,
    /// Lines that it sends at a time.
    lines: u32,
    pace: Pace,
    language: Language,
    /// Members that hang up at the end.
    hang_ups: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Pace {
    /// Everyone has everything before the next post.
    Calm,
    /// A post in every turn, while rooms are still being written to.
    Busy,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Language {
    English,
    Chinese,
}

/// One figure: what `more` does beyond `less`, by the piece.
struct Figure {
    name: &'static str,
    less: Workload,
    more: Workload,
    pieces: u32,
    /// What each piece writes.
    bytes: usize,
}

const CALM: Workload = Workload {
    members: 0,
    posts: 0,
    speakers: 1,
    lines: 1,
    pace: Pace::Calm,
    language: Language::English,
    hang_ups: 0,
};

const ENGLISH: &str = "The quick brown fox jumps over the lazy dog, and over 9 others.";
const CHINESE: &str = "你好，世界！今天天气很好，我们一起去公园吧";
const _: () = assert!(ENGLISH.len() == CHINESE.len());

/// All names have this length: ports are counted from 10000.
const GREETING: &str = "-- you are 192.0.2.1:10000 in lobby; /help lists the commands --\n";
const RECORD_BYTES: usize = "2026/11/21 10:00:00 192.0.2.1:10000: \n".len() + ENGLISH.len();
const PORT_MIN: u32 = 10_000;

fn figures() -> Vec<Figure> {
    let members = 1000;
    let posting = |name, members, posts, workload: Workload| Figure {
        name,
        less: Workload { members, posts, ..workload },
        more: Workload { members, posts: 2 * posts, ..workload },
        pieces: members * posts * workload.lines,
        bytes: RECORD_BYTES,
    };
    vec![
        Figure {
            name: "connection_accepted",
            less: Workload { members: 4096, ..CALM },
            more: Workload { members: 8192, ..CALM },
            pieces: 4096,
            bytes: GREETING.len(),
        },
        Figure {
            name: "connection_closed",
            less: Workload { members: 4096, hang_ups: 1024, ..CALM },
            more: Workload { members: 4096, hang_ups: 3072, ..CALM },
            pieces: 2048,
            bytes: 0,
        },
        posting("delivery_of_1_line", members, 64, CALM),
        posting("delivery_of_64_lines", members, 64, Workload { lines: 64, ..CALM }),
        posting("delivery_while_busy", members, 512, Workload { pace: Pace::Busy, ..CALM }),
        posting("line_alone", 1, 4096, CALM),
        // The price of a change of speakers, and of two deliveries.
        Figure {
            name: "line_of_another",
            less: Workload { members: 2, posts: 4096, speakers: 2, ..CALM },
            more: Workload { members: 2, posts: 8192, speakers: 2, ..CALM },
            pieces: 4096,
            bytes: 2 * RECORD_BYTES,
        },
        posting("line_of_64", 1, 64, Workload { lines: 64, ..CALM }),
        posting("line_of_64_chinese", 1, 64, Workload { lines: 64, language: Language::Chinese, ..CALM }),
    ]
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if let [flag, words @ ..] = &arguments[..]
        && flag == "--simulate"
    {
        println!("{}", simulate(Workload::from_words(words)));
        return ExitCode::SUCCESS;
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let figures: Vec<Figure> =
        figures().into_iter().filter(|figure| filter.is_none_or(|part| figure.name.contains(part))).collect();
    // Cargo says --bench only where it is asked for a measurement, in a build worth measuring.
    if has("--test") || !has("--bench") {
        for figure in &figures {
            figure.check_bytes(simulate(figure.more) - simulate(figure.less));
        }
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("gauge: skipped: valgrind is not installed");
        return ExitCode::SUCCESS;
    }
    let counted: Vec<(&str, f64)> = figures.iter().map(|figure| (figure.name, figure.count())).collect();
    if has("--keep") {
        if filter.is_some() {
            println!("gauge: --keep keeps all figures: leave the name out");
            return ExitCode::FAILURE;
        }
        let lines: String = counted.iter().map(|(name, count)| format!("{name} {count:.2}\n")).collect();
        std::fs::write(KEPT_PATH, format!("{KEPT_HEAD}{lines}")).expect("gauge.txt can be written");
    }
    report(&counted)
}

/// Prints the table; fails where a figure grew, or was never kept.
fn report(counted: &[(&str, f64)]) -> ExitCode {
    let kept = kept();
    let mut has_grown = false;
    println!("{:<22} {:>12} {:>10} {:>8}", "", "instructions", "kept", "change");
    for (name, count) in counted {
        let (before, change) = match kept.get(*name) {
            Some(before) => (format!("{before:.2}"), 100.0 * (count / before - 1.0)),
            None => ("none".into(), f64::INFINITY),
        };
        let is_more = change > GROWTH_MAX_PERCENT;
        has_grown |= is_more;
        let verdict = if is_more { "  GROWN" } else { "" };
        println!("{name:<22} {count:>12.2} {before:>10} {change:>+7.1}%{verdict}");
    }
    if has_grown && cfg!(not(target_arch = "x86_64")) {
        println!("gauge: not compared: the kept figures are x86-64's");
    } else if has_grown {
        println!(
            "gauge: grown by more than {GROWTH_MAX_PERCENT} %, or never kept: make it cheaper, or keep it and \
             say why: cargo bench --bench gauge -- --keep"
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn kept() -> BTreeMap<String, f64> {
    let text = std::fs::read_to_string(KEPT_PATH).unwrap_or_default();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(name, count)| (name.into(), count.parse().expect("gauge.txt has a name and a number a line")))
        .collect()
}

impl Figure {
    fn count(&self) -> f64 {
        let (less, less_bytes) = self.less.count();
        let (more, more_bytes) = self.more.count();
        self.check_bytes(more_bytes - less_bytes);
        (more - less) as f64 / f64::from(self.pieces)
    }

    fn check_bytes(&self, bytes: u64) {
        assert_eq!(bytes, u64::from(self.pieces) * self.bytes as u64, "{}: bytes written", self.name);
    }
}

impl Workload {
    /// Instructions that a run of this takes, and the bytes that it wrote.
    fn count(&self) -> (u64, u64) {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe().expect("this program has a path"))
            .arg("--simulate")
            .args(self.to_words())
            // What a shell has set would be counted with the start-up, and move the stack.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .output()
            .expect("valgrind starts");
        let messages = String::from_utf8_lossy(&output.stderr);
        let bytes = String::from_utf8_lossy(&output.stdout).trim().parse().ok();
        let instructions = messages.lines().find_map(|line| line.split_once("Collected : ")?.1.parse().ok());
        match (instructions, bytes) {
            (Some(instructions), Some(bytes)) if output.status.success() => (instructions, bytes),
            _ => panic!("valgrind: {}: {messages}", output.status),
        }
    }

    fn to_words(self) -> [String; 7] {
        [
            self.members,
            self.posts,
            self.speakers,
            self.lines,
            u32::from(self.pace == Pace::Busy),
            u32::from(self.language == Language::Chinese),
            self.hang_ups,
        ]
        .map(|number| number.to_string())
    }

    fn from_words(words: &[String]) -> Self {
        let numbers: Vec<u32> = words.iter().map(|word| word.parse().expect("a number")).collect();
        let [members, posts, speakers, lines, is_busy, is_chinese, hang_ups] = numbers[..] else {
            panic!("--simulate takes seven numbers");
        };
        let pace = if is_busy == 1 { Pace::Busy } else { Pace::Calm };
        let language = if is_chinese == 1 { Language::Chinese } else { Language::English };
        Workload { members, posts, speakers, lines, pace, language, hang_ups }
    }
}

/// Runs the production loop through a workload; returns the bytes that it wrote.
fn simulate(workload: Workload) -> u64 {
    // Every feature is on: the rate limits count, but never stop the one who speaks for all, nor the address that
    // all come from.
    let rate = Rate { lines_per_second: 1_000_000_000, burst_lines: 1_000_000_000 };
    let config = Config {
        clients_max: usize::MAX,
        clients_per_ip_max: usize::MAX,
        connect_rate: Some(ConnectRate {
            connects_per_minute: 1,
            burst_connects: u32::MAX,
            addresses_max: limits::CONNECT_ADDRESSES_MAX,
        }),
        rate: Some(rate),
        ..Config::default()
    };
    let bytes_written = Rc::new(Cell::new(0));
    let simulated = Simulated::new(workload, Rc::clone(&bytes_written));
    let mut event_loop = EventLoop::new(simulated, Chat::new(config), Linger::InAll(limits::LINGER));
    event_loop.listen(()).expect("the simulation can watch it");
    let error = event_loop.run().expect_err("only the end of the script ends it");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
    // Taking everything down is no part of what is counted.
    std::mem::forget(event_loop);
    bytes_written.get()
}

/// An operating system in which nothing ever waits. Streams are numbered as they come, as slots are.
struct Simulated {
    workload: Workload,
    /// What one post sends.
    text: Vec<u8>,
    accepted: u32,
    posts_left: u32,
    hang_ups_left: u32,
    /// Everyone is connected and greeted.
    has_begun: bool,
    /// Whose socket has a post to be read.
    speaker: Option<u32>,
    nanoseconds: u64,
    bytes_written: Rc<Cell<u64>>,
}

/// Members that hang up in one turn.
const HANG_UPS_PER_TURN: u32 = 64;

impl Simulated {
    fn new(workload: Workload, bytes_written: Rc<Cell<u64>>) -> Self {
        let line = match workload.language {
            Language::English => ENGLISH,
            Language::Chinese => CHINESE,
        };
        Simulated {
            workload,
            text: format!("{line}\n").repeat(workload.lines as usize).into_bytes(),
            accepted: 0,
            posts_left: workload.posts,
            hang_ups_left: workload.hang_ups,
            has_begun: false,
            speaker: None,
            nanoseconds: 0,
            bytes_written,
        }
    }

    fn readable(stream: u32, is_read_closed: bool) -> Event {
        Event {
            source: Source::Connection(stream as usize),
            is_readable: true,
            is_writable: false,
            is_read_closed,
            is_broken: false,
        }
    }
}

impl Io for Simulated {
    type Stream = u32;
    type Listener = ();

    /// A clock that stays within one second, as most turns do.
    fn now(&mut self) -> Now {
        Now { moment: Moment::START + Duration::from_nanos(self.nanoseconds), unix_s: 1_795_255_200 }
    }

    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> std::io::Result<()> {
        self.nanoseconds += 1000;
        let is_idle = timeout != Some(Duration::ZERO);
        self.has_begun |= is_idle;
        let is_pressed = self.has_begun && self.workload.pace == Pace::Busy && self.posts_left > 0;
        if !is_idle && !is_pressed {
            return Ok(());
        }
        if self.posts_left > 0 {
            self.posts_left -= 1;
            let speaker = self.workload.members - 1 - self.posts_left % self.workload.speakers;
            self.speaker = Some(speaker);
            events.push(Simulated::readable(speaker, false));
        } else if self.hang_ups_left > 0 {
            for _ in 0..HANG_UPS_PER_TURN.min(self.hang_ups_left) {
                self.hang_ups_left -= 1;
                events.push(Simulated::readable(self.hang_ups_left, true));
            }
        } else {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn listen(&mut self, _listener: &mut (), _index: usize) -> std::io::Result<()> {
        Ok(())
    }

    fn accept(&mut self, _listener: &mut ()) -> std::io::Result<(u32, Peer)> {
        if self.accepted == self.workload.members {
            return Err(ErrorKind::WouldBlock.into());
        }
        let stream = self.accepted;
        self.accepted += 1;
        let port = u16::try_from(PORT_MIN + stream).expect("fewer members than ports");
        // One address, so that the map of addresses hashes, but does not differ from run to run.
        Ok((stream, Peer::Inet(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), port)))
    }

    fn accept_on_reserve(&mut self, _listener: &mut ()) -> std::io::Result<u32> {
        Err(ErrorKind::WouldBlock.into())
    }

    fn refuse(&mut self, stream: u32, text: &str) -> usize {
        panic!("{stream} was refused: {text}");
    }

    fn connect(&mut self, endpoint: &Endpoint) -> std::io::Result<u32> {
        Err(Error::other(format!("{endpoint:?}: a server connects to nobody")))
    }

    fn connected(&mut self, _stream: &u32) -> std::io::Result<Peer> {
        Err(ErrorKind::NotConnected.into())
    }

    fn register(&mut self, stream: &mut u32, slot: usize, _wants_write: bool) -> std::io::Result<bool> {
        assert_eq!(*stream as usize, slot, "slots are given in order");
        Ok(false)
    }

    fn set_interest(&mut self, stream: &mut u32, _slot: usize, _wants_write: bool) -> std::io::Result<()> {
        panic!("{stream} was never full");
    }

    fn deregister(&mut self, _stream: &mut u32) {}

    fn read(&mut self, stream: &mut u32, buffer: &mut [u8]) -> std::io::Result<usize> {
        if let Some(speaker) = self.speaker.take() {
            assert_eq!(*stream, speaker, "nobody else has something to say");
            buffer[..self.text.len()].copy_from_slice(&self.text);
            return Ok(self.text.len());
        }
        // Who is read from without input has hung up.
        Ok(0)
    }

    fn short_read_drains(&self, _stream: &u32) -> bool {
        true
    }

    fn write(&mut self, _stream: &mut u32, parts: [&[u8]; 2]) -> std::io::Result<usize> {
        let bytes = parts[0].len() + parts[1].len();
        self.bytes_written.set(self.bytes_written.get() + bytes as u64);
        Ok(bytes)
    }

    fn abort(&mut self, _stream: &mut Self::Stream) {}

    fn shutdown_write(&mut self, _stream: &mut u32) -> std::io::Result<bool> {
        Ok(true)
    }
}
