//! Broken transfers that go on: after a cut, after kill, and never with the wrong file.

use std::fs;

use crate::harness::{Client, Directory, Server};
use crate::peers::{Answer, Header, Inbox, answer, content, done, failure, put, send};

const BYTES: usize = 16 << 20;
/// More than any buffer on the way holds is behind it.
const CUT: usize = 12 << 20;

fn header(content: &[u8], identity: &str) -> Vec<u8> {
    Header {
        name: "a".into(),
        bytes: Some(content.len() as u64),
        has_trailer: true,
        resume: Some(identity.into()),
    }
    .encode()
}

/// Begins a transfer by hand, of which nothing is there yet.
fn begin(server: &Server, content: &[u8], identity: &str) -> Client {
    let mut client = server.connect();
    client.send(header(content, identity));
    assert_eq!(answer(&mut client), Answer::Resume { offset: 0, hash: None });
    client
}

/// What the receiver offers of it.
fn offer(server: &Server, content: &[u8], identity: &str) -> (Client, usize) {
    let mut client = server.connect();
    client.send(header(content, identity));
    let Answer::Resume { offset: first, hash: None } = answer(&mut client) else { panic!("no offer") };
    if first == 0 {
        return (client, 0);
    }
    let Answer::Resume { offset, hash: Some(hash) } = answer(&mut client) else { panic!("no hash") };
    let bytes = usize::try_from(offset).expect("a length");
    assert_eq!((offset, hash), (first, blake3::hash(&content[..bytes])));
    (client, bytes)
}

/// Takes the offer.
fn go_on(client: &mut Client, content: &[u8], offset: usize) {
    client.send(blake3::hash(&content[..offset]).as_bytes());
    client.send(&content[offset..]);
    client.send(blake3::hash(content).as_bytes());
}

/// The identity that `onepoll send` gives a file.
fn identity(path: &str) -> String {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).expect("it is there");
    format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec())
}

#[test]
fn a_transfer_that_was_cut_goes_on_where_it_stopped() {
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    let content = content(BYTES);
    let mut client = begin(&server, &content, "17");
    client.send(&content[..CUT]);
    client.half_close();
    let why = failure(&mut client);
    assert!(
        why.contains(&format!("after {CUT} of {BYTES} bytes; what is there is kept for --resume")),
        "{why}"
    );
    let names = inbox.names();
    assert!(names.len() == 1 && names[0].starts_with(".onepoll-resume-"), "{names:?}");
    let (mut client, offset) = offer(&server, &content, "17");
    assert_eq!(offset, CUT);
    go_on(&mut client, &content, offset);
    done(&mut client, &content);
    assert_eq!(inbox.names(), ["a"]);
    assert!(inbox.read("a") == content);
}

#[test]
fn a_transfer_goes_on_after_the_receiver_was_killed() {
    let inbox = Inbox::new();
    let mut server = inbox.receive(&[]);
    let directory = Directory::new();
    let content = content(BYTES);
    let path = put(&directory, "a", &content);
    let mut client = begin(&server, &content, &identity(&path));
    // Beside it, one that nobody wants to continue.
    let mut other = server.connect();
    other.send(&crate::peers::checked("b", &content)[..CUT]);
    client.send(&content[..CUT]);
    server.kill();
    assert_eq!(inbox.names().len(), 2);
    let mut server = inbox.receive(&[]);
    assert_eq!(inbox.names().len(), 1, "only what can be continued is left");
    let (code, said) = send(&["--resume", &path, &server.addresses[0]]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(", from byte "), "{said}");
    server.log().until(", from byte ");
    assert!(inbox.read("a") == content);
    assert_eq!(inbox.names(), ["a"]);
}

/// A transfer that broke off behind 700,000 of its 1,048,576 bytes, and the file that it was of.
struct Cut {
    inbox: Inbox,
    server: Server,
    content: Vec<u8>,
    path: String,
    _directory: Directory,
}

fn cut() -> Cut {
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    let directory = Directory::new();
    let content = content(1 << 20);
    let path = put(&directory, "a", &content);
    let mut client = begin(&server, &content, &identity(&path));
    client.send(&content[..700_000]);
    client.half_close();
    failure(&mut client);
    Cut { inbox, server, content, path, _directory: directory }
}

