//! What a walk shows while it runs: a line on standard error where that is a terminal, and nothing elsewhere.

use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::{Failure, Report};

pub(super) struct Progress(ProgressBar);

impl Progress {
    /// `done`: objects that are behind it already.
    pub(super) fn new(task: &str, done: u64) -> Self {
        // How many there are nobody knows before the end of the listing.
        let bar = ProgressBar::new_spinner().with_position(done).with_message(task.to_owned());
        if let Ok(style) = ProgressStyle::with_template(
            "{spinner} {msg}: {human_pos} objects, {per_sec}, {elapsed} {prefix}",
        ) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    pub(super) fn step(&mut self, report: &Report) {
        self.0.set_position(report.objects());
        if report.failed > 0 {
            self.0.set_prefix(format!("({} failed)", report.failed));
        }
    }

    /// Prints a line of the report without the bar in between.
    pub(super) fn line(&mut self, out: &mut dyn Write, line: &str) -> Result<(), Failure> {
        Ok(self.0.suspend(|| writeln!(out, "{line}"))?)
    }

    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
