//! `assent dev` and `assent demo`: a local ClickHouse of their own.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
};

use assent::{cli::Endpoints, clickhouse::Client, ingress};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::harness::{Database, EventBuilder, binary, event, eventually};

/// `assent dev`, killed when dropped.
struct Dev {
    child: Child,
    endpoints: Endpoints,
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(dir: &Path, subcommand: &str) -> Command {
    let mut command = Command::new(binary());
    let log = File::options().create(true).append(true).open(dir.join("log")).unwrap();
    command
        .arg(subcommand)
        .arg("--data-dir")
        .arg(dir.join("data"))
        .args(["--grpc-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"])
        .args(["--clickhouse-http-port", "0", "--clickhouse-tcp-port", "0"])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    command
}

impl Dev {
    async fn start(dir: &Path) -> Self {
        let _ = fs::remove_file(dir.join("data/endpoints.json"));
        let mut child = command(dir, "dev").spawn().unwrap();
        let endpoints = eventually("the endpoints", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("dev ended with {status}:\n{}", fs::read_to_string(dir.join("log")).unwrap());
            }
            let endpoints = Endpoints::read(&dir.join("data")).ok();
            async move { endpoints }
        })
        .await;
        Self { child, endpoints }
    }

    fn clickhouse(&self) -> Client {
        let url = format!("http://{}", self.endpoints.clickhouse_http.unwrap());
        Database::client_as(&url, "assent", "default")
    }

    async fn rows(&self) -> Option<usize> {
        #[derive(serde::Deserialize)]
        struct Id {
            #[allow(dead_code)]
            event_id: uuid::Uuid,
        }
        let rows = self.clickhouse().query_rows::<Id>("SELECT event_id FROM events FINAL", &[]).await;
        rows.ok().map(|rows| rows.len())
    }

    async fn wait_for_rows(&self, expected: usize) {
        eventually("the rows", || async { (self.rows().await? == expected).then_some(()) }).await;
    }

    async fn send(&self, events: Vec<EventBuilder>) {
        let grpc = self.endpoints.grpc.unwrap().to_string();
        let client = ingress::client::Client::connect(&grpc, None).await.unwrap();
        let events: Vec<_> = events.into_iter().map(EventBuilder::build).collect();
        assert_eq!(client.collect(events.clone()).await.unwrap().accepted as usize, events.len());
    }

    /// The process that serves ClickHouse.
    fn server_pid(&self) -> i32 {
        let parent = self.child.id().to_string();
        let children = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let pid: i32 = name.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // After the name in parentheses: state, parent.
            let of = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.to_owned();
            (of == parent).then_some(pid)
        });
        let children: Vec<_> = children.collect();
        assert_eq!(children.len(), 1, "{children:?}");
        children[0]
    }
}

/// The niceness of each of its threads, as numbers from -20 to 19.
fn niceness(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of = |thread: std::io::Result<fs::DirEntry>| {
        let stat = fs::read_to_string(thread.unwrap().path().join("stat")).ok()?;
        // After the name in parentheses, the state comes first.
        stat.rsplit_once(')')?.1.split_whitespace().nth(16)?.parse().ok()
    };
    threads.filter_map(of).collect()
}

fn is_alive(pid: i32) -> bool {
    // A zombie has ended; its parent has only not looked yet.
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z')))
}

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn dev_outlives_kill_9_of_itself_and_of_its_server() {
    let dir = folder();
    let dev = Dev::start(dir.path()).await;
    dev.send(vec![event("ann")]).await;
    dev.wait_for_rows(1).await;

    // It stands back behind the collector.
    let own = niceness(i32::try_from(dev.child.id()).unwrap())[0];
    let of_server = niceness(dev.server_pid());
    assert!(of_server.len() > 10, "{of_server:?}");
    // ClickHouse raises one thread of its own where it may.
    let behind = of_server.iter().filter(|nice| **nice > own).count();
    assert!(behind + 1 >= of_server.len(), "{own}: {of_server:?}");

    // The server is killed: it comes back at the same place, and what was sent meanwhile arrives.
    let server = dev.server_pid();
    signal(server, Signal::KILL);
    dev.send(vec![event("ann"), event("ben")]).await;
    dev.wait_for_rows(3).await;
    let server = dev.server_pid();

    // The whole is killed: so is the server, and a new start has all the data.
    signal(i32::try_from(dev.child.id()).unwrap(), Signal::KILL);
    eventually("the server's end", || async { (!is_alive(server)).then_some(()) }).await;
    drop(dev);
    let mut dev = Dev::start(dir.path()).await;
    dev.wait_for_rows(3).await;
    dev.send(vec![event("cleo")]).await;

    // Ctrl-C drains and takes the server down.
    let server = dev.server_pid();
    signal(i32::try_from(dev.child.id()).unwrap(), Signal::INT);
    let status = eventually("the end of dev", || {
        let ended = dev.child.try_wait().unwrap();
        async move { ended }
    })
    .await;
    assert_eq!(status.code(), Some(0));
    assert!(!is_alive(server));
    assert!(!dir.path().join("data/endpoints.json").exists(), "nobody answers there any more");
    let dev = Dev::start(dir.path()).await;
    dev.wait_for_rows(4).await;
}

#[tokio::test]
async fn the_demo_plays_twice_on_the_same_data() {
    let dir = folder();
    for _ in 0..2 {
        let mut child = command(dir.path(), "demo").spawn().unwrap();
        let status = eventually("the end of the demo", || {
            let ended = child.try_wait().unwrap();
            async move { ended }
        })
        .await;
        let log = fs::read_to_string(dir.path().join("log")).unwrap();
        assert!(status.success(), "{log}");
        for part in ["(first_party, ", "granted_by_default", "ACCESS_DENIED", "0 found", "assent"] {
            assert!(log.contains(part), "{part} is missing:\n{log}");
        }
        assert!(!log.contains("It should not"), "{log}");
    }
}
