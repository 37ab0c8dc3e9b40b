//! A few texts before and after redaction, and a search of everything stored for what should be gone.

use anyhow::Context as _;

use super::Scope;
use crate::cli::{
    demo::{
        bundle::{Bundle, Interaction},
        layout::Page,
        queries,
    },
    terminal::GREEN,
};

/// What to show: a kind of personal data in a language.
const SHOWN: [(&str, Kind); 4] =
    [("en", Kind::Card), ("de", Kind::Phone), ("fr", Kind::Phone), ("ja", Kind::Email)];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Email,
    Phone,
    Card,
}

impl Kind {
    fn of(personal: &str) -> Self {
        if personal.contains('@') {
            Self::Email
        } else if personal.starts_with('+') {
            Self::Phone
        } else {
            Self::Card
        }
    }
}

pub(super) async fn write(scope: &Scope<'_>, page: &mut Page) -> anyhow::Result<()> {
    page.section("Redaction: as typed, and as stored");
    for (index, it) in samples(scope.bundle) {
        let interaction_id = scope.sent.run.interaction_id(index);
        let stored = queries::typed_text(scope.target.clickhouse, &interaction_id)
            .await
            .context("cannot read a stored text")?
            .with_context(|| format!("the typed text of {interaction_id} is not in the view typed_texts"))?;
        page.labelled("as typed", None, &it.text);
        page.labelled("as stored", Some(GREEN), &stored.text);
        let counts: Vec<_> =
            stored.redactions.iter().map(|(entity, count)| format!("{entity}: {count}")).collect();
        page.labelled(
            "",
            None,
            &format!("{} in {}, redactions {{{}}}", it.feature, it.language, counts.join(", ")),
        );
        page.gap();
    }

    let personal: Vec<&str> =
        scope.bundle.interactions().flat_map(|it| &it.personal).map(String::as_str).collect();
    let people = scope.bundle.people.iter().map(|person| person.user_id.as_str());
    let rows = queries::all_texts(scope.target.clickhouse, &scope.sent.run)
        .await
        .context("cannot read the stored texts")?;
    // Compared here: a query that held personal data would put it into the server's log.
    let found = personal
        .iter()
        .copied()
        .chain(people)
        .filter(|needle| rows.iter().any(|row| row.text.contains(needle) || row.comment.contains(needle)))
        .count();
    let texts = scope.bundle.interactions().filter(|it| !it.personal.is_empty()).count();
    page.paragraph(&format!(
        "{texts} of the typed texts hold {} e-mail addresses, card and phone numbers. Searched for all of them, and for the \
         {} user ids, in the {} stored rows with text: {found} found.",
        personal.len(),
        scope.bundle.people.len(),
        rows.len()
    ));
    Ok(())
}

/// The interactions to show, with their places among all.
fn samples(bundle: &Bundle) -> impl Iterator<Item = (usize, &Interaction)> {
    SHOWN.into_iter().filter_map(|(language, kind)| {
        bundle.interactions().enumerate().find(|(_, it)| {
            it.language == language && it.personal.iter().any(|personal| Kind::of(personal) == kind)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundle_has_something_of_every_kind_to_show() {
        let bundle = Bundle::load().unwrap();
        assert_eq!(samples(&bundle).count(), SHOWN.len());
    }
}
