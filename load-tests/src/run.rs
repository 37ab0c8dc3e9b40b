//! Runs, from the scenarios to the verdicts.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    pin::Pin,
};

use anyhow::{Context as _, anyhow};
use tokio::task::JoinSet;

use crate::{
    Common, CompareArgs, RunArgs,
    baseline::{self, Baseline},
    binary, chart,
    collector::{Collector, Endpoints},
    data_dir::DataDir,
    machine::Machine,
    play::play,
    progress::say,
    report::{Measured, Report},
    scenario::Scenario,
    signals::stop_signal,
    tenants::Tenants,
};

/// Where the results of a run go, besides the screen.
#[derive(Default)]
struct Out {
    json: Option<PathBuf>,
    svg: Option<PathBuf>,
}

/// Plays a scenario and prints the results. Answers whether everything arrived as it should.
pub(crate) fn start(args: &RunArgs) -> anyhow::Result<bool> {
    let scenario = Scenario::read(&args.scenario)?;
    let out = Out { json: args.out.clone(), svg: args.svg.clone() };
    all(&args.common, vec![(scenario, out)], Baselines::None)
}

/// Plays scenarios, one after the other, each followed by the baseline, and prints the results.
pub(crate) fn compare(args: &CompareArgs) -> anyhow::Result<bool> {
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let out = |name: &str| match &args.out {
        Some(folder) => {
            let file = |kind: &str| Some(folder.join(format!("{name}.{kind}")));
            Out { json: file("json"), svg: file("svg") }
        }
        None => Out::default(),
    };
    // All of them before the first starts.
    let read = |path: &PathBuf| {
        let scenario = Scenario::read(path)?;
        let out = out(&scenario.name);
        Ok((scenario, out))
    };
    let scenarios = args.scenarios.iter().map(read).collect::<anyhow::Result<_>>()?;
    all(&args.common, scenarios, Baselines::AfterEach)
}

/// Whether ClickHouse is measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Baselines {
    None,
    AfterEach,
}

fn all(common: &Common, scenarios: Vec<(Scenario, Out)>, baselines: Baselines) -> anyhow::Result<bool> {
    raise_open_files();
    // One thread, which is enough and wakes no other; the main one, as the collector's guard needs it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = JoinSet::new();
        let mut stop: Stop = Box::pin(stop_signal(&mut signals)?);
        let binary = tokio::select! {
            binary = binary::find(common.assent_binary.as_deref()) => binary?,
            () = &mut stop => return Err(interrupted()),
        };
        let mut good = true;
        let several = scenarios.len() > 1;
        for (scenario, out) in scenarios {
            // Each run has a folder of its own.
            let data_dir = common.data_dir.as_ref();
            let data_dir =
                data_dir.map(|folder| if several { folder.join(&scenario.name) } else { folder.clone() });
            let report = run(&binary, data_dir.as_deref(), scenario, baselines, &mut stop).await?;
            publish(&report, &out)?;
            good &= report.failures.is_empty();
        }
        Ok(good)
    })
}

type Stop = Pin<Box<dyn Future<Output = ()>>>;

fn interrupted() -> anyhow::Error {
    anyhow!("interrupted")
}

fn publish(report: &Report, out: &Out) -> anyhow::Result<()> {
    if let Some(path) = &out.json {
        let json = serde_json::to_vec_pretty(report)?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &out.svg {
        std::fs::write(path, chart::draw(report))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let mut screen = std::io::stdout().lock();
    screen.write_all(report.to_string().as_bytes()).context("cannot print the results")
}

async fn run(
    binary: &Path,
    data_dir: Option<&Path>,
    scenario: Scenario,
    baselines: Baselines,
    stop: &mut Stop,
) -> anyhow::Result<Report> {
    let data = DataDir::new(data_dir)?;
    let machine = Machine::this(&data.path);
    if machine.filesystem == "tmpfs" {
        say("the data folder lies in memory, where an fsync costs nothing; give --data-dir on a disk");
    }

    say("starting the collector (the first start fetches a ClickHouse)");
    let tenants = Tenants::new(&scenario);
    let mut collector = Collector::spawn(binary, &data.path, &tenants.configure(&scenario))?;
    let pid = collector.pid();
    let played = async {
        let endpoints = collector.ready().await?;
        tokio::select! {
            measured = measure(&scenario, &tenants, endpoints, pid, baselines, &data.path) => measured,
            died = collector.died() => Err(died),
        }
    };
    let (measured, was_interrupted) = tokio::select! {
        measured = played => (measured, false),
        () = stop => (Err(interrupted()), true),
    };
    // However it went, nothing stays behind.
    let stopped = collector.stop().await;
    let (measured, baseline) = match measured {
        Ok(measured) => measured,
        Err(error) => {
            if !was_interrupted {
                data.keep();
            }
            return Err(error);
        }
    };

    // Without a baseline, the run is what it was.
    let (baseline, no_baseline) = match baseline.transpose() {
        Ok(baseline) => (baseline, None),
        Err(error) => (None, Some(format!("there is no baseline: {error:#}"))),
    };
    let mut report = Report::new(scenario, machine, measured, baseline);
    report.failures.extend(no_baseline);
    if let Err(error) = stopped {
        report.failures.push(format!("{error:#}"));
    }
    if !report.failures.is_empty() {
        data.keep();
    }
    Ok(report)
}

/// Everything between a collector's readiness and its end.
async fn measure(
    scenario: &Scenario,
    tenants: &Tenants,
    endpoints: Endpoints,
    pid: u32,
    baselines: Baselines,
    data_dir: &Path,
) -> anyhow::Result<(Measured, Option<anyhow::Result<Baseline>>)> {
    let measured = play(scenario, tenants, endpoints, pid).await?;
    let baseline = match baselines {
        Baselines::None => None,
        Baselines::AfterEach => {
            let folder = data_dir.join("baseline");
            Some(baseline::measure(endpoints.clickhouse_http, pid, &folder).await)
        }
    };
    Ok((measured, baseline))
}

/// Each connection is an open file, of which a process may have 1,024 unless it asks for more.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if setrlimit(Resource::Nofile, raised).is_err() {
        // Who needs more learns it when a connection cannot be opened.
        say("the limit on open files cannot be raised");
    }
}
