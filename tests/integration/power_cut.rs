//! A power cut in earnest: collector and ClickHouse on a file system of their own, of which the disk keeps
//! what was written to it, and nothing of what the system still held in memory.
//!
//! The disk is a file behind a loop device. At the cut every process is stopped where it stands, the file is
//! copied, and only then are they killed; the copy is what they find at the next start, journal, torn writes
//! and all. The file system writes its journal every ten minutes here, and not every five seconds, so that
//! what nobody has asked for is lost.
//!
//! Needs root, so it is a step of its own in CI: `.ci/run disks`, with `POWER_CUTS` of them.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use assent::{
    cli::Endpoints,
    ingress::{
        client::Client,
        proto::{ConsentScope, ConsentState, GetConsentRequest},
    },
};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::harness::{Database, binary, change, event, eventually};

/// Power cuts in a row.
fn rounds() -> u32 {
    std::env::var("POWER_CUTS").map_or(2, |text| text.parse().unwrap())
}

fn run(program: &str, args: &[&str]) -> String {
    let done = Command::new(program).args(args).output().unwrap();
    assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// A mounted disk whose power can be cut.
struct Disk {
    dir: tempfile::TempDir,
    device: String,
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.mounted()).status();
        let _ = Command::new("losetup").args(["--detach", &self.device]).status();
    }
}

impl Disk {
    fn new() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut disk = Self { dir, device: String::new() };
        fs::File::create(disk.image()).unwrap().set_len(2 << 30).unwrap();
        run("mkfs.ext4", &["-q", "-F", path(&disk.image())]);
        fs::create_dir(disk.mounted()).unwrap();
        disk.mount();
        disk
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    fn mounted(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    fn mount(&mut self) {
        self.device = run("losetup", &["--find", "--show", path(&self.image())]).trim().to_owned();
        run("mount", &["-o", "commit=600", &self.device, path(&self.mounted())]);
    }

    /// How many writes the device has taken.
    fn writes(&self) -> String {
        let name = Path::new(&self.device).file_name().unwrap().to_str().unwrap();
        let stat = fs::read_to_string(format!("/sys/block/{name}/stat")).unwrap();
        let fields: Vec<_> = stat.split_whitespace().collect();
        // Those completed, and all that are under way.
        format!("{} {}", fields[4], fields[8])
    }

    /// Cuts the power of the disk and of what runs on it.
    async fn cut(&mut self, mut child: Child) {
        let pids = family(child.id());
        for &pid in &pids {
            signal(pid, Signal::STOP);
        }
        eventually("that everything stands still", || {
            let still = pids.iter().all(|&pid| stands_still(pid));
            async move { still.then_some(()) }
        })
        .await;
        let copy = self.dir.path().join("copy");
        eventually("a copy while nothing is written", || {
            let before = self.writes();
            run("cp", &["--sparse=always", path(&self.image()), path(&copy)]);
            let quiet = self.writes() == before;
            async move { quiet.then_some(()) }
        })
        .await;
        for &pid in &pids {
            signal(pid, Signal::KILL);
        }
        child.wait().unwrap();
        let (mounted, pids) = (self.mounted(), &pids);
        eventually("that everything is gone", || {
            let gone = pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
                && Command::new("umount").arg(&mounted).status().unwrap().success();
            async move { gone.then_some(()) }
        })
        .await;
        run("losetup", &["--detach", &self.device]);
        fs::rename(copy, self.image()).unwrap();
        self.mount();
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn signal(pid: u32, signal: Signal) {
    // It may have ended by itself.
    let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal);
}

/// A process and all that it has started, itself first.
fn family(first: u32) -> Vec<u32> {
    let mut pids = vec![first];
    let mut at = 0;
    while at < pids.len() {
        let children = format!("/proc/{0}/task", pids[at]);
        for task in fs::read_dir(children).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            pids.extend(children.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
        }
        at += 1;
    }
    pids
}

/// Whether every thread of a process is stopped, those that were in the middle of a system call too.
fn stands_still(pid: u32) -> bool {
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().all(|task| {
        let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        // The name before the state may hold anything, and ends with a bracket.
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 'Z']))
    })
}

