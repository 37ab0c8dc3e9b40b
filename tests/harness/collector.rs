//! Collectors as processes.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use assent::{
    cli::Endpoints,
    ingress::{client::Client, proto},
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use uuid::Uuid;

use super::{Database, EventBuilder, eventually};

/// A plain connection.
pub(crate) async fn channel(grpc: &str) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_shared(format!("http://{grpc}"))?.connect().await
}

/// The program under test.
pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_assent"))
}

/// How a collector is set up. Clones share the data folder: one after the other, they are the same
/// collector after a restart.
#[derive(Clone)]
pub(crate) struct Setup {
    database: String,
    url: String,
    dir: Arc<TempDir>,
    key_file: Option<PathBuf>,
    config: String,
    policy: Option<PathBuf>,
    env: Vec<(String, String)>,
    behind: Option<Behind>,
    logs: String,
}

/// Another program that runs the collector, and where its files are for everybody else.
#[derive(Clone)]
struct Behind {
    words: Vec<String>,
    data_dir: PathBuf,
}

impl Setup {
    pub(crate) fn new(database: &Database) -> Self {
        Self {
            database: database.name.clone(),
            url: database.url.clone(),
            dir: Arc::new(tempfile::tempdir().unwrap()),
            key_file: None,
            config: String::new(),
            policy: None,
            env: Vec::new(),
            behind: None,
            // What a test that fails has to tell.
            logs: "assent=debug".to_owned(),
        }
    }

    /// Reaches ClickHouse there instead.
    pub(crate) fn via(mut self, url: &str) -> Self {
        url.clone_into(&mut self.url);
        self
    }

    /// More configuration, as TOML.
    pub(crate) fn config(mut self, toml: &str) -> Self {
        toml.clone_into(&mut self.config);
        self
    }

    /// With one of the shipped policies.
    pub(crate) fn policy(mut self, name: &str) -> Self {
        self.policy = Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(name));
        self
    }

    /// With one more environment variable.
    #[allow(dead_code)] // Not every target of the tests needs it.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Logs what this filter lets through.
    #[allow(dead_code)] // Not every target of the tests needs it.
    pub(crate) fn logs(mut self, filter: &str) -> Self {
        filter.clone_into(&mut self.logs);
        self
    }

    /// With a policy file or folder of the test's own.
    pub(crate) fn policy_path(mut self, path: &Path) -> Self {
        self.policy = Some(path.to_owned());
        self
    }

    /// Runs behind another program, such as `nsenter`, which gives it a view of the files of its own. There its
    /// data lies where it would without; here it lies in `data_dir`.
    #[allow(dead_code)] // The attack on delivery alone needs it.
    pub(crate) fn behind(mut self, words: Vec<String>, data_dir: PathBuf) -> Self {
        self.behind = Some(Behind { words, data_dir });
        self
    }

    /// Another collector of the same deployment: its own data, the same key.
    pub(crate) fn beside(&self) -> Self {
        Self {
            dir: Arc::new(tempfile::tempdir().unwrap()),
            key_file: Some(
                self.key_file.clone().unwrap_or_else(|| self.data_dir().join("keys/pseudonym.key")),
            ),
            ..self.clone()
        }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.behind.as_ref().map_or_else(|| self.own_data_dir(), |behind| behind.data_dir.clone())
    }

    /// Where the program itself finds its data.
    pub(crate) fn own_data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// What the collector printed, over all its starts.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The program with a subcommand, on this data and database.
    pub(crate) fn command(&self, subcommand: &[&str]) -> Command {
        let mut command = match self.behind.as_ref().and_then(|behind| behind.words.split_first()) {
            None => Command::new(binary()),
            Some((program, words)) => {
                let mut command = Command::new(program);
                command.args(words).arg(binary());
                command
            }
        };
        command.args(subcommand).arg("--data-dir").arg(self.own_data_dir());
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"ASSENT_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Starts the collector and waits for nothing.
    pub(crate) fn spawn(&self) -> Process {
        fs::create_dir_all(self.data_dir()).unwrap();
        // That of a collector which was killed would be taken for the new one's.
        let _ = fs::remove_file(self.data_dir().join("endpoints.json"));
        let config = self.dir.path().join("assent.toml");
        fs::write(&config, &self.config).unwrap();
        let log = File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let log_from = log.metadata().unwrap().len();
        let mut command = self.command(&["serve"]);
        command
            .args(["--grpc-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"])
            .args(["--clickhouse-url", &self.url, "--clickhouse-database", &self.database])
            .args(["--log", &self.logs])
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        // Far below the patience of the tests, so that one answer which never comes fails none of them.
        command
            .env("ASSENT_CLICKHOUSE__INSERT_TIMEOUT", "20s")
            .env("ASSENT_CLICKHOUSE__QUERY_TIMEOUT", "10s");
        if let Some(policy) = &self.policy {
            command.arg("--policy").arg(policy);
        }
        command.envs(self.env.iter().cloned());
        if let Some(key_file) = &self.key_file {
            command.env("ASSENT_PSEUDONYM__KEY_FILE", key_file);
        }
        Process { child: command.spawn().unwrap(), setup: self.clone(), log_from }
    }

    /// Starts the collector and waits for its addresses.
    pub(crate) async fn start(&self) -> Collector {
        self.spawn().started().await
    }

    /// Starts the collector and waits until it serves.
    pub(crate) async fn start_ready(&self) -> Collector {
        let collector = self.start().await;
        collector.wait_until_serving().await;
        collector
    }
}

