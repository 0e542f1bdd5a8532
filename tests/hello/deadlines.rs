//! Silence, and whose deadline it is that passes.

use crate::visitor::{GET, Visitor, hello};

#[test]
fn silence_is_ended_without_a_word() {
    let server = hello(&["--idle", "0.5"]);
    Visitor::of(&server).expect_end();
    let mut visitor = Visitor::of(&server);
    visitor.ask(GET).expect_page();
    visitor.expect_end();
}

#[test]
fn a_head_has_its_own_deadline_however_short_silence_may_be() {
    let server = hello(&["--idle", "0.5", "--head", "0"]);
    let mut visitor = Visitor::of(&server);
    let (first, second) = GET.split_at(10);
    visitor.send(first);
    // One who comes later and is silent is closed by its deadline: the other's has passed by then, too.
    Visitor::of(&server).expect_end();
    visitor.ask(second).expect_page();
    // And now it is silent itself.
    visitor.expect_end();
}
