//! Keeps the engine's process to the files that it needs.
//!
//! The library does not confine the SQL function `file()` as a server does: whoever can query could
//! read whatever its process may read, and no grant covers that. On Linux the process therefore gives
//! up all files but its own data and the system's libraries, for good, before the engine is loaded
//! (Landlock, Linux 5.13 and newer; see `landlock(7)`). A key of pseudonyms that lies beside the data
//! cannot be read any more, and neither can another process's environment.

use std::path::{Path, PathBuf};

/// Confines this thread and those that it starts from now on. `data` may be written, `library` be
/// loaded. Says whether the system could do it.
#[cfg(target_os = "linux")]
pub(super) fn confine(data: &Path, library: &Path) -> Result<bool, landlock::RulesetError> {
    use landlock::{
        ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
        RulesetCreatedAttr as _, RulesetStatus, path_beneath_rules,
    };
    // All that this version knows; an older kernel confines what it can.
    let abi = ABI::V5;
    let read = AccessFs::from_read(abi);
    let look = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut code = code_folders();
    code.extend(library.parent().map(Path::to_path_buf));
    // Paths that are not there are left out.
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(code, read))?
        .add_rules(path_beneath_rules(SYSTEM, look))?
        .add_rules(path_beneath_rules(DEVICES, AccessFs::ReadFile | AccessFs::WriteFile))?
        .add_rules(path_beneath_rules([data], AccessFs::from_all(abi)))?;
    Ok(ruleset.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn confine(_data: &Path, _library: &Path) -> Result<bool, std::convert::Infallible> {
    Ok(false)
}

/// What an engine asks a system: memory, processors, limits, time zones. Of /proc no process but its
/// own, since root may look into all of them.
#[cfg(target_os = "linux")]
const SYSTEM: [&str; 13] = [
    "/proc/self",
    "/proc/sys",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/loadavg",
    "/proc/uptime",
    "/proc/diskstats",
    "/proc/filesystems",
    "/sys",
    "/usr/share/zoneinfo",
    "/etc/localtime",
    "/etc/ld.so.cache",
];

#[cfg(target_os = "linux")]
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"];

/// Where this process's own libraries lie: the engine needs the same and their neighbours.
#[cfg(target_os = "linux")]
fn code_folders() -> Vec<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut folders: Vec<PathBuf> = maps
        .lines()
        .filter_map(|line| line.split_once('/').map(|(_, path)| format!("/{path}")))
        .filter(|path| path.contains(".so"))
        .filter_map(|path| Path::new(&path).parent().map(Path::to_path_buf))
        .chain(["/lib", "/lib64", "/usr/lib", "/usr/lib64"].map(PathBuf::from))
        .collect();
    folders.sort();
    folders.dedup();
    folders
}
