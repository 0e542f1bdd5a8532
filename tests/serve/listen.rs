//! Where it listens, and why not.

use std::os::unix::net::UnixStream;

use rustix::process::Signal;

use crate::harness::{BARE, Client, Directory, Server, command, has_ipv6, onepoll, run, untimed};

#[test]
fn the_first_line_names_the_address_really_bound() {
    let server = Server::bare(&[]);
    let (host, port) = server.addresses[0].rsplit_once(':').expect("host and port");
    assert_eq!(host, "127.0.0.1");
    assert_ne!(port, "0");
    server.join();
}

#[test]
fn several_listeners_serve_one_room() {
    let directory = Directory::new();
    let socket = directory.socket("chat");
    let mut server =
        Server::bare(&["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--listen", &socket]);
    server.next_address();
    assert_eq!(server.next_address(), socket);
    let mut members: Vec<Client> =
        server.addresses.iter().map(|address| Client::connect(address).greeted()).collect();
    members[0].say("hello");
    let said = format!("{}: hello", members[0].name);
    for member in &mut members {
        assert_eq!(untimed(&member.line()), said);
    }
    assert!(members[2].name.starts_with("unix#"), "{}", members[2].name);
}

#[test]
fn an_address_of_another_machine_cannot_be_bound() {
    // 192.0.2.0/24 is nobody's (RFC 5737).
    let (code, _, stderr) = run(command(&["--listen", "192.0.2.1:0"]));
    assert_eq!(code, 3);
    assert!(stderr.contains("192.0.2.1"), "{stderr}");
}

#[test]
fn ipv6_addresses_stand_in_brackets() {
    if !has_ipv6() {
        return;
    }
    let server = Server::bare(&["--listen", "[::1]:0"]);
    assert!(server.addresses[0].starts_with("[::1]:"));
    let mut ann = server.join();
    assert!(ann.name.starts_with("[::1]:"), "{}", ann.name);
    let name = ann.name.clone();
    assert_eq!(ann.echo("hi"), format!("{name}: hi"));
}

#[test]
fn the_socket_of_a_successor_is_not_removed() {
    let directory = Directory::new();
    let address = directory.socket("chat");
    let mut first = Server::bare(&["--listen", &address]);
    std::fs::remove_file(directory.file("chat")).expect("the operator removes it");
    let second = Server::bare(&["--listen", &address]);
    first.signal(Signal::TERM);
    assert_eq!(first.exit_code(), 0);
    second.join();
}

#[test]
fn a_failed_start_leaves_no_socket_behind() {
    let server = Server::bare(&[]);
    let directory = Directory::new();
    let arguments = ["--listen", &directory.socket("chat"), "--listen", &server.addresses[0]];
    assert_eq!(run(command(&arguments)).0, 3);
    assert!(!directory.file("chat").exists());
}

#[test]
fn a_unix_member_may_come_and_go_like_any_other() {
    let directory = Directory::new();
    let address = directory.socket("chat");
    let mut server = Server::start(&[&BARE[1..], &["--listen", &address]].concat());
    let mut ann = server.join_as("ann");
    let mut bob = server.join();
    bob.send("half a line");
    bob.half_close();
    ann.expect(&format!("{} joined", bob.name));
    assert_eq!(untimed(&bob.line()), format!("{}: half a line", bob.name));
    assert!(bob.rest_lines().is_empty());
    ann.expect("half a line");
    ann.expect("left");
    server.log().until(" left: ");
    // One that says nothing at all.
    drop(UnixStream::connect(directory.file("chat")).expect("the server accepts"));
    server.log().until(" left: ");
    assert!(ann.fence().is_empty());
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [&["--help"][..], &["--version"], &["serve", "--help"]] {
        let (code, stdout, stderr) = run(onepoll(arguments));
        assert_eq!(code, 0, "{arguments:?}");
        assert!(stdout.contains("onepoll") && stderr.is_empty(), "{arguments:?}");
    }
}
