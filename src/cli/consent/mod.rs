//! `assent consent set|get|history|explain|receipt`: what the settings page does, from a terminal.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use secrecy::SecretString;
use uuid::Uuid;

use super::endpoints::Endpoints;
use crate::{
    consent::{ConsentScope, ConsentState, Source},
    ingress::{client::Client, proto, wire},
    pipeline::validate,
};

/// A line on standard output.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::terminal::print(format_args!("{}\n", format_args!($($text)*))) };
}
/// The beginning of one.
macro_rules! say_on {
    ($($text:tt)*) => { $crate::cli::terminal::print(format_args!($($text)*)) };
}

mod explain;

/// Where a collector answers when nobody says otherwise.
const DEFAULT_ADDR: &str = "127.0.0.1:50051";
/// Records on a page of the history.
const HISTORY_PAGE: u32 = 100;

/// Set or read a person's consent.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Record a change
    Set(Box<SetArgs>),
    /// Print what is in force, and what would be decided now
    Get(PersonArgs),
    /// Print every change, newest first
    History(PersonArgs),
    /// Print what would be decided now about an event, and why, rule by rule
    Explain(ExplainArgs),
    /// Print the person's consent as a record to keep: JSON with the fields of ISO/IEC TS 27560
    Receipt(ReceiptArgs),
}

#[derive(Debug, Args)]
pub(super) struct PersonArgs {
    /// The tenant's own id of the person
    #[arg(long)]
    user: String,
    /// Where the person is, such as DE or US-CA
    #[arg(long, default_value = "")]
    jurisdiction: String,
    /// The tenant's API key, when the collector asks for one
    #[arg(long, env = "ASSENT_API_KEY", hide_env_values = true)]
    api_key: Option<SecretString>,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    person: PersonArgs,
    /// The kind of event
    #[arg(long, value_enum, default_value = "typed-text")]
    event_type: EventTypeArg,
    /// The feature, such as compose
    #[arg(long, default_value = "")]
    feature: String,
    /// With a Global Privacy Control signal
    #[arg(long)]
    gpc: bool,
}

#[derive(Debug, Args)]
pub(super) struct ReceiptArgs {
    /// The tenant's own id of the person
    #[arg(long)]
    user: String,
    /// The tenant's API key, when the collector asks for one
    #[arg(long, env = "ASSENT_API_KEY", hide_env_values = true)]
    api_key: Option<SecretString>,
}

