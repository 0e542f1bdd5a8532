//! Addresses: this machine's alone, unless it is meant otherwise.

use std::io::Write;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use rustix::process::Signal;

use crate::harness::{BARE, Client, Directory, Server, command, run};
use crate::reader::{ask, get, watched, watched_at};

/// Sockets that a process listens on, by `/proc`.
fn listening(server: &Server) -> usize {
    let pid = server.pid().as_raw_nonzero();
    let links: Vec<String> = server
        .descriptors()
        .iter()
        .filter_map(|number| std::fs::read_link(format!("/proc/{pid}/fd/{number}")).ok())
        .map(|link| link.display().to_string())
        .collect();
    let is_ours = |inode: &str| links.contains(&format!("socket:[{inode}]"));
    // proc(5): state 0A is LISTEN, flag 10000 __SO_ACCEPTCON.
    let tcp = [server.proc("net/tcp"), server.proc("net/tcp6")].concat();
    let tcp = tcp.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let unix = server.proc("net/unix");
    let unix = unix.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    tcp.filter(|row| row.get(3) == Some(&"0A") && is_ours(row[9])).count()
        + unix.filter(|row| row.get(3) == Some(&"00010000") && is_ours(row[6])).count()
}

#[test]
fn without_the_flag_there_is_the_chat_s_port_and_no_other() {
    let directory = Directory::new();
    assert_eq!(listening(&Server::start(&BARE)), 1);
    assert_eq!(listening(&watched(&BARE).server), 2);
    assert_eq!(listening(&watched_at(&directory.socket("stats"), &BARE).server), 2);
}

#[test]
fn an_address_that_others_reach_is_refused_with_the_remedy() {
    for place in ["0.0.0.0:0", "[::]:0", ":0"] {
        let (code, out, error) = run(command(&["--stats", place]));
        assert_eq!((code, &*out), (2, ""), "{place}: {error}");
        for part in [place, "127.0.0.1", "unix:PATH", "--stats-public"] {
            assert!(error.contains(part), "{part} is missing in {error}");
        }
    }
}

#[test]
fn an_address_that_others_reach_is_taken_where_it_is_meant() {
    let watched = watched_at("0.0.0.0:0", &["--stats-public"]);
    let port = watched.address.strip_prefix("0.0.0.0:").expect("all of this machine's");
    let address = format!("127.0.0.1:{port}");
    assert_eq!(get(&address, "/metrics").status, 200);
    assert_eq!(ask(&address, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    let (code, _, error) = run(command(&["--stats-public"]));
    assert_eq!(code, 2);
    assert!(error.contains("--stats"), "{error}");
}

#[test]
fn an_address_that_cannot_be_is_named_and_nothing_is_served() {
    let other = Server::start(&BARE);
    let (code, out, error) = run(command(&["--stats", &other.addresses[0]]));
    assert_eq!((code, &*out), (3, ""));
    assert!(error.contains(&other.addresses[0]) && error.contains("in use"), "{error}");
    let (code, _, error) = run(command(&["--stats", "udp:127.0.0.1:0"]));
    assert_eq!(code, 2);
    assert!(error.contains("stream"), "{error}");
}

#[test]
fn the_file_of_a_unix_socket_is_the_owner_s_goes_with_the_server_and_replaces_what_a_kill_left() {
    let directory = Directory::new();
    let (place, file) = (directory.socket("stats"), directory.file("stats"));
    let mut killed = watched_at(&place, &BARE);
    let mode = std::fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    killed.server.kill();
    assert!(std::fs::metadata(&file).expect("it was left").file_type().is_socket());
    let mut watched = watched_at(&place, &BARE);
    assert_eq!(get(&watched.address, "/metrics").status, 200);
    watched.server.operate("quit");
    assert_eq!(watched.server.exit_code(), 0);
    assert!(!file.exists());
}

#[test]
fn the_end_waits_for_no_visitor() {
    // A drain that would outlast the test.
    let mut watched = watched(&["--drain", "1000", "--linger", "1000"]);
    let mut asking = Client::connect(&watched.address);
    asking.send("GET /metrics HT");
    let silent = Client::connect(&watched.address);
    // Who has its answer, and says on and on that it is there.
    let mut eager = Client::connect(&watched.address);
    eager.send("GET /metrics HTTP/1.0\r\n\r\n");
    eager.line();
    let mut words = eager.tcp().try_clone().expect("a second handle");
    let eager_one = std::thread::spawn(move || while words.write_all(b"x").is_ok() {});
    watched.expect("connections_open", 0.0);
    watched.server.signal(Signal::TERM);
    assert_eq!(watched.server.exit_code(), 0);
    eager_one.join().expect("it ends with its connection");
    drop((asking, silent));
}

#[test]
fn visitors_take_no_client_s_place_and_clients_none_of_theirs() {
    let mut watched = watched(&["--max-clients", "1", "--max-per-ip", "1"]);
    let visitor = Client::connect(&watched.address);
    watched.expect("connections_open", 0.0);
    let mut ann = watched.server.join();
    ann.echo("hello");
    watched.expect("connections_open", 1.0);
    let figures = watched.figures();
    assert_eq!(figures["onepoll_connections_accepted_total"], 1.0);
    assert_eq!(figures["onepoll_connections_allowed"], 1.0);
    assert_eq!(figures["onepoll_received_bytes_total"], 6.0);
    assert_eq!(watched.server.answer("clients").last().map(String::as_str), Some("1 client"));
    drop(visitor);
}
