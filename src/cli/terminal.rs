//! Whether and how to write in colour.

use std::{fmt, io::IsTerminal as _};

/// A style of text on a terminal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style(&'static str);

/// For headings.
pub(super) const BOLD: Style = Style("1");
/// For what matters less.
pub(super) const DIM: Style = Style("2");
/// For what is as it should be.
pub(super) const GREEN: Style = Style("32");
/// For what is refused.
pub(super) const RED: Style = Style("31");
/// For commands to type.
pub(super) const CYAN: Style = Style("36");

/// This program as it was typed, so that a command which is shown works when it is copied: `assent`, or
/// `target/release/assent`.
pub(super) fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "assent".to_owned())
}

/// Writes to standard output, and ends the program when nobody reads on, as `head` does.
pub(super) fn print(text: fmt::Arguments<'_>) {
    use std::io::Write as _;
    if std::io::stdout().write_fmt(text).is_err() {
        // A command that prints runs no collector: there is nothing to drain.
        #[allow(clippy::disallowed_methods)]
        std::process::exit(0);
    }
}

/// Whether standard output is a terminal that wants colour (see no-color.org).
#[must_use]
pub(super) fn wants_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A text that is written in a style, or plainly.
#[must_use]
pub(super) fn paint<T: fmt::Display>(style: Style, text: T, colour: bool) -> impl fmt::Display {
    fmt::from_fn(move |f| if colour { write!(f, "\x1b[{}m{text}\x1b[0m", style.0) } else { text.fmt(f) })
}
