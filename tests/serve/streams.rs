//! What comes out of pipes and sockets, line by line, each read with a deadline.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

/// How long anything may take before the test fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Whether the descriptor is readable (or at its end) before the deadline.
pub fn wait_readable(descriptor: BorrowedFd<'_>, until: Instant) -> bool {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match rustix::event::poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return ready.expect("poll works") > 0,
        }
    }
}

/// Lines of a pipe or a socket, each read with a deadline.
pub struct Lines<S> {
    pub source: S,
    buffer: Vec<u8>,
}

impl<S: Read + AsFd> Lines<S> {
    pub fn new(source: S) -> Self {
        Lines { source, buffer: Vec::new() }
    }

    /// Reads what is there into the buffer; 0 at the end.
    fn fill(&mut self, until: Instant) -> io::Result<usize> {
        if !wait_readable(self.source.as_fd(), until) {
            let tail = &self.buffer[self.buffer.len().saturating_sub(500)..];
            panic!("nothing came before the deadline; unfinished: {:?}", String::from_utf8_lossy(tail));
        }
        let mut chunk = [0; 16 * 1024];
        let bytes = self.source.read(&mut chunk)?;
        self.buffer.extend_from_slice(&chunk[..bytes]);
        Ok(bytes)
    }

    /// The next line without its end, as bytes; `None` at the end of the stream, which must not come
    /// inside a line.
    pub fn next_bytes(&mut self) -> Option<Vec<u8>> {
        let until = Instant::now() + DEADLINE;
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=searched + at).collect();
                line.pop();
                return Some(line);
            }
            searched = self.buffer.len();
            if self.fill(until).expect("the stream is read") == 0 {
                assert!(self.buffer.is_empty(), "torn: {:?}", String::from_utf8_lossy(&self.buffer));
                return None;
            }
        }
    }

    /// The next line as text; `None` at the end of the stream.
    pub fn next_line(&mut self) -> Option<String> {
        self.next_bytes().map(|line| String::from_utf8(line).expect("lines are UTF-8"))
    }

    /// The next line as text.
    pub fn line(&mut self) -> String {
        self.next_line().expect("a line, not the end of the stream")
    }

    /// The next line, which must contain `text`.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let line = self.line();
        assert!(line.contains(text), "expected {text:?} in {line:?}");
        line
    }

    /// All lines before the first one that contains `text`, and that one last.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> Vec<String> {
        let until = Instant::now() + DEADLINE;
        let mut lines: Vec<String> = Vec::new();
        loop {
            assert!(Instant::now() < until, "{text:?} did not come among {} lines", lines.len());
            match self.next_line() {
                Some(line) => lines.push(line),
                None => panic!("the stream ended before {text:?}; it had {lines:?}"),
            }
            if lines.last().is_some_and(|line| line.contains(text)) {
                return lines;
            }
        }
    }

    /// All that is left, up to the end of the stream.
    pub fn rest(&mut self) -> Vec<u8> {
        self.rest_or_error().expect("the stream ends, it does not break")
    }

    /// All that is left, or how the stream broke.
    pub fn rest_or_error(&mut self) -> io::Result<Vec<u8>> {
        let until = Instant::now() + DEADLINE;
        while self.fill(until)? > 0 {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// All that is left, as lines.
    pub fn rest_lines(&mut self) -> Vec<String> {
        let rest = String::from_utf8(self.rest()).expect("lines are UTF-8");
        assert!(rest.is_empty() || rest.ends_with('\n'), "torn: {rest:?}");
        rest.lines().map(String::from).collect()
    }

    /// Exactly so many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let until = Instant::now() + DEADLINE;
        while self.buffer.len() < count {
            assert!(self.fill(until).expect("the stream is read") > 0, "the stream ended early");
        }
        self.buffer.drain(..count).collect()
    }
}

/// A client's socket.
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}
