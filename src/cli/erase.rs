//! `assent erase`: erases a person through a running collector, and shows how far it is.

use std::{collections::BTreeMap, time::Duration};

use anyhow::bail;
use clap::Args;
use secrecy::SecretString;
use uuid::Uuid;

use super::consent::Caller;
use crate::{
    ingress::{
        client::{Client, ClientError},
        proto::{self, ErasureState},
    },
    pipeline::validate,
};

/// A line on standard output.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::terminal::print(format_args!("{}\n", format_args!($($text)*))) };
}

/// How often is asked how an erasure stands.
const LOOK: Duration = Duration::from_millis(500);
/// How often the same request is sent when nobody knows what became of it.
const TRIES: u32 = 5;

/// What `erase` takes.
#[derive(Debug, Args)]
pub(super) struct Erase {
    /// The tenant's own id of the person
    #[arg(long, required_unless_present = "erasure", conflicts_with = "erasure")]
    user: Option<String>,
    /// Shows how an erasure stands that was asked for before, by its id, and waits for it
    #[arg(long, value_name = "UUID", conflicts_with_all = ["dry_run", "request_id", "actor"])]
    erasure: Option<Uuid>,
    /// Says what would be removed from the tables now, and changes nothing
    #[arg(long)]
    dry_run: bool,
    /// Does not wait until it is done
    #[arg(long)]
    no_wait: bool,
    /// Who asks for it; kept with the record
    #[arg(long, default_value = "")]
    actor: String,
    /// The id of this request, a UUID: given again, it leads to the same erasure [default: a new one]
    #[arg(long, value_parser = request_id)]
    request_id: Option<Uuid>,
    /// The tenant's privacy key, when the collector asks for one
    #[arg(long, env = "ASSENT_API_KEY", hide_env_values = true)]
    api_key: Option<SecretString>,
}

fn request_id(text: &str) -> Result<Uuid, String> {
    validate::uuid(text)
        .ok_or_else(|| "must be a UUID of 36 characters with hyphens, not the nil UUID".into())
}

pub(super) async fn run(caller: Caller, args: Erase) -> anyhow::Result<()> {
    let client = caller.connect(args.api_key.as_ref()).await?;
    let erasure = match (args.erasure, args.user) {
        (Some(id), _) => client.get_erasure(id.to_string()).await?,
        (None, Some(user_id)) => {
            let request = proto::EraseUserRequest {
                user_id,
                request_id: args.request_id.unwrap_or_else(Uuid::now_v7).to_string(),
                dry_run: args.dry_run,
                actor: args.actor,
            };
            ask(&client, request).await?
        }
        (None, None) => bail!("say whom to erase, by --user"),
    };
    if args.dry_run {
        say!("nothing was changed; an erasure now would remove");
        for step in &erasure.steps {
            let table = step.step.strip_prefix("table ").unwrap_or(&step.step);
            say!("  {:>8} rows of {table}", step.rows_found);
        }
        say!("and what the collectors' spools and quarantines hold");
        return Ok(());
    }
    say!("erasure {}", erasure.erasure_id);
    follow(&client, erasure, args.no_wait).await
}

/// Asks until somebody knows whether it was recorded. It is one erasure, by its request id.
async fn ask(client: &Client, request: proto::EraseUserRequest) -> anyhow::Result<proto::Erasure> {
    for _ in 1..TRIES {
        match client.erase_user(request.clone()).await {
            Err(error) if error.is_retryable() => tokio::time::sleep(LOOK).await,
            answered => return Ok(answered?),
        }
    }
    client.erase_user(request.clone()).await.map_err(|error| {
        let id = &request.request_id;
        anyhow::Error::from(error).context(format!("give --request-id {id} to go on with this erasure"))
    })
}

/// Prints each step as it is done, until all are or nobody wants to wait.
async fn follow(client: &Client, mut erasure: proto::Erasure, no_wait: bool) -> anyhow::Result<()> {
    let mut told: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut waiting: Vec<String> = Vec::new();
    loop {
        for step in &erasure.steps {
            let now = (step.rows_found, step.rows_removed);
            if told.insert(step.step.clone(), now) != Some(now) {
                print_step(step);
            }
        }
        let waiting_now: Vec<String> = erasure.waiting_for.iter().map(waiting_for).collect();
        let ids = |all: &[String]| {
            all.iter().filter_map(|it| it.split(',').next().map(str::to_owned)).collect::<Vec<_>>()
        };
        if ids(&waiting) != ids(&waiting_now) {
            waiting_now.iter().for_each(|collector| say!("  waits for the spool of collector {collector}"));
            waiting = waiting_now;
        }
        if erasure.state == ErasureState::Completed as i32 {
            say!(
                "completed; what is kept of it names nobody once its pseudonyms are forgotten (erasure.grace)"
            );
            return Ok(());
        }
        if no_wait {
            say!("under way; see how far by `assent erase --erasure {}`", erasure.erasure_id);
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
        erasure = match client.get_erasure(erasure.erasure_id.clone()).await {
            Ok(erasure) => erasure,
            Err(error @ ClientError::Status(_)) if error.is_retryable() => erasure,
            Err(error) => return Err(error.into()),
        };
    }
}

fn print_step(step: &proto::ErasureStep) {
    match step.step.as_str() {
        "verified" => say!("  verified: a search of all tables found nothing, and every collector is done"),
        "files removed" => say!("  ClickHouse has removed the files of the parts that were replaced"),
        "forgotten" => say!("  its pseudonyms are forgotten"),
        "quarantine damaged" => say!(
            "  {} damaged files in a collector's quarantine cannot be searched; it waits until they are removed",
            step.rows_found
        ),
        name => say!("  {name}: {} rows found, {} removed", step.rows_found, step.rows_removed),
    }
}

fn waiting_for(collector: &proto::WaitingCollector) -> String {
    let seen = collector.seen_at.as_ref().map_or_else(|| "never".to_owned(), ToString::to_string);
    format!("{}, last seen {seen}", collector.collector_id)
}
