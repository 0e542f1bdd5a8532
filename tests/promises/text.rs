//! P33 to P36: bytes that would be more than text where they arrive: line ends, broken characters, escapes.

use std::io::Write;
use std::net::TcpListener;

use onepoll::limits;
use onepoll::recording::{Head, Recorder};

use crate::harness::{Client, Directory, Server, on_a_terminal, onepoll, run, untimed};
use crate::seeds::Random;

/// What a member sees of a line, by the standard library's decoding and a list of what is dropped.
fn cleaned(line: &[u8]) -> String {
    let is_dropped = |c: char| c != '\t' && c.is_control() || "\u{2028}\u{2029}\u{FEFF}".contains(c);
    let is_bidi = |c: char| ('\u{202A}'..='\u{202E}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
    String::from_utf8_lossy(line).chars().filter(|c| !is_dropped(*c) && !is_bidi(*c)).collect()
}

/// The lines of some bytes: LF, CR LF and CR NUL end one, and what is behind the last is one, too.
fn lines_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = vec![Vec::new()];
    for byte in bytes {
        let line = lines.last_mut().expect("at least one");
        if *byte == b'\n' || *byte == 0 && line.last() == Some(&b'\r') {
            lines.push(Vec::new());
        } else {
            line.push(*byte);
        }
    }
    lines
}

#[test]
fn p33_whatever_bytes_come_each_line_of_them_is_one_line_out() {
    const PIECES: [&[u8]; 14] = [
        b"\r",
        b"\n",
        b"\0",
        b"\r\n",
        b"\r\0",
        b"\x0b",
        b"\x0c",
        b"\x1c",
        b"\xc2\x85",
        b"\xe2\x80\xa8",
        b"a",
        b"-- the server is closing --",
        "你".as_bytes(),
        b"\x85",
    ];
    let server = Server::bare(&["--rate", "off"]);
    let (mut ann, mut bob) = (server.join_as("ann"), server.join_as("bob"));
    // The same numbers in every run.
    let mut random = Random::new(1);
    for _ in 0..300 {
        // Neither a command nor a request line, whatever follows.
        let mut bytes = b"x".to_vec();
        (0..random.below(30)).for_each(|_| bytes.extend(PIECES[random.below(PIECES.len())]));
        bytes.extend(b"\nend\n");
        ann.send(&bytes);
        let said = lines_of(&bytes).into_iter().map(|line| cleaned(&line)).filter(|line| !line.is_empty());
        for text in said {
            assert_eq!(untimed(&bob.line()), format!("ann: {text}"), "{}", bytes.escape_ascii());
        }
    }
    assert!(bob.fence().is_empty());
}

#[test]
fn p33_no_line_can_be_forged_in_a_nick_a_room_a_command_or_by_the_operator() {
    const FORGED: &str = "-- the server is closing --";
    let mut server = Server::start(&["--history", "0", "--rate", "off"]);
    let (mut ann, mut bob) = (server.join_as("ann"), server.join_as("bob"));
    ann.expect("-- bob joined --");
    ann.fence();
    for end in ["\r", "\0", "\r\r", "\u{b}", "\u{c}", "\u{85}", "\u{2028}", "\u{2029}", "\u{1c}\r\u{b}"] {
        let forged = format!("a{end}{FORGED}{end}");
        for carrier in
            ["{}", "/me {}", "/nick {}", "/join {}", "/msg bob {}", "/ping {}", "/{}", "//{}", "/who {}"]
        {
            ann.say(&carrier.replace("{}", &forged));
        }
        server.operate(&format!("say {forged}"));
        server.operate(&format!("kick {forged} {forged}"));
        server.console().until("kick: ");
        for client in [&mut ann, &mut bob] {
            for line in client.fence() {
                assert!(line != FORGED && !line.contains(['\r', '\0']), "{end:?} in {line:?}");
            }
        }
    }
    // The last word to who is thrown out is one line, too.
    server.operate(&format!("kick ann go\r{FORGED}"));
    assert_eq!(ann.rest_lines(), [format!("-- the operator closed your connection: go{FORGED} --")]);
}