#[test]
fn a_sender_that_was_cut_goes_on_by_itself_when_asked_again() {
    let Cut { inbox, server, content, path, _directory } = cut();
    // Not asked for: it comes from its beginning, under another name on the disk.
    let (code, said) = send(&[&path, &server.addresses[0]]);
    assert!(code == 0 && !said.contains("from byte"), "{said}");
    let (code, said) = send(&["--resume", &path, &server.addresses[0]]);
    assert!(code == 0 && said.contains("from byte 700000 on"), "{said}");
    assert_eq!(inbox.names(), ["a", "a-1"]);
    assert!(inbox.read("a") == content && inbox.read("a-1") == content);
    // There is nothing left to continue.
    let (code, said) = send(&["--resume", &path, &server.addresses[0]]);
    assert!(code == 0 && !said.contains("from byte"), "{said}");
}

#[test]
fn a_file_that_changed_meanwhile_is_sent_anew() {
    let inbox = Inbox::new();
    let server = inbox.receive(&["--on-conflict", "overwrite"]);
    let directory = Directory::new();
    let old = content(1 << 20);
    let path = put(&directory, "a", &old);
    let modified = fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("a time");
    for keeps_time in [true, false] {
        let mut client = begin(&server, &old, &identity(&path));
        client.send(&old[..700_000]);
        client.half_close();
        failure(&mut client);
        let mut new = old.clone();
        new[5] ^= 1;
        fs::write(&path, &new).expect("room");
        if keeps_time {
            // As if nothing had happened: only the bytes tell.
            let file = fs::File::options().write(true).open(&path).expect("it is there");
            file.set_modified(modified).expect("a time");
        }
        let (code, said) = send(&["--resume", &path, &server.addresses[0]]);
        assert!(code == 0 && !said.contains("from byte"), "{said}");
        assert!(inbox.read("a") == new);
        put(&directory, "a", &old);
        let file = fs::File::options().write(true).open(&path).expect("it is there");
        file.set_modified(modified).expect("a time");
    }
}

#[test]
fn what_was_torn_on_the_disk_meanwhile_is_not_built_upon() {
    let Cut { inbox, server, content, path, _directory } = cut();
    let kept = inbox.file(&inbox.names()[0]);
    let mut torn = fs::read(&kept).expect("it is there");
    torn[300_000..400_000].fill(0);
    fs::write(&kept, torn).expect("room");
    let (code, said) = send(&["--resume", &path, &server.addresses[0]]);
    assert!(code == 0 && !said.contains("from byte"), "{said}");
    assert!(inbox.read("a") == content);
}

#[test]
fn two_at_once_do_not_share_what_is_there() {
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    let content = content(300_000);
    let mut first = begin(&server, &content, "17");
    first.send(&content[..200_000]);
    let mut second = begin(&server, &content, "17");
    second.send(&content);
    second.send(blake3::hash(&content).as_bytes());
    // It may be the same sender's, whose first connection broke off unseen: it is told why it began anew.
    let Answer::Done { name: None, warning: Some(warning), .. } = answer(&mut second) else {
        panic!("not done, or without a warning")
    };
    assert!(warning.contains("nothing could be continued"), "{warning}");
    first.send(&content[200_000..]);
    first.send(blake3::hash(&content).as_bytes());
    assert_eq!(done(&mut first, &content).as_deref(), Some("a-1"));
    assert_eq!(inbox.names(), ["a", "a-1"]);
}

#[test]
fn what_is_kept_is_kept_through_a_stop_and_a_silence() {
    let inbox = Inbox::new();
    let mut server = inbox.receive(&["--idle", "0.3"]);
    let content = content(300_000);
    let mut client = begin(&server, &content, "17");
    client.send(&content[..200_000]);
    assert!(failure(&mut client).contains("nothing came for 300ms, after 200000 of 300000 bytes; what is"));
    drop(client);
    let (client, offset) = offer(&server, &content, "17");
    assert_eq!(offset, 200_000);
    drop(client);
    server.log().until("kept for --resume");
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.exit_code(), 0);
    let server = inbox.receive(&[]);
    let (mut client, offset) = offer(&server, &content, "17");
    assert_eq!(offset, 200_000);
    go_on(&mut client, &content, offset);
    done(&mut client, &content);
}

#[test]
fn only_so_many_are_kept() {
    let inbox = Inbox::new();
    let server = inbox.receive(&[]);
    let content = content(100_000);
    for n in 0..30 {
        let mut client = begin(&server, &content, &n.to_string());
        client.send(&content[..80_000]);
        client.half_close();
        failure(&mut client);
    }
    assert_eq!(inbox.names().len(), onepoll::limits::PARTS_KEPT_MAX);
    let (_client, offset) = offer(&server, &content, "29");
    assert_eq!(offset, 80_000);
}
