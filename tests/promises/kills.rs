//! P69 once more: killed at any moment, also before it listens, while people do to it what they do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::harness::{BARE, Client, Directory, Server, Stream, command};
use crate::seeds::{Random, Seed};

/// Of the two hundred moments, most are the chat's.
const CHAT_KILLS: usize = 140;
#[cfg(feature = "course")]
const RECEIVER_KILLS: usize = 60;

/// Long enough for anything to be under way.
const MOMENT_US_MAX: usize = 8000;

/// Addresses of this machine that nobody else uses: while nobody listens there, neither another server nor the
/// near end of a connection can come to have the port.
const CHAT_PLACE: &str = "127.0.69.1:0";
#[cfg(feature = "course")]
const RECEIVER_PLACE: &str = "127.0.69.2:0";

/// Lets it run for so long; it must not end by itself.
fn run_for(pid: Pid, time: Duration) {
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("our own child");
    let mut polled = [PollFd::new(&pidfd, PollFlags::IN)];
    let time = Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
    assert_eq!(rustix::event::poll(&mut polled, Some(&time)), Ok(0), "it ended by itself");
}

fn moment(random: &mut Random) -> Duration {
    Duration::from_micros(random.below(MOMENT_US_MAX) as u64)
}

/// Kills one that was started just now, at whatever it does, ready or not.
fn kill_early(mut child: Child, random: &mut Random) {
    run_for(Pid::from_child(&child), 2 * moment(random));
    child.kill().expect("our own child");
    child.wait().expect("our own child");
}

/// Connects as a client that gives up soon; the server may be killed at any time.
fn connect(address: &str) -> Option<Stream> {
    let patience = Some(Duration::from_millis(20));
    let stream = match address.strip_prefix("unix:") {
        Some(path) => Stream::Unix(UnixStream::connect(path).ok()?),
        None => Stream::Tcp(TcpStream::connect(address).ok()?),
    };
    match &stream {
        Stream::Tcp(stream) => stream.set_read_timeout(patience).and(stream.set_write_timeout(patience)),
        Stream::Unix(stream) => stream.set_read_timeout(patience).and(stream.set_write_timeout(patience)),
    }
    .ok()?;
    Some(stream)
}

/// Comes, talks and goes, again and again.
fn talk(address: &str, mut random: Random, is_over: &AtomicBool) {
    let mut chunk = [0; 16 * 1024];
    while !is_over.load(Ordering::Relaxed) {
        let Some(mut stream) = connect(address) else { continue };
        for _ in 0..random.below(20) {
            let text = "hello\n/join kitchen\n/last\n/nick ann\n".repeat(random.below(20));
            if stream.write_all(text.as_bytes()).is_err() || !matches!(stream.read(&mut chunk), Ok(1..)) {
                break;
            }
        }
    }
}

#[test]
fn p69_a_chat_that_is_killed_at_any_moment_under_load_starts_again_at_once() {
    let seed = Seed::from("ONEPOLL_KILL_SEED");
    let directory = Directory::new();
    let unix = directory.socket("chat");
    let tcp = Server::bare(&["--listen", CHAT_PLACE]).addresses[0].clone();
    let arguments = [&BARE[..], &["--listen", &tcp, "--listen", &unix, "--rate", "off"]].concat();
    let is_over = AtomicBool::new(false);
    let only_the_socket = || {
        let names = std::fs::read_dir(directory.file("")).expect("it is there");
        assert!(names.count() <= 1, "something was left beside the socket");
    };
    std::thread::scope(|scope| {
        let _over = Over(&is_over);
        for (number, address) in [&tcp, &tcp, &unix].into_iter().enumerate() {
            let (random, is_over) = (seed.random(1 + number), &is_over);
            scope.spawn(move || talk(address, random, is_over));
        }
        let mut random = seed.random(0);
        for _ in 0..CHAT_KILLS {
            if random.one_in(3) {
                kill_early(command(&arguments).spawn().expect("it starts"), &mut random);
            } else {
                let mut server = Server::start(&arguments);
                server.next_address();
                assert_eq!(server.addresses, [&*tcp, &*unix]);
                for address in &server.addresses {
                    Client::connect(address).greeted();
                }
                run_for(server.pid(), moment(&mut random));
                server.kill();
            }
            only_the_socket();
        }
    });
    let mut server = Server::start(&arguments);
    server.next_address();
    let mut ann = Client::connect(&unix).greeted();
    ann.ask_until("/who", "-- 1 in lobby");
    server.signal(rustix::process::Signal::TERM);
    drop(ann);
    assert_eq!(server.exit_code(), 0);
    assert_eq!(std::fs::read_dir(directory.file("")).expect("it is there").count(), 0, "the socket is left");
}

