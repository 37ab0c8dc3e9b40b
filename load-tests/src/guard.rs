//! Sees to it that the collector ends when this program does, even when that is killed outright.
//!
//! The program starts itself anew under a hidden subcommand, asks the kernel for a SIGTERM at its parent's
//! death, and then becomes the collector: that wish survives an `exec`. The collector drains and stops its
//! ClickHouse as for anyone's SIGTERM. The wish is bound to the parent's *thread* that forks, so the collector has to
//! be started on the main thread.

use std::{ffi::OsString, io, os::unix::process::CommandExt as _, process::Command};

/// The hidden subcommand.
pub(crate) const SUBCOMMAND: &str = "guarded-collector";

/// Becomes the collector; returns only when that failed.
pub(crate) fn become_collector(parent: u32, command: &[OsString]) -> io::Error {
    if let Err(error) = end_with_parent(parent) {
        return error;
    }
    let Some((program, args)) = command.split_first() else {
        return io::ErrorKind::InvalidInput.into();
    };
    Command::new(program).args(args).exec()
}

#[cfg(target_os = "linux")]
fn end_with_parent(parent: u32) -> io::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};

    set_parent_process_death_signal(Some(Signal::TERM))?;
    // The parent may have died before the line above took effect.
    let now = getppid().and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
    if now == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
}

#[cfg(not(target_os = "linux"))]
fn end_with_parent(_parent: u32) -> io::Result<()> {
    Ok(())
}
