//! `assent redact`: what the rules take out of a text, for those who tune them.

use std::{
    io::{IsTerminal as _, Read as _},
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use clap::Args;

use super::terminal::{GREEN, RED, paint, print, wants_colour};
use crate::{
    app,
    config::Config,
    event::Tenant,
    pipeline::authenticate::LOCAL_TENANT,
    redaction::{Author, Finding},
};

/// What the command takes.
#[derive(Debug, Args)]
pub(super) struct Redact {
    /// The text, UTF-8; standard input when not given
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// A file of rules to add to those of the configuration; may be given more than once
    #[arg(long, value_name = "FILE")]
    rules: Vec<PathBuf>,
    /// Whose rules of the configuration
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// The author's user id, to be looked for too
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Each line is a text of its own, with placeholders numbered from 1
    #[arg(long)]
    lines: bool,
    /// Show what was taken and what stands in its place, also where nobody looks at a terminal
    #[arg(long)]
    diff: bool,
    /// Print the names of all that is found, and nothing else
    #[arg(long)]
    list: bool,
}

pub(super) fn run(mut config: Config, command: &Redact) -> anyhow::Result<()> {
    config.redaction.rules_files.extend(command.rules.iter().cloned());
    // Without the key, what is to be hashed gets a placeholder: nothing here should need a secret.
    let redactor = app::load_redactor(&config, None)?;
    let tenant = match &command.tenant {
        Some(name) if config.tenants.is_empty() || config.tenants.iter().any(|it| it.name == *name) => name,
        Some(name) => bail!("there is no tenant {name} in the configuration"),
        None if config.tenants.is_empty() => LOCAL_TENANT,
        None => bail!("say whose rules to try: --tenant NAME"),
    };
    let engine = redactor.engine_of(&Tenant::new(tenant));
    if command.list {
        engine.entities().iter().for_each(|entity| print(format_args!("{entity}\n")));
        return Ok(());
    }
    let text = text_of(command)?;
    let author = command.user.as_deref().map(Author::of_event);
    let shows = command.diff || std::io::stdout().is_terminal();
    let texts: Vec<&str> = if command.lines { text.split_inclusive('\n').collect() } else { vec![&text] };
    for text in texts {
        let (redacted, findings) = engine.inspect(text, author.as_ref());
        if shows {
            print(format_args!("{}", diff(text, &findings, wants_colour())));
        } else {
            print(format_args!("{redacted}"));
        }
    }
    Ok(())
}

fn text_of(command: &Redact) -> anyhow::Result<String> {
    let Some(path) = &command.file else {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input is not a text in UTF-8")?;
        return Ok(text);
    };
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read as UTF-8", path.display()))
}

/// The text with what was taken and, after it, what stands in its place: coloured, or `[-taken-]{+placed+}` as
/// `git diff --word-diff` writes it.
fn diff(text: &str, findings: &[Finding], colour: bool) -> String {
    let mut shown = String::with_capacity(text.len() * 2);
    let mut copied = 0;
    for Finding { start, end, placeholder, .. } in findings {
        shown.push_str(&text[copied..*start]);
        let taken = &text[*start..*end];
        if colour {
            shown.push_str(&format!("{}{}", paint(RED, taken, true), paint(GREEN, placeholder, true)));
        } else {
            shown.push_str(&format!("[-{taken}-]{{+{placeholder}+}}"));
        }
        copied = *end;
    }
    shown.push_str(&text[copied..]);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redaction::Engine;

    #[test]
    fn a_diff_shows_what_was_taken_and_what_is_there() {
        let text = "to anna@example.com or 4111 1111 1111 1111!";
        let (_, findings) = Engine::shipped().inspect(text, None);
        assert_eq!(
            diff(text, &findings, false),
            "to [-anna@example.com-]{+<EMAIL_1>+} or [-4111 1111 1111 1111-]{+<CARD_1>+}!"
        );
        assert_eq!(
            diff("a@b.de", &Engine::shipped().inspect("a@b.de", None).1, true),
            "\x1b[31ma@b.de\x1b[0m\x1b[32m<EMAIL_1>\x1b[0m"
        );
    }
}
