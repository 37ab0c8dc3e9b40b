//! People who changed their minds: what they said, and what became of their rows.

use anyhow::Context as _;

use super::{Scope, landed::style_of};
use crate::{
    cli::{
        demo::{
            bundle::Person,
            layout::{Cell, Page},
            queries,
            send::Record,
        },
        terminal::DIM,
    },
    ingress::{proto, wire},
};

/// Whose way is shown.
const SHOWN: [&str; 3] = ["tom.ashworth@example.org", "lena.hofmann@example.org", "maria.silva@example.com"];
/// The views that a model's training reads.
const VIEWS: [&str; 2] = ["training_first_party", "training_affiliates"];

pub(super) async fn write(scope: &Scope<'_>, page: &mut Page) -> anyhow::Result<()> {
    page.section("People who changed their minds");
    for user_id in SHOWN {
        let (place, person) =
            scope.bundle.person(user_id).context("a person of the report is not in the bundle")?;
        let records = scope.sent.records.get(user_id).map(Vec::as_slice).unwrap_or_default();
        write_person(scope, page, place, person, records).await?;
    }
    page.note(
        "An opt-in makes nothing eligible that was written before it. An opt-out takes earlier rows out of the \
         views at once; the rows themselves stay where they were written until they are moved out of the eligible partitions.",
    );
    Ok(())
}

async fn write_person(
    scope: &Scope<'_>,
    page: &mut Page,
    place: usize,
    person: &Person,
    records: &[Record],
) -> anyhow::Result<()> {
    let now = scope
        .collector
        .get_consent(proto::GetConsentRequest {
            user_id: person.user_id.clone(),
            jurisdiction: person.jurisdiction.clone(),
        })
        .await
        .context("cannot read a person's consent")?;
    page.heading(&format!("{} in {}: {}", person.user_id, person.jurisdiction, person.situation));
    page.note(&format!("stored as subject {}", now.subject_id));

    let mut table = Vec::new();
    for act in 0..scope.bundle.acts.len() {
        let said: Vec<_> = records.iter().filter(|it| it.act == act).map(|it| in_words(&it.record)).collect();
        let said = if said.is_empty() { "-".to_owned() } else { said.join(", ") };
        let session_id = scope.sent.run.session_id(place, act);
        let rows = queries::sitting(scope.target.clickhouse, &session_id)
            .await
            .context("cannot read a person's rows")?;
        for (index, row) in rows.iter().enumerate() {
            let (act, said) =
                if index == 0 { ((act + 1).to_string(), said.as_str()) } else { (String::new(), "") };
            table.push(vec![
                Cell::new(act).styled(DIM),
                Cell::new(said),
                Cell::number(row.rows),
                Cell::new(&row.scope).styled(style_of(&row.scope)),
                Cell::new(&row.reason),
            ]);
        }
    }
    page.table(&["act", "says", "then writes", "scope", "reason"], &table);

    let mut readable = Vec::new();
    for view in VIEWS {
        let rows = queries::count_of_subject(scope.target.clickhouse, view, &now.subject_id)
            .await
            .with_context(|| format!("cannot read {view}"))?;
        readable.push(format!("{rows} rows in {view}"));
    }
    page.paragraph(&format!(
        "now: {}; the next event would get {} ({})",
        readable.join(", "),
        now.training_scope,
        now.eligibility_reason
    ));
    page.gap();
    Ok(())
}

fn in_words(record: &proto::ConsentRecord) -> String {
    let scope = wire::scope_in(record.scope).map_or("unknown", |scope| scope.as_str());
    let state = wire::state_in(record.state).map_or("unknown", |state| state.as_str());
    format!("{scope} {state}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::bundle::Bundle;

    #[test]
    fn those_shown_write_in_every_act_and_change_their_minds_part_way() {
        let bundle = Bundle::load().unwrap();
        for user_id in SHOWN {
            assert!(bundle.person(user_id).is_some(), "{user_id}");
            for act in &bundle.acts {
                assert!(act.interactions.iter().any(|it| it.user_id == user_id), "{user_id}");
            }
            let changes = bundle.acts[1..].iter().flat_map(|act| &act.consent);
            assert!(changes.filter(|change| change.user_id == user_id).count() > 0, "{user_id}");
        }
    }
}
