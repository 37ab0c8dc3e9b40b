//! A run, from the scenario to the verdict.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, anyhow, ensure};
use tempfile::TempDir;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::Instant,
};

use crate::{
    RunArgs, binary,
    collector::{Collector, Endpoints},
    consent,
    generate::{Pool, people},
    machine::Machine,
    measure::Family,
    progress::{Counters, Lines, say},
    report::{Measured, Report},
    scenario::Scenario,
    send::send,
    tenants::Tenants,
    visible::ClickHouse,
    wire::Wire,
};

/// Plays a scenario and prints the results. Answers whether everything arrived as it should.
pub(crate) fn start(args: &RunArgs) -> anyhow::Result<bool> {
    let scenario = Scenario::read(&args.scenario)?;
    // One thread, which is enough and wakes no other; the main one, as the collector's guard needs it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(run(args, scenario))?;
    let mut out = std::io::stdout().lock();
    out.write_all(report.to_string().as_bytes()).context("cannot print the results")?;
    Ok(report.failures.is_empty())
}

async fn run(args: &RunArgs, scenario: Scenario) -> anyhow::Result<Report> {
    let mut signals = JoinSet::new();
    let stop = stop_signal(&mut signals)?;
    tokio::pin!(stop);
    let interrupted = || anyhow!("interrupted");

    let binary = tokio::select! {
        binary = binary::find(args.assent_binary.as_deref()) => binary?,
        () = &mut stop => return Err(interrupted()),
    };
    let data = DataDir::new(args.data_dir.as_deref())?;
    let machine = Machine::this(&data.path);
    if machine.filesystem == "tmpfs" {
        say("the data folder lies in memory, where an fsync costs nothing; give --data-dir on a disk");
    }

    say("starting the collector (the first start fetches a ClickHouse)");
    let tenants = Tenants::new(&scenario);
    let mut collector = Collector::spawn(&binary, &data.path, &tenants.configure(&scenario))?;
    let pid = collector.pid();
    let played = async {
        let endpoints = collector.ready().await?;
        tokio::select! {
            measured = play(&scenario, &tenants, endpoints, pid) => measured,
            died = collector.died() => Err(died),
        }
    };
    let (measured, was_interrupted) = tokio::select! {
        measured = played => (measured, false),
        () = &mut stop => (Err(interrupted()), true),
    };
    // However it went, nothing stays behind.
    let stopped = collector.stop().await;
    let measured = match measured {
        Ok(measured) => measured,
        Err(error) => {
            if !was_interrupted {
                data.keep();
            }
            return Err(error);
        }
    };

    let mut report = Report::new(scenario, machine, measured);
    if let Err(error) = stopped {
        report.failures.push(format!("{error:#}"));
    }
    if !report.failures.is_empty() {
        data.keep();
    }
    if let Some(path) = &args.out {
        let json = serde_json::to_vec_pretty(&report)?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(report)
}

/// Everything between a collector's readiness and its end.
async fn play(
    scenario: &Scenario,
    tenants: &Tenants,
    endpoints: Endpoints,
    pid: u32,
) -> anyhow::Result<Measured> {
    let people = Arc::new(people(scenario));
    let pool = Pool::new(scenario, Arc::clone(&people));
    let mut wire = Wire::new(endpoints.grpc, scenario.compression);
    say(&format!("{} people answer about consent", people.len()));
    let mut changes = 0;
    let mut senders = Vec::new();
    for tenant in tenants.iter() {
        let api_key = tenant.api_key.as_deref();
        // The same people for each tenant, under other pseudonyms.
        changes += consent::answer(endpoints.grpc, &people, api_key).await?;
        let mut connections = Vec::new();
        for _ in 0..scenario.connections {
            connections.push(wire.open(scenario.call, api_key).await?);
        }
        senders.push(connections);
    }
    let family = Family::of(pid);
    let usage = || family.as_ref().and_then(Family::usage);
    let before = usage();
    say(&format!(
        "sending {} events at {}, of {} different requests",
        scenario.events(),
        scenario.rate,
        pool.bodies()
    ));
    let counters = Arc::new(Counters::default());
    let lines = Lines::start(Arc::clone(&counters), scenario.events());
    let tally = send(scenario, tenants, &senders, pool, &counters).await?;
    drop(lines);

    say("waiting for the last row");
    let clickhouse = ClickHouse::new(endpoints.clickhouse_http);
    let deadline = Instant::now() + scenario.visible_timeout.0;
    let visible = clickhouse.wait_for_rows(tally.acknowledged_events, deadline).await?;
    // Before the counting, which is no part of the load.
    let after = usage();
    let landed = clickhouse.landed(tally.acknowledged_events, deadline).await?;
    let usage = after.zip(before).map(|(after, before)| after.since(before));
    Ok(Measured { changes, tally, visible, landed, usage })
}

/// Where spool and database lie.
struct DataDir {
    path: PathBuf,
    temporary: Option<TempDir>,
}

impl DataDir {
    fn new(given: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = given {
            std::fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
            let empty = std::fs::read_dir(path)?.next().is_none();
            ensure!(
                empty,
                "{} is not empty (--data-dir); rows of another run would be counted",
                path.display()
            );
            return Ok(Self { path: path.canonicalize()?, temporary: None });
        }
        // Beside this program is a disk, as a rule; the folder for temporary files often lies in memory.
        let mut builder = tempfile::Builder::new();
        builder.prefix("load-test-");
        let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.to_owned()));
        let folder = match beside.map(|folder| builder.tempdir_in(folder)) {
            Some(Ok(folder)) => folder,
            _ => builder.tempdir().context("cannot create a folder for the data")?,
        };
        Ok(Self { path: folder.path().canonicalize()?, temporary: Some(folder) })
    }

    /// Leaves a temporary folder for whoever wants to know what went wrong.
    fn keep(mut self) {
        if let Some(folder) = self.temporary.take() {
            say(&format!("logs and data are kept in {}", folder.keep().display()));
        }
    }
}

/// Resolves at the first SIGTERM or SIGINT; a second one ends this program at once, and the collector with it.
fn stop_signal(tasks: &mut JoinSet<()>) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let (first, stop) = tokio::sync::oneshot::channel();
    tasks.spawn(async move {
        let mut first = Some(first);
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            match first.take() {
                Some(first) => {
                    say("stopping");
                    // Nobody waits any more when the run is over.
                    let _ = first.send(());
                }
                #[allow(clippy::disallowed_methods, reason = "whoever asks twice wants no waiting")]
                None => std::process::exit(130),
            }
        }
    });
    Ok(async move {
        if stop.await.is_err() {
            // The task ends with the run alone.
            std::future::pending::<()>().await;
        }
    })
}
