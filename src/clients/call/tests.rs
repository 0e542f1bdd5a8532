//! The client driven by hand: every call the loop would make, at times that the test chooses.

use std::io;
use std::net::SocketAddr;

use super::*;
use crate::engine::{Engine, Peer, Reason, Written};
use crate::limits;

const CONSOLE: fn() -> ConnectionId = || ConnectionId::new(0, 1);

/// A call, the loop's part played by hand.
struct Stage {
    call: Call,
    now: Now,
    /// The peer's socket; several, where one after the other was opened.
    socket: ConnectionId,
    connects: Vec<Endpoint>,
    /// What the peer got: a stream's bytes, or datagrams in `<>`.
    sent: String,
    printed: Vec<u8>,
    /// Neither side takes anything.
    is_stuck: bool,
    /// The peer was told that no more will come.
    is_finished: bool,
    is_stopped: bool,
}

fn settings(scheme: &str, texts: &[&str]) -> Settings {
    let endpoints = ["10.0.0.1:7", "10.0.0.2:7"].map(|address: &str| {
        let address: SocketAddr = address.parse().expect("an address");
        if scheme == "udp:" { Endpoint::Udp(address) } else { Endpoint::Tcp(address) }
    });
    Settings {
        address: format!("{scheme}host:7"),
        endpoints: endpoints.to_vec(),
        texts: texts.iter().map(ToString::to_string).collect(),
        has_ready: false,
        reads_input: texts.is_empty(),
        is_interactive: false,
        ends_lines: true,
        is_clean: false,
        timeout: Some(Duration::from_secs(5)),
        ack: None,
    }
}

const SECOND: Duration = Duration::from_secs(1);

impl Stage {
    fn new(settings: Settings) -> Self {
        let mut stage = Stage {
            call: Call::new(settings),
            now: Now { moment: Moment::START, unix_s: 0 },
            socket: ConnectionId::new(1, 2),
            connects: Vec::new(),
            sent: String::new(),
            printed: Vec::new(),
            is_stuck: false,
            is_finished: false,
            is_stopped: false,
        };
        stage.call.handle_accepted(stage.now, CONSOLE(), None, Peer::Console);
        stage.turn();
        stage
    }

    fn connected(settings: Settings) -> Self {
        let mut stage = Stage::new(settings);
        stage.connect();
        stage
    }

    fn connect(&mut self) {
        self.call.handle_connected(self.now, self.socket, Peer::Unix);
        self.turn();
    }

    fn stream(texts: &[&str]) -> Self {
        Self::connected(settings("", texts))
    }

    fn datagrams(texts: &[&str]) -> Self {
        Self::connected(settings("udp:", texts))
    }

    fn hear(&mut self, bytes: &[u8]) {
        assert!(self.call.wants_input(self.socket));
        if self.call.is_datagram() {
            self.call.handle_datagram(self.now, self.socket, None, bytes);
        } else {
            assert_eq!(self.call.handle_bytes(self.now, self.socket, bytes), bytes.len());
        }
        self.turn();
    }

    fn lose_datagram(&mut self, error: io::ErrorKind) {
        self.call.handle_datagram_lost(self.now, self.socket, error.into());
        self.turn();
    }

    fn type_in(&mut self, bytes: &[u8]) {
        assert!(self.call.wants_input(CONSOLE()));
        assert_eq!(self.call.handle_bytes(self.now, CONSOLE(), bytes), bytes.len());
        self.turn();
    }

    fn end(&mut self, id: ConnectionId, rest: &[u8]) {
        assert!(self.call.wants_input(id));
        assert!(self.call.handle_eof(self.now, id, rest));
        self.turn();
    }

    fn wait(&mut self, time: Duration) {
        self.now.moment = self.now.moment + time;
        if self.call.poll_timeout().is_some_and(|due| due <= self.now.moment) {
            self.call.handle_timeout(self.now);
        }
        self.turn();
    }

