//! Senders who say what a test wants, and folders that are looked through.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use onepoll::codec::transfer::{Answer, Header};

use crate::harness::{Client, Directory, Server, onepoll, run};

/// A folder to receive into, inside one that must stay as it is.
pub struct Inbox {
    outside: Directory,
}

impl Inbox {
    pub fn new() -> Self {
        let outside = Directory::new();
        fs::create_dir(outside.file("in")).expect("a new directory");
        Inbox { outside }
    }

    pub fn path(&self) -> PathBuf {
        self.outside.file("in")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// All names in it, hidden ones too, in order.
    pub fn names(&self) -> Vec<String> {
        names(&self.path())
    }

    /// Beside the folder.
    pub fn outside(&self, name: &str) -> PathBuf {
        self.outside.file(name)
    }

    /// All names beside it.
    pub fn outside_names(&self) -> Vec<String> {
        names(&self.outside.file("."))
    }

    /// A receiver into it.
    pub fn receive(&self, arguments: &[&str]) -> Server {
        Server::spawn(self.command(arguments))
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let path = self.path().display().to_string();
        let place: &[&str] = if arguments.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        onepoll(&[&["receive", &path], arguments, place].concat())
    }
}

pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").mode() & 0o7777
}

/// Bytes that repeat nowhere near.
pub fn content(bytes: usize) -> Vec<u8> {
    let mut state = bytes as u64;
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        content.extend_from_slice(&(state >> 11).to_le_bytes());
    }
    content.truncate(bytes);
    content
}

/// A header as Python packs it.
pub fn framed(json: &str) -> Vec<u8> {
    [&i32::try_from(json.len()).expect("short").to_le_bytes()[..], json.as_bytes()].concat()
}

/// All that a classic sender sends.
pub fn classic(name: &str, content: &[u8]) -> Vec<u8> {
    let header =
        Header { name: name.into(), bytes: Some(content.len() as u64), has_trailer: false, resume: None };
    [&header.encode(), content].concat()
}

/// All that a sender with a hash sends.
pub fn checked(name: &str, content: &[u8]) -> Vec<u8> {
    let header =
        Header { name: name.into(), bytes: Some(content.len() as u64), has_trailer: true, resume: None };
    [&header.encode(), content, blake3::hash(content).as_bytes()].concat()
}

/// The next line that the receiver says.
#[track_caller]
pub fn answer(client: &mut Client) -> Answer {
    let line = client.line();
    Answer::decode(line.as_bytes()).unwrap_or_else(|| panic!("no answer: {line}"))
}

/// The answer that the file is there, which must be true.
#[track_caller]
pub fn done(client: &mut Client, content: &[u8]) -> Option<String> {
    match answer(client) {
        Answer::Done { bytes, hash, name, .. } => {
            assert_eq!((bytes, hash), (content.len() as u64, blake3::hash(content)));
            assert_eq!(client.next_line(), None, "the receiver closes");
            name
        }
        other => panic!("not done: {other:?}"),
    }
}

/// The answer that it failed: why.
#[track_caller]
pub fn failure(client: &mut Client) -> String {
    match answer(client) {
        Answer::Failed(why) => why,
        other => panic!("no failure: {other:?}"),
    }
}

/// Sends all of it, and returns why it failed.
#[track_caller]
pub fn failure_of(server: &Server, stream: &[u8]) -> String {
    let mut client = server.connect();
    client.send(stream);
    failure(&mut client)
}

/// Sends a small file and sees it arrive: the receiver is well.
#[track_caller]
pub fn assert_well(server: &Server) {
    let mut client = server.connect();
    client.send(checked("well", b"well"));
    done(&mut client, b"well");
}

/// `onepoll send` with these arguments: its exit code, and what it said on standard error.
pub fn send(arguments: &[&str]) -> (i32, String) {
    let (code, stdout, stderr) = run(onepoll(&[&["send"], arguments].concat()));
    assert_eq!(stdout, "", "what is said is no data");
    (code, stderr)
}

/// A file to be sent.
pub fn put(directory: &Directory, name: &str, content: &[u8]) -> String {
    let path = directory.file(name);
    fs::write(&path, content).expect("room");
    path.display().to_string()
}

/// The most memory that it had, in KiB.
pub fn peak_kib(server: &Server) -> u64 {
    let status = server.proc("status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    peak.trim().trim_end_matches(" kB").parse().expect("a number")
}
