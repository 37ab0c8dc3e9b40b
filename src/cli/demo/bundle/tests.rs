use super::*;

fn bundle() -> Bundle {
    Bundle::load().unwrap()
}

fn distinct<T: std::hash::Hash + Eq>(items: impl IntoIterator<Item = T>) -> usize {
    items.into_iter().collect::<HashSet<_>>().len()
}

/// Luhn's check, as payment cards have it.
fn passes_luhn(number: &str) -> bool {
    let digits: Vec<u32> = number.chars().filter_map(|c| c.to_digit(10)).collect();
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| if place % 2 == 0 { *digit } else { digit * 2 / 10 + digit * 2 % 10 })
        .sum();
    digits.len() >= 13 && sum.is_multiple_of(10)
}

#[test]
fn there_is_enough_of_everything() {
    let bundle = bundle();
    assert!(bundle.interactions().count() >= 320, "{}", bundle.interactions().count());
    assert!(bundle.people.len() >= 28);
    assert!(distinct(bundle.interactions().map(|it| &it.user_id)) >= 28, "all people write something");
    assert!(distinct(bundle.interactions().map(|it| &it.language)) >= 7);
    assert!(distinct(bundle.people.iter().map(|it| &it.jurisdiction)) >= 7);
    assert!(distinct(bundle.interactions().map(|it| &it.model)) >= 2);
    assert_eq!(distinct(bundle.people.iter().map(|it| it.client)), 4);
    let features: HashSet<_> = bundle.interactions().map(|it| it.feature.as_str()).collect();
    assert_eq!(features, HashSet::from(["compose", "reply", "rewrite", "translate", "summarise", "tone"]));
    assert!(bundle.acts.iter().all(|act| !act.preferences.is_empty() && !act.consent.is_empty()));
    assert!(bundle.acts.iter().all(|act| !act.interactions.is_empty()));
}

#[test]
fn feedback_is_of_every_kind_and_mostly_there() {
    let bundle = bundle();
    let actions: Vec<_> = bundle.interactions().filter_map(|it| it.action).collect();
    assert_eq!(distinct(&actions), 5);
    assert!(actions.len() * 10 > bundle.interactions().count() * 8);
    assert_eq!(distinct(bundle.interactions().map(|it| it.rating)), 3);
    for it in bundle.interactions() {
        assert!((-1..=1).contains(&it.rating));
        assert_eq!(it.action == Some(Action::AcceptedWithEdits), !it.final_text.is_empty(), "{}", it.text);
        assert_ne!(it.final_text, it.suggestion, "an edit changes something");
        assert!(it.action.is_some() || (it.comment.is_empty() && it.rating == 0), "{}", it.text);
    }
}

#[test]
fn texts_are_of_a_usual_length_and_never_their_own_suggestion() {
    for it in bundle().interactions() {
        let length = it.text.chars().count();
        assert!((60..=400).contains(&length), "{length}: {}", it.text);
        assert!(!it.suggestion.is_empty());
        assert_ne!(it.text, it.suggestion);
    }
}

#[test]
fn some_texts_have_personal_data_and_it_belongs_to_nobody() {
    let bundle = bundle();
    let texts = bundle.interactions().filter(|it| !it.personal.is_empty()).count();
    let share = texts as f64 / bundle.interactions().count() as f64;
    assert!((0.10..=0.20).contains(&share), "{share}");

    let fictional_phones =
        ["+1 202-555-01", "+44 20 7946 0", "+49 30 23125 ", "+49 69 90009 ", "+33 1 99 00 ", "+33 6 39 98 "];
    for personal in bundle.interactions().flat_map(|it| &it.personal) {
        if let Some((_, domain)) = personal.split_once('@') {
            assert!(["example.com", "example.org", "example.net"].contains(&domain), "{personal}");
        } else if personal.starts_with('+') {
            assert!(fictional_phones.iter().any(|range| personal.starts_with(range)), "{personal}");
        } else {
            assert!(passes_luhn(personal), "{personal}");
        }
    }
}

#[test]
fn no_address_is_unmarked() {
    for it in bundle().interactions() {
        assert_eq!(
            it.text.matches('@').count(),
            it.personal.iter().filter(|personal| personal.contains('@')).count(),
            "{}",
            it.text
        );
    }
}

