//! The statements of a pass. Each says in its comment what it may be trusted with.
//!
//! All of them read the base table without FINAL, so that partitions are pruned: a row that is withdrawn has to leave
//! its partition whether or not a narrower copy hides it.

use std::{collections::BTreeSet, fmt::Write as _};

use super::Partition;

/// The key by which FINAL takes two rows for one event.
const KEY: &str = "e.tenant, toUInt128(e.event_id)";

/// What people said no to, and by which number, and the condition that a row is withdrawn by it: the very opposite
/// of what the training views ask for.
const NOES: &str = "(
    SELECT tenant, subject_id,
           maxIf(consent_version, state = 'denied' AND scope = 'first_party') AS first_party_denied,
           maxIf(consent_version, state = 'unset' AND scope = 'first_party') AS first_party_unset,
           maxIf(consent_version, state = 'denied') AS any_denied,
           maxIf(consent_version, state = 'unset') AS any_unset
    FROM consent_changes
    WHERE state != 'granted'
    GROUP BY tenant, subject_id
)";

/// People whose erasure is under way. What is copied now could come after the last look of an erasure.
const UNDER_ERASURE: &str = "SELECT tenant, subject_id FROM erasure_subjects
     WHERE erasure_id NOT IN (SELECT erasure_id FROM erasures FINAL WHERE state = 'completed')";

/// Whether a row `e` is out of one view by the noes `w`. Number 0 is before anything that was ever said.
fn withdrawn(denied: &str, unset: &str) -> String {
    format!(
        "((w.{denied} > 0 AND w.{denied} >= e.consent_version)
          OR (w.{unset} > 0 AND (w.{unset} > e.consent_version
              OR (w.{unset} = e.consent_version AND e.eligibility_reason != 'granted_by_default'))))"
    )
}

/// The rows that are in a wider partition than their author's answers allow: a FROM and a WHERE, with the row as `e`
/// and the noes as `w`.
fn due(partitions: Option<&[Partition]>) -> String {
    let first_party = withdrawn("first_party_denied", "first_party_unset");
    let affiliates = withdrawn("any_denied", "any_unset");
    let within = partitions.map_or(String::new(), |them| {
        format!("AND (e.training_scope, toYYYYMMDD(e.received_at)) IN ({})", list(them))
    });
    format!(
        "FROM events AS e
         INNER JOIN {NOES} AS w ON w.tenant = e.tenant AND w.subject_id = e.subject_id
         WHERE e.training_scope IN ('first_party', 'affiliates') {within}
           AND ({first_party} OR (e.training_scope = 'affiliates' AND {affiliates}))
           AND (e.tenant, e.subject_id) NOT IN ({UNDER_ERASURE})"
    )
}

/// The scope that a withdrawn row `e` goes to.
fn new_scope() -> String {
    let first_party = withdrawn("first_party_denied", "first_party_unset");
    format!("if({first_party} OR e.training_scope = 'first_party', 'none', 'first_party')")
}

/// Copies of rows that were in these partitions: a WHERE's condition on `events` without an alias.
fn copies(partitions: &[Partition]) -> String {
    let days: BTreeSet<_> = partitions.iter().map(|it| it.day).collect();
    let days: Vec<_> = days.iter().map(u32::to_string).collect();
    format!(
        "moved_from != 'none' AND training_scope IN ('none', 'first_party')
         AND CAST(training_scope, 'Int8') < CAST(moved_from, 'Int8') AND toYYYYMMDD(received_at) IN ({})",
        days.join(", ")
    )
}

fn list(partitions: &[Partition]) -> String {
    let mut list = String::new();
    for it in partitions {
        let comma = if list.is_empty() { "" } else { ", " };
        // Writing to a text never fails.
        let _ = write!(list, "{comma}('{}', {})", it.scope.as_str(), it.day);
    }
    list
}

/// What is due, by partition, and in all in the row of the scope `none`. Reads some 20 bytes of each row of the
/// eligible partitions.
pub(super) fn look() -> String {
    format!(
        "SELECT toString(e.training_scope) AS scope, toYYYYMMDD(e.received_at) AS day, count() AS rows,
                uniqExact(e.tenant, e.subject_id) AS subjects
         {due}
         GROUP BY GROUPING SETS ((e.training_scope, toYYYYMMDD(e.received_at)), ())
         SETTINGS max_threads = 2",
        due = due(None)
    )
}

/// When the first of those whose rows are due took consent back, by the ledger's clock.
pub(super) fn oldest() -> String {
    format!(
        "SELECT toString(min(c.recorded_at)) AS at
         FROM consent_changes AS c
         INNER JOIN
         (
             SELECT e.tenant AS tenant, e.subject_id AS subject_id, toString(e.training_scope) AS row_scope,
                    min(e.consent_version) AS version
             {due}
             GROUP BY tenant, subject_id, row_scope
         ) AS d ON d.tenant = c.tenant AND d.subject_id = c.subject_id
         WHERE c.state != 'granted' AND c.consent_version >= d.version
           AND (c.scope = 'first_party' OR d.row_scope = 'affiliates')
         SETTINGS max_threads = 2",
        due = due(None)
    )
}