    fn turn(&mut self) {
        loop {
            if let Some(action) = self.call.poll_action() {
                match action {
                    Action::Connect(endpoint) => self.connects.push(endpoint),
                    Action::FinishOutput(id) => self.is_finished |= id == self.socket,
                    Action::Close(..) | Action::CutOff(..) | Action::Resume(_) => {}
                    Action::Stop(_) => self.is_stopped = true,
                }
            } else if let Some(id) = self.call.poll_ready(self.now) {
                self.flush(id);
            } else {
                return;
            }
        }
    }

    fn flush(&mut self, id: ConnectionId) {
        if self.is_stuck {
            return self.call.handle_written(self.now, id, 0, Written::Blocked);
        }
        if self.call.is_datagram() && id == self.socket {
            while let Some(datagram) = self.call.poll_datagram(self.now, id) {
                self.sent.push_str(&format!("<{}>", String::from_utf8_lossy(datagram.bytes)));
                let bytes = datagram.bytes.len();
                self.call.handle_written(self.now, id, bytes, Written::All);
            }
            return;
        }
        let output = self.call.poll_output(self.now, id).parts.concat();
        if id == CONSOLE() {
            self.printed.extend(&output);
        } else {
            self.sent.push_str(&String::from_utf8_lossy(&output));
        }
        self.call.handle_written(self.now, id, output.len(), Written::All);
    }

    fn printed(&self) -> String {
        String::from_utf8_lossy(&self.printed).into_owned()
    }

    #[track_caller]
    fn failed(&self, why: &str) {
        match self.call.outcome() {
            Some(Outcome::Failed(told)) => assert!(told.contains(why), "{told}"),
            outcome => panic!("{outcome:?}, not {why}"),
        }
        assert!(self.is_stopped);
    }

    #[track_caller]
    fn done(&self) {
        assert_eq!(self.call.outcome(), Some(&Outcome::Done));
        assert!(self.is_stopped);
    }
}

#[test]
fn a_text_is_sent_when_the_one_before_was_answered() {
    let mut stage = Stage::stream(&["one", "two", "three"]);
    assert_eq!(stage.sent, "one\n");
    stage.hear(b"1 and\n");
    assert_eq!(stage.sent, "one\ntwo\n");
    // A line in three packets.
    stage.hear(b"2");
    stage.hear(b"2");
    assert_eq!(stage.sent, "one\ntwo\n");
    stage.hear(b"\n");
    assert_eq!(stage.sent, "one\ntwo\nthree\n");
    assert!(!stage.is_finished);
    stage.hear(b"3\n");
    assert!(stage.is_finished && stage.call.outcome().is_none());
    stage.hear(b"bye");
    stage.end(stage.socket, b"");
    assert_eq!(stage.printed(), "1 and\n22\n3\nbye");
    stage.done();
}

#[test]
fn an_answer_without_a_line_end_is_complete_after_a_silence() {
    let mut stage = Stage::connected(Settings { ends_lines: false, ..settings("", &["one", "two"]) });
    for byte in "你好".as_bytes() {
        stage.hear(&[*byte]);
        stage.wait(limits::ANSWER_SILENCE - Duration::from_millis(1));
    }
    assert_eq!(stage.sent, "one");
    stage.wait(limits::ANSWER_SILENCE);
    assert_eq!((stage.sent.as_str(), stage.printed().as_str()), ("onetwo", "你好"));
    // Nobody stops inside a character.
    stage.hear(&"好".as_bytes()[..2]);
    stage.wait(limits::ANSWER_SILENCE);
    assert!(!stage.is_finished);
    stage.wait(limits::ANSWER_SILENCE_LONG);
    assert!(stage.is_finished);
}

