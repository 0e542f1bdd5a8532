//! The sender driven by hand: every call the loop would make, and a disk that does what the test wants.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use super::*;
use crate::codec::transfer::{Decoded, decode};
use disk::Facts;

/// What happens to a file while it is being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Nothing,
    Shrinks,
    Grows,
    IsTouched,
    Breaks,
    /// It has more than its size says, from the beginning on.
    Lies,
}

#[derive(Debug)]
struct Shelf {
    content: Vec<u8>,
    change: Change,
    reads: usize,
}

impl Disk for Shelf {
    type File = ();

    fn open(&mut self, path: &Path) -> io::Result<()> {
        if path.ends_with("missing") { Err(rustix::io::Errno::NOENT.into()) } else { Ok(()) }
    }

    fn facts(&mut self, (): &()) -> io::Result<Facts> {
        let is_later = self.reads > 0;
        let told = if self.change == Change::Lies { 100_000 } else { self.content.len() };
        Ok(Facts {
            bytes: told as u64 + u64::from(is_later && self.change == Change::Grows),
            modified: (1, i64::from(is_later && self.change == Change::IsTouched)),
        })
    }

    fn read(&mut self, (): &(), offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        if self.change == Change::Shrinks {
            self.content.truncate(1000);
        }
        if self.change == Change::Breaks {
            return Err(rustix::io::Errno::IO.into());
        }
        let rest = self.content.get(offset as usize..).unwrap_or_default();
        let bytes = rest.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&rest[..bytes]);
        Ok(bytes)
    }
}

#[derive(Debug)]
struct Ears(Rc<RefCell<Vec<Result<String, String>>>>);

impl Progress for Ears {
    fn begin(&mut self, _: Now, _: u32, _: &str, _: u64, _: Option<u64>) {}
    fn advance(&mut self, _: Now, _: u32, _: u64) {}
    fn end(&mut self, _: Now, _: u32, how: Result<String, String>) {
        self.0.borrow_mut().push(how);
    }
}

struct Stage {
    sender: Sender<Shelf>,
    told: Rc<RefCell<Vec<Result<String, String>>>>,
    now: Now,
    serial: u32,
    sent: Vec<u8>,
    actions: Vec<Action>,
}

const PATIENCE: Duration = Duration::from_secs(60);

fn settings(files: &[&str]) -> Settings {
    Settings {
        address: "there:1".into(),
        endpoints: vec![Endpoint::Unix("1".into()), Endpoint::Unix("2".into())],
        files: files.iter().map(PathBuf::from).collect(),
        resumes: false,
        is_classic: false,
        patience: PATIENCE,
    }
}

impl Stage {
    fn new(settings: Settings, change: Change) -> Self {
        let told = Rc::default();
        let shelf = Shelf { content: content(), change, reads: 0 };
        let mut stage = Stage {
            sender: Sender::new(settings, shelf, Box::new(Ears(Rc::clone(&told)))),
            told,
            now: Now { moment: Moment::START, unix_s: 0 },
            serial: 0,
            sent: Vec::new(),
            actions: Vec::new(),
        };
        stage.turn();
        stage
    }

    /// One of which nothing is asked but to send `a`.
    fn simple() -> Self {
        let mut stage = Self::new(settings(&["a"]), Change::Nothing);
        stage.connect();
        stage
    }

    fn id(&self) -> ConnectionId {
        ConnectionId::new(0, self.serial)
    }

    fn turn(&mut self) {
        self.sender.handle_turn(self.now);
        while let Some(id) = self.sender.poll_ready(self.now) {
            loop {
                let bytes = self.sender.poll_output(self.now, id).parts.concat();
                if bytes.is_empty() {
                    break;
                }
                self.sent.extend_from_slice(&bytes);
                self.sender.handle_written(self.now, id, bytes.len(), Written::All);
            }
        }
        while let Some(action) = self.sender.poll_action() {
            self.actions.push(action);
        }
    }

    fn connect(&mut self) {
        assert!(matches!(self.actions.pop(), Some(Action::Connect(_))));
        self.serial += 1;
        self.sent.clear();
        self.sender.handle_connected(self.now, self.id(), Peer::Unix);
        self.turn();
    }

    fn hear(&mut self, line: &str) {
        let bytes = line.as_bytes();
        assert_eq!(self.sender.handle_bytes(self.now, self.id(), bytes), bytes.len());
        self.turn();
    }

    fn end(&mut self, rest: &str) {
        self.sender.handle_eof(self.now, self.id(), rest.as_bytes());
        self.close(Reason::EndOfInput);
    }

    fn close(&mut self, reason: Reason) {
        self.turn();
        self.actions.clear();
        self.sender.handle_closed(self.now, self.id(), reason);
        self.turn();
    }

    fn wait(&mut self) {
        self.now.moment = self.sender.poll_timeout().expect("it waits for something");
        self.sender.handle_timeout(self.now);
        self.turn();
    }

