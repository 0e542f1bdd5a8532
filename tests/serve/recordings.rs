//! `serve --record` and `replay`: what people got from the real server, and what a replay says that they got.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::harness::{
    Client, Directory, Server, are_installed, command, is_there, on_a_disk_of, onepoll, run, shell, tool,
};

/// A new folder, and the name of a recording in it.
struct Tape(Directory);

impl Tape {
    fn new() -> Self {
        Tape(Directory::new())
    }

    fn path(&self) -> PathBuf {
        self.0.file("tape")
    }

    fn name(&self) -> String {
        self.path().display().to_string()
    }

    /// The arguments of a server that records to it, and these.
    fn arguments(&self, arguments: &[&str]) -> Vec<String> {
        let own = ["--record".to_string(), self.name()];
        own.into_iter().chain(arguments.iter().map(ToString::to_string)).collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let arguments = self.arguments(arguments);
        command(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn server(&self, arguments: &[&str]) -> Server {
        Server::spawn(self.command(arguments))
    }

    fn replay(&self, arguments: &[&str]) -> (i32, String, String) {
        run(onepoll(&[&["replay", &self.name()], arguments].concat()))
    }

    /// A replay that must succeed: its listing, and what it says of its end.
    #[track_caller]
    fn listing(&self, arguments: &[&str]) -> (String, String) {
        let (code, stdout, stderr) = self.replay(arguments);
        assert_eq!(code, 0, "{stderr}");
        (stdout, stderr)
    }

    /// The bytes that went out to a connection.
    #[track_caller]
    fn raw(&self, connection: usize, arguments: &[&str]) -> String {
        self.listing(&[&["--connection", &connection.to_string(), "--raw"], arguments].concat()).0
    }
}

/// All that is left for a client, up to its end.
fn rest(client: &mut Client) -> String {
    String::from_utf8(client.rest()).expect("text")
}

#[test]
fn a_replay_gives_everyone_the_bytes_that_they_got() {
    let tape = Tape::new();
    let mut server =
        tape.server(&["--motd", "be kind", "--log-bytes", "8K", "--unsent", "1K", "--drain", "20"]);
    // #2 is heard from only when all is over: nobody reads before.
    let mut ann = server.connect();
    let mut watcher = server.join();
    ann.send("/nick ann\nhello \u{7}\u{202e}大");
    watcher.until("ann joined");
    ann.send("家\r\n/join garden\n/who\n/msg ");
    watcher.until("大家");
    let mut half = server.connect();
    half.send("only this");
    half.half_close();
    watcher.until("only this");
    let mut broken = server.connect();
    broken.say("soon gone");
    watcher.until("soon gone");
    broken.reset();
    watcher.until("left");
    let mut web = server.connect();
    web.send("GET / HTTP/1.1\r\n\r\n");
    let web_got = rest(&mut web);
    // More than its socket and the room's log hold: it misses messages.
    let mut slow = server.connect_with_little_room();
    watcher.ask_until("/who", "; 1 listening");
    for round in 0..60 {
        watcher.say(&format!("{round} {}", "x".repeat(2000)));
        watcher.until("xxx");
    }
    server.answer("say a word from above");
    server.answer("stats");
    server.answer("kick ann enough");
    server.operate("clients");
    server.operate("quit");
    let (ann_got, half_got) = (rest(&mut ann), rest(&mut half));
    let slow_got = rest(&mut slow);
    assert!(slow_got.contains("you missed"), "it was not slow enough: {} bytes", slow_got.len());
    assert_eq!(server.exit_code(), 0);

    let whole = tape.listing(&[]);
    assert!(whole.1.contains("as recorded; the server ended"), "{}", whole.1);
    for (connection, got) in [(2, &ann_got), (4, &half_got), (6, &web_got), (7, &slow_got)] {
        assert_eq!(tape.raw(connection, &[]), *got, "#{connection}");
    }
    let console = tape.raw(1, &[]);
    for text in ["records", "kicked ann: enough", "closing: "] {
        assert!(console.contains(text), "{text}: {console}");
    }
    for line in [
        " #1   < kick ann enough\\n",
        " #2   < hello \\u{7}\\u{202e}大",
        " #2   > be kind\\n",
        " #4   < end of input",
        " #5   a read: connection reset by peer",
        " #7   from 127.0.0.1:",
    ] {
        assert!(whole.0.contains(line), "{line:?} is not in:\n{}", whole.0);
    }
    assert!(!whole.0.contains('\u{7}') && !whole.0.contains('\u{202e}'));
}

#[test]
fn who_reads_the_figures_is_in_the_recording_too() {
    let tape = Tape::new();
    let mut server =
        tape.server(&["--stats", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"]);
    server.next_address();
    let line = server.console().line();
    let mut ann = server.join();
    ann.echo("hello");
    let mut reader = Client::connect(line.strip_prefix("stats on ").expect("its address"));
    reader.send("GET /stats HTTP/1.0\r\n\r\n");
    let got = rest(&mut reader);
    assert!(got.starts_with("HTTP/1.1 200"), "{got}");
    server.operate("quit");
    assert_eq!(server.exit_code(), 0);
    assert_eq!(tape.raw(3, &[]), got);
    assert!(tape.raw(2, &[]).contains("hello"));
}

#[test]
fn a_replay_ends_where_it_is_told_to() {
    let tape = Tape::new();
    let mut server = tape.server(&[]);
    let mut ann = server.connect();
    ann.send("one\n");
    ann.until("one");
    server.answer("say a word that comes later");
    ann.until("later");
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.exit_code(), 0);
    let (whole, _) = tape.listing(&[]);
    assert!(whole.contains(" -    a signal\n"), "{whole}");
    let said = whole.lines().find(|line| line.contains("< say a word")).expect("it was said");
    let at: f64 = said.split_whitespace().next().expect("a time").parse().expect("a time");
    let until = format!("{:.6}s", at - 0.000_002);
    let (beginning, note) = tape.listing(&["--until", &until]);
    assert!(whole.starts_with(&beginning) && beginning.contains("< one"), "{beginning}");
    assert!(!beginning.contains("later") && note.contains("--until"), "{note}");
    let end: f64 = note.split_whitespace().nth(2).expect("a time").parse().expect("a time");
    assert!(end < at, "{note}");
    assert!(tape.raw(2, &[]).starts_with(&tape.raw(2, &["--until", &until])));
    assert_eq!(tape.listing(&["--until", "0"]).0, "");
    assert_eq!(tape.listing(&["--until", "1000"]).0, whole);
    assert_eq!(tape.replay(&["--until", "soon"]).0, 2);
}

#[test]
fn p65_a_recording_is_private_and_replaces_nothing() {
    let tape = Tape::new();
    let mut server = tape.server(&[]);
    server.operate("quit");
    assert_eq!(server.exit_code(), 0);
    let metadata = std::fs::metadata(tape.path()).expect("it is there");
    assert_eq!(metadata.mode() & 0o7777, 0o600);
    let before = std::fs::read(tape.path()).expect("it is there");
    let refused = |path: &Path| {
        let (code, stdout, stderr) = run(command(&["--record", &path.display().to_string()]));
        assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
        stderr
    };
    assert!(refused(&tape.path()).contains("name a new file"));
    assert_eq!(std::fs::read(tape.path()).expect("it is there"), before);
    assert!(refused(&tape.0.file("")).contains("tape") || refused(&tape.0.file("")).contains("--record"));
    assert!(refused(&tape.0.file("none/tape")).contains("no such file"));
    let link = tape.0.file("link");
    std::os::unix::fs::symlink(tape.0.file("elsewhere"), &link).expect("a link");
    assert!(refused(&link).contains("name a new file"));
    assert!(!tape.0.file("elsewhere").exists());
    // Where nothing can be served, nothing is recorded either.
    let other = tape.0.file("other");
    let (code, _, _) = run(command(&["--listen", "192.0.2.1:1", "--record", &other.display().to_string()]));
    assert_eq!(code, 3);
    assert!(!other.exists());
    let (code, _, stderr) = run(command(&["--redact"]));
    assert_eq!(code, 2, "{stderr}");
    let (code, _, stderr) = run(tape.command(&["--record-bytes", "1000"]));
    assert_eq!(code, 2);
    assert!(stderr.contains("at least 131072"), "{stderr}");
}

#[test]
fn a_redacted_recording_tells_who_when_and_how_much_and_nothing_that_was_said() {
    let tape = Tape::new();
    let mut server = tape.server(&["--redact", "--motd", "a-motd-of-ours"]);
    let mut ann = server.join();
    ann.expect("a-motd-of-ours");
    ann.nick("nickname");
    ann.echo("plain-text-of-a-person");
    server.answer("say words-of-the-operator");
    ann.until("words-of-the-operator");
    let mut bob = server.connect();
    bob.send("last-words");
    bob.half_close();
    ann.until("last-words");
    bob.rest();
    server.operate("quit");
    assert_eq!(server.exit_code(), 0);
    let bytes = std::fs::read(tape.path()).expect("it is there");
    let file = String::from_utf8_lossy(&bytes);
    let (listing, note) = tape.listing(&[]);
    for text in ["nickname", "plain-text", "words", "motd", "127.0.0.1", "lobby", "lis"] {
        assert!(!file.contains(text) && !listing.contains(text), "{text}: {listing}");
    }
    assert!(!bytes.windows(4).any(|four| four == [127, 0, 0, 1]));
    for line in [" #2   from address 1", " #3   from address 1", "#2   < 15 bytes", "#3   < end of input"] {
        assert!(listing.contains(line), "{line:?} is not in:\n{listing}");
    }
    assert!(note.contains("redacted"), "{note}");
    let (code, stdout, stderr) = tape.replay(&["--connection", "2", "--raw"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("--redact"), "{stderr}");
}

#[test]
fn a_full_recording_ends_and_the_server_goes_on() {
    let tape = Tape::new();
    let mut server = tape.server(&["--record-bytes", "128K", "--rate", "off"]);
    let mut ann = server.join();
    let mut got = String::new();
    for round in 0..50 {
        let line = format!("{round} {}", "y".repeat(4000));
        ann.say(&line);
        got += &(ann.line() + "\n");
    }
    server.operate("quit");
    assert_eq!(server.exit_code(), 0);
    let bytes = std::fs::metadata(tape.path()).expect("it is there").len();
    assert!((100 << 10..=128 << 10).contains(&bytes), "{bytes}");
    let log = String::from_utf8(server.log().rest()).expect("text");
    assert_eq!(log.matches("it ends here, the server goes on").count(), 1, "{log}");
    let (_, note) = tape.listing(&[]);
    assert!(note.contains("was full"), "{note}");
    let raw = tape.raw(2, &[]);
    let (_, said) = raw.split_once('\n').expect("the greeting");
    assert!(got.starts_with(said) && said.len() > 100_000, "{}", said.len());
}

/// A server whose recording does not fit goes on, says so once, and has recorded what did fit.
fn check_without_room(tape: &Tape, mut server: Server, why: &str) {
    let mut ann = server.join();
    for round in 0..50 {
        let line = format!("{round} {}", "z".repeat(4000));
        assert!(ann.echo(&line).contains(&line));
    }
    // A mount of its own is seen through the process alone.
    let seen = format!("/proc/{}/root{}", server.pid().as_raw_nonzero(), tape.name());
    let copy = tape.0.file("copy");
    std::fs::copy(seen, &copy).expect("it is there");
    server.operate("quit");
    assert_eq!(server.exit_code(), 0);
    let log = String::from_utf8(server.log().rest()).expect("text");
    assert_eq!(log.matches("it ends here, the server goes on").count(), 1, "{log}");
    assert!(log.contains(why), "{log}");
    let (code, listing, stderr) = run(onepoll(&["replay", &copy.display().to_string()]));
    assert_eq!(code, 0, "{stderr}");
    assert!(listing.contains("< 3 zzz") && !listing.contains("< 49 zzz"), "{stderr}");
}

#[test]
fn a_limit_on_the_size_of_files_ends_the_recording_and_the_server_goes_on() {
    let tape = Tape::new();
    let arguments = tape.arguments(&["--rate", "off"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let server = Server::spawn(shell("ulimit -f 64; exec \"$@\"", &arguments));
    check_without_room(&tape, server, "file too large");
}

#[test]
fn a_full_disk_ends_the_recording_and_the_server_goes_on() {
    let tape = Tape::new();
    let inner = tape.command(&["--rate", "off"]);
    let Some(command) = on_a_disk_of("64K", &tape.0.file(""), &inner) else { return };
    check_without_room(&tape, Server::spawn(command), "no space left on device");
}

#[test]
fn p69_what_a_killed_server_heard_is_replayed() {
    let tape = Tape::new();
    let mut server = tape.server(&[]);
    let mut ann = server.connect();
    let mut got = ann.line() + "\n";
    for round in 0..100 {
        got += &(ann.ask(&format!("line {round}")) + "\n");
    }
    server.kill();
    let (listing, note) = tape.listing(&[]);
    assert!(listing.contains("< line 99\\n"), "{listing}");
    assert!(note.contains("killed"), "{note}");
    let raw = tape.raw(2, &[]);
    assert!(got.starts_with(&raw) && raw.contains("line 98"), "{raw}");
}

#[test]
fn what_is_no_recording_is_told_as_what_it_is() {
    let tape = Tape::new();
    let mut server = tape.server(&[]);
    let mut ann = server.join();
    ann.echo("hello");
    ann.echo("and again");
    server.operate("quit");
    assert_eq!(server.exit_code(), 0);
    let whole = std::fs::read(tape.path()).expect("it is there");
    let other = tape.0.file("other");
    let name = other.display().to_string();
    let replay = |bytes: &[u8]| {
        std::fs::write(&other, bytes).expect("there is room");
        let (code, _, stderr) = run(onepoll(&["replay", &name]));
        assert!(stderr.starts_with(&format!("onepoll: {name}: ")) && stderr.lines().count() == 1, "{stderr}");
        (code, stderr)
    };
    let mut damaged = whole.clone();
    let at = whole.windows(5).position(|five| five == b"hello").expect("it was said");
    damaged[at] = b'H';
    let mut newer = whole.clone();
    newer[b"onepoll recording\n".len()] = 9;
    for (bytes, why) in [
        (&b""[..], "no recording"),
        (b"onepoll recording\n", "no recording"),
        (b"#!/bin/sh\necho this is a script, and long enough for a head\n", "no recording"),
        (&newer, "format 9, and this onepoll reads format 2"),
        (&whole[..22], "it ends before the recording begins"),
        (&damaged, "damaged at byte "),
    ] {
        let (code, stderr) = replay(bytes);
        assert!(code == 1 && stderr.contains(why), "{why}: {code}: {stderr}");
    }
    let (code, stderr) = replay(&whole[..whole.len() - 1]);
    assert!(code == 0 && stderr.contains("torn"), "{code}: {stderr}");
    let folder = tape.0.file("").display().to_string();
    for (path, why) in [(folder.as_str(), "is a directory"), ("/none/such", "no such file or directory")] {
        let (code, _, stderr) = run(onepoll(&["replay", path]));
        assert!(code == 1 && stderr.contains(why), "{stderr}");
    }
    let (code, _, stderr) = tape.replay(&["--connection", "3"]);
    assert!(code == 1 && stderr.contains("only 1 to 2"), "{stderr}");
    let (code, stdout, stderr) = tape.replay(&["--connection", "0"]);
    assert!(code == 2 && stdout.is_empty() && stderr.contains("--connection"), "{stdout}{stderr}");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let output = onepoll(&["replay", &tape.name()]).stdout(full).output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(
        said, "onepoll: standard output: no space left on device\n",
        "the recording is as it should be"
    );
    assert_eq!(tape.replay(&["--raw"]).0, 2);
}

#[test]
fn a_recording_needs_neither_the_zone_nor_the_files_that_its_server_had() {
    let zone = "/usr/share/zoneinfo/Asia/Shanghai";
    if !is_there(zone) {
        return;
    }
    let files = Directory::new();
    let (motd, copied) = (files.file("motd"), files.file("zone"));
    std::fs::copy(zone, &copied).expect("a file");
    // A name, a rule, and a copy that has neither.
    for zone in ["Asia/Shanghai", "CST-8", &format!(":{}", copied.display())] {
        let tape = Tape::new();
        std::fs::write(&motd, "of a file\n").expect("there is room");
        let mut command = tape.command(&["--motd", &format!("@{}", motd.display()), "--max-clients", "7"]);
        command.env("TZ", zone);
        let mut server = Server::spawn(command);
        std::fs::remove_file(&motd).expect("it was read");
        let mut ann = server.connect();
        ann.say("what time is it?");
        ann.until("what time");
        let mut bob = server.connect();
        ann.ask_until("/who", "; 1 listening");
        server.operate("quit");
        assert_eq!(server.exit_code(), 0);
        let mut replay = onepoll(&["replay", &tape.name(), "--connection", "3", "--raw"]);
        replay.env("TZ", "America/New_York");
        let (code, stdout, stderr) = run(replay);
        assert_eq!(code, 0, "{zone}: {stderr}");
        let got = rest(&mut bob);
        assert_eq!(stdout, got, "{zone}");
        assert!(got.contains("of a file") && got.contains("what time"), "{got}");
    }
}

#[test]
fn a_recording_over_a_change_of_clocks_is_replayed_though_the_zone_has_no_name() {
    let files = Directory::new();
    let zone = files.file("zone");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    // So many that one comes soon, however long the server takes to start.
    let changes: Vec<u64> = (1..200).map(|number| now + number).collect();
    std::fs::write(&zone, zone_file(&changes)).expect("there is room");
    let tape = Tape::new();
    let mut command = tape.command(&["--format", "classic"]);
    command.env("TZ", &zone);
    let mut server = Server::spawn(command);
    std::fs::remove_file(&zone).expect("it was read");
    let mut ann = server.join();
    // Each is answered: as fast as lines go back and forth, and no faster.
    let (mut got, mut hours) = (String::new(), BTreeSet::new());
    while hours.len() < 2 {
        // Its hour is behind the date: `2026/11/21 10:00:00`.
        let (first, second) = (ann.ask("what time is it?"), ann.line());
        hours.insert(first["0000/00/00 ".len()..][..2].to_string());
        got += &format!("{first}\n{second}\n");
    }
    server.operate("quit");
    got += &rest(&mut ann);
    assert_eq!(server.exit_code(), 0);
    assert!(tape.raw(2, &[]).ends_with(&got), "{hours:?}");
}

/// Two hours ahead of Greenwich and three in turn, from these moments on, as a file of a time zone says it
/// (RFC 9636).
fn zone_file(changes_unix_s: &[u64]) -> Vec<u8> {
    let changes = u8::try_from(changes_unix_s.len()).expect("few");
    let counts =
        |changes: u8| [[0; 4], [0; 4], [0; 4], [0, 0, 0, changes], [0, 0, 0, 2], [0, 0, 0, 8]].concat();
    let head = |changes| [&b"TZif2"[..], &[0; 15], &counts(changes)].concat();
    let kind = |offset_s: u32, is_summer, name| [&offset_s.to_be_bytes()[..], &[is_summer, name]].concat();
    let kinds = [&kind(7200, 0, 0)[..], &kind(10_800, 1, 4), b"AAA\0BBB\0"].concat();
    let moments: Vec<u8> = changes_unix_s.iter().flat_map(|moment| moment.to_be_bytes()).collect();
    let which: Vec<u8> = (1..=changes).map(|number| number % 2).collect();
    [&head(0)[..], &kinds, &head(changes), &moments, &which, &kinds, b"\n\n"].concat()
}

#[test]
fn a_listing_that_nobody_reads_on_is_no_failure() {
    let tape = Tape::new();
    let mut server = tape.server(&["--rate", "off"]);
    let mut ann = server.join();
    for _ in 0..40 {
        ann.echo(&"w".repeat(4000));
    }
    server.operate("quit");
    assert_eq!(server.exit_code(), 0);
    if !are_installed(&["bash", "head"]) {
        return;
    }
    // Other shells do not tell how the first of a pipe ended.
    let script = "\"$0\" replay \"$1\" | head -n 1; exit \"${PIPESTATUS[0]}\"";
    let mut head = tool("bash");
    head.args(["-c", script, env!("CARGO_BIN_EXE_onepoll"), &tape.name()]);
    let output = head.output().expect("bash is there");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
