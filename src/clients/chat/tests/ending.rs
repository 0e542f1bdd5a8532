//! When the client ends, and with what.

use super::*;

/// A pipe that has said a line; its end was told to the client.
fn piped(takes_commands: bool, text: &[u8], greeting: &[u8]) -> Stage {
    let mut stage = Stage::with(PIPE, |settings| settings.takes_commands = takes_commands);
    stage.connect();
    stage.hear(greeting);
    stage.input(text);
    stage.end_input(b"");
    stage
}

#[test]
fn a_server_that_ends_before_it_has_taken_all_is_no_success() {
    for (takes_commands, text) in
        [(false, &b"one\ntwo\n"[..]), (true, b"one\nquit\n"), (true, b"one\n/quit\n")]
    {
        for reason in [None, Some(Reason::Reset)] {
            for is_confirmed in [false, true] {
                let mut stage = piped(takes_commands, text, GREETING);
                assert!(!stage.is_finished());
                if is_confirmed {
                    stage.wait(limits::CLIENT_ANSWER * 100);
                    assert_eq!(stage.client.outcome(), None, "it may take as long as the connection lives");
                    stage.confirm();
                    assert!(!stage.shown().contains("pong"));
                    assert!(stage.is_finished() && !stage.sent().contains("/ping"), "{}", stage.sent());
                }
                stage.hear(b"-- the server is closing --\n");
                match reason {
                    None => stage.end_server(),
                    Some(reason) => stage.close(reason),
                }
                if is_confirmed {
                    assert_eq!(stage.client.outcome(), Some(&Outcome::Done));
                } else {
                    stage.assert_failed("the last lines may not have arrived; see the room");
                }
            }
        }
    }
}

#[test]
fn a_server_without_commands_that_says_it_is_closing_may_not_have_taken_all() {
    for is_closing in [false, true] {
        let mut stage = piped(false, b"one\n", b"-- you are 1.2.3.4:5 in lobby; quit leaves --\n");
        assert_eq!(stage.sent(), "one\n");
        assert!(stage.is_finished());
        stage.hear(if is_closing { b"-- the server is closing --\n" } else { b"1.2.3.4:5: one\n" });
        stage.end_server();
        if is_closing {
            stage.assert_failed("the last lines may not have arrived");
        } else {
            assert_eq!(stage.client.outcome(), Some(&Outcome::Done));
        }
    }
}

#[test]
fn what_was_sent_and_may_be_lost_is_not_said_twice_and_the_end_is_no_success() {
    let mut stage = Stage::greeted(PIPE);
    stage.socket_room = 4;
    stage.input(b"one\ntwo\n");
    stage.end_input(b"");
    stage.close(Reason::Reset);
    let told = "connection reset: the last lines may not have arrived; see the room";
    assert!(stage.client.host.reports[0].contains(told), "{:?}", stage.client.host.reports);
    stage.socket_room = usize::MAX;
    let pause = stage.pause();
    stage.wait(pause);
    stage.connect();
    stage.hear(GREETING);
    stage.confirm();
    assert_eq!(stage.sent(), "two\n");
    stage.end_server();
    stage.assert_failed(told);
}

#[test]
fn quit_in_a_pipe_of_commands_is_the_last_line() {
    let mut stage = Stage::with(PIPE, |settings| settings.takes_commands = true);
    stage.connect();
    stage.hear(GREETING);
    assert_eq!(stage.input(b"a\nquit\nb\n"), 9);
    stage.end_input(b"");
    stage.confirm();
    assert_eq!(stage.sent(), "a\nquit\n");
    stage.end_server();
    assert_eq!(stage.client.outcome(), Some(&Outcome::Done));
}

#[test]
fn no_reconnect_ends_with_the_reason() {
    let mut stage = Stage::with(TERMINAL, |settings| settings.reconnects = false);
    stage.connect();
    stage.hear(b"-- you are 1.2.3.4:5 in lobby --\n-- the server is closing --\n");
    stage.end_server();
    stage.assert_failed("lost the connection to the.server:1: the server closed it");
}

