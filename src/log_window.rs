//! How often a line of one kind may be logged: what others can cause as often as they like must not fill a
//! disk, nor hide what else is logged (P22). It writes nothing itself.

use crate::engine::Moment;
use crate::limits;

/// What was logged, and left out, in the present window of [`limits::LOG_WINDOW`].
#[derive(Clone, Copy, Debug, Default)]
pub struct LogWindow {
    began: Moment,
    lines: u32,
    left_out: u64,
}

impl LogWindow {
    /// Whether another line may be logged. Where a new window begins, `tell` is given how many were left out
    /// of the last one, if any were.
    pub fn admits(&mut self, now: Moment, tell: impl FnOnce(u64)) -> bool {
        if now.since(self.began) >= limits::LOG_WINDOW {
            if self.left_out > 0 {
                tell(self.left_out);
            }
            *self = LogWindow { began: now, ..LogWindow::default() };
        }
        let admits = self.lines < limits::LOG_LINES_PER_WINDOW;
        if admits {
            self.lines += 1;
        } else {
            self.left_out += 1;
        }
        admits
    }

    /// Lines left out of the present window.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// How many of so many lines are admitted, and what is told before them.
    fn log(window: &mut LogWindow, now: Moment, lines: u32) -> (u32, Vec<u64>) {
        let (mut admitted, mut told) = (0, Vec::new());
        for _ in 0..lines {
            admitted += u32::from(window.admits(now, |left_out| told.push(left_out)));
        }
        (admitted, told)
    }

    #[test]
    fn a_window_admits_so_many_lines_and_the_next_one_tells_how_many_it_did_not() {
        let most = limits::LOG_LINES_PER_WINDOW;
        let next = Moment::START + limits::LOG_WINDOW;
        let before_next = Moment::START + (limits::LOG_WINDOW - Duration::from_nanos(1));
        let mut window = LogWindow::default();
        assert_eq!(log(&mut window, Moment::START, most + 3), (most, vec![]));
        assert_eq!(log(&mut window, before_next, 1), (0, vec![]));
        assert_eq!(window.left_out(), 4);
        assert_eq!(log(&mut window, next, 1), (1, vec![4]));
        assert_eq!(window.left_out(), 0);
        let one_after_next = next + limits::LOG_WINDOW;
        assert_eq!(log(&mut window, one_after_next, 1), (1, vec![]), "of none, nothing is told");
    }
}
