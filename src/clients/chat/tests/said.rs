//! What is data, and is said whatever it looks like; and what is a command.

use super::*;

/// A client with further settings that the server has greeted so.
fn greeted(is_interactive: bool, greeting: &[u8], change: impl Fn(&mut Settings)) -> Stage {
    let mut stage = Stage::with(is_interactive, change);
    stage.connect();
    stage.hear(greeting);
    stage
}

const PLAIN_GREETING: &[u8] = b"-- you are 1.2.3.4:5 in lobby; quit leaves --\n";

#[test]
fn a_pipe_is_said_whatever_it_looks_like() {
    let mut stage = Stage::greeted(PIPE);
    stage.input(b"step 1\n/usr/bin/cc -o x x.c\nquit\nqu\x01it\n\x01/nick x\nstep 2\r\0quit\nlast");
    stage.end_input(b"quit");
    stage.confirm();
    let said =
        "step 1\n/say /usr/bin/cc -o x x.c\n/say quit\n/say quit\n/say /nick x\nstep 2quit\n/say quit\n";
    assert_eq!(stage.sent(), said);
    stage.end_server();
    assert_eq!(stage.client.outcome(), Some(&Outcome::Done));
}

#[test]
fn commands_from_a_pipe_are_awaited_before_what_follows() {
    let mut stage = greeted(PIPE, GREETING, |settings| settings.takes_commands = true);
    stage.input(b"/JOIN #private\r\nsecret\n/who\n");
    assert_eq!(stage.said(), ["/join private"]);
    stage.answer("all rooms are taken (--max-rooms); join one of /rooms");
    assert_eq!(stage.said(), ["/join private"]);
    let why = "the.server:1 refused the room private: all rooms are taken (--max-rooms); join one of /rooms: \
               nothing that waited for it was said";
    assert_eq!(stage.client.outcome(), Some(&Outcome::CannotConnect(why.into())));
}

#[test]
fn only_what_a_pipe_had_is_asked_for_again_after_a_lost_connection() {
    let mut stage = greeted(PIPE, GREETING, |settings| settings.takes_commands = true);
    stage.close(Reason::Reset);
    let pause = stage.pause();
    stage.wait(pause);
    stage.connect();
    stage.hear(GREETING);
    stage.input(b"/nick ann\nsecret\n");
    stage.answer("'ann' is taken; choose another name");
    assert_eq!(stage.said(), ["/nick ann"]);
    assert!(matches!(stage.client.outcome(), Some(Outcome::CannotConnect(_))), "no ghost of ours holds it");
}

#[test]
fn a_mark_is_not_sent_to_a_server_without_commands() {
    // What a member once said does not greet in the server's place.
    let late = [b"hello\n", GREETING].concat();
    for greeting in [PLAIN_GREETING, b"hello\n", b"-- odd --\nhello\n", &late] {
        let mut stage = greeted(PIPE, greeting, |_| {});
        stage.input(b"one\n/two\nthree\n");
        stage.end_input(b"");
        assert_eq!(stage.sent(), "one\n");
        assert!(stage.is_finished());
        stage.end_server();
        stage.assert_failed("not said, nor what follows: /two: the server has no commands; --plain sends");
    }
}

#[test]
fn a_mark_waits_for_a_greeting_that_is_late_and_not_for_ever() {
    for (words, sent) in [(Some(GREETING), "/say /two\n"), (Some(b"x\n"), ""), (None, "")] {
        let mut stage = Stage::new(PIPE);
        stage.connect();
        stage.wait(limits::CLIENT_GREETING);
        stage.input(b"one\n/two\nthree\n");
        assert_eq!(stage.sent(), "one\n");
        match words {
            Some(words) => drop(stage.hear(words)),
            None => stage.wait(limits::CLIENT_GREETING_LONG),
        }
        let rest = if sent.is_empty() { "" } else { "three\n" };
        assert_eq!(stage.sent(), format!("one\n{sent}{rest}"));
    }
}

#[test]
fn a_line_marked_for_one_server_is_not_sent_to_another_without_commands() {
    let mut stage = Stage::greeted(PIPE);
    stage.socket_room = 6;
    stage.input(b"one\n/two\n");
    assert_eq!(stage.sent(), "one\n/s");
    stage.end_server();
    stage.socket_room = usize::MAX;
    let pause = stage.pause();
    stage.wait(pause);
    stage.connect();
    stage.hear(PLAIN_GREETING);
    assert_eq!(stage.sent(), "");
    stage.end_server();
    stage.assert_failed("/two: the server has no commands");
}

