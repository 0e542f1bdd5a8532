//! Who may bind a port: port 0, EADDRINUSE, SO_REUSEADDR after TIME_WAIT, SO_REUSEPORT (bind(2), socket(7), tcp(7)).
//!
//! Python: `OSError: [Errno 98] Address already in use`, and `allow_reuse_address = True` of a
//! `socketserver.TCPServer`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use rustix::event::{PollFd, PollFlags};
use socket2::{Domain, Socket, Type};

use super::narrator::timespec;
use super::{Lesson, Narrator, SOON, show};

pub(super) const LESSON: Lesson = Lesson {
    name: "double-bind",
    about: "who may have a port: EADDRINUSE, TIME_WAIT, REUSEADDR, REUSEPORT",
    remember: "\"address already in use\" is a service: it tells you of a server that runs already. SO_REUSEADDR \
               (on Linux) only lets a server come back while its old connections are still in TIME_WAIT, and every \
               server wants that. SO_REUSEPORT lets a second server share the port, and nobody is told: it is for \
               the workers of one program, never for a server that must be the only one. Tests bind port 0 and \
               ask which one they got.",
    run,
};

/// Enough for the kernel's hash to give some to each of two listeners.
const CLIENTS: usize = 64;

fn run(lab: &mut Narrator) -> io::Result<()> {
    lab.say("Port 0 means: any that is free. The system chooses, and getsockname tells what it chose.");
    let first = lab.call("listen(first, port 0, SO_REUSEADDR)", || listen(0, reuse_address))?;
    let port = first.local_addr()?.port();
    lab.claim("port 0 becomes a real one", port, port != 0);

    lab.say(
        "A second server wants the same port. It must not get it, whatever it sets: the first one listens.",
    );
    let second = lab.call(format!("listen(second, port {port})"), || listen(port, plain));
    let again = lab.call(format!("listen(second, {port}, SO_REUSEADDR)"), || listen(port, reuse_address));
    lab.claim("two servers cannot have the same port", show::result(&second), is_in_use(&second));
    lab.claim("not with SO_REUSEADDR either, on Linux", show::result(&again), is_in_use(&again));

    lab.say(
        "The first server is restarted. It had a client, and closed that connection itself: its end of it stays \
         in TIME_WAIT for a minute, to catch what is still on its way. Nobody listens any more, and still:",
    );
    let client = lab.call("connect(client)", || TcpStream::connect(("127.0.0.1", port)))?;
    let (connection, _) = lab.call("accept(first)", || first.accept())?;
    lab.call("close(connection), by the server", || close(connection))?;
    lab.call("close(client)", || close(client))?;
    lab.call("close(first)", || close(first))?;
    let hasty = lab.call(format!("listen(restarted, port {port})"), || listen(port, plain));
    let patient =
        lab.call(format!("listen(restarted, {port}, SO_REUSEADDR)"), || listen(port, reuse_address));
    lab.claim("after a restart, the port is taken by nobody", show::result(&hasty), is_in_use(&hasty));
    lab.claim("SO_REUSEADDR takes it back", show::result(&patient), patient.is_ok());

    lab.say(&format!(
        "SO_REUSEPORT is another thing. Two servers that both set it share a port: nothing fails, and the kernel \
         deals out the clients by a hash of their addresses. {CLIENTS} of them come:"
    ));
    let old = lab.call("listen(old, port 0, SO_REUSEPORT)", || listen(0, reuse_port))?;
    let address = old.local_addr()?;
    let new = lab.call(format!("listen(new, {}, SO_REUSEPORT)", address.port()), || {
        listen(address.port(), reuse_port)
    });
    lab.claim("with SO_REUSEPORT the second bind does not fail", show::result(&new), new.is_ok());
    let new = new?;
    let connect = || (0..CLIENTS).map(|_| TcpStream::connect(address)).collect::<io::Result<Vec<_>>>();
    let _clients =
        lab.call_showing("connect(client), ...", connect, |all| format!("{} clients", all.len()))?;
    let [at_old, at_new] = lab.call_showing(
        "poll(old, new), accept, ...",
        || accept_all([&old, &new]),
        |[old, new]| format!("{old} and {new}"),
    )?;
    lab.claim(
        "each of the two has some of the clients, and cannot know of the others",
        format!("{at_old} and {at_new}"),
        at_old > 0 && at_new > 0 && at_old + at_new == CLIENTS,
    );
    lab.say(
        "Had the old one been a chat that somebody forgot to end, half of the people would now talk in a room that \
         the others never see. That is why onepoll sets SO_REUSEADDR, and never SO_REUSEPORT.",
    );
    Ok(())
}

fn listen(port: u16, set: fn(&Socket) -> io::Result<()>) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    set(&socket)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

fn close<T>(socket: T) -> io::Result<()> {
    drop(socket);
    Ok(())
}

fn plain(_: &Socket) -> io::Result<()> {
    Ok(())
}

fn reuse_address(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)
}

fn reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

fn is_in_use<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// Accepts every client on whichever listener it came to, and counts them for each.
fn accept_all(listeners: [&TcpListener; 2]) -> io::Result<[usize; 2]> {
    let mut accepted = [0; 2];
    while accepted.iter().sum::<usize>() < CLIENTS {
        let mut polled = listeners.map(|listener| PollFd::new(listener, PollFlags::IN));
        if rustix::event::poll(&mut polled, Some(&timespec(SOON)))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        for ((listener, polled), accepted) in listeners.iter().zip(&polled).zip(&mut accepted) {
            if polled.revents().contains(PollFlags::IN) {
                listener.accept()?;
                *accepted += 1;
            }
        }
    }
    Ok(accepted)
}
