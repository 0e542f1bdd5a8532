//! On a terminal: answers that come late, or not at all.

use super::*;

const IN_TEA: &str = "you speak in tea now; /leave goes back";
const FULL: &str = "all rooms are taken (--max-rooms); join one of /rooms";

/// A person who asked for this and had no answer in time.
fn stage(text: &[u8]) -> Stage {
    let mut stage = Stage::greeted(TERMINAL);
    stage.input(text);
    stage.wait(limits::CLIENT_ANSWER);
    stage
}

/// The words that end the answers to what was asked, the oldest first.
fn nonces(stage: &Stage) -> Vec<String> {
    stage.sent().lines().filter_map(|line| line.strip_prefix("/ping ")).map(str::to_owned).collect()
}

impl Stage {
    fn answer_late(&mut self, question: usize, words: &str) {
        let nonce = &nonces(self)[question];
        self.hear(format!("-- {words} --\n-- pong {nonce} --\n").as_bytes());
    }
}

#[test]
fn what_is_typed_is_held_until_a_late_answer_comes() {
    for (words, said) in [(IN_TEA, &["/join tea", "third"][..]), (FULL, &["/join tea", "third"])] {
        let mut stage = stage(b"/join tea\rfirst\r");
        let told = "/join tea: no answer, and nothing else for 30 s";
        assert!(stage.shown().contains(told), "{}", stage.shown());
        assert!(stage.shown().contains("not sent (the Up key brings it back): first"));
        stage.input(b"second\rsecond\r\x1b[200~second\n\x1b[201~");
        assert_eq!(stage.shown().matches("not said (the Up key brings it back): second").count(), 3);
        assert_eq!(stage.said(), ["/join tea"]);
        assert_eq!(stage.client.poll_timeout(), None);
        stage.answer_late(0, words);
        assert!(!stage.shown().contains("pong"), "{}", stage.shown());
        // In tea, or where the person was before; which, the server's words say.
        stage.input(b"third\r");
        assert_eq!(stage.said(), said);
        stage.close(Reason::Reset);
        let pause = stage.pause();
        stage.wait(pause);
        stage.connect();
        stage.hear(GREETING);
        assert_eq!(stage.said(), if words == IN_TEA { vec!["/join tea"] } else { vec![] });
    }
}

#[test]
fn a_late_answer_is_none_to_what_was_asked_for_instead() {
    for (late, answer, said) in [
        (IN_TEA, "you speak in beer now; /leave goes back", true),
        (FULL, "you speak in beer now; /leave goes back", true),
        (IN_TEA, FULL, false),
    ] {
        let mut stage = stage(b"/join tea\r");
        stage.input(b"/join beer\rsecret\r");
        assert_eq!(stage.said(), ["/join tea", "/join beer"]);
        stage.answer_late(0, late);
        assert_eq!(stage.said(), ["/join tea", "/join beer"]);
        stage.answer_late(1, answer);
        assert!(!stage.shown().contains("pong"), "{}", stage.shown());
        assert_eq!(stage.said().last() == Some(&"secret"), said);
        if !said {
            assert!(stage.shown().contains("not sent (the Up key brings it back): secret"));
        }
    }
}

#[test]
fn a_question_that_is_never_answered_holds_until_another_is() {
    let mut stage = stage(b"/join tea\r");
    stage.input(b"/nick ann\rsecret\r");
    // A nick says nothing of where the person is.
    assert_eq!(stage.said(), ["/join tea", "/nick ann"]);
    stage.answer_late(1, "you are now ann");
    stage.input(b"secret\r");
    assert_eq!(stage.said(), ["/join tea", "/nick ann"]);
    stage.input(b"/join beer\rhello\r");
    stage.answer("you speak in beer now; /leave goes back");
    assert_eq!(stage.said()[2..], ["/join beer", "hello"]);
}

#[test]
fn questions_without_an_answer_are_bounded() {
    let mut stage = Stage::greeted(TERMINAL);
    for _ in 0..100 {
        stage.input(b"/join tea\r");
        stage.wait(limits::CLIENT_ANSWER);
    }
    assert_eq!(stage.said().len(), super::super::late::LATE_MAX);
    stage.answer_late(0, IN_TEA);
    assert_eq!(stage.said().len(), super::super::late::LATE_MAX + 1);
}

#[test]
fn a_nick_or_room_from_the_start_that_is_not_answered_holds_what_is_typed() {
    let mut stage = Stage::with(TERMINAL, |settings| {
        (settings.nick, settings.room) = (Some("ann".into()), Some("tea".into()));
    });
    stage.connect();
    stage.input(b"early\r");
    stage.hear(GREETING);
    stage.wait(limits::CLIENT_ANSWER);
    stage.wait(limits::CLIENT_ANSWER);
    assert_eq!(stage.said(), ["/nick ann", "/join tea"]);
    assert!(stage.shown().contains("not sent (the Up key brings it back): early"), "{}", stage.shown());
    stage.input(b"x\rx\r");
    stage.answer_late(0, "'ann' is taken; choose another name");
    stage.input(b"x\r");
    assert_eq!(stage.said(), ["/nick ann", "/join tea"]);
    stage.answer_late(1, IN_TEA);
    stage.input(b"y\ry\r");
    // The nick alone is refused, and is asked for again.
    assert_eq!(stage.said(), ["/nick ann", "/join tea", "/nick ann", "y"]);
    assert!(!stage.shown().contains("pong"), "{}", stage.shown());
}

#[test]
fn a_late_answer_that_is_no_command_tells_that_there_are_none() {
    let mut stage = Stage::with(TERMINAL, |settings| settings.room = Some("tea".into()));
    stage.connect();
    stage.hear(GREETING);
    stage.wait(limits::CLIENT_ANSWER);
    let question = stage.sent().to_owned();
    stage.hear(question.as_bytes());
    stage.input(b"secret\r");
    assert_eq!(stage.said(), ["/join tea"]);
}
