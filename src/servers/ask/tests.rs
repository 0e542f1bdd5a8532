//! The server driven by hand: every call the loop would make, at times that the test chooses.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::engine::{Engine, ListenerId, Moment, Now, Peer, Written};

const CONSOLE: fn() -> ConnectionId = || ConnectionId::new(0, 1);
const LISTENER: ListenerId = ListenerId::new(0);

/// A server with an operator, and the loop's part played by hand.
struct Stage {
    ask: Ask,
    now: Now,
    serial: u32,
    /// Input that the server did not take yet.
    kept: BTreeMap<ConnectionId, Vec<u8>>,
    /// Who wrote what since it was last looked at; nothing of who does not read.
    written: BTreeMap<ConnectionId, String>,
    stuck: Vec<ConnectionId>,
    closed: Vec<(ConnectionId, Reason)>,
    stopped: bool,
}

impl Stage {
    fn new() -> Self {
        Self::with(Ask::new(100, false))
    }

    fn with(ask: Ask) -> Self {
        let mut stage = Stage {
            ask,
            now: Now { moment: Moment::START, unix_s: 0 },
            serial: 1,
            kept: BTreeMap::new(),
            written: BTreeMap::new(),
            stuck: Vec::new(),
            closed: Vec::new(),
            stopped: false,
        };
        stage.ask.handle_accepted(stage.now, CONSOLE(), None, Peer::Console);
        stage.turn();
        stage
    }

    /// A client from 10.0.0.1, with its connection's number as the port.
    fn join(&mut self) -> ConnectionId {
        self.serial += 1;
        let id = ConnectionId::new(self.serial - 1, self.serial);
        let port = u16::try_from(self.serial).expect("few clients");
        let peer = Peer::Inet(Ipv4Addr::new(10, 0, 0, 1).into(), port);
        assert!(self.ask.admit(self.now, LISTENER, peer).is_ok());
        self.ask.handle_accepted(self.now, id, Some(LISTENER), peer);
        self.turn();
        id
    }

    fn send(&mut self, id: ConnectionId, bytes: &[u8]) {
        self.kept.entry(id).or_default().extend_from_slice(bytes);
        self.offer(id);
        self.turn();
    }

    /// The operator types a line; returns what the screen shows for it.
    fn operate(&mut self, line: &str) -> String {
        self.screen();
        self.send(CONSOLE(), format!("{line}\n").as_bytes());
        self.screen()
    }

    fn end(&mut self, id: ConnectionId) {
        assert!(self.ask.wants_input(id));
        let rest = self.kept.remove(&id).unwrap_or_default();
        assert!(self.ask.handle_eof(self.now, id, &rest));
        self.turn();
    }

    fn wait(&mut self, silence: Duration) {
        self.now.moment = self.now.moment + silence;
        if self.ask.poll_timeout().is_some_and(|due| due <= self.now.moment) {
            self.ask.handle_timeout(self.now);
        }
        self.turn();
    }

    fn lose(&mut self, id: ConnectionId) {
        self.ask.handle_closed(self.now, id, Reason::Reset);
        self.turn();
    }

    fn offer(&mut self, id: ConnectionId) {
        if self.ask.wants_input(id)
            && let Some(kept) = self.kept.get_mut(&id).filter(|kept| !kept.is_empty())
        {
            let consumed = self.ask.handle_bytes(self.now, id, kept);
            kept.drain(..consumed);
        }
    }

    fn turn(&mut self) {
        loop {
            if let Some(action) = self.ask.poll_action() {
                match action {
                    Action::Resume(id) => self.offer(id),
                    Action::Close(id, reason) => {
                        self.closed.push((id, reason));
                        self.kept.remove(&id);
                    }
                    Action::Stop(_) => self.stopped = true,
                    action => panic!("{action:?}"),
                }
            } else if let Some(id) = self.ask.poll_ready(self.now) {
                if self.stuck.contains(&id) {
                    self.ask.handle_written(self.now, id, 0, Written::Blocked);
                    continue;
                }
                let output = self.ask.poll_output(self.now, id).parts.concat();
                self.written.entry(id).or_default().push_str(&String::from_utf8_lossy(&output));
                self.ask.handle_written(self.now, id, output.len(), Written::All);
            } else {
                return;
            }
        }
    }

    /// A reader who did not read does so.
    fn read_again(&mut self, id: ConnectionId) {
        self.stuck.clear();
        self.ask.handle_writable(id);
        self.turn();
    }