#[test]
fn p34_what_is_no_utf_8_is_replaced_by_one_rule_wherever_it_stands() {
    let server = Server::bare(&["--rate", "off"]);
    let (mut ann, mut bob) = (server.join_as("ann"), server.join_as("bob"));
    for broken in [
        &b"\x80"[..],
        b"\xbf\x80\xbf",
        b"\xc0\x80",
        b"\xc1\xbf",
        b"\xc3",
        b"\xe0\x80\xaf",
        b"\xe4\xbd",
        b"\xe4\xbdA",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf0\x80\x80\x80",
        b"\xf0\x9f\x8e",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xfe",
        "é".as_bytes(),
        b"\xe9t\xe9",
        b"\xef\xbf\xbe",
    ] {
        let seen = cleaned(broken);
        let shown = broken.escape_ascii();
        for (carrier, expected) in [
            ("<", format!("ann: <{seen}>")),
            ("/me <", format!("* ann <{seen}>")),
            ("//<", format!("ann: /<{seen}>")),
            ("/msg bob <", format!("ann -> you: <{seen}>")),
        ] {
            ann.send([carrier.as_bytes(), broken, b">\n"].concat());
            assert_eq!(untimed(&bob.line()), expected, "{shown}");
        }
        // In two reads, and at the end of the line, where a character may be cut off.
        for split in 0..=broken.len() {
            ann.send(&broken[..split]);
            assert!(bob.fence().is_empty());
            ann.send([&broken[split..], b"\n"].concat());
            assert_eq!(untimed(&bob.line()), format!("ann: {seen}"), "{shown} split at {split}");
        }
        for command in ["/nick a", "/join a", "/ping ", "/x"] {
            ann.send([command.as_bytes(), broken, b"\n"].concat());
        }
        // Lines that are read are checked to be UTF-8.
        ann.fence();
        ann.say("/nick ann");
        ann.say("/join lobby");
        ann.fence();
        bob.fence();
    }
}

#[test]
fn p35_nothing_is_cut_inside_a_character_at_any_length() {
    let server = Server::bare(&["--max-line", "64", "--rate", "off"]);
    let (mut ann, mut bob) = (server.join_as("ann"), server.join_as("bob"));
    for character in ["x", "é", "你", "🎉"] {
        for padding in 0..4 {
            for count in 1..=70 / character.len() {
                let text = format!("{}{}", "x".repeat(padding), character.repeat(count));
                // What is too long is not said at all, and never as far as it fits.
                ann.say(&text);
                // Her echo, or a word: the line was heard before bob asks.
                ann.line();
                let heard = bob.fence().iter().map(|line| untimed(line)).collect::<Vec<_>>();
                let is_too_long = text.len() > 64;
                assert_eq!(heard, if is_too_long { vec![] } else { vec![format!("ann: {text}")] });
                // A command that is none is repeated as far as its name may go.
                if text.len() < 63 {
                    let reply = ann.ask(&format!("/{text}"));
                    let name = reply.strip_prefix("-- no command /").and_then(|rest| rest.split(';').next());
                    let name = name.expect("an unknown command");
                    assert!(text.starts_with(name) && !name.contains('\u{FFFD}'), "{reply}");
                    assert!(name == text || (29..=32).contains(&name.len()), "{reply}");
                }
            }
        }
    }
}

/// All that a terminal would obey: C0 but tab and line feed, DEL, C1 as a character, bidirectional overrides.
fn hostile_characters() -> impl Iterator<Item = char> {
    let is_ours = |c: &char| !['\t', '\n'].contains(c);
    ('\0'..='\u{9f}').filter(|c| c.is_control()).filter(is_ours).chain("\u{202E}\u{2066}".chars())
}

/// Fails where a terminal was given anything that it would obey.
#[track_caller]
fn assert_harmless(screen: &[u8]) {
    let text = String::from_utf8(screen.to_vec()).expect("UTF-8").replace("\r\n", "\n");
    let found = hostile_characters().find(|c| text.contains(*c));
    assert_eq!(found, None, "{:?}", text.lines().find(|line| line.contains(found.unwrap_or_default())));
}

#[test]
fn p36_no_control_of_anybody_reaches_the_operators_terminal() {
    let directory = Directory::new();
    let binary = env!("CARGO_BIN_EXE_onepoll");
    let socket = directory.socket("chat");
    // The log goes to the same terminal, with all that it can say.
    let inner = format!("exec {binary} serve --listen {socket} --rate off -vv 2>&1");
    let Some(command) = on_a_terminal(&inner) else { return };
    let mut terminal = Server::spawn(command);
    terminal.operate("watch");
    terminal.console().until("you see the chat");
    let (mut ann, mut bob) = (Client::connect(&socket).greeted(), Client::connect(&socket).greeted());
    bob.nick("bob");
    let mut heard = 0;
    for hostile in hostile_characters() {
        for carrier in ["{}", "/me {}", "/nick a{}b", "/join a{}b", "/msg bob {}", "/{}", "/ping {}"] {
            ann.say(&carrier.replace("{}", &format!("<{hostile}[2J{hostile}>")));
        }
        // As a byte, and as a name of its own.
        ann.send([&b"raw "[..], &[hostile as u8], b"\n/nick ", &[hostile as u8], b"\n"].concat());
        ann.fence();
        heard += bob.fence().len();
    }
    assert!(heard >= 4 * hostile_characters().count(), "{heard} lines were heard");
    for command in ["clients", "rooms", "stats", "closed", "kick bob", "watch", "quit"] {
        terminal.operate(command);
    }
    let screen = terminal.console().rest();
    assert!(screen.len() > 10_000, "{} bytes were shown", screen.len());
    assert_harmless(&screen);
}