    #[track_caller]
    fn success(&self) -> String {
        let last = self.told.borrow().last().cloned();
        last.expect("something was told").expect("a success")
    }

    #[track_caller]
    fn failure(&self) -> String {
        let last = self.told.borrow().last().cloned();
        last.expect("something was told").expect_err("a failure")
    }
}

fn content() -> Vec<u8> {
    (0..200_000).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn done() -> String {
    let hash = blake3::hash(&content());
    Answer::Done { bytes: 200_000, hash, name: None, warning: None }.encode()
}

#[test]
fn a_file_is_sent_with_its_hash_and_believed_once_the_receiver_has_the_same() {
    let mut stage = Stage::simple();
    let Decoded::Complete { header, length } = decode(&stage.sent) else { panic!("no header") };
    assert_eq!((header.name.as_str(), header.bytes, header.has_trailer), ("a", Some(200_000), true));
    assert_eq!(stage.sent[length..], [&content()[..], blake3::hash(&content()).as_bytes()].concat());
    assert!(stage.actions.contains(&Action::FinishOutput(stage.id())));
    assert!(stage.told.borrow().is_empty(), "nothing is said before the receiver did");
    stage.hear(&done());
    assert!(stage.success().starts_with("a: 200000 bytes, blake3 "));
    stage.close(Reason::Quit);
    assert_eq!((stage.actions.pop(), stage.sender.failed()), (Some(Action::Stop(Duration::ZERO)), 0));
}

#[test]
fn a_file_that_changes_meanwhile_never_gets_its_hash() {
    for (change, why) in [
        (Change::Shrinks, "a: it became shorter while it was sent"),
        (Change::Grows, "a: it changed while it was sent"),
        (Change::IsTouched, "a: it changed while it was sent"),
        (Change::Breaks, "a: input/output error"),
        (Change::Lies, "a: it has more than the 100000 bytes that its size says"),
    ] {
        let mut stage = Stage::new(settings(&["a"]), change);
        stage.connect();
        assert_eq!(stage.failure(), why);
        assert!(stage.actions.contains(&Action::Close(stage.id(), Reason::Quit)));
        let Decoded::Complete { length, .. } = decode(&stage.sent) else { panic!("no header") };
        assert!(stage.sent.len() - length < 200_000, "{change:?}: the receiver has it all");
        // What the receiver says of it is no news.
        stage.end("{\"status\": \"error\", \"error\": \"the connection ended early\"}\n");
        assert_eq!(stage.told.borrow().len(), 1);
        assert_eq!(stage.sender.failed(), 1);
    }
}

#[test]
fn what_the_receiver_has_must_be_what_was_sent() {
    let hash = blake3::hash(&content());
    for (bytes, hash) in [(199_999, hash), (200_000, blake3::hash(b"other"))] {
        let mut stage = Stage::simple();
        stage.hear(&Answer::Done { bytes, hash, name: None, warning: None }.encode());
        assert!(stage.failure().contains("the receiver has other bytes"));
    }
    let mut stage = Stage::simple();
    stage.hear("{\"status\": \"error\", \"error\": \"no room\"}\n");
    assert_eq!(stage.failure(), "a: the receiver says: no room");
}

#[test]
fn an_answer_before_the_end_is_no_success() {
    let mut settings = settings(&["a"]);
    settings.resumes = true;
    let mut stage = Stage::new(settings, Change::Nothing);
    stage.connect();
    stage.hear(&done());
    assert!(stage.failure().contains("before it was sent"));
}

#[test]
fn a_receiver_that_says_nothing_leaves_doubt_and_that_is_said() {
    for rest in ["", "thank you"] {
        let mut stage = Stage::simple();
        stage.end(rest);
        let failure = stage.failure();
        assert!(failure.contains("nobody knows whether it arrived") && failure.contains("--classic"));
        assert_eq!(failure.contains("after it said \"thank you\""), !rest.is_empty(), "{failure}");
    }
    // An answer may lack its line end.
    let mut stage = Stage::simple();
    stage.end(done().trim_end());
    stage.success();
}

#[test]
fn for_a_classic_receiver_its_orderly_end_is_enough_and_a_reset_is_not() {
    let classic = || {
        let mut settings = settings(&["a"]);
        settings.is_classic = true;
        let mut stage = Stage::new(settings, Change::Nothing);
        stage.connect();
        stage
    };
    let mut stage = classic();
    let Decoded::Complete { header, length } = decode(&stage.sent) else { panic!("no header") };
    assert!(!header.has_trailer);
    assert_eq!(stage.sent[length..], content());
    stage.end("");
    assert!(stage.success().contains("classic receiver"));
    let mut stage = classic();
    stage.close(Reason::Reset);
    assert!(stage.failure().contains("connection reset"));
}

#[test]
fn a_receiver_that_stalls_is_given_up() {
    let mut stage = Stage::simple();
    stage.wait();
    assert_eq!(stage.now.moment, Moment::START + PATIENCE);
    assert!(stage.failure().contains("said nothing for 60s"));
    assert!(stage.actions.contains(&Action::Close(stage.id(), Reason::Quit)));
}

#[test]
fn what_is_no_receiver_is_found_out() {
    let mut stage = Stage::simple();
    stage.hear(&"x".repeat(limits::TRANSFER_ANSWER_BYTES_MAX + 1));
    assert!(stage.failure().contains("no receiver of files"));
}

#[test]
fn one_file_that_fails_does_not_keep_the_others_back() {
    let mut stage = Stage::new(settings(&["missing", "a", "..", "b"]), Change::Nothing);
    assert_eq!(stage.failure(), "missing: no such file or directory");
    stage.connect();
    stage.hear("{\"status\": \"error\", \"error\": \"no room\"}\n");
    stage.close(Reason::Quit);
    assert_eq!(stage.failure(), "..: it has no name");
    stage.connect();
    stage.hear(&done());
    stage.close(Reason::Quit);
    assert!(stage.success().starts_with("b: "));
    assert_eq!(stage.sender.failed(), 3);
}

#[test]
fn where_nobody_listens_all_addresses_are_tried_and_then_all_ends() {
    let mut stage = Stage::new(settings(&["a", "b"]), Change::Nothing);
    for endpoint in ["1", "2"] {
        assert_eq!(stage.actions.pop(), Some(Action::Connect(Endpoint::Unix(endpoint.into()))));
        stage.sender.handle_connect_failed(stage.now, io::ErrorKind::ConnectionRefused.into());
        stage.turn();
    }
    assert_eq!(stage.actions.pop(), Some(Action::Stop(Duration::ZERO)));
    let why = stage.sender.no_connection().expect("there was none");
    assert!(why.starts_with("cannot connect to there:1: connection refused; is the receiver"), "{why}");
    assert_eq!(stage.sender.failed(), 2);
}

#[test]
fn a_receiver_without_offers_is_waited_for_a_moment_only() {
    let mut settings = settings(&["a"]);
    settings.resumes = true;
    let mut stage = Stage::new(settings, Change::Nothing);
    stage.connect();
    let Decoded::Complete { header, length } = decode(&stage.sent) else { panic!("no header") };
    assert_eq!((header.resume.as_deref(), stage.sent.len()), (Some("1.000000000"), length));
    stage.wait();
    assert_eq!(stage.now.moment, Moment::START + limits::RESUME_OFFER);
    assert_eq!(stage.sent[length..][..200_000], content());
    // What comes too late changes nothing.
    let hash = Some(blake3::hash(&content()[..100_000]));
    stage.hear(&Answer::Resume { offset: 100_000, hash }.encode());
    stage.hear(&done());
    stage.success();
}

#[test]
fn offers_that_change_nothing_put_nothing_off() {
    for resumes in [false, true] {
        for hash in [None, Some(blake3::hash(b"other"))] {
            let mut settings = settings(&["a"]);
            settings.resumes = resumes;
            let mut stage = Stage::new(settings, Change::Nothing);
            stage.connect();
            let mut heard = 0;
            while stage.told.borrow().is_empty() {
                stage.hear(&Answer::Resume { offset: 100_000, hash }.encode());
                stage.now.moment = stage.now.moment + PATIENCE / 2;
                if stage.sender.poll_timeout().is_some_and(|due| due <= stage.now.moment) {
                    stage.sender.handle_timeout(stage.now);
                    stage.turn();
                }
                heard += 1;
                assert!(heard < 10, "it waits for ever");
            }
            assert!(stage.failure().contains("said nothing for 60s"));
        }
    }
}

#[test]
fn a_signal_before_the_connection_is_there_ends_all_the_same() {
    let mut stage = Stage::new(settings(&["a", "b"]), Change::Nothing);
    stage.sender.handle_signal(stage.now);
    stage.turn();
    stage.actions.clear();
    stage.sender.handle_connected(stage.now, stage.id(), Peer::Unix);
    stage.turn();
    assert_eq!(stage.actions, [Action::Close(stage.id(), Reason::Quit)]);
    stage.close(Reason::Quit);
    assert_eq!((stage.actions.len(), stage.sender.failed()), (0, 2), "the next file is begun");
}

#[test]
fn a_signal_ends_it() {
    let mut stage = Stage::new(settings(&["a", "b"]), Change::Nothing);
    stage.connect();
    stage.sender.handle_signal(stage.now);
    stage.turn();
    assert_eq!(stage.failure(), "a: interrupted");
    assert!(stage.actions.contains(&Action::Close(stage.id(), Reason::Quit)));
    assert_eq!(stage.sender.failed(), 2);
    assert!(matches!(stage.actions.pop(), Some(Action::Stop(_))));
}
