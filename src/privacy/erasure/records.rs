//! The tables of erasures: what is asked for, and what was done.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::time;
use crate::{
    clickhouse::{Client, Error},
    event::{Micros, SubjectId, Tenant},
};

/// The most erasures that are carried out together: as many as a query can name.
const BATCH: usize = 4_000;
/// What is written when a collector is done with its spool.
pub(super) const SPOOL: &str = "spool";
/// What is written when the search has found nothing.
pub(super) const VERIFIED: &str = "verified";

/// How far an erasure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is recorded, and events may still come in that it does not take.
    Requested,
    /// It takes what was acknowledged before, and is being carried out.
    Running,
    /// Nothing is left, and nobody is left who could bring more.
    Completed,
}

/// A step that was done.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Step {
    /// `table NAME`, `spool`, `quarantine damaged`, `verified`, `files removed` or `forgotten`.
    pub step: String,
    /// How many rows were found; files, of what is damaged.
    pub rows_found: u64,
    /// How many of them were removed.
    pub rows_removed: u64,
    /// When it was last done, by ClickHouse's clock, in microseconds since the epoch.
    pub at_us: i64,
}

/// A collector that an erasure waits for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Collector {
    /// Its id.
    pub collector_id: String,
    /// When it last said that it is there, in microseconds since the epoch.
    pub seen_at_us: i64,
}

/// How an erasure stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Its id.
    pub erasure_id: Uuid,
    /// How far it is.
    pub state: State,
    /// When it was asked for.
    pub requested_at: Option<Micros>,
    /// When it was completed.
    pub completed_at: Option<Micros>,
    /// When the pseudonyms were forgotten too.
    pub forgotten_at: Option<Micros>,
    /// Who asked for it.
    pub actor: String,
    /// What was done, in the order in which it was last done.
    pub steps: Vec<Step>,
    /// Collectors whose spools it has not reached yet.
    pub waiting_for: Vec<Collector>,
}

/// Whom an erasure is about.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) erasure_id: Uuid,
    pub(super) tenant: Tenant,
    /// Each with the id of its key, in the order of the ring.
    pub(super) pseudonyms: Vec<(SubjectId, String)>,
}

impl Person {
    pub(super) fn shares_a_pseudonym_with(&self, other: &Self) -> bool {
        self.pseudonyms.iter().any(|(id, _)| other.pseudonyms.iter().any(|(it, _)| it == id))
    }
}

/// An erasure that there is something to do for.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Open {
    pub(super) erasure_id: Uuid,
    pub(super) tenant: String,
    pub(super) state: State,
    /// Since the request, by ClickHouse's clock.
    pub(super) age_seconds: u64,
    /// Since the completion.
    pub(super) completed_seconds: u64,
    /// Collectors that are there and have not reported.
    pub(super) missing: u64,
    /// When the search found nothing, in microseconds since the epoch; 0 if that was not yet.
    pub(super) verified_us: i64,
    requested_us: i64,
    actor: String,
}

/// The newest row of each erasure: the state that is furthest, since two collectors may write at once.
const NEWEST: &str = "SELECT erasure_id, tenant, max(state) AS state, min(requested_at) AS requested_at,
        max(completed_at) AS completed_at, max(forgotten_at) AS forgotten_at, any(actor) AS actor
    FROM erasures GROUP BY erasure_id, tenant";
/// Collectors whose spools may hold something.
const COLLECTORS: &str =
    "SELECT collector_id, argMax(state, seen_at) AS state, max(seen_at) AS last FROM collectors
     GROUP BY collector_id HAVING state = 'running'";

/// Reads and writes them.
#[derive(Clone, Debug)]
pub(super) struct Records {
    client: Client,
    collector_id: String,
}

#[derive(Serialize)]
struct NewErasure<'a> {
    erasure_id: Uuid,
    tenant: &'a str,
    state: &'static str,
    requested_at: String,
    completed_at: String,
    forgotten_at: String,
    actor: &'a str,
    collector_id: &'a str,
}

#[derive(Serialize)]
struct NewSubject<'a> {
    erasure_id: Uuid,
    tenant: &'a str,
    subject_id: Uuid,
    pseudonym_key_id: &'a str,
    below_version: u32,
}

#[derive(Serialize)]
struct NewStep<'a> {
    erasure_id: Uuid,
    tenant: &'a str,
    step: &'a str,
    collector_id: &'a str,
    rows_found: u64,
    rows_removed: u64,
}

#[derive(Serialize)]
struct NewCollector<'a> {
    collector_id: &'a str,
    state: &'a str,
}