#[derive(Debug, Args)]
pub(super) struct SetArgs {
    #[command(flatten)]
    person: PersonArgs,
    /// Who may train
    #[arg(long, value_enum)]
    scope: Scope,
    /// What the person says
    #[arg(long, value_enum)]
    state: State,
    /// The version of the terms that the person was shown
    #[arg(long, default_value = "")]
    policy_version: String,
    /// Where the change comes from
    #[arg(long, value_enum, default_value = "user-setting")]
    source: SourceArg,
    /// What was shown, in which language, by which client
    #[arg(long, default_value = "")]
    evidence: String,
    /// Who makes the change
    #[arg(long, default_value = "")]
    actor: String,
    /// The language of what was shown, such as pt-BR
    #[arg(long, default_value = "")]
    language: String,
    /// The client that showed it: NAME, NAME/VERSION or NAME/VERSION/PLATFORM
    #[arg(long, value_parser = client)]
    client: Option<proto::Client>,
    /// The id of this change, a UUID: given again, it is recorded once [default: a new one]
    #[arg(long, value_parser = request_id)]
    request_id: Option<Uuid>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Scope {
    #[value(alias = "first_party")]
    FirstParty,
    Affiliates,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Unset,
    Granted,
    Denied,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SourceArg {
    #[value(alias = "user_setting")]
    UserSetting,
    Admin,
    Import,
    #[value(alias = "gpc_signal")]
    GpcSignal,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EventTypeArg {
    #[value(alias = "typed_text")]
    TypedText,
    #[value(alias = "suggestion_shown")]
    SuggestionShown,
    #[value(alias = "suggestion_feedback")]
    SuggestionFeedback,
    #[value(alias = "language_preference")]
    LanguagePreference,
}

/// Finds the collector to call.
pub(super) struct Caller {
    grpc_addr: Option<String>,
    data_dir: PathBuf,
}

impl Caller {
    pub(super) fn new(grpc_addr: Option<String>, data_dir: Option<PathBuf>) -> Self {
        Self { grpc_addr, data_dir: data_dir.unwrap_or_else(|| PathBuf::from("./.assent")) }
    }

    /// The flag, or the collector of the data folder, or the default.
    pub(super) async fn connect(&self, api_key: Option<&SecretString>) -> anyhow::Result<Client> {
        let running = || Endpoints::read(&self.data_dir).ok()?.grpc.map(|addr| addr.to_string());
        let addr = self.grpc_addr.clone().or_else(running).unwrap_or_else(|| DEFAULT_ADDR.to_owned());
        Client::connect(&addr, api_key).await.context("cannot reach a collector")
    }
}

pub(super) async fn run(caller: Caller, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Set(args) => set(&caller, *args).await,
        Command::Get(person) => get(&caller, person).await,
        Command::History(person) => history(&caller, person).await,
        Command::Explain(args) => explain::run(&caller, args).await,
        Command::Receipt(args) => receipt(&caller, args).await,
    }
}

async fn set(caller: &Caller, args: SetArgs) -> anyhow::Result<()> {
    let scope = match args.scope {
        Scope::FirstParty => ConsentScope::FirstParty,
        Scope::Affiliates => ConsentScope::Affiliates,
    };
    let state = match args.state {
        State::Unset => ConsentState::Unset,
        State::Granted => ConsentState::Granted,
        State::Denied => ConsentState::Denied,
    };
    let source = match args.source {
        SourceArg::UserSetting => Source::UserSetting,
        SourceArg::Admin => Source::Admin,
        SourceArg::Import => Source::Import,
        SourceArg::GpcSignal => Source::GpcSignal,
    };
    let request_id = args.request_id.unwrap_or_else(Uuid::now_v7);
    let record = caller
        .connect(args.person.api_key.as_ref())
        .await?
        .set_consent(proto::SetConsentRequest {
            user_id: args.person.user,
            scope: wire::scope_out(scope).into(),
            state: wire::state_out(state).into(),
            policy_version: args.policy_version,
            source: wire::source_out(source).into(),
            jurisdiction: args.person.jurisdiction,
            evidence: args.evidence,
            actor: args.actor,
            request_id: request_id.to_string(),
            language: args.language,
            client: args.client,
        })
        .await
        .map_err(|error| {
            let again = error.is_retryable();
            let error = anyhow::Error::new(error);
            // Under its id it is recorded once, whatever became of it.
            if again {
                error.context(format!("send the same change again with --request-id {request_id}"))
            } else {
                error
            }
        })?;
    print_record(&record);
    Ok(())
}

fn client(text: &str) -> Result<proto::Client, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let part = |at: usize| parts.get(at).copied().unwrap_or_default().to_owned();
    if parts.len() > 3 || part(0).is_empty() {
        return Err("must be NAME, NAME/VERSION or NAME/VERSION/PLATFORM".to_owned());
    }
    Ok(proto::Client { name: part(0), version: part(1), platform: part(2) })
}

fn request_id(text: &str) -> Result<Uuid, String> {
    validate::uuid(text).ok_or_else(|| "must be a UUID of 36 characters with hyphens".to_owned())
}

async fn receipt(caller: &Caller, args: ReceiptArgs) -> anyhow::Result<()> {
    say!("{}", caller.connect(args.api_key.as_ref()).await?.consent_receipt(args.user).await?);
    Ok(())
}

async fn get(caller: &Caller, person: PersonArgs) -> anyhow::Result<()> {
    let answer = caller
        .connect(person.api_key.as_ref())
        .await?
        .get_consent(proto::GetConsentRequest { user_id: person.user, jurisdiction: person.jurisdiction })
        .await?;
    say!("subject         {}", answer.subject_id);
    say!("decision now    {} ({})", answer.training_scope, answer.eligibility_reason);
    for scope in &answer.scopes {
        say!(
            "{:<15} {} ({}, {})",
            scope_name(scope.scope)?,
            state_name(scope.state)?,
            if scope.eligible { "eligible" } else { "not eligible" },
            scope.eligibility_reason
        );
        if let Some(record) = &scope.record {
            say_on!("                ");
            print_record(record);
        }
    }
    Ok(())
}

async fn history(caller: &Caller, person: PersonArgs) -> anyhow::Result<()> {
    let client = caller.connect(person.api_key.as_ref()).await?;
    let mut page_token = String::new();
    let mut records = 0;
    loop {
        let query = proto::ListConsentHistoryRequest {
            user_id: person.user.clone(),
            page_size: HISTORY_PAGE,
            page_token,
        };
        let page = client.consent_history(query).await?;
        page.records.iter().for_each(print_record);
        records += page.records.len();
        if page.next_page_token.is_empty() {
            if records == 0 {
                say!("nothing recorded");
            }
            return Ok(());
        }
        page_token = page.next_page_token;
    }
}

fn print_record(record: &proto::ConsentRecord) {
    let unknown = |_| "unknown";
    say!(
        "version {} {} {} by {} under terms {:?}, recorded {}{}{}{}{}{}",
        record.consent_version,
        scope_name(record.scope).unwrap_or_else(unknown),
        state_name(record.state).unwrap_or_else(unknown),
        wire::source_in(record.source).map_or("policy_default", Source::as_str),
        record.policy_version,
        record.recorded_at.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string),
        labelled("actor", &record.actor),
        labelled("evidence", &record.evidence),
        labelled("language", &record.language),
        labelled("client", &record.client.as_ref().map(client_text).unwrap_or_default()),
        labelled("request", &record.request_id),
    );
}

fn client_text(client: &proto::Client) -> String {
    let parts = [&client.name, &client.version, &client.platform];
    parts.into_iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join("/")
}

fn labelled(label: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(", {label} {text:?}") }
}

fn scope_name(scope: i32) -> anyhow::Result<&'static str> {
    match wire::scope_in(scope) {
        Some(scope) => Ok(scope.as_str()),
        None => bail!("the collector answered with a scope that this program does not know"),
    }
}

fn state_name(state: i32) -> anyhow::Result<&'static str> {
    match wire::state_in(state) {
        Some(state) => Ok(state.as_str()),
        None => bail!("the collector answered with a state that this program does not know"),
    }
}