#[test]
fn a_plain_client_sends_lines_as_they_are_and_refuses_a_quit() {
    for quit in ["quit", "quit\r", "qu\u{1}it", "x\r\0quit"] {
        let mut stage = greeted(PIPE, PLAIN_GREETING, |settings| settings.is_plain = true);
        stage.input(format!("/one\n//two\n{quit}\nnever\n").as_bytes());
        assert_eq!(stage.sent(), "/one\n//two\n");
        assert!(stage.is_finished());
        stage.end_server();
        stage.assert_failed("not said, nor what follows: quit: it would leave");
    }
}

#[test]
fn a_person_at_a_terminal_without_our_editor_has_commands_and_is_held_as_on_one_with_it() {
    let mut stage = greeted(PIPE, GREETING, |settings| {
        (settings.is_person, settings.room) = (true, Some("tea".into()));
    });
    stage.answer("all rooms are taken (--max-rooms); join one of /rooms");
    stage.input(b"secret\n/who\n");
    assert_eq!(stage.said(), ["/join tea", "/who"]);
    let reports = &stage.client.host.reports;
    assert!(reports.iter().any(|report| report.ends_with("not said (type it again): secret")), "{reports:?}");
    stage.input(b"/join beer\nhello\n");
    stage.answer("you speak in beer now; /leave goes back");
    let long = "x".repeat(limits::TERMINAL_LINE_BYTES_MAX);
    stage.input(format!("{long}\n{long}x\n").as_bytes());
    assert_eq!(stage.said()[2..], ["/join beer", "hello", &long]);
    let told = "a line has more than 4094 bytes: nothing of it was sent";
    assert!(stage.client.host.reports.iter().any(|report| report == told));
    stage.input(b"quit\n");
    assert!(stage.is_finished());
    stage.end_server();
    assert_eq!(stage.client.outcome(), Some(&Outcome::Done));
}

#[test]
fn what_is_pasted_on_a_terminal_is_said_and_told_so() {
    let mut stage = Stage::greeted(TERMINAL);
    stage.input(b"\x1b[200~one\n/msg bob secret\nquit\n\x1b[201~");
    assert_eq!(stage.sent(), "one\n/say /msg bob secret\n/say quit\n");
    let told = "what is pasted is said, not run";
    assert_eq!(stage.shown().matches(told).count(), 1);
    stage.input(b"\x1b[200~/msg bob more\x1b[201~");
    assert_eq!(stage.shown().matches(told).count(), 2, "at once, before Enter");
    stage.input(b"\x15/msg bob by hand\r");
    assert!(stage.sent().ends_with("quit\n/msg bob by hand\n"));
    assert!(!stage.is_finished());
}

#[test]
fn what_is_pasted_is_not_marked_for_a_server_without_commands() {
    let mut stage = greeted(TERMINAL, PLAIN_GREETING, |_| {});
    stage.input(b"\x1b[200~/one\n\x1b[201~");
    assert_eq!(stage.sent(), "");
    assert!(stage.shown().contains("--plain sends every line as it is"));
    assert!(stage.shown().contains("not sent (the Up key brings it back): /one"));
    let mut stage = greeted(TERMINAL, PLAIN_GREETING, |settings| settings.is_plain = true);
    stage.input(b"\x1b[200~/one\nquit\ntwo\n\x1b[201~");
    assert_eq!(stage.sent(), "/one\ntwo\n");
    assert!(stage.shown().contains("a pasted quit would leave: not sent"));
}

#[test]
fn a_line_is_sent_whole_or_not_at_all_from_a_pipe_and_from_a_paste() {
    let most = limits::CLIENT_LINE_BYTES_MAX;
    for length in [10_000, most, most + 1, 5 * most] {
        let long = "x".repeat(length);
        let expected = if length <= most { format!("{long}\nnext\n") } else { "next\n".into() };
        let before = "one\n\n";
        let mut pipe = Stage::greeted(PIPE);
        let mut kept = Vec::new();
        for chunk in format!("{before}{long}\nnext\n").as_bytes().chunks(limits::READ_BYTES_MAX) {
            kept.extend_from_slice(chunk);
            let consumed = pipe.input(&kept);
            kept.drain(..consumed);
        }
        pipe.end_input(&kept);
        pipe.confirm();
        assert_eq!(pipe.sent().len(), before.len() + expected.len(), "{length}");
        pipe.end_server();
        if length > most {
            pipe.assert_failed("not all lines were sent, as told before");
            assert_eq!(
                pipe.client.host.reports,
                ["line 3 has more than 65536 bytes: nothing of it was sent"]
            );
        }
        let mut terminal = Stage::greeted(TERMINAL);
        terminal.input(format!("\x1b[200~{long}\nnext\n\x1b[201~").as_bytes());
        assert_eq!(terminal.sent().len(), expected.len(), "{length}");
        let is_told = terminal.shown().contains("a pasted line has more than 65536 bytes: nothing of it was");
        assert_eq!(is_told, length > most);
    }
}

