use std::collections::HashSet;

use super::*;

fn events<'a>(scenes: &'a [Scene<'_>]) -> impl Iterator<Item = &'a proto::Event> {
    scenes.iter().flat_map(|scene| &scene.requests).flatten()
}

fn well_formed(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
}

#[test]
fn all_four_kinds_are_sent_with_ids_of_the_contracts_form() {
    let bundle = Bundle::load().unwrap();
    let scenes = play(&bundle, &Run::new(), SystemTime::now());
    let mut kinds = HashSet::new();
    let mut ids = HashSet::new();
    for event in events(&scenes) {
        let id = Uuid::parse_str(&event.event_id).unwrap();
        assert_eq!(id.get_version_num(), 7);
        assert!(ids.insert(id), "an event id is there twice");
        assert!(well_formed(&event.session_id));
        assert!(!event.session_id.contains(&event.user_id));
        assert!(!event.jurisdiction.is_empty());
        let payload = event.payload.as_ref().unwrap();
        kinds.insert(std::mem::discriminant(payload));
        if !matches!(payload, Payload::LanguagePreference(_)) {
            assert!(well_formed(&event.interaction_id));
        }
        if let Payload::SuggestionShown(it) = payload {
            assert!(well_formed(&it.suggestion_id));
        }
    }
    assert_eq!(kinds.len(), 4);
    assert_eq!(ids.len(), scenes.iter().map(Scene::events).sum::<usize>());
    assert!(
        scenes.iter().flat_map(|scene| &scene.requests).all(|request| request.len() <= EVENTS_PER_REQUEST)
    );
}

#[test]
fn feedback_is_about_the_suggestion_of_its_own_interaction_and_comes_after_it() {
    let bundle = Bundle::load().unwrap();
    let scenes = play(&bundle, &Run::new(), SystemTime::now());
    let mut shown = HashMap::new();
    let mut feedback = 0;
    for event in events(&scenes) {
        let at = SystemTime::try_from(event.occurred_at.unwrap()).unwrap();
        match event.payload.as_ref().unwrap() {
            Payload::SuggestionShown(it) => {
                shown.insert(it.suggestion_id.as_str(), (event.interaction_id.as_str(), at));
            }
            Payload::SuggestionFeedback(it) => {
                let (interaction_id, shown_at) = shown[it.suggestion_id.as_str()];
                assert_eq!(interaction_id, event.interaction_id);
                assert!(at > shown_at);
                feedback += 1;
            }
            _ => {}
        }
    }
    assert_eq!(feedback, bundle.interactions().filter(|it| it.action.is_some()).count());
}

#[test]
fn everything_lies_within_the_last_hours_and_nothing_ahead() {
    let bundle = Bundle::load().unwrap();
    let now = SystemTime::now();
    let scenes = play(&bundle, &Run::new(), now);
    let times: Vec<_> =
        events(&scenes).map(|event| SystemTime::try_from(event.occurred_at.unwrap()).unwrap()).collect();
    assert!(times.iter().all(|at| *at >= now - SPAN && *at <= now));
    assert!(times.iter().max().unwrap().duration_since(*times.iter().min().unwrap()).unwrap() > SPAN / 2);
}

#[test]
fn an_interaction_is_found_by_its_place() {
    let bundle = Bundle::load().unwrap();
    let run = Run::new();
    let scenes = play(&bundle, &run, SystemTime::now());
    for (index, it) in bundle.interactions().enumerate() {
        let interaction_id = run.interaction_id(index);
        let typed =
            events(&scenes).filter(|event| event.interaction_id == interaction_id).find_map(|event| {
                match &event.payload {
                    Some(Payload::TypedText(typed)) => Some(&typed.text),
                    _ => None,
                }
            });
        assert_eq!(typed, Some(&it.text));
    }
}

#[test]
fn two_runs_share_no_id() {
    let bundle = Bundle::load().unwrap();
    let now = SystemTime::now();
    let (a, b) = (Run::new(), Run::new());
    assert_ne!(a.prefix(), b.prefix());
    let (a, b) = (play(&bundle, &a, now), play(&bundle, &b, now));
    let ids: HashSet<_> = events(&a).map(|event| &event.event_id).collect();
    assert!(events(&b).all(|event| !ids.contains(&event.event_id)));
}
