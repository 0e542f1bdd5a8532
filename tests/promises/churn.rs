//! P17, P21 and P39 all at once: people who come, flood, stall, rename, change rooms and go in every way there
//! is, as fast as they can, for as many seconds as `ONEPOLL_SOAK` says; and a few who only want to talk.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::faults::memory_kib;
use crate::harness::{Client, Server, command, run, until, untimed};
use crate::kills::Over;
use crate::seeds::{Random, Seed};

const THREADS: usize = 3;
/// Visitors at the same time, of each thread.
const VISITORS: usize = 25;
/// So small that what grows without bound is soon beyond the ceiling, and that every limit is met.
const LIMITS: &str =
    "--max-clients 80 --max-rooms 12 --log-bytes 128K --private-bytes 4K --rate 10000:300 --linger 0.2";

/// The arguments of a server: these limits, and one way or the other of what else can be asked of it.
fn arguments(mut random: Random) -> Vec<&'static str> {
    let ways = [
        ["--slow skip", "--slow close", "--slow wait:0.1"][random.below(3)],
        ["--coalesce 0", "--coalesce 3"][random.below(2)],
        ["--unsent 32K", "--unsent 4K"][random.below(2)],
    ];
    LIMITS.split(' ').chain(ways.iter().flat_map(|way| way.split(' '))).collect()
}

fn duration() -> Duration {
    let seconds = std::env::var("ONEPOLL_SOAK").map_or(10, |text| text.parse().expect("seconds"));
    Duration::from_secs(seconds)
}

/// Bytes that the server says it can come to hold.
fn ceiling_bytes(arguments: &[&str]) -> u64 {
    let (code, page, stderr) = run(command(&[arguments, &["--show-limits"]].concat()));
    assert_eq!(code, 0, "{stderr}");
    let row = page.lines().find(|row| row.contains("at most: ")).expect("the ceiling");
    row.split_whitespace().next().expect("bytes").parse().expect("a number")
}

/// One who does whatever comes to mind, and never waits for anything; some never read.
fn act(slot: &mut Option<TcpStream>, never_reads: bool, server: SocketAddr, random: &mut Random) {
    let Some(stream) = slot else {
        let stream = TcpStream::connect_timeout(&server, Duration::from_secs(1)).ok();
        *slot = stream.filter(|stream| stream.set_nonblocking(true).is_ok());
        return;
    };
    let number = random.below(40);
    let text = match random.below(32) {
        0 => format!("/nick guest{number}\n"),
        1 => format!("/join room{}\n", number % 16),
        2 => "/leave\n".into(),
        3 => "/who\n/rooms\n/lag\n/help\n".repeat(number),
        4 => format!("/msg guest{number} {}\n", "psst ".repeat(number)),
        5 => "/last 100\n".repeat(number),
        6 => "x".repeat(number * 300),
        7 | 8 => format!("{}\n", "flood ".repeat(number)).repeat(number * 4),
        9 => String::from_utf8_lossy(&random.next().to_le_bytes()).into_owned(),
        10 => "quit\n".into(),
        11 => {
            let _ = stream.shutdown(Shutdown::Write);
            return;
        }
        12 => {
            let _ = socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
            return *slot = None;
        }
        13 => return *slot = None,
        14..18 => format!("{number}\n"),
        _ if never_reads => return,
        _ => {
            let mut chunk = [0; 32 * 1024];
            if matches!(stream.read(&mut chunk), Ok(0)) {
                *slot = None;
            }
            return;
        }
    };
    match stream.write(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => *slot = None,
        _ => {}
    }
}

/// Says some numbers, which all of them read, each once and in order.
fn count_on(members: &mut [Client], said: &mut u64) {
    const AT_ONCE: u64 = 20;
    let numbers = *said..*said + AT_ONCE;
    for number in numbers.clone() {
        members[0].say(&number.to_string());
    }
    for member in members {
        for number in numbers.clone() {
            let line = loop {
                let line = member.line();
                // Of those who come, go and rename.
                if !line.starts_with("-- ") || line.starts_with("-- you ") {
                    break line;
                }
            };
            assert_eq!(untimed(&line), format!("[quiet] talker: {number}"));
        }
    }
    *said = numbers.end;
}

/// The operator's figures: clients accepted, closed, and there now.
fn accounts(server: &mut Server) -> (u64, u64, u64) {
    let stats = server.answer("stats");
    let before = |row: &str, word: &str| -> u64 {
        let row = stats.iter().find(|line| line.starts_with(row)).expect("its row");
        let number = row.split(word).next().expect("a number").split_whitespace().last();
        number.expect("a number").parse().expect("a number")
    };
    (before("connections ", " accepted"), before("connections ", " closed"), before("clients ", " now"))
}

#[test]
fn p21_those_who_come_and_go_at_full_speed_cost_no_memory_no_descriptor_and_nobody_a_message() {
    let seed = Seed::from("ONEPOLL_CHURN_SEED");
    let arguments = arguments(seed.random(THREADS));
    let ceiling = ceiling_bytes(&arguments);
    let mut server = Server::start(&arguments);
    let address: SocketAddr = server.addresses[0].parse().expect("a TCP address");
    drop(server.join());
    until("nobody is there", || accounts(&mut server).2 == 0);
    let descriptors = server.descriptors();
    // In a room of their own, into which only notices come from the others.
    let mut members: Vec<Client> =
        ["talker", "reader1", "reader2", "reader3"].map(|nick| server.join_as(nick)).into();
    for member in &mut members {
        member.say("/leave");
        member.until("-- you left lobby");
        member.say("/join quiet");
        member.until("-- you speak in quiet now");
    }
    for member in &mut members {
        member.fence();
    }
    let is_over = AtomicBool::new(false);
    let until_then = Instant::now() + duration();
    let mut said = 0;
    std::thread::scope(|scope| {
        let _over = Over(&is_over);
        for thread in 0..THREADS {
            let (mut random, is_over) = (seed.random(thread), &is_over);
            scope.spawn(move || {
                let mut visitors: Vec<Option<TcpStream>> = (0..VISITORS).map(|_| None).collect();
                while !is_over.load(Ordering::Relaxed) {
                    let slot = random.below(VISITORS);
                    act(&mut visitors[slot], slot.is_multiple_of(5), address, &mut random);
                }
            });
        }
        while Instant::now() < until_then {
            for _ in 0..20 {
                count_on(&mut members, &mut said);
            }
            let (accepted, closed, open) = accounts(&mut server);
            assert_eq!(accepted, closed + open);
            let resident = memory_kib(&server, "VmHWM") * 1024;
            assert!(resident <= ceiling, "{resident} bytes, where {ceiling} are the most");
        }
    });
    count_on(&mut members, &mut said);
    drop(members);
    until("all are gone", || accounts(&mut server).2 == 0);
    let (accepted, closed, _) = accounts(&mut server);
    assert_eq!(accepted, closed);
    until("their descriptors are closed", || server.descriptors() == descriptors);
}