/// A server that says to whoever connects all that a terminal would obey, and ends.
fn hostile_server() -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let serving = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("a client");
        for hostile in hostile_characters() {
            for form in ["-- you are {} --", "2026/11/21 10:00:00 {}: <{}[2J>", "{\"status\": \"{}\"}", "{}"]
            {
                let line = form.replace("{}", &hostile.to_string());
                peer.write_all([line.as_bytes(), &[hostile as u8], b"\n"].concat().as_slice())
                    .expect("taken");
            }
        }
        peer.write_all(b"the end\n").expect("taken");
        // Its own words may be on their way: closing over them would be a reset.
        let _ = peer.shutdown(std::net::Shutdown::Write);
        let _ = std::io::copy(&mut peer, &mut std::io::sink());
    });
    (address, serving)
}

#[test]
fn p36_no_control_of_a_server_reaches_the_terminal_of_its_client() {
    let binary = env!("CARGO_BIN_EXE_onepoll");
    let mut clients = vec!["chat --no-reconnect --color never {} < /dev/null"];
    if cfg!(feature = "course") {
        clients.push("call {} hello");
    }
    for client in clients {
        let (address, serving) = hostile_server();
        let inner = format!("exec {binary} {} 2>&1", client.replace("{}", &address));
        let Some(command) = on_a_terminal(&inner) else { return };
        let (_, screen, _) = run(command);
        assert!(screen.contains("the end"), "{client}: {screen:?}");
        assert_harmless(screen.as_bytes());
        serving.join().expect("it ends");
    }
}

#[test]
fn p36_no_control_of_anybody_is_in_what_a_replay_shows() {
    let directory = Directory::new();
    let file = directory.file("recording").display().to_string();
    let mut server = Server::start(&["--format", "raw", "--record", &file]);
    let mut ann = server.connect();
    for hostile in hostile_characters() {
        ann.send([format!("<{hostile}[2J").as_bytes(), &[hostile as u8], b"\n"].concat());
    }
    ann.say("the end");
    while ann.next_bytes().expect("a line") != b"the end" {}
    server.operate("quit");
    ann.rest();
    drop(ann);
    assert_eq!(server.exit_code(), 0);
    let (code, listing, stderr) = run(onepoll(&["replay", &file]));
    assert!(code == 0 && listing.contains("the end"), "{code}: {listing}");
    assert_harmless(listing.as_bytes());
    assert_harmless(stderr.as_bytes());
}

#[test]
fn p36_no_control_of_a_forged_recording_is_in_what_is_said_of_it() {
    let hostile: String = hostile_characters().map(|c| format!("<{c}]0;x")).collect();
    let directory = Directory::new();
    let facts = |strange: &str| {
        ["descriptors", "motd", "time zone", "console prompt"]
            .map(|name| (name.to_string(), if name == strange { hostile.clone() } else { "1024".into() }))
            .to_vec()
    };
    let head = |version: &str, arguments: &[&str], facts| Head {
        version: version.into(),
        is_redacted: false,
        arguments: arguments.iter().map(Into::into).collect(),
        facts,
    };
    let log_bytes = format!("--log-bytes={hostile}");
    let heads = [
        head(&hostile, &["serve", "--of-tomorrow"], facts("none")),
        head("1", &["serve", &hostile], facts("none")),
        head("1", &["serve", &log_bytes], facts("none")),
        head("1", &[&hostile], facts("none")),
        head("1", &["serve"], facts("descriptors")),
        head("1", &["serve"], facts("time zone")),
        head("1", &["serve"], facts("console prompt")),
    ];
    for (number, head) in heads.iter().enumerate() {
        let file = directory.file(&format!("tape\u{1b}]0;{number}\u{7}"));
        drop(Recorder::create(&file, head, limits::RECORDING_BYTES_MIN).expect("a new file"));
        let (code, listing, stderr) = run(onepoll(&["replay", &file.display().to_string()]));
        assert!(code == 1 && listing.is_empty() && stderr.contains("\\u{1b}]0;"), "{code}: {stderr:?}");
        assert_eq!(stderr.lines().count(), 1, "{stderr:?}");
        assert_harmless(stderr.as_bytes());
    }
}

#[test]
fn p36_what_is_not_cleaned_cannot_be_watched() {
    let mut server = Server::start(&["--format", "raw"]);
    let mut ann = server.connect();
    assert!(server.answer("watch")[0].contains("--format raw"));
    ann.send("\u{1b}[2J\n");
    assert_eq!(ann.line(), "\u{1b}[2J");
    assert_eq!(server.answer("say"), ["usage: say TEXT"], "the console saw it");
}