/// `assent dev` on the disk.
struct Running {
    child: Child,
    client: Client,
    database: Database,
}

async fn start(disk: &Disk, durability: &str) -> Running {
    let data = disk.mounted().join("data");
    let _ = fs::remove_file(data.join("endpoints.json"));
    let log = fs::File::options().create(true).append(true).open(disk.dir.path().join("log")).unwrap();
    let mut child = Command::new(binary())
        .args(["dev", "--data-dir", path(&data)])
        .args(["--grpc-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"])
        .args(["--clickhouse-http-port", "0", "--clickhouse-tcp-port", "0"])
        .env("ASSENT_CLICKHOUSE__DURABILITY", durability)
        .env("ASSENT_DELIVERY__MAX_AGE", "50ms")
        .env("ASSENT_SPOOL__MAX_BYTES", "256MiB")
        .env("ASSENT_SPOOL__SEGMENT_BYTES", "1MiB")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let endpoints = eventually("the addresses", || {
        if let Some(status) = child.try_wait().unwrap() {
            let log = fs::read_to_string(disk.dir.path().join("log")).unwrap();
            panic!("it ended with {status}:\n{log}");
        }
        let endpoints = Endpoints::read(&data).ok();
        async move { endpoints }
    })
    .await;
    let url = format!("http://{}", endpoints.clickhouse_http.unwrap());
    let client = Database::client_as(&url, "assent", "default");
    let database = Database { name: "assent".to_owned(), url, client };
    let client = Client::connect(&endpoints.grpc.unwrap().to_string(), None).await.unwrap();
    Running { child, client, database }
}

/// Sends until the collector is gone.
async fn send(client: Client, acknowledged: Arc<Mutex<Vec<Uuid>>>) {
    loop {
        let events: Vec<_> = (0..5).map(|_| event("ann").build()).collect();
        let ids: Vec<_> = events.iter().map(|event| Uuid::parse_str(&event.event_id).unwrap()).collect();
        match client.collect(events).await {
            Ok(answer) => {
                assert_eq!(answer.accepted, 5);
                acknowledged.lock().unwrap().extend(ids);
            }
            Err(_) => return,
        }
    }
}

/// Sends until so many more are acknowledged and ClickHouse has a good part of them, and then a no that is
/// acknowledged last of all; then the power is cut.
async fn round(
    disk: &mut Disk,
    running: Running,
    events: usize,
    acknowledged: &Arc<Mutex<Vec<Uuid>>>,
    who: &str,
) {
    let Running { child, client, database } = running;
    let before = database.count("events").await;
    let mut senders = JoinSet::new();
    for _ in 0..4 {
        senders.spawn(send(client.clone(), Arc::clone(acknowledged)));
    }
    let already = acknowledged.lock().unwrap().len();
    eventually("acknowledged and delivered events", || async {
        let enough = acknowledged.lock().unwrap().len() >= already + events;
        (enough && database.count("events").await >= before + events as u64 / 2).then_some(())
    })
    .await;
    // Merges are the last that a table does for a row.
    database.client.execute("OPTIMIZE TABLE events FINAL").await.unwrap();
    eventually("the end of what was merged", || async {
        let sources = "system.parts WHERE database = currentDatabase() AND table = 'events' AND NOT active";
        (database.count(sources).await == 0).then_some(())
    })
    .await;
    for state in [ConsentState::Granted, ConsentState::Denied] {
        client.set_consent(change(who, ConsentScope::FirstParty, state)).await.unwrap();
    }
    disk.cut(child).await;
    senders.join_all().await;
}

#[derive(Deserialize)]
struct Stored {
    event_id: Uuid,
}

