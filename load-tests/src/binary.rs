//! Which collector is measured.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use tokio::process::Command;

use crate::progress::say;

const NAME: &str = "assent";

/// The one that was given; or the repository's release build.
///
/// Started by `cargo run`, this asks cargo to bring that build up to date, which costs nothing when it is, so that
/// nobody measures yesterday's collector. Otherwise the one beside this program counts, and is built when there is
/// none.
pub(crate) async fn find(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = given {
        ensure!(path.is_file(), "{} is no file (--assent-binary)", path.display());
        return Ok(std::path::absolute(path)?);
    }
    let beside = std::env::current_exe().context("cannot find this program's own file")?.with_file_name(NAME);
    let cargo = std::env::var_os("CARGO");
    if cargo.is_none() && beside.is_file() {
        return Ok(beside);
    }
    say("building the collector");
    build(cargo.as_deref().unwrap_or_else(|| "cargo".as_ref()).as_ref()).await
}

/// A line of cargo's machine-readable output.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

async fn build(cargo: &Path) -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the repository has no root")?;
    let mut command = Command::new(cargo);
    // What `cargo run` tells this program about itself. A build script of a dependency asks for some of it, and
    // would have the collector built anew, each time.
    for (name, _) in std::env::vars_os() {
        let name_bytes = name.as_encoded_bytes();
        if name_bytes.starts_with(b"CARGO_MANIFEST_") || name_bytes.starts_with(b"CARGO_PKG_") {
            command.env_remove(name);
        }
    }
    let output = command
        .args(["build", "--release", "--package", NAME, "--bin", NAME])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(root)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| {
            format!("cannot run {} to build the collector; give --assent-binary", cargo.display())
        })?;
    if !output.status.success() {
        bail!("the collector cannot be built ({})", output.status);
    }
    executable(&String::from_utf8_lossy(&output.stdout))
        .context("cargo did not say where it put the collector")
}

fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.target.as_ref().is_some_and(|target| target.name == NAME))
        .find_map(|message| message.executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_read_from_cargos_messages() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"name":"build-script-build"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"assent"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"assent"},"executable":"/t/release/assent"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/t/release/assent")));
        assert_eq!(executable(""), None);
    }
}
