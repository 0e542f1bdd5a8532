//! P1 to P6: newcomers, and a kernel that cannot take them.

use crate::faults::{Strace, can, in_network_of, wrap};
use crate::harness::{Client, Directory, Server, are_installed, command, is_installed, may_open, tool};

#[test]
fn p01_when_descriptors_run_out_members_are_served_and_accepting_goes_on_without_a_new_connect() {
    let mut server = Server::bare(&[]);
    let mut ann = server.join();
    let leaving: Vec<Client> = (0..10).map(|_| server.join()).collect();
    server.limit_descriptors(None);
    // In one turn: newcomers for whom there is no descriptor, and ten that come free behind them.
    let waiting: Vec<Client> = server.in_one_turn(|| {
        let waiting = (0..5).map(|_| server.connect()).collect();
        drop(leaving);
        waiting
    });
    assert!(ann.fence().is_empty());
    for newcomer in waiting {
        newcomer.greeted();
    }
    server.log().until("accept: Too many open files");
}

#[test]
fn p01_without_descriptors_newcomers_are_told_members_served_and_nothing_spins() {
    let mut server = Server::bare(&["--idle", "3"]);
    let mut ann = server.join();
    server.limit_descriptors(None);
    let before = server.cpu_ticks();
    for _ in 0..5 {
        let mut refused = server.connect();
        assert_eq!(refused.rest_lines(), ["-- the server is full: try again later --"]);
        assert!(ann.fence().is_empty());
    }
    assert!(ann.rest_lines()[0].contains("you said nothing"));
    let used = server.cpu_ticks() - before;
    assert!(used <= 30, "{used} ticks of 10 ms in 3 s");
    server.log().until("refused: server full");
}

/// Two connect at once where `accept` fails `times` times with `error`, and nobody after them.
fn two_newcomers_meet(error: &str, times: u32, arguments: &[&str]) -> Option<(Server, Vec<Client>)> {
    let server = Server::bare(arguments);
    let inject = format!("accept4:error={error}:when=1..{times}");
    let strace = Strace::attach(&server, "accept4", &[&inject])?;
    let newcomers: Vec<Client> = server.in_one_turn(|| (0..2).map(|_| server.connect()).collect());
    let newcomers = newcomers.into_iter().map(Client::greeted).collect();
    let calls = strace.detach();
    assert!(calls.iter().any(|call| call.contains("INJECTED")), "{error} was not met: {calls:?}");
    Some((server, newcomers))
}

#[test]
fn p02_without_memory_or_files_in_the_whole_system_newcomers_wait_and_it_is_told_and_counted_for_what() {
    for (error, why, of) in [
        ("EMFILE", "Too many open files", "descriptors"),
        ("ENFILE", "Too many open files in system", "files"),
        ("ENOBUFS", "No buffer space available", "buffers"),
        ("ENOMEM", "Cannot allocate memory", "memory"),
    ] {
        let directory = Directory::new();
        let stats = directory.socket("stats");
        let met = two_newcomers_meet(error, 1, &["--stats", &stats]);
        let Some((mut server, mut newcomers)) = met else { return };
        server.log().until(&format!("accept: {why}"));
        let mut page = Client::connect(&stats);
        page.send("GET /metrics HTTP/1.0\r\n\r\n");
        page.until(&format!("onepoll_accept_shortages_total{{of=\"{of}\"}} 1"));
        assert!(newcomers[0].ask("/who").ends_with("; 1 listening --"));
    }
}

#[test]
fn p02_a_shortage_that_lasts_ends_neither_the_server_nor_its_members() {
    let server = Server::bare(&[]);
    let mut ann = server.join();
    // Two attempts fail, and then the one on the descriptor that is kept in reserve.
    let Some(strace) = Strace::attach(&server, "accept4", &["accept4:error=ENFILE:when=1..3"]) else {
        return;
    };
    let waiting = server.connect();
    assert!(ann.fence().is_empty());
    waiting.greeted();
    assert_eq!(strace.detach().iter().filter(|call| call.contains("INJECTED")).count(), 3);
}

#[test]
fn p03_an_error_of_one_newcomer_costs_the_next_no_wakeup() {
    for error in ["ECONNABORTED", "EINTR", "EPROTO", "ENETUNREACH"] {
        let Some((mut server, _newcomers)) = two_newcomers_meet(error, 2, &[]) else { return };
        server.operate("quit");
        let log = server.log().rest_lines();
        assert!(!log.iter().any(|line| line.contains("accept:")), "{error} is nobody's concern: {log:?}");
    }
}

#[test]
fn p03_an_unknown_error_of_accept_is_logged_and_tried_again() {
    let Some((mut server, _newcomers)) = two_newcomers_meet("EPERM", 1, &[]) else { return };
    server.log().until("accept: Operation not permitted");
}

#[test]
fn p04_a_storm_of_newcomers_keeps_no_member_waiting() {
    let server = Server::bare(&[]);
    let mut ann = server.join_as("ann");
    let Some(strace) = Strace::attach(&server, "accept4,recvfrom", &[]) else { return };
    let crowd: Vec<Client> = server.in_one_turn(|| {
        ann.say("hello");
        (0..500).map(|_| server.connect()).collect()
    });
    for newcomer in crowd {
        newcomer.greeted();
    }
    let calls = strace.detach();
    let accepted = |calls: &[String]| {
        calls.iter().filter(|call| call.starts_with("accept4(") && !call.contains("= -1")).count()
    };
    assert_eq!(accepted(&calls), 500);
    let heard = calls.iter().position(|call| call.starts_with("recvfrom(") && call.contains("hello"));
    let before = accepted(&calls[..heard.expect("ann was heard")]);
    assert!(
        before <= 2 * onepoll::limits::ACCEPTS_PER_TURN_MAX,
        "{before} were accepted before ann was heard"
    );
}

