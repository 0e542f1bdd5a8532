//! P7, P17 and P56 once more, through a bad network: see [`proxy`](crate::proxy).

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::process::Child;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::harness::{Client, DEADLINE, Server, onepoll, untimed, wait_readable};
use crate::proxy::{Fate, Proxy, Weather};
use crate::seeds::{Random, Seed};

const SPEAKERS: usize = 10;
const LINES_EACH: usize = 400;
const LAST_LINE: &str = "that was all";

/// What a speaker says as its line of this number: whatever is torn, mixed up or made up is none.
fn words(speaker: usize, number: usize) -> String {
    let mut random = Random::new((speaker << 32 | number) as u64);
    let mut words = format!("{speaker} {number}");
    for _ in 0..random.below(40) {
        words += &format!(" {:x}", random.next());
    }
    words
}

/// The one who is there without a proxy, hears everything, and says the most.
struct Host {
    client: Client,
    said: usize,
    /// All lines, as everyone has to get them.
    heard: Vec<String>,
    /// By name: what each said, in its order.
    by_name: BTreeMap<String, Vec<String>>,
}

impl Host {
    fn hear(&mut self) {
        let line = self.client.line();
        let (name, said) =
            untimed(&line).split_once(": ").map(|(n, s)| (n.into(), s.into())).expect("a message");
        self.by_name.entry(name).or_default().push(said);
        self.heard.push(line);
    }

    fn own(&self) -> usize {
        self.by_name.get(&self.client.name).map_or(0, Vec::len)
    }

    /// Never far ahead of what it hears, so that it is not the one who is left behind.
    fn say(&mut self, lines: usize) {
        for _ in 0..lines {
            self.client.say(&words(SPEAKERS, self.said));
            self.said += 1;
            while self.said - self.own() > 16 {
                self.hear();
            }
        }
        while self.own() < self.said {
            self.hear();
        }
    }

    /// What each behind the proxy was heard to say, with its number.
    fn of_speakers(&self) -> impl Iterator<Item = (usize, &Vec<String>)> {
        let others = self.by_name.iter().filter(|(name, _)| **name != self.client.name);
        others.map(|(_, said)| {
            let first_word = said[0].split(' ').next().expect("a word");
            (first_word.parse().expect("the number of a speaker"), said)
        })
    }

    /// Whether all who are not cut were heard to their last line.
    fn has_heard_all(&self, fates: &[Fate]) -> bool {
        let are_whole =
            |(speaker, said): &(usize, &Vec<String>)| !fates[*speaker].is_cut() && said.len() == LINES_EACH;
        self.of_speakers().filter(are_whole).count() == fates.iter().filter(|fate| !fate.is_cut()).count()
    }
}

/// A client behind the proxy, which says its lines and reads until the last line, or until it is cut.
struct Speaker {
    fate: Fate,
    /// Gives what it writes to back, for at its end a client leaves.
    writer: JoinHandle<Box<dyn Write + Send>>,
    reader: JoinHandle<Vec<u8>>,
}

impl Speaker {
    fn of(Ends { mut writer, mut reader }: Ends, number: usize, fate: Fate) -> Self {
        Speaker {
            fate,
            writer: std::thread::spawn(move || {
                for line in 0..LINES_EACH {
                    let line = words(number, line) + "\n";
                    if writer.write_all(line.as_bytes()).is_err() {
                        assert!(fate.is_cut(), "{fate:?}: a line is not taken");
                        break;
                    }
                }
                writer
            }),
            reader: std::thread::spawn(move || {
                let last = format!(": {LAST_LINE}\n");
                let (mut got, mut chunk) = (Vec::new(), [0; 4096]);
                while !got.ends_with(last.as_bytes()) {
                    assert!(
                        wait_readable(reader.as_fd(), Instant::now() + DEADLINE),
                        "{fate:?}: nothing came"
                    );
                    match reader.read(&mut chunk) {
                        Ok(bytes) if bytes > 0 => got.extend_from_slice(&chunk[..bytes]),
                        end => {
                            assert!(fate.is_cut(), "{fate:?}: {end:?} after {} bytes", got.len());
                            break;
                        }
                    }
                }
                got
            }),
        }
    }
}

