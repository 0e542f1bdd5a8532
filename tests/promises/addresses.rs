//! P24, P25, P27 and P28: addresses that are taken, that are two, or that are files.

use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use rustix::process::Signal;

use crate::faults::{can, under_strace, wrap};
use crate::harness::{
    Client, Directory, Server, are_installed, command, has_ipv6, run, tool, until, untimed,
};

#[test]
fn p24_a_second_bind_to_an_address_says_where_why_and_who() {
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
fn p24_a_restart_after_kill_finds_its_port_free() {
    // At an address that nobody else uses: no other test can come to have the port meanwhile.
    let mut server = Server::bare(&["--listen", "127.0.24.1:0"]);
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
fn p25_a_bare_port_is_both_families_on_one_port() {
    if !has_ipv6() {
        return;
    }
    let mut server = Server::bare(&["--listen", ":0", "--names", "address"]);
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
fn p25_an_ipv6_wildcard_leaves_ipv4_to_others() {
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
fn p25_an_ipv4_peer_is_the_same_by_its_ipv6_name() {
    if !has_ipv6() {
        return;
    }
    let mut server = Server::bare(&["--listen", ":0", "--names", "address"]);
    server.next_address();
    let port = server.addresses[0].rsplit_once(':').expect("a port").1;
    let mapped = Client::connect(&format!("[::ffff:127.0.0.1]:{port}")).greeted();
    assert!(mapped.name.starts_with("127.0.0.1:"), "{}", mapped.name);
    assert!(server.answer("clients").iter().all(|line| !line.contains("::ffff:")));
}

#[test]
fn p27_a_socket_that_a_killed_server_left_is_replaced() {
    let directory = Directory::new();
    let address = directory.socket("chat");
    let mut server = Server::bare(&["--listen", &address]);
    server.kill();
    assert!(directory.file("chat").exists());
    let server = Server::bare(&["--listen", &address]);
    server.join();
}

#[test]
fn p27_a_socket_that_somebody_serves_is_left_alone() {
    let directory = Directory::new();
    let address = directory.socket("chat");
    let server = Server::bare(&["--listen", &address]);
    let (code, _, stderr) = run(command(&["--listen", &address]));
    assert_eq!(code, 3);
    assert!(stderr.contains(&address) && stderr.contains("in use"), "{stderr}");
    server.join();
}

#[test]
fn p27_a_file_that_is_no_socket_is_never_removed() {
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
fn p28_a_unix_socket_is_its_owners_alone_and_gone_at_the_end() {
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
fn p28_a_unix_socket_is_never_open_to_others_not_even_while_it_is_made() {
    let directory = Directory::new();
    let (path, address) = (directory.file("chat"), directory.socket("chat"));
    // It takes its time from there on, which is when a later chmod would come.
    let slow = ["-qq", "-o", "/dev/null", "-e", "trace=bind", "-e", "inject=bind:delay_exit=300000"];
    let Some(mut command) = under_strace(&slow, &["serve", "--listen", &address]) else { return };
    wrap(&mut command, &["/bin/sh", "-c", "umask 0; exec \"$@\"", "sh"]);
    let watcher = std::thread::spawn(move || {
        let mut mode = 0;
        until("the socket is there", || match std::fs::metadata(&path) {
            Ok(metadata) => {
                mode = metadata.permissions().mode() & 0o777;
                true
            }
            Err(_) => false,
        });
        mode
    });
    let server = Server::spawn(command);
    assert_eq!(watcher.join().expect("it came to be"), 0o600);
    server.join();
    other_users_are_refused(&directory);
}

/// Only root can be somebody else.
fn other_users_are_refused(directory: &Directory) {
    let probe = "setpriv --reuid 65534 --regid 65534 --clear-groups true";
    if !are_installed(&["setpriv", "nc"]) || !can(probe) {
        return;
    }
    let output = tool("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "nc", "-U"])
        .arg(directory.file("chat"))
        .stdin(std::process::Stdio::null())
        .output()
        .expect("it is installed");
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && why.contains("Permission denied"), "{why}");
}