#[test]
fn p05_two_thousand_who_connect_at_once_are_all_greeted() {
    if !may_open(2500) {
        return;
    }
    let server = Server::start(&["--max-clients", "2200", "--quiet"]);
    // Stopped, the server finds them all waiting at once.
    let mut crowd: Vec<Client> = server.in_one_turn(|| (0..2000).map(|_| server.connect()).collect());
    for member in &mut crowd {
        member.expect("-- you are ");
    }
    let last = crowd.last_mut().expect("one");
    last.say("hello everyone");
    for member in &mut crowd {
        member.expect("hello everyone");
    }
}

#[test]
fn p05_the_queue_of_newcomers_is_as_long_as_the_kernel_lets_it_be() {
    if !is_installed("ss") {
        return;
    }
    let somaxconn = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("/proc is there");
    let somaxconn: u64 = somaxconn.trim().parse().expect("a number");
    let server = Server::bare(&[]);
    let port = server.addresses[0].rsplit_once(':').expect("a port").1;
    let output = tool("ss").args(["-ltnH", &format!("sport = :{port}")]).output().expect("ss runs");
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    // Of a listener, `Send-Q` is the backlog.
    let backlog: u64 = line.split_whitespace().nth(2).expect("Send-Q").parse().expect("a number");
    assert!(backlog >= somaxconn.min(1024), "{line:?}, and {somaxconn} are allowed");
}

/// Newcomers to a server that does not accept, whose queue takes two: each a SYN, of which most are lost.
const CROWD: &str = "import socket, sys
host, port = sys.argv[1].split(':')
sockets = [socket.socket() for _ in range(20)]
for each in sockets:
    each.setblocking(False)
    each.connect_ex((host, int(port)))
print('came')";

#[test]
fn p05_newcomers_that_the_kernel_lost_are_counted_where_the_figures_are() {
    if !are_installed(&["python3", "curl", "ip"]) || !can("unshare --net true") {
        return;
    }
    let directory = Directory::new();
    let place = directory.socket("stats");
    let mut command = command(&["--quiet", "--stats", &place]);
    let script = "ip link set lo up && echo 1 > /proc/sys/net/core/somaxconn && exec \"$@\"";
    wrap(&mut command, &["unshare", "--net", "/bin/sh", "-c", script, "sh"]);
    let mut server = Server::spawn(command);
    server.console().line();
    let figure = || {
        let path = place.trim_start_matches("unix:");
        let mut curl = tool("curl");
        curl.args(["-sS", "--max-time", "20", "--unix-socket", path, "http://localhost/metrics"]);
        let page = String::from_utf8(curl.output().expect("it is installed").stdout).expect("text");
        let line = page.lines().find_map(|line| line.strip_prefix("onepoll_listen_overflows_total "));
        line.unwrap_or_else(|| panic!("not there: {page}")).parse::<u64>().expect("a number")
    };
    assert_eq!(figure(), 0);
    server.in_one_turn(|| {
        let address = &server.addresses[0];
        let output = in_network_of(&server, &["python3", "-c", CROWD, address]).output();
        assert_eq!(output.expect("it is installed").stdout, b"came\n");
    });
    assert!((1..=40).contains(&figure()), "{}", figure());
}

#[test]
fn p06_who_resets_before_it_is_accepted_is_no_loss() {
    let server = Server::bare(&[]);
    let mut ann = server.join();
    for _ in 0..10 {
        server.in_one_turn(|| (0..1000).for_each(|_| server.connect().reset()));
        server.join();
    }
    ann.ask_until("/who", "-- 1 in lobby");
}

#[test]
fn p06_no_socket_option_or_name_that_the_kernel_refuses_ends_the_server() {
    let directory = Directory::new();
    let path = directory.socket("chat");
    let mut server = Server::bare(&["--listen", "127.0.0.1:0", "--listen", &path]);
    server.next_address();
    let mut ann = server.join();
    let injected =
        ["getpeername,getsockname,setsockopt,getsockopt,fcntl:error=EINVAL", "shutdown:error=ENOTCONN"];
    let traced = "getpeername,getsockname,setsockopt,getsockopt,fcntl,shutdown";
    let Some(strace) = Strace::attach(&server, traced, &injected) else { return };
    for address in &server.addresses {
        let mut newcomer = Client::connect(address).greeted();
        newcomer.say("quit");
        newcomer.expect("-- bye --");
        assert!(newcomer.rest_lines().is_empty());
    }
    let calls = strace.detach();
    assert!(calls.iter().any(|call| call.contains("INJECTED")), "{calls:?}");
    assert!(ann.ask("/who").contains("1 in lobby"));
}

#[test]
fn p06_a_newcomer_that_cannot_be_watched_is_closed_and_the_next_is_served() {
    let mut server = Server::bare(&[]);
    let mut ann = server.join();
    let Some(_strace) = Strace::attach(&server, "epoll_ctl", &["epoll_ctl:error=ENOSPC:when=1"]) else {
        return;
    };
    assert!(server.connect().rest().is_empty());
    server.join();
    assert!(ann.fence().is_empty());
    server.log().until("a newcomer cannot be watched");
}
