//! What a broadcast costs: a queue for each member, as the select(2) tutorials have it, or one log with a cursor
//! for each member.
//!
//! Python: `message_queues[s].put(data)` for every client, then `s.send(message_queues[s].get_nowait())` for every
//! one that is writable. The log is the chat server's own, [`crate::chat::log`].

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;

use super::{Lesson, Narrator, SOON, pair, show};
use crate::chat::log::{Cursor, Kind, Log};

pub(super) const LESSON: Lesson = Lesson {
    name: "broadcast",
    about: "a queue for each member against one log with cursors: bytes and calls",
    remember: "a broadcast copied into N queues costs N times its bytes, and with a send for each message N times \
               as many calls. Append it once, and let a member be a position in that log: posting costs the same \
               for two and for 20,000, all that a member has not read goes out in one call, and who never reads \
               holds no memory, for the log is bounded and its cursor falls off the tail.",
    run,
};

const MEMBERS: usize = 50;
const MESSAGES: usize = 40;

/// Messages while one member does not read, and what the log keeps of them.
const FLOOD: usize = 10_000;
const LOG_BYTES_MAX: usize = 64 * 1024;

/// A member's end of its connection, and ours.
type Member = (TcpStream, TcpStream);

fn run(lab: &mut Narrator) -> io::Result<()> {
    lab.say(&format!(
        "{MEMBERS} members are connected, and {MESSAGES} messages are said in one busy moment. First as the \
         tutorials do it: each message is put into a queue for each member, and each queue is sent, message by \
         message."
    ));
    let connect = || (0..MEMBERS).map(|_| pair()).collect::<io::Result<Vec<_>>>();
    let mut members =
        lab.call_showing("connect, accept, ...", connect, |all| format!("{} members", all.len()))?;
    let messages: Vec<String> = (0..MESSAGES as u64).map(message).collect();
    let said = messages.concat();
    let mut queues = vec![VecDeque::new(); MEMBERS];
    for message in &messages {
        for queue in &mut queues {
            queue.push_back(message.clone());
        }
    }
    let queued_bytes: usize = queues.iter().flatten().map(String::len).sum();
    let by_queues = deliver(lab, "send(member, message), ...", &mut members, &said, |at, socket| {
        let mut calls = 0;
        while let Some(message) = queues[at].pop_front() {
            socket.write_all(message.as_bytes())?;
            calls += 1;
        }
        Ok(calls)
    })?;

    lab.say(
        "Now with one log. Each message is appended once, and no member is touched. Then each member gets, in one \
         call, all that is between its cursor and the end: it is one span of bytes (two, where a ring wraps: then \
         writev takes both).",
    );
    let mut log = Log::new(LOG_BYTES_MAX);
    for message in &messages {
        log.append(Kind::Message, &[message.as_bytes()]);
    }
    let log_bytes = log.capacity_bytes();
    let mut cursors = [Cursor::default(); MEMBERS];
    let by_log = deliver(lab, "writev(member, unread), ...", &mut members, &said, |at, socket| {
        let unread = log.slice(cursors[at].offset, log.end().offset);
        let taken = socket.write_vectored(&unread.parts.map(IoSlice::new))?;
        // No socket is full here; the chat keeps the rest of a message that a full one cut in two.
        debug_assert_eq!(taken, unread.len());
        cursors[at] = log.end();
        Ok(1)
    })?;

    lab.claim(
        "queues hold each message once for each member",
        format!("{} B for {} B said", show::grouped(queued_bytes), show::grouped(said.len())),
        queued_bytes == MEMBERS * said.len(),
    );
    lab.claim(
        "the log holds it once, with its bookkeeping",
        format!("{} B", show::grouped(log_bytes)),
        (said.len()..queued_bytes / 10).contains(&log_bytes),
    );
    lab.claim(
        "a call for each member and message, against one for each member",
        format!("{} calls against {}", show::grouped(by_queues.calls), by_log.calls),
        (by_queues.calls, by_log.calls) == (MEMBERS * MESSAGES, MEMBERS),
    );
    lab.claim(
        "everyone gets the same bytes in the same order, both ways",
        format!("{} and {} of {MEMBERS} members", by_queues.complete, by_log.complete),
        (by_queues.complete, by_log.complete) == (MEMBERS, MEMBERS),
    );

    lab.say(&format!(
        "A queue of bytes for each member would save the calls as well, but not the copies. And there is always \
         one who does not read: its queue would grow for as long as the others talk. Here are {} more messages, \
         while one cursor stays where it is; the log may keep {} bytes.",
        show::grouped(FLOOD),
        show::grouped(LOG_BYTES_MAX)
    ));
    for number in 0..FLOOD as u64 {
        log.append(Kind::Message, &[message(number).as_bytes()]);
    }
    let missed = log.base().messages - cursors[0].messages;
    lab.claim(
        "the log stays within its bound and its bookkeeping",
        format!("{} B", show::grouped(log.capacity_bytes())),
        log.capacity_bytes() <= 2 * LOG_BYTES_MAX,
    );
    lab.claim(
        "who was overtaken can be told how many it missed",
        format!("{} missed, {} kept", show::grouped(missed as usize), log.messages()),
        cursors[0].offset < log.base().offset && missed + log.messages() == FLOOD as u64,
    );
    Ok(())
}

/// What a delivery took, and how many members got just what was said.
struct Delivery {
    calls: usize,
    complete: usize,
}

/// Has `send` send to each member, and count its calls; then all of them read.
fn deliver(
    lab: &mut Narrator,
    what: &str,
    members: &mut [Member],
    said: &str,
    mut send: impl FnMut(usize, &mut TcpStream) -> io::Result<usize>,
) -> io::Result<Delivery> {
    let send_all = || members.iter_mut().enumerate().map(|(at, (_, ours))| send(at, ours)).sum();
    let calls =
        lab.call_showing(what, send_all, |calls: &usize| format!("{} calls", show::grouped(*calls)))?;
    let receive_all = || {
        let mut complete = 0;
        for (theirs, _) in members {
            theirs.set_read_timeout(Some(SOON))?;
            let mut received = vec![0; said.len()];
            theirs.read_exact(&mut received)?;
            complete += usize::from(received == said.as_bytes());
        }
        Ok::<usize, io::Error>(complete)
    };
    let complete = lab.call_showing("recv(member), ...", receive_all, |all| format!("{all} have it all"))?;
    Ok(Delivery { calls, complete })
}

fn message(number: u64) -> String {
    format!("{number:05} {}\n", "blah ".repeat(12))
}
