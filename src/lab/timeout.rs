//! The three meanings of Python's `settimeout`, and how a loop has one timeout for thousands of sockets.
//!
//! Python's own: `None` blocks; 0 is `setblocking(False)`; 0.5 makes the socket non-blocking *inside* and
//! polls it for 0.5 s before each call. The kernel's way for the last is SO_RCVTIMEO (socket(7)). See
//! poll(2) too.

use std::io;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::narrator::timespec;
use super::{Lesson, Narrator, has_waited, pair, show, would_block};
use crate::deadlines::Deadlines;
use crate::engine::Moment;

pub(super) const LESSON: Lesson = Lesson {
    name: "timeout",
    about: "the three meanings of settimeout; one timeout for thousands of sockets",
    remember: "None waits for ever, 0 never, anything else for so long in each call: a peer who sends a \
               byte now and then is never over it. A loop turns this around. It keeps deadlines (points in \
               time), sorted, and its one poll waits until the soonest of them: the number of sockets \
               costs no waiting at all.",
    run,
};

const HALF_A_SECOND: Duration = Duration::from_millis(500);
const SOCKETS: usize = 200;
const DEADLINES_PER_SOCKET: usize = 20;

fn run(lab: &mut Narrator) -> io::Result<()> {
    let (client, server) = pair()?;
    let mut buffer = [0; 64];
    lab.say(
        "settimeout(None): recv waits until there is something. Here there is, or we would never meet again.",
    );
    lab.send("client", &client, b"hello")?;
    let received = lab.recv("server", &server, &mut buffer)?;
    let limit = lab.call_showing(
        "getsockopt(server, SO_RCVTIMEO)",
        || server.read_timeout(),
        |limit| limit.map_or_else(|| "none: for ever".into(), show::timeout),
    )?;
    lab.claim(
        "None: recv waits for bytes, however long it takes",
        format!("{received} bytes, {}", limit.map_or_else(|| "no limit".into(), show::timeout)),
        received == 5 && limit.is_none(),
    );

    lab.say("settimeout(0): the same as setblocking(False). recv never waits.");
    lab.call("fcntl(server, O_NONBLOCK)", || server.set_nonblocking(true))?;
    let at_once = lab.recv("server", &server, &mut buffer);
    lab.claim("0: recv does not wait", show::result(&at_once), would_block(&at_once));

    lab.say(
        "settimeout(0.5): what Python makes of it are two calls. It polls the one socket for so long, and \
         calls recv only if poll has found something; else it raises TimeoutError.",
    );
    let [ready] = lab.poll([("server", &server)], PollFlags::IN, HALF_A_SECOND)?;
    lab.claim(
        "0.5: Python polls for so long, and gives up",
        format!("{}, after {}", show::flags(ready), show::duration(lab.took())),
        ready.is_empty() && has_waited(lab.took(), HALF_A_SECOND),
    );
    lab.say("The kernel can do it in one, on a socket that blocks:");
    lab.call("fcntl(server, no O_NONBLOCK)", || server.set_nonblocking(false))?;
    lab.call("setsockopt(server, SO_RCVTIMEO, 500 ms)", || server.set_read_timeout(Some(HALF_A_SECOND)))?;
    let late = lab.recv("server", &server, &mut buffer);
    lab.claim(
        "SO_RCVTIMEO: recv itself gives up, with the same WouldBlock",
        format!("{}, after {}", show::result(&late), show::duration(lab.took())),
        would_block(&late) && has_waited(lab.took(), HALF_A_SECOND),
    );

    one_timeout_for_all(lab)
}

fn one_timeout_for_all(lab: &mut Narrator) -> io::Result<()> {
    lab.say(
        "Now a server with 200 sockets and, for each, 20 things that must not take for ever: to log in, to \
         say something, to read its answer... 4,000 deadlines, within the next 200 ms. One after the \
         other, settimeout would wait for some 400 s. The loop waits for the soonest, in one poll of all \
         sockets:",
    );
    let sockets = lab.call_showing(
        "bind(127.0.0.1:0), 200 UDP sockets",
        || (0..SOCKETS).map(|_| UdpSocket::bind("127.0.0.1:0")).collect::<io::Result<Vec<_>>>(),
        |sockets| format!("{} sockets", sockets.len()),
    )?;
    // Somebody has something to say, too: deadlines hold nobody up.
    let talker = UdpSocket::bind("127.0.0.1:0")?;
    lab.call("sendto(talker, socket 7, \"hello\")", || talker.send_to(b"hello", sockets[7].local_addr()?))?;

    let mut deadlines = Deadlines::new();
    for key in 0..SOCKETS * DEADLINES_PER_SOCKET {
        // Scattered over 40 moments, 5 ms apart, out of order.
        let after = Duration::from_millis(5 * (1 + key as u64 * 7 % 40));
        deadlines.set(Moment::START + after, (key, after));
    }
    let began = Instant::now();
    let (mut polls, mut met, mut early, mut received) = (0, 0, 0, 0);
    lab.call("poll(200 sockets; IN; next deadline)", || {
        while let Some(next) = deadlines.next() {
            let now = Moment::START + began.elapsed();
            let mut polled: Vec<_> =
                sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
            rustix::event::poll(&mut polled, Some(&timespec(next.since(now))))?;
            polls += 1;
            for (socket, polled) in sockets.iter().zip(&polled) {
                if polled.revents().contains(PollFlags::IN) {
                    received += socket.recv(&mut [0; 64])?;
                }
            }
            let elapsed = began.elapsed();
            while let Some((_, after)) = deadlines.poll_due(Moment::START + elapsed) {
                met += 1;
                early += usize::from(elapsed < after);
            }
        }
        Ok::<_, io::Error>(format!("{} deadlines in {polls} polls", show::grouped(met)))
    })?;
    lab.claim(
        "every deadline was met, and none early",
        format!("{} met, {early} early", show::grouped(met)),
        met == SOCKETS * DEADLINES_PER_SOCKET && early == 0,
    );
    lab.claim(
        "in far fewer polls than there were deadlines",
        format!("{polls} polls, {} in all", show::duration(lab.took())),
        polls * 10 <= met,
    );
    lab.claim(
        "and the socket that had bytes was heard meanwhile",
        format!("{received} bytes"),
        received == 5,
    );
    Ok(())
}