trait Source: Read + AsFd + Send {}
impl<S: Read + AsFd + Send> Source for S {}

/// Both ends of a client: what it says and what it hears.
struct Ends {
    writer: Box<dyn Write + Send>,
    reader: Box<dyn Source>,
}

impl Ends {
    /// A bare socket.
    fn of_socket(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
        Ends { writer: Box::new(stream.try_clone().expect("a copy")), reader: Box::new(stream) }
    }

    /// Our own client, in a pipe.
    fn of_program(address: &str) -> (Self, Program) {
        let mut child = onepoll(&["chat", "--no-reconnect", address]).spawn().expect("it starts");
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        (Ends { writer: Box::new(stdin), reader: Box::new(stdout) }, Program(child))
    }
}

/// Ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What came to somebody, of all that was to be heard: whole lines in their order, with a mark at each gap that
/// says how long it is. Returns how many were missed.
fn check(heard: &[String], got: &[u8], fate: Fate) -> usize {
    let got = std::str::from_utf8(got).expect("lines are UTF-8");
    // Our own client shows what it has of a line when it is cut.
    let got = if fate.is_cut() { got.trim_end_matches('\n') } else { got };
    let (lines, torn) = got.rsplit_once('\n').unwrap_or(("", got));
    let (mut index, mut missed) = (0, 0);
    for line in lines.lines() {
        if let Some(gap) = line.strip_prefix("-- you missed ") {
            let gap: usize = gap.split(' ').next().expect("a number").parse().expect("a number");
            index += gap;
            missed += gap;
        } else if !line.starts_with("-- ") {
            assert_eq!(Some(line), heard.get(index).map(String::as_str), "{fate:?}: message {index}");
            index += 1;
        }
    }
    if fate.is_cut() {
        let next = heard.get(index).map_or("", String::as_str);
        assert!(next.starts_with(torn) || torn.starts_with('-'), "{fate:?}: {torn:?} of {next:?}");
    } else {
        assert_eq!((index, torn), (heard.len(), ""), "{fate:?}");
    }
    missed
}

/// All are in one room and talk. Returns how many messages were missed by somebody, as each was told.
fn talk(arguments: &[&str], weather: Weather, host_lines: usize) -> usize {
    let seed = Seed::from("ONEPOLL_PROXY_SEED");
    let server = Server::bare(&[&["--rate", "off", "--unsent", "8K"], arguments].concat());
    let proxy = Proxy::start(&server.addresses[0], weather, seed.random(0));
    let client = server.join();
    let mut host = Host { client, said: 0, heard: Vec::new(), by_name: BTreeMap::new() };
    // One after the other, for the number of a connection is its place in the order of all.
    let (mut all_ends, mut programs) = (Vec::new(), Vec::new());
    for number in 0..SPEAKERS {
        if number.is_multiple_of(3) {
            let (ends, program) = Ends::of_program(&proxy.address);
            all_ends.push(ends);
            programs.push(program);
        } else {
            all_ends.push(Ends::of_socket(&proxy.address));
        }
        host.client.ask_until("/who", &format!("; {} listening", number + 1));
    }
    let speakers = all_ends.into_iter().enumerate();
    let speakers: Vec<Speaker> = speakers.map(|(n, ends)| Speaker::of(ends, n, proxy.fate(n))).collect();
    host.say(host_lines);
    proxy.clear_up();
    let fates: Vec<Fate> = speakers.iter().map(|speaker| speaker.fate).collect();
    let (writers, readers): (Vec<_>, Vec<_>) = speakers
        .into_iter()
        .map(|Speaker { writer, reader, .. }| (writer.join().expect("it says its lines"), reader))
        .unzip();
    while !host.has_heard_all(&fates) {
        host.hear();
    }
    host.client.say(LAST_LINE);
    while host.heard.last().is_none_or(|line| !line.ends_with(LAST_LINE)) {
        host.hear();
    }
    check_said(&host, &fates);
    let got: Vec<Vec<u8>> = readers.into_iter().map(|reader| reader.join().expect("it reads")).collect();
    drop(writers);
    got.iter().zip(fates).map(|(got, fate)| check(&host.heard, got, fate)).sum()
}

