//! What breaks off or goes wrong, and what is left of it: nothing that looks whole.

use std::time::Instant;

use crate::harness::{DEADLINE, onepoll};
use crate::peers::{Answer, Inbox, answer, assert_well, checked, content, done, failure};

#[test]
fn a_start_beside_a_running_receiver_takes_nothing_from_it() {
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    let content = content(300_000);
    let stream = checked("a", &content);
    let mut client = server.connect();
    client.send(&stream[..200_000]);
    // The other one's file is there: an answer to a later sender shows that the earlier was heard.
    assert_well(&server);
    let other = inbox.receive(&[]);
    assert_well(&other);
    client.send(&stream[200_000..]);
    done(&mut client, &content);
    assert_eq!(inbox.names(), ["a", "well", "well-1"]);
}

#[test]
fn a_signal_tells_the_senders_and_leaves_nothing() {
    let inbox = Inbox::new();
    let mut server = inbox.receive(&[]);
    let content = content(300_000);
    let mut client = server.connect();
    client.send(&checked("a", &content)[..200_000]);
    assert_well(&server);
    server.signal(rustix::process::Signal::TERM);
    assert!(failure(&mut client).contains("the receiver was stopped"));
    drop(client);
    assert_eq!(server.exit_code(), 0);
    assert_eq!(inbox.names(), ["well"]);
}

#[test]
fn without_a_descriptor_for_the_file_the_sender_is_told_and_others_go_on() {
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    let content = content(300_000);
    let stream = checked("a", &content);
    let at_first = server.descriptors().len();
    let (mut running, mut late) = (server.connect(), server.connect());
    running.send(&stream[..200_000]);
    // Both are in, and the first has its file, once a later one is answered; and once that one is gone,
    // nothing frees a descriptor.
    assert_well(&server);
    let until = Instant::now() + DEADLINE;
    while server.descriptors().len() != at_first + 3 {
        assert!(Instant::now() < until, "{:?}", server.descriptors());
    }
    server.limit_descriptors(None);
    late.send(checked("b", b"content"));
    assert!(failure(&mut late).contains("b: cannot create a file: too many open files"));
    running.send(&stream[200_000..]);
    done(&mut running, &content);
    server.limit_descriptors(Some(100));
    assert_well(&server);
    assert_eq!(inbox.names(), ["a", "well", "well-1"]);
}

#[test]
fn a_folder_that_is_none_is_told_at_the_start() {
    for folder in ["/does/not/exist", "/dev/null"] {
        let (code, stdout, stderr) =
            crate::harness::run(onepoll(&["receive", folder, "--listen", "127.0.0.1:0"]));
        assert_eq!((code, stdout.as_str()), (1, ""));
        assert!(stderr.contains(&format!("onepoll: receive: {folder}: no")), "{stderr}");
    }
}

#[test]
fn a_sender_that_never_reads_its_answer_holds_up_nobody() {
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    let mut silent = server.connect();
    silent.send(checked("a", b"content"));
    assert_well(&server);
    // Its answer waits where the network keeps it.
    assert!(matches!(answer(&mut silent), Answer::Done { .. }));
}

#[test]
fn a_sender_for_whom_no_descriptor_is_left_is_told_so_in_the_protocol() {
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    server.limit_descriptors(None);
    let mut refused = server.connect();
    let expected = r#"{"status": "error", "error": "no descriptor is left: try again later"}"#;
    assert_eq!(refused.rest_lines(), [expected]);
}