/// Copies what is due in these partitions to where it belongs, one slice of so many. What has a copy is not copied
/// again, so that it can be repeated; twice at once makes two copies of one key in one partition, which count once.
/// From when it is done on, FINAL shows the copy and not the row.
///
/// With `purges`, only what still may train somebody is copied.
pub(super) fn copy(
    partitions: &[Partition],
    slice: u64,
    slices: u64,
    purges: bool,
    max_seconds: u64,
    settings: &str,
) -> String {
    let kept = if purges { "AND new_scope != 'none'" } else { "" };
    // Every copy is another row, by its `moved_at`: nothing to be deduplicated, and a copy that was removed since must
    // not keep a new one out.
    format!(
        "INSERT INTO events
         SELECT * EXCEPT (new_scope) REPLACE
         (
             training_scope AS moved_from,
             now64(6, 'UTC') AS moved_at,
             new_scope AS training_scope,
             if(new_scope = 'none', 'withdrawn', toString(eligibility_reason)) AS eligibility_reason
         )
         FROM
         (
             SELECT e.*, {new_scope} AS new_scope
             {due} {kept}
               AND sipHash64(e.tenant, e.subject_id) % {slices} = {slice}
               AND ({KEY}, toString(e.training_scope)) NOT IN
                   (SELECT tenant, toUInt128(event_id), toString(moved_from) FROM events WHERE {copies})
         )
         SETTINGS max_threads = 2, insert_deduplicate = 0, prefer_column_name_to_alias = 1,
                  max_partitions_per_insert_block = 0, async_insert = 0, max_execution_time = {max_seconds}{settings}",
        new_scope = new_scope(),
        due = due(Some(partitions)),
        copies = copies(partitions),
    )
}

/// How many of the rows that are due in these partitions have a copy, and when the first of these copies was made, in
/// microseconds since the epoch.
pub(super) fn copied(partitions: &[Partition]) -> String {
    format!(
        "SELECT uniqExact(tenant, event_id, moved_from) AS rows, toUnixTimestamp64Micro(min(moved_at)) AS since_us
         FROM events
         WHERE {copies} AND (tenant, toUInt128(event_id), toString(moved_from)) IN
               (SELECT {KEY}, toString(e.training_scope) {due})
         SETTINGS max_threads = 2",
        copies = copies(partitions),
        due = due(Some(partitions))
    )
}

/// Removes the rows of these partitions that have a copy which was made then or later: in one mutation, which looks
/// for the copies itself when it is carried out. Whatever has come or gone since it was asked for, what it removes is a
/// row with a narrower copy, which no view shows.
///
/// With `purges`, it removes besides what is due and may train nobody.
pub(super) fn remove(
    database: &str,
    partitions: &[Partition],
    copied_since_us: i64,
    purges: bool,
    settings: &str,
) -> String {
    // A mutation runs without a current database.
    let qualified = |sql: String| {
        ["events", "consent_changes", "erasures", "erasure_subjects"].iter().fold(sql, |sql, table| {
            sql.replace(&format!("FROM {table}"), &format!("FROM {database}.{table}"))
        })
    };
    let copied = qualified(format!(
        "(tenant, toUInt128(event_id), toString(training_scope)) IN
         (
             SELECT tenant, toUInt128(event_id), toString(moved_from) FROM events
             WHERE {} AND moved_at >= fromUnixTimestamp64Micro({copied_since_us}, 'UTC')
         )",
        copies(partitions)
    ));
    let condition = if purges {
        // By more than the key: a retry that came under a new consent is another row of the same key.
        let purged = qualified(format!(
            "SELECT {KEY}, toString(e.training_scope), e.subject_id, e.consent_version,
                    toString(e.eligibility_reason)
             {} AND {} = 'none'",
            due(Some(partitions)),
            new_scope()
        ));
        format!(
            "({copied} OR (tenant, toUInt128(event_id), toString(training_scope), subject_id, consent_version,
                           toString(eligibility_reason)) IN ({purged}))"
        )
    } else {
        copied
    };
    format!(
        "ALTER TABLE {database}.events DELETE
         WHERE (training_scope, toYYYYMMDD(received_at)) IN ({}) AND {condition}
         SETTINGS mutations_sync = 0, allow_nondeterministic_mutations = 1{settings}",
        list(partitions)
    )
}

/// Whether a mutation of the table is under way, and whether one has failed at its last try.
pub(super) const MUTATIONS: &str = "SELECT count() AS under_way, countIf(latest_fail_reason != '') AS failing
    FROM system.mutations
    WHERE database = currentDatabase() AND table = 'events' AND NOT is_done";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consent::TrainingScope;

    const PARTITIONS: [Partition; 2] = [
        Partition { scope: TrainingScope::FirstParty, day: 20_261_128 },
        Partition { scope: TrainingScope::Affiliates, day: 20_261_127 },
    ];

    #[test]
    fn a_mutation_names_the_database_of_every_table() {
        for purges in [false, true] {
            let sql = remove("db", &PARTITIONS, 7, purges, "");
            let tables: Vec<_> = sql.split("FROM ").skip(1).filter(|rest| !rest.starts_with('(')).collect();
            assert!(!tables.is_empty());
            assert!(tables.iter().all(|rest| rest.starts_with("db.")), "{sql}");
            assert!(sql.contains("('first_party', 20261128), ('affiliates', 20261127)"), "{sql}");
        }
    }

    #[test]
    fn only_a_purge_removes_what_has_no_copy() {
        assert!(!remove("db", &PARTITIONS, 7, false, "").contains("consent_changes"));
        assert!(remove("db", &PARTITIONS, 7, true, "").contains("consent_changes"));
        assert!(copy(&PARTITIONS, 0, 1, true, 60, "").contains("new_scope != 'none'"));
    }
}
