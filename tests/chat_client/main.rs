//! `onepoll chat` as people use it: the real server and the real client, in pipes and on a terminal.

mod puppet;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

#[allow(dead_code)]
#[path = "../serve/children.rs"]
mod children;
#[allow(dead_code)]
#[path = "../serve/needs.rs"]
mod needs;

const ONEPOLL: &str = env!("CARGO_BIN_EXE_onepoll");

/// Beyond it whatever is waited for counts as never coming.
const PATIENCE: Duration = Duration::from_secs(30);

/// The lines of a stream, each to be had within [`PATIENCE`]; read aside, so that no test hangs.
struct Lines(Receiver<String>);

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
                if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Lines(receiver)
    }

    #[track_caller]
    fn until(&self, text: &str) -> String {
        self.all_until(text).pop().expect("the line itself")
    }

    /// The next lines, up to one that holds `text`.
    #[track_caller]
    fn all_until(&self, text: &str) -> Vec<String> {
        let mut seen = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.0.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    seen.push(line);
                    if seen.last().is_some_and(|line| line.contains(text)) {
                        return seen;
                    }
                }
                Err(error) => panic!("no line with {text:?}: {error}: {seen:#?}"),
            }
        }
    }

    /// All lines to the end of the stream.
    #[track_caller]
    fn rest(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.0.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => lines.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => return lines,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("no end: {lines:#?}"),
            }
        }
    }
}

