//! What a blocking accept(2) and recv(2) do to everyone else, and what SO_RCVTIMEO (socket(7)) mends.
//!
//! Python's sockets block unless they are told otherwise: `settimeout(None)`. The server of the first
//! chapter of every tutorial does: `conn, _ = server.accept()`, `conn.recv(1024)`, answer, next.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::{Lesson, Narrator, SOON, has_waited, show, would_block};

pub(super) const LESSON: Lesson = Lesson {
    name: "blocking",
    about: "what a blocking accept and recv do to everyone else",
    remember: "a blocking call hands the whole thread to one peer, and the peer decides for how long. A \
               timeout takes the thread back, but late, and once for each silent peer. Ask all sockets at \
               once who is ready (poll, epoll), and call recv and accept only there: then no call waits, \
               and one thread is enough.",
    run,
};

const TIMEOUT: Duration = Duration::from_millis(300);

fn run(lab: &mut Narrator) -> io::Result<()> {
    lab.say(
        "A server as the first chapter of every tutorial has it: accept a client, recv what it says, answer, \
         then the next one, please. Two clients come. The first says nothing, the second is in a hurry.",
    );
    let server = lab.call("listen(server, 127.0.0.1:0)", || TcpListener::bind("127.0.0.1:0"))?;
    let address = server.local_addr()?;
    let _first = lab.call("connect(first)", || TcpStream::connect(address))?;
    let second = lab.call("connect(second)", || TcpStream::connect(address))?;
    lab.send("second", &second, b"hello")?;
    let second_has_sent = Instant::now();

    lab.say(
        "The server accepts the first, and asks what it has to say. A blocking recv would now wait for ever: \
         the lesson sets SO_RCVTIMEO (Python: settimeout(0.3)), so that it ends. Meanwhile, look who waits \
         at the door.",
    );
    let (at_first, _) = lab.call("accept(server)", || server.accept())?;
    lab.call("setsockopt(first, SO_RCVTIMEO, 300 ms)", || at_first.set_read_timeout(Some(TIMEOUT)))?;
    let [at_the_door] = lab.poll([("server", &server)], PollFlags::IN, SOON)?;
    lab.claim(
        "the second client can be accepted before the server begins to wait for the first",
        format!("server: {}", show::flags(at_the_door)),
        at_the_door == PollFlags::IN,
    );
    let mut buffer = [0; 64];
    let silence = lab.recv("first", &at_first, &mut buffer);
    lab.claim(
        "recv waits for a silent client as long as it may",
        format!("{}, after {}", show::result(&silence), show::duration(lab.took())),
        would_block(&silence) && has_waited(lab.took(), TIMEOUT),
    );

    lab.say("Only now the thread is free for the second client, whose text was there all the time:");
    let (at_second, _) = lab.call("accept(server)", || server.accept())?;
    let received = lab.recv("second", &at_second, &mut buffer)?;
    let delay = second_has_sent.elapsed();
    lab.claim(
        "the second client, who was ready, waited as long for nothing",
        format!("{received} bytes, {} after it sent them", show::duration(delay)),
        received == 5 && has_waited(delay, TIMEOUT),
    );

    lab.say(
        "accept is no better. The server waits for a third client, and none comes. The second one says \
         something more, and nobody hears it.",
    );
    lab.send("second", &second, b"anybody there?")?;
    lab.call("setsockopt(server, SO_RCVTIMEO, 300 ms)", || {
        socket2::SockRef::from(&server).set_read_timeout(Some(TIMEOUT))
    })?;
    let nobody = lab.call("accept(server)", || server.accept());
    lab.claim(
        "accept waits as well, while a client whom we know has something to say",
        format!("{}, after {}", show::result(&nobody), show::duration(lab.took())),
        would_block(&nobody) && has_waited(lab.took(), TIMEOUT),
    );

    lab.say(
        "So SO_RCVTIMEO is a way out of one call, and a server that goes from client to client with it pays \
         the timeout for each silent one in turn. The real way out is to ask about all of them in one call, \
         and to touch only those that are ready:",
    );
    let everyone =
        lab.poll([("server", &server), ("first", &at_first), ("second", &at_second)], PollFlags::IN, SOON)?;
    lab.claim(
        "poll names the one socket that will not block",
        everyone.map(show::flags).join(", "),
        everyone == [PollFlags::empty(), PollFlags::empty(), PollFlags::IN],
    );
    let received = lab.recv("second", &at_second, &mut buffer)?;
    lab.claim("and there recv returns what is there", format!("{received} bytes"), received == 14);
    Ok(())
}
