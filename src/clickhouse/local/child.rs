//! The child process: this program's binary, re-executed, with the engine in it.
//!
//! `clickhouse-local-server --library L --config C --path P --nice N` loads the library and becomes the
//! server; `--binary B` in place of `--library` runs `B server` and watches over it. Either way:
//!
//! - stdin is a pipe whose other end only the parent holds, so that the parent's death, however it
//!   comes, is an end of file here; the server then ends within [`GRACE`], or is killed;
//! - the process has a group of its own, so that a Ctrl-C meant for the parent lets it drain first.
//!
//! Why a process between the parent and a `clickhouse` binary: a parent-death signal is bound to the
//! *thread* that forks. In the parent that is a thread of an async runtime, which may end long
//! before the process does and would take the server with it. Here it is the main thread, which
//! lives as long as the process, so the signal can guard against this process's own sudden death.

use std::{
    ffi::{CStr, CString, OsString, c_char, c_int, c_void},
    io::{self, Write as _},
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, getpid, getppid, kill_process, setpriority_process},
};

use super::{config, confine, engine::Engine};

/// The hidden subcommand under which the binary must call [`run_child`].
pub const SUBCOMMAND: &str = "clickhouse-local-server";

/// How long the server may take to end by itself once its parent has let go of it.
pub(super) const GRACE: Duration = Duration::from_secs(2);

#[derive(Debug, PartialEq, Eq)]
struct Args {
    engine: Engine,
    config: PathBuf,
    path: PathBuf,
    niceness: u8,
}