/// A collector that was started, and may not have come far; killed when dropped.
pub(crate) struct Process {
    child: Child,
    setup: Setup,
    /// What it says comes after what its forerunners said.
    log_from: u64,
}

impl Drop for Process {
    #[allow(clippy::print_stderr)] // What it said belongs to the report of a test that failed.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the collector of process {} said:\n{}", self.child.id(), self.setup.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Waits for its addresses.
    pub(crate) async fn started(mut self) -> Collector {
        let (grpc, admin) = eventually("the collector's addresses", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the collector ended with {status}:\n{}", self.setup.log());
            }
            let addresses = self.addresses();
            async move { addresses }
        })
        .await;
        Collector { process: self, grpc, admin }
    }

    /// From its file, or from what it printed: on a disk that is full there is no file.
    fn addresses(&self) -> Option<(String, String)> {
        if let Ok(endpoints) = Endpoints::read(&self.setup.data_dir()) {
            return Some((endpoints.grpc?.to_string(), endpoints.admin?.to_string()));
        }
        let log = self.setup.log();
        let said = log.get(usize::try_from(self.log_from).ok()?..)?;
        let after =
            |name: &str| Some(said.lines().find_map(|line| line.strip_prefix(name))?.trim().to_owned());
        // Printed last, so that all three are there.
        after("writes to")?;
        Some((after("grpc ")?, after("admin  http://")?))
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// kill -9.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A running collector; killed when dropped.
pub(crate) struct Collector {
    pub(crate) process: Process,
    pub(crate) grpc: String,
    pub(crate) admin: String,
}

impl Collector {
    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.grpc, None).await.unwrap()
    }

    /// A client with an API key.
    #[allow(dead_code)] // The integration tests alone need it.
    pub(crate) async fn client_with_key(&self, key: &str) -> Client {
        Client::connect(&self.grpc, Some(&key.into())).await.unwrap()
    }

    /// What gRPC health says of the collector as a whole.
    pub(crate) async fn health(&self) -> Option<ServingStatus> {
        let mut client = HealthClient::new(channel(&self.grpc).await.ok()?);
        let answer = client.check(HealthCheckRequest::default()).await.ok()?;
        Some(answer.into_inner().status())
    }

    pub(crate) async fn wait_until_serving(&self) {
        eventually("a collector that serves", || async {
            (self.health().await == Some(ServingStatus::Serving)).then_some(())
        })
        .await;
    }

    pub(crate) async fn wait_until_not_serving(&self) {
        eventually("a collector that does not serve", || async {
            (self.health().await != Some(ServingStatus::Serving)).then_some(())
        })
        .await;
    }

    /// Sends events that must all be taken, and gives their ids.
    pub(crate) async fn send(&self, events: Vec<EventBuilder>) -> Vec<Uuid> {
        let events: Vec<proto::Event> = events.into_iter().map(EventBuilder::build).collect();
        let ids = events.iter().map(|event| Uuid::parse_str(&event.event_id).unwrap()).collect::<Vec<_>>();
        let answer = self.client().await.collect(events).await.unwrap();
        assert_eq!(answer.rejected, [], "all events are good");
        assert_eq!(answer.accepted as usize, ids.len());
        ids
    }

    /// kill -9.
    pub(crate) fn kill(self) {
        self.process.kill();
    }

    /// SIGTERM.
    pub(crate) fn ask_to_stop(&self) {
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    }

    /// SIGTERM, then how it ended.
    pub(crate) async fn terminate(self) -> ExitStatus {
        self.ask_to_stop();
        self.ended().await
    }

    /// How it ended.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        eventually("the collector's end", || {
            let ended = self.process.ended();
            async move { ended }
        })
        .await
    }

    /// Of the process.
    #[allow(dead_code)] // The integration tests alone need it.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The value of a metric, with its labels as they are printed; none while it has none.
    pub(crate) async fn metric(&self, name_and_labels: &str) -> Option<f64> {
        let metrics = self.metrics().await;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name_and_labels)?.strip_prefix(' '))?;
        line.trim().parse().ok()
    }

    /// One metric's text lines.
    pub(crate) async fn metrics(&self) -> String {
        self.get("/metrics").await
    }

    /// What the admin listener answers, head and all.
    pub(crate) async fn get(&self, path: &str) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(&self.admin).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut text))
            .await
            .unwrap()
            .unwrap();
        text
    }
}
