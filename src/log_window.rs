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
