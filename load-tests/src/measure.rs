//! What processes cost, by what Linux tells about them in `/proc`. Elsewhere nothing is measured.

use std::fs;

use serde::Serialize;

/// `sysconf(_SC_CLK_TCK)`: what Linux tells programs is in hundredths of a second on x86, ARM and RISC-V, whatever
/// the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process that will not be taken for another one that gets its number later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    started: u64,
}

impl Process {
    pub(crate) fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, started: stat(pid)?.started })
    }

    /// Whether it still runs.
    pub(crate) fn runs(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && !matches!(stat.state, 'Z' | 'X'))
    }

    /// What is resident now, in bytes.
    fn resident(self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        Some(field(&status, "VmRSS:")? * 1024)
    }

    /// Has its peak memory begin anew at what is resident now, where that is allowed.
    pub(crate) fn forget_peak(self) {
        // Where it is not, the peak is that of its whole life.
        let _ = fs::write(format!("/proc/{}/clear_refs", self.pid), "5");
    }

    /// What several have used together; `None` when one is gone, or there are none.
    pub(crate) fn sum(processes: &[Self]) -> Option<Usage> {
        let each: Option<Vec<_>> = processes.iter().map(|process| Usage::of(*process)).collect();
        each?.into_iter().reduce(Usage::plus)
    }
}

/// What a process, or several, have used since they began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    /// The most that was resident at once.
    pub(crate) peak_memory_bytes: u64,
    /// What was sent to the block layer; unknown where the system does not tell.
    pub(crate) written_bytes: Option<u64>,
}

impl Usage {
    fn of(process: Process) -> Option<Self> {
        let pid = process.pid;
        let stat = stat(pid)?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let written = fs::read_to_string(format!("/proc/{pid}/io")).ok();
        #[allow(clippy::cast_precision_loss, reason = "ticks of a run are far below 2^53")]
        let cpu_seconds = stat.ticks as f64 / TICKS_PER_SECOND;
        Some(Self {
            cpu_seconds,
            peak_memory_bytes: field(&status, "VmHWM:")? * 1024,
            written_bytes: written.and_then(|text| field(&text, "write_bytes:")),
        })
    }

    fn plus(self, other: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds + other.cpu_seconds,
            peak_memory_bytes: self.peak_memory_bytes + other.peak_memory_bytes,
            written_bytes: self.written_bytes.zip(other.written_bytes).map(|(one, two)| one + two),
        }
    }

    /// What came on top of `before`. A peak is not a sum: it stays what it is.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            peak_memory_bytes: self.peak_memory_bytes,
            written_bytes: self
                .written_bytes
                .zip(before.written_bytes)
                .map(|(after, before)| after.saturating_sub(before)),
        }
    }
}

/// The processes of a run.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    pub(crate) collector: Process,
    /// The collector's children: the server, or who watches over it, and the server.
    pub(crate) clickhouse: Vec<Process>,
}

impl Family {
    /// `None` where there is no `/proc`, or no such process.
    pub(crate) fn of(collector: u32) -> Option<Self> {
        Some(Self { collector: Process::of(collector)?, clickhouse: descendants(collector) })
    }

    /// What the collector, and ClickHouse, have resident; `None` when one is gone.
    pub(crate) fn resident(&self) -> Option<(u64, u64)> {
        let clickhouse: Option<u64> = self.clickhouse.iter().map(|process| process.resident()).sum();
        Some((self.collector.resident()?, clickhouse?))
    }

    pub(crate) fn usage(&self) -> Option<FamilyUsage> {
        Some(FamilyUsage {
            collector: Usage::of(self.collector)?,
            clickhouse: Process::sum(&self.clickhouse)?,
            generator: Usage::of(Process::of(std::process::id())?)?,
        })
    }
}

/// What each of a run's processes used.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct FamilyUsage {
    pub(crate) collector: Usage,
    pub(crate) clickhouse: Usage,
    pub(crate) generator: Usage,
}

impl FamilyUsage {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            collector: self.collector.since(before.collector),
            clickhouse: self.clickhouse.since(before.clickhouse),
            generator: self.generator.since(before.generator),
        }
    }
}

/// The children of a process, and theirs.
fn descendants(pid: u32) -> Vec<Process> {
    let all: Vec<(u32, Stat)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect();
    let mut found = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        for (pid, stat) in all.iter().filter(|(_, stat)| stat.parent == parent) {
            found.push(Process { pid: *pid, started: stat.started });
            parents.push(*pid);
        }
    }
    found
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// What is needed of `/proc/PID/stat`; see proc(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    parent: u32,
    /// User and system time of all threads, those that have ended included.
    ticks: u64,
    started: u64,
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The second field is the program's name in parentheses, and may hold anything, parentheses too.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // `fields[0]` is the third of proc(5).
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: u32::try_from(number(4)?).ok()?,
        ticks: number(14)? + number(15)?,
        started: number(22)?,
    })
}

/// The number behind a name, in `status`, `io` and `meminfo`.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_nasty_name_is_understood() {
        let text = "4242 (a) S 1 (b) R 99 4242 4242 0 -1 4194304 900 0 0 0 150 50 7 8 20 0 12 0 777 1000 20 1844 0\n";
        assert_eq!(parse_stat(text), Some(Stat { state: 'R', parent: 99, ticks: 200, started: 777 }));
        assert_eq!(parse_stat("4242 (cut"), None);
        assert_eq!(parse_stat("4242 (cut) R 1 2"), None);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status = "VmPeak:\t  900 kB\nVmHWM:\t  512 kB\nVmRSS:\t  300 kB\n";
        assert_eq!(field(status, "VmHWM:"), Some(512));
        let io = "wchar: 5\nwrite_bytes: 8192\ncancelled_write_bytes: 3\n";
        assert_eq!(field(io, "write_bytes:"), Some(8192));
        assert_eq!(field(io, "read_bytes:"), None);
    }

    #[test]
    fn a_difference_keeps_the_peak() {
        let before = Usage { cpu_seconds: 1.0, peak_memory_bytes: 10, written_bytes: Some(100) };
        let after = Usage { cpu_seconds: 3.5, peak_memory_bytes: 30, written_bytes: Some(150) };
        let spent = Usage { cpu_seconds: 2.5, peak_memory_bytes: 30, written_bytes: Some(50) };
        assert_eq!(after.since(before), spent);
        assert_eq!(Usage { written_bytes: None, ..after }.since(before).written_bytes, None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_and_a_child_are_found() {
        let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        assert!(process.runs());
        assert!(descendants(std::process::id()).contains(&process));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!process.runs());
        let usage = Usage::of(Process::of(std::process::id()).unwrap()).unwrap();
        assert!(usage.peak_memory_bytes > 0);
    }
}