#[test]
fn no_answer_in_time_is_a_failure() {
    let mut stage = Stage::stream(&["one", "two"]);
    stage.wait(SECOND * 4);
    stage.hear(b"1\n");
    stage.wait(SECOND * 4);
    assert!(stage.call.outcome().is_none(), "each answer has its own deadline");
    stage.wait(SECOND);
    assert!(stage.is_finished, "the last may be answered to the end of all");
    stage.wait(SECOND * 5);
    stage.failed("host:7: no answer within 5 s; --timeout");
    let mut stage = Stage::datagrams(&["one"]);
    stage.wait(SECOND * 5);
    stage.failed("udp:host:7: no answer within 5 s; datagrams can be lost");
    let mut stage = Stage::connected(Settings { timeout: None, ..settings("", &["one"]) });
    stage.wait(SECOND * 1_000_000);
    assert!(stage.call.outcome().is_none());
}

#[test]
fn a_peer_that_never_pauses_has_answered_but_is_cut_off_in_the_end() {
    let mut stage = Stage::stream(&["one", "two"]);
    for _ in 0..50 {
        stage.hear(b"x");
        stage.wait(SECOND / 10);
    }
    assert_eq!(stage.sent, "one\ntwo\n");
    for _ in 0..100 {
        stage.hear(b"x");
        stage.wait(SECOND / 10);
    }
    stage.failed("was still sending after 5 s");
    assert_eq!(stage.printed.len(), 150);
}

#[test]
fn a_peer_that_says_no_more_but_does_not_end_is_left_in_time() {
    let mut stage = Stage::stream(&["one"]);
    stage.hear(b"1\n");
    stage.wait(SECOND * 5);
    stage.done();
}

#[test]
fn a_peer_that_ends_before_it_answers_is_a_failure() {
    let mut stage = Stage::stream(&["one"]);
    stage.end(stage.socket, b"");
    stage.failed("closed the connection without an answer");
    let mut stage = Stage::stream(&["one", "two"]);
    stage.hear(b"1");
    stage.end(stage.socket, b"");
    stage.failed("closed the connection before all was sent");
    assert_eq!(stage.printed(), "1");
    let mut stage = Stage::stream(&["one"]);
    stage.call.handle_closed(stage.now, stage.socket, Reason::Reset);
    stage.turn();
    stage.failed("lost the connection to host:7: connection reset");
}

#[test]
fn addresses_are_tried_in_order() {
    let mut stage = Stage::new(settings("", &["one"]));
    stage.call.handle_connect_failed(stage.now, io::ErrorKind::ConnectionRefused.into());
    stage.turn();
    let tried: Vec<String> = stage.connects.iter().map(ToString::to_string).collect();
    assert_eq!(tried, ["10.0.0.1:7", "10.0.0.2:7"]);
    stage.call.handle_connect_failed(stage.now, io::ErrorKind::ConnectionRefused.into());
    stage.turn();
    let why = "cannot connect to host:7: connection refused".to_string();
    assert_eq!(stage.call.outcome(), Some(&Outcome::CannotConnect(why)));
    let mut stage = Stage::new(settings("", &["one"]));
    stage.wait(SECOND * 5);
    let why = "cannot connect to host:7: no connection within 5 s".to_string();
    assert_eq!(stage.call.outcome(), Some(&Outcome::CannotConnect(why)));
}

#[test]
fn a_datagram_that_nobody_was_there_for_goes_to_the_next_address() {
    let mut stage = Stage::datagrams(&["one", "two"]);
    assert_eq!(stage.sent, "<one>");
    stage.lose_datagram(io::ErrorKind::ConnectionRefused);
    assert_eq!(stage.connects.len(), 2);
    stage.socket = ConnectionId::new(2, 3);
    stage.connect();
    assert_eq!(stage.sent, "<one><one>");
    stage.hear(b"1");
    assert_eq!((stage.sent.as_str(), stage.printed().as_str()), ("<one><one><two>", "1\n"));
    stage.hear(b"2\n");
    assert_eq!(stage.printed(), "1\n2\n");
    stage.done();
    let mut stage = Stage::datagrams(&["one"]);
    stage.lose_datagram(io::ErrorKind::ConnectionRefused);
    stage.socket = ConnectionId::new(2, 3);
    stage.connect();
    stage.lose_datagram(io::ErrorKind::ConnectionRefused);
    let why = "cannot connect to udp:host:7: connection refused".to_string();
    assert_eq!(stage.call.outcome(), Some(&Outcome::CannotConnect(why)));
}

