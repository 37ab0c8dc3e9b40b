//! The command line, one file per subcommand. Printing to standard output is this module's job.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use toml::Value;

use crate::{
    app::AppError,
    config::{Config, ConfigError},
    telemetry,
};

mod check_config;
mod collectors;
mod consent;
pub mod demo;
mod dev;
mod endpoints;
mod erase;
mod local;
mod migrate;
mod pseudonyms;
mod redact;
mod redaction;
mod serve;
mod spool;
mod subject;
mod terminal;

pub use endpoints::Endpoints;

/// The exit code of a configuration that cannot be used (`EX_USAGE` of sysexits.h).
const EXIT_CONFIG: u8 = 64;

/// Consent-stamped telemetry ingestion for AI-assisted writing, into ClickHouse.
#[derive(Debug, Parser)]
#[command(name = "assent", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

/// Options of every subcommand. Each beats the environment, which beats the configuration file.
#[derive(Debug, Args)]
struct Options {
    /// The configuration file (TOML)
    #[arg(long, global = true, env = "ASSENT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where spool, key and local ClickHouse lie [default: ./.assent]
    #[arg(long, global = true, env = "ASSENT_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The gRPC address, of the listener or to call [default: 127.0.0.1:50051]
    #[arg(long, global = true, env = "ASSENT_GRPC_ADDR", value_name = "HOST:PORT")]
    grpc_addr: Option<String>,
    /// The address of health and metrics over HTTP [default: 127.0.0.1:9464]
    #[arg(long, global = true, env = "ASSENT_ADMIN_ADDR", value_name = "HOST:PORT")]
    admin_addr: Option<String>,
    /// The ClickHouse server's HTTP interface [default: http://127.0.0.1:8123]
    #[arg(long, global = true, env = "ASSENT_CLICKHOUSE_URL", value_name = "URL")]
    clickhouse_url: Option<String>,
    /// The ClickHouse user [default: default]
    #[arg(long, global = true, env = "ASSENT_CLICKHOUSE_USER", value_name = "USER")]
    clickhouse_user: Option<String>,
    /// The ClickHouse password; the environment variable keeps it out of the process list
    #[arg(
        long,
        global = true,
        env = "ASSENT_CLICKHOUSE_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true
    )]
    clickhouse_password: Option<String>,
    /// The ClickHouse database [default: assent]
    #[arg(long, global = true, env = "ASSENT_CLICKHOUSE_DATABASE", value_name = "NAME")]
    clickhouse_database: Option<String>,
    /// The local ClickHouse's HTTP port, 0 for a free one [default: 8123]
    #[arg(long, global = true, env = "ASSENT_CLICKHOUSE_HTTP_PORT", value_name = "PORT")]
    clickhouse_http_port: Option<u16>,
    /// The local ClickHouse's native port, 0 for a free one [default: 9000]
    #[arg(long, global = true, env = "ASSENT_CLICKHOUSE_TCP_PORT", value_name = "PORT")]
    clickhouse_tcp_port: Option<u16>,
    /// The consent policy: a file, or a folder of dated versions [default: opt-in everywhere]
    #[arg(long, global = true, env = "ASSENT_POLICY", value_name = "PATH")]
    policy: Option<PathBuf>,
    /// What to log, such as `info` or `assent=debug` [default: info]
    #[arg(long, global = true, env = "ASSENT_LOG", value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a collector against a ClickHouse server
    Serve,
    /// Run a local ClickHouse and a collector until Ctrl-C
    Dev,
    /// Show the main job on bundled interactions, and what landed where
    Demo,
    /// Bring a ClickHouse server's schema up to date
    Migrate,
    /// Set or read a person's consent through a running collector
    #[command(subcommand)]
    Consent(consent::Command),
    /// Erase a person through a running collector, and wait until it is done
    Erase(erase::Erase),
    /// Read out what is held about a person, through a running collector
    #[command(subcommand)]
    Subject(subject::Command),
    /// Say which collectors erasures wait for
    #[command(subcommand)]
    Collectors(collectors::Command),
    /// Show what the rules take out of a text, to try and to tune them
    Redact(redact::Redact),
    /// Say which versions of the redaction rules count
    #[command(subcommand)]
    Redaction(redaction::Command),
    /// Look into the spool
    #[command(subcommand)]
    Spool(spool::Command),
    /// Make, list and replace the keys of pseudonyms
    #[command(subcommand)]
    Pseudonyms(pseudonyms::Command),
    /// Print the effective configuration, secrets hidden, and explain the policy
    CheckConfig,
    /// The local ClickHouse's process; started by `dev`, `demo` and the tests
    #[command(name = "clickhouse-local-server", hide = true, disable_help_flag = true)]
    ClickhouseLocalServer {
        /// Passed on as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
}

