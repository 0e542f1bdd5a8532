//! How to notice a peer that is gone, or there but dead: keep-alive, TCP_USER_TIMEOUT (tcp(7)), and a ping of the
//! application's own.
//!
//! Python: `sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)`, `socket.TCP_KEEPIDLE` and its like.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use socket2::{SockRef, TcpKeepalive};

use super::{Lesson, Narrator, SOON, show, would_block};

pub(super) const LESSON: Lesson = Lesson {
    name: "heartbeat",
    about: "who is gone, and who only looks alive: keep-alive and a ping",
    remember: "silence says nothing: a peer whose machine lost its power looks like one who has nothing to say, for \
               as long as you only listen. Keep-alive has the kernel ask the other kernel, and so finds machines \
               and networks that are gone; TCP_USER_TIMEOUT does so while data is on its way. Neither finds a \
               program that hangs, for its kernel answers for it. Only a question that the program itself has to \
               answer, by a deadline, finds that.",
    run,
};

const IDLE: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(1);
const PROBES: u32 = 3;
const USER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a peer has to answer a ping. Real programs take seconds.
const DEADLINE: Duration = Duration::from_millis(300);

fn run(lab: &mut Narrator) -> io::Result<()> {
    lab.say(
        "Two clients connect. One of them works; the other one's program hangs, in an endless loop or a \
         debugger: its connection is open, and nothing is ever read from it.",
    );
    let server = lab.call("listen(server, 127.0.0.1:0)", || TcpListener::bind("127.0.0.1:0"))?;
    let address = server.local_addr()?;
    let well = lab.call("connect(well)", || TcpStream::connect(address))?;
    let (to_well, _) = lab.call("accept(server)", || server.accept())?;
    well.set_read_timeout(Some(SOON))?;
    let _hung = lab.call("connect(hung)", || TcpStream::connect(address))?;
    let (to_hung, _) = lab.call("accept(server)", || server.accept())?;

    lab.say("What the kernel would do by itself about a peer that is silent is: nothing. Keep-alive is off.");
    let socket = SockRef::from(&to_hung);
    let is_on = lab.call_showing("getsockopt(SO_KEEPALIVE)", || socket.keepalive(), bool::to_string)?;
    lab.claim("keep-alive is off unless it is asked for", is_on, !is_on);
    lab.say(
        "So it is turned on: after a second of silence ask the other kernel, each second, and give up after three \
         questions. (A server takes a minute or so. The default is two hours.)",
    );
    let keepalive = TcpKeepalive::new().with_time(IDLE).with_interval(INTERVAL).with_retries(PROBES);
    lab.call("setsockopt(TCP_KEEPIDLE, INTVL, CNT)", || socket.set_tcp_keepalive(&keepalive))?;
    let read_back = || {
        Ok::<_, io::Error>((
            socket.keepalive()?,
            socket.tcp_keepalive_time()?,
            socket.tcp_keepalive_interval()?,
            socket.tcp_keepalive_retries()?,
        ))
    };
    let options = lab.call_showing("getsockopt(the same)", read_back, |options| format!("{options:?}"))?;
    lab.claim(
        "keep-alive is on, as it was asked for",
        format!("{options:?}"),
        options == (true, IDLE, INTERVAL, PROBES),
    );
    lab.say(
        "Keep-alive asks only while nothing is on its way. Data that nobody acknowledges is sent again and again \
         instead, for a quarter of an hour or so. TCP_USER_TIMEOUT bounds that:",
    );
    lab.call("setsockopt(TCP_USER_TIMEOUT, 20 s)", || socket.set_tcp_user_timeout(Some(USER_TIMEOUT)))?;
    let timeout = lab.call_showing(
        "getsockopt(TCP_USER_TIMEOUT)",
        || socket.tcp_user_timeout(),
        |timeout| format!("{timeout:?}"),
    )?;
    lab.claim("the bound is set", format!("{timeout:?}"), timeout == Some(USER_TIMEOUT));

    lab.say("Now wait until a question was due, and look at the hung client. Its kernel has answered.");
    let [told] = lab.poll([("to_hung", &to_hung)], PollFlags::IN, IDLE + DEADLINE)?;
    let error =
        lab.call_showing("getsockopt(SO_ERROR)", || socket.take_error(), |error| format!("{error:?}"))?;
    lab.claim(
        "keep-alive does not find a program that hangs",
        format!("{}, error {error:?}", show::flags(told)),
        told.is_empty() && error.is_none(),
    );
    let sent = lab.send("to_hung", &to_hung, b"are you there?\n")?;
    lab.claim("even sending to it succeeds", format!("{sent} bytes"), sent == 15);

    lab.say(
        "So the application asks, and remembers by when it wants an answer. The one that works is in a loop that \
         reads and answers; here, in the same thread, that is two calls.",
    );
    let deadline = Instant::now() + DEADLINE;
    lab.send("to_well", &to_well, b"ping\n")?;
    lab.send("to_hung", &to_hung, b"ping\n")?;
    let mut buffer = [0; 64];
    lab.recv("well", &well, &mut buffer)?;
    lab.send("well", &well, b"pong\n")?;
    let [well_told] = lab.poll([("to_well", &to_well)], PollFlags::IN, SOON)?;
    let answer = lab.recv("to_well", &to_well, &mut buffer)?;
    lab.claim(
        "who works answers",
        String::from_utf8_lossy(&buffer[..answer]).trim_end(),
        well_told.contains(PollFlags::IN) && &buffer[..answer] == b"pong\n",
    );
    let left = deadline.saturating_duration_since(Instant::now());
    let [hung_told] = lab.poll([("to_hung", &to_hung)], PollFlags::IN, left)?;
    to_hung.set_nonblocking(true)?;
    let nothing = lab.recv("to_hung", &to_hung, &mut buffer);
    lab.claim(
        "who hangs is found at the deadline",
        format!("{}, {}", show::flags(hung_told), show::result(&nothing)),
        hung_told.is_empty() && would_block(&nothing) && deadline <= Instant::now(),
    );
    Ok(())
}
