//! The client driven by hand: every call the loop would make, at times that the test chooses.

use super::*;

mod asking;
mod ending;
mod late;
mod said;

/// Remembers what it was asked for.
#[derive(Debug, Default)]
struct Scene {
    reports: Vec<String>,
    suspensions: usize,
    /// Random numbers that were asked for.
    numbers: u64,
}

impl Host for Scene {
    fn columns(&mut self) -> u16 {
        60
    }
    fn suspend(&mut self) {
        self.suspensions += 1;
    }
    fn random(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
    fn report(&mut self, text: &str) {
        self.reports.push(text.into());
    }
}

const CONSOLE: fn() -> ConnectionId = || ConnectionId::new(0, 1);

/// A client, the loop's part played by hand.
struct Stage {
    client: Client<Scene>,
    now: Now,
    serial: u32,
    /// All that was written to the console.
    shown: Vec<u8>,
    /// All that was written to the present connection.
    sent: Vec<u8>,
    actions: Vec<Action>,
    /// Bytes that each side still takes.
    console_room: usize,
    socket_room: usize,
}

const GREETING: &[u8] = b"-- you are 1.2.3.4:5 in lobby; /help lists the commands --\n";

const PIPE: bool = false;
const TERMINAL: bool = true;

impl Stage {
    fn new(is_interactive: bool) -> Self {
        Self::with(is_interactive, |_| {})
    }

    fn with(is_interactive: bool, change: impl Fn(&mut Settings)) -> Self {
        let mut settings = Settings {
            address: "the.server:1".into(),
            endpoints: vec![Endpoint::Unix("a".into())],
            nick: None,
            room: None,
            is_plain: false,
            takes_commands: false,
            reconnects: true,
            is_person: is_interactive,
            is_interactive,
            style: Style { is_clean: is_interactive, is_coloured: false },
            seed: 1,
        };
        change(&mut settings);
        let mut stage = Stage {
            client: Client::new(settings, Scene::default()),
            now: Now { moment: Moment::START, unix_s: 0 },
            serial: 1,
            shown: Vec::new(),
            sent: Vec::new(),
            actions: Vec::new(),
            console_room: usize::MAX,
            socket_room: usize::MAX,
        };
        stage.client.handle_accepted(stage.now, CONSOLE(), None, Peer::Console);
        stage.turn();
        stage
    }

    /// The same, connected and greeted.
    fn greeted(is_interactive: bool) -> Self {
        let mut stage = Self::new(is_interactive);
        stage.connect();
        stage.hear(b"-- you are 1.2.3.4:5 in lobby; /help lists the commands --\n");
        stage
    }

    /// The server's answer to what it was asked last.
    fn answer(&mut self, words: &str) {
        let sent = self.sent().to_owned();
        let (_, nonce) = sent.rsplit_once("/ping ").expect("a question");
        let answer = format!("-- {words} --\n-- pong {} --\n", nonce.split('\n').next().expect("a word"));
        self.hear(answer.as_bytes());
    }

    /// The server has taken all: it answers the last question, which is then forgotten.
    #[track_caller]
    fn confirm(&mut self) {
        let sent = self.sent();
        let at = sent.trim_end().rfind('\n').map_or(0, |at| at + 1);
        let nonce = sent[at..].strip_prefix("/ping ").expect("a question").trim_end().to_owned();
        self.sent.truncate(at);
        self.hear(format!("-- pong {nonce} --\n").as_bytes());
    }

    /// The lines that were sent, but for what ends a question.
    fn said(&self) -> Vec<&str> {
        self.sent().lines().filter(|line| !line.starts_with("/ping ")).collect()
    }

    fn socket(&self) -> ConnectionId {
        ConnectionId::new(1, self.serial)
    }

    /// The rest of a turn: actions, deadlines, flush; what the loop does in that order.
    fn turn(&mut self) {
        for _ in 0..4 {
            self.take_actions();
            if self.client.poll_timeout().is_some_and(|due| due <= self.now.moment) {
                self.client.handle_timeout(self.now);
            }
            self.client.handle_turn(self.now);
            self.take_actions();
            while let Some(id) = self.client.poll_ready(self.now) {
                self.flush(id);
            }
            self.take_actions();
            if !self.client.has_ready() {
                return;
            }
        }
        panic!("the client never rests");
    }

