//! P53 and P54: names of files from far away, and what was planted in the folder: nothing outside it ever changes.
//! And P36 for the receiver's log.

use std::fs;
use std::os::unix::fs::symlink;

use crate::peers::{Inbox, assert_well, checked, content, done, failure, failure_of, mode};

/// Names, and what they become; `None`: they are refused.
fn hostile() -> Vec<(String, Option<String>)> {
    let long = "x".repeat(5000);
    let cut = |bytes: usize| "x".repeat(bytes);
    [
        ("../x", Some("x")),
        ("../../../../../../../../tmp/y", Some("y")),
        ("/etc/passwd", Some("passwd")),
        ("/", None),
        ("", None),
        (".", None),
        ("..", None),
        ("...", None),
        ("a/..", None),
        ("a/", None),
        ("..\\..\\windows.ini", Some("windows.ini")),
        ("C:\\boot.ini", Some("boot.ini")),
        ("nul\0byte", Some("nulbyte")),
        ("\0", None),
        ("\u{1b}[2Jclear\u{7}\r\n", Some("[2Jclear")),
        ("txt.\u{202E}exe", Some("txt.exe")),
        ("\u{2066}isolate\u{2069}", Some("isolate")),
        ("\u{9b}31mred", Some("31mred")),
        ("  spaces. ", Some("spaces")),
        ("tab\there", Some("tabhere")),
        (".bashrc", Some("_bashrc")),
        (".ssh/authorized_keys", Some("authorized_keys")),
        ("-rf", Some("_rf")),
        (".onepoll-new-0123456789abcdef", Some("_onepoll-new-0123456789abcdef")),
        (
            ".onepoll-resume-0123456789abcdef0123456789abcdef",
            Some("_onepoll-resume-0123456789abcdef0123456789abcdef"),
        ),
        ("CON", Some("_CON")),
        ("nul.txt", Some("_nul.txt")),
        ("LPT1", Some("_LPT1")),
        ("COM².log", Some("_COM².log")),
        ("%2e%2e%2fencoded", Some("%2e%2e%2fencoded")),
        ("~root", Some("~root")),
        ("$(reboot)", Some("$(reboot)")),
        ("*", Some("*")),
        ("....//....//etc/passwd", Some("passwd")),
        ("..;/..;/x", Some("x")),
        ("\\\\server\\share\\x", Some("x")),
        ("\\\\?\\C:\\x", Some("x")),
        ("file:///etc/passwd", Some("passwd")),
        ("a/../../../b", Some("b")),
        ("./././c", Some("c")),
        ("/proc/self/fd/1", Some("1")),
        ("/dev/null", Some("null")),
        ("dir/", None),
        ("dir\\", None),
        ("..\0", None),
        ("../\0../evil", Some("evil")),
        ("..\u{2215}..\u{2215}slashes", Some("__\u{2215}..\u{2215}slashes")),
        ("\u{FF0E}\u{FF0E}\u{FF0F}wide", Some("\u{FF0E}\u{FF0E}\u{FF0F}wide")),
        ("\u{200B}", Some("\u{200B}")),
        (" ", None),
        ("\t\r\n", None),
        ("name\n", Some("name")),
        ("--help", Some("__help")),
        ("CON.tar.gz", Some("_CON.tar.gz")),
        ("aux ", Some("_aux")),
        ("CONIN$", Some("_CONIN$")),
        ("a:b", Some("a:b")),
        ("trailing...", Some("trailing")),
        ("你好 👩‍🚀.txt", Some("你好 👩‍🚀.txt")),
    ]
    .into_iter()
    .map(|(name, expected)| (name.to_string(), expected.map(String::from)))
    .chain([
        (long.clone(), Some(cut(240))),
        (format!("{long}.tar"), Some(format!("{}.tar", cut(236)))),
        ("/".repeat(4000), None),
        ("../".repeat(1000) + "deep", Some("deep".into())),
    ])
    .collect()
}

#[test]
fn p53_every_name_ends_in_the_folder_or_nowhere() {
    let inbox = Inbox::new();
    let server = inbox.receive(&["--on-conflict", "error"]);
    for (name, expected) in hostile() {
        let mut client = server.connect();
        client.send(checked(&name, b"content"));
        if let Some(expected) = expected {
            let told = done(&mut client, b"content");
            assert_eq!(told.as_deref(), Some(&*expected).filter(|expected| *expected != name), "{name:?}");
            assert_eq!(inbox.names(), [&*expected], "{name:?}");
            assert_eq!(inbox.read(&expected), b"content", "{name:?}");
            assert_eq!(mode(&inbox.file(&expected)), 0o600);
            fs::remove_file(inbox.file(&expected)).expect("it is there");
        } else {
            assert!(failure(&mut client).contains("no name that can be used"), "{name:?}");
            assert_eq!(inbox.names(), [""; 0], "{name:?}");
        }
        assert_eq!(inbox.outside_names(), ["in"], "{name:?}");
    }
}

#[test]
fn p36_no_name_reaches_the_terminal_as_it_came() {
    let inbox = Inbox::new();
    let mut server = inbox.receive(&[]);
    let names = hostile();
    for (name, _) in &names {
        let mut client = server.connect();
        client.send(checked(name, b"content"));
        client.line();
    }
    // What is no header is not quoted either.
    failure_of(
        &server,
        &[&64_i32.to_le_bytes()[..], "{\"\u{1b}[31m\u{202E}\u{9b}\": 1".as_bytes(), &[b' '; 64]].concat(),
    );
    server.signal(rustix::process::Signal::TERM);
    let log = String::from_utf8(server.log().rest()).expect("text");
    let is_harmless = |c: char| c == '\n' || !(c.is_control() || ('\u{202A}'..='\u{202E}').contains(&c));
    assert_eq!(log.chars().find(|c| !is_harmless(*c)), None, "{log:?}");
}