/// Ends what goes on beside the test, also where that fails.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(feature = "course")]
#[test]
fn p69_a_receiver_that_is_killed_at_any_moment_shows_whole_files_only_and_keeps_what_it_confirmed() {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use onepoll::limits::PARTS_KEPT_MAX;

    use crate::harness::until;
    use crate::peers::{Answer, Header, Inbox, checked, content, failure_of, framed};

    const SENDERS: usize = 3;
    let seed = Seed::from("ONEPOLL_KILL_SEED");
    let inbox = Inbox::new();
    let address = inbox.receive(&["--listen", RECEIVER_PLACE]).addresses[0].clone();
    let content = content(100_000);
    let confirmed = Mutex::new(BTreeSet::new());
    let is_over = AtomicBool::new(false);
    // One file after another, each in one go or in pieces, half of them to be continued if they break off.
    let send = |sender: usize| {
        let mut random = seed.random(1 + sender);
        let hash = blake3::hash(&content);
        for number in 0.. {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            let name = format!("file-{sender}-{number}");
            let resume = random.one_in(2).then(|| "17".to_string());
            let bytes = Some(content.len() as u64);
            let header = Header { name: name.clone(), bytes, has_trailer: true, resume }.encode();
            let stream = [&header, &content[..], hash.as_bytes()].concat();
            let Some(mut receiver) = connect(&address) else { continue };
            let piece_bytes = random.within(&(1000..150_000));
            let mut answers = Vec::new();
            if stream.chunks(piece_bytes).all(|piece| receiver.write_all(piece).is_ok()) {
                // A reset behind the answer takes nothing of it back.
                let _ = receiver.read_to_end(&mut answers);
            }
            let is_done = |line: &[u8]| matches!(Answer::decode(line), Some(Answer::Done { .. }));
            if answers.split_inclusive(|byte| *byte == b'\n').any(is_done) {
                confirmed.lock().expect("nobody panics with it").insert(name);
            }
        }
    };
    let is_hidden = |name: &String| name.starts_with(".onepoll-");
    let (mut arrived, mut broken_off) = (BTreeSet::new(), 0);
    std::thread::scope(|scope| {
        let _over = Over(&is_over);
        for sender in 0..SENDERS {
            let send = &send;
            scope.spawn(move || send(sender));
        }
        let mut random = seed.random(0);
        let mut remains = Vec::new();
        for number in 1..=RECEIVER_KILLS {
            if number == RECEIVER_KILLS {
                // On a busy machine those moments may have brought nothing: in this one a file was confirmed, and
                // another is under way.
                let mut server = inbox.receive(&["--listen", &address]);
                let is_confirmed = || !confirmed.lock().expect("nobody panics with it").is_empty();
                until("a file is confirmed", is_confirmed);
                let mut half = server.connect();
                half.send(&checked("half", &content)[..content.len() / 2]);
                // It was read once one that came later is answered.
                failure_of(&server, &framed("{]"));
                server.kill();
            } else if random.one_in(4) {
                kill_early(inbox.command(&["--listen", &address]).spawn().expect("it starts"), &mut random);
            } else {
                let mut server = inbox.receive(&["--listen", &address]);
                let names = inbox.names();
                let not_removed = remains.iter().filter(|name| names.contains(name) && name.contains("new-"));
                assert_eq!(not_removed.count(), 0, "of {remains:?} there are still {names:?}");
                let resumable = names.iter().filter(|name| name.starts_with(".onepoll-resume-")).count();
                assert!(resumable <= PARTS_KEPT_MAX + SENDERS, "{resumable} parts are kept");
                run_for(server.pid(), 2 * moment(&mut random));
                server.kill();
            }
            let (hidden, visible): (Vec<String>, Vec<String>) =
                inbox.names().into_iter().partition(is_hidden);
            broken_off += hidden.len();
            remains = hidden;
            for name in visible {
                assert!(inbox.read(&name) == content, "{name} is there and not whole");
                std::fs::remove_file(inbox.file(&name)).expect("it is there");
                arrived.insert(name);
            }
        }
    });
    assert!(broken_off > 0, "nothing was under way when it was killed");
    let confirmed = confirmed.into_inner().expect("nobody panicked with it");
    let lost: Vec<&String> = confirmed.difference(&arrived).collect();
    assert!(lost.is_empty() && !confirmed.is_empty(), "{lost:?} were confirmed and are gone");
}