    fn flush(&mut self, id: ConnectionId) {
        let (room, written) = if id == CONSOLE() {
            (&mut self.console_room, &mut self.shown)
        } else {
            (&mut self.socket_room, &mut self.sent)
        };
        loop {
            let output = self.client.poll_output(self.now, id).parts[0];
            if output.is_empty() {
                return;
            }
            let bytes = output.len().min(*room);
            written.extend_from_slice(&output[..bytes]);
            *room -= bytes;
            let is_all = bytes == output.len();
            let outcome = if is_all { Written::All } else { Written::Blocked };
            self.client.handle_written(self.now, id, bytes, outcome);
            if !is_all {
                return;
            }
        }
    }

    fn take_actions(&mut self) {
        while let Some(action) = self.client.poll_action() {
            self.actions.push(action);
        }
    }

    fn wait(&mut self, duration: Duration) {
        self.now.moment = self.now.moment + duration;
        self.turn();
    }

    fn connect(&mut self) {
        assert!(matches!(self.actions.pop(), Some(Action::Connect(_))), "{:?}", self.actions);
        self.serial += 1;
        self.sent.clear();
        self.client.handle_connected(self.now, self.socket(), Peer::Unix);
        self.turn();
    }

    fn refuse_connect(&mut self) {
        assert!(matches!(self.actions.pop(), Some(Action::Connect(_))), "{:?}", self.actions);
        self.client.handle_connect_failed(self.now, io::Error::from_raw_os_error(111));
        self.turn();
    }

    fn hear(&mut self, bytes: &[u8]) -> usize {
        let consumed = self.client.handle_bytes(self.now, self.socket(), bytes);
        self.turn();
        consumed
    }

    fn input(&mut self, bytes: &[u8]) -> usize {
        let consumed = self.client.handle_bytes(self.now, CONSOLE(), bytes);
        self.turn();
        consumed
    }

    fn end_input(&mut self, rest: &[u8]) {
        assert!(self.client.handle_eof(self.now, CONSOLE(), rest));
        self.turn();
    }

    /// The server ends its side, and the loop closes.
    fn end_server(&mut self) {
        assert!(self.client.handle_eof(self.now, self.socket(), b""));
        self.turn();
        assert!(self.actions.contains(&Action::Close(self.socket(), Reason::EndOfInput)));
        self.close(Reason::EndOfInput);
    }

    fn close(&mut self, reason: Reason) {
        self.client.handle_closed(self.now, self.socket(), reason);
        self.turn();
    }

    fn sent(&self) -> &str {
        str::from_utf8(&self.sent).expect("text")
    }

    fn shown(&self) -> &str {
        str::from_utf8(&self.shown).expect("text")
    }

    fn is_finished(&self) -> bool {
        self.actions.contains(&Action::FinishOutput(self.socket()))
    }

    fn pause(&self) -> Duration {
        self.client.poll_timeout().expect("a pause").since(self.now.moment)
    }

