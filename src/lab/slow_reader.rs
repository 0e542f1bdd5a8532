//! One who does not read: the kernel's buffers fill, our send gives `WouldBlock`, and then? (send(2), tcp(7))
//!
//! Python's `for client in clients: client.sendall(message)` stops here for everybody. Queues without a
//! bound only move the trouble into memory. The chat of this program has one bounded log, and a choice:
//! skip, close or wait.

mod room;

use std::io::{self, Write};
use std::time::Duration;

use super::{Lesson, Narrator, show, would_block};
use room::{LOG_BYTES_MAX, MESSAGES, Policy, Room, connection};

pub(super) const LESSON: Lesson = Lesson {
    name: "slow-reader",
    about: "one who does not read: it skips, it is closed, or all wait",
    remember: "somebody always pays for a slow reader, so decide who. Itself: skip (it misses messages, \
               and is told how many) or close. Everyone: wait (nothing is lost, and all go at the pace of \
               the slowest). Or the server: an unbounded queue, until there is no memory left. `onepoll \
               serve --slow` has the first three.",
    run,
};

/// How long nothing moves before it is called a standstill.
const A_WHILE: Duration = Duration::from_millis(200);

fn run(lab: &mut Narrator) -> io::Result<()> {
    lab.say(
        "A reader who does not read. The server sends, without waiting, until its kernel and the reader's \
         have taken what they may:",
    );
    let (_asleep, mut server) = connection()?;
    let message = [b'x'; 1024];
    let mut taken = 0;
    let refused = lab.call("send(slow, 1,024 bytes) until it fails", || {
        loop {
            match server.write(&message) {
                // Far more than the kernel was asked to hold: then it has no bound worth the name.
                Ok(bytes) if taken < 64 << 20 => taken += bytes,
                result => return result,
            }
        }
    });
    lab.claim(
        "the kernel takes a bounded number of bytes for one who does not read",
        format!("{} bytes, {}", show::grouped(taken), show::result(&refused)),
        would_block(&refused),
    );
    lab.say(
        "What now? A chat room with two readers, one of them asleep, on the log of the real chat. It keeps \
         64 KiB of messages, whoever reads; a sender sends it 2,000 messages of 1 KiB.",
    );
    skip(lab)?;
    close(lab)?;
    wait(lab)
}

fn skip(lab: &mut Narrator) -> io::Result<()> {
    lab.say("First policy, skip: the log goes on, and the sleeper misses what the log no longer has.");
    let mut room = Room::new(Policy::Skip)?;
    lab.call("chat(skip), the slow one asleep", || room.run(|room| room.fast.messages == MESSAGES))?;
    lab.claim(
        "skip: the others get every message",
        format!("{} messages", show::grouped(room.fast.messages)),
        room.fast.messages == MESSAGES,
    );
    lab.claim(
        "the server holds no more than its log",
        format!("{} bytes", show::grouped(room.log.capacity_bytes())),
        room.log.capacity_bytes() <= 2 * LOG_BYTES_MAX,
    );
    room.slow.is_awake = true;
    lab.call("chat(skip), the slow one awake", || {
        room.run(|room| room.slow.messages + room.slow.missed == MESSAGES)
    })?;
    let (read, missed) = (room.slow.messages, room.slow.missed);
    lab.claim(
        "the slow one gets whole messages, and is told how many it missed",
        format!("{} + {} missed", show::grouped(read), show::grouped(missed)),
        missed > 0 && read + missed == MESSAGES && room.slow.torn == 0,
    );
    Ok(())
}

fn close(lab: &mut Narrator) -> io::Result<()> {
    lab.say("Second policy, close: who is overtaken by the log is cut off.");
    let mut room = Room::new(Policy::Close)?;
    lab.call("chat(close), the slow one asleep", || room.run(|room| room.fast.messages == MESSAGES))?;
    room.slow.is_awake = true;
    lab.call("chat(close), the slow one awake", || room.run(|room| room.slow.has_ended))?;
    lab.claim(
        "close: the others get every message",
        format!("{} messages", show::grouped(room.fast.messages)),
        room.fast.messages == MESSAGES,
    );
    lab.claim(
        "the slow one gets what was on its way, and the end",
        format!(
            "{} messages, {}",
            room.slow.messages,
            if room.slow.has_ended { "the end" } else { "no end" }
        ),
        room.slow.messages < MESSAGES && room.slow.has_ended,
    );
    Ok(())
}

fn wait(lab: &mut Narrator) -> io::Result<()> {
    lab.say(
        "Third policy, wait: the server reads no more from the sender while the log would overtake \
         anybody. So the sender's socket fills as well, and its own send says WouldBlock: back-pressure.",
    );
    let mut room = Room::new(Policy::Wait)?;
    lab.call("chat(wait), the slow one asleep", || room.run(|room| room.idle >= A_WHILE))?;
    let waiting = room.fast.messages;
    lab.claim(
        "wait: one sleeper stops the sender, and so everybody",
        format!("{waiting} messages, then {}", show::result(&room.said)),
        waiting < MESSAGES && would_block(&room.said),
    );
    room.slow.is_awake = true;
    lab.call("chat(wait), the slow one awake", || {
        room.run(|room| room.slow.messages == MESSAGES && room.fast.messages == MESSAGES)
    })?;
    lab.claim(
        "once it reads, all get everything",
        format!("{} and {}", show::grouped(room.fast.messages), show::grouped(room.slow.messages)),
        [room.fast.messages, room.slow.messages] == [MESSAGES; 2] && room.slow.missed == 0,
    );
    Ok(())
}
