//! A progress bar on a terminal, nothing in a pipe.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::interrupt;

/// One line on stderr that says what is being done.
pub struct Progress(ProgressBar);

impl Progress {
    pub fn new() -> Self {
        let target = match std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        Self(ProgressBar::with_draw_target(None, target))
    }

    /// Counts points of this step; the answer is whether to go on.
    pub fn points(&self, step: &'static str, done: u64, all: u64) -> ControlFlow<()> {
        if done == 0 {
            let bar =
                ProgressStyle::with_template("{msg:10} {wide_bar} {human_pos}/{human_len} points {eta}");
            self.0.set_style(bar.unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.0.set_message(step);
            self.0.set_length(all);
            self.0.reset_eta();
        }
        self.0.set_position(done);
        interrupt::checkpoint()
    }

    /// Shows that a step of unknown length runs.
    pub fn step(&self, step: String) {
        let spinner = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
        self.0.set_style(spinner.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        self.0.set_message(step);
        self.0.reset_elapsed();
        if !self.0.is_hidden() {
            self.0.enable_steady_tick(Duration::from_millis(200));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
