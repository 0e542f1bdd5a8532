//! Datagrams (udp(7), recv(2)): boundaries that are kept, truncation, loss, and a refusal that comes later.
//!
//! Python: `socket.socket(AF_INET, SOCK_DGRAM)`, `sock.sendto(data, address)`, `data, address = sock.recvfrom(1024)`.

use std::io;
use std::net::UdpSocket;

use rustix::event::PollFlags;
use rustix::net::RecvFlags;
use socket2::SockRef;

use super::{Lesson, Narrator, SOON, show, would_block};

pub(super) const LESSON: Lesson = Lesson {
    name: "datagram",
    about: "UDP: boundaries kept, truncation, loss, and a refusal that comes later",
    remember: "a datagram arrives whole or not at all, which saves the framing and costs the rest: the sender is not \
               told whether it arrives, a small buffer silently cuts it (ask with MSG_TRUNC), a full one silently \
               drops it, and an error is about some earlier datagram, and no reason to stop. Who needs an answer \
               sends again until there is one.",
    run,
};

/// More than the receiver's buffer holds, whatever its least size.
const FLOOD: usize = 500;
const FLOOD_BYTES: usize = 1000;

fn run(lab: &mut Narrator) -> io::Result<()> {
    lab.say(
        "Nobody listens and nobody accepts: a socket is bound, and another one sends to it. What a stream would \
         run together, and has no way to send at all (nothing), stays what it was:",
    );
    let receiver = lab.call_showing("bind(receiver, 127.0.0.1:0)", bind, local)?;
    let sender = lab.call_showing("bind(sender, 127.0.0.1:0)", bind, local)?;
    lab.call("connect(sender, receiver)", || sender.connect(receiver.local_addr()?))?;
    receiver.set_read_timeout(Some(SOON))?;
    for text in ["one", "", "three"] {
        lab.call(format!("send(sender, {text:?})"), || sender.send(text.as_bytes()))?;
    }
    let mut received = Vec::new();
    for _ in 0..3 {
        received.push(recv(lab, "receiver", 64, |buffer| receiver.recv(buffer))?);
    }
    lab.claim(
        "three datagrams are three, and an empty one is no end",
        show_all(&received),
        received == [&b"one"[..], b"", b"three"],
    );

    lab.say("A buffer that is too small takes the beginning. The rest is gone, and recv does not say so:");
    for _ in 0..2 {
        lab.call("send(sender, \"hello, world\")", || sender.send(b"hello, world"))?;
    }
    let cut = recv(lab, "receiver", 5, |buffer| receiver.recv(buffer))?;
    let mut small = [0; 5];
    let length = lab.call("recv(receiver, 5 bytes, MSG_TRUNC)", || {
        rustix::net::recv(&receiver, &mut small, RecvFlags::TRUNC).map(|(_, length)| length)
    })?;
    receiver.set_nonblocking(true)?;
    let rest = recv(lab, "receiver", 64, |buffer| receiver.recv(buffer));
    lab.claim(
        "a small buffer cuts a datagram, and its rest does not come later",
        format!("{}, then {}", show::quoted(&cut), show_result(&rest)),
        cut == b"hello" && would_block(&rest),
    );
    lab.claim(
        "MSG_TRUNC tells its real length",
        format!("{length} bytes"),
        (length, &small) == (12, b"hello"),
    );

    lab.say(&format!(
        "The receiver is busy for a moment, and its socket has little room. {FLOOD} numbered datagrams are sent; \
         then it reads what is there."
    ));
    lab.call("setsockopt(receiver, SO_RCVBUF, 4096)", || {
        SockRef::from(&receiver).set_recv_buffer_size(4096)
    })?;
    let sent = lab.call("send(sender, number), ...", || {
        (0..FLOOD).map(|number| sender.send(&numbered(number)).map(|_| 1)).sum::<io::Result<usize>>()
    })?;
    let read_all = || {
        let mut buffer = [0; 2 * FLOOD_BYTES];
        let whole =
            std::iter::from_fn(|| receiver.recv(&mut buffer).ok().map(|bytes| buffer[..bytes].to_vec()));
        Ok::<Vec<_>, io::Error>(whole.collect())
    };
    lab.poll([("receiver", &receiver)], PollFlags::IN, SOON)?;
    let arrived =
        lab.call_showing("recv(receiver), ...", read_all, |all| format!("{} datagrams", all.len()))?;
    let are_whole = arrived.iter().all(|datagram| (0..FLOOD).any(|number| *datagram == numbered(number)));
    lab.claim("every send succeeded", format!("{sent} of {FLOOD}"), sent == FLOOD);
    lab.claim(
        "but not every datagram arrived, and nobody was told",
        format!("{} of {FLOOD}", arrived.len()),
        (1..FLOOD).contains(&arrived.len()),
    );
    lab.claim("those that did are whole", are_whole, are_whole);

    lab.say(
        "And where nobody is at the other end? Here is a socket that hears somebody else only, for it is connected \
         to them: to us, its kernel answers that nobody is there (ICMP: port unreachable). The send is over by then; \
         a connected socket tells it at the next call, whatever that is.",
    );
    let deaf = lab.call_showing("bind(deaf, 127.0.0.1:0)", bind, local)?;
    lab.call("connect(deaf, receiver)", || deaf.connect(receiver.local_addr()?))?;
    let hopeful = lab.call_showing("bind(hopeful, 127.0.0.1:0)", bind, local)?;
    lab.call("connect(hopeful, deaf)", || hopeful.connect(deaf.local_addr()?))?;
    let sent = lab.call("send(hopeful, \"hello?\")", || hopeful.send(b"hello?"));
    lab.poll([("hopeful", &hopeful)], PollFlags::IN, SOON)?;
    hopeful.set_nonblocking(true)?;
    let refused = recv(lab, "hopeful", 64, |buffer| hopeful.recv(buffer));
    let after = recv(lab, "hopeful", 64, |buffer| hopeful.recv(buffer));
    lab.claim("sending to nobody succeeds", show::result(&sent), sent.is_ok());
    lab.claim(
        "a connected socket is told of the refusal later, once",
        format!("{}, then {}", show_result(&refused), show_result(&after)),
        refused.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) && would_block(&after),
    );
    Ok(())
}

/// Receives a datagram. An empty one is not the end of anything.
pub(super) fn recv(
    lab: &mut Narrator,
    name: &str,
    bytes_max: usize,
    recv: impl FnOnce(&mut [u8]) -> io::Result<usize>,
) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; bytes_max];
    let call = || recv(&mut buffer).map(|bytes| buffer[..bytes].to_vec());
    lab.call_showing(format!("recv({name}, {bytes_max} bytes)"), call, |datagram| {
        format!("{} {}", datagram.len(), show::quoted(datagram))
    })
}

fn bind() -> io::Result<UdpSocket> {
    UdpSocket::bind("127.0.0.1:0")
}

fn local(socket: &UdpSocket) -> String {
    show::result(&socket.local_addr())
}

fn numbered(number: usize) -> Vec<u8> {
    format!("{number:>FLOOD_BYTES$}").into_bytes()
}

fn show_all(datagrams: &[Vec<u8>]) -> String {
    datagrams.iter().map(|datagram| show::quoted(datagram)).collect::<Vec<_>>().join(", ")
}

fn show_result(received: &io::Result<Vec<u8>>) -> String {
    received.as_ref().map_or_else(show::error, |datagram| show::quoted(datagram))
}