#[test]
fn a_reset_after_the_last_line_is_no_quiet_end() {
    let mut stage = Stage::greeted(PIPE);
    stage.end_input(b"x");
    stage.close(Reason::Reset);
    stage.assert_failed("the last lines may not have arrived");
}

#[test]
fn quit_and_ctrl_d_leave_and_show_the_farewell() {
    for (keys, sent) in
        [(&b"quit\r"[..], "quit\n"), (b"/quit\r", "/quit\n"), (b"/QUIT now\r", "/QUIT now\n"), (b"\x04", "")]
    {
        let mut stage = Stage::greeted(TERMINAL);
        stage.input(keys);
        assert_eq!(stage.sent(), sent);
        assert!(stage.is_finished());
        stage.hear(b"-- bye --\n");
        stage.end_server();
        assert_eq!(stage.client.outcome(), Some(&Outcome::Done));
        assert!(stage.shown().contains("-- bye --\r\n"));
        assert!(stage.shown().ends_with("\r\u{1b}[K") || stage.shown().ends_with("\r\n"), "no row is left");
    }
}

#[test]
fn who_leaves_waits_for_a_silent_server_only_so_long() {
    let mut stage = Stage::greeted(TERMINAL);
    stage.input(b"quit\r");
    stage.wait(limits::CLIENT_LEAVE - Duration::from_millis(1));
    stage.hear(b"still at it\n");
    stage.wait(limits::CLIENT_LEAVE - Duration::from_millis(1));
    assert_eq!(stage.client.outcome(), None);
    stage.wait(Duration::from_millis(1));
    assert_eq!(stage.client.outcome(), Some(&Outcome::Done));
}

#[test]
fn ctrl_c_and_a_signal_end_at_once() {
    let mut stage = Stage::greeted(TERMINAL);
    stage.input(b"\x03");
    assert_eq!(stage.client.outcome(), Some(&Outcome::Done));
    assert!(stage.actions.contains(&Action::Stop(limits::CLIENT_STOP)));
    let mut stage = Stage::new(PIPE);
    stage.client.handle_signal(stage.now);
    stage.turn();
    assert!(stage.actions.contains(&Action::Stop(Duration::ZERO)), "connecting keeps nobody");
}

#[test]
fn a_reader_who_left_is_a_quiet_end() {
    let mut stage = Stage::greeted(PIPE);
    stage.client.handle_closed(stage.now, CONSOLE(), Reason::Reset);
    stage.turn();
    assert_eq!(stage.client.outcome(), Some(&Outcome::Done));
    assert!(stage.actions.iter().any(|action| matches!(action, Action::Stop(_))));
}

#[test]
fn the_loop_is_stopped_only_when_a_slow_reader_has_all() {
    let mut stage = Stage::greeted(PIPE);
    stage.console_room = 3;
    stage.end_input(b"x");
    stage.hear(b"a long farewell\n");
    stage.end_server();
    let is_stopped = |stage: &Stage| stage.actions.iter().any(|action| matches!(action, Action::Stop(_)));
    assert!(!is_stopped(&stage));
    stage.console_room = usize::MAX;
    stage.client.handle_writable(CONSOLE());
    stage.turn();
    assert!(is_stopped(&stage));
    assert!(stage.shown().ends_with("a long farewell\n"));
}

#[test]
fn a_follower_that_does_not_reconnect_fails_with_the_reason() {
    let mut stage = Stage::with(PIPE, |settings| settings.reconnects = false);
    stage.connect();
    stage.end_input(b"");
    stage.hear(b"-- you are 1.2.3.4:5 in lobby --\n-- the server is closing --\n");
    stage.end_server();
    stage.assert_failed("lost the connection to the.server:1: the server closed it");
}