    fn read(&mut self, id: ConnectionId) -> String {
        self.written.remove(&id).unwrap_or_default()
    }

    fn screen(&mut self) -> String {
        self.read(CONSOLE())
    }
}

const SHORT: Duration = limits::TEXT_SILENCE;

#[test]
fn plain_text_answers_the_oldest_and_a_number_the_one_it_names() {
    let mut stage = Stage::new();
    let (ann, bob) = (stage.join(), stage.join());
    stage.send(ann, b"one\n");
    stage.send(bob, b"two\nthree\n");
    assert_eq!(
        stage.screen(),
        "-- 10.0.0.1:2 is here --\n-- 10.0.0.1:3 is here --\n\
         [1] 10.0.0.1:2: one\n[2] 10.0.0.1:3: two\n[3] 10.0.0.1:3: three\n"
    );
    assert_eq!(stage.operate("3   drei "), "answered [3] of 10.0.0.1:3\n");
    assert_eq!(stage.operate("eins"), "answered [1] of 10.0.0.1:2\n");
    assert_eq!(stage.operate("list"), "[2] 10.0.0.1:3: two\n");
    assert_eq!(stage.operate("zwei 你好"), "answered [2] of 10.0.0.1:3\n");
    assert_eq!((stage.read(ann), stage.read(bob)), ("eins\n".into(), "drei\nzwei 你好\n".into()));
    assert_eq!(stage.operate("list"), "no question is open\n");
}

#[test]
fn an_answer_that_begins_with_a_number_is_not_given_to_nobody() {
    let mut stage = Stage::new();
    let ann = stage.join();
    stage.send(ann, b"how many?\n");
    for line in ["3 apples", "03 apples", "99999999999999999999999 apples"] {
        let told = stage.operate(line);
        let (number, _) = line.split_once(' ').expect("two words");
        assert!(told.starts_with(&format!("no question {number} is open")), "{told}");
        assert!(told.ends_with(&format!(": 1 {line}\n")), "{told}");
    }
    let told = stage.operate("1");
    assert!(told.starts_with("an answer is missing") && told.ends_with(": 1 1\n"), "{told}");
    assert_eq!(stage.operate("1 3 apples"), "answered [1] of 10.0.0.1:2\n");
    assert_eq!(stage.read(ann), "3 apples\n");
    assert!(stage.operate("3 apples").starts_with("no question is open"));
    stage.send(ann, b"more?\n");
    stage.operate("2 exit");
    assert_eq!(stage.read(ann), "exit\n", "a command can be an answer");
    assert!(!stage.stopped);
}

#[test]
fn an_answer_to_a_question_that_was_withdrawn_goes_to_nobody_else() {
    for is_next_late in [false, true] {
        let mut stage = Stage::new();
        let (ann, bob) = (stage.join(), stage.join());
        stage.send(ann, b"your key?\n");
        if !is_next_late {
            stage.send(bob, b"and mine?\n");
        }
        stage.lose(ann);
        if is_next_late {
            stage.send(bob, b"and mine?\n");
        }
        let told = stage.operate("secret");
        assert_eq!(told, "question 1 was withdrawn: not sent; to answer the oldest now: 2 secret\n");
        assert_eq!(stage.read(bob), "");
        assert_eq!(stage.operate("2 yours"), "answered [2] of 10.0.0.1:3\n");
        stage.send(bob, b"more?\n");
        assert_eq!(stage.operate("no"), "answered [3] of 10.0.0.1:3\n");
    }
    // A line typed after that is typed by somebody who can have seen it.
    let mut stage = Stage::new();
    let (ann, bob) = (stage.join(), stage.join());
    stage.send(ann, b"one\n");
    stage.send(bob, b"two\n");
    stage.lose(ann);
    stage.operate("list");
    assert_eq!(stage.operate("zwei"), "answered [2] of 10.0.0.1:3\n");
}

#[test]
fn an_answer_that_the_terminal_may_have_cut_is_not_sent() {
    let mut stage = Stage::new();
    let ann = stage.join();
    stage.send(ann, b"how long?\n");
    assert_eq!(stage.operate(&"x".repeat(4095)), "-- too long: 4094 bytes at most --\n");
    assert_eq!(stage.read(ann), "");
    assert_eq!(stage.operate(&"x".repeat(4094)), "answered [1] of 10.0.0.1:2\n");
}

