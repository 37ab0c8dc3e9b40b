//! Starting the server, knowing when it is ready, noticing its end, ending it.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, test_kill_process};
use tokio::{
    process::{Child, ChildStdin, Command},
    time::Instant,
};

use super::{
    LocalOptions, child,
    config::{self, ConfigError, Layout},
    engine::{self, Engine, EngineError},
    lock,
    ports::{PortError, Ports},
    probe,
};

/// How often a server that starts is asked whether it is ready.
const LOOK: Duration = Duration::from_millis(20);
/// How long the previous owner's server may take to end, when its owner is gone: a little longer
/// than it needs at most.
const HANDOVER: Duration = child::GRACE.saturating_add(Duration::from_secs(2));
/// How long a server may take to stop before it is killed.
const STOP_PATIENCE: Duration = child::GRACE.saturating_add(Duration::from_secs(3));
/// How often free ports are chosen anew when another process was faster.
const PORT_ATTEMPTS: u32 = 5;
/// What a server needs of the environment: where libraries are, which time it is, how to log panics.
const KEPT_VARIABLES: [&str; 6] = ["PATH", "LD_LIBRARY_PATH", "TZ", "LANG", "LC_ALL", "RUST_BACKTRACE"];
const TAIL_LINES: usize = 12;
const TAIL_MAX_BYTES: u64 = 64 * 1024;
/// The console log begins anew when it has grown beyond this.
const CONSOLE_MAX_BYTES: u64 = 1024 * 1024;

/// A server that did not start.
#[derive(Debug, thiserror::Error)]
pub enum LocalServerError {
    /// There is nothing to run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The configuration could not be written.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A port is taken.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Another server uses the data.
    #[error(
        "another ClickHouse{} uses {}; stop it, or choose another --data-dir",
        owner.map(|pid| format!(" (of process {pid})")).unwrap_or_default(), data_dir.display()
    )]
    InUse {
        /// The data directory.
        data_dir: PathBuf,
        /// The process that started it, where it is known.
        owner: Option<u32>,
    },
    /// A file of the data directory could not be used.
    #[error("cannot use {}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The child could not be started, or not be waited for.
    #[error("cannot run {}", executable.display())]
    Run {
        /// This program's binary.
        executable: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The server ended before it was ready.
    #[error("the ClickHouse server ended before it was ready ({status}); the end of its log in {}:\n{tail}", log.display())]
    DiedEarly {
        /// How it ended.
        status: ExitStatus,
        /// The folder with its logs.
        log: PathBuf,
        /// The last lines it wrote.
        tail: String,
    },
    /// The server did not become ready.
    #[error("the ClickHouse server was not ready after {} s; the end of its log in {}:\n{tail}", waited.as_secs(), log.display())]
    NotReady {
        /// How long it was waited for.
        waited: Duration,
        /// The folder with its logs.
        log: PathBuf,
        /// The last lines it wrote.
        tail: String,
    },
}

/// A running server. Dropping it lets go of the child, which then ends by itself; [`stop`] waits
/// for that.
///
/// [`stop`]: LocalServer::stop
#[derive(Debug)]
pub struct LocalServer {
    child: Child,
    /// The only writing end of the child's stdin: while it is open, the server runs.
    lifeline: Option<ChildStdin>,
    pid: u32,
    ports: Ports,
    engine: Engine,
    log_dir: PathBuf,
}

impl LocalServer {
    /// Starts a server on its data, old or new, and waits until it answers. May first download the
    /// engine. Dropping the future leaves no server behind.
    ///
    /// # Errors
    /// When there is nothing to run, a port is taken, another server uses the data, or the server
    /// does not come up; see [`LocalServerError`].
    pub async fn start(options: LocalOptions) -> Result<Self, LocalServerError> {
        let engine = engine::choose(&options).await?;
        let file_error = |path: &Path| {
            let path = path.to_owned();
            move |source| LocalServerError::File { path, source }
        };
        let root = std::path::absolute(&options.data_dir).map_err(file_error(&options.data_dir))?;
        let layout = Layout { root };
        layout.create()?;
        let console = exclusive_console(&layout, HANDOVER).await?;

        let any_port_is_free = options.http_port == 0 || options.tcp_port == 0;
        let mut attempt = 1;
        loop {
            let ports = Ports::choose(options.http_port, options.tcp_port)?;
            let started = Self::start_on(ports, &engine, &layout, &console, &options).await;
            // Between our release of a free port and the child's use of it, another process may
            // have taken it.
            let lost_a_port = matches!(started, Err(LocalServerError::DiedEarly { .. })) && !ports.free();
            if !(lost_a_port && any_port_is_free && attempt < PORT_ATTEMPTS) {
                return started;
            }
            tracing::warn!(?ports, attempt, "a port was taken by another process; trying others");
            attempt += 1;
        }
    }

