//! How a connection ends: FIN, half-close, RST, and what each looks like to recv(2), send(2) and poll(2)
//! (tcp(7), shutdown(2), SO_LINGER in socket(7)).
//!
//! Python: an empty `recv` (`if not data: break`), `ConnectionResetError`, `BrokenPipeError`,
//! `sock.shutdown`.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rustix::event::PollFlags;
use socket2::SockRef;

use super::{Lesson, Narrator, SOON, pair, show, wait_for_bytes};

pub(super) const LESSON: Lesson = Lesson {
    name: "hangup",
    about: "FIN, half-close and RST: an empty read, ECONNRESET, EPIPE",
    remember: "an empty read is the end of input, not of the connection: the peer may still wait for its \
               answer, so write what is due to it before you close. A send that succeeds says nothing \
               about the peer. Read what has come before you close, or the close becomes a reset; and a \
               reset, whenever it comes, is the end of one connection and no reason to end the server.",
    run,
};

fn run(lab: &mut Narrator) -> io::Result<()> {
    fin(lab)?;
    half_close(lab)?;
    write_after_close(lab)?;
    reset(lab)?;
    close_without_reading(lab)
}

fn fin(lab: &mut Narrator) -> io::Result<()> {
    lab.say(
        "The client closes. TCP sends a FIN: no more bytes from here. The server reads it as nothing at all.",
    );
    let (client, server) = pair()?;
    close(lab, "client", client)?;
    let ready = wait_for_news(lab, &server)?;
    let mut buffer = [0; 64];
    let reads = [lab.recv("server", &server, &mut buffer)?, lab.recv("server", &server, &mut buffer)?];
    lab.claim("FIN: recv returns 0 bytes, however often", format!("{reads:?}"), reads == [0, 0]);
    lab.claim(
        "poll calls it readable: there is an end to be read",
        show::flags(ready),
        ready.contains(PollFlags::IN | PollFlags::RDHUP) && !ready.contains(PollFlags::ERR),
    );
    Ok(())
}

fn half_close(lab: &mut Narrator) -> io::Result<()> {
    lab.say(
        "shutdown(SHUT_WR) sends the same FIN, and keeps the other direction open. Many a client says so \
         that its question is complete (`nc -N`). A server that closes at the first empty read would owe \
         it the answer.",
    );
    let (client, server) = pair()?;
    lab.send("client", &client, b"how many?")?;
    lab.call("shutdown(client, SHUT_WR)", || client.shutdown(Shutdown::Write))?;
    let mut buffer = [0; 64];
    let question = lab.recv("server", &server, &mut buffer)?;
    let end = lab.recv("server", &server, &mut buffer)?;
    lab.send("server", &server, b"42")?;
    let answer = lab.recv("client", &client, &mut buffer)?;
    lab.claim(
        "half-close: after the end of input the answer still arrives",
        format!("{question}, {end}, answer {answer} bytes"),
        (question, end, answer) == (9, 0, 2),
    );
    close(lab, "server", server)?;
    let [ready] = lab.poll([("client", &client)], PollFlags::RDHUP, SOON)?;
    lab.claim("HUP: both directions have ended", show::flags(ready), ready.contains(PollFlags::HUP));
    Ok(())
}

fn write_after_close(lab: &mut Narrator) -> io::Result<()> {
    lab.say(
        "The client closes for good, and the server, who has not looked, sends. The kernel takes it; there \
         is nobody to read it, which the other side's kernel answers with a RST. Only the next send \
         knows.",
    );
    let (client, server) = pair()?;
    close(lab, "client", client)?;
    let first = lab.send("server", &server, b"are you there?")?;
    lab.poll([("server", &server)], PollFlags::empty(), SOON)?;
    let second = lab.send("server", &server, b"hello?");
    lab.claim("the first send to who has closed succeeds", format!("{first} bytes"), first == 14);
    lab.claim(
        "the one after it fails: EPIPE (and SIGPIPE, unless ignored)",
        show::result(&second),
        failed_with(&second, io::ErrorKind::BrokenPipe),
    );
    Ok(())
}

fn reset(lab: &mut Narrator) -> io::Result<()> {
    lab.say(
        "A RST ends both directions at once, and drops what was on its way. SO_LINGER with 0 seconds makes \
         a close send one; so may a firewall, a machine that was restarted, a program that was killed.",
    );
    let (client, server) = pair()?;
    lab.call("setsockopt(client, SO_LINGER, 0)", || SockRef::from(&client).set_linger(Some(Duration::ZERO)))?;
    close(lab, "client", client)?;
    let ready = wait_for_news(lab, &server)?;
    let mut buffer = [0; 64];
    let first = lab.recv("server", &server, &mut buffer);
    let second = lab.recv("server", &server, &mut buffer)?;
    lab.claim(
        "RST: recv fails with ECONNRESET, once",
        format!("{}, then {second}", show::result(&first)),
        failed_with(&first, io::ErrorKind::ConnectionReset) && second == 0,
    );
    lab.claim(
        "poll calls it an error and a hang-up, which nobody had to ask for",
        show::flags(ready),
        ready.contains(PollFlags::ERR | PollFlags::HUP),
    );
    Ok(())
}

fn close_without_reading(lab: &mut Narrator) -> io::Result<()> {
    lab.say("An ordinary close does it too, where bytes have come that nobody has read:");
    let (client, server) = pair()?;
    lab.send("server", &server, b"you have mail")?;
    wait_for_bytes(&client, 13)?;
    close(lab, "client", client)?;
    wait_for_news(lab, &server)?;
    let result = lab.recv("server", &server, &mut [0; 64]);
    lab.claim(
        "closing with unread input is a reset, not an end",
        show::result(&result),
        failed_with(&result, io::ErrorKind::ConnectionReset),
    );
    Ok(())
}

fn close(lab: &mut Narrator, name: &str, socket: TcpStream) -> io::Result<()> {
    lab.call(format!("close({name})"), || {
        drop(socket);
        Ok::<_, io::Error>(())
    })
}

fn wait_for_news(lab: &mut Narrator, server: &TcpStream) -> io::Result<PollFlags> {
    lab.poll([("server", server)], PollFlags::IN | PollFlags::RDHUP, SOON).map(|[ready]| ready)
}

fn failed_with<T>(result: &io::Result<T>, kind: io::ErrorKind) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == kind)
}
