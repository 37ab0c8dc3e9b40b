//! A small disk: a tmpfs in a mount namespace of its own, so that nothing has to be cleaned up. The namespace lives as
//! long as a process that holds it, and that ends with this one, whose pipe is its lifeline.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// The name of the file that somebody else fills the disk with.
const FOREIGN: &str = "somebody-elses.log";

/// The disk.
pub(crate) struct Disk {
    holder: Child,
    /// What puts another program into the namespace.
    pub(crate) words: Vec<String>,
    /// Where its files are seen from outside.
    pub(crate) seen_at: PathBuf,
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Runs in the namespace: mounts, says so, and holds it.
const HOLD: &str = r#"mount -t tmpfs -o "size=$2,mode=700" tmpfs "$1" && echo mounted && exec cat"#;

impl Disk {
    /// Mounts one over a folder, as any user where the system lets users do it, or else as root.
    ///
    /// # Errors
    /// Neither works here; says why.
    pub(crate) fn mount(dir: &Path, bytes: u64) -> Result<Self, String> {
        fs::create_dir_all(dir).unwrap();
        let mut reasons = Vec::new();
        for (flags, entered) in
            [("-rm", &["--preserve-credentials", "--user", "--mount"][..]), ("-m", &["--mount"])]
        {
            match hold(flags, dir, bytes) {
                Ok(holder) => {
                    let pid = holder.id().to_string();
                    let words = ["nsenter"].iter().chain(entered).copied().chain(["--target", &pid, "--"]);
                    let words = words.map(ToOwned::to_owned).collect();
                    let seen_at =
                        Path::new("/proc").join(&pid).join("root").join(dir.strip_prefix("/").unwrap());
                    return Ok(Self { holder, words, seen_at });
                }
                Err(reason) => reasons.push(format!("unshare {flags}: {reason}")),
            }
        }
        Err(reasons.join("; "))
    }

    /// Somebody else takes all that is left.
    pub(crate) fn fill(&self) -> u64 {
        let mut file = File::options().create(true).append(true).open(self.seen_at.join(FOREIGN)).unwrap();
        let mut written = 0;
        for piece in [64 << 10, 4 << 10, 64, 1] {
            loop {
                match file.write(&vec![b'x'; piece]) {
                    Ok(some) => written += some as u64,
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        written
    }

    /// And gives it back.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.seen_at.join(FOREIGN)).unwrap();
    }

    /// What can still be written.
    pub(crate) fn available_bytes(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.seen_at).unwrap();
        stat.f_bavail * stat.f_frsize
    }
}

fn hold(flags: &str, dir: &Path, bytes: u64) -> Result<Child, String> {
    let mut holder = Command::new("unshare")
        .args([flags, "sh", "-c", HOLD, "sh"])
        .arg(dir)
        .arg(bytes.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut said = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
    if said == "mounted\n" {
        return Ok(holder);
    }
    let output = holder.wait_with_output().unwrap();
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