#[test]
fn text_without_a_line_end_is_a_question_after_a_silence() {
    let mut stage = Stage::new();
    let ann = stage.join();
    stage.screen();
    for byte in "你好".as_bytes() {
        stage.send(ann, &[*byte]);
        stage.wait(SHORT / 2);
    }
    assert_eq!(stage.screen(), "");
    stage.wait(SHORT / 2);
    assert_eq!(stage.screen(), "[1] 10.0.0.1:2: 你好\n");
    assert_eq!(stage.ask.poll_timeout(), None);
}

#[test]
fn a_client_that_leaves_takes_its_questions_back() {
    let mut stage = Stage::new();
    let (ann, bob, eve) = (stage.join(), stage.join(), stage.join());
    stage.send(ann, b"a\nb\nexit\nignored\n");
    stage.send(bob, b"c");
    stage.wait(SHORT);
    stage.send(eve, b"quit");
    stage.screen();
    stage.wait(SHORT);
    assert_eq!(stage.screen(), "-- 10.0.0.1:4 left --\n");
    stage.lose(bob);
    assert_eq!(stage.screen(), "-- 10.0.0.1:3 left: connection reset; withdrawn: [3] --\n");
    assert_eq!(stage.closed, [(ann, Reason::Quit), (eve, Reason::Quit)]);
    stage.ask.handle_closed(stage.now, ann, Reason::Quit);
    assert_eq!(stage.screen(), "", "a client leaves once");
    assert!(stage.operate("late").starts_with("no question is open"));
    assert!(stage.ask.clients.len() == 1 && stage.ask.poll_timeout().is_none());
}

#[test]
fn a_half_closed_client_gets_its_answers_and_then_the_end() {
    let mut stage = Stage::new();
    let (ann, bob) = (stage.join(), stage.join());
    stage.send(ann, b"one\ntwo");
    stage.end(ann);
    stage.end(bob);
    assert!(stage.screen().ends_with(
        "[1] 10.0.0.1:2: one\n[2] 10.0.0.1:2: two\n\
         -- 10.0.0.1:2 sends no more; still open: [1] [2] --\n-- 10.0.0.1:3 left --\n"
    ));
    assert_eq!(stage.closed, [(bob, Reason::EndOfInput)]);
    stage.operate("2 zwei");
    assert_eq!(stage.closed.len(), 1);
    assert_eq!(stage.operate("eins"), "answered [1] of 10.0.0.1:2\n-- 10.0.0.1:2 left --\n");
    assert_eq!(stage.read(ann), "zwei\neins\n");
    assert_eq!(stage.closed[1], (ann, Reason::EndOfInput));
}

#[test]
fn who_asks_too_much_waits_and_loses_nothing() {
    let mut stage = Stage::new();
    let (ann, bob) = (stage.join(), stage.join());
    let asked = limits::QUESTIONS_PER_CLIENT_MAX * 3;
    let questions: String = (1..=asked).map(|number| format!("q{number}\n")).collect();
    stage.send(ann, questions.as_bytes());
    assert!(!stage.ask.wants_input(ann) && stage.ask.wants_input(bob));
    assert_eq!(stage.ask.questions.len(), limits::QUESTIONS_PER_CLIENT_MAX);
    // What waits is not cut in texts by the silence.
    stage.wait(SHORT * 100);
    for number in 1..=asked {
        assert_eq!(
            stage.ask.questions[&(number as u64)].shown,
            format!("[{number}] 10.0.0.1:2: q{number}\n")
        );
        stage.operate(&format!("a{number}"));
    }
    assert_eq!(stage.read(ann).lines().count(), asked);
    assert!(stage.ask.wants_input(ann));
}

#[test]
fn who_does_not_read_its_answers_is_not_heard() {
    let mut stage = Stage::new();
    let ann = stage.join();
    stage.stuck.push(ann);
    let long = "x".repeat(4000);
    for _ in 0..5 {
        stage.send(ann, b"?\n");
        stage.operate(&long);
    }
    assert!(!stage.ask.wants_input(ann), "{} bytes wait", stage.ask.outputs.waiting_bytes(ann));
    stage.send(ann, b"more?\n");
    assert_eq!(stage.screen(), "");
    stage.read_again(ann);
    assert_eq!(stage.screen(), "[6] 10.0.0.1:2: more?\n");
}