    async fn start_on(
        ports: Ports,
        engine: &Engine,
        layout: &Layout,
        console: &File,
        options: &LocalOptions,
    ) -> Result<Self, LocalServerError> {
        let began = Instant::now();
        let instance = format!("assent-{}", uuid::Uuid::now_v7());
        config::write(layout, ports, &instance, &options.users_xml)?;
        let tails = [layout.console(), layout.log()].map(Tail::from_here);
        let mut child = spawn(engine, layout, console, &options.executable, options.niceness)
            .map_err(|source| LocalServerError::Run { executable: options.executable.clone(), source })?;
        // Taken out, since waiting for a child would close it.
        let lifeline = child.stdin.take();
        let pid = child.id().unwrap_or_default();
        let log_dir = layout.log().parent().unwrap_or(&layout.root).to_owned();
        let mut server = Self { child, lifeline, pid, ports, engine: engine.clone(), log_dir };

        let ready = async {
            while !probe::answers_as(ports.http_addr(), &instance).await {
                tokio::time::sleep(LOOK).await;
            }
        };
        let tail =
            || tails.iter().map(Tail::read).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n");
        tokio::select! {
            // Who has ended does not answer any more, so its end comes first.
            biased;
            status = server.exited() => {
                let status = status
                    .map_err(|source| LocalServerError::Run { executable: options.executable.clone(), source })?;
                return Err(LocalServerError::DiedEarly { status, log: server.log_dir, tail: tail() });
            }
            () = ready => {}
            () = tokio::time::sleep(options.start_timeout) => {
                let (waited, log) = (options.start_timeout, server.log_dir.clone());
                server.kill().await;
                return Err(LocalServerError::NotReady { waited, log, tail: tail() });
            }
        }
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(pid, http = %ports.http_addr(), tcp = %ports.tcp_addr(), ?engine, took_ms, "local ClickHouse is ready");
        Ok(server)
    }

    /// Where HTTP is spoken.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.ports.http_addr()
    }

    /// Where the native protocol is spoken.
    #[must_use]
    pub fn tcp_addr(&self) -> SocketAddr {
        self.ports.tcp_addr()
    }

    /// `http://host:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.http_addr())
    }

    /// The child's process id: the server's with a library, its watcher's with a binary. The server
    /// dies with it in both cases.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What runs.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The folder with the server's logs.
    #[must_use]
    pub fn log_dir(&self) -> &Path {
        &self.log_dir
    }

    /// Waits until the server has ended, for supervision. May be dropped and called again.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub async fn exited(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends the server and waits until it is gone; kills it when it does not end in time.
    pub async fn stop(mut self) {
        drop(self.lifeline.take());
        match tokio::time::timeout(STOP_PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) => tracing::debug!(pid = self.pid, %status, "local ClickHouse has ended"),
            Ok(Err(error)) => tracing::warn!(pid = self.pid, %error, "cannot wait for the local ClickHouse"),
            Err(_) => {
                tracing::warn!(pid = self.pid, "the local ClickHouse does not end; killing it");
                self.kill().await;
            }
        }
    }

    async fn kill(&mut self) {
        if let Err(error) = self.child.kill().await {
            tracing::warn!(pid = self.pid, %error, "cannot kill the local ClickHouse");
        }
    }
}

fn spawn(
    engine: &Engine,
    layout: &Layout,
    console: &File,
    executable: &Path,
    niceness: u8,
) -> io::Result<Child> {
    let mut command = Command::new(executable);
    command
        .args(child::args(engine, &layout.config(), &layout.data(), niceness))
        .current_dir(&layout.root)
        // std makes the pipe close-on-exec, so that no other child can hold its writing end.
        .stdin(Stdio::piped())
        // With these the child has its share in the lock.
        .stdout(console.try_clone()?)
        .stderr(console.try_clone()?)
        // Ctrl-C reaches the whole foreground group; the parent has to drain into the server first.
        .process_group(0);
    // The environment may hold secrets, ours or other programs', which SQL can read in /proc/self.
    command.env_clear().envs(KEPT_VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.spawn()
}

/// Opens the console log under an exclusive lock.
///
/// The lock is the data directory's. It sits on this file because the child gets the same opening
/// of it as stdout: while either of the two lives, nobody else can start a server on the data.
async fn exclusive_console(layout: &Layout, patience: Duration) -> Result<File, LocalServerError> {
    let (path, owner_path) = (layout.console(), layout.owner());
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| LocalServerError::File { path, source }
    };
    let console = File::options().create(true).append(true).open(&path).map_err(failed(&path))?;
    let owner = std::fs::read_to_string(&owner_path).ok().and_then(|text| text.trim().parse().ok());
    // Another owner that lives keeps its server. One that was killed leaves a server that is just
    // ending; one of our own may be ending as well.
    let patience = match owner {
        Some(pid) if pid != std::process::id() && is_alive(pid) => Duration::ZERO,
        _ => patience,
    };
    if !lock::acquire(&console, Some(patience)).await.map_err(failed(&path))? {
        return Err(LocalServerError::InUse { data_dir: layout.root.clone(), owner });
    }
    std::fs::write(&owner_path, std::process::id().to_string()).map_err(failed(&owner_path))?;
    if console.metadata().map_err(failed(&path))?.len() > CONSOLE_MAX_BYTES {
        console.set_len(0).map_err(failed(&path))?;
    }
    Ok(console)
}

fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // Not being allowed to signal it means that it is there.
    pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
}

/// What is written to a log from now on.
struct Tail {
    path: PathBuf,
    from: u64,
}

impl Tail {
    fn from_here(path: PathBuf) -> Self {
        let from = std::fs::metadata(&path).map_or(0, |found| found.len());
        Self { path, from }
    }

    /// The last lines; nothing when the log cannot be read, for it is only told in another error.
    fn read(&self) -> String {
        let read = || -> io::Result<String> {
            let mut file = File::open(&self.path)?;
            let len = file.metadata()?.len();
            file.seek(SeekFrom::Start(self.from.max(len.saturating_sub(TAIL_MAX_BYTES))))?;
            let mut bytes = Vec::new();
            file.take(TAIL_MAX_BYTES).read_to_end(&mut bytes)?;
            Ok(last_lines(&String::from_utf8_lossy(&bytes), TAIL_LINES))
        };
        read().unwrap_or_default()
    }
}

/// The last lines that say something.
fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
