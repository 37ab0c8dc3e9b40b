use proptest::prelude::*;

use super::*;

/// Where an id is in a text, as it reads: every place is looked at, one after the other.
fn found_plainly(id: &str, min_bytes: usize, text: &str) -> Vec<(usize, usize)> {
    if id.len() < min_bytes {
        let start = text.len() - text.trim_start().len();
        let is_whole = !id.is_empty() && text.trim().eq_ignore_ascii_case(id);
        return if is_whole { vec![(start, start + id.len())] } else { vec![] };
    }
    let mut found = Vec::new();
    let mut start = 0;
    while start + id.len() <= text.len() {
        let end = start + id.len();
        let is_id = text.as_bytes()[start..end].eq_ignore_ascii_case(id.as_bytes());
        if is_id && stands_alone(text, start, end) {
            found.push((start, end));
            start = end;
        } else {
            start += 1;
        }
    }
    found
}

fn replaced_plainly(id: &str, min_bytes: usize, text: &str) -> Option<String> {
    let replaced_form = |form: &str| {
        let found = found_plainly(form, min_bytes, text);
        let mut replaced = text.to_owned();
        for &(start, end) in found.iter().rev() {
            replaced.replace_range(start..end, "***");
        }
        (!found.is_empty()).then_some(replaced)
    };
    let is_own = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
    let forms = ['.', '_', ':', '-']
        .map(|separator| id.chars().map(|c| if is_own(c) { c } else { separator }).collect::<String>());
    let own = replaced_form(id);
    if own.is_some() || text.is_empty() || id.chars().all(is_own) {
        return own;
    }
    forms.iter().find_map(|form| replaced_form(form))
}

fn assert_as_plainly(id: &str, text: &str) {
    let id = id.trim();
    for (author, min_bytes) in
        [(Author::of_event(id), MIN_BYTES_IN_EVENT), (Author::of_evidence(id), MIN_BYTES_IN_EVIDENCE)]
    {
        let mut spans = Vec::new();
        author.find(&View::plain(text), &mut spans);
        let found: Vec<_> = spans.iter().map(|span| (span.start, span.end)).collect();
        assert_eq!(found, found_plainly(id, min_bytes, text), "{id:?} in {text:?}");
        let replaced = author.replaced(text, || "***".to_owned());
        assert_eq!(replaced, replaced_plainly(id, min_bytes, text), "{id:?} in {text:?}");
    }
}

#[test]
fn forms_of_an_id() {
    for (id, text, expected) in [
        ("a@b.c", "s:A-B.C", Some("s:***")),
        ("a@b.c", "s:a@b.c:a_b.c", Some("s:***:a_b.c")),
        ("a@b.c", "s:a-b.cd", None),
        ("a@b.c", "a-b", None),
        ("@@@@", "____", Some("***")),
        ("@@@@", "s____s", Some("s***s")),
        ("@@@@", "s___s", None),
        ("é@x", "_-x", None),
        ("élan", "s-_lan", Some("s-***")),
        ("éà@ü", "----", Some("***")),
        // Four bytes, but two characters: only as the whole text.
        ("éà", "--", Some("***")),
        ("éà", " :: ", Some(" *** ")),
        ("éà", "s-::", None),
        ("", "", None),
        ("abcd", "ABCD", Some("***")),
        ("abcd", "abc", None),
    ] {
        let author = id;
        let replaced = Author::of_event(author).replaced(text, || "***".to_owned());
        assert_eq!(replaced.as_deref(), expected, "{id} in {text}");
        assert_as_plainly(id, text);
    }
}

#[test]
fn every_separator_is_an_ids_own() {
    for c in '\0'..=char::MAX {
        assert_eq!(is_foreign(c), !(c.is_ascii_alphanumeric() || "._:-".contains(c)));
    }
}

/// Ids and texts of few characters, so that they are often in each other, or nearly.
fn few() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "A", "b", "1", "2", "@", "|", ".", "_", ":", "-", " ", "é", "は", "ab",
    ]);
    prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn an_id_is_found_as_it_reads(id in few(), before in few(), after in few(), separator in "[._:@-]") {
        assert_as_plainly(&id, &before);
        assert_as_plainly(&id, &format!("{before}{id}{after}"));
        let form = id.replace(is_foreign, &separator);
        assert_as_plainly(&id, &format!("{before}{separator}{form}{separator}{after}{}", form.to_uppercase()));
    }
}
