//! Readiness is told once: what an edge trigger is, what happens to who does not drain, and what a loop
//! does that may not drain (epoll(7): EPOLLET; poll(2)).
//!
//! Python's `select.epoll` is level-triggered unless EPOLLET is asked for, as `select.poll` and `selectors`
//! always are. `mio::Poll`, which this program runs on, is edge-triggered.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use rustix::event::PollFlags;

use super::{Lesson, Narrator, SOON, pair, show, would_block};

pub(super) const LESSON: Lesson = Lesson {
    name: "edge",
    about: "readiness is told once: what happens when you do not drain",
    remember: "an edge trigger tells that something has come, not that something is there. So read until \
               WouldBlock, or keep a list of who has more, and do not sleep while there is somebody on it. \
               The list is what makes it fair: each connection gets its share of a turn, and none is \
               forgotten.",
    run,
};

/// How long an event is waited for that must not come.
const A_WHILE: Duration = Duration::from_millis(100);

fn run(lab: &mut Narrator) -> io::Result<()> {
    let (client, server) = pair()?;
    let mut server = mio::net::TcpStream::from_std(server);
    lab.call("fcntl(server, O_NONBLOCK)", || rustix::io::ioctl_fionbio(&server, true))?;
    let mut epoll = lab.call("epoll_create()", Epoll::new)?;
    lab.call("epoll_ctl(server, EPOLLIN + EPOLLET)", || {
        epoll.poll.registry().register(&mut server, Token(0), Interest::READABLE)
    })?;
    let mut buffer = [0; 64];

    lab.say(
        "Twelve bytes come, there is an event, and the server takes five of them. Will it hear of the \
         others?",
    );
    lab.send("client", &client, b"hello world\n")?;
    epoll.wait(lab, SOON)?;
    lab.recv("server", &server, &mut buffer[..5])?;
    let events = epoll.wait(lab, A_WHILE)?;
    let waiting = bytes_waiting(lab, &server)?;
    lab.claim(
        "no second event comes for bytes that are left over",
        format!("{events} events, {waiting} bytes are there"),
        events == 0 && waiting == 7,
    );
    lab.say("poll(2) is level-triggered: it tells what is there, as often as it is asked.");
    let [first] = lab.poll([("server", &server)], PollFlags::IN, SOON)?;
    let [second] = lab.poll([("server", &server)], PollFlags::IN, SOON)?;
    lab.claim(
        "a level trigger tells of them again and again",
        format!("{}, {}", show::flags(first), show::flags(second)),
        [first, second] == [PollFlags::IN; 2],
    );

    lab.say(
        "A client that now waits for its answer waits for ever: so do both. Only if it sends more is there \
         another event, and what was left over comes along.",
    );
    lab.send("client", &client, b"hello?\n")?;
    let events = epoll.wait(lab, SOON)?;
    lab.claim("new bytes are a new event", format!("{events} event"), events == 1);
    lab.say("The rule for who has no list: read until WouldBlock. After that, every byte is news again.");
    let bytes = lab.recv("server", &server, &mut buffer)?;
    let empty = lab.recv("server", &server, &mut buffer);
    lab.claim(
        "WouldBlock is the proof that nothing was left behind",
        format!("{bytes} bytes, {}", show::result(&empty)),
        bytes == 14 && would_block(&empty),
    );

    take_turns(lab, &client, &server, &mut epoll)
}

/// What the loop of this program does, in small: a budget for each turn, and a list of who has more.
fn take_turns(
    lab: &mut Narrator,
    client: &TcpStream,
    server: &mio::net::TcpStream,
    epoll: &mut Epoll,
) -> io::Result<()> {
    lab.say(
        "But who drains a client that never stops sending serves nobody else. So a loop reads a budget \
         (here 8 bytes a turn), notes who is not drained, and while there is such a one its next \
         epoll_wait has the timeout 0: look for the others, but do not sleep.",
    );
    let message = b"more than one turn can take";
    lab.send("client", client, message)?;
    let mut budget = [0; 8];
    let (mut turns, mut events, mut received) = (0, 0, 0);
    // The list of a loop with one connection.
    let mut is_pending = false;
    while received < message.len() || is_pending {
        let news = epoll.wait(lab, if is_pending { Duration::ZERO } else { SOON })?;
        if news == 0 && !is_pending {
            break;
        }
        turns += 1;
        events += news;
        let read = lab.recv("server", server, &mut budget);
        is_pending = !would_block(&read);
        received += if is_pending { read? } else { 0 };
    }
    lab.claim(
        "with a list, one event is enough for many turns",
        format!("{received} bytes, {turns} turns, {events} event"),
        received == message.len() && events < turns,
    );
    Ok(())
}

/// `select.epoll` with EPOLLET, by way of mio.
struct Epoll {
    poll: Poll,
    events: Events,
}

impl show::Show for Epoll {
    fn show(&self) -> String {
        "ok".into()
    }
}

impl Epoll {
    fn new() -> io::Result<Self> {
        Ok(Epoll { poll: Poll::new()?, events: Events::with_capacity(16) })
    }

    /// How many events came.
    fn wait(&mut self, lab: &mut Narrator, timeout: Duration) -> io::Result<usize> {
        lab.call_showing(
            format!("epoll_wait({})", show::timeout(timeout)),
            || self.poll.poll(&mut self.events, Some(timeout)).map(|()| self.events.iter().count()),
            |events| if *events == 0 { "no event".into() } else { "server is readable".into() },
        )
    }
}

fn bytes_waiting(lab: &mut Narrator, server: &mio::net::TcpStream) -> io::Result<u64> {
    lab.call_showing(
        "ioctl(server, FIONREAD)",
        || rustix::io::ioctl_fionread(server),
        |bytes| format!("{bytes} bytes"),
    )
}
