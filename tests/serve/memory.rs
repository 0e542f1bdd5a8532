//! `--show-limits` and `--max-memory`: what a server can come to hold is known before it serves anybody.

use crate::harness::{Client, Server, command, run};

/// The page of `--show-limits` with these arguments.
fn page(arguments: &[&str]) -> String {
    let (code, stdout, stderr) = run(command(&[arguments, &["--show-limits"]].concat()));
    assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}");
    stdout
}

/// The words of the row of a limit: its name, value, unit, who set it, its flag.
fn row(page: &str, limit: &str) -> Vec<String> {
    let row = page.lines().find(|line| line.split_whitespace().next() == Some(limit));
    row.expect("its row").split_whitespace().take(5).map(String::from).collect()
}

/// The ceiling, and the sum of the parts above it.
fn ceiling(page: &str) -> (u64, u64) {
    let table = page.split("\n\n").nth(1).expect("a table of memory");
    let mut sum = 0;
    for row in table.lines().skip(1) {
        let bytes: u64 = row.split_whitespace().next().expect("bytes").parse().expect("a number");
        if row.contains("at most: ") {
            return (bytes, sum);
        }
        sum += bytes;
    }
    panic!("no ceiling in {table}");
}

/// What one more client would add to the ceiling, in bytes, as the page rounds it.
fn one_more_client(page: &str) -> u64 {
    let kib = page.split("one more client is ").nth(1).and_then(|rest| rest.split(" KiB").next());
    (kib.expect("its size").parse::<f64>().expect("a number") * 1024.0) as u64
}

#[test]
fn every_limit_is_shown_with_its_value_its_unit_and_who_set_it() {
    let page = page(&[
        "--max-clients",
        "7",
        "--max-per-ip",
        "100",
        "--log-bytes",
        "8K",
        "--idle",
        "90",
        "--slow",
        "wait:2",
        "--rate",
        "off",
    ]);
    for expected in [
        ["clients", "7", "clients", "flag", "--max-clients"],
        ["clients_per_ip", "100", "clients", "flag", "--max-per-ip"],
        ["connect_rate", "60:100", "connects/min", "default", "--connect-rate"],
        ["line_bytes", "2645", "bytes", "log-bytes", "--max-line"],
        ["reader_lag", "8192", "bytes", "flag", "--log-bytes"],
        ["nick_bytes", "32", "bytes", "fixed", "-"],
        ["rate", "off", "lines/s", "flag", "--rate"],
        ["slow", "wait:2", "policy", "flag", "--slow"],
        ["idle", "90", "seconds", "flag", "--idle"],
    ] {
        assert_eq!(row(&page, expected[0]), expected);
    }
    assert_eq!(row(&page, "descriptors")[3], "system");
    for fixed in [
        ["stats_visitors", "8", "connections"],
        ["stats_patience", "5", "seconds"],
        ["recorded_addresses", "65536", "addresses"],
        ["recorded_zone_bytes", "8192", "bytes"],
        ["closes_kept", "100", "closes"],
        ["kick_reason_bytes", "256", "bytes"],
        ["keepalive_idle", "60", "seconds"],
        ["keepalive_interval", "15", "seconds"],
        ["keepalive_probes", "4", "questions"],
        ["stop_linger", "250", "milliseconds"],
    ] {
        assert_eq!(row(&page, fixed[0]), [&fixed[..], &["fixed", "-"]].concat());
    }
    let recorded = ["record_bytes", "1048576", "bytes", "flag", "--record-bytes"];
    let recording = self::page(&["--record", "/nowhere/tape", "--record-bytes", "1M"]);
    assert_eq!(row(&recording, "record_bytes"), recorded);
    assert_eq!(row(&page, "record_bytes")[1..4], ["67108864", "bytes", "default"]);
    assert_eq!(row(&self::page(&[]), "clients")[3], "descriptors");
    let (ceiling, sum) = ceiling(&page);
    assert_eq!(ceiling, sum, "the parts are all there is");
}

#[test]
fn the_largest_limits_have_a_ceiling_too() {
    let largest =
        ["--log-bytes", "1024M", "--private-bytes", "1024M", "--max-rooms", "1048576", "--max-line", "64K"];
    let most = [&largest[..], &["--max-rooms-per-client", "18446744073709551615"]].concat();
    assert!(ceiling(&page(&most)).0 > 1 << 50);
    let (code, _, stderr) = run(command(&[&most[..], &["--max-memory", "1G"]].concat()));
    assert!(code == 2 && stderr.contains("too little"), "{stderr}");
}

#[test]
fn limits_are_shown_without_anything_being_bound() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = held.local_addr().expect("bound").to_string();
    let page = page(&["--listen", &address, "--motd", "hello", "--format", "raw", "-v"]);
    assert!(page.starts_with("limit ") && !page.contains("listening"), "{page}");
}

#[test]
fn the_ceiling_grows_with_each_limit_that_costs_memory() {
    let small = [
        "--max-clients",
        "10",
        "--max-rooms",
        "4",
        "--log-bytes",
        "64K",
        "--private-bytes",
        "4K",
        "--connect-rate",
        "off",
    ];
    let (least, _) = ceiling(&page(&small));
    for (index, more) in [(1, "11"), (3, "5"), (5, "128K"), (7, "8K"), (9, "1")] {
        let mut larger = small;
        larger[index] = more;
        assert!(ceiling(&page(&larger)).0 > least, "{} {more}", small[index - 1]);
    }
}

