//! The real binary, started on a free port, and people who talk to it.
//!
//! Nothing here sleeps, nor in `streams`: every read, write and wait blocks until it is done, or fails the test
//! at a deadline that only a broken server or a dead machine meets. A server is killed by its own handle when its
//! test ends, and what it wrote to standard error is shown where the test failed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal};

#[path = "children.rs"]
mod children;
#[path = "needs.rs"]
mod needs;
#[path = "streams.rs"]
mod streams;

pub use children::*;
pub use needs::*;
pub use streams::{DEADLINE, Lines, Stream, wait_readable};

/// No join and leave notices and no history: only what a test itself causes.
pub const BARE: [&str; 3] = ["--quiet", "--history", "0"];

/// A running `onepoll serve`.
pub struct Server {
    child: Child,
    /// The addresses that it named so far.
    pub addresses: Vec<String>,
    /// The operator's keyboard, until it is taken.
    pub stdin: Option<ChildStdin>,
    /// The operator's screen, behind the first address line.
    pub console: Option<Lines<ChildStdout>>,
    /// The log.
    pub log: Option<Lines<ChildStderr>>,
}

/// `onepoll` with these arguments, all piped.
pub fn onepoll(arguments: &[&str]) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_onepoll"));
    command.args(arguments);
    command
}

/// `onepoll serve` with these arguments, on a free port where they name no address, all piped.
pub fn command(arguments: &[&str]) -> Command {
    let place: &[&str] = if arguments.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
    onepoll(&[&["serve"], arguments, place].concat())
}

/// The same, started by a shell script that ends in `exec "$@"`.
pub fn shell(script: &str, arguments: &[&str]) -> Command {
    shelled(script, &command(arguments))
}

impl Server {
    /// A server on a free port of 127.0.0.1, or where the arguments say.
    pub fn start(arguments: &[&str]) -> Self {
        Self::spawn(command(arguments))
    }

    /// One without notices and history, with further arguments.
    pub fn bare(arguments: &[&str]) -> Self {
        Self::start(&[&BARE, arguments].concat())
    }

