//! Unix sockets (unix(7)): talk between programs of one machine, with files as addresses.
//!
//! Python: `socket.socket(AF_UNIX)`, `sock.bind("/run/talk")`, `sock.getsockopt(SOL_SOCKET, SO_PEERCRED, 12)`,
//! `socketserver.UnixStreamServer`.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use rustix::fs::Mode;

use super::datagram::recv;
use super::scratch::Scratch;
use super::{Lesson, Narrator, show, would_block};

pub(super) const LESSON: Lesson = Lesson {
    name: "unix",
    about: "talk without a network: files as addresses, credentials, datagrams kept",
    remember: "a Unix socket is a file: its mode says who may connect, so it has to be right from the first instant \
               (umask, or a directory of its own); the kernel vouches for who is at the other end; and the file \
               outlives its server, so a server that starts asks whether anybody answers there, and only then \
               removes it. Its datagrams keep their boundaries as UDP's do, but are not lost: a full queue stops \
               the sender.",
    run,
};

fn run(lab: &mut Narrator) -> io::Result<()> {
    let scratch = Scratch::new()?;
    let path = scratch.file("talk");
    lab.say(
        "A server listens at a path instead of a port. bind makes the file, with the mode that umask leaves: a \
         chmod afterwards would come too late for who was quick.",
    );
    let umask = lab.call_showing("umask(0177)", || ok(rustix::process::umask(0o177.into())), mode)?;
    let server = lab.call_showing("listen(server, talk)", || UnixListener::bind(&path), |_| "ok".into());
    lab.call_showing("umask(as before)", || ok(rustix::process::umask(umask)), mode)?;
    let server = server?;
    let file =
        lab.call_showing("stat(talk)", || path.metadata(), |file| format!("mode {:o}", file.mode()))?;
    lab.claim(
        "the address is a file, and only its owner may connect",
        format!("a socket: {}, mode {:o}", file.file_type().is_socket(), file.mode() & 0o777),
        file.file_type().is_socket() && file.mode() & 0o777 == 0o600,
    );

    lab.say(
        "A client connects, and talks as over TCP. What TCP cannot tell is who it is: the kernel noted the \
         process and its user when it connected, and nobody can lie about that.",
    );
    let client = lab.call_showing("connect(client, talk)", || UnixStream::connect(&path), |_| "ok".into())?;
    let (connection, _) = lab.call_showing("accept(server)", || server.accept(), |_| "no address".into())?;
    lab.send("client", &client, b"hello")?;
    let mut buffer = [0; 64];
    let hello = lab.recv("connection", &connection, &mut buffer)?;
    let peer = lab.call_showing(
        "getsockopt(connection, SO_PEERCRED)",
        || rustix::net::sockopt::socket_peercred(&connection),
        |peer| format!("pid {}, uid {}", peer.pid, peer.uid.as_raw()),
    )?;
    lab.claim("the stream carries bytes", show::quoted(&buffer[..hello]), &buffer[..hello] == b"hello");
    lab.claim(
        "the kernel says who the peer is: here, we ourselves",
        format!("pid {}, uid {}", peer.pid, peer.uid.as_raw()),
        peer.pid == rustix::process::getpid() && peer.uid == rustix::process::geteuid(),
    );

    lab.say("The server ends without cleaning up, as one that was killed. The file stays, and nobody is behind it.");
    lab.call("close(server)", || {
        drop(server);
        ok(())
    })?;
    let unanswered =
        lab.call_showing("connect(client, talk)", || UnixStream::connect(&path), |_| "ok".into());
    let taken = lab.call_showing("listen(server, talk)", || UnixListener::bind(&path), |_| "ok".into());
    lab.call("unlink(talk)", || std::fs::remove_file(&path))?;
    let again = lab.call_showing("listen(server, talk)", || UnixListener::bind(&path), |_| "ok".into());
    lab.claim(
        "a stale file refuses clients",
        kind(&unanswered),
        unanswered.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused),
    );
    lab.claim(
        "and keeps the next server away, until it is removed",
        format!("{}, then {}", kind(&taken), kind(&again)),
        taken.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) && again.is_ok(),
    );

    lab.say("Datagrams: boundaries are kept as with UDP. But this is no network, and nothing is lost.");
    let inbox = scratch.file("inbox");
    let receiver =
        lab.call_showing("bind(receiver, inbox)", || UnixDatagram::bind(&inbox), |_| "ok".into())?;
    let sender = lab.call_showing("socket(sender)", UnixDatagram::unbound, |_| "ok".into())?;
    lab.call("connect(sender, inbox)", || sender.connect(&inbox))?;
    for text in ["one", "two"] {
        lab.call(format!("send(sender, {text:?})"), || sender.send(text.as_bytes()))?;
    }
    let first = recv(lab, "receiver", 64, |buffer| receiver.recv(buffer))?;
    let second = recv(lab, "receiver", 64, |buffer| receiver.recv(buffer))?;
    lab.claim(
        "two datagrams are two",
        format!("{}, {}", show::quoted(&first), show::quoted(&second)),
        (&first[..], &second[..]) == (b"one", b"two"),
    );
    sender.set_nonblocking(true)?;
    receiver.set_nonblocking(true)?;
    let send_until_full = || {
        let mut sent = 0;
        loop {
            match sender.send(&[0; 1000]) {
                full if would_block(&full) => return Ok::<usize, io::Error>(sent),
                other => sent += usize::from(other? == 1000),
            }
        }
    };
    let sent = lab.call("send(sender, 1000 bytes), ...", send_until_full)?;
    let receive_all = || ok(std::iter::from_fn(|| receiver.recv(&mut [0; 1000]).ok()).count());
    let received = lab.call("recv(receiver), ...", receive_all)?;
    lab.claim(
        "a full queue stops the sender, and loses nothing",
        format!("{sent} sent, {received} received"),
        sent > 0 && received == sent,
    );
    Ok(())
}

/// A call that cannot fail.
fn ok<T>(value: T) -> io::Result<T> {
    Ok(value)
}

fn mode(mode: &Mode) -> String {
    format!("it was {:04o}", mode.bits())
}

fn kind<T>(result: &io::Result<T>) -> String {
    result.as_ref().map_or_else(show::error, |_| "ok".into())
}