/// The bytes and the count of a part of the memory; `None`: it is not there, or nothing.
fn part(page: &str, what: &str) -> Option<(u64, u64)> {
    let row = page.lines().find(|line| line.ends_with(&format!("  {what}")))?;
    let mut numbers = row.split_whitespace().map(|cell| cell.parse().expect("a number"));
    let bytes = numbers.next().expect("bytes");
    (bytes > 0).then(|| (bytes, numbers.next().expect("a count")))
}

#[test]
fn who_reads_the_figures_and_what_is_recorded_are_part_of_the_ceiling() {
    let (visitors, recording) = ("pages of --stats", "the recording");
    let addresses = "its numbers for addresses";
    let record = ["--record", "/nowhere/tape"];
    let redact = [&record[..], &["--redact"]].concat();
    let pages = [page(&[]), page(&record), page(&redact)];
    for (page, is_recorded, is_redacted) in
        [(&pages[0], false, false), (&pages[1], true, false), (&pages[2], true, true)]
    {
        let (ceiling, sum) = ceiling(page);
        assert_eq!(ceiling, sum);
        assert_eq!(part(page, visitors), Some((8 * 65536, 8)));
        assert_eq!(part(page, recording).is_some(), is_recorded, "{page}");
        assert_eq!(part(page, addresses).map(|(_, count)| count), is_redacted.then_some(65536), "{page}");
    }
    let bytes = |page: &String| ceiling(page).0;
    assert!(bytes(&pages[0]) < bytes(&pages[1]) && bytes(&pages[1]) < bytes(&pages[2]));
    // It leaves less for the others.
    let limited = |arguments: &[&str]| row(&page(&[&["--max-memory", "32M"], arguments].concat()), "clients");
    let clients = |arguments: &[&str]| limited(arguments)[1].parse::<u64>().expect("a number");
    assert!(clients(&redact) < clients(&record) && clients(&record) <= clients(&[]));
}

#[test]
fn a_number_of_bytes_becomes_a_number_of_clients() {
    for memory in ["32M", "64M", "256M", "1G"] {
        let page = page(&["--max-memory", memory]);
        let bytes: u64 = match memory.split_at(memory.len() - 1) {
            (number, "M") => number.parse::<u64>().expect("a number") << 20,
            (number, _) => number.parse::<u64>().expect("a number") << 30,
        };
        let (ceiling, _) = ceiling(&page);
        assert!(ceiling <= bytes, "{memory}: {ceiling}");
        let clients = row(&page, "clients");
        // Where few descriptors are allowed, they are the lesser limit: the next client would have fitted.
        let source = if bytes - ceiling < one_more_client(&page) { "max-memory" } else { "descriptors" };
        assert_eq!(clients[3], source, "{page}");
        assert!(page.ends_with(&format!("room for about {} clients\n", clients[1])), "{page}");
    }
}

#[test]
fn what_is_given_wins_over_what_memory_allows() {
    let page = page(&["--max-memory", "64M", "--max-clients", "50", "--log-bytes", "128K"]);
    assert_eq!(row(&page, "clients")[1..4], ["50", "clients", "flag"]);
    assert_eq!(row(&page, "log_space")[1..4], ["131072", "bytes", "flag"]);
    assert_eq!(row(&page, "rooms")[3], "max-memory");
    assert!(ceiling(&page).0 <= 64 << 20);
}

#[test]
fn a_server_that_memory_limits_says_for_how_many_it_has_room_and_lets_in_no_more() {
    let mut server = Server::bare(&["--max-memory", "24M"]);
    let log = server.log().until("memory: room for about ");
    let line = log.last().expect("a line");
    let clients: usize = line
        .split("room for about ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .expect("a number")
        .parse()
        .expect("a number");
    let members: Vec<Client> = (0..clients).map(|_| server.join()).collect();
    assert!(server.connect().rest_lines()[0].contains(&format!("{clients} clients at most")));
    drop(members);
}

#[test]
fn memory_that_cannot_hold_what_was_asked_for_is_a_usage_error() {
    for (arguments, why) in [
        (
            &["--max-memory", "1M"][..],
            "--max-memory 1.0 MiB: too little: 1 client in 1 room can come to hold",
        ),
        (&["--max-memory", "24M", "--max-clients", "500"], "ask for less with --max-clients"),
        (&["--max-memory", "32M", "--log-bytes", "64M"], "ask for less with --log-bytes"),
        (&["--max-memory", "all"], "--max-memory"),
        (&["--private-bytes", "10"], "--private-bytes 10: 1024 to"),
        (&["--private-bytes", "1025M"], "--private-bytes 1074790400: 1024 to"),
        (&["--log-bytes", "1025M"], "--log-bytes 1074790400: at most"),
        (&["--max-rooms", "1048577"], "--max-rooms 1048577: at most"),
    ] {
        let (code, stdout, stderr) = run(command(arguments));
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
        assert!(stderr.contains(why) && stdout.is_empty(), "{arguments:?}: {stderr}");
    }
}