    #[track_caller]
    fn assert_failed(&self, text: &str) {
        match self.client.outcome() {
            Some(Outcome::Failed(why)) => assert!(why.contains(text), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_pipe_is_sent_in_order_whatever_its_fragments_and_its_end_is_told() {
    let mut stage = Stage::greeted(PIPE);
    let text = "one\n你好\r\n\nlast without an end".as_bytes();
    let mut kept = Vec::new();
    for byte in text {
        kept.push(*byte);
        let consumed = stage.input(&kept);
        kept.drain(..consumed);
    }
    assert!(!stage.is_finished());
    stage.end_input(&kept);
    assert!(!stage.is_finished());
    stage.confirm();
    assert_eq!(stage.sent(), "one\n你好\r\n\nlast without an end\n");
    assert!(stage.is_finished());
    stage.hear(b"bye\n");
    stage.end_server();
    assert_eq!(stage.client.outcome(), Some(&Outcome::Done));
    assert!(stage.shown().ends_with("bye\n"));
}

#[test]
fn nothing_is_sent_before_the_greeting_or_its_time() {
    let mut stage = Stage::new(PIPE);
    stage.input(b"early\n");
    stage.connect();
    stage.end_input(b"");
    assert_eq!(stage.sent(), "");
    assert!(!stage.is_finished());
    stage.wait(limits::CLIENT_GREETING);
    assert_eq!(stage.sent(), "early\n");
    assert!(!stage.is_finished(), "it may have commands, and can be asked then whether it has taken all");
    stage.wait(limits::CLIENT_GREETING_LONG);
    assert_eq!(stage.sent(), "early\n");
    assert!(stage.is_finished());
}

#[test]
fn an_empty_input_follows_the_room_and_makes_a_lost_connection_again() {
    let mut stage = Stage::greeted(PIPE);
    stage.end_input(b"");
    assert!(!stage.is_finished());
    stage.hear(b"news\n");
    assert!(stage.shown().ends_with("news\n"));
    stage.end_server();
    assert_eq!(stage.client.outcome(), None);
    let why = "lost the connection to the.server:1: the server closed it: trying again in";
    assert!(stage.client.host.reports[0].starts_with(why), "{:?}", stage.client.host.reports);
    let pause = stage.pause();
    stage.wait(pause);
    stage.connect();
    stage.hear(b"-- you are 1.2.3.4:6 in lobby; /help lists the commands --\nmore news\n");
    assert!(stage.shown().ends_with("more news\n"));
}

#[test]
fn an_empty_input_survives_a_broken_connection() {
    let mut stage = Stage::greeted(PIPE);
    stage.end_input(b"");
    stage.close(Reason::Reset);
    assert_eq!(stage.client.outcome(), None);
    assert!(stage.client.host.reports[0].contains("connection reset: trying again in"));
}

#[test]
fn standard_input_waits_for_the_server_and_nothing_is_lost() {
    let mut stage = Stage::greeted(PIPE);
    stage.socket_room = 1000;
    let mut expected = Vec::new();
    let mut number = 0;
    while stage.client.wants_input(CONSOLE()) {
        let line = format!("{number}\n");
        number += 1;
        expected.extend_from_slice(line.as_bytes());
        stage.input(line.as_bytes());
        assert!(expected.len() <= limits::CLIENT_INPUT_BYTES_MAX + 2000, "no bound");
    }
    assert!(!stage.actions.contains(&Action::Resume(CONSOLE())));
    stage.socket_room = usize::MAX;
    let socket = stage.socket();
    stage.client.handle_writable(socket);
    stage.turn();
    assert!(stage.actions.contains(&Action::Resume(CONSOLE())));
    assert!(stage.client.wants_input(CONSOLE()));
    assert_eq!(stage.sent, expected);
}

#[test]
fn the_server_waits_for_standard_output_and_nothing_is_lost() {
    let mut stage = Stage::greeted(PIPE);
    stage.shown.clear();
    stage.console_room = 1000;
    let mut expected = Vec::new();
    while stage.client.wants_input(stage.socket()) {
        let chunk = b"0123456789abcde\n".repeat(1024);
        expected.extend_from_slice(&chunk);
        assert_eq!(stage.hear(&chunk), chunk.len());
        assert!(expected.len() <= limits::CLIENT_OUTPUT_BYTES_MAX + 20_000, "no bound");
    }
    // The end of all has to wait for the reader too.
    stage.end_input(b"x");
    stage.console_room = usize::MAX;
    stage.client.handle_writable(CONSOLE());
    stage.turn();
    let socket = stage.socket();
    assert!(stage.actions.contains(&Action::Resume(socket)));
    assert_eq!(stage.shown, expected);
}

#[test]
fn lines_from_the_server_split_anywhere_are_shown_whole_and_cleaned() {
    let text = "你好\u{1b}[2J x\n".as_bytes();
    for at in 0..text.len() {
        let mut stage = Stage::greeted(TERMINAL);
        stage.shown.clear();
        assert_eq!(stage.hear(&text[..at]), 0);
        assert_eq!(stage.hear(text), text.len());
        assert!(stage.shown().contains("你好[2J x\r\n"), "{:?}", stage.shown());
    }
}

#[test]
fn a_refused_first_connection_tries_every_address_and_names_the_remedy() {
    let mut stage = Stage::with(PIPE, |settings| settings.endpoints.push(Endpoint::Unix("b".into())));
    stage.refuse_connect();
    assert_eq!(stage.client.outcome(), None);
    assert!(stage.actions.contains(&Action::Connect(Endpoint::Unix("b".into()))));
    stage.refuse_connect();
    let why = "cannot connect to the.server:1: connection refused; is the server running? (onepoll serve)";
    assert_eq!(stage.client.outcome(), Some(&Outcome::CannotConnect(why.into())));
}

#[test]
fn a_full_server_is_a_refusal_with_its_own_words() {
    for is_interactive in [PIPE, TERMINAL] {
        let mut stage = Stage::new(is_interactive);
        stage.connect();
        stage.hear(b"-- the server is full: 3 clients are here; try again later --\n");
        stage.end_server();
        let why = "cannot connect to the.server:1: the server is full: 3 clients are here; try again later";
        assert_eq!(stage.client.outcome(), Some(&Outcome::CannotConnect(why.into())));
        assert!(!stage.shown().contains("full"), "told twice");
    }
}

#[test]
fn a_first_line_that_only_looks_like_a_refusal_is_shown() {
    let mut stage = Stage::new(PIPE);
    stage.connect();
    stage.hear(b"-- odd --\nx\n");
    assert_eq!(stage.shown(), "-- odd --\nx\n");
    let mut stage = Stage::new(PIPE);
    stage.connect();
    stage.hear(b"-- odd --\n");
    stage.wait(limits::CLIENT_GREETING);
    stage.hear(b"x\n");
    assert_eq!(stage.shown(), "-- odd --\nx\n");
}

#[test]
fn pauses_grow_while_the_server_is_away_and_start_over_when_it_was_there() {
    let mut stage = Stage::greeted(TERMINAL);
    stage.end_server();
    let mut bound = limits::RECONNECT_PAUSE_MIN;
    for _ in 0..10 {
        let pause = stage.pause();
        assert!(bound / 2 <= pause && pause <= bound, "{pause:?} for {bound:?}");
        bound = (bound * 2).min(limits::RECONNECT_PAUSE_MAX);
        stage.wait(pause);
        stage.refuse_connect();
    }
    let pause = stage.pause();
    stage.wait(pause);
    stage.connect();
    stage.hear(b"-- you are 1.2.3.4:6 in lobby; /help lists the commands --\n");
    assert!(stage.shown().contains("connected to the.server:1 again"));
    stage.end_server();
    assert!(stage.pause() <= limits::RECONNECT_PAUSE_MIN);
    assert_eq!(stage.client.outcome(), None);
}

#[test]
fn a_new_connection_hears_nick_and_room_and_then_what_was_not_sent() {
    let mut stage = Stage::with(PIPE, |settings| {
        settings.nick = Some("ann".into());
        settings.room = Some("tea".into());
    });
    stage.connect();
    stage.input(b"one\ntwo\nthree\n");
    stage.hear(GREETING);
    stage.answer("you are now ann");
    stage.socket_room = "one\ntw".len();
    stage.answer("you speak in tea now; /leave goes back");
    stage.close(Reason::Reset);
    stage.socket_room = usize::MAX;
    let pause = stage.pause();
    stage.wait(pause);
    stage.connect();
    stage.hear(GREETING);
    stage.answer("you are now ann");
    stage.answer("you speak in tea now; /leave goes back");
    assert_eq!(stage.said(), ["/nick ann", "/join tea", "two", "three"]);
}

#[test]
fn the_line_being_typed_survives_messages() {
    let mut stage = Stage::greeted(TERMINAL);
    stage.input("half 你".as_bytes());
    stage.shown.clear();
    stage.hear(b"a message\nand another\n");
    assert!(stage.shown().starts_with("\r\u{1b}[Ka message\r\nand another\r\n"), "{:?}", stage.shown());
    assert!(stage.shown().contains("> half 你"));
    stage.input(b"\r");
    assert_eq!(stage.sent(), "half 你\n");
}

#[test]
fn a_line_typed_without_a_connection_is_refused_and_said_so() {
    let mut stage = Stage::greeted(TERMINAL);
    stage.end_server();
    stage.input(b"anybody?\r");
    assert!(stage.shown().contains("not connected: not sent (the Up key brings it back): anybody?"));
    let pause = stage.pause();
    stage.wait(pause);
    stage.connect();
    stage.hear(b"-- you are 1.2.3.4:6 in lobby --\n");
    assert_eq!(stage.sent(), "");
    stage.input(b"\x1b[A\r");
    assert_eq!(stage.sent(), "anybody?\n");
}

#[test]
fn a_line_typed_before_the_first_connection_is_sent_with_it() {
    let mut stage = Stage::new(TERMINAL);
    stage.input(b"hello\r");
    stage.connect();
    stage.hear(b"-- you are 1.2.3.4:6 in lobby --\n");
    assert_eq!(stage.sent(), "hello\n");
}

#[test]
fn ctrl_z_stops_behind_a_clean_row_and_draws_it_again() {
    let mut stage = Stage::greeted(TERMINAL);
    stage.input(b"draft");
    stage.shown.clear();
    stage.console_room = 0;
    stage.input(b"\x1a");
    assert_eq!(stage.client.host.suspensions, 0, "the row is still there");
    stage.console_room = usize::MAX;
    stage.client.handle_writable(CONSOLE());
    stage.turn();
    assert_eq!(stage.client.host.suspensions, 1);
    assert!(stage.shown().starts_with("\r\u{1b}[K"), "{:?}", stage.shown());
    assert!(stage.shown().contains("> draft"));
}
