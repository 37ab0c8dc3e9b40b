//! `assent check-config`: the configuration as it is in force.

use anyhow::Context as _;

use crate::{app, config::Config};

pub(super) fn run(config: &Config) -> anyhow::Result<()> {
    let policy = app::check_files(config)?;
    println!("# file, environment and flags put together; secrets hidden");
    print!("{}", toml::to_string(config).context("the configuration cannot be printed")?);
    println!("\n# policy {} ({})", policy.version(), policy.digest());
    Ok(())
}