#[test]
fn consent_is_of_every_kind_and_changes_part_way() {
    let bundle = bundle();
    let first: HashSet<_> = bundle.acts[0].consent.iter().map(|it| it.user_id.as_str()).collect();
    assert!(
        bundle.people.iter().any(|person| !first.contains(person.user_id.as_str())),
        "somebody is silent"
    );
    let later: Vec<_> = bundle.acts[1..].iter().flat_map(|act| &act.consent).collect();
    for (scope, state) in [
        (Scope::FirstParty, State::Granted),
        (Scope::FirstParty, State::Denied),
        (Scope::Affiliates, State::Granted),
        (Scope::Affiliates, State::Denied),
    ] {
        assert!(later.iter().any(|it| it.scope == scope && it.state == state), "{scope:?} {state:?}");
    }
    assert!(bundle.people.iter().any(|person| person.global_privacy_control));
    let all = || bundle.acts.iter().flat_map(|act| &act.consent);
    assert_eq!(distinct(all().map(|it| format!("{:?}", it.source))), 3);
    let with_first_party: HashSet<_> =
        all().filter(|it| it.scope == Scope::FirstParty).map(|it| &it.user_id).collect();
    assert!(
        all().any(|it| it.scope == Scope::Affiliates && !with_first_party.contains(&it.user_id)),
        "somebody grants affiliates alone"
    );
}

const ONE_PERSON: &str =
    "[[person]]\nuser_id = \"u-1\"\njurisdiction = \"DE\"\nclient = \"editor-web\"\nsituation = \"\"\n";
const ONE_ACT: &str = "[[act]]\ntitle = \"one\"\n";

fn interaction(act: usize, user_id: &str, text: &str) -> String {
    format!(
        "[[interaction]]\nact = {act}\nuser_id = \"{user_id}\"\nfeature = \"reply\"\nmodel = \"m\"\ntext = \"{text}\"\n\
         suggestion = \"s\"\nlatency_ms = 1\n"
    )
}

fn parse(people: &str, script: &str, interactions: &str) -> Result<Bundle, BundleError> {
    let file = format!("language = \"en\"\n{interactions}");
    Bundle::parse(people, script, &[("interactions/en.toml", &file)])
}

#[test]
fn says_what_is_wrong_and_where() {
    let good = interaction(1, "u-1", "text");
    assert_eq!(parse(ONE_PERSON, ONE_ACT, &good).unwrap().acts[0].interactions[0].language, "en");

    let error = |people: &str, script: &str, interactions: &str| {
        parse(people, script, interactions).unwrap_err().to_string()
    };
    let twice = format!("{ONE_PERSON}{ONE_PERSON}");
    assert_eq!(error(&twice, ONE_ACT, &good), "people.toml: \"u-1\" is there twice");
    assert_eq!(
        error(ONE_PERSON, ONE_ACT, &interaction(1, "u-2", "text")),
        "interactions/en.toml: \"u-2\" is not in people.toml"
    );
    let stranger = format!("{ONE_ACT}[[act.preference]]\nuser_id = \"u-2\"\nlanguage = \"en\"\n");
    assert_eq!(error(ONE_PERSON, &stranger, &good), "script.toml: \"u-2\" is not in people.toml");
    for act in [0, 2] {
        assert_eq!(
            error(ONE_PERSON, ONE_ACT, &interaction(act, "u-1", "text")),
            format!("interactions/en.toml: there is no act {act} in script.toml")
        );
    }
    assert_eq!(
        error(ONE_PERSON, ONE_ACT, &format!("{good}{good}")),
        "interactions/en.toml: interaction 2 has the text of another one"
    );
    assert_eq!(
        error(ONE_PERSON, ONE_ACT, &format!("{good}personal = [\"nobody\"]\n")),
        "interactions/en.toml: interaction 1 marks personal data that its text does not have"
    );
}

#[test]
fn an_unknown_key_or_value_is_an_error_of_its_file() {
    let good = interaction(1, "u-1", "text");
    for (people, script, interactions, file) in [
        (format!("{ONE_PERSON}age = 3\n"), ONE_ACT.to_owned(), good.clone(), "people.toml"),
        (ONE_PERSON.replace("editor-web", "fax"), ONE_ACT.to_owned(), good.clone(), "people.toml"),
        (ONE_PERSON.to_owned(), "[[act]]\n".to_owned(), good.clone(), "script.toml"),
        (
            ONE_PERSON.to_owned(),
            ONE_ACT.to_owned(),
            format!("{good}action = \"loved\"\n"),
            "interactions/en.toml",
        ),
    ] {
        match parse(&people, &script, &interactions) {
            Err(BundleError::Form { file: found, .. }) => assert_eq!(found, file),
            other => panic!("{file}: {other:?}"),
        }
    }
}
