//! P19 to P22, P40: those who hold on to what others need, places, memory, the log, and those who come and come.

use std::process::{Child, ChildStdout, Command};
use std::time::Instant;

use crate::faults::{can, in_network_of, memory_kib, wrap};
use crate::harness::{Client, Lines, Server, are_installed, command, is_installed};

#[test]
fn p19_a_slow_drip_keeps_nobody_waiting() {
    let server = Server::bare(&[]);
    let mut ann = server.join_as("ann");
    let mut drips: Vec<Client> = (0..50).map(|_| server.join()).collect();
    for round in 0..20 {
        for drip in &mut drips {
            drip.send("x");
        }
        assert_eq!(ann.echo(&round.to_string()), format!("ann: {round}"));
        // A newcomer is served at once, too.
        server.join();
    }
}

/// `nc` in the network of a server's own, from one of its addresses.
pub struct Guest {
    process: Child,
    pub lines: Lines<ChildStdout>,
}

impl Guest {
    pub fn from(server: &Server, source: &str) -> Self {
        let (host, port) = server.addresses[0].rsplit_once(':').expect("host and port");
        let host = host.trim_matches(['[', ']']);
        // What it complains of is its first line, where the test shows it.
        let nc = ["/bin/sh", "-c", "exec nc \"$@\" 2>&1", "sh", "-s", source, host, port];
        let mut process = in_network_of(server, &nc).spawn().expect("it is installed");
        let lines = Lines::new(process.stdout.take().expect("piped"));
        Guest { process, lines }
    }