    /// Starts it and waits for its first address.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the binary starts");
        let mut server = Server {
            addresses: Vec::new(),
            stdin: child.stdin.take(),
            console: child.stdout.take().map(Lines::new),
            log: child.stderr.take().map(Lines::new),
            child,
        };
        if server.console.is_some() {
            server.next_address();
        }
        server
    }

    /// Waits for the next line that names an address.
    pub fn next_address(&mut self) -> String {
        let line = self.console().line();
        let address = line.strip_prefix("listening on ").expect("the address comes first").to_string();
        self.addresses.push(address.clone());
        address
    }

    pub fn console(&mut self) -> &mut Lines<ChildStdout> {
        self.console.as_mut().expect("standard output is piped")
    }

    pub fn log(&mut self) -> &mut Lines<ChildStderr> {
        self.log.as_mut().expect("standard error is piped")
    }

    /// The operator types a line.
    pub fn operate(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is piped");
        stdin.write_all(format!("{line}\n").as_bytes()).expect("the console takes the line");
    }

    /// What the operator sees in answer to a line: all that comes before the answer to the next one.
    pub fn answer(&mut self, line: &str) -> Vec<String> {
        self.operate(line);
        self.operate("kick no-such-client-fence");
        let mut lines = self.console().until("kick: no-such-client-fence");
        lines.pop();
        lines
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        assert!(
            !children::is_left_ignored(signal.as_raw()),
            "{signal:?} is ignored as the tests were started so, and there is no `env --default-signal` to restore it"
        );
        rustix::process::kill_process(self.pid(), signal).expect("the server is there to be signalled");
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let pidfd: OwnedFd =
            rustix::process::pidfd_open(self.pid(), PidfdFlags::empty()).expect("the child is there");
        assert!(wait_readable(pidfd.as_fd(), Instant::now() + DEADLINE), "the server did not end");
        self.child.wait().expect("the child is there")
    }

    /// Waits until it has ended, and returns its exit code.
    pub fn exit_code(&mut self) -> i32 {
        self.wait().code().expect("an exit code, not a signal")
    }

    /// Kills it as the kernel does, without a chance to clean up.
    pub fn kill(&mut self) {
        self.child.kill().expect("the server is there to be killed");
        self.child.wait().expect("the child is there");
    }

    /// Processor time that it has used, in ticks of 10 ms.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = self.proc("stat");
        // Behind the name, which is in parentheses: fields 14 and 15, utime and stime (proc(5)).
        let fields: Vec<&str> = stat.rsplit(") ").next().expect("a stat line").split(' ').collect();
        fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
    }

    /// A file of its `/proc` directory.
    pub fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.pid().as_raw_nonzero());
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The numbers of the descriptors that it has open, in order.
    pub fn descriptors(&self) -> Vec<u64> {
        let path = format!("/proc/{}/fd", self.pid().as_raw_nonzero());
        let entries = std::fs::read_dir(path).expect("/proc is there");
        let mut numbers: Vec<u64> = entries
            .map(|entry| {
                entry.expect("/proc is there").file_name().to_string_lossy().parse().expect("a number")
            })
            .collect();
        numbers.sort_unstable();
        numbers
    }

    /// Takes the descriptors away that are not open yet (or gives so many).
    pub fn limit_descriptors(&self, limit: Option<u64>) {
        let open = self.descriptors();
        // It may have inherited some with high numbers: what counts is the lowest free one.
        let free = (0..).zip(&open).position(|(number, open)| number != *open).unwrap_or(open.len());
        let limit = Rlimit { current: Some(limit.unwrap_or(free as u64)), maximum: Some(1000) };
        rustix::process::prlimit(Some(self.pid()), Resource::Nofile, limit).expect("our own child");
    }

    /// Waits until it sleeps: in its poll, for it does nowhere else, so that no turn is under way.
    fn wait_until_asleep(&self) {
        let until = Instant::now() + DEADLINE;
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid().as_raw_nonzero()))
                .expect("our own child");
            // Behind the name, which may have anything in it (proc(5)).
            if stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('S')) {
                return;
            }
            assert!(Instant::now() < until, "it never sleeps: {stat}");
            std::thread::yield_now();
        }
    }

    /// Has it see all that happens in `act` at once, as far as the budgets of a turn go.
    pub fn in_one_turn<R>(&self, act: impl FnOnce() -> R) -> R {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        self.wait_until_asleep();
        self.signal(Signal::STOP);
        // The signal is on its way only; what counts is that it has arrived.
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(self.pid()), options).expect("our own child");
        let result = act();
        self.signal(Signal::CONT);
        result
    }

    /// Connects to its first address, and reads nothing.
    pub fn connect(&self) -> Client {
        Client::connect(&self.addresses[0])
    }

    /// Connects to its first address and reads the greeting.
    pub fn join(&self) -> Client {
        self.connect().greeted()
    }

    /// The same, with a nick.
    pub fn join_as(&self, nick: &str) -> Client {
        let mut client = self.join();
        client.nick(nick);
        client
    }

    /// Connects with a receive buffer that is full almost at once, and reads the greeting.
    pub fn join_with_little_room(&self) -> Client {
        self.connect_with_little_room().greeted()
    }

    /// The same without the greeting.
    pub fn connect_with_little_room(&self) -> Client {
        self.connect_with_room(2048)
    }

    /// Connects with a receive buffer that takes some hundred KiB before any of it is read, and reads nothing.
    pub fn connect_with_much_room(&self) -> Client {
        self.connect_with_room(1 << 20)
    }

    fn connect_with_room(&self, receive_buffer_bytes: usize) -> Client {
        let address: SocketAddr = self.addresses[0].parse().expect("a TCP address");
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)
            .expect("a socket");
        socket.set_recv_buffer_size(receive_buffer_bytes).expect("as much as the system allows");
        socket.connect(&address.into()).expect("the server accepts");
        Client::new(Stream::Tcp(socket.into()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Whatever the test was about: no server may panic, which has this code, or this signal in a release (P70).
        let ended = self.child.try_wait().ok().flatten();
        let has_panicked = ended.is_some_and(|end| end.code() == Some(101) || end.signal() == Some(6));
        let _ = self.child.kill();
        let _ = self.child.wait();
        assert!(!has_panicked || std::thread::panicking(), "the server panicked");
        if std::thread::panicking()
            && let Some(log) = &mut self.log
        {
            let mut text = String::new();
            let _ = log.source.read_to_string(&mut text);
            eprintln!("---- the server's standard error ----\n{text}----");
        }
    }
}

