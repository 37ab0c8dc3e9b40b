//! What the report asks ClickHouse. Nothing personal is ever part of a query: servers log queries.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::script::Run;
use crate::clickhouse::{Client, Error};

/// Rows of one partition with one reason.
#[derive(Deserialize)]
pub(super) struct PartitionRow {
    pub(super) scope: String,
    pub(super) day: u32,
    pub(super) reason: String,
    pub(super) rows: u64,
    pub(super) people: u64,
}

/// The partitions that a run's rows lie in, each event once.
pub(super) async fn partitions(clickhouse: &Client, run: &Run) -> Result<Vec<PartitionRow>, Error> {
    clickhouse
        .query_rows(
            "SELECT toString(training_scope) AS scope, toYYYYMMDD(received_at) AS day,
                    toString(eligibility_reason) AS reason, count() AS rows, uniqExact(subject_id) AS people
             FROM events FINAL
             WHERE startsWith(session_id, {run:String})
             GROUP BY training_scope, day, eligibility_reason
             ORDER BY training_scope DESC, day, rows DESC",
            &[("run", &run.prefix())],
        )
        .await
}

/// What silence meant in a jurisdiction.
#[derive(Deserialize)]
pub(super) struct SilenceRow {
    pub(super) reason: String,
    pub(super) scope: String,
    pub(super) jurisdiction: String,
    pub(super) rows: u64,
}

/// A run's rows by people who had said nothing.
pub(super) async fn silence(clickhouse: &Client, run: &Run) -> Result<Vec<SilenceRow>, Error> {
    clickhouse
        .query_rows(
            "SELECT toString(eligibility_reason) AS reason, toString(training_scope) AS scope,
                    toString(jurisdiction) AS jurisdiction, count() AS rows
             FROM events FINAL
             WHERE startsWith(session_id, {run:String}) AND consent_state = 'unset'
             GROUP BY eligibility_reason, training_scope, jurisdiction
             ORDER BY eligibility_reason, training_scope DESC, jurisdiction",
            &[("run", &run.prefix())],
        )
        .await
}

/// A typed text as it was stored.
#[derive(Deserialize)]
pub(super) struct StoredText {
    pub(super) text: String,
    pub(super) redactions: BTreeMap<String, u16>,
}

/// The typed text of an interaction.
pub(super) async fn typed_text(
    clickhouse: &Client,
    interaction_id: &str,
) -> Result<Option<StoredText>, Error> {
    let rows = clickhouse
        .query_rows(
            "SELECT text, redactions FROM typed_texts WHERE interaction_id = {interaction:String}",
            &[("interaction", interaction_id)],
        )
        .await?;
    Ok(rows.into_iter().next())
}

/// The texts of one row.
#[derive(Deserialize)]
pub(super) struct RowTexts {
    pub(super) text: String,
    pub(super) comment: String,
}

/// Every text that a run left behind.
pub(super) async fn all_texts(clickhouse: &Client, run: &Run) -> Result<Vec<RowTexts>, Error> {
    clickhouse
        .query_rows(
            "SELECT text, comment FROM events FINAL WHERE startsWith(session_id, {run:String})
             AND (text != '' OR comment != '')",
            &[("run", &run.prefix())],
        )
        .await
}

/// Feedback on the suggestions of a feature to texts of a language.
#[derive(Deserialize)]
pub(super) struct AcceptanceRow {
    pub(super) feature: String,
    pub(super) language: String,
    pub(super) feedback: u64,
    pub(super) accepted: u64,
}

/// How often a run's suggestions were taken. A feedback has no language of its own: it is that of
/// the typed text.
pub(super) async fn acceptance(clickhouse: &Client, run: &Run) -> Result<Vec<AcceptanceRow>, Error> {
    clickhouse
        .query_rows(
            "SELECT toString(f.feature) AS feature, toString(t.language) AS language, count() AS feedback,
                    countIf(f.feedback_action IN ('accepted', 'accepted_with_edits')) AS accepted
             FROM suggestion_feedback AS f
             INNER JOIN typed_texts AS t ON t.tenant = f.tenant AND t.interaction_id = f.interaction_id
             WHERE startsWith(f.session_id, {run:String}) AND startsWith(t.session_id, {run:String})
             GROUP BY feature, language",
            &[("run", &run.prefix())],
        )
        .await
}

/// A person's rows of one sitting.
#[derive(Deserialize)]
pub(super) struct SittingRow {
    pub(super) scope: String,
    pub(super) reason: String,
    pub(super) rows: u64,
}

/// The rows of a sitting by scope and reason.
pub(super) async fn sitting(clickhouse: &Client, session_id: &str) -> Result<Vec<SittingRow>, Error> {
    clickhouse
        .query_rows(
            "SELECT toString(training_scope) AS scope, toString(eligibility_reason) AS reason, count() AS rows
             FROM events FINAL
             WHERE session_id = {session:String}
             GROUP BY training_scope, eligibility_reason
             ORDER BY training_scope DESC, rows DESC",
            &[("session", session_id)],
        )
        .await
}

#[derive(Deserialize)]
struct Count {
    n: u64,
}

/// How many rows a table or a view has for the client's user.
pub(super) async fn count(clickhouse: &Client, table: &str) -> Result<u64, Error> {
    let rows: Vec<Count> = clickhouse.query_rows(&format!("SELECT count() AS n FROM {table}"), &[]).await?;
    Ok(rows.first().map_or(0, |row| row.n))
}

/// How many rows of a subject a view shows.
pub(super) async fn count_of_subject(clickhouse: &Client, view: &str, subject: &str) -> Result<u64, Error> {
    let sql = format!("SELECT count() AS n FROM {view} WHERE subject_id = {{subject:UUID}}");
    let rows: Vec<Count> = clickhouse.query_rows(&sql, &[("subject", subject)]).await?;
    Ok(rows.first().map_or(0, |row| row.n))
}

/// How many rows lie in the partitions of a scope and wider ones, each event once.
pub(super) async fn count_in_scope(clickhouse: &Client, scope: &str) -> Result<u64, Error> {
    let rows: Vec<Count> = clickhouse
        .query_rows(
            "SELECT count() AS n FROM events FINAL
             WHERE training_scope >= CAST({scope:String}, 'Enum8(\\'none\\' = 0, \\'first_party\\' = 1, \\'affiliates\\' = 2)')",
            &[("scope", scope)],
        )
        .await?;
    Ok(rows.first().map_or(0, |row| row.n))
}

/// A row as a model's training would see it.
#[derive(Deserialize)]
pub(super) struct TrainingRow {
    pub(super) feature: String,
    pub(super) language: String,
    pub(super) text: String,
}

/// A typed text that the client's user may train on.
pub(super) async fn training_sample(clickhouse: &Client, view: &str) -> Result<Option<TrainingRow>, Error> {
    let sql = format!(
        "SELECT toString(feature) AS feature, toString(language) AS language, text FROM {view}
         WHERE event_type = 'typed_text' AND language = 'en' ORDER BY received_at DESC, event_id LIMIT 1"
    );
    Ok(clickhouse.query_rows(&sql, &[]).await?.into_iter().next())
}
