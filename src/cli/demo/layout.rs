//! Text on a terminal: widths as terminals count them, wrapping, tables, bars.

use std::fmt::{self, Write as _};

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::cli::terminal::{BOLD, CYAN, DIM, Style, paint};

/// No line of the report is wider, in columns.
pub(super) const WIDTH: usize = 100;

/// The report as it grows.
pub(super) struct Page {
    text: String,
    colour: bool,
    sections: usize,
}

/// A cell of a table.
pub(super) struct Cell {
    text: String,
    style: Option<Style>,
    right: bool,
}

impl Cell {
    /// Text, to the left.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: None, right: false }
    }

    /// A number, to the right.
    pub(super) fn number(number: impl fmt::Display) -> Self {
        Self { text: number.to_string(), style: None, right: true }
    }

    /// The same in a style.
    pub(super) fn styled(mut self, style: Style) -> Self {
        self.style = Some(style);
        self
    }
}

impl Page {
    pub(super) fn new(colour: bool) -> Self {
        Self { text: String::new(), colour, sections: 0 }
    }

    /// The page so far; the next call gives what comes after.
    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// A numbered heading and a line under it.
    pub(super) fn section(&mut self, title: &str) {
        self.sections += 1;
        let heading = format!("{}. {title}", self.sections);
        self.push(format_args!("\n{}\n", paint(BOLD, &heading, self.colour)));
        self.push(format_args!("{}\n", paint(DIM, "─".repeat(WIDTH), self.colour)));
    }

    /// What the next lines are about.
    pub(super) fn heading(&mut self, text: &str) {
        for line in wrap(text, WIDTH - 2) {
            self.push(format_args!("  {}\n", paint(BOLD, line, self.colour)));
        }
    }

    /// A paragraph, wrapped.
    pub(super) fn paragraph(&mut self, text: &str) {
        for line in wrap(text, WIDTH - 2) {
            self.push(format_args!("  {line}\n"));
        }
    }

    /// A paragraph of less importance, wrapped.
    pub(super) fn note(&mut self, text: &str) {
        for line in wrap(text, WIDTH - 2) {
            self.push(format_args!("  {}\n", paint(DIM, line, self.colour)));
        }
    }

    /// A label and a wrapped text beside it.
    pub(super) fn labelled(&mut self, label: &str, style: Option<Style>, text: &str) {
        const LABEL: usize = 10;
        for (index, line) in wrap(text, WIDTH - 2 - LABEL).into_iter().enumerate() {
            let label = pad(if index == 0 { label } else { "" }, LABEL, false);
            let label = paint(DIM, label, self.colour);
            match style {
                Some(style) => self.push(format_args!("  {label}{}\n", paint(style, line, self.colour))),
                None => self.push(format_args!("  {label}{line}\n")),
            }
        }
    }

    /// Something to type. Neither wrapped nor indented, so that it can be copied.
    pub(super) fn command(&mut self, command: &str) {
        for line in command.lines() {
            self.push(format_args!("{}\n", paint(CYAN, line, self.colour)));
        }
        self.gap();
    }

    /// An empty line.
    pub(super) fn gap(&mut self) {
        self.text.push('\n');
    }

    /// A table with headings. The last column is not padded.
    pub(super) fn table(&mut self, headings: &[&str], rows: &[Vec<Cell>]) {
        let widths: Vec<usize> = headings
            .iter()
            .enumerate()
            .map(|(column, heading)| {
                let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.width());
                cells.chain([heading.width()]).max().unwrap_or_default()
            })
            .collect();
        let right =
            |column: usize| rows.first().and_then(|row| row.get(column)).is_some_and(|cell| cell.right);
        let mut line = String::from("  ");
        for (column, heading) in headings.iter().enumerate() {
            line.push_str(&pad(heading, widths[column], right(column)));
            line.push_str("  ");
        }
        self.push(format_args!("  {}\n", paint(DIM, line.trim(), self.colour)));
        for row in rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let text = pad(&cell.text, *width, cell.right);
                line.push_str("  ");
                match cell.style {
                    // Writing to a string cannot fail.
                    Some(style) => drop(write!(line, "{}", paint(style, text, self.colour))),
                    None => line.push_str(&text),
                }
            }
            self.push(format_args!("{}\n", line.trim_end()));
        }
    }

    fn push(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(line);
    }
}

/// A bar of `width` columns of which a share (0 to 1) is full.
pub(super) fn bar(share: f64, width: usize) -> String {
    let full = (0..width).filter(|step| (*step as f64 + 0.5) / width as f64 <= share).count();
    format!("{}{}", "█".repeat(full), "·".repeat(width - full))
}

/// Fills up to `width` columns.
fn pad(text: &str, width: usize, right: bool) -> String {
    let fill = " ".repeat(width.saturating_sub(text.width()));
    if right { format!("{fill}{text}") } else { format!("{text}{fill}") }
}

/// Breaks a text into lines of at most `width` columns: at spaces where there are some, and
/// anywhere in scripts that have none.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let room = width.saturating_sub(line.width() + usize::from(!line.is_empty()));
        if word.width() <= room {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
            continue;
        }
        let spaceless_script = word.chars().any(|character| character.width() == Some(2));
        if word.width() <= width && !spaceless_script {
            lines.push(std::mem::replace(&mut line, word.to_owned()));
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for character in word.chars() {
            if line.width() + character.width().unwrap_or(0) > width {
                lines.push(std::mem::take(&mut line).trim_end().to_owned());
            }
            line.push(character);
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_at_spaces_and_anywhere_in_scripts_without() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("いつもお世話に", 6), ["いつも", "お世話", "に"]);
        assert_eq!(wrap("un été court", 8), ["un été", "court"]);
        assert_eq!(wrap("", 8), Vec::<String>::new());
        let long = "a".repeat(20);
        assert!(wrap(&long, 8).iter().all(|line| line.width() <= 8));
    }

    #[test]
    fn columns_line_up_by_display_width() {
        let mut page = Page::new(false);
        let rows = [("日本", 7), ("de", 42)].map(|(name, n)| vec![Cell::new(name), Cell::number(n)]);
        page.table(&["language", "n"], &rows);
        assert_eq!(page.take(), "  language   n\n  日本       7\n  de        42\n");
    }

    #[test]
    fn bars_are_as_long_as_their_share() {
        assert_eq!(bar(0.0, 4), "····");
        assert_eq!(bar(0.5, 4), "██··");
        assert_eq!(bar(1.0, 4), "████");
    }

    #[test]
    fn colour_changes_no_text() {
        let mut plain = Page::new(false);
        let mut coloured = Page::new(true);
        for page in [&mut plain, &mut coloured] {
            page.section("title");
            page.labelled("before", Some(CYAN), "text");
        }
        let (plain, coloured) = (plain.take(), coloured.take());
        assert!(!plain.contains('\x1b'));
        assert!(coloured.contains("\x1b[36mtext\x1b[0m"), "{coloured:?}");
    }
}
