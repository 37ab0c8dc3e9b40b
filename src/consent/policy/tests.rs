use proptest::prelude::*;

use super::*;

const BASE: &str = "version = \"t\"\neffective_from = \"2026-01-01\"\n[default]\nfirst_party = \"opt_in\"\naffiliates = \"opt_in\"\n";

fn place(code: &str) -> Jurisdiction {
    Jurisdiction::parse(code).unwrap()
}

#[test]
fn the_shipped_policies_can_be_used() {
    let builtin = Policy::builtin();
    for code in ["", "DE", "US", "US-CA"] {
        for scope in ConsentScope::ALL {
            assert_eq!(builtin.silence(place(code), scope), SilenceMeans::OptIn, "{code}");
        }
    }
    assert!(builtin.terms_count("") && builtin.terms_count("2024-09"));
    assert!(!builtin.gpc_denies(ConsentScope::FirstParty) && builtin.gpc_denies(ConsentScope::Affiliates));

    let mixed = Policy::parse(include_str!("../../../policies/mixed-jurisdictions.toml")).unwrap();
    let first = |code| mixed.silence(place(code), ConsentScope::FirstParty);
    assert_eq!(first("US"), SilenceMeans::OptOut);
    assert_eq!(first("US-TX"), SilenceMeans::OptOut);
    assert_eq!(first("US-CA"), SilenceMeans::OptIn);
    assert_eq!(first("DE"), SilenceMeans::OptIn);
    assert_eq!(first("GB"), SilenceMeans::OptIn);
    assert_eq!(mixed.silence(place("US"), ConsentScope::Affiliates), SilenceMeans::OptIn);
    assert!(mixed.terms_count("2024-09") && !mixed.terms_count("2023-11") && !mixed.terms_count(""));
    assert_eq!(mixed.terms(), ["2023-11", "2024-09"]);
    assert_eq!(mixed.oldest_terms(), Some("2024-09"));
    assert_eq!(mixed.excluded_features().collect::<Vec<_>>(), ["private_notes"]);
    assert!(mixed.excluded_event_types().is_empty());
    assert_eq!(mixed.since().to_string(), "2026-01-01");
}

#[test]
fn a_policy_with_anything_wrong_is_refused_whole_and_names_the_key() {
    for (wrong, key, said) in [
        ("[exclude]\nevent_types = [\"typed_text\", \"typing\"]\n", "exclude.event_types[1]", "typing"),
        ("[terms]\nversions = [\"1\"]\noldest = \"2\"\n", "terms.oldest", "\"2\""),
        ("[terms]\nversions = [\"1\", \"1\"]\n", "terms.versions", "twice"),
        ("[terms]\nversions = [\"é\"]\n", "terms.versions", "client can send"),
        ("[exclude]\nfeatures = [\"private_notes \"]\n", "exclude.features", "ends with a space"),
        ("[exclude]\nfeatures = [\"\"]\n", "exclude.features", "empty"),
        ("[gpc]\ndenies = \"nothing\"\n", "gpc.denies", "nothing"),
        ("[defaults]\n", "defaults", "unknown field"),
        ("[jurisdictions.DE]\nfirst = \"opt_in\"\n", "jurisdictions.DE.first", "unknown field"),
    ] {
        match Policy::parse(&format!("{BASE}{wrong}")).unwrap_err() {
            PolicyError::Key { key: named, message } => {
                assert_eq!(named, key, "{message}");
                assert!(message.contains(said), "{message}");
            }
            other @ PolicyError::Syntax { .. } => panic!("{wrong}: {other}"),
        }
    }
    for (from, to, key) in [
        ("\"2026-01-01\"", "\"2026-02-31\"", "effective_from"),
        ("\"2026-01-01\"", "2026", "effective_from"),
        ("\"2026-01-01\"", "2026-01-01T08:00:00", "effective_from"),
        ("\"t\"", "\" \"", "version"),
        ("\"t\"", "\"a\\nb\"", "version"),
        ("affiliates = \"opt_in\"\n", "", "default"),
    ] {
        let error = Policy::parse(&BASE.replace(from, to)).unwrap_err().to_string();
        assert!(error.starts_with(key), "{to}: {error}");
    }
    let error = Policy::parse(&format!("{BASE}[gpc\n")).unwrap_err().to_string();
    assert!(error.starts_with("line 6, column ") && !error.contains('\n'), "{error}");
}

#[test]
fn a_date_may_be_written_as_text_or_as_toml_has_it() {
    for (written, since) in [
        ("\"2026-01-31\"", "2026-01-31"),
        ("2026-01-31", "2026-01-31"),
        ("2026-01-31T08:00:00+01:00", "2026-01-31T07:00:00Z"),
    ] {
        let policy = Policy::parse(&BASE.replace("\"2026-01-01\"", written)).unwrap();
        assert_eq!(policy.since().to_string(), since, "{written}");
    }
}

#[test]
fn the_digest_is_of_the_file() {
    let one = Policy::parse(BASE).unwrap();
    assert_eq!(one.digest().len(), 64);
    assert_ne!(one.digest(), Policy::parse(&format!("{BASE}# a comment\n")).unwrap().digest());
}

/// A line as somebody might write it, or nearly.
fn line() -> impl Strategy<Value = String> {
    let section = "\\[?(default|groups|jurisdictions\\.(EU|US-CA|[A-Z]{1,3})|terms|gpc|exclude)\\]?";
    let pair = "(version|effective_from|first_party|oldest|versions|denies|features|[A-Z]{2,3}) ?= ?(\"[a-z_0-9-]{0,10}\"|\\[\"[A-Z]{2}\"\\]|[0-9T:Z-]{1,20}|\\{\\})";
    prop_oneof![section, pair, "\\PC{0,20}", Just("first_party = \"opt_in\"".to_owned())]
}

proptest! {
    #[test]
    fn nothing_makes_reading_panic(lines in proptest::collection::vec(line(), 0..12), based in any::<bool>()) {
        let text = format!("{}{}", if based { BASE } else { "" }, lines.join("\n"));
        if let Ok(policy) = Policy::parse(&text) {
            let _ = policy.explain();
        }
        let _ = file::read_name(&text);
    }
}