#[test]
fn a_pipe_is_sent_at_once_to_a_stream_and_one_by_one_in_datagrams() {
    let mut stage = Stage::stream(&[]);
    stage.type_in(b"one\ntwo\n");
    assert_eq!(stage.sent, "one\ntwo\n");
    stage.end(CONSOLE(), b"three");
    assert_eq!(stage.sent, "one\ntwo\nthree\n");
    assert!(!stage.is_finished);
    stage.wait(SECOND * 5);
    assert!(stage.is_finished);
    stage.wait(SECOND * 5);
    stage.failed("no answer within 5 s");

    let mut stage = Stage::datagrams(&[]);
    stage.type_in(b"one\ntwo\n");
    assert_eq!(stage.sent, "<one>");
    assert!(!stage.call.wants_input(CONSOLE()));
    stage.hear(b"1");
    assert_eq!(stage.sent, "<one><two>");
    stage.end(CONSOLE(), b"");
    assert!(stage.call.outcome().is_none());
    stage.hear(b"2");
    stage.done();
}

#[test]
fn a_person_has_no_deadline_but_to_connect() {
    let person = Settings { is_interactive: true, ..settings("udp:", &[]) };
    let mut stage = Stage::connected(person);
    stage.type_in(b"one\ntwo\n");
    assert_eq!(stage.sent, "<one><two>");
    stage.wait(SECOND * 1_000_000);
    assert!(stage.call.outcome().is_none());
    stage.type_in(b"exit\n");
    stage.done();
    assert!(!stage.sent.contains("exit"));
    let person = Settings { is_interactive: true, ..settings("", &[]) };
    let mut stage = Stage::connected(person);
    stage.type_in(b"one\nexit\ntwo\n");
    stage.done();
    assert_eq!(stage.sent, "one\n", "nothing that was pasted behind it is sent");
}

#[test]
fn a_line_that_the_terminal_may_have_cut_is_not_sent_and_told_so() {
    let long = format!("{}\n", "x".repeat(4095));
    let mut stage = Stage::connected(Settings { is_interactive: true, is_clean: true, ..settings("", &[]) });
    stage.type_in(long.as_bytes());
    assert!(stage.printed().contains("not sent: 4094 bytes at most"), "{}", stage.printed());
    stage.type_in(&long.as_bytes()[1..]);
    assert_eq!(stage.sent, long[1..]);
    let mut stage = Stage::connected(Settings { is_interactive: true, ..settings("", &[]) });
    stage.type_in(long.as_bytes());
    stage.failed("a terminal cuts long lines: not sent");
    let mut pipe = Stage::stream(&[]);
    pipe.type_in(long.as_bytes());
    assert_eq!(pipe.sent, long);
}

#[test]
fn the_answer_to_ready_is_awaited_before_a_pipe_as_before_arguments() {
    for mut stage in [
        Stage::connected(Settings { has_ready: true, ..settings("", &["ready", "one"]) }),
        Stage::connected(Settings { has_ready: true, reads_input: true, ..settings("", &["ready"]) }),
    ] {
        if stage.call.wants_input(CONSOLE()) {
            stage.end(CONSOLE(), b"one");
        }
        assert_eq!(stage.sent, "ready\n");
        // All of it came before the next text, and answers nothing of that.
        stage.hear(b"welcome\nto all\n");
        assert_eq!(stage.sent, "ready\none\n");
        assert!(!stage.is_finished);
        stage.hear(b"1\n");
        assert!(stage.is_finished);
    }
    let mut mute =
        Stage::connected(Settings { has_ready: true, reads_input: true, ..settings("", &["ready"]) });
    mute.end(CONSOLE(), b"one");
    mute.wait(SECOND * 5);
    mute.failed("no answer within 5 s");
    assert_eq!(mute.sent, "ready\n");
    // A person sees whether it is answered.
    let person =
        Settings { has_ready: true, reads_input: true, is_interactive: true, ..settings("", &["ready"]) };
    let mut person = Stage::connected(person);
    person.type_in(b"one\n");
    assert_eq!(person.sent, "ready\none\n");
}