/// Each was heard from its first line on without a gap; who was not cut, to the last. A cut that looks as if the
/// client had closed can end its last line early: no program can tell the one from the other.
fn check_said(host: &Host, fates: &[Fate]) {
    for (speaker, said) in host.of_speakers() {
        let fate = fates[speaker];
        assert!(fate.is_cut() || said.len() == LINES_EACH, "{fate:?}: {} lines", said.len());
        for (number, said_line) in said.iter().enumerate() {
            let line = words(speaker, number);
            let may_be_short = fate == Fate::Cut && number + 1 == said.len();
            assert!(
                *said_line == line || may_be_short && line.starts_with(said_line),
                "{fate:?}: {speaker} is said to have said {said_line:?}"
            );
        }
    }
}

#[test]
fn p17_through_a_bad_network_everyone_reads_whole_messages_in_order_and_is_told_of_every_gap() {
    let weather = Weather { hold: DEADLINE, up_bytes: 2000..15_000, down_bytes: 2000..50_000 };
    // Who is held is so until the host has said several times as much as the log and all buffers hold.
    let missed = talk(&["--log-bytes", "2M"], weather, 7000);
    assert!(missed > 0, "nobody was held long enough to miss something");
}

#[test]
fn p07_through_a_bad_network_who_is_not_cut_loses_nothing() {
    let hold = Duration::from_millis(100);
    let weather = Weather { hold, up_bytes: 2000..15_000, down_bytes: 2000..50_000 };
    // Everyone waits for the slowest, time and again.
    assert_eq!(talk(&["--log-bytes", "32K", "--slow", "wait:60"], weather, 400), 0);
}

#[cfg(feature = "course")]
#[test]
fn p56_through_a_bad_network_a_visible_file_is_whole_and_one_that_is_resumed_arrives() {
    use crate::harness::Directory;
    use crate::peers::{Inbox, content, put, send};
    const TRIES: usize = 6;
    let seed = Seed::from("ONEPOLL_PROXY_SEED");
    let (inbox, directory) = (Inbox::new(), Directory::new());
    let server = inbox.receive(&[]);
    let hold = Duration::from_millis(50);
    let weather = Weather { hold, up_bytes: 100_000..500_000, down_bytes: 20..150 };
    let transfer = |number: usize| {
        let mut random = seed.random(number);
        let content = content(600_000 + number);
        let name = format!("file-{number}");
        let path = put(&directory, &name, &content);
        let proxy = Proxy::start(&server.addresses[0], weather.clone(), Random::new(random.next()));
        let mut failed = 0;
        for attempt in 0..=TRIES {
            let is_last = attempt == TRIES;
            if is_last {
                proxy.clear_up();
            }
            let flags: &[&str] = if is_last || random.one_in(2) { &["--resume"] } else { &[] };
            let (code, said) = send(&[flags, &[&path, &proxy.address]].concat());
            assert!(code == 0 || !is_last && proxy.fate(attempt).is_cut(), "attempt {attempt}: {said}");
            failed += usize::from(code != 0);
            // A copy of each that arrived, also where only the answer did not.
            let names = inbox.names();
            let copies: Vec<&String> = names.iter().filter(|copy| copy.starts_with(&name)).collect();
            assert!(copies.len() + failed > attempt, "{copies:?} where {failed} of {} failed", attempt + 1);
            for copy in copies {
                assert!(inbox.read(copy) == content, "{copy} is there and not whole");
            }
        }
        assert!(failed > 0, "no transfer was cut");
    };
    std::thread::scope(|scope| {
        for number in 0..4 {
            let transfer = &transfer;
            scope.spawn(move || transfer(number));
        }
    });
}