#[derive(Deserialize)]
struct Head {
    state: State,
    requested_us: i64,
    completed_us: i64,
    forgotten_us: i64,
    actor: String,
}

#[derive(Deserialize)]
struct Subject {
    erasure_id: Uuid,
    tenant: String,
    subject_id: Uuid,
    pseudonym_key_id: String,
}

#[derive(Deserialize)]
struct Now {
    now_us: i64,
}

#[derive(Deserialize)]
struct Claimed {
    is_own: u8,
}

#[derive(Serialize)]
struct NewRound<'a> {
    round: u64,
    collector_id: &'a str,
    is_done: bool,
}

/// A time as ClickHouse reads it into a `DateTime64(6)`, whatever the server's settings are.
fn date_time(micros: i64) -> String {
    Micros(micros).to_string().replace('T', " ").replace('Z', "")
}

fn lines<T: Serialize>(rows: impl IntoIterator<Item = T>) -> Result<bytes::Bytes, Error> {
    let mut body = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut body, &row)?;
        body.push(b'\n');
    }
    Ok(body.into())
}

/// Random ids, which tell nothing of anybody, as a list of SQL.
pub(super) fn id_list(ids: &[Uuid]) -> String {
    ids.iter().map(|id| format!("toUUID('{id}')")).collect::<Vec<_>>().join(", ")
}

impl Records {
    pub(super) fn new(client: Client, collector_id: &str) -> Self {
        Self { client, collector_id: collector_id.to_owned() }
    }

    /// What ClickHouse's clock shows, in microseconds since the epoch.
    pub(super) async fn now(&self) -> Result<i64, Error> {
        let sql = "SELECT toUnixTimestamp64Micro(now64(6, 'UTC')) AS now_us";
        let rows = self.client.query_rows::<Now>(sql, &[]).await?;
        Ok(rows.first().map_or(0, |row| row.now_us))
    }

    async fn insert(&self, table: &str, columns: &str, body: bytes::Bytes, token: &str) -> Result<(), Error> {
        self.client.insert_json(table, columns, body, token, &[]).await
    }

    async fn put(
        &self,
        erasure_id: Uuid,
        tenant: &str,
        actor: &str,
        state: &'static str,
        [requested, completed, forgotten]: [i64; 3],
    ) -> Result<(), Error> {
        let row = NewErasure {
            erasure_id,
            tenant,
            state,
            requested_at: date_time(requested),
            completed_at: date_time(completed),
            forgotten_at: date_time(forgotten),
            actor,
            collector_id: &self.collector_id,
        };
        let columns =
            "(erasure_id, tenant, state, requested_at, completed_at, forgotten_at, actor, collector_id)";
        // The newest row counts, so no two tries need be one.
        self.insert("erasures", columns, lines([row])?, &Uuid::now_v7().to_string()).await
    }

    async fn put_subjects(&self, person: &Person, below_version: u32) -> Result<(), Error> {
        let rows = person.pseudonyms.iter().map(|(subject, key)| NewSubject {
            erasure_id: person.erasure_id,
            tenant: person.tenant.as_str(),
            subject_id: subject.as_uuid(),
            pseudonym_key_id: key,
            below_version,
        });
        let columns = "(erasure_id, tenant, subject_id, pseudonym_key_id, below_version)";
        self.insert("erasure_subjects", columns, lines(rows)?, &Uuid::now_v7().to_string()).await
    }

    /// Records that somebody is to be erased, the person first: without one there is nothing to go on with.
    pub(super) async fn begin(&self, person: &Person, actor: &str) -> Result<(), Error> {
        self.put_subjects(person, 0).await?;
        let now = self.now().await?;
        self.put(person.erasure_id, person.tenant.as_str(), actor, "requested", [now, 0, 0]).await
    }

    /// Records the version below which everything is to go.
    pub(super) async fn marked(&self, person: &Person, version: u32) -> Result<(), Error> {
        let known = self.get(&person.tenant, person.erasure_id).await?;
        let known = known.ok_or(Error::Malformed("an erasure is not there"))?;
        self.put_subjects(person, version).await?;
        let requested = known.requested_at.map_or(0, |at| at.0);
        self.put(person.erasure_id, person.tenant.as_str(), &known.actor, "running", [requested, 0, 0]).await
    }

    pub(super) async fn completed(&self, erasure: &Open) -> Result<(), Error> {
        let times = [erasure.requested_us, self.now().await?, 0];
        self.put(erasure.erasure_id, &erasure.tenant, &erasure.actor, "completed", times).await
    }