/// The command in a mount namespace of its own, where a disk of this size stands at `folder`; `None` where that
/// cannot be, which is reported.
#[track_caller]
pub fn on_a_disk_of(size: &str, folder: &Path, command: &Command) -> Option<Command> {
    let unshare = if rustix::process::geteuid().is_root() { "unshare -m" } else { "unshare -r -m" };
    let mount = format!("mount -t tmpfs -o size={size} none");
    let probe = format!("{unshare} {mount} /mnt");
    let is_met = script(&probe, &[]).status().is_ok_and(|status| status.success());
    if !are_installed(&["unshare", "mount"])
        || !need(is_met, "no disk of its own can be mounted here", &probe)
    {
        return None;
    }
    let script = format!("{mount} '{}'; exec \"$@\"", folder.display());
    let by: Vec<&str> = unshare.split(' ').chain(["/bin/sh", "-c", &script, "sh"]).collect();
    Some(wrapped(&by, command))
}

/// Runs the binary until it ends by itself; returns its exit code, standard output and error.
pub fn run(mut command: Command) -> (i32, String, String) {
    command.stdin(Stdio::null());
    let mut server = {
        let mut child = command.spawn().expect("the binary starts");
        Server {
            addresses: Vec::new(),
            stdin: None,
            console: child.stdout.take().map(Lines::new),
            log: child.stderr.take().map(Lines::new),
            child,
        }
    };
    let stdout = String::from_utf8(server.console().rest()).expect("text");
    let stderr = String::from_utf8(server.log().rest()).expect("text");
    (server.exit_code(), stdout, stderr)
}

/// Somebody who talks to a server. Reads like [`Lines`].
pub struct Client {
    lines: Lines<Stream>,
    /// What the server calls it, once it was greeted.
    pub name: String,
    fences: u32,
}

/// Ends the connection at once. Another test may be starting a program at that moment, which has a copy of every
/// descriptor of this process until it is that program: closing ours alone would end nothing before then.
impl Drop for Client {
    fn drop(&mut self) {
        let _ = socket2::SockRef::from(&self.lines.source).shutdown(std::net::Shutdown::Write);
    }
}

impl std::ops::Deref for Client {
    type Target = Lines<Stream>;

    fn deref(&self) -> &Lines<Stream> {
        &self.lines
    }
}

impl std::ops::DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Lines<Stream> {
        &mut self.lines
    }
}

impl Client {
    /// Connects to an address as the server names it.
    pub fn connect(address: &str) -> Self {
        Client::new(match address.strip_prefix("unix:") {
            Some(path) => Stream::Unix(UnixStream::connect(path).expect("the server accepts")),
            None => Stream::Tcp(TcpStream::connect(address).expect("the server accepts")),
        })
    }

    pub fn new(stream: Stream) -> Self {
        match &stream {
            Stream::Tcp(stream) => {
                stream.set_nodelay(true).expect("TCP has it");
                stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
            }
            Stream::Unix(stream) => stream.set_write_timeout(Some(DEADLINE)).expect("a timeout"),
        }
        Client { lines: Lines::new(stream), name: String::new(), fences: 0 }
    }

    /// Reads the greeting, and remembers the name in it.
    #[track_caller]
    pub fn greeted(mut self) -> Self {
        let greeting = self.expect("-- you are ");
        let name = greeting["-- you are ".len()..].split(' ').next().expect("a name");
        self.name = name.to_string();
        self
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.source.write_all(bytes.as_ref()).expect("the server takes it");
    }

