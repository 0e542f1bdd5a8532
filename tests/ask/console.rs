//! What the operator sees and types.

use std::process::Stdio;

use crate::harness::{Server, on_a_terminal, onepoll, run};
use crate::questions::{ask, question};

#[test]
fn list_shows_what_is_open_and_a_wrong_number_is_explained() {
    let mut server = ask(&[]);
    server.operate("list");
    server.console().until("no question is open");
    let mut ann = server.connect();
    ann.say("how many?");
    let shown = question(&mut server);
    server.operate("list");
    assert_eq!(server.console().line(), shown);
    server.operate("3 apples");
    let told = server.console().line();
    assert!(told.contains("no question 3 is open") && told.ends_with(": 1 3 apples"), "{told}");
    server.operate("1 3 apples");
    assert_eq!(ann.line(), "3 apples");
    server.operate("help");
    let page = server.console().until("Ctrl-R").join("\n");
    for command in ["TEXT", "NUMBER TEXT", "list", "help", "exit, quit"] {
        assert!(page.contains(&format!("{command} ")), "{command} is missing in\n{page}");
    }
}

#[test]
fn exit_and_quit_and_a_signal_end_the_server_and_who_waits_is_told() {
    for end in ["exit", "quit", "SIGINT", "SIGTERM"] {
        let mut server = ask(&[]);
        let (mut ann, mut bob) = (server.connect(), server.connect());
        ann.say("anybody?");
        question(&mut server);
        match end {
            "SIGINT" => server.signal(rustix::process::Signal::INT),
            "SIGTERM" => server.signal(rustix::process::Signal::TERM),
            line => server.operate(line),
        }
        assert_eq!(ann.rest_lines(), ["-- the server is closing: no answer --"]);
        assert_eq!(bob.rest(), b"");
        server.console().until("closing: 1 question stays open");
        assert_eq!(server.exit_code(), 0, "{end}");
    }
}

#[test]
fn without_standard_input_the_questions_wait() {
    let mut command = onepoll(&["ask", "--listen", "127.0.0.1:0"]);
    command.stdin(Stdio::null());
    let mut null = Server::spawn(command);
    let mut closed = ask(&[]);
    drop(closed.stdin.take());
    for server in [&mut null, &mut closed] {
        let mut client = server.connect();
        client.say("anybody?");
        question(server);
        let before = server.cpu_ticks();
        // The silence after a text is a wait, too.
        let mut other = server.connect();
        other.send("and I?");
        question(server);
        assert!(server.cpu_ticks() - before <= 10, "it spins");
        server.signal(rustix::process::Signal::INT);
        assert_eq!(client.rest_lines(), ["-- the server is closing: no answer --"]);
        assert_eq!(server.exit_code(), 0);
    }
}

#[test]
fn answers_can_come_from_a_pipe_faster_than_anybody_types() {
    let mut server = ask(&[]);
    let mut clients: Vec<_> = (0..100).map(|_| server.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.say(&format!("q{number}"));
        question(&mut server);
    }
    let answers: String = (1..=100).rev().map(|number| format!("{number} a{number}\n")).collect();
    server.operate(answers.trim_end());
    for (index, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.line(), format!("a{}", index + 1));
    }
}

#[test]
fn a_screen_that_nobody_reads_holds_up_nobody() {
    let mut server = ask(&[]);
    let long = "x".repeat(4000);
    // More than the pipe and the bound together hold.
    for _ in 0..1500 {
        let mut client = server.connect();
        client.send(format!("{long}\nexit\n"));
        assert_eq!(client.rest(), b"");
    }
    let told = server.console().until("messages were not shown").pop().expect("a line");
    assert!(told.ends_with("; list shows the open questions --"), "{told}");
}

#[test]
fn usage_and_addresses_are_explained() {
    for (arguments, exit, why) in [
        (&["--listen", "udp:127.0.0.1:0"][..], 2, "needs a stream"),
        (&["--max-clients", "0"], 2, "at least 1"),
        (&["--max-clients", "99999999"], 2, "descriptors are allowed"),
        (&["--listen", "192.0.2.1:1"], 3, "this machine has no such address"),
    ] {
        let (code, _, stderr) = run(onepoll(&[&["ask"], arguments].concat()));
        assert_eq!(code, exit, "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
    }
    let (code, page, _) = run(onepoll(&["ask", "--help"]));
    assert!(code == 0 && page.contains("What it teaches") && page.contains("127.0.0.1:8888"), "{page}");
}

#[test]
fn a_terminal_has_a_prompt_that_questions_do_not_spoil() {
    let inner = format!("exec {} ask --listen 127.0.0.1:0", env!("CARGO_BIN_EXE_onepoll"));
    let Some(command) = on_a_terminal(&inner) else { return };
    let mut terminal = {
        // The terminal ends its lines in CR LF.
        let mut child = Server::spawn(command);
        child.addresses[0] = child.addresses[0].trim().to_string();
        child
    };
    assert_eq!(terminal.console().bytes(7), b"\r\x1b[K>> ");
    let mut client = terminal.connect();
    terminal.console().until(" is here --");
    client.say("anybody \x1b[2J there?");
    let shown = terminal.console().line();
    assert!(shown.starts_with(">> \r\x1b[K[1] ") && shown.ends_with(": anybody [2J there?\r"), "{shown:?}");
    terminal.operate("me");
    assert_eq!(client.line(), "me");
    terminal.console().until("answered [1]");
    terminal.operate("exit");
    assert_eq!(terminal.exit_code(), 0);
}
