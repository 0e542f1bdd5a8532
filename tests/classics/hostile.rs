//! Clients that never read, that reset, that are a thousand: nobody else notices.

use std::io::{ErrorKind, Write};

use super::echo::echo;
use crate::harness::{Client, Server, onepoll, raise_descriptor_limit};

/// Writes until the server reads no more; returns how much it took.
fn stuff(client: &mut Client) -> usize {
    client.tcp().set_nonblocking(true).expect("a socket");
    client.tcp().set_write_timeout(None).expect("a socket");
    let chunk = [b'x'; 64 * 1024];
    let mut taken = 0;
    loop {
        match client.source.write(&chunk) {
            Ok(bytes) => taken += bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // What is full for good, and not only for this moment, stays so while it is asked again.
                use std::os::fd::AsFd;
                let descriptor = client.source.as_fd();
                let mut polled = [rustix::event::PollFd::new(&descriptor, rustix::event::PollFlags::OUT)];
                let patience = rustix::event::Timespec { tv_sec: 0, tv_nsec: 300_000_000 };
                if rustix::event::poll(&mut polled, Some(&patience)).expect("poll works") == 0 {
                    return taken;
                }
            }
            Err(error) => panic!("the server broke the connection: {error}"),
        }
        assert!(taken < 1 << 30, "the server reads without end");
    }
}

fn resident_kib(server: &Server) -> u64 {
    let status = server.proc("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it has memory");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

#[test]
fn clients_that_never_read_cost_a_bounded_piece_of_memory_each() {
    let server = echo(&["127.0.0.1:0"]);
    let before = resident_kib(&server);
    let mut deaf: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    for client in &mut deaf {
        stuff(client);
    }
    // 64 KiB of output, and what one read can add, in buffers that double.
    let grown = resident_kib(&server) - before;
    assert!(grown < 20 * 320, "{grown} KiB for 20 clients");
    let mut client = server.connect();
    client.send("still there?\n");
    assert_eq!(client.line(), "still there?");
}

#[test]
fn one_that_reads_late_gets_all_of_it() {
    let server = echo(&["127.0.0.1:0"]);
    let mut client = server.connect();
    let taken = stuff(&mut client);
    client.tcp().set_nonblocking(false).expect("a socket");
    client.half_close();
    assert_eq!(client.rest().len(), taken);
}

#[test]
fn resets_are_their_own_affair() {
    for mut server in [echo(&["127.0.0.1:0"]), Server::spawn(onepoll(&["greet", "--listen", "127.0.0.1:0"]))]
    {
        for _ in 0..200 {
            let mut client = server.connect();
            client.send("x");
            client.reset();
        }
        let mut client = server.connect();
        client.send("x");
        client.half_close();
        assert!(!client.rest().is_empty());
        server.signal(rustix::process::Signal::INT);
        assert_eq!(server.exit_code(), 0);
    }
}

#[test]
fn a_thousand_at_once_are_all_served() {
    let count = usize::try_from(raise_descriptor_limit() / 2).unwrap_or(usize::MAX).min(1000);
    let echo = echo(&["127.0.0.1:0"]);
    let mut clients: Vec<Client> = (0..count).map(|_| echo.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.say(&number.to_string());
    }
    for (number, client) in clients.iter_mut().enumerate().rev() {
        assert_eq!(client.line(), number.to_string());
    }
    drop(clients);
    let mut greet =
        Server::spawn(onepoll(&["greet", "--listen", "127.0.0.1:0", "--count", &count.to_string()]));
    let mut clients: Vec<Client> = (0..count).map(|_| greet.connect()).collect();
    for client in &mut clients {
        client.send("x");
    }
    for client in &mut clients {
        assert!(!client.rest().is_empty());
    }
    assert_eq!(greet.exit_code(), 0);
}