#[test]
fn p54_links_in_the_folder_lead_nowhere() {
    for policy in ["rename", "error", "overwrite"] {
        let inbox = Inbox::new();
        fs::write(inbox.outside("victim"), "precious").expect("room");
        fs::create_dir(inbox.outside("victims")).expect("a directory");
        symlink(inbox.outside("victim"), inbox.file("file")).expect("a link");
        symlink(inbox.outside("victims"), inbox.file("directory")).expect("a link");
        symlink(inbox.outside("not-there"), inbox.file("dangling")).expect("a link");
        let server = inbox.receive(&["--on-conflict", policy]);
        for name in ["file", "directory", "dangling", "directory/inside"] {
            let mut client = server.connect();
            client.send(checked(name, b"content"));
            client.line();
        }
        assert_eq!(inbox.outside_names(), ["in", "victim", "victims"], "{policy}");
        assert_eq!(fs::read(inbox.outside("victim")).expect("it"), b"precious", "{policy}");
        assert!(crate::peers::names(&inbox.outside("victims")).is_empty(), "{policy}");
        assert_eq!(inbox.read("inside"), b"content");
        match policy {
            "rename" => assert_eq!(inbox.read("file-1"), b"content"),
            "overwrite" => assert!(inbox.file("file").symlink_metadata().expect("it").is_file()),
            _ => assert_eq!(inbox.names(), ["dangling", "directory", "file", "inside"]),
        }
    }
}

#[test]
fn p54_a_folder_that_is_swapped_for_a_link_meanwhile_is_still_the_folder() {
    let inbox = Inbox::new();
    fs::create_dir(inbox.outside("elsewhere")).expect("a directory");
    let server = inbox.receive(&[]);
    let content = content(200_000);
    let stream = checked("a", &content);
    let mut client = server.connect();
    client.send(&stream[..100_000]);
    fs::rename(inbox.path(), inbox.outside("moved")).expect("renamed");
    symlink(inbox.outside("elsewhere"), inbox.path()).expect("a link");
    client.send(&stream[100_000..]);
    done(&mut client, &content);
    assert_eq!(crate::peers::names(&inbox.outside("elsewhere")), [""; 0]);
    assert_eq!(crate::peers::names(&inbox.outside("moved")), ["a"]);
    assert_well(&server);
}

#[test]
fn p54_names_of_parts_cannot_be_planted_beforehand() {
    let inbox = Inbox::new();
    fs::write(inbox.outside("victim"), "precious").expect("room");
    // The name that a transfer of this file would be kept under is no secret.
    let mut key = blake3::Hasher::new();
    key.update(b"a").update(&[0]).update(&200_000_u64.to_le_bytes()).update(b"17");
    let planted = inbox.file(&format!(".onepoll-resume-{}", &key.finalize().to_hex()[..32]));
    let server = inbox.receive(&[]);
    let content = content(200_000);
    for plant in [
        (|inbox, planted| symlink(inbox, planted))
            as fn(&std::path::Path, &std::path::Path) -> std::io::Result<()>,
        |victim, planted| fs::hard_link(victim, planted),
        |_, planted| fs::create_dir(planted),
    ] {
        plant(&inbox.outside("victim"), &planted).expect("planted");
        let mut client = server.connect();
        client.send(
            crate::peers::Header {
                name: "a".into(),
                bytes: Some(200_000),
                has_trailer: true,
                resume: Some("17".into()),
            }
            .encode(),
        );
        assert!(matches!(crate::peers::answer(&mut client), crate::peers::Answer::Resume { offset: 0, .. }));
        client.send(&content);
        client.send(blake3::hash(&content).as_bytes());
        done(&mut client, &content);
        assert_eq!(fs::read(inbox.outside("victim")).expect("it"), b"precious");
        let _ = fs::remove_file(&planted).or_else(|_| fs::remove_dir(&planted));
    }
    assert_eq!(inbox.names(), ["a", "a-1", "a-2"]);
}

#[test]
fn p54_a_link_planted_at_any_moment_is_never_written_through() {
    let inbox = Inbox::new();
    fs::write(inbox.outside("victim"), "precious").expect("room");
    let server = inbox.receive(&[]);
    let (folder, victim) = (inbox.path(), inbox.outside("victim"));
    let is_over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let planting = {
        let is_over = std::sync::Arc::clone(&is_over);
        // In a loop, every name that the receiver can be about to use, and every one that it has in use.
        std::thread::spawn(move || {
            let mut planted = 0;
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                let guessed = ["a".to_string(), "a-1".into(), "a-2".into()];
                let seen =
                    crate::peers::names(&folder).into_iter().filter(|name| name.starts_with(".onepoll"));
                for name in guessed.into_iter().chain(seen) {
                    let _ = fs::remove_file(folder.join(&name));
                    planted += usize::from(symlink(&victim, folder.join(&name)).is_ok());
                }
            }
            planted
        })
    };
    let content = content(100_000);
    let stream = checked("a", &content);
    for _ in 0..50 {
        let mut client = server.connect();
        for piece in stream.chunks(30_000) {
            client.send(piece);
        }
        client.line();
    }
    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(planting.join().expect("it ends") > 0);
    assert_eq!(fs::read(inbox.outside("victim")).expect("it"), b"precious");
    assert_eq!(inbox.outside_names(), ["in", "victim"]);
    assert_well(&server);
}
