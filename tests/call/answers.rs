//! Texts and their answers on streams.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use crate::harness::{Client, DEADLINE, Directory, Lines, Stream, onepoll, run};

/// Somebody who answers the first call, in a thread of its own; and where.
pub fn peer<R: Send + 'static>(serve: impl FnOnce(Client) -> R + Send + 'static) -> (String, JoinHandle<R>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let serving = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a call");
        serve(of(stream))
    });
    (address, serving)
}

fn of(stream: TcpStream) -> Client {
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    Client::new(Stream::Tcp(stream))
}

/// `onepoll call`, all piped.
pub fn command(arguments: &[&str]) -> Command {
    onepoll(&[&["call"], arguments].concat())
}

/// Calls until it ends by itself: exit code, standard output, standard error.
pub fn call(arguments: &[&str]) -> (i32, String, String) {
    run(command(arguments))
}

/// A call that runs, its output to be read with a deadline.
pub struct Calling {
    pub child: Child,
    pub output: Lines<std::process::ChildStdout>,
}

impl Calling {
    pub fn start(arguments: &[&str]) -> Self {
        Self::spawn(command(arguments))
    }

    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::inherit()).spawn().expect("the binary starts");
        let output = Lines::new(child.stdout.take().expect("piped"));
        Calling { child, output }
    }

    pub fn type_in(&mut self, text: &str) {
        self.child.stdin.as_mut().expect("piped").write_all(text.as_bytes()).expect("it is taken");
    }

    /// Its exit code, once its output has ended.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.output.rest();
        self.child.wait().expect("the child is there").code()
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn each_text_is_a_line_and_waits_for_the_answer_before() {
    let (address, peer) = peer(|mut peer| {
        for number in 1..=3 {
            assert_eq!(peer.line(), format!("text {number} 你好"));
            // Nothing more comes before this is answered.
            peer.tcp().set_nonblocking(true).expect("a socket");
            let early = peer.source.read(&mut [0; 100]);
            assert_eq!(early.expect_err("too early").kind(), std::io::ErrorKind::WouldBlock);
            peer.tcp().set_nonblocking(false).expect("a socket");
            peer.say(&format!("answer {number} 再见"));
        }
        assert!(peer.next_line().is_none(), "it said that no more will come");
        peer.send("and goodbye");
    });
    let (exit, output, errors) = call(&[&address, "text 1 你好", "text 2 你好", "text 3 你好"]);
    assert_eq!(output, "answer 1 再见\nanswer 2 再见\nanswer 3 再见\nand goodbye");
    assert_eq!((exit, errors.as_str()), (0, ""));
    peer.join().expect("the peer was content");
}

#[test]
fn without_line_ends_a_silence_ends_an_answer() {
    let (address, peer) = peer(|mut peer| {
        assert_eq!(peer.bytes(5), b"hello");
        peer.send("你好");
        assert_eq!(peer.bytes(3), b"bye");
        peer.send("再见");
    });
    let (exit, output, _) = call(&["--no-newline", &address, "hello", "bye"]);
    assert_eq!((exit, output.as_str()), (0, "你好再见"));
    peer.join().expect("the peer was content");
}

#[test]
fn an_answer_that_comes_byte_by_byte_is_one_answer() {
    let (address, peer) = peer(|mut peer| {
        for _ in 0..2 {
            peer.line();
            for byte in "一字一字\n".as_bytes() {
                peer.send([*byte]);
            }
        }
    });
    let (exit, output, _) = call(&[&address, "one", "two"]);
    assert_eq!((exit, output.as_str()), (0, "一字一字\n一字一字\n"));
    peer.join().expect("the peer was content");
}

#[test]
fn bytes_that_are_no_text_pass_through_a_pipe_unharmed() {
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let (sent, mut command) = (bytes.clone(), command(&[]));
    let (address, peer) = peer(move |mut peer| {
        peer.line();
        peer.send(sent);
    });
    let output = command.args([&address, "x"]).stdin(Stdio::null()).output().expect("the binary runs");
    assert!(output.stdout == bytes, "{} bytes came", output.stdout.len());
    assert!(output.status.success());
    peer.join().expect("the peer was content");
}

#[test]
fn unix_sockets_are_called_too() {
    let directory = Directory::new();
    let listener = UnixListener::bind(directory.file("peer")).expect("a socket");
    let peer = std::thread::spawn(move || {
        let mut peer = Client::new(Stream::Unix(listener.accept().expect("a call").0));
        let line = peer.line();
        peer.say(&line);
        assert!(peer.rest().is_empty());
    });
    let (exit, output, _) = call(&[&directory.socket("peer"), "hello"]);
    assert_eq!((exit, output.as_str()), (0, "hello\n"));
    peer.join().expect("the peer was content");
}

#[test]
fn ready_comes_first_and_its_answer_is_awaited() {
    let (address, peer) = peer(|mut peer| {
        assert_eq!(peer.line(), "I'm ready");
        peer.say("what is your name?");
        assert_eq!(peer.line(), "ann");
        peer.say("hello ann");
    });
    let (exit, output, _) = call(&[&address, "--ready", "I'm ready", "ann"]);
    assert_eq!((exit, output.as_str()), (0, "what is your name?\nhello ann\n"));
    peer.join().expect("the peer was content");
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let (address, _peer) = peer(|mut peer| while peer.source.write_all(&[b'x'; 4096]).is_ok() {});
    let mut child = command(&[&address, "x"]).spawn().expect("the binary starts");
    let mut output = Lines::new(child.stdout.take().expect("piped"));
    assert_eq!(output.bytes(10), b"xxxxxxxxxx");
    // As `| head` does.
    drop(output);
    let mut errors = Lines::new(child.stderr.take().expect("piped"));
    assert_eq!(errors.rest(), b"");
    assert_eq!(child.wait().expect("the child is there").code(), Some(0));
}