    pub fn say(&mut self, bytes: &[u8]) {
        let stdin = self.process.stdin.as_mut().expect("piped");
        std::io::Write::write_all(stdin, bytes).expect("nc takes it");
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A server in a network of its own, which has these addresses.
#[track_caller]
pub fn server_at(addresses: &[&str], mut command: Command) -> Option<Server> {
    if !are_installed(&["nc", "ip"]) || !can("unshare --net ip link set lo up") {
        return None;
    }
    // The kernel adds the route to an IPv6 address later, from a queue of work: until then the address is there,
    // and cannot be reached.
    let add_one = |address: &&str| {
        let (host, _) = address.split_once('/').expect("an address and its prefix");
        let at_once = if host.contains(':') { "nodad" } else { "" };
        format!(
            "ip addr add {address} dev lo {at_once} && \
             until case $(ip route get {host}) in local*) true ;; *) false ;; esac; do :; done"
        )
    };
    let add: Vec<String> = addresses.iter().map(add_one).collect();
    let script = format!("ip link set lo up && {} && exec \"$@\"", add.join(" && "));
    wrap(&mut command, &["unshare", "--net", "/bin/sh", "-c", &script, "sh"]);
    Some(Server::spawn(command))
}

const FULL: &str = "-- too many connections from your address: 2 at most --";

#[test]
fn p20_one_address_takes_only_its_share_of_places_and_the_operator_keeps_the_console() {
    let addresses = ["198.51.100.1/24", "198.51.100.2/24"];
    let listen = ["--quiet", "--max-per-ip", "2", "--listen", "198.51.100.1:0"];
    let Some(mut server) = server_at(&addresses, command(&listen)) else { return };
    let mut greedy: Vec<Guest> = (0..10).map(|_| Guest::from(&server, "198.51.100.1")).collect();
    let mut firsts: Vec<String> = greedy.iter_mut().map(|guest| guest.lines.line()).collect();
    firsts.sort_unstable();
    assert_eq!(firsts.iter().filter(|line| line.contains("-- you are ")).count(), 2, "{firsts:?}");
    assert_eq!(firsts.iter().filter(|line| *line == FULL).count(), 8, "{firsts:?}");
    Guest::from(&server, "198.51.100.2").lines.expect("-- you are ");
    assert!(server.answer("clients").iter().filter(|line| line.contains("198.51.100.1:")).count() == 2);
}

#[test]
fn p20_an_ipv6_network_counts_as_one_address() {
    let addresses =
        ["2001:db8:0:1::1/64", "2001:db8:0:1::2/64", "2001:db8:0:1:ffff::/64", "2001:db8:0:2::1/64"];
    let listen = ["--quiet", "--max-per-ip", "2", "--listen", "[2001:db8:0:1::1]:0"];
    let Some(server) = server_at(&addresses, command(&listen)) else { return };
    let mut guests = Vec::new();
    for (source, word) in [
        ("2001:db8:0:1::1", "-- you are "),
        ("2001:db8:0:1::2", "-- you are "),
        ("2001:db8:0:1:ffff::", FULL),
        ("2001:db8:0:2::1", "-- you are "),
    ] {
        let mut guest = Guest::from(&server, source);
        guest.lines.expect(word);
        guests.push(guest);
    }
}

/// What a newcomer reads who has to wait, before and behind the seconds.
const BUSY: (&str, &str) = ("-- too many newcomers from your address: try again in ", " s --");

/// The seconds that it is told to wait.
fn wait_of(line: &str) -> Option<u64> {
    line.strip_prefix(BUSY.0)?.strip_suffix(BUSY.1)?.parse().ok()
}

#[test]
fn p40_newcomers_of_one_address_have_to_wait_once_its_burst_is_spent_and_others_do_not() {
    let addresses = [
        "198.51.100.1/24",
        "198.51.100.2/24",
        "2001:db8:0:1::1/64",
        "2001:db8:0:1:ffff::/64",
        "2001:db8:0:2::1/64",
    ];
    let listen = ["--quiet", "--connect-rate", "2:3", "--listen", ":0"];
    let Some(mut server) = server_at(&addresses, command(&listen)) else { return };
    let port = server.addresses[0].rsplit_once(':').expect("a port").1.to_string();
    server.next_address();
    for (host, source, others) in [
        ("198.51.100.1", "198.51.100.1", ["198.51.100.2", "198.51.100.2"]),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::", ["2001:db8:0:2::1", "2001:db8:0:2::1"]),
        ("127.0.0.1", "127.0.0.2", ["127.0.0.2"; 2]),
    ] {
        server.addresses[0] = format!("[{host}]:{port}");
        let is_exempt = host.starts_with("127.");
        for _ in 0..3 {
            Guest::from(&server, source).lines.expect("-- you are ");
        }
        for _ in 0..2 {
            let line = Guest::from(&server, host).lines.line();
            let wait = wait_of(&line);
            assert!(if is_exempt { wait.is_none() } else { (1..=30).contains(&wait.unwrap_or(0)) }, "{line}");
        }
        for other in others {
            Guest::from(&server, other).lines.expect("-- you are ");
        }
    }
    let stats = server.answer("stats").join("\n");
    assert!(stats.contains("4: connect_rate"), "{stats}");
    let closed = server.answer("closed").join("\n");
    assert!(closed.contains("s too early  raise --connect-rate, if many share the address"), "{closed}");
    let log = server.log().until("refused: too many newcomers from its address: ");
    assert!(log.last().is_some_and(|line| line.ends_with(" s too early (--connect-rate)")), "{log:?}");
}

#[test]
fn p40_a_flood_of_newcomers_from_one_address_costs_a_line_each_no_memory_and_nobody_a_place() {
    if !is_installed("python3") {
        return;
    }
    let addresses = ["198.51.100.1/24", "198.51.100.2/24"];
    let Some(mut server) = server_at(&addresses, command(&["--quiet", "--listen", "198.51.100.1:0"])) else {
        return;
    };
    let mut ann = Guest::from(&server, "198.51.100.2");
    ann.lines.expect("-- you are ");
    let flood = |newcomers: usize| {
        let script = "import socket, sys
host, port = sys.argv[1].split(':')
lines = [socket.create_connection((host, int(port))).makefile().readline() for _ in range(int(sys.argv[2]))]
print(sum('too many newcomers' in line for line in lines))";
        let arguments = ["python3", "-c", script, &server.addresses[0], &newcomers.to_string()];
        let output = in_network_of(&server, &arguments).output().expect("it is installed");
        let refused = String::from_utf8_lossy(&output.stdout).trim().parse::<usize>();
        let refused = refused.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        (newcomers - refused, memory_kib(&server, "VmRSS"))
    };
    // A token a second comes back meanwhile.
    let began = Instant::now();
    let (admitted, before) = flood(500);
    let (more_admitted, after) = flood(2000);
    let admitted_max = 64 + began.elapsed().as_secs() as usize + 1;
    assert!((64..=admitted_max).contains(&(admitted + more_admitted)), "{admitted}, {more_admitted}");
    assert!(after.saturating_sub(before) < 256, "{before} KiB, then {after}");
    Guest::from(&server, "198.51.100.2").lines.expect("-- you are ");
    let closed = server.answer("closed").join("\n");
    assert!(closed.contains("--connect-rate"), "{closed}");
}

#[test]
fn p21_thousands_who_come_talk_and_go_leave_no_memory_behind() {
    let server = Server::start(&["--rate", "off", "--log-bytes", "64K"]);
    let mut ann = server.join_as("ann");
    let mut resident = Vec::new();
    for _ in 0..6 {
        for number in 0..500 {
            let mut client = server.join();
            client.say(&format!("/nick guest{number}"));
            client.say(&format!("/join room{number}"));
            client.say("hello");
            match number % 3 {
                0 => client.reset(),
                1 => {
                    client.say("quit");
                    client.rest();
                }
                _ => drop(client.fence()),
            }
        }
        ann.ask_until("/who", "-- 1 in lobby");
        ann.fence();
        resident.push(memory_kib(&server, "VmRSS"));
    }
    let grown = resident[5].saturating_sub(resident[2]);
    assert!(grown <= 512, "{grown} KiB in 1,500 visits: {resident:?}");
}

#[test]
fn p22_a_standard_error_that_nobody_reads_stops_nobody() {
    // A pipe takes 64 KiB; -vv writes more than that many lines.
    let server = Server::bare(&["-vv", "--rate", "off"]);
    let mut ann = server.join_as("ann");
    for number in 0..3000 {
        assert_eq!(ann.echo(&format!("{number:0100}")), format!("ann: {number:0100}"));
    }
    for _ in 0..200 {
        server.join();
    }
}

#[test]
fn p22_a_flood_of_events_is_no_flood_of_log_lines() {
    use onepoll::limits::{LOG_LINES_PER_WINDOW, LOG_WINDOW};
    let mut server = Server::bare(&["--max-clients", "20"]);
    let began = Instant::now();
    let mut ann = server.join();
    let crowd: Vec<Client> = (1..20).map(|_| server.join()).collect();
    for _ in 0..400 {
        assert!(server.connect().line().contains("the server is full"));
    }
    drop(crowd);
    ann.ask_until("/who", "-- 1 in lobby");
    for _ in 0..400 {
        server.join().reset();
        ann.ask_until("/who", "-- 1 in lobby");
    }
    server.operate("quit");
    let log = server.log().rest_lines();
    let windows = began.elapsed().as_secs() / LOG_WINDOW.as_secs() + 1;
    let lines_max = windows * u64::from(LOG_LINES_PER_WINDOW);
    for kind in [": refused:", ": connected", ": left:"] {
        let lines = log.iter().filter(|line| line.contains(kind)).count() as u64;
        assert!((1..=lines_max).contains(&lines), "{lines} lines of {kind:?} in {windows} windows");
    }
}
