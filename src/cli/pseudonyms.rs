//! `assent pseudonyms`: makes keys of pseudonyms, and lists the ids of those in use.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Context as _;
use clap::Subcommand;

use crate::{app, config::Config, pipeline::PseudonymKey, spool};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a random key, in the form of the key file
    Generate {
        /// A new file, readable by its owner alone; standard output when not given
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print the ids of the configured keys, the current one first
    List,
}

/// Makes a key. It needs no configuration.
pub(super) fn generate(out: Option<PathBuf>) -> anyhow::Result<()> {
    let key = PseudonymKey::generate()?;
    let text = key.to_text();
    let Some(path) = out else {
        let mut stdout = io::stdout().lock();
        return stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .context("cannot write the key");
    };
    spool::fs::write_new_private(&path, text.as_bytes())
        .with_context(|| format!("cannot make {}, which must not exist yet", path.display()))?;
    println!("{}", key.id());
    Ok(())
}

/// Prints ids, never keys.
pub(super) fn list(config: &Config) -> anyhow::Result<()> {
    for (index, id) in app::read_key_ring(config)?.ids().enumerate() {
        println!("{id}{}", if index == 0 { " current" } else { "" });
    }
    Ok(())
}