impl Options {
    fn load(&self) -> Result<Config, ConfigError> {
        let path = |path: &PathBuf| Value::from(path.display().to_string());
        let text = |text: &String| Value::from(text.as_str());
        let port = |port: &u16| Value::from(i64::from(*port));
        let flags = [
            ("data_dir", self.data_dir.as_ref().map(path)),
            ("ingress.grpc_addr", self.grpc_addr.as_ref().map(text)),
            ("admin.addr", self.admin_addr.as_ref().map(text)),
            ("clickhouse.url", self.clickhouse_url.as_ref().map(text)),
            ("clickhouse.user", self.clickhouse_user.as_ref().map(text)),
            ("clickhouse.password", self.clickhouse_password.as_ref().map(text)),
            ("clickhouse.database", self.clickhouse_database.as_ref().map(text)),
            ("local_clickhouse.http_port", self.clickhouse_http_port.as_ref().map(port)),
            ("local_clickhouse.tcp_port", self.clickhouse_tcp_port.as_ref().map(port)),
            ("policy.file", self.policy.as_ref().map(path)),
            ("telemetry.log", self.log.as_ref().map(text)),
        ];
        let flags = flags.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        // A variable that is not UTF-8 cannot be one of ours.
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Config::load(self.config.as_deref(), env, flags)
    }
}

/// Runs a command line to its end and says with which code to exit.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    // Before anything starts a thread: the child becomes the ClickHouse process.
    if let Command::ClickhouseLocalServer { args } = cli.command {
        return crate::clickhouse::local::run_child(args);
    }
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("assent: {}", told_once(&error));
            if is_of_config(&error) { ExitCode::from(EXIT_CONFIG) } else { ExitCode::FAILURE }
        }
    }
}

/// An error and its causes, without those that the text before them has told already.
fn told_once(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |mut told, cause| {
        if told.is_empty() {
            told = cause;
        } else if !told.contains(cause.trim()) {
            told.push_str(": ");
            told.push_str(&cause);
        }
        told
    })
}

/// Whether the configuration is to blame, found out before or after the start.
fn is_of_config(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ConfigError>().is_some()
        || matches!(error.downcast_ref::<AppError>(), Some(AppError::Config(_)))
}

fn execute(cli: Cli) -> anyhow::Result<()> {
    if let Command::Consent(command) = cli.command {
        // Calls a collector, which has a configuration of its own.
        let caller = consent::Caller::new(cli.options.grpc_addr, cli.options.data_dir);
        return runtime()?.block_on(consent::run(caller, command));
    }
    if let Command::Erase(command) = cli.command {
        let caller = consent::Caller::new(cli.options.grpc_addr, cli.options.data_dir);
        return runtime()?.block_on(erase::run(caller, command));
    }
    if let Command::Subject(command) = cli.command {
        let caller = consent::Caller::new(cli.options.grpc_addr, cli.options.data_dir);
        return runtime()?.block_on(subject::run(caller, command));
    }
    if let Command::Pseudonyms(pseudonyms::Command::Generate { out }) = cli.command {
        return pseudonyms::generate(out);
    }
    let mut config = cli.options.load()?;
    match cli.command {
        Command::CheckConfig => check_config::run(&config),
        Command::Redact(command) => redact::run(config, &command),
        Command::Pseudonyms(pseudonyms::Command::List) => pseudonyms::list(&config),
        Command::Pseudonyms(command) => {
            telemetry::start_logging(&config.telemetry)?;
            runtime()?.block_on(pseudonyms::run(&config, command))
        }
        Command::Spool(command) => spool::run(&config, &command),
        Command::Serve => {
            telemetry::start_logging(&config.telemetry)?;
            runtime()?.block_on(serve::run(config))
        }
        Command::Dev => {
            telemetry::start_logging(&config.telemetry)?;
            runtime()?.block_on(dev::run(config))
        }
        Command::Demo => {
            // The demo's own output is what counts; faults still show.
            if cli.options.log.is_none() {
                config.telemetry.log = "warn".to_owned();
            }
            telemetry::start_logging(&config.telemetry)?;
            runtime()?.block_on(demo::command(config, cli.options.policy.is_some()))
        }
        Command::Migrate => {
            telemetry::start_logging(&config.telemetry)?;
            runtime()?.block_on(migrate::run(&config))
        }
        Command::Collectors(command) => {
            telemetry::start_logging(&config.telemetry)?;
            runtime()?.block_on(collectors::run(&config, &command))
        }
        Command::Redaction(command) => {
            telemetry::start_logging(&config.telemetry)?;
            runtime()?.block_on(redaction::run(&config, &command))
        }
        Command::Consent(_)
        | Command::Erase(_)
        | Command::Subject(_)
        | Command::ClickhouseLocalServer { .. } => {
            unreachable!("handled above")
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow::anyhow!("no such file (os error 2)")
            .context("cannot read x: no such file (os error 2)")
            .context("the configuration");
        assert_eq!(told_once(&error), "the configuration: cannot read x: no such file (os error 2)");
    }
}