    pub(super) async fn forgotten(&self, erasure: &Open) -> Result<(), Error> {
        let now = self.now().await?;
        let completed = now - i64::try_from(erasure.completed_seconds).unwrap_or(0) * 1_000_000;
        let times = [erasure.requested_us, completed, now];
        self.put(erasure.erasure_id, &erasure.tenant, &erasure.actor, "completed", times).await
    }

    pub(super) async fn step(
        &self,
        (erasure_id, tenant): (Uuid, &str),
        step: &str,
        [rows_found, rows_removed]: [u64; 2],
    ) -> Result<(), Error> {
        let row =
            NewStep { erasure_id, tenant, step, collector_id: &self.collector_id, rows_found, rows_removed };
        let columns = "(erasure_id, tenant, step, collector_id, rows_found, rows_removed)";
        self.insert("erasure_steps", columns, lines([row])?, &Uuid::now_v7().to_string()).await
    }

    pub(super) async fn get(&self, tenant: &Tenant, erasure_id: Uuid) -> Result<Option<Erasure>, Error> {
        let id = erasure_id.to_string();
        let params = [("tenant", tenant.as_str()), ("id", &id)];
        let sql = format!(
            "SELECT toString(state) AS state, toUnixTimestamp64Micro(requested_at) AS requested_us,
                    toUnixTimestamp64Micro(completed_at) AS completed_us,
                    toUnixTimestamp64Micro(forgotten_at) AS forgotten_us, actor
             FROM ({NEWEST}) WHERE erasure_id = {{id:UUID}} AND tenant = {{tenant:String}}"
        );
        let Some(head) = self.client.query_rows::<Head>(&sql, &params).await?.into_iter().next() else {
            return Ok(None);
        };
        let sql =
            "SELECT toString(step) AS step, sum(rows_found) AS rows_found, sum(rows_removed) AS rows_removed,
                toUnixTimestamp64Micro(max(recorded_at)) AS at_us
            FROM erasure_steps WHERE erasure_id = {id:UUID} AND tenant = {tenant:String}
            GROUP BY step ORDER BY at_us, step";
        let steps = self.client.query_rows::<Step>(sql, &params).await?;
        let mut waiting_for = Vec::new();
        if head.state != State::Completed {
            let sql = format!(
                "SELECT collector_id, toUnixTimestamp64Micro(last) AS seen_at_us FROM ({COLLECTORS})
                 WHERE collector_id NOT IN
                     (SELECT collector_id FROM erasure_steps WHERE erasure_id = {{id:UUID}} AND step = '{SPOOL}')
                 ORDER BY collector_id"
            );
            waiting_for = self.client.query_rows::<Collector>(&sql, &params).await?;
        }
        Ok(Some(Erasure {
            erasure_id,
            state: head.state,
            requested_at: time(head.requested_us),
            completed_at: time(head.completed_us),
            forgotten_at: time(head.forgotten_us),
            actor: head.actor,
            steps,
            waiting_for,
        }))
    }

    /// Whom an erasure is about; none when that was forgotten.
    pub(super) async fn person(&self, tenant: &Tenant, erasure_id: Uuid) -> Result<Option<Person>, Error> {
        let persons =
            self.persons("WHERE erasure_id = {id:UUID}", &[("id", &erasure_id.to_string())]).await?;
        Ok(persons.into_iter().find(|person| person.tenant == *tenant))
    }

    async fn persons(&self, condition: &str, params: &[(&str, &str)]) -> Result<Vec<Person>, Error> {
        let sql = format!(
            "SELECT erasure_id, toString(tenant) AS tenant, subject_id,
                toString(pseudonym_key_id) AS pseudonym_key_id
             FROM erasure_subjects {condition}
             GROUP BY erasure_id, tenant, subject_id, pseudonym_key_id ORDER BY erasure_id, pseudonym_key_id"
        );
        let mut persons: Vec<Person> = Vec::new();
        for row in self.client.query_rows::<Subject>(&sql, params).await? {
            let pseudonym = (SubjectId::from_bytes(*row.subject_id.as_bytes()), row.pseudonym_key_id);
            match persons.last_mut() {
                Some(person) if person.erasure_id == row.erasure_id => person.pseudonyms.push(pseudonym),
                _ => persons.push(Person {
                    erasure_id: row.erasure_id,
                    tenant: Tenant::new(&row.tenant),
                    pseudonyms: vec![pseudonym],
                }),
            }
        }
        Ok(persons)
    }

