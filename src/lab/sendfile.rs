//! A copy loop against sendfile(2): how often the kernel is called, and what passes through the process.
//!
//! Python: `for chunk in iter(lambda: file.read(16384), b""): sock.sendall(chunk)` against `sock.sendfile(file)`.

use std::fmt::{self, Display};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::scratch::Scratch;
use super::{Lesson, Narrator, pair, show, would_block};

pub(super) const LESSON: Lesson = Lesson {
    name: "sendfile",
    about: "a copy loop against sendfile: system calls, copies and processor time",
    remember: "sendfile hands a file to a socket inside the kernel: one call takes as much as the socket has room \
               for, and no byte passes through the program. It is still a send: short when the socket is full, and \
               to be continued at the offset that it moved. Who has to see the bytes (to hash, compress or encrypt \
               them, as a checked transfer does) reads them anyway, and gains nothing by it.",
    run,
};

const FILE_BYTES: usize = 4 << 20;

/// What the copy loop reads at once, as most of them do.
const CHUNK_BYTES: usize = 16 * 1024;

/// What a way of sending took.
#[derive(Default)]
struct Cost {
    calls: usize,
    copied_bytes: usize,
    processor: Duration,
}

impl Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls, {} of processor", show::grouped(self.calls), show::duration(self.processor))
    }
}

fn run(lab: &mut Narrator) -> io::Result<()> {
    lab.say(
        "A file of 4 MiB goes over a real connection, twice. Sender and receiver share one thread: whenever the \
         socket is full, the receiver reads all that is there, which is not counted.",
    );
    let scratch = Scratch::new()?;
    let content: Vec<u8> = (0..FILE_BYTES).map(|at| (at / 4096 * 31 + at) as u8).collect();
    let path = scratch.file("film");
    std::fs::write(&path, &content)?;

    lab.say(
        "First the copy loop: read a piece into memory, send it, and go on with the rest where it was short.",
    );
    let mut file = lab.call_showing("open(film)", || File::open(&path), |_| "a file".into())?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut unsent = 0..0;
    let (copy, received) = transfer(lab, "read, send, read, send, ...", |socket, cost| {
        if unsent.is_empty() {
            cost.calls += 1;
            unsent = 0..file.read(&mut chunk)?;
            cost.copied_bytes += unsent.len();
        }
        if unsent.is_empty() {
            return Ok(false);
        }
        cost.calls += 1;
        unsent.start += socket.write(&chunk[unsent.clone()])?;
        Ok(true)
    })?;
    let copy_arrived = received == content;

    lab.say("Now sendfile: the kernel takes the pages of the file from its own cache, as many as there is room for.");
    let file = lab.call_showing("open(film)", || File::open(&path), |_| "a file".into())?;
    let mut offset = 0;
    let (direct, received) = transfer(lab, "sendfile, sendfile, ...", |socket, cost| {
        cost.calls += 1;
        let left = FILE_BYTES - offset as usize;
        // It moves `offset` by what was sent: that is where a short one is continued.
        Ok(rustix::fs::sendfile(socket, &file, Some(&mut offset), left)? > 0)
    })?;

    lab.claim(
        "the file arrives whole, both ways",
        format!("{copy_arrived} and {}", received == content),
        copy_arrived && received == content,
    );
    lab.claim(
        "the copy loop needs two calls for each piece, at least",
        copy.to_string(),
        copy.calls >= 2 * FILE_BYTES / CHUNK_BYTES,
    );
    lab.claim("sendfile needs fewer", direct.to_string(), direct.calls < copy.calls);
    lab.claim(
        "the loop has every byte in its memory once, sendfile none",
        format!("{} B and {} B", show::grouped(copy.copied_bytes), direct.copied_bytes),
        (copy.copied_bytes, direct.copied_bytes) == (FILE_BYTES, 0),
    );
    Ok(())
}

/// Has `step` send until it says that nothing is left, and returns what that cost and what arrived.
fn transfer(
    lab: &mut Narrator,
    what: &str,
    mut step: impl FnMut(&mut TcpStream, &mut Cost) -> io::Result<bool>,
) -> io::Result<(Cost, Vec<u8>)> {
    let (mut sender, mut receiver) = pair()?;
    sender.set_nonblocking(true)?;
    receiver.set_nonblocking(true)?;
    let mut cost = Cost::default();
    let mut received = Vec::with_capacity(FILE_BYTES);
    let send_all = || {
        loop {
            let began = processor_time();
            let stepped = step(&mut sender, &mut cost);
            cost.processor += processor_time().saturating_sub(began);
            if would_block(&stepped) {
                // It reads until nothing is there, which it says by an error.
                let drained = receiver.read_to_end(&mut received);
                debug_assert!(would_block(&drained));
            } else if !stepped? {
                return Ok::<_, io::Error>(cost);
            }
        }
    };
    let cost = lab.call_showing(what, send_all, |cost| format!("{} calls", show::grouped(cost.calls)))?;
    drop(sender);
    receiver.set_nonblocking(false)?;
    receiver.read_to_end(&mut received)?;
    Ok((cost, received))
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