#[derive(Debug, thiserror::Error)]
enum ChildError {
    #[error("usage: {SUBCOMMAND} (--library FILE | --binary FILE) --config FILE --path FOLDER --nice NUMBER")]
    Usage,
    #[error("cannot watch the parent")]
    Watch(#[source] io::Error),
    #[error("cannot confine the ClickHouse engine: {0}")]
    Confine(String),
    #[error("cannot load the ClickHouse engine")]
    Load(#[from] libloading::Error),
    #[error("a path with a NUL byte")]
    Nul(#[from] std::ffi::NulError),
    #[error("the ClickHouse engine gave no result")]
    NoResult,
    #[error("the ClickHouse engine failed: {0}")]
    Engine(String),
    #[error("the ClickHouse engine ended while its parent still wanted it")]
    EndedEarly,
    #[error("cannot run {}", path.display())]
    Run { path: PathBuf, source: io::Error },
}

/// The subcommand's arguments for a server.
pub(super) fn args(engine: &Engine, config: &Path, path: &Path, niceness: u8) -> Vec<OsString> {
    let (flag, file) = match engine {
        Engine::Library(file) => ("--library", file),
        Engine::Binary(file) => ("--binary", file),
    };
    let pairs = [(flag, file.as_path()), ("--config", config), ("--path", path)];
    std::iter::once(SUBCOMMAND.into())
        .chain(pairs.into_iter().flat_map(|(flag, value)| [flag.into(), value.into()]))
        .chain(["--nice".into(), niceness.to_string().into()])
        .collect()
}

/// Is the server until stdin ends. `args` are those behind [`SUBCOMMAND`]. To be called on the main
/// thread, before any other is started; what is wrong goes to stderr.
#[must_use]
pub fn run_child(args: Vec<OsString>) -> ExitCode {
    let ended = parse(args).and_then(|args| {
        // Threads and processes started from here on have it too.
        if args.niceness > 0
            && let Err(error) = setpriority_process(None, args.niceness.into())
        {
            // stderr is the server's log.
            let _ = writeln!(io::stderr(), "cannot lower the priority of the ClickHouse engine: {error}");
        }
        match &args.engine {
            Engine::Library(library) => serve_library(library, &args.config, &args.path),
            Engine::Binary(binary) => serve_binary(binary, &args.config),
        }
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            // stderr is the last place to complain at.
            let _ = writeln!(io::stderr(), "{error}{cause}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: Vec<OsString>) -> Result<Args, ChildError> {
    let (mut engine, mut config, mut path, mut niceness) = (None, None, None, None);
    let mut args = args.into_iter();
    while let Some(flag) = args.next() {
        let value = PathBuf::from(args.next().ok_or(ChildError::Usage)?);
        match flag.to_str() {
            Some("--library") => engine = Some(Engine::Library(value)),
            Some("--binary") => engine = Some(Engine::Binary(value)),
            Some("--config") => config = Some(value),
            Some("--path") => path = Some(value),
            Some("--nice") => niceness = value.to_str().and_then(|value| value.parse().ok()),
            _ => return Err(ChildError::Usage),
        }
    }
    match (engine, config, path, niceness) {
        (Some(engine), Some(config), Some(path), Some(niceness)) => {
            Ok(Args { engine, config, path, niceness })
        }
        _ => Err(ChildError::Usage),
    }
}

/// Whether the parent has let go, after waiting for that for at most `patience` (`None`: until it
/// has). Reads nothing: the engine itself reads stdin.
fn parent_let_go(patience: Option<Duration>) -> io::Result<bool> {
    let patience = patience.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
    let stdin = io::stdin();
    // No events asked for: a hang-up is always told.
    let mut fds = [PollFd::new(&stdin, PollFlags::empty())];
    loop {
        match poll(&mut fds, patience.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn serve_library(library: &Path, config: &Path, path: &Path) -> Result<(), ChildError> {
    // The folder that holds configuration, data and logs. First of all: a thread that exists already
    // would not be confined.
    let root = path.parent().unwrap_or(path);
    if !confine::confine(root, library).map_err(|error| ChildError::Confine(error.to_string()))? {
        // stderr is the server's log.
        let _ = writeln!(
            io::stderr(),
            "this system cannot confine the ClickHouse engine (Linux 5.13 and newer can): \
             whoever reaches its ports can read the files of the user who started it"
        );
    }
    // The engine ends by itself when stdin does, unless a query holds it up.
    std::thread::Builder::new()
        .name("parent-watch".to_owned())
        .spawn(|| {
            if parent_let_go(None).is_ok() {
                std::thread::sleep(GRACE);
                // Nothing softer is sure to work, and the data can stand it.
                let _ = kill_process(getpid(), Signal::KILL);
            }
        })
        .map_err(ChildError::Watch)?;
    let text = |path: &Path| CString::new(path.as_os_str().as_bytes());
    let args = [
        c"clickhouse".to_owned(),
        c"--config-file".to_owned(),
        text(config)?,
        c"--path".to_owned(),
        text(path)?,
        // The first file has it listen; it then reads the second to its end before it goes on. Being
        // read by the command line and not by a query, that takes no right to read files.
        c"--queries-file".to_owned(),
        text(&config::start_sql(config))?,
        c"/dev/stdin".to_owned(),
    ];
    query_cmdline(library, args)?;
    // A failed query, such as one about a taken port, is printed by the engine but not returned.
    if parent_let_go(Some(Duration::ZERO)).map_err(ChildError::Watch)? {
        Ok(())
    } else {
        Err(ChildError::EndedEarly)
    }
}

/// `chdb_result *chdb_query_cmdline(int argc, char **argv)`, clickhouse-local's command line; the
/// error is a C string that the result owns, or null.
#[allow(unsafe_code)]
fn query_cmdline<const N: usize>(library: &Path, args: [CString; N]) -> Result<(), ChildError> {
    type Cmdline = unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut c_void;
    type ResultError = unsafe extern "C" fn(*mut c_void) -> *const c_char;

    // SAFETY: loading runs the library's initialisers. It is the pinned library, found right by its
    // digest when it was installed, and nothing of this process is shared with it yet.
    let library = unsafe { libloading::Library::new(library)? };
    // The engine's threads may outlive the call, so its code must stay where it is.
    let library = std::mem::ManuallyDrop::new(library);
    // SAFETY: the types are those of the library's C header for these names.
    let cmdline = unsafe { library.get::<Cmdline>(b"chdb_query_cmdline\0")? };
    // SAFETY: as above.
    let result_error = unsafe { library.get::<ResultError>(b"chdb_result_error\0")? };

    let mut pointers: Vec<*mut c_char> = args.map(CString::into_raw).into();
    // As main()'s argv, which ends with a null.
    pointers.push(std::ptr::null_mut());
    // SAFETY: `pointers` holds N valid, writable C strings and a null. They are never taken back:
    // the engine may keep them, and the process ends after this.
    let result = unsafe { cmdline(N as c_int, pointers.as_mut_ptr()) };
    std::mem::forget(pointers);
    if result.is_null() {
        return Err(ChildError::NoResult);
    }
    // SAFETY: `result` came from the engine just now and was not destroyed.
    let error = unsafe { result_error(result) };
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: not null, a C string owned by `result`, which lives until the process ends.
    let error = unsafe { CStr::from_ptr(error) };
    Err(ChildError::Engine(error.to_string_lossy().into_owned()))
}

fn serve_binary(binary: &Path, config: &Path) -> Result<(), ChildError> {
    /// How often the server is asked whether it still runs.
    const LOOK: Duration = Duration::from_millis(100);
    let mut command = Command::new(binary);
    // ClickHouse's own watchdog would be one process more that has to die in time.
    command.arg("server").arg("--config-file").arg(config).env("CLICKHOUSE_WATCHDOG_ENABLE", "0");
    command.stdin(Stdio::null());
    die_with_this_process(&mut command);
    let failed = |source| ChildError::Run { path: binary.to_owned(), source };
    let mut server = command.spawn().map_err(failed)?;
    while !parent_let_go(Some(LOOK)).map_err(ChildError::Watch)? {
        if let Some(status) = server.try_wait().map_err(failed)? {
            // The parent sees only this process's end.
            let _ = writeln!(io::stderr(), "clickhouse server ended: {status}");
            return Err(ChildError::EndedEarly);
        }
    }
    end(&mut server, LOOK).map_err(failed)
}

/// Asks the server to end, and kills it when it does not.
fn end(server: &mut Child, look: Duration) -> io::Result<()> {
    if let Some(pid) = i32::try_from(server.id()).ok().and_then(Pid::from_raw) {
        // Gone already is as good; not yet reaped, so the number is still its own.
        let _ = kill_process(pid, Signal::TERM);
    }
    let deadline = Instant::now() + GRACE;
    while server.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            server.kill()?;
            server.wait()?;
            break;
        }
        std::thread::sleep(look);
    }
    Ok(())
}

/// Has the kernel kill the command when the calling thread ends, however it does.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn die_with_this_process(command: &mut Command) {
    let parent = getpid();
    // SAFETY: between fork and exec only two system calls are made, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the line above took effect.
            if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_this_process(_command: &mut Command) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_understood_by_the_child() {
        for engine in [Engine::Library("/l".into()), Engine::Binary("/b".into())] {
            let mut given = args(&engine, Path::new("/c"), Path::new("/p"), 7);
            assert_eq!(given.remove(0), SUBCOMMAND);
            let parsed = parse(given).unwrap();
            assert_eq!(parsed, Args { engine, config: "/c".into(), path: "/p".into(), niceness: 7 });
        }
    }

    #[test]
    fn what_is_missing_or_unknown_is_refused() {
        for args in [&["--library", "/l", "--config", "/c"][..], &["--library"], &["--nonsense", "x"], &[]] {
            let args = args.iter().map(OsString::from).collect();
            assert!(matches!(parse(args), Err(ChildError::Usage)));
        }
    }
}
