//! `README.md`: what a dataset is, for people, and in its front matter where its files lie, for the `datasets` library.

use std::fmt::Write as _;

use super::{Manifest, query::Scope};

/// Its name in the folder of a dataset.
pub const CARD_FILE: &str = "README.md";

/// The card of a dataset. It may not say anything that depends on the manifest's digest.
#[must_use]
pub fn card(manifest: &Manifest) -> String {
    let mut card = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut card, manifest);
    card
}

fn write(out: &mut String, manifest: &Manifest) -> std::fmt::Result {
    let selection = &manifest.selection;
    let whom = match selection.scope {
        Scope::FirstParty => "the product itself",
        Scope::Affiliates => "the product and its affiliates",
    };
    writeln!(out, "---\npretty_name: Consented writing interactions ({})", selection.scope.as_str())?;
    let languages: Vec<_> = manifest.counts.language.keys().filter_map(|it| primary(it)).collect();
    if !languages.is_empty() {
        writeln!(out, "language:")?;
        let mut last = "";
        for language in languages.into_iter().filter(|it| std::mem::replace(&mut last, it) != *it) {
            // In quotes: YAML takes `no` for a truth value.
            writeln!(out, "- \"{language}\"")?;
        }
    }
    writeln!(out, "size_categories:\n- {}", size_category(manifest.rows))?;
    // The `datasets` library keeps copies by what stands in a configuration, and not by the files: without a word that
    // changes with each export it would go on with a copy that has the rows which a refresh has dropped.
    writeln!(
        out,
        "tags:\n- assent\nconfigs:\n- config_name: default\n  description: export {}\n  data_files:\n  - split: train\n    \
         path: data/*.parquet\n---\n",
        manifest.export_id
    )?;
    writeln!(out, "# Consented writing interactions\n")?;
    writeln!(
        out,
        "{} events received from {} to {} (UTC, both included), on which {whom} may train a model: their authors had said \
         so when each was received, and had not taken it back by {} UTC.\n",
        manifest.rows, selection.from_day, selection.to_day, manifest.consent_watermark
    )?;
    writeln!(
        out,
        "**People take consent back.** Before each training run, and at least as often as you have promised:\n\n\
         ```sh\nassent export verify DIR      # exit code 3: rows are listed in withdrawn.parquet that may no longer be used\n\
         assent export refresh DIR     # drops them, adds what is new\n\
         assent export revocations --since DIR/manifest.json --cursor FILE   # what was taken back since last asked\n```\n\n\
         `manifest.json` says what every file holds. Without it, this folder is no dataset.\n"
    )?;
    writeln!(
        out,
        "## Reading it\n\n```python\nimport pandas as pd, polars as pl, duckdb, datasets\n\n\
         pd.read_parquet(\"DIR/data\")\npl.read_parquet(\"DIR/data/*.parquet\")\n\
         duckdb.sql(\"SELECT language, count(*) FROM 'DIR/data/*.parquet' GROUP BY ALL\")\n\
         datasets.load_dataset(\"DIR\", split=\"train\")\n```\n"
    )?;
    for (title, counts) in [
        ("Reason", &manifest.counts.eligibility_reason),
        ("Kind of event", &manifest.counts.event_type),
        ("Language", &manifest.counts.language),
        ("Feature", &manifest.counts.feature),
        ("Rules of redaction", &manifest.redaction_versions),
    ] {
        writeln!(out, "| {title} | rows |\n|---|---|")?;
        let mut most: Vec<_> = counts.iter().collect();
        most.sort_by_key(|(_, rows)| std::cmp::Reverse(**rows));
        for (value, rows) in most.iter().take(TABLE_ROWS) {
            writeln!(out, "| {} | {rows} |", cell(value))?;
        }
        if most.len() > TABLE_ROWS {
            writeln!(out, "| {} more, in manifest.json | |", most.len() - TABLE_ROWS)?;
        }
        writeln!(out)?;
    }
    writeln!(out, "## Columns\n\n| column | type |\n|---|---|")?;
    for column in &manifest.schema {
        writeln!(out, "| `{}` | `{}` |", column.name, column.data_type)?;
    }
    writeln!(
        out,
        "\nTexts were redacted by rules, which do not find everything. `subject_id` is a pseudonym, and so still personal \
         data. Do not try to find out who somebody is.\n\nExport {}, made by {} as the ClickHouse user {}.",
        manifest.export_id,
        manifest.creator.program,
        cell(&manifest.creator.clickhouse_user)
    )
}

/// The longest table of values.
const TABLE_ROWS: usize = 20;

/// A value that clients have chosen, as the cell of a table that holds nothing else.
fn cell(value: &str) -> String {
    if value.is_empty() {
        return "(none)".to_owned();
    }
    let sound = |c: char| if c.is_control() || "|`<>[]*\\&".contains(c) { '\u{b7}' } else { c };
    value.chars().take(80).map(sound).collect()
}

/// The language of a tag, as far as it can be one.
fn primary(tag: &str) -> Option<&str> {
    let language = tag.split('-').next()?;
    ((2..=3).contains(&language.len()) && language.bytes().all(|byte| byte.is_ascii_lowercase()))
        .then_some(language)
}

/// As the Hugging Face hub calls it.
const fn size_category(rows: u64) -> &'static str {
    match rows {
        0..1_000 => "n<1K",
        1_000..10_000 => "1K<n<10K",
        10_000..100_000 => "10K<n<100K",
        100_000..1_000_000 => "100K<n<1M",
        1_000_000..10_000_000 => "1M<n<10M",
        10_000_000..100_000_000 => "10M<n<100M",
        100_000_000..1_000_000_000 => "100M<n<1B",
        1_000_000_000..10_000_000_000 => "1B<n<10B",
        10_000_000_000..100_000_000_000 => "10B<n<100B",
        100_000_000_000..1_000_000_000_000 => "100B<n<1T",
        _ => "n>1T",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_chose_breaks_no_table_and_no_front_matter() {
        assert_eq!(cell("a|b\n<script>"), "a\u{b7}b\u{b7}\u{b7}script\u{b7}");
        assert_eq!(cell(""), "(none)");
        for (tag, language) in
            [("pt-BR", Some("pt")), ("no", Some("no")), ("", None), ("x: y", None), ("und", Some("und"))]
        {
            assert_eq!(primary(tag), language, "{tag}");
        }
    }
}
