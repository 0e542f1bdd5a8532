//! Calls that never wait: what recv(2), accept(2) and connect(2) say instead (O_NONBLOCK in fcntl(2)).
//!
//! Python: `sock.setblocking(False)`. `WouldBlock` is its `BlockingIOError`, and `connect_ex` its way to
//! begin a connection.

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use super::show::{self, Show};
use super::{Lesson, Narrator, SOON, pair, would_block};

pub(super) const LESSON: Lesson = Lesson {
    name: "nonblocking",
    about: "calls that never wait: WouldBlock from recv, accept and connect",
    remember: "WouldBlock is not a failure but an answer: not now. A non-blocking call says what there is \
               at this moment, and poll says when it is worth asking again. connect has two halves: the \
               call begins it, and a writable socket with no error in SO_ERROR has finished it.",
    run,
};

fn run(lab: &mut Narrator) -> io::Result<()> {
    lab.say(
        "A connected pair of sockets, and nothing was sent. A blocking recv would now hold this thread for \
         ever: nobody else is here to send anything. So that the next call comes back at all shows that it \
         did not wait.",
    );
    let (client, server) = pair()?;
    lab.call("fcntl(server, O_NONBLOCK)", || server.set_nonblocking(true))?;
    let mut buffer = [0; 64];
    let nothing = lab.recv("server", &server, &mut buffer);
    lab.claim("recv without bytes says so at once", show::result(&nothing), would_block(&nothing));
    lab.say("With bytes there, it is the recv that everyone knows. poll says when:");
    lab.send("client", &client, b"hello")?;
    lab.poll([("server", &server)], PollFlags::IN, SOON)?;
    let bytes = lab.recv("server", &server, &mut buffer)?;
    lab.claim("recv with bytes returns them", format!("{bytes} bytes"), bytes == 5);

    lab.say("accept is the same: a listener is readable when somebody has come.");
    let listener = lab.call("listen(listener, 127.0.0.1:0)", || TcpListener::bind("127.0.0.1:0"))?;
    lab.call("fcntl(listener, O_NONBLOCK)", || listener.set_nonblocking(true))?;
    let nobody = lab.call("accept(listener)", || listener.accept());
    lab.claim("accept without a client says so at once", show::result(&nobody), would_block(&nobody));

    lab.say(
        "connect needs the other side's answer, and will not wait for it either: it begins the connection \
         and says that it is under way.",
    );
    let caller = stream_socket()?;
    let begun = lab.call("connect(caller, listener)", || caller.connect(&listener.local_addr()?.into()));
    lab.claim("connect returns before the connection is made", show::result(&begun), is_in_progress(&begun));
    let [ready] = lab.poll([("caller", &caller)], PollFlags::OUT, SOON)?;
    let error = lab.call("getsockopt(caller, SO_ERROR)", || caller.take_error())?;
    lab.claim(
        "it is made once the socket is writable and SO_ERROR is clear",
        format!("{}, {}", show::flags(ready), error.show()),
        ready.contains(PollFlags::OUT) && error.is_none(),
    );
    lab.poll([("listener", &listener)], PollFlags::IN, SOON)?;
    let (accepted, _) = lab.call("accept(listener)", || listener.accept())?;
    let flags = lab.call_showing(
        "fcntl(accepted)",
        || rustix::fs::fcntl_getfl(&accepted),
        |flags| if flags.contains(OFlags::NONBLOCK) { "O_NONBLOCK".into() } else { "it may block".into() },
    )?;
    lab.claim(
        "an accepted socket does not inherit O_NONBLOCK (Linux): set it on each",
        if flags.contains(OFlags::NONBLOCK) { "it has it" } else { "it may block" },
        !flags.contains(OFlags::NONBLOCK),
    );

    lab.say(
        "And where nobody listens? connect cannot know yet. The refusal is told by poll, as an error, and \
         SO_ERROR has the reason. Once: whoever asks takes it away.",
    );
    // Bound but not listening: the port is certain to stay closed.
    let closed = stream_socket()?;
    closed.bind(&SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 0))))?;
    let caller = stream_socket()?;
    let begun = lab.call("connect(caller, a closed port)", || caller.connect(&closed.local_addr()?));
    let [ready] = lab.poll([("caller", &caller)], PollFlags::OUT, SOON)?;
    let error = lab.call("getsockopt(caller, SO_ERROR)", || caller.take_error())?;
    let again = lab.call("getsockopt(caller, SO_ERROR)", || caller.take_error())?;
    lab.claim("a refused connect begins just as well", show::result(&begun), is_in_progress(&begun));
    lab.claim(
        "writable alone does not mean connected: SO_ERROR has the refusal, once",
        format!("{}, {}", show::flags(ready), error.show()),
        ready.contains(PollFlags::ERR)
            && error.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
            && again.is_none(),
    );
    Ok(())
}

/// socket(2), not blocking from the start.
fn stream_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn is_in_progress(result: &io::Result<()>) -> bool {
    result.as_ref().is_err_and(|error| Errno::from_io_error(error) == Some(Errno::INPROGRESS))
}
