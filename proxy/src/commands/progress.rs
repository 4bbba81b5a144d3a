//! What a long command shows while it runs: a line on standard error where that is a terminal, and nothing elsewhere.

use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How far a command has come.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// `done`: things, called `things`, that are behind it already.
    pub(super) fn new(task: &str, things: &str, done: u64) -> Self {
        // How many there are nobody knows before the end of the listing.
        let bar = ProgressBar::new_spinner().with_position(done).with_message(task.to_owned());
        let template =
            format!("{{spinner}} {{msg}}: {{human_pos}} {things}, {{per_sec}}, {{elapsed}} {{prefix}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// So many are done, and of so many the remark holds.
    pub(super) fn set(&self, done: u64, of_them: u64, remark: &str) {
        self.0.set_position(done);
        if of_them > 0 {
            self.0.set_prefix(format!("({of_them} {remark})"));
        }
    }

    /// Prints a line of the report without the bar in between.
    pub(super) fn line(&self, out: &mut dyn Write, line: &str) -> std::io::Result<()> {
        self.0.suspend(|| writeln!(out, "{line}"))
    }

    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
