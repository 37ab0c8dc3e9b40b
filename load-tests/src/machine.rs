//! What machine it was, without which no figure means anything.

use std::{fs, path::Path};

use serde::Serialize;

use crate::measure::field;

/// A machine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) system: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_bytes: u64,
    /// Runnable tasks, on average over the minute before. On a machine that has other things to do, latencies are
    /// those of the other things.
    pub(crate) load_before: f64,
    /// Of the data folder. In memory (`tmpfs`), an fsync costs nothing, and the figures are of little use.
    pub(crate) filesystem: String,
}

impl Machine {
    pub(crate) fn this(data_dir: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let unknown = || "unknown".to_owned();
        let cpu = read("/proc/cpuinfo");
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let kernel = read("/proc/sys/kernel/osrelease");
        Self {
            system: format!("{} {}", std::env::consts::OS, kernel.trim()).trim().to_owned(),
            processor: model
                .map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: field(&read("/proc/meminfo"), "MemTotal:").unwrap_or_default() * 1024,
            load_before: read("/proc/loadavg")
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or_default(),
            filesystem: filesystem(&read("/proc/self/mounts"), data_dir).unwrap_or_else(unknown),
        }
    }
}

/// The kind of the filesystem with the longest mount point above a path.
fn filesystem(mounts: &str, path: &Path) -> Option<String> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(point, _)| path.starts_with(point))
        // Of two on one point, the later one lies on top.
        .max_by_key(|(point, _)| point.len())
        .map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/disk xfs rw 0 0\n";
        for (path, kind) in
            [("/home/x", "ext4"), ("/tmp/x", "tmpfs"), ("/tmp/disk/x", "xfs"), ("/tmpx", "ext4")]
        {
            assert_eq!(filesystem(mounts, Path::new(path)).as_deref(), Some(kind), "{path}");
        }
    }
}
