//! How far an export has come: a bar on a terminal, nothing elsewhere.

use std::io::IsTerminal as _;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// A bar of rows.
pub(super) struct Progress {
    bar: ProgressBar,
    /// Of what is behind: for a guess at how many rows some bytes are.
    rows: u64,
    bytes: u64,
}

impl Progress {
    /// Begins a step.
    pub(super) fn start(label: &'static str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden(), rows: 0, bytes: 0 };
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let template =
            "{prefix} [{bar:30}] {human_pos} of {human_len} rows, {rate} rows/s, {msg}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            // `per_sec` has four decimals.
            let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                // A bar cannot say that it could not be drawn.
                let _ = write!(out, "{}", HumanCount(state.per_sec() as u64));
            };
            bar.set_style(style.progress_chars("=> ").with_key("rate", rate));
        }
        bar.set_prefix(label);
        bar.set_message(HumanBytes(0).to_string());
        Self { bar, rows: 0, bytes: 0 }
    }

    /// So many rows are still to come.
    pub(super) fn expect(&self, rows: u64) {
        self.bar.set_length(self.rows + rows);
    }

    /// So many bytes of a shard with about so many rows have come.
    pub(super) fn within(&self, bytes: u64, rows_at_most: u64) {
        let rows = bytes.saturating_mul(self.rows).checked_div(self.bytes).unwrap_or(0);
        self.show(self.rows + rows.min(rows_at_most), self.bytes + bytes);
    }

    /// So many more are behind.
    pub(super) fn done(&mut self, rows: u64, bytes: u64) {
        self.rows += rows;
        self.bytes += bytes;
        self.show(self.rows, self.bytes);
    }

    fn show(&self, rows: u64, bytes: u64) {
        if !self.bar.is_hidden() {
            self.bar.set_position(rows.min(self.bar.length().unwrap_or(u64::MAX)));
            self.bar.set_message(HumanBytes(bytes).to_string());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