    /// Sends a line.
    pub fn say(&mut self, line: &str) {
        self.send(format!("{line}\n"));
    }

    /// Sends a line and returns its echo, which must be the next thing to come, without the time.
    #[track_caller]
    pub fn echo(&mut self, line: &str) -> String {
        self.say(line);
        untimed(&self.line())
    }

    /// Sends a line and returns the reply.
    pub fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.line()
    }

    /// Takes a nick.
    #[track_caller]
    pub fn nick(&mut self, nick: &str) {
        let reply = self.ask(&format!("/nick {nick}"));
        assert_eq!(reply, format!("-- you are now {nick} --"));
        self.name = nick.into();
    }

    /// Asks until the answer has `text` in it.
    #[track_caller]
    pub fn ask_until(&mut self, question: &str, text: &str) {
        let until = Instant::now() + DEADLINE;
        loop {
            let answer = self.ask(question);
            if answer.contains(text) {
                return;
            }
            assert!(Instant::now() < until, "{text:?} never came; last: {answer:?}");
        }
    }

    /// All that the server had for this client before it answers the next question.
    #[track_caller]
    pub fn fence(&mut self) -> Vec<String> {
        self.fences += 1;
        let fence = format!("fence-{}", self.fences);
        self.say(&format!("/ping {fence}"));
        let mut lines = self.until(&format!("-- pong {fence} --"));
        lines.pop();
        lines
    }

    /// Asks for something, from which on this client is more than a listener to the others.
    #[track_caller]
    pub fn appear(&mut self) {
        self.say("/rooms");
        self.fence();
    }

    /// Sends no more, but reads on.
    pub fn half_close(&mut self) {
        let how = std::net::Shutdown::Write;
        match &self.source {
            Stream::Tcp(stream) => stream.shutdown(how),
            Stream::Unix(stream) => stream.shutdown(how),
        }
        .expect("an open socket can be half closed");
    }

    /// Closes with a reset instead of an end.
    pub fn reset(self) {
        // Linux resets a connection that its socket is to have no more.
        rustix::net::connect_unspec(self.tcp()).expect("TCP can be disconnected");
    }

    pub fn tcp(&self) -> &TcpStream {
        match &self.source {
            Stream::Tcp(stream) => stream,
            Stream::Unix(_) => panic!("a TCP client"),
        }
    }
}

/// Until `is_so`, which is asked again and again; fails at the deadline.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to be: {what}");
    }
}

/// A line without its timestamp, whose form is checked: `2026/11/21 10:00:00 `.
#[track_caller]
pub fn untimed(line: &str) -> String {
    const FORM: &[u8] = b"0000/00/00 00:00:00 ";
    let is_timed = line.len() >= FORM.len()
        && line.bytes().zip(FORM).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == *form,
        });
    assert!(is_timed, "no timestamp: {line:?}");
    line[FORM.len()..].to_string()
}

/// An address at which nobody listens, for as long as the socket is held: it is bound, so that nobody else can be.
pub fn nobodys_address() -> (socket2::Socket, String) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    let address = socket.local_addr().expect("bound").as_socket().expect("of TCP").to_string();
    (socket, address)
}

/// A directory of this test's own, removed when it ends.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("onepoll-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).expect("a new directory");
        Directory(path)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// `unix:PATH` of a socket in it.
    pub fn socket(&self, name: &str) -> String {
        format!("unix:{}", self.file(name).display())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A command that `/bin/sh` runs on a terminal of its own, by `script`, where that is installed. Without `exec`
/// in it, the shell stays between and takes a control-C for itself, too.
#[track_caller]
pub fn on_a_terminal(shell_command: &str) -> Option<Command> {
    if !is_installed("script") {
        return None;
    }
    let mut command = tool("script");
    command.args(["-qefc", shell_command, "/dev/null"]).env("SHELL", "/bin/sh");
    Some(command)
}
