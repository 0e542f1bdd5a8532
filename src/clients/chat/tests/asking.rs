//! Nick and room are asked for and answered before anything is said that depends on them.

use super::*;

const TAKEN: &str = "'ann' is taken; choose another name";
const FULL: &str = "all rooms are taken (--max-rooms); join one of /rooms";
const IN_TEA: &str = "you speak in tea now; /leave goes back";

fn stage(is_interactive: bool, nick: Option<&str>, room: Option<&str>) -> Stage {
    let mut stage = Stage::with(is_interactive, |settings| {
        settings.nick = nick.map(str::to_owned);
        settings.room = room.map(str::to_owned);
    });
    stage.connect();
    stage
}

fn refused(what: &str) -> Option<Outcome> {
    Some(Outcome::CannotConnect(format!("the.server:1 refused {what}: nothing that waited for it was said")))
}

/// The connection is lost, and there again.
fn reconnect(stage: &mut Stage) {
    stage.close(Reason::Reset);
    let pause = stage.pause();
    stage.wait(pause);
    stage.connect();
    stage.hear(GREETING);
}

#[test]
fn nothing_is_said_before_nick_and_room_are_granted() {
    for is_interactive in [PIPE, TERMINAL] {
        let mut stage = stage(is_interactive, Some("ann"), Some("#tea"));
        stage.input(b"secret\r\n");
        stage.hear(GREETING);
        assert_eq!(stage.said(), ["/nick ann"]);
        stage.answer("you are now ann");
        assert_eq!(stage.said(), ["/nick ann", "/join tea"]);
        stage.input(b"more\r\n");
        stage.answer(IN_TEA);
        assert_eq!(stage.said(), ["/nick ann", "/join tea", "secret", "more"]);
        assert!(!stage.shown().contains("pong"), "{}", stage.shown());
        assert!(stage.shown().contains("-- you are now ann --"));
    }
}

#[test]
fn the_end_of_a_pipe_is_told_once_the_room_is_granted() {
    for is_greeted in [false, true] {
        let mut stage = stage(PIPE, None, Some("tea"));
        if is_greeted {
            stage.hear(GREETING);
            stage.end_input(b"secret");
        } else {
            stage.end_input(b"secret");
            stage.hear(GREETING);
        }
        assert!(!stage.is_finished());
        stage.answer(IN_TEA);
        stage.confirm();
        assert!(stage.is_finished());
        assert_eq!(stage.said(), ["/join tea", "secret"]);
    }
}

#[test]
fn a_pipe_that_is_refused_says_nothing_and_fails() {
    let mut room = stage(PIPE, None, Some("tea"));
    room.end_input(b"secret");
    room.hear(GREETING);
    room.hear(b"-- bob joined --\n");
    room.answer(FULL);
    assert_eq!(room.said(), ["/join tea"]);
    assert_eq!(room.client.outcome().cloned(), refused(&format!("the room tea: {FULL}")));
    for words in [TAKEN, "a name needs a letter; add one", "whatever a server says"] {
        let mut nick = stage(PIPE, Some("ann"), None);
        nick.end_input(b"secret");
        nick.hear(GREETING);
        nick.answer(words);
        assert_eq!(nick.said(), ["/nick ann"]);
        assert_eq!(nick.client.outcome().cloned(), refused(&format!("the nick ann: {words}")));
    }
}

