//! `assent check-config`: the configuration as it is in force, and the policy in people's words.

use anyhow::Context as _;

use crate::{app, config::Config, event::Micros};

pub(super) fn run(config: &Config) -> anyhow::Result<()> {
    let policies = app::check_files(config)?;
    println!("# file, environment and flags put together; secrets hidden");
    print!("{}", toml::to_string(config).context("the configuration cannot be printed")?);
    println!();
    // As comments, so that the whole stays a configuration file.
    for line in policies.explain(Micros::now()).lines() {
        println!("{}", format!("# {line}").trim_end());
    }
    Ok(())
}
