//! How it ends, with which exit code, and what it says.

use std::io::Write;
use std::net::TcpListener;

use crate::answers::{Calling, call, peer};
use crate::harness::{DEADLINE, Directory, nobodys_address};

#[test]
fn nobody_there_is_exit_code_4() {
    let (_held, address) = nobodys_address();
    let directory = Directory::new();
    for (address, why) in [
        (address.as_str(), "connection refused"),
        (&directory.socket("nothing"), "no such file or directory"),
        ("no-such-host.invalid:1", "is the name right?"),
    ] {
        let (exit, output, errors) = call(&[address, "hello"]);
        assert_eq!((exit, output.as_str()), (4, ""), "{errors}");
        assert!(errors.starts_with(&format!("onepoll: cannot connect to {address}: ")), "{errors}");
        assert!(errors.trim_end().ends_with(why), "{errors}");
    }
}

#[test]
fn a_wrong_usage_is_exit_code_2() {
    for arguments in [&[][..], &["localhost"], &["127.0.0.1:1", "--timeout", "soon"], &["127.0.0.1:x"]] {
        let (exit, _, errors) = call(arguments);
        assert_eq!(exit, 2, "{errors}");
    }
    let (exit, page, _) = call(&["--help"]);
    assert!(exit == 0 && page.contains("What it teaches"), "{page}");
}

#[test]
fn a_peer_that_never_answers_is_left_after_the_timeout() {
    let (address, peer) = peer(|mut peer| {
        assert_eq!(peer.line(), "hello");
        // It is told of the end, as every peer is.
        assert!(peer.next_line().is_none());
    });
    let (exit, output, errors) = call(&[&address, "--timeout", "0.3", "hello", "never sent"]);
    assert_eq!((exit, output.as_str()), (1, ""));
    let why = "no answer within 0.3 s; --timeout SECONDS waits longer";
    assert_eq!(errors, format!("onepoll: call: {address}: {why}\n"));
    peer.join().expect("the peer was content");
}

#[test]
fn a_peer_that_never_accepts_is_left_after_the_timeout_too() {
    // The kernel accepts so many for a program that does not.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let (exit, _, errors) = call(&[&address, "--timeout", "0.3", "hello"]);
    assert_eq!(exit, 1);
    assert!(errors.contains("no answer within 0.3 s"), "{errors}");
}

#[test]
fn a_peer_that_does_not_end_is_left_and_that_is_no_failure() {
    let (address, peer) = peer(|mut peer| {
        peer.line();
        peer.say("the answer");
        // It ends only once the caller has.
        let _ = peer.rest_or_error();
    });
    let (exit, output, errors) = call(&[&address, "--timeout", "0.3", "hello"]);
    assert_eq!((exit, output.as_str(), errors.as_str()), (0, "the answer\n", ""));
    peer.join().expect("the peer was content");
}

#[test]
fn a_peer_that_sends_for_ever_is_cut_off_and_that_is_said() {
    for chunk in ["no line ends ", "line\n"] {
        let (address, peer) = peer(move |mut peer| while peer.source.write_all(chunk.as_bytes()).is_ok() {});
        let mut calling = Calling::start(&[&address, "--timeout", "0.5", "hello"]);
        assert_eq!(calling.exit_code(), Some(1), "{chunk:?}");
        peer.join().expect("the peer was content");
    }
}

#[test]
fn a_peer_that_resets_or_closes_early_is_a_failure() {
    let (address, resetting) = peer(|mut peer| {
        peer.line();
        peer.reset();
    });
    let (exit, _, errors) = call(&[&address, "hello"]);
    assert_eq!(exit, 1);
    assert_eq!(errors, format!("onepoll: call: lost the connection to {address}: connection reset\n"));
    resetting.join().expect("the peer was content");
    let (address, closing) = peer(|mut peer| assert_eq!(peer.line(), "hello"));
    let (exit, _, errors) = call(&[&address, "hello"]);
    assert_eq!(exit, 1);
    assert_eq!(errors, format!("onepoll: call: {address}: closed the connection without an answer\n"));
    closing.join().expect("the peer was content");
    let (address, closing) = peer(|mut peer| {
        peer.line();
        peer.say("enough");
    });
    let (exit, output, errors) = call(&[&address, "hello", "more"]);
    assert_eq!((exit, output.as_str()), (1, "enough\n"), "{errors}");
    closing.join().expect("the peer was content");
}

#[test]
fn a_signal_ends_it_and_an_answer_that_is_missing_is_a_failure() {
    for (is_answered, code) in [(false, 1), (true, 0)] {
        let (heard, is_heard) = std::sync::mpsc::channel();
        let (address, peer) = peer(move |mut peer| {
            peer.line();
            if is_answered {
                peer.say("yes");
            }
            heard.send(()).expect("somebody waits for it");
            let _ = peer.rest_or_error();
        });
        // For ever: only the signal ends it.
        let mut calling = Calling::start(&[&address, "--timeout", "0", "hello"]);
        is_heard.recv_timeout(DEADLINE).expect("the text arrives");
        if is_answered {
            assert_eq!(calling.output.line(), "yes");
        }
        let pid = rustix::process::Pid::from_child(&calling.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("our own child");
        assert_eq!(calling.exit_code(), Some(code));
        peer.join().expect("the peer was content");
    }
}