#[test]
fn a_server_that_never_answers_is_left_in_time_and_plain_is_named() {
    let mut mute = stage(PIPE, Some("ann"), None);
    mute.end_input(b"secret");
    mute.hear(GREETING);
    mute.wait(limits::CLIENT_ANSWER);
    let mut silent = stage(PIPE, Some("ann"), None);
    silent.end_input(b"secret");
    silent.wait(limits::CLIENT_GREETING_LONG);
    let mut plain = stage(PIPE, Some("ann"), None);
    plain.end_input(b"secret");
    plain.hear(b"-- you are 1.2.3.4:5 in lobby; quit leaves --\n");
    // It says what it is asked, as it says all lines.
    let mut echo = stage(PIPE, Some("ann"), None);
    echo.end_input(b"secret");
    echo.hear(GREETING);
    let question = echo.sent().to_owned();
    echo.hear(question.as_bytes());
    for (stage, asked) in [(mute, true), (silent, false), (plain, false), (echo, true)] {
        assert_eq!(stage.said(), if asked { vec!["/nick ann"] } else { vec![] });
        match stage.client.outcome() {
            Some(Outcome::CannotConnect(why)) => assert!(why.contains("--plain"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn no_member_can_answer_in_the_servers_place() {
    let time = "2026/11/21 10:00:00 ";
    let forged = ["-- you speak in tea now; /leave goes back --", "-- pong 0000000000 --"];
    for text in forged {
        for header in ["ann", "[lobby] ann", "* ann", "1.2.3.4:5"] {
            let mut stage = stage(PIPE, None, Some("tea"));
            stage.end_input(b"secret");
            stage.hear(GREETING);
            stage.hear(format!("{time}{header}\n{text}\n").as_bytes());
            stage.hear(format!("ack {text}\n{time}ann: {text}\n{time}ann -> you: {text}\n").as_bytes());
            assert_eq!(stage.said(), ["/join tea"]);
            assert_eq!(stage.client.outcome(), None);
            stage.answer(FULL);
            assert_eq!(stage.client.outcome().cloned(), refused(&format!("the room tea: {FULL}")));
        }
    }
}

#[test]
fn an_answer_that_comes_byte_by_byte_is_the_same() {
    let mut stage = stage(PIPE, None, Some("tea"));
    stage.end_input(b"secret");
    stage.hear(GREETING);
    let nonce = stage.sent().trim_end().rsplit(' ').next().expect("a word").to_owned();
    let answer = format!("-- {IN_TEA} --\n-- history: the last 1 message --\nx\n-- pong {nonce} --\n");
    let mut kept = Vec::new();
    for byte in answer.bytes() {
        assert_eq!(stage.said(), ["/join tea"]);
        kept.push(byte);
        let consumed = stage.hear(&kept);
        kept.drain(..consumed);
    }
    assert_eq!(stage.said(), ["/join tea", "secret"]);
}

#[test]
fn a_room_that_is_not_restored_hears_nothing_and_neither_does_another() {
    let mut stage = stage(PIPE, None, Some("tea"));
    stage.hear(GREETING);
    stage.answer(IN_TEA);
    stage.socket_room = 0;
    stage.input(b"secret\n");
    stage.socket_room = usize::MAX;
    reconnect(&mut stage);
    assert_eq!(stage.said(), ["/join tea"]);
    stage.answer("a room's name has 1 to 32 bytes");
    assert_eq!(stage.said(), ["/join tea"]);
    assert!(matches!(stage.client.outcome(), Some(Outcome::CannotConnect(_))));
}

#[test]
fn a_reset_while_a_question_is_open_asks_it_again_after_growing_pauses() {
    let mut stage = stage(PIPE, Some("ann"), None);
    stage.end_input(b"secret");
    let mut bound = limits::RECONNECT_PAUSE_MIN;
    for _ in 0..10 {
        stage.hear(GREETING);
        assert_eq!(stage.said(), ["/nick ann"]);
        stage.close(Reason::Reset);
        let pause = stage.pause();
        assert!(bound / 2 <= pause && pause <= bound, "{pause:?} for {bound:?}");
        bound = (bound * 2).min(limits::RECONNECT_PAUSE_MAX);
        stage.wait(pause);
        stage.connect();
    }
    stage.hear(GREETING);
    stage.answer("you are now ann");
    assert_eq!(stage.said(), ["/nick ann", "secret"]);
}

#[test]
fn a_pipe_asks_again_for_the_nick_that_its_ghost_holds_and_gives_up_in_the_end() {
    for is_granted in [true, false] {
        let mut stage = stage(PIPE, Some("ann"), None);
        stage.hear(GREETING);
        stage.answer("you are now ann");
        reconnect(&mut stage);
        stage.input(b"secret\n");
        let mut waited = Duration::ZERO;
        let mut questions = 0;
        while stage.client.outcome().is_none() && !(is_granted && questions == 5) {
            questions += 1;
            stage.answer(TAKEN);
            assert_eq!(stage.said(), vec!["/nick ann"; questions]);
            if stage.client.outcome().is_none() {
                let pause = stage.pause();
                waited += pause;
                stage.wait(pause);
            }
        }
        assert_eq!(stage.shown().matches(TAKEN).count(), 1, "{}", stage.shown());
        if is_granted {
            stage.answer("you are now ann");
            assert!(stage.sent().ends_with("secret\n"));
        } else {
            assert_eq!(stage.client.outcome().cloned(), refused(&format!("the nick ann: {TAKEN}")));
            assert_eq!(waited, limits::CLIENT_WISH);
            assert!(questions < 20, "{questions}");
        }
    }
}

#[test]
fn a_name_is_asked_for_again_when_its_bearer_leaves() {
    for news in ["ann left", "ann is now eve", "Ann and bob left"] {
        let mut stage = stage(TERMINAL, Some("ann"), None);
        stage.hear(GREETING);
        stage.answer(TAKEN);
        for _ in 0..6 {
            let pause = stage.pause();
            stage.wait(pause);
            stage.answer(TAKEN);
        }
        assert!(stage.pause() > limits::CLIENT_WISH_PAUSE_MIN * 2);
        stage.hear(b"-- bob left --\n-- eve is now bob --\n");
        assert!(stage.pause() > limits::CLIENT_WISH_PAUSE_MIN * 2);
        stage.hear(format!("-- {news} --\n").as_bytes());
        assert!(stage.pause() <= limits::CLIENT_WISH_PAUSE_MIN);
        let pause = stage.pause();
        stage.wait(pause);
        stage.answer("you are now ann");
        stage.input(b"hello\r");
        assert!(stage.sent().ends_with("hello\n"));
        assert_eq!(stage.shown().matches(&format!("-- {TAKEN} --")).count(), 1, "told at each try");
        assert_eq!(stage.client.poll_timeout(), None, "it is not asked for any more");
    }
}

#[test]
fn a_terminal_holds_what_is_typed_while_the_room_is_refused() {
    let mut stage = stage(TERMINAL, None, Some("tea"));
    stage.input(b"early\r");
    stage.hear(GREETING);
    stage.answer(FULL);
    assert!(stage.shown().contains(&format!("the room tea is refused ({FULL}); /join ROOM enters another")));
    assert!(stage.shown().contains("not sent (the Up key brings it back): early"));
    for line in ["secret", "secret", "/me waves", "/say x", "//x", "/msg bob x", "/nope"] {
        stage.input(format!("{line}\r").as_bytes());
        assert!(stage.shown().contains(&format!("not said (the Up key brings it back): {line}")), "{line}");
    }
    stage.input(b"\x1b[200~secret\nsecret\n\x1b[201~");
    assert_eq!(stage.said(), ["/join tea"]);
    // Commands that say nothing go through.
    stage.input(b"/who\r/join beer\rmore\r");
    assert_eq!(stage.said(), ["/join tea", "/who", "/join beer"]);
    stage.answer("you speak in beer now; /leave goes back");
    assert_eq!(stage.said(), ["/join tea", "/who", "/join beer", "more"]);
    assert_eq!(stage.client.poll_timeout(), None, "tea is not asked for any more");
    reconnect(&mut stage);
    assert_eq!(stage.said(), ["/join beer"]);
}

#[test]
fn what_was_typed_before_another_room_was_asked_for_is_given_back_with_it() {
    let mut stage = stage(TERMINAL, None, Some("tea"));
    stage.input(b"secret\r/join beer\rmore\r");
    stage.hear(GREETING);
    stage.answer(FULL);
    assert_eq!(stage.said(), ["/join tea"]);
    assert!(stage.shown().contains("not sent (the Up key brings it back): secret (and 2 more)"));
    // A nick that is granted frees nothing that the room holds.
    stage.input(b"/nick ann\rsecret\r");
    stage.answer("you are now ann");
    assert_eq!(stage.said(), ["/join tea", "/nick ann"]);
}

#[test]
fn a_room_is_asked_for_again_and_frees_what_is_typed() {
    let mut stage = stage(TERMINAL, None, Some("tea"));
    stage.hear(GREETING);
    stage.answer(FULL);
    let pause = stage.pause();
    stage.wait(pause);
    stage.answer(IN_TEA);
    stage.input(b"secret\r");
    assert_eq!(stage.said(), ["/join tea", "/join tea", "secret"]);
}

#[test]
fn a_terminal_says_a_line_without_the_nick_only_when_it_is_typed_again() {
    let mut stage = stage(TERMINAL, Some("ann"), None);
    stage.hear(GREETING);
    stage.answer(TAKEN);
    let explanations =
        |stage: &Stage| stage.shown().matches("the same line again is said without it").count();
    let before = explanations(&stage);
    stage.input(b"\x1b[200~hello\nhello\nhello\n\x1b[201~");
    assert_eq!(explanations(&stage), before + 1, "once for a paste");
    assert_eq!(stage.shown().matches("not said (the Up key brings it back): hello").count(), 3);
    stage.input(b"one\rtwo\rone\r");
    assert_eq!(stage.said(), ["/nick ann"], "another line is not the same again");
    assert!(
        stage.shown().contains("/nick NAME asks for another, and the same line again is said without it")
    );
    stage.input(b"\x1b[A\r");
    stage.input(b"three\r");
    assert_eq!(stage.said(), ["/nick ann", "one", "three"]);
    // It is still wanted, and asked for: also on a new connection, which waits for nothing else.
    let pause = stage.pause();
    stage.wait(pause);
    assert_eq!(stage.said().last(), Some(&"/nick ann"));
    reconnect(&mut stage);
    stage.input(b"four\r");
    stage.answer(TAKEN);
    assert_eq!(stage.said(), ["/nick ann", "four"]);
}

#[test]
fn another_name_takes_the_place_of_one_that_is_refused() {
    let mut stage = stage(TERMINAL, Some("ann"), None);
    stage.hear(GREETING);
    stage.answer(TAKEN);
    stage.input(b"/nick bob\rhello\r");
    stage.answer("'bob' is taken; choose another name");
    assert_eq!(stage.said(), ["/nick ann", "/nick bob"]);
    let pause = stage.pause();
    stage.wait(pause);
    assert_eq!(stage.said().last(), Some(&"/nick bob"));
    stage.answer("'bob' is taken; choose another name");
    stage.input(b"/nick eve\rhello\r");
    stage.answer("you are now eve");
    assert_eq!(stage.said()[3..], ["/nick eve", "hello"]);
    assert_eq!(stage.client.poll_timeout(), None);
}

#[test]
fn what_is_typed_behind_a_room_that_is_refused_is_not_said_elsewhere() {
    let mut stage = Stage::greeted(TERMINAL);
    stage.input(b"one\r/join tea\rsecret\r\x1b[200~more\n\x1b[201~");
    stage.answer(FULL);
    assert_eq!(stage.said(), ["one", "/join tea"]);
    assert!(stage.shown().contains("not sent (the Up key brings it back): secret (and 1 more)"));
    // The person is where it was, and knows.
    stage.input(b"two\r");
    assert_eq!(stage.said(), ["one", "/join tea", "two"]);
}

#[test]
fn a_typed_command_goes_to_a_server_without_commands_as_it_is() {
    let mut stage = stage(TERMINAL, None, None);
    stage.input(b"/nick ann\rearly\r");
    stage.hear(b"Welcome to Simple Chat! Use /nick <nick> to set your nick.\n");
    stage.input(b"/nick eve\rhello\r");
    assert_eq!(stage.sent(), "/nick ann\nearly\n/nick eve\nhello\n");
}

#[test]
fn who_leaves_while_a_question_is_open_waits_for_the_answer_only_so_long() {
    let mut stage = stage(TERMINAL, None, Some("tea"));
    stage.hear(GREETING);
    stage.input(b"secret\r\x04");
    assert!(!stage.is_finished());
    stage.wait(limits::CLIENT_LEAVE);
    assert_eq!(stage.client.outcome(), Some(&Outcome::Done));
    assert_eq!(stage.said(), ["/join tea"]);
}

#[test]
fn a_flood_of_news_is_no_answer_and_no_reason_to_ask_all_the_time() {
    let mut stage = stage(TERMINAL, Some("ann"), None);
    stage.hear(GREETING);
    stage.hear(&b"-- ann left --\n-- ann joined --\n-- ann is now bob --\n".repeat(1000));
    stage.answer(TAKEN);
    stage.hear(&b"-- ann left --\n".repeat(1000));
    assert_eq!(stage.said(), ["/nick ann"]);
    assert!(stage.pause() > Duration::ZERO);
}

#[test]
fn what_follows_a_leave_waits_for_its_answer_also_when_that_was_lost() {
    for is_person in [false, true] {
        let mut stage = Stage::with(PIPE, |settings| {
            (settings.room, settings.takes_commands) = (Some("tea".into()), true);
            settings.is_person = is_person;
        });
        stage.connect();
        stage.hear(GREETING);
        stage.answer(IN_TEA);
        // Nobody asked to leave it, whoever says so.
        stage.hear(b"-- you left tea and speak in lobby now --\n");
        stage.input(b"/leave\nto all\n");
        assert_eq!(stage.said(), ["/join tea", "/leave"]);
        // It may have left, and may have not: the new connection is brought where that was, and asks again.
        reconnect(&mut stage);
        assert_eq!(stage.said(), ["/join tea"]);
        stage.answer(IN_TEA);
        assert_eq!(stage.said(), ["/join tea", "/leave"]);
        stage.answer("you left tea and speak in lobby now");
        assert_eq!(stage.said(), ["/join tea", "/leave", "to all"]);
        reconnect(&mut stage);
        assert_eq!(stage.said(), [""; 0]);
    }
}

#[test]
fn a_room_that_cannot_be_left_ends_a_pipe() {
    let mut stage = Stage::with(PIPE, |settings| settings.takes_commands = true);
    stage.connect();
    stage.hear(GREETING);
    stage.input(b"/leave\nsecret\n");
    stage.answer("you are in no room; /join ROOM enters one");
    assert_eq!(stage.said(), ["/leave"]);
    let why = "to leave the room: you are in no room; /join ROOM enters one";
    assert_eq!(stage.client.outcome().cloned(), refused(why));
}

#[test]
fn a_server_that_only_takes_its_time_is_waited_for() {
    let mut stage = Stage::with(PIPE, |settings| settings.takes_commands = true);
    stage.connect();
    stage.hear(GREETING);
    stage.socket_room = 0;
    stage.input(b"one\n/join tea\nsecret\n");
    // It takes nothing yet.
    stage.wait(limits::CLIENT_ANSWER * 3);
    for room in [4, 3] {
        stage.socket_room = room;
        let socket = stage.socket();
        stage.client.handle_writable(socket);
        stage.turn();
        stage.wait(limits::CLIENT_ANSWER * 3);
    }
    assert_eq!(stage.client.outcome(), None);
    stage.socket_room = usize::MAX;
    let socket = stage.socket();
    stage.client.handle_writable(socket);
    stage.turn();
    // It says line by line what it was sent before, and begins one.
    for piece in [&b"1.2.3.4:5: one\n"[..], b"1.2.3.4:5: two\n", b"1.2"] {
        stage.wait(limits::CLIENT_ANSWER - Duration::from_millis(1));
        stage.hear(piece);
    }
    stage.wait(limits::CLIENT_ANSWER - Duration::from_millis(1));
    assert_eq!(stage.client.outcome(), None);
    stage.wait(Duration::from_millis(1));
    match stage.client.outcome() {
        Some(Outcome::CannotConnect(why)) => {
            assert!(why.contains("/join tea: no answer") && !why.contains("--plain"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_question_is_ended_by_a_word_that_was_seen_before() {
    let mut stage = stage(PIPE, Some("ann"), Some("tea"));
    stage.end_input(b"secret");
    stage.hear(GREETING);
    stage.answer("you are now ann");
    stage.answer(IN_TEA);
    let words: Vec<_> = stage.sent().lines().filter_map(|line| line.strip_prefix("/ping ")).collect();
    let [first, second, third] = words[..] else { panic!("{words:?}") };
    assert!(first != second && second != third);
    assert_eq!(stage.client.host.numbers, 3, "each of them comes from outside, and from no seed of ours");
}

#[test]
fn who_has_left_the_first_room_is_not_back_in_it_on_a_new_connection() {
    let mut stage = Stage::with(PIPE, |settings| settings.takes_commands = true);
    stage.connect();
    stage.hear(GREETING);
    stage.input(b"/leave\n");
    stage.answer("you left lobby and are in no room; /join lobby goes back");
    reconnect(&mut stage);
    stage.input(b"to nobody\n");
    assert_eq!(stage.said(), ["/leave"]);
    stage.answer("you left lobby and are in no room; /join lobby goes back");
    stage.end_input(b"");
    assert_eq!(stage.said(), ["/leave", "to nobody"]);
    stage.hear(b"-- you are in no room; /join ROOM enters one --\n");
    stage.confirm();
    stage.end_server();
    stage.assert_failed("you are in no room; /join ROOM enters one");
}
