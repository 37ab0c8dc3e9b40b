//! How well redaction finds what people labelled, entity by entity.
//!
//! ```sh
//! cargo run --release --example redaction_eval -- FILE [--split report|tune|all] [--misses N] [--speed]
//! cargo run --release --example redaction_eval -- --clean examples/redaction_eval/hard_negatives.txt
//! ```
//!
//! `FILE` is a JSON list of texts as presidio-research writes them: `full_text`, `template_id` and `spans`, each
//! with `entity_type`, `start_position` and `end_position` in code points. Rules are tuned on the texts
//! with an even `template_id`; the others, made from templates that no rule was tuned on, are reported.
//!
//! `--clean FILE` takes a file of texts without personal data instead, one a line, and says how much of
//! them is taken all the same. Both print texts: keep the output where the file may be kept.
//!
//! `--speed` with either says how many bytes a second are redacted on one core instead; `just redaction-beside` has
//! Presidio do the same in the same run.

use std::{collections::BTreeMap, fs, io::Write as _, process::ExitCode};

use anyhow::{Context as _, bail};
use assent::redaction::{Engine, Finding};
use serde::Deserialize;

mod score;
mod speed;

use score::{Score, Taken};
use speed::Speed;

/// Prints a line; that nobody reads on, as with `head`, is no error.
macro_rules! say {
    ($($line:tt)*) => {{
        let _ = writeln!(std::io::stdout(), $($line)*);
    }};
}

#[derive(Deserialize)]
struct Labelled {
    full_text: String,
    #[serde(default)]
    template_id: u64,
    spans: Vec<Label>,
}

#[derive(Deserialize)]
struct Label {
    entity_type: String,
    start_position: usize,
    end_position: usize,
}

struct Options {
    file: String,
    clean: bool,
    speed: bool,
    split: Split,
    misses: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Split {
    Report,
    Tune,
    All,
}

impl Split {
    const fn holds(self, template_id: u64) -> bool {
        match self {
            Self::Report => !template_id.is_multiple_of(2),
            Self::Tune => template_id.is_multiple_of(2),
            Self::All => true,
        }
    }
}

#[allow(clippy::print_stderr)]
fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("redaction_eval: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut args: impl Iterator<Item = String>) -> anyhow::Result<Options> {
    let mut options =
        Options { file: String::new(), clean: false, speed: false, split: Split::Report, misses: 20 };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--clean" => options.clean = true,
            "--speed" => options.speed = true,
            "--split" => {
                options.split = match args.next().as_deref() {
                    Some("report") => Split::Report,
                    Some("tune") => Split::Tune,
                    Some("all") => Split::All,
                    _ => bail!("--split takes report, tune or all"),
                };
            }
            "--misses" => {
                options.misses =
                    args.next().and_then(|n| n.parse().ok()).context("--misses takes a number")?;
            }
            _ if options.file.is_empty() && !arg.starts_with('-') => options.file = arg,
            _ => bail!("unknown argument {arg}"),
        }
    }
    if options.file.is_empty() {
        bail!(
            "give a file: redaction_eval FILE [--split report|tune|all] [--misses N], or --clean FILE; [--speed]"
        );
    }
    Ok(options)
}

fn run(options: &Options) -> anyhow::Result<()> {
    let text = fs::read_to_string(&options.file).with_context(|| format!("reading {}", options.file))?;
    if options.clean {
        if options.speed {
            say!("{}", Speed::of(&lines(&text).collect::<Vec<_>>()));
        } else {
            clean(&text);
        }
        return Ok(());
    }
    let labelled: Vec<Labelled> = serde_json::from_str(&text).context("the file is not of this form")?;
    if options.speed {
        say!("{}", Speed::of(&labelled.iter().map(|it| it.full_text.as_str()).collect::<Vec<_>>()));
        return Ok(());
    }
    report(labelled.iter().filter(|it| options.split.holds(it.template_id)), options.misses)
}

fn report<'a>(labelled: impl Iterator<Item = &'a Labelled>, most_misses: usize) -> anyhow::Result<()> {
    let engine = Engine::shipped();
    let mut scores: BTreeMap<&str, Score> = BTreeMap::new();
    let mut taken: BTreeMap<&str, Taken> = BTreeMap::new();
    let mut misses: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for text in labelled {
        let chars: Vec<char> = text.full_text.chars().collect();
        let (_, findings) = engine.inspect(&text.full_text, None);
        let found = in_code_points(&text.full_text, &findings);
        let mut is_labelled = vec![false; chars.len()];
        for label in &text.spans {
            let range = label.start_position..label.end_position;
            let Some(flags) = is_labelled.get_mut(range) else { bail!("a span lies outside its text") };
            flags.fill(true);
            let score = scores.entry(&label.entity_type).or_default();
            if !score.add(&chars, label.start_position..label.end_position, &label.entity_type, &found) {
                let from = label.start_position.saturating_sub(30);
                let to = (label.end_position + 20).min(chars.len());
                let part = |range: std::ops::Range<usize>| chars[range].iter().collect::<String>();
                misses.entry(&label.entity_type).or_default().push(format!(
                    "{}»{}«{}",
                    part(from..label.start_position),
                    part(label.start_position..label.end_position),
                    part(label.end_position..to),
                ));
            }
        }
        for (range, entity) in found {
            taken.entry(entity).or_default().add(range, &is_labelled);
        }
    }
    say!("{:<20} {:>6} {:>8} {:>8} {:>8}", "label", "spans", "found", "as such", "chars");
    for (label, score) in &scores {
        say!("{label:<20} {score}");
    }
    say!("\n{:<20} {:>6} {:>8} {:>8}", "taken as", "spans", "right", "chars");
    for (entity, taken) in &taken {
        say!("{entity:<20} {taken}");
    }
    for (label, misses) in misses {
        say!("\nmissed of {label}: {}", misses.len());
        for miss in misses.iter().take(most_misses) {
            say!("  {}", miss.replace('\n', "⏎"));
        }
    }
    Ok(())
}

/// The texts of a file of one a line.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn clean(text: &str) {
    let engine = Engine::shipped();
    let (mut all, mut wrong) = (0, 0);
    for line in lines(text) {
        let (redacted, findings) = engine.inspect(line, None);
        all += line.chars().count();
        let taken: usize =
            findings.iter().map(|finding| line[finding.start..finding.end].chars().count()).sum();
        wrong += taken;
        if taken > 0 {
            say!("{line}\n  {redacted}");
        }
    }
    say!("{wrong} of {all} characters taken: {:.2} %", score::percent(wrong, all));
}

/// Findings as ranges of code points, with the names of their entities.
fn in_code_points(text: &str, findings: &[Finding]) -> Vec<(std::ops::Range<usize>, &'static str)> {
    let at = |byte: usize| text[..byte].chars().count();
    findings.iter().map(|it| (at(it.start)..at(it.end), it.entity.as_str())).collect()
}
