//! A short write into a full socket buffer, and why `sendall` exists (send(2), tcp(7): SO_SNDBUF, SO_RCVBUF).
//!
//! Python: `sock.send(data)` returns how much it took, which nobody looks at; `sock.sendall(data)` is a
//! loop around it. Bytes that are sent are copied to the kernel's buffers, one on each side, and those have
//! an end.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use rustix::event::PollFlags;
use socket2::SockRef;

use super::{Lesson, Narrator, SOON, show, would_block};

pub(super) const LESSON: Lesson = Lesson {
    name: "partial",
    about: "a short write into a full socket buffer; why sendall exists",
    remember: "send takes what fits and says how much that was: the rest is still yours. sendall goes on \
               until all is taken, and blocks as long as the peer pleases. A loop keeps the rest, does \
               something else, and goes on when poll says that the socket is writable; it asks for that \
               only while it has a rest.",
    run,
};

const MESSAGE_BYTES: usize = 1 << 20;
const BUFFER_BYTES: usize = 128 << 10;

fn run(lab: &mut Narrator) -> io::Result<()> {
    lab.say(
        "A sender with a message of 1 MiB, and a receiver who does not read yet. Both get small buffers in \
         the kernel, so that they are soon full.",
    );
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // A connection inherits it: later would be too late for the window that it announces.
    lab.call("setsockopt(receiver, SO_RCVBUF, 128 K)", || {
        SockRef::from(&listener).set_recv_buffer_size(BUFFER_BYTES)
    })?;
    let sender = TcpStream::connect(listener.local_addr()?)?;
    lab.call("setsockopt(sender, SO_SNDBUF, 128 K)", || {
        SockRef::from(&sender).set_send_buffer_size(BUFFER_BYTES)
    })?;
    let (receiver, _) = listener.accept()?;
    lab.call("fcntl(sender, O_NONBLOCK)", || sender.set_nonblocking(true))?;
    receiver.set_nonblocking(true)?;

    let message: Vec<u8> = (0..MESSAGE_BYTES).map(|at| (at % 251) as u8).collect();
    lab.say(
        "The first send, with all of it, and then with what is left, until nothing more is taken (the kernel \
         carries bytes from one buffer to the other meanwhile, so that full is not full at once):",
    );
    let first = lab.send("sender", &sender, &message)?;
    lab.claim(
        "one send takes a part of a long message",
        format!("{} of {}", show::grouped(first), show::grouped(MESSAGE_BYTES)),
        0 < first && first < MESSAGE_BYTES,
    );
    let mut sent = first;
    let mut refused = Ok(first);
    let mut writable = PollFlags::OUT;
    while sent < MESSAGE_BYTES && !writable.is_empty() {
        refused = lab.send("sender", &sender, &message[sent..]);
        match &refused {
            Ok(bytes) => sent += bytes,
            // The kernel may still be carrying bytes across, and have room again when it has.
            Err(_) => {
                [writable] = lab.poll([("sender", &sender)], PollFlags::OUT, Duration::from_millis(100))?
            }
        }
    }
    lab.claim("with both buffers full, send takes nothing", show::result(&refused), would_block(&refused));
    lab.claim("and poll does not call the socket writable", show::flags(writable), writable.is_empty());
    lab.say(
        "A sendall on a blocking socket would wait here, for a receiver who is this very thread: for ever. \
         So the receiver reads what is there, all of it, and poll has news for the sender:",
    );
    let mut received = Vec::new();
    lab.call("recv(receiver, ...) until WouldBlock", || {
        drain(&receiver, &mut received).map(calls_and_bytes)
    })?;
    let [writable] = lab.poll([("sender", &sender)], PollFlags::OUT, SOON)?;
    lab.claim(
        "once the receiver has read, the socket is writable again",
        show::flags(writable),
        writable == PollFlags::OUT,
    );

    lab.say(
        "That is all that sendall needs: send what is left, wait until the socket is writable, and again.",
    );
    let (mut sends, mut short, mut waits) = (0, 0, 0);
    lab.call("sendall(sender, the rest)", || {
        while sent < MESSAGE_BYTES {
            let result = (&sender).write(&message[sent..]);
            if would_block(&result) {
                // Here a loop would serve others; this lesson has only the receiver to do something for.
                waits += 1;
                drain(&receiver, &mut received)?;
                super::wait_for(&sender, PollFlags::OUT)?;
            } else {
                let bytes = result?;
                sent += bytes;
                sends += 1;
                short += usize::from(sent < MESSAGE_BYTES);
            }
        }
        Ok::<_, io::Error>(format!("{sends} sends, {waits} waits"))
    })?;
    lab.call("shutdown(sender, SHUT_WR)", || sender.shutdown(std::net::Shutdown::Write))?;
    receiver.set_nonblocking(false)?;
    lab.call("recv(receiver, ...) until the end", || (&receiver).read_to_end(&mut received))?;
    lab.claim(
        "sendall needs several sends for the rest",
        format!("{sends} sends, {short} short"),
        sends > 1 && short > 0,
    );
    lab.claim(
        "and nothing is lost, doubled or out of order",
        format!(
            "{} bytes, {}",
            show::grouped(received.len()),
            if received == message { "the same" } else { "others" }
        ),
        received == message,
    );
    Ok(())
}

/// Reads until `WouldBlock`; returns how many calls that took, and how many bytes they gave.
fn drain(mut socket: &TcpStream, into: &mut Vec<u8>) -> io::Result<(usize, usize)> {
    let mut buffer = [0; 16 << 10];
    let (mut calls, mut bytes) = (0, 0);
    loop {
        let result = socket.read(&mut buffer);
        calls += 1;
        if would_block(&result) {
            return Ok((calls, bytes));
        }
        let length = result?;
        into.extend_from_slice(&buffer[..length]);
        bytes += length;
    }
}

fn calls_and_bytes((calls, bytes): (usize, usize)) -> String {
    format!("{} bytes, {calls} calls", show::grouped(bytes))
}
