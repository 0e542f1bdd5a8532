//! What counts as a question, and who gets which answer.

use std::io::Read;

use crate::harness::{Client, Directory, Server, onepoll};

/// A server on a free port, or where the arguments say.
pub fn ask(arguments: &[&str]) -> Server {
    let place: &[&str] = if arguments.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
    Server::spawn(onepoll(&[&["ask"], arguments, place].concat()))
}

/// The next question on the screen; what is said of who comes and goes is passed over.
#[track_caller]
pub fn question(server: &mut Server) -> String {
    server.console().until("[").pop().expect("a line")
}

/// What one read brings: all that a client without lines ever looks at.
fn receive(client: &mut Client) -> String {
    let mut chunk = [0; 1024];
    let bytes = client.source.read(&mut chunk).expect("the server answers");
    String::from_utf8_lossy(&chunk[..bytes]).into_owned()
}

#[test]
fn each_answer_goes_to_the_client_of_its_question() {
    let mut server = ask(&[]);
    let (mut ann, mut bob) = (server.connect(), server.connect());
    ann.say("who am I?");
    let shown = question(&mut server);
    let name = ann.tcp().local_addr().expect("connected");
    assert_eq!(shown, format!("[1] {name}: who am I?"));
    bob.say("and I?\nreally?");
    assert!(question(&mut server).ends_with(": and I?"));
    assert!(question(&mut server).ends_with(": really?"));
    server.operate("3 bob, really");
    assert_eq!(bob.line(), "bob, really");
    server.operate("ann");
    assert_eq!(ann.line(), "ann");
    server.operate("bob");
    assert_eq!(bob.line(), "bob");
    assert_eq!(server.console().until("answered [2] of ").len(), 3);
}

#[test]
fn clients_that_send_no_line_end_are_answered() {
    let mut server = ask(&[]);
    let mut client = server.connect();
    for text in ["hello", "你好"] {
        client.send(text);
        assert!(question(&mut server).ends_with(&format!(": {text}")));
        server.operate(&format!("re: {text}"));
        assert_eq!(receive(&mut client), format!("re: {text}\n"));
        server.console().until("answered");
    }
}

#[test]
fn a_line_in_pieces_is_one_question() {
    let mut server = ask(&[]);
    let mut client = server.connect();
    for byte in "你好, 世界?\r\n".as_bytes() {
        client.send([*byte]);
    }
    assert!(question(&mut server).ends_with(": 你好, 世界?"));
    let mut quick = server.connect();
    quick.send("one\ntwo\nthree\n");
    for text in ["one", "two", "three"] {
        assert!(question(&mut server).ends_with(text));
    }
}

#[test]
fn a_half_closed_client_is_answered_and_then_closed() {
    let mut server = ask(&[]);
    let mut client = server.connect();
    client.send("one\ntwo");
    client.half_close();
    server.console().until("sends no more; still open: [1] [2] --");
    server.operate("2 zwei");
    server.operate("eins");
    assert_eq!(client.rest_lines(), ["zwei", "eins"]);
    server.console().until(" left --");
}

#[test]
fn a_half_closed_client_that_breaks_off_is_not_waited_for() {
    let mut server = ask(&[]);
    let mut client = server.connect();
    client.say("one");
    client.half_close();
    server.console().until("sends no more; still open: [1] --");
    client.reset();
    server.console().until(" left: connection reset; withdrawn: [1] --");
}

#[test]
fn a_client_that_leaves_takes_its_questions_back_and_that_is_said() {
    let mut server = ask(&[]);
    for (bytes, withdrawn) in
        [("exit\n", ""), ("quit", ""), ("one\ntwo\nexit\n", "; withdrawn: [1] [2]"), ("exit\r\n", "")]
    {
        let mut client = server.connect();
        client.send(bytes);
        assert_eq!(client.rest(), b"");
        let left = server.console().until(" left").pop().expect("a line");
        assert!(left.ends_with(&format!(" left{withdrawn} --")), "{left}");
    }
    let mut client = server.connect();
    client.say("three");
    question(&mut server);
    client.reset();
    server.console().until(" left: connection reset; withdrawn: [3] --");
    server.operate("too late");
    server.console().until("no question is open");
}

#[test]
fn unix_sockets_are_served_too() {
    let directory = Directory::new();
    let mut server = ask(&["--listen", &directory.socket("ask"), "--listen", "127.0.0.1:0"]);
    server.next_address();
    let mut client = server.connect();
    client.say("here?");
    let shown = question(&mut server);
    assert!(shown.starts_with("[1] unix#") && shown.ends_with(": here?"), "{shown}");
    server.operate("here");
    assert_eq!(client.line(), "here");
}