#[test]
fn too_long_and_too_many_are_told() {
    let mut stage = Stage::new();
    let ann = stage.join();
    stage.send(ann, &[b'x'; limits::QUESTION_BYTES_MAX + 10]);
    stage.wait(SHORT);
    stage.send(ann, b"short");
    stage.wait(SHORT);
    assert_eq!(stage.read(ann), "-- too long: 4096 bytes at most --\n");
    assert!(stage.screen().ends_with(": short\n"));
    for number in stage.ask.questions.len()..limits::QUESTIONS_MAX {
        let shown = String::new();
        stage.ask.questions.insert(1000 + number as u64, Question { asker: CONSOLE(), shown });
    }
    stage.send(ann, b"one more\n");
    assert_eq!(stage.read(ann), "-- too many questions are open: ask again later --\n");
    assert_eq!(stage.operate("list").lines().last(), Some("and 3996 more"));
}

#[test]
fn a_console_that_nobody_reads_is_given_no_more_than_it_may_hold() {
    let mut stage = Stage::new();
    stage.stuck.push(CONSOLE());
    let long = "x".repeat(4000);
    for _ in 0..2000 {
        let ann = stage.join();
        stage.send(ann, format!("{long}\nexit\n").as_bytes());
    }
    assert!(stage.ask.outputs.waiting_bytes(CONSOLE()) <= limits::CONSOLE_PRIVATE_BYTES_MAX);
    let unshown = stage.ask.unshown;
    assert!(unshown > 0);
    stage.read_again(CONSOLE());
    let told = format!("-- {unshown} messages were not shown; list shows the open questions --\n");
    assert!(stage.screen().ends_with(&told));
}

#[test]
fn what_clients_send_cannot_play_with_the_operators_terminal() {
    let mut stage = Stage::with(Ask::new(100, true));
    assert_eq!(stage.screen(), "\r\x1b[K>> ");
    let ann = stage.join();
    stage.screen();
    stage.send(ann, "\x1b[2J\x07a\u{202e}b\u{9b}31m\u{a0}\rc\n".as_bytes());
    assert_eq!(stage.screen(), "\r\x1b[K[1] 10.0.0.1:2: [2Jab31m\u{a0}c\n>> ");
    stage.send(ann, b"\xff\xfd\x06hi\xff\xf1\r\n");
    assert_eq!(stage.screen(), "\r\x1b[K[2] 10.0.0.1:2: hi\n>> ");
    stage.written.clear();
    // The answer, and the refusal of telnet's option.
    stage.operate("\x1b[Aok");
    assert_eq!(stage.read(ann), "[Aok\n");
}

#[test]
fn without_an_operator_the_questions_wait() {
    let mut stage = Stage::new();
    stage.send(CONSOLE(), b"lis");
    stage.end(CONSOLE());
    assert!(stage.screen().starts_with("no question is open"), "the last line was a line");
    let ann = stage.join();
    stage.send(ann, b"anybody?\n");
    stage.lose(CONSOLE());
    stage.send(ann, b"nobody?\n");
    assert_eq!(stage.ask.questions.len(), 2);
    assert!(!stage.stopped && stage.closed.is_empty());
}

#[test]
fn the_end_is_told_to_those_who_wait() {
    for by_signal in [false, true] {
        let mut stage = Stage::new();
        let (ann, bob) = (stage.join(), stage.join());
        stage.send(ann, b"one\ntwo\n");
        if by_signal {
            stage.ask.handle_signal(stage.now);
            stage.turn();
        } else {
            assert_eq!(stage.operate("exit"), "closing: 2 questions stay open\n");
        }
        assert_eq!(stage.read(ann), "-- the server is closing: no answer --\n");
        assert_eq!(stage.read(bob), "");
        assert!(stage.stopped);
        let closed = [CONSOLE(), ann, bob].map(|id| (id, Reason::ServerClosing));
        assert_eq!(stage.closed, closed);
    }
}

#[test]
fn more_clients_than_allowed_are_refused_with_a_word() {
    let mut stage = Stage::with(Ask::new(2, false));
    let ann = stage.join();
    stage.join();
    let peer = Peer::Unix;
    let refusal = stage.ask.admit(stage.now, LISTENER, peer).expect_err("it is full");
    assert_eq!(refusal.text, "-- the server is full: 2 clients at most --\n");
    stage.lose(ann);
    assert!(stage.ask.admit(stage.now, LISTENER, peer).is_ok());
}

#[test]
fn an_operator_who_ends_the_input_is_told_that_nobody_answers_now() {
    let mut stage = Stage::with(Ask::new(9, true));
    stage.screen();
    stage.end(CONSOLE());
    let told = stage.screen();
    // No prompt follows it.
    assert!(told.ends_with("nobody answers from here on; Ctrl-C ends the server --\n"), "{told:?}");
}
