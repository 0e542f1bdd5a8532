//! Where it listens, and why not.

use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;

use rustix::process::Signal;

use crate::harness::{BARE, Client, Directory, Server, command, run, untimed};

fn has_ipv6() -> bool {
    let has = TcpListener::bind("[::1]:0").is_ok();
    if !has {
        eprintln!("skipped: this machine has no IPv6");
    }
    has
}

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
fn a_second_bind_to_an_address_says_where_why_and_who() {
    let server = Server::bare(&[]);
    let address = &server.addresses[0];
    let port = address.rsplit_once(':').expect("a port").1;
    let (code, stdout, stderr) = run(command(&["--listen", address]));
    assert_eq!(code, 3);
    assert!(stdout.is_empty(), "{stdout}");
    assert!(stderr.starts_with("onepoll: "), "{stderr}");
    assert!(stderr.contains(address), "{stderr}");
    assert!(stderr.contains("in use"), "{stderr}");
    assert!(stderr.contains(&format!("ss -tlnp 'sport = :{port}'")), "{stderr}");
    server.join();
}

#[test]
fn an_address_of_another_machine_cannot_be_bound() {
    // 192.0.2.0/24 is nobody's (RFC 5737).
    let (code, _, stderr) = run(command(&["--listen", "192.0.2.1:0"]));
    assert_eq!(code, 3);
    assert!(stderr.contains("192.0.2.1"), "{stderr}");
}

#[test]
fn a_restart_after_kill_finds_its_port_free() {
    let mut server = Server::bare(&[]);
    let address = server.addresses[0].clone();
    let mut members: Vec<Client> = (0..5).map(|_| server.join()).collect();
    // The server's end closes first, and so is the one that the kernel remembers for a minute.
    server.kill();
    for member in &mut members {
        let _ = member.rest_or_error();
    }
    let server = Server::bare(&["--listen", &address]);
    assert_eq!(server.addresses[0], address);
    server.join();
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
fn a_bare_port_is_both_families_on_one_port() {
    if !has_ipv6() {
        return;
    }
    let mut server = Server::bare(&["--listen", ":0"]);
    server.next_address();
    let port = |address: &str| address.rsplit_once(':').expect("a port").1.to_string();
    assert!(server.addresses[0].starts_with("[::]:"), "{:?}", server.addresses);
    assert!(server.addresses[1].starts_with("0.0.0.0:"), "{:?}", server.addresses);
    let port = port(&server.addresses[0]);
    assert!(server.addresses[1].ends_with(&format!(":{port}")), "{:?}", server.addresses);
    let mut four = Client::connect(&format!("127.0.0.1:{port}")).greeted();
    let mut six = Client::connect(&format!("[::1]:{port}")).greeted();
    assert!(four.name.starts_with("127.0.0.1:"), "{}", four.name);
    four.say("hello");
    assert_eq!(untimed(&six.line()), format!("{}: hello", four.name));
}

#[test]
fn an_ipv6_wildcard_leaves_ipv4_to_others() {
    if !has_ipv6() {
        return;
    }
    let server = Server::bare(&["--listen", "[::]:0"]);
    let port = server.addresses[0].rsplit_once(':').expect("a port").1;
    // Were the socket of both families, this would be in use.
    let four = TcpListener::bind(format!("0.0.0.0:{port}"));
    assert!(four.is_ok(), "{four:?}");
}

#[test]
fn a_unix_socket_is_its_owners_alone_and_gone_at_the_end() {
    let directory = Directory::new();
    let path = directory.file("chat");
    let mut server = Server::bare(&["--listen", &directory.socket("chat")]);
    let metadata = std::fs::metadata(&path).expect("the socket is there");
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    let mut ann = server.join();
    assert!(ann.echo("hi").ends_with(": hi"));
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), 0);
    assert!(!path.exists());
}

#[test]
fn a_socket_that_a_killed_server_left_is_replaced() {
    let directory = Directory::new();
    let address = directory.socket("chat");
    let mut server = Server::bare(&["--listen", &address]);
    server.kill();
    assert!(directory.file("chat").exists());
    let server = Server::bare(&["--listen", &address]);
    server.join();
}

#[test]
fn a_socket_that_somebody_serves_is_left_alone() {
    let directory = Directory::new();
    let address = directory.socket("chat");
    let server = Server::bare(&["--listen", &address]);
    let (code, _, stderr) = run(command(&["--listen", &address]));
    assert_eq!(code, 3);
    assert!(stderr.contains(&address) && stderr.contains("in use"), "{stderr}");
    server.join();
}

#[test]
fn a_file_that_is_no_socket_is_never_removed() {
    let directory = Directory::new();
    let file = directory.file("precious");
    std::fs::write(&file, "precious").expect("a file");
    let (code, _, stderr) = run(command(&["--listen", &directory.socket("precious")]));
    assert_eq!(code, 3);
    assert!(stderr.contains("no socket"), "{stderr}");
    assert_eq!(std::fs::read_to_string(&file).expect("still there"), "precious");
    let link = directory.file("link");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    assert_eq!(run(command(&["--listen", &directory.socket("link")])).0, 3);
    assert!(link.symlink_metadata().is_ok() && file.exists());
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
    let server = Server::start(&[&BARE[1..], &["--listen", &address]].concat());
    let mut ann = server.join_as("ann");
    let mut bob = server.join();
    ann.expect(&format!("{} joined", bob.name));
    bob.send("half a line");
    bob.half_close();
    assert_eq!(untimed(&bob.line()), format!("{}: half a line", bob.name));
    assert!(bob.rest_lines().is_empty());
    ann.expect("half a line");
    ann.expect("left");
    // One that says nothing at all.
    drop(UnixStream::connect(directory.file("chat")).expect("the server accepts"));
    let lines = ann.until("left");
    assert!(lines.len() <= 2, "{lines:?}");
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [&["--help"][..], &["--version"], &["serve", "--help"]] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_onepoll"));
        command.args(arguments).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let (code, stdout, stderr) = run(command);
        assert_eq!(code, 0, "{arguments:?}");
        assert!(stdout.contains("onepoll") && stderr.is_empty(), "{arguments:?}");
    }
}