async fn stored(database: &Database) -> HashSet<Uuid> {
    let rows: Vec<Stored> = database.rows("SELECT event_id FROM events FINAL").await;
    let count = rows.len();
    let ids: HashSet<_> = rows.into_iter().map(|row| row.event_id).collect();
    assert_eq!(ids.len(), count, "an event counts twice");
    ids
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, loop devices and mkfs.ext4"]
#[allow(clippy::print_stdout)] // Its figures.
async fn power_cuts_take_back_nothing_that_was_acknowledged() {
    let mut disk = Disk::new();
    let acknowledged = Arc::<Mutex<Vec<Uuid>>>::default();
    let rounds = rounds();
    for n in 0..rounds {
        let running = start(&disk, "fsync").await;
        for earlier in 0..n {
            assert!(said_no(&running.client, &format!("user {earlier}")).await, "of round {earlier}, in {n}");
        }
        let events = fastrand::usize(200..1_500);
        round(&mut disk, running, events, &acknowledged, &format!("user {n}")).await;
    }
    let Running { mut child, client, database } = start(&disk, "fsync").await;
    let acknowledged: HashSet<Uuid> = acknowledged.lock().unwrap().iter().copied().collect();
    eventually("all acknowledged events", || async {
        let stored = stored(&database).await;
        acknowledged.is_subset(&stored).then_some(())
    })
    .await;
    for n in 0..rounds {
        assert!(said_no(&client, &format!("user {n}")).await, "of round {n}");
    }
    let rows = database.count("events").await;
    let once = stored(&database).await.len() as u64;
    println!(
        "{rounds} power cuts: {} events acknowledged, all there; {} stored twice, counted once",
        acknowledged.len(),
        rows - once
    );
    signal(child.id(), Signal::TERM);
    assert!(child.wait().unwrap().success());
}

async fn said_no(client: &Client, user: &str) -> bool {
    let request = GetConsentRequest { user_id: user.to_owned(), jurisdiction: String::new() };
    let answer = eventually("consent", || {
        let (client, request) = (client.clone(), request.clone());
        async move { client.get_consent(request).await.ok() }
    })
    .await;
    answer.eligibility_reason == "denied"
}

/// That the cut is one: without fsync in the tables it takes back what ClickHouse has confirmed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, loop devices and mkfs.ext4"]
async fn a_power_cut_without_fsync_loses_events() {
    let (lost, kept_no) = lost_with([0, 0, 0]).await;
    assert!(lost > 0 && !kept_no, "the cut took nothing");
}

/// The library's engine removes the sources of a merge at once, so it is not enough to fsync inserts.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, loop devices and mkfs.ext4"]
async fn a_power_cut_without_fsync_of_merges_loses_events() {
    let (lost, _) = lost_with([1, 1, 0]).await;
    assert!(lost > 0, "the cut took nothing");
}

/// How many acknowledged events a cut takes with these of the three settings on, and whether a no is
/// still there.
#[allow(clippy::print_stdout)] // Its figures.
async fn lost_with([insert, folder, merge]: [u8; 3]) -> (usize, bool) {
    let mut disk = Disk::new();
    let running = start(&disk, "server").await;
    // With more than 100 parts that are broken ClickHouse does not start at all unless it is told to.
    for table in ["events", "consent_changes"] {
        let sql = format!(
            "ALTER TABLE {table} MODIFY SETTING fsync_after_insert = {insert}, fsync_part_directory = {folder},
             min_rows_to_fsync_after_merge = {merge}, max_suspicious_broken_parts = 1000000"
        );
        running.database.client.execute(&sql).await.unwrap();
    }
    let acknowledged = Arc::<Mutex<Vec<Uuid>>>::default();
    round(&mut disk, running, 500, &acknowledged, "user").await;
    let mut running = start(&disk, "server").await;
    let total = acknowledged.lock().unwrap().len();
    // Another event shows that delivery has come to the end of what was spooled.
    let last = event("ann").build();
    let id = Uuid::parse_str(&last.event_id).unwrap();
    running.client.collect(vec![last]).await.unwrap();
    running.database.wait_for(&[id]).await;
    let stored = stored(&running.database).await;
    let lost = acknowledged.lock().unwrap().iter().filter(|id| !stored.contains(id)).count();
    let no = said_no(&running.client, "user").await;
    println!(
        "{lost} of {total} acknowledged events are lost; the no is {}",
        if no { "there" } else { "lost" }
    );
    signal(running.child.id(), Signal::TERM);
    assert!(running.child.wait().unwrap().success());
    (lost, no)
}