    /// Erasures that are being carried out and that this collector has not reported on.
    pub(super) async fn unreported(&self) -> Result<Vec<Person>, Error> {
        let condition = format!(
            "WHERE erasure_id IN (SELECT erasure_id FROM ({NEWEST}) WHERE state = 'running')
               AND erasure_id NOT IN
                   (SELECT erasure_id FROM erasure_steps WHERE collector_id = {{own:String}} AND step = '{SPOOL}')"
        );
        self.persons(&condition, &[("own", &self.collector_id)]).await
    }

    /// What there is to do: what is not completed, and what is completed for that long and not forgotten. A batch of it,
    /// the oldest first, and last what waits for a collector for long: it must not keep others from being carried out.
    pub(super) async fn open(&self, grace_seconds: u64) -> Result<Vec<Open>, Error> {
        let sql = format!(
            "SELECT e.erasure_id AS erasure_id, toString(e.tenant) AS tenant, toString(e.state) AS state,
                toUInt64(greatest(0, dateDiff('second', e.requested_at, now64(6, 'UTC')))) AS age_seconds,
                toUInt64(greatest(0, dateDiff('second', e.completed_at, now64(6, 'UTC')))) AS completed_seconds,
                toUInt64((SELECT count() FROM ({COLLECTORS})) - length(arrayIntersect(s.reported,
                    (SELECT groupArray(collector_id) FROM ({COLLECTORS}))))) AS missing,
                toUnixTimestamp64Micro(s.verified_at) AS verified_us,
                toUnixTimestamp64Micro(e.requested_at) AS requested_us, e.actor AS actor
             FROM ({NEWEST}) AS e
             LEFT JOIN
             (
                SELECT erasure_id, groupUniqArrayIf(toString(collector_id), step = '{SPOOL}') AS reported,
                    maxIf(recorded_at, step = '{VERIFIED}') AS verified_at
                FROM erasure_steps
                WHERE erasure_id IN (SELECT erasure_id FROM ({NEWEST}) WHERE forgotten_at = toDateTime64(0, 6, 'UTC'))
                GROUP BY erasure_id
             ) AS s ON s.erasure_id = e.erasure_id
             WHERE e.state != 'completed'
                OR (e.forgotten_at = toDateTime64(0, 6, 'UTC') AND completed_seconds >= {grace_seconds})
             ORDER BY missing > 0 AND age_seconds > 3600, e.requested_at LIMIT {BATCH}"
        );
        self.client.query_rows(&sql, &[]).await
    }

    /// Says that this collector is there, or has nothing left.
    pub(super) async fn announce(&self, state: &str) -> Result<(), Error> {
        let row = NewCollector { collector_id: &self.collector_id, state };
        let token = Uuid::now_v7().to_string();
        self.insert("collectors", "(collector_id, state)", lines([row])?, &token).await
    }

    /// Whether this collector carries erasures out in the interval that it is by ClickHouse's clock, and in which round:
    /// whoever asks first does, since ClickHouse takes one insert of one token, unless another is still at it. One that
    /// died is waited for a minute. Two at once would do no harm but to count rows twice.
    pub(super) async fn claim(&self, interval_ms: u64) -> Result<Option<u64>, Error> {
        let round = u64::try_from(self.now().await? / 1_000).unwrap_or(0) / interval_ms.max(1);
        self.put_round(round, false, &format!("round/{interval_ms}/{round}")).await?;
        let sql = "SELECT
                countIf(round = {round:UInt64} AND collector_id = {own:String} AND NOT done) > 0
                AND countIf(collector_id != {own:String} AND NOT done) = 0 AS is_own
            FROM
            (
                SELECT round, collector_id, max(is_done) AS done FROM erasure_rounds
                WHERE claimed_at > now() - INTERVAL 1 MINUTE GROUP BY round, collector_id
            )";
        let params = [("round", round.to_string()), ("own", self.collector_id.clone())];
        let params = params.each_ref().map(|(name, value)| (*name, value.as_str()));
        let claimed = self.client.query_rows::<Claimed>(sql, &params).await?;
        if claimed.first().is_some_and(|it| it.is_own == 1) {
            return Ok(Some(round));
        }
        self.finish(round).await?;
        Ok(None)
    }

    /// Lets others carry erasures out.
    pub(super) async fn finish(&self, round: u64) -> Result<(), Error> {
        self.put_round(round, true, &Uuid::now_v7().to_string()).await
    }

    async fn put_round(&self, round: u64, is_done: bool, token: &str) -> Result<(), Error> {
        let row = NewRound { round, collector_id: &self.collector_id, is_done };
        self.insert("erasure_rounds", "(round, collector_id, is_done)", lines([row])?, token).await
    }
}
