//! The classic broken walk over a dictionary of clients, and why a loop that marks first and removes later needs no
//! lock.
//!
//! Python: `for client in clients: try: client.send(line) except OSError: del clients[client]` ends in `RuntimeError:
//! dictionary changed size during iteration`; over a list, it silently skips whoever comes next.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use rustix::event::PollFlags;
use socket2::SockRef;

use super::{Lesson, Narrator, SOON, show};

pub(super) const LESSON: Lesson = Lesson {
    name: "nolocks",
    about: "the broken walk over the clients, and why one thread needs no lock",
    remember: "whoever walks over the clients must not remove any, and must not begin another walk, however deep in \
               the calls: that is a bug of one thread, and no lock helps against it. A loop only marks who is to \
               go, and removes them at the end of its turn, when nobody walks; what that has to say to the others \
               waits for the next walk. As nothing else runs in between, there is nothing to lock.",
    run,
};

const NAMES: [&str; 5] = ["ann", "bob", "cyd", "dan", "eve"];

struct Member {
    name: &'static str,
    ours: TcpStream,
    /// Bob has none any more.
    theirs: Option<TcpStream>,
}

fn run(lab: &mut Narrator) -> io::Result<()> {
    lab.say(
        "Five members of a room; the connection of bob has just broken. The server says hello to all, and removes \
         whoever it cannot reach from the list that it walks over, as the tutorials do:",
    );
    let mut members = room(lab)?;
    let mut at = 0;
    while at < members.len() {
        if say(lab, &members[at], "hello\n").is_err() {
            members.remove(at);
        }
        at += 1;
    }
    let heard = hear(lab, members)?;
    lab.claim(
        "the walk skips cyd, who did nothing",
        format!("cyd: {:?}", heard["cyd"]),
        heard["cyd"].is_empty(),
    );
    lab.claim("the others got it", format!("dan: {:?}", heard["dan"]), heard["dan"] == "hello\n");

    lab.say(
        "cyd moved to bob's place, and the walk had been there. A Python dictionary would have raised an error \
         instead, and Rust does not compile a `for` over what its body changes. So the next idea is to walk over a \
         copy, and to tell everyone at once that bob has left, for that is where it was noticed:",
    );
    let mut members = room(lab)?;
    for name in NAMES {
        let Some(at) = members.iter().position(|member| member.name == name) else { continue };
        if say(lab, &members[at], "hello\n").is_err() {
            members.remove(at);
            // A walk inside a walk: it reaches some before the greeting, and some after it.
            for member in &members {
                say(lab, member, "bob left\n")?;
            }
        }
    }
    let heard = hear(lab, members)?;
    lab.claim(
        "now ann and cyd do not live in the same room",
        format!("{:?}, but {:?}", heard["ann"], heard["cyd"]),
        heard["ann"] == "hello\nbob left\n" && heard["cyd"] == "bob left\nhello\n",
    );

    lab.say(
        "The loop does neither. It walks to the end, and marks who has to go. At the end of the turn, when nobody \
         walks, they are removed; and what there is to say about it is said by the next walk.",
    );
    let mut members = room(lab)?;
    for line in ["hello\n", "bob left\n"] {
        let mut closed = Vec::new();
        for member in &members {
            if say(lab, member, line).is_err() {
                closed.push(member.name);
            }
        }
        members.retain(|member| !closed.contains(&member.name));
    }
    let heard = hear(lab, members)?;
    lab.claim(
        "marked, then removed: all hear the same in the same order",
        format!("{} members, {:?}", heard.len(), heard["cyd"]),
        heard.len() == NAMES.len() - 1 && heard.values().all(|text| text == "hello\nbob left\n"),
    );

    lab.say(
        "Would a lock have helped? The walk and the removal are calls of one thread, the one inside the other: a lock \
         that lets its owner in again changes nothing, and one that does not would stop the server for good. And \
         with a thread for each client, somebody would hold the lock while a slow client's send waits.",
    );
    let threads = || std::fs::read_dir("/proc/self/task").map(Iterator::count);
    let threads = lab.call("count(/proc/self/task)", threads)?;
    lab.claim("all of this took one thread", threads, threads == 1);
    Ok(())
}

/// Five members, of whom bob's connection was reset, which the server has not noticed yet.
fn room(lab: &mut Narrator) -> io::Result<Vec<Member>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let connect = |name| {
        let theirs = TcpStream::connect(listener.local_addr()?)?;
        theirs.set_read_timeout(Some(SOON))?;
        let (ours, _) = listener.accept()?;
        Ok(Member { name, ours, theirs: Some(theirs) })
    };
    let enter = || NAMES.into_iter().map(connect).collect::<io::Result<Vec<_>>>();
    let mut members = lab.call_showing("connect, accept, ...", enter, |_| NAMES.join(", "))?;
    let bob = &mut members[1];
    lab.call("close(bob), with a reset", || {
        let theirs = bob.theirs.take();
        theirs.map_or(Ok(()), |theirs| SockRef::from(&theirs).set_linger(Some(Duration::ZERO)))
    })?;
    lab.poll([("bob", &bob.ours)], PollFlags::IN, SOON)?;
    Ok(members)
}

fn say(lab: &mut Narrator, member: &Member, text: &str) -> io::Result<usize> {
    lab.send(member.name, &member.ours, text.as_bytes())
}

/// Ends the room, and returns what each of its members has heard.
fn hear(lab: &mut Narrator, members: Vec<Member>) -> io::Result<BTreeMap<&'static str, String>> {
    let mut heard = BTreeMap::new();
    for Member { name, ours, theirs } in members {
        drop(ours);
        let Some(mut theirs) = theirs else { continue };
        let mut text = String::new();
        let read = || theirs.read_to_string(&mut text).map(|_| text);
        let text = lab
            .call_showing(format!("recv({name}), to the end"), read, |text| show::quoted(text.as_bytes()))?;
        heard.insert(name, text);
    }
    Ok(heard)
}
