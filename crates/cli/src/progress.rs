//! How far a long command is: a bar on a terminal, else a line now and then, on standard error.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between two lines where there is no terminal.
const INTERVAL: Duration = Duration::from_secs(10);

/// Progress of one thing with a known end.
pub(crate) struct Progress {
    form: Form,
}

enum Form {
    Bar(ProgressBar),
    Lines { what: String, total: u64, start: Instant, next: Instant },
}

impl Progress {
    /// Of `what`, which is done when it reaches `total`.
    pub(crate) fn new(what: &str, total: u64) -> Self {
        let form = if stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {eta} {msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            Form::Bar(bar.with_style(style).with_prefix(what.to_owned()))
        } else {
            let start = Instant::now();
            Form::Lines { what: what.to_owned(), total, start, next: start + INTERVAL }
        };
        Self { form }
    }

    /// `done` is reached; `message` says something about it, such as a loss.
    pub(crate) fn set(&mut self, done: u64, message: &str) {
        match &mut self.form {
            Form::Bar(bar) => {
                bar.set_message(message.to_owned());
                bar.set_position(done);
            }
            Form::Lines { what, total, start, next } => {
                if Instant::now() >= *next {
                    *next = Instant::now() + INTERVAL;
                    let left = start.elapsed().as_secs_f64() * total.saturating_sub(done) as f64
                        / done.max(1) as f64;
                    // Where standard error is closed there is nobody to tell.
                    let _ = writeln!(stderr(), "{what} {done}/{total} {message}, {left:.0} s left");
                }
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }
}