#[test]
fn exit_is_data_unless_a_person_types_it() {
    let mut stage = Stage::stream(&["one", "exit"]);
    stage.hear(b"1\n");
    assert_eq!(stage.sent, "one\nexit\n");
    let mut stage = Stage::stream(&[]);
    stage.type_in(b"one\nexit\ntwo\n");
    assert_eq!(stage.sent, "one\nexit\ntwo\n");
}

/// The last text sent, as an argument, from a pipe, and as a datagram.
fn last_text_sent() -> [Stage; 3] {
    let mut pipe = Stage::stream(&[]);
    pipe.end(CONSOLE(), b"hi");
    let stages = [Stage::stream(&["hi"]), pipe, Stage::datagrams(&["hi"])];
    for stage in &stages {
        assert!(stage.sent.contains("hi") && !stage.is_finished);
    }
    stages
}

#[test]
fn an_answer_is_awaited_before_the_end_is_told_whatever_the_text_came_from() {
    for mut stage in last_text_sent() {
        stage.wait(SECOND * 4);
        assert!(!stage.is_finished && stage.call.outcome().is_none());
        stage.hear(b"answer\n");
        if !stage.call.is_datagram() {
            assert!(stage.is_finished);
            stage.end(stage.socket, b"");
        }
        stage.done();
        assert!(stage.printed().contains("answer"));
    }
}

#[test]
fn a_peer_that_answers_to_the_end_of_all_is_told_of_it_in_time() {
    for mut stage in last_text_sent().into_iter().take(2) {
        stage.wait(SECOND * 5);
        assert!(stage.is_finished);
        stage.hear(b"answer\n");
        stage.end(stage.socket, b"");
        stage.done();
    }
    for mut stage in last_text_sent().into_iter().take(2) {
        stage.wait(SECOND * 5);
        stage.end(stage.socket, b"");
        stage.failed("closed the connection without an answer");
    }
}

#[test]
fn each_line_of_a_pipe_has_its_answer_before_the_end_is_told_but_not_for_ever() {
    let mut stage = Stage::stream(&[]);
    stage.type_in(b"one\ntwo\n");
    stage.end(CONSOLE(), b"three");
    stage.hear(b"1\n");
    stage.hear(b"2\n");
    assert!(!stage.is_finished);
    stage.hear(b"3");
    stage.wait(limits::ANSWER_SILENCE);
    assert!(stage.is_finished);
    // One answer to all, and then nothing; and a peer that goes on and on.
    for is_talking in [false, true] {
        let mut stage = Stage::stream(&[]);
        stage.type_in(&b"x\n".repeat(1000));
        stage.end(CONSOLE(), b"");
        stage.hear(b"all of them\n");
        for _ in 0..5 {
            assert!(!stage.is_finished);
            stage.wait(SECOND);
            if is_talking {
                stage.hear(b"more\n");
            }
        }
        assert!(stage.is_finished);
        stage.end(stage.socket, b"");
        stage.done();
    }
}

