//! `assent subject report`: everything that the tables hold about a person, as JSON.

use std::{fs::File, io, path::PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use secrecy::SecretString;

use super::consent::Caller;
use crate::ingress::client::ClientError;

/// What is held about a person.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print everything that the tables hold about a person, as JSON (GDPR article 15)
    Report(Report),
}

#[derive(Debug, Args)]
pub(super) struct Report {
    /// The tenant's own id of the person
    #[arg(long)]
    user: String,
    /// Where it is written; a file that is there is not touched [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The tenant's privacy key, when the collector asks for one
    #[arg(long, env = "ASSENT_API_KEY", hide_env_values = true)]
    api_key: Option<SecretString>,
}

/// A report that was not written whole.
#[derive(Debug, thiserror::Error)]
enum ReportError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the report cannot be written")]
    Write(#[from] io::Error),
}

pub(super) async fn run(caller: Caller, command: Command) -> anyhow::Result<()> {
    let Command::Report(args) = command;
    let client = caller.connect(args.api_key.as_ref()).await?;
    let Some(path) = args.out else {
        let mut out = io::stdout().lock();
        return write(&client, args.user, &mut out).await;
    };
    let mut file = create_private(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let written = write(&client, args.user, &mut file).await.and_then(|()| Ok(file.sync_all()?));
    if written.is_err() {
        // Half of a report is none, and what it holds is personal.
        let _ = std::fs::remove_file(&path);
    }
    written
}

async fn write(
    client: &crate::ingress::client::Client,
    user: String,
    out: &mut impl io::Write,
) -> anyhow::Result<()> {
    client.report_subject(user, |piece| out.write_all(piece).map_err(ReportError::from)).await?;
    Ok(out.flush()?)
}

/// A new file that its owner alone may read.
fn create_private(path: &PathBuf) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().write(true).create_new(true).mode(0o600).open(path)
}
