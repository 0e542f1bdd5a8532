//! The lessons: narrated experiments on real sockets, in one process and one thread.
//!
//! A lesson makes system calls through its [`Narrator`], which prints each one with its result and its time,
//! and it *claims*: what it teaches is compared with what happened, so that a lesson is a test as well. It
//! knows nothing of arguments and exit codes, and never waits without a bound.
//!
//! # How to add a lesson
//! 1. `src/lab/NAME.rs` opens with `//!`: what it teaches, its man pages, and what a Python user knows it as.
//! 2. It has one `pub(super) const LESSON: Lesson` and a `fn run(lab: &mut Narrator) -> io::Result<()>` that
//!    reads as the lesson from top to bottom: [`say`](Narrator::say) what will happen and why,
//!    [`call`](Narrator::call) (or [`recv`](Narrator::recv), [`send`](Narrator::send),
//!    [`poll`](Narrator::poll)) to let it happen, [`claim`](Narrator::claim) what was to be seen.
//! 3. `mod NAME;` and a row of [`LESSONS`], at its place in teaching order. `tests/lab` runs what is listed.
//!
//! A `?` is for what must not fail; a failure that is the point of the lesson is a value, to be claimed. A
//! claim must hold on every machine: orders and lower bounds, never an exact time or the size of a kernel's
//! buffer. With `--slow` every step is followed by a pause, so nothing may depend on how long the narration
//! takes.

mod blocking;
mod broadcast;
mod datagram;
mod double_bind;
mod edge;
mod framing;
mod hangup;
mod heartbeat;
mod narrator;
mod nolocks;
mod nonblocking;
mod partial;
mod scratch;
mod sendfile;
mod show;
mod slow_reader;
mod timeout;
pub mod turns;
mod unix;

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

pub use narrator::Narrator;

/// One experiment.
#[derive(Debug)]
pub struct Lesson {
    /// One word, as it is typed.
    pub name: &'static str,
    /// What it is about, in a line.
    pub about: &'static str,
    /// What to take home, in a few sentences.
    remember: &'static str,
    /// An error is a system call that had to succeed and did not.
    run: fn(&mut Narrator) -> io::Result<()>,
}

/// Every lesson, in teaching order.
pub const LESSONS: &[Lesson] = &[
    blocking::LESSON,
    nonblocking::LESSON,
    timeout::LESSON,
    partial::LESSON,
    framing::LESSON,
    edge::LESSON,
    hangup::LESSON,
    broadcast::LESSON,
    slow_reader::LESSON,
    sendfile::LESSON,
    double_bind::LESSON,
    heartbeat::LESSON,
    datagram::LESSON,
    unix::LESSON,
    nolocks::LESSON,
];

/// How a lesson is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Telling {
    /// How long each step stays before the next one.
    pub pause: Duration,
    /// Only the table of what was observed.
    pub is_quiet: bool,
}

impl Lesson {
    /// Tells the lesson to `out`. A reader who leaves early (EPIPE) is no failure: it goes on unheard.
    ///
    /// # Errors
    /// Which claims were not observed, or which system call failed, for people.
    pub fn tell(&self, out: Box<dyn Write>, telling: Telling) -> Result<(), String> {
        let mut lab = Narrator::new(out, telling);
        lab.title(self.name, self.about);
        (self.run)(&mut lab).map_err(|error| format!("{error}, at {} or right after it", lab.last_call()))?;
        lab.finish(self.remember)
    }
}

/// Whether a wait took as long as it had to. The kernel counts socket timeouts in ticks, of 10 ms at most,
/// and the first of them may be over at once.
fn has_waited(took: Duration, at_least: Duration) -> bool {
    const TICK: Duration = Duration::from_millis(10);
    took + TICK >= at_least
}

/// A TCP connection over loopback, for lessons that begin with one: its client's end and its server's.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    Ok((client, server))
}

/// How long a lesson waits for what is sure to come: loopback is fast, but a busy machine is not.
const SOON: Duration = Duration::from_secs(5);

/// Waits, without a word, until a socket is ready.
fn wait_for(socket: &TcpStream, wanted: PollFlags) -> io::Result<()> {
    match rustix::event::poll(&mut [PollFd::new(socket, wanted)], Some(&narrator::timespec(SOON)))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

/// Waits until so many bytes can be received, and leaves them there: TCP alone does not say how much comes
/// at once.
fn wait_for_bytes(socket: &TcpStream, bytes: u64) -> io::Result<()> {
    let began = Instant::now();
    while rustix::io::ioctl_fionread(socket)? < bytes {
        if began.elapsed() > SOON {
            return Err(io::ErrorKind::TimedOut.into());
        }
        rustix::event::poll(&mut [], Some(&narrator::timespec(Duration::from_millis(1))))?;
    }
    Ok(())
}

/// Whether a call had nothing to give, or to take, for now.
fn would_block<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_lesson_has_a_name_of_its_own_and_one_line_about_it() {
        let names: BTreeSet<&str> = LESSONS.iter().map(|lesson| lesson.name).collect();
        assert_eq!(names.len(), LESSONS.len());
        for Lesson { name, about, remember, .. } in LESSONS {
            assert!(
                !about.is_empty() && name.len() + 2 + about.len() <= 80 && !about.contains('\n'),
                "{name}"
            );
            assert!(!remember.is_empty(), "{name}");
        }
    }

    fn tell(run: fn(&mut Narrator) -> io::Result<()>) -> Result<(), String> {
        let lesson = Lesson { name: "sample", about: "a sample", remember: "nothing", run };
        lesson.tell(Box::new(io::sink()), Telling::default())
    }

    #[test]
    fn a_lesson_whose_claims_were_all_observed_succeeds() {
        let told = tell(|lab| {
            lab.claim("water is wet", "wet", true);
            Ok(())
        });
        assert_eq!(told, Ok(()));
    }

    #[test]
    fn a_claim_that_was_not_observed_fails_the_lesson_by_name() {
        let told = tell(|lab| {
            lab.claim("water is wet", "wet", true);
            lab.claim("fire is cold", "hot", false);
            Ok(())
        });
        assert_eq!(told, Err("not observed: \"fire is cold\", but hot".into()));
    }

    #[test]
    fn a_lesson_that_claims_nothing_fails() {
        assert_eq!(tell(|_| Ok(())), Err("nothing was claimed".into()));
    }

    #[test]
    fn a_system_call_that_had_to_succeed_is_named() {
        let told = tell(|lab| lab.call("recv(nobody)", || Err::<(), _>(io::Error::other("out of luck"))));
        assert_eq!(told, Err("out of luck, at recv(nobody) or right after it".into()));
    }

    #[test]
    fn a_failure_that_is_the_point_of_a_lesson_does_not_fail_it() {
        let told = tell(|lab| {
            let refused = lab.call("connect(nobody)", || Err::<(), _>(io::Error::other("refused")));
            lab.claim("nobody is there", "refused", refused.is_err());
            Ok(())
        });
        assert_eq!(told, Ok(()));
    }
}