#[test]
fn every_message_is_acknowledged_and_the_connection_kept_for_it() {
    let ack = Some("ok".to_string());
    let mut stage = Stage::connected(Settings { ack, ..settings("", &["ready"]) });
    stage.hear(b"a\nb\nack. ok\nc");
    assert_eq!(stage.sent, "ready\nok\nok\n");
    stage.wait(limits::ANSWER_SILENCE_LONG);
    assert_eq!(stage.sent, "ready\nok\nok\nok\n");
    for _ in 0..10 {
        stage.wait(SECOND * 4);
        stage.hear(b"more\n");
    }
    assert!(!stage.is_finished && stage.call.outcome().is_none());
    assert_eq!(stage.sent.matches("ok").count(), 13);
    stage.is_stuck = true;
    stage.hear(b"last\n");
    stage.end(stage.socket, b"");
    assert_eq!(stage.call.outcome(), Some(&Outcome::Done), "an answer that nobody waits for is no loss");
}

#[test]
fn a_terminal_is_shown_nothing_that_it_would_obey() {
    for scheme in ["", "udp:"] {
        let mut stage = Stage::connected(Settings { is_clean: true, ..settings(scheme, &["one"]) });
        stage.hear(b"a\x1b[2Jb\r\nc\x07");
        stage.wait(limits::ANSWER_SILENCE_LONG);
        assert_eq!(stage.printed(), "a[2Jb\nc\n");
    }
}

#[test]
fn what_is_not_printed_holds_up_the_peer_and_is_printed_before_the_end() {
    let mut stage = Stage::stream(&["one"]);
    stage.is_stuck = true;
    let line = [&[b'x'; 8191][..], b"\n"].concat();
    while stage.call.wants_input(stage.socket) {
        stage.hear(&line);
        assert!(stage.call.outputs.waiting_bytes(CONSOLE()) <= limits::CLIENT_OUTPUT_BYTES_MAX);
    }
    stage.call.handle_closed(stage.now, stage.socket, Reason::Reset);
    assert!(stage.call.outcome().is_some() && !stage.is_stopped);
    stage.is_stuck = false;
    stage.call.handle_writable(CONSOLE());
    stage.turn();
    assert_eq!(stage.printed.len(), limits::CLIENT_OUTPUT_BYTES_MAX);
    stage.failed("connection reset");
}

#[test]
fn a_peer_that_takes_nothing_holds_up_the_pipe_and_not_for_ever() {
    let mut stage = Stage::stream(&[]);
    stage.is_stuck = true;
    let line = [&[b'x'; 8191][..], b"\n"].concat();
    while stage.call.wants_input(CONSOLE()) {
        stage.type_in(&line);
    }
    assert!(stage.call.wants_input(stage.socket), "an echo would wait for that");
    stage.is_stuck = false;
    stage.call.handle_writable(stage.socket);
    stage.turn();
    assert_eq!(stage.call.poll_timeout(), None);
    stage.is_stuck = true;
    stage.type_in(&line);
    stage.wait(SECOND * 5);
    stage.failed("took nothing of what was sent for 5 s");
}

#[test]
fn a_line_without_end_does_not_fill_the_memory() {
    let mut stage = Stage::stream(&[]);
    let piece = [b'x'; limits::CALL_TEXT_BYTES_MAX];
    assert_eq!(stage.call.handle_bytes(stage.now, CONSOLE(), &piece[1..]), 0);
    stage.type_in(&piece);
    stage.type_in(b"end\n");
    assert_eq!(stage.sent.len(), limits::CALL_TEXT_BYTES_MAX + 4);
    for _ in 0..100 {
        stage.hear(&piece);
        assert!(stage.call.message.len() < limits::CALL_TEXT_BYTES_MAX);
    }
    let mut stage = Stage::datagrams(&[]);
    stage.type_in(&piece);
    stage.failed("is no datagram");
}

#[test]
fn a_signal_ends_it_and_says_whether_something_is_missing() {
    let mut stage = Stage::stream(&["one"]);
    stage.call.handle_signal(stage.now);
    stage.turn();
    stage.failed("ended by a signal before all was sent and answered");
    let mut stage = Stage::stream(&["one"]);
    stage.hear(b"1\n");
    stage.call.handle_signal(stage.now);
    stage.turn();
    stage.done();
}