/// A process that does not outlive its test.
struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines,
    errors: Lines,
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        Self::spawn(children::program(ONEPOLL).args(arguments))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("it starts");
        let output = Lines::of(child.stdout.take().expect("piped"));
        let errors = Lines::of(child.stderr.take().expect("piped"));
        Process { input: child.stdin.take(), output, errors, child }
    }

    fn server(listen: &str, more: &[&str]) -> (Self, String) {
        let server = Process::start(&[&["serve", "--listen", listen][..], more].concat());
        let line = server.output.until("listening on ");
        (server, line["listening on ".len()..].to_owned())
    }

    fn say(&mut self, text: &str) {
        self.input.as_mut().expect("open").write_all(text.as_bytes()).expect("taken");
    }

    #[track_caller]
    fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::yield_now();
        }
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).expect("our own child");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A path for a Unix socket that no other test has.
fn socket_path(test: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("onepoll-{test}-{}.socket", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

#[test]
fn a_pipe_says_its_lines_shows_the_answer_and_leaves() {
    let (_server, address) = Process::server("127.0.0.1:0", &[]);
    let mut client = Process::start(&["chat", &address, "--nick", "小明"]);
    client.say("你好 👩‍🚀\nlast, without an end");
    client.input = None;
    let lines = client.output.rest();
    assert_eq!(client.exit_code(), Some(0));
    assert!(lines[0].starts_with("-- you are "), "{lines:#?}");
    assert!(lines.iter().any(|line| line.ends_with("小明: 你好 👩‍🚀")), "{lines:#?}");
    assert!(lines.last().is_some_and(|line| line.ends_with("小明: last, without an end")), "{lines:#?}");
    assert!(lines.iter().all(|line| !line.contains('\x1b')), "{lines:#?}");
}

#[test]
fn an_empty_input_follows_the_room_until_a_signal() {
    let (_server, address) = Process::server("127.0.0.1:0", &[]);
    let mut follower = Process::start(&["chat", &address]);
    follower.input = None;
    follower.output.until("-- you are ");
    let mut client = Process::start(&["chat", &address]);
    client.say("news\n");
    follower.output.until(": news");
    follower.signal(Signal::TERM);
    assert_eq!(follower.exit_code(), Some(0));
}

#[test]
fn a_follower_makes_a_lost_connection_again_and_says_so() {
    let path = socket_path("follower");
    let listen = format!("unix:{}", path.display());
    let (server, address) = Process::server(&listen, &[]);
    let mut follower = Process::start(&["chat", &address]);
    follower.input = None;
    follower.output.until("-- you are ");
    server.signal(Signal::TERM);
    follower.output.until("-- the server is closing --");
    follower.errors.until("onepoll: chat: lost the connection to unix:");
    drop(server);
    let (_server, _) = Process::server(&listen, &[]);
    follower.errors.until("onepoll: chat: connected to unix:");
    let mut client = Process::start(&["chat", &address]);
    client.say("news\n");
    follower.output.until(": news");
    let _ = std::fs::remove_file(path);
}

#[test]
fn a_follower_that_does_not_reconnect_fails_with_a_word() {
    let (server, address) = Process::server("127.0.0.1:0", &[]);
    let mut follower = Process::start(&["chat", &address, "--no-reconnect"]);
    follower.input = None;
    follower.output.until("-- you are ");
    server.signal(Signal::TERM);
    assert_eq!(follower.exit_code(), Some(1));
    let why = format!("onepoll: chat: lost the connection to {address}: the server closed it");
    assert_eq!(follower.errors.rest(), [why]);
}

#[test]
fn quit_leaves_a_pipe_of_commands_although_more_could_come() {
    let (_server, address) = Process::server("127.0.0.1:0", &[]);
    let mut client = Process::start(&["chat", &address, "--commands"]);
    client.say("hello\nquit\n");
    client.output.until("-- bye --");
    assert_eq!(client.exit_code(), Some(0));
}

#[test]
fn the_shortest_lines_that_a_server_can_take_are_long_enough_for_a_pipe() {
    let (_server, address) = Process::server("127.0.0.1:0", &["--max-line", "16"]);
    assert_eq!(pipe("hello\n", &[&address, "--nick", "ann"]), (Some(0), vec![]));
}

#[test]
fn a_server_that_ends_before_it_has_said_all_is_no_success_of_a_pipe() {
    for signal in [Signal::TERM, Signal::KILL] {
        let (server, address) = Process::server("127.0.0.1:0", &["--rate", "1"]);
        let mut client = Process::start(&["chat", &address]);
        client.say(&"a line\n".repeat(1000));
        client.input = None;
        client.output.until(": a line");
        server.signal(signal);
        assert_eq!(client.exit_code(), Some(1));
        client.errors.until("the last lines may not have arrived; see the room before you send them again");
        let said = client.output.rest();
        assert!(said.len() < 900, "{}", said.len());
    }
}

/// What a client that is given this on its standard input ends with: exit code, standard error.
fn pipe(text: &str, arguments: &[&str]) -> (Option<i32>, Vec<String>) {
    let mut client = Process::start(&[&["chat"], arguments].concat());
    client.say(text);
    client.input = None;
    let errors = client.errors.rest();
    (client.exit_code(), errors)
}

#[test]
fn a_pipe_that_is_refused_nick_or_room_says_nothing_anywhere() {
    let (_server, address) = Process::server("127.0.0.1:0", &["--max-rooms", "1"]);
    let witness = Process::start(&["chat", &address, "--nick", "ann"]);
    witness.output.until("-- you are now ann --");
    for (arguments, why) in [
        (&["--nick", "ci", "--room", "private"][..], "the room private: all rooms are taken (--max-rooms)"),
        (&["--room", "a/b"], "the room a/b: a room's name has letters, digits and _-.+ only, not '/'"),
        (&["--nick", "ann"], "the nick ann: 'ann' is taken; choose another name"),
        (&["--nick", "12"], "the nick 12: a name needs a letter; add one"),
    ] {
        let (code, errors) = pipe("secret\n", &[&[&*address], arguments].concat());
        assert_eq!(code, Some(4), "{errors:?}");
        let expected = format!("onepoll: {address} refused {why}");
        assert!(errors.len() == 1 && errors[0].starts_with(&expected), "{errors:?}");
    }
    assert_eq!(pipe("public\n", &[&address]), (Some(0), vec![]));
    let heard = witness.output.all_until(": public");
    assert!(!heard.iter().any(|line| line.contains("secret")), "{heard:#?}");
}

#[test]
fn a_word_that_the_server_would_grant_as_another_is_refused_before_anything_is_sent() {
    for word in ["", "a b", "a\u{1}b", "a\u{202e}b", "\u{feff}ann"] {
        for option in ["--nick", "--room"] {
            let (code, errors) = pipe("", &["127.0.0.1:1", option, word]);
            assert_eq!(code, Some(2), "{errors:?}");
            assert!(errors[0].contains("one word, without"), "{errors:?}");
        }
    }
}

#[test]
fn a_pipe_is_said_whatever_it_looks_like() {
    for format in ["line", "classic", "ack"] {
        let (_server, address) = Process::server("127.0.0.1:0", &["--format", format]);
        let mut client = Process::start(&["chat", &address, "--nick", "ci"]);
        client.say("step 1\n/usr/bin/cc -o x x.c\nquit\nGET / HTTP/1.1\nG\u{1}ET /a HTTP/1.1\nqu\u{1}it\nstep 2 FAILED\n");
        client.input = None;
        let lines = client.output.rest();
        assert_eq!(client.exit_code(), Some(0));
        for text in
            ["step 1", "/usr/bin/cc -o x x.c", "quit", "GET / HTTP/1.1", "GET /a HTTP/1.1", "step 2 FAILED"]
        {
            assert!(lines.iter().any(|line| line.ends_with(text)), "{format}: {text}: {lines:#?}");
        }
        assert!(!lines.iter().any(|line| line.contains("/say") || line.contains("bye")), "{lines:#?}");
    }
}

#[test]
fn a_server_without_commands_is_said_no_marks_and_plain_is_named() {
    for arguments in [&["--plain"][..], &["--format", "raw"]] {
        let (_server, address) = Process::server("127.0.0.1:0", arguments);
        let mut witness = Process::start(&["chat", &address, "--plain"]);
        witness.say("ready\n");
        witness.output.until("ready");
        for arguments in [&["--nick", "ci"][..], &["--room", "tea"]] {
            let (code, errors) = pipe("secret\n", &[&[&*address], arguments].concat());
            assert_eq!(code, Some(4));
            assert!(errors[0].contains("the server has no commands; --plain"), "{errors:?}");
        }
        let (code, errors) = pipe("one\n/usr\n", &[&address]);
        assert_eq!(code, Some(1));
        assert!(
            errors[0].contains("not said, nor what follows: /usr: the server has no commands"),
            "{errors:?}"
        );
        let (code, errors) = pipe("two\n/opt\nquit\nthree\n", &[&address, "--plain"]);
        assert_eq!(code, Some(1));
        assert!(errors[0].contains("not said, nor what follows: quit: it would leave"), "{errors:?}");
        assert_eq!(pipe("last\n", &[&address, "--plain"]), (Some(0), vec![]));
        let said = witness.output.all_until("last");
        let said: Vec<&str> = said
            .iter()
            .filter(|line| !line.starts_with("-- "))
            .filter_map(|line| line.split(' ').next_back())
            .collect();
        assert_eq!(said, ["one", "two", "/opt", "last"]);
    }
}

#[test]
fn a_room_that_is_not_restored_hears_nothing() {
    let path = socket_path("full");
    let listen = format!("unix:{}", path.display());
    let (server, address) = Process::server(&listen, &[]);
    let mut client = Process::start(&["chat", &address, "--room", "tea"]);
    client.say("one\n");
    client.output.until("[tea] ");
    drop(server);
    client.errors.until("onepoll: chat: lost the connection to unix:");
    client.say("secret\n");
    // The room is taken by the first to come back.
    let (_server, _) = Process::server(&listen, &["--max-rooms", "1"]);
    client
        .errors
        .until("refused the room tea: all rooms are taken (--max-rooms); join one of /rooms: asking again");
    client.input = None;
    let mut other = Process::start(&["chat", &address]);
    other.say("is anybody here?\n");
    client.output.until(": is anybody here?");
    other.input = None;
    let heard = other.output.rest();
    assert!(!heard.iter().any(|line| line.contains("secret")), "{heard:#?}");
    let _ = std::fs::remove_file(path);
}

#[test]
fn a_reader_who_leaves_is_a_quiet_end() {
    if !needs::are_installed(&["bash", "seq", "head"]) {
        return;
    }
    let (_server, address) = Process::server("127.0.0.1:0", &[]);
    let script = format!("seq 2000 | '{ONEPOLL}' chat {address} | head -1; echo code=${{PIPESTATUS[1]}}");
    let output = children::tool("bash").args(["-c", &script]).output().expect("bash");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("-- you are ") && text.ends_with("code=0\n"), "{text}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_refused_connection_and_an_unknown_path_are_named_with_the_remedy() {
    // It is bound, so that nobody else can be, and does not listen.
    let held = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    held.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    let address = held.local_addr().expect("bound").as_socket().expect("of TCP").to_string();
    let unix = format!("unix:{}", socket_path("absent").display());
    for (address, why) in [(address, "connection refused"), (unix, "no such file or directory")] {
        let mut client = Process::start(&["chat", &address]);
        assert_eq!(client.exit_code(), Some(4));
        let expected =
            format!("onepoll: cannot connect to {address}: {why}; is the server running? (onepoll serve)");
        assert_eq!(client.errors.rest(), [expected]);
        assert_eq!(client.output.rest(), [""; 0]);
    }
}

#[test]
fn a_full_server_refuses_with_its_own_words() {
    let (_server, address) = Process::server("127.0.0.1:0", &["--max-clients", "1"]);
    let first = Process::start(&["chat", &address]);
    first.output.until("-- you are ");
    let mut second = Process::start(&["chat", &address]);
    // What it has to say must not keep it from reading the refusal.
    let text = "x\n".repeat(20_000);
    let mut input = second.input.take().expect("piped");
    std::thread::spawn(move || input.write_all(text.as_bytes()));
    second.errors.until("the server is full: 1 client at most; try again later");
    assert_eq!(second.exit_code(), Some(4));
}

#[test]
fn a_lost_server_is_found_again_with_nick_and_room() {
    let path = socket_path("again");
    let listen = format!("unix:{}", path.display());
    let (server, address) = Process::server(&listen, &[]);
    let mut client = Process::start(&["chat", &address, "--nick", "ann", "--room", "tea"]);
    client.say("one\n");
    client.output.until("[tea] ann: one");
    drop(server);
    client.errors.until("onepoll: chat: lost the connection to unix:");
    let (_server, _) = Process::server(&listen, &[]);
    client.errors.until("onepoll: chat: connected to unix:");
    client.say("two\n");
    client.output.until("[tea] ann: two");
    client.input = None;
    // Whether the server had taken the first before it was lost, the client does not know.
    assert_eq!(client.exit_code(), Some(1));
    client.errors.until("the last lines may not have arrived");
    let _ = std::fs::remove_file(path);
}

#[test]
fn a_lost_server_ends_the_client_that_does_not_reconnect() {
    let (server, address) = Process::server("127.0.0.1:0", &[]);
    let mut client = Process::start(&["chat", &address, "--no-reconnect"]);
    client.output.until("-- you are ");
    drop(server);
    assert_eq!(client.exit_code(), Some(1));
    client.errors.until(&format!("onepoll: chat: lost the connection to {address}: "));
}

#[test]
fn more_lines_than_all_buffers_arrive_in_order_however_slow_the_reader() {
    const LINES: usize = 200_000;
    let (_server, address) =
        Process::server("127.0.0.1:0", &["--format", "raw", "--rate", "off", "--slow", "wait:30"]);
    let mut child = children::program(ONEPOLL)
        .args(["chat", &address])
        .stderr(Stdio::inherit())
        .spawn()
        .expect("onepoll starts");
    let mut input = child.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || {
        let text: String = (0..LINES).map(|number| format!("{number} {:<40}\n", "你好")).collect();
        input.write_all(text.as_bytes())
    });
    // Nothing is read before the first line is there: by then the pipes are filling.
    let output = Lines::of(child.stdout.take().expect("piped"));
    output.until("0 ");
    let mut received = 1;
    for line in output.rest() {
        assert!(line.starts_with(&format!("{received} 你好")), "{received}: {line}");
        received += 1;
    }
    assert_eq!(received, LINES);
    writer.join().expect("a writer").expect("all was taken");
    assert!(child.wait().expect("a child").success());
}

/// Drives the client on a terminal of its own: `client address` are its arguments.
const ON_A_TERMINAL: &str = r#"
import os, pty, select, socket, sys, termios, time
client, address = sys.argv[1:]
host, port = address.rsplit(":", 1)
main, terminal = pty.openpty()
before = termios.tcgetattr(terminal)
pid = os.fork()
if pid == 0:
    os.setsid()
    os.close(main)
    import fcntl
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for number in (0, 1, 2):
        os.dup2(terminal, number)
    os.environ["TERM"] = "xterm-256color"
    os.environ.pop("NO_COLOR", None)
    os.execv(client, [client, "chat", address, "--nick", "小明"])
seen = b""
def until(what):
    global seen
    deadline = time.monotonic() + 30
    while what not in seen:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([main], [], [], left)[0]:
            sys.exit("no %r in %r" % (what, seen))
        seen += os.read(main, 65536)
    at = seen.index(what) + len(what)
    before, seen = seen[:at], seen[at:]
    return before
def type(text):
    os.write(main, text.encode())
until("-- you are now 小明 --".encode())
until(b"> ")
type("你好, half")
until("> 你好, half".encode())
other = socket.create_connection((host, int(port)))
other.sendall("/nick ann\nin between 👩‍🚀\n".encode())
# The row is erased, the message shown, and the row is there again, in this order.
assert b"\r\x1b[K" in until("ann\x1b[0m: in between 👩‍🚀\r\n".encode())
until("> 你好, half".encode())
type(" a line\x1b[D\x1b[D\x1b[D\x1b[DX\r")
until("小明\x1b[0m: 你好, half a Xline\r\n".encode())
# A paste is said, whatever it looks like, and told so; one that is too long is not sent at all.
type("\x1b[200~/msg ann secret\nquit\n\x1b[201~")
until(b"what is pasted is said, not run")
until("小明\x1b[0m: /msg ann secret\r\n".encode())
until("小明\x1b[0m: quit\r\n".encode())
type("\x1b[200~" + "x" * 10000 + "\n\x1b[201~")
until(b"that line was too long and was not sent")
type("gone\x03")
for _ in range(3):
    type("\x1b[A")
until(b"> /msg ann secret")
type("\x1b[A")
until("> 你好, half a Xline".encode())
type("\x15\x04")
deadline = time.monotonic() + 30
ended, status = 0, 0
while not ended:
    if time.monotonic() > deadline:
        sys.exit("it does not end: %r" % seen)
    if select.select([main], [], [], 0.05)[0]:
        seen += os.read(main, 65536)
    ended, status = os.waitpid(pid, os.WNOHANG)
if status != 0 or termios.tcgetattr(terminal) != before:
    sys.exit("status %d; the terminal was not given back" % status)
print("all seen")
"#;

#[test]
fn the_line_being_typed_survives_messages_on_a_terminal() {
    let probe = "python3 -c 'import pty'";
    let has_pty = children::script(probe, &[]).output().is_ok_and(|output| output.status.success());
    if !needs::need(has_pty, "there is no python3 with a pty module", probe) {
        return;
    }
    let (_server, address) = Process::server("127.0.0.1:0", &[]);
    let mut python = children::tool("python3");
    let output = python.args(["-c", ON_A_TERMINAL, ONEPOLL, &address]).output().expect("python3");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "all seen\n", "{errors}");
}

#[test]
fn a_person_at_a_terminal_without_our_editor_has_commands_and_is_sent_nothing_cut() {
    if !needs::is_installed("script") {
        return;
    }
    let (_server, address) = Process::server("127.0.0.1:0", &[]);
    let shell_command = format!("TERM=dumb exec {ONEPOLL} chat {address}");
    let mut script = children::tool("script");
    script.args(["-qefc", &shell_command, "/dev/null"]).env("SHELL", "/bin/sh");
    let mut terminal = Process::spawn(&mut script);
    terminal.output.until("-- you are ");
    terminal.say("/nick ann\n");
    terminal.output.until("-- you are now ann --");
    terminal.say(&format!("{}\n", "x".repeat(10_000)));
    terminal.output.until("a line has more than 4094 bytes: nothing of it was sent");
    terminal.say("hello\n");
    terminal.output.until(" ann: hello");
    terminal.say("quit\n");
    terminal.output.until("-- bye --");
    assert_eq!(terminal.exit_code(), Some(0));
}