#[test]
fn a_piped_line_that_the_server_refuses_is_a_failure() {
    let mut stage = Stage::greeted(PIPE);
    stage.end_input(b"long");
    stage.hear(b"-- that line was too long and was not sent: 3 bytes at most (--max-line) --\n");
    stage.confirm();
    stage.end_server();
    stage.assert_failed("the.server:1: that line was too long and was not sent");
}

#[test]
fn nothing_that_a_terminal_obeys_is_kept_of_the_servers_words() {
    const HOSTILE: &str = "'\x1b]0;pwned\x07\x1b[2J\u{202e}\u{9b}' is taken";
    let line = format!("-- {HOSTILE} --\n");
    for (greeting, is_person) in [(GREETING, true), (GREETING, false), (line.as_bytes(), false)] {
        let mut stage = greeted(PIPE, greeting, |settings| {
            (settings.is_person, settings.nick) = (is_person, Some("ann".into()));
        });
        stage.input(b"secret\n");
        if greeting == GREETING {
            stage.answer(HOSTILE);
            stage.input(b"again\n");
            stage.hear(format!("-- {HOSTILE}: was not sent --\n").as_bytes());
        }
        if stage.client.outcome().is_none() {
            stage.end_input(b"");
            stage.end_server();
        }
        let told = format!("{:?} {:?}", stage.client.host.reports, stage.client.outcome());
        assert!(told.contains("]0;pwned[2J"), "{told}");
        // As Rust writes what has to be escaped.
        assert!(!told.contains("\\u{") && !told.contains('\u{202e}'), "{told}");
    }
}

#[test]
fn a_command_is_not_said_to_a_server_without_commands() {
    for greeting in [PLAIN_GREETING, b"hello\n", b"-- odd --\nhello\n"] {
        for command in ["/msg bob secret", "/who", "\u{1}/msg bob secret", "/say x", "/quit"] {
            let mut stage = greeted(PIPE, greeting, |settings| settings.takes_commands = true);
            stage.input(format!("one\n{command}\nthree\n").as_bytes());
            stage.end_input(b"");
            assert_eq!(stage.sent(), "one\n", "{command}");
            stage.end_server();
            let clean = command.trim_start_matches('\u{1}');
            stage.assert_failed(&format!("not said, nor what follows: {clean}: the server has no commands"));
        }
    }
}

#[test]
fn a_command_that_waited_is_not_said_to_another_server_without_commands() {
    for is_person in [false, true] {
        let mut stage = greeted(PIPE, GREETING, |settings| {
            (settings.is_person, settings.takes_commands) = (is_person, true);
        });
        stage.socket_room = 6;
        stage.input(b"one\n/msg bob secret\nthree\n");
        assert_eq!(stage.sent(), "one\n/m");
        stage.close(Reason::Reset);
        stage.socket_room = usize::MAX;
        let pause = stage.pause();
        stage.wait(pause);
        stage.connect();
        stage.hear(PLAIN_GREETING);
        assert_eq!(stage.sent(), "");
        if is_person {
            let told = "not sent (type it again): /msg bob secret (and 1 more)";
            assert!(stage.client.host.reports.iter().any(|report| report == told));
            // Now it is known to have none, and is seen to have none.
            stage.input(b"/msg bob hello\n");
            assert_eq!(stage.sent(), "/msg bob hello\n");
        } else {
            stage.end_server();
            stage.assert_failed("nor what follows: /msg bob secret: the server has no commands");
        }
    }
}

#[test]
fn a_command_that_is_typed_before_the_greeting_waits_for_it() {
    for (greeting, sent) in [(GREETING, "/msg bob secret\nnext\n"), (PLAIN_GREETING, "")] {
        let mut stage = Stage::new(TERMINAL);
        stage.input(b"/msg bob secret\rnext\r");
        stage.connect();
        stage.wait(limits::CLIENT_GREETING);
        assert_eq!(stage.sent(), "");
        stage.hear(greeting);
        assert_eq!(stage.sent(), sent);
        let is_told = stage.shown().contains("not sent (the Up key brings it back): /msg bob secret");
        assert_eq!(is_told, sent.is_empty());
    }
}
