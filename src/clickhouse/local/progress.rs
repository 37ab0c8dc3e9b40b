//! What a user sees while 170 MB are on their way: a bar on a terminal, one line elsewhere.

use std::io::{IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// One step of which the length is known.
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Begins a step of `total_bytes`; says nothing at all unless `shown`.
    pub(super) fn start(label: &str, total_bytes: u64, shown: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        if !shown || !terminal {
            if shown {
                // Nobody is helped by an error about a closed stderr.
                let _ = writeln!(std::io::stderr(), "{label} ({} MB)", total_bytes / 1_000_000);
            }
            return Self { bar: ProgressBar::hidden() };
        }
        let bar = ProgressBar::with_draw_target(Some(total_bytes), ProgressDrawTarget::stderr());
        let template = "{msg} [{bar:30}] {bytes} of {total_bytes}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(label.to_owned());
        Self { bar }
    }

    /// Shows how far it has come, never past the end.
    pub(super) fn set(&self, bytes: u64) {
        self.bar.set_position(bytes.min(self.bar.length().unwrap_or(u64::MAX)));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
