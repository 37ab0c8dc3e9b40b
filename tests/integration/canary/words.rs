//! Canaries: words that nothing but one test knows, so that wherever one is found, it came from there.

use assent::ingress::proto::{
    Client, Event, FeedbackAction, LanguagePreference, SuggestionFeedback, SuggestionShown, event::Payload,
};

use crate::harness::{EventBuilder, event};

/// The letters of a canary: far too many to come up by chance.
const LETTERS: usize = 16;

/// Those that were sent so far.
#[derive(Default)]
pub(super) struct Words {
    /// Must be nowhere at all.
    pub(super) secret: Vec<String>,
    /// Words of texts that were taken: they are what is stored, and belong to no log, metric, status or command's output.
    pub(super) prose: Vec<String>,
}

impl Words {
    /// Something that is never to be kept.
    pub(super) fn secret(&mut self) -> String {
        let word = random();
        self.secret.push(word.clone());
        word
    }

    /// A word of a text that is taken.
    pub(super) fn prose(&mut self) -> String {
        let word = random();
        self.prose.push(word.clone());
        word
    }

    /// An address, a phone number, a card, the author's own id: all that is taken out of a text, in one.
    pub(super) fn text(&mut self, user: &str) -> String {
        let (email, prose) = (self.secret(), self.prose());
        let phone = format!("30 {}", digits(8));
        self.secret.push(phone.clone());
        let card = card();
        self.secret.push(card.replace(' ', ""));
        self.secret.push(card.clone());
        format!("{prose} {user}, mail {email}@example.org or call +49 {phone}; my card is {card} ({user})")
    }

    /// An event of each kind, with all that is free text in it.
    pub(super) fn events(&mut self, user: &str) -> Vec<EventBuilder> {
        // An address fits into no id: such events are among those that are refused.
        let id = if user.contains('@') { "1" } else { user };
        let ids = |it: EventBuilder, at: &str| {
            it.with(|it| {
                it.session_id = format!("s-{at}");
                at.clone_into(&mut it.interaction_id);
            })
        };
        let suggestion_id = format!("g.{id}");
        let shown = SuggestionShown {
            suggestion_id: suggestion_id.clone(),
            text: self.text(user),
            ..SuggestionShown::default()
        };
        let feedback = SuggestionFeedback {
            suggestion_id,
            action: FeedbackAction::AcceptedWithEdits.into(),
            final_text: self.text(user),
            comment: self.text(user),
            ..SuggestionFeedback::default()
        };
        let preference = LanguagePreference { language: "de".to_owned(), previous_language: "en".to_owned() };
        vec![
            ids(event(user).text(&self.text(user)), id),
            ids(event(user).payload(Payload::SuggestionShown(shown)), id),
            ids(event(user).payload(Payload::SuggestionFeedback(feedback)), id),
            ids(event(user).payload(Payload::LanguagePreference(preference)), id),
        ]
    }

    /// An event with a canary in every field that holds text; each is well-formed by itself but for the user's id,
    /// which is an address. For those who break one thing about it.
    pub(super) fn full(&mut self) -> Event {
        let user = format!("{}@example.org", self.secret());
        let shown = SuggestionShown {
            suggestion_id: self.secret(),
            text: self.secret(),
            language: "en".to_owned(),
            ..SuggestionShown::default()
        };
        event(&user)
            .payload(Payload::SuggestionShown(shown))
            .with(|it| {
                it.session_id = self.secret();
                it.interaction_id = self.secret();
                it.feature = self.secret();
                it.model = self.secret();
                it.client =
                    Some(Client { name: self.secret(), version: self.secret(), platform: self.secret() });
            })
            .build()
    }
}

fn random() -> String {
    (0..LETTERS).map(|_| fastrand::lowercase()).collect()
}

fn digits(count: usize) -> String {
    (0..count).map(|_| fastrand::digit(10)).collect()
}

/// Sixteen digits that Luhn's check holds for, in groups.
fn card() -> String {
    let mut card = format!("4{}", digits(14));
    let sum: u32 = card
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let digit = u32::from(digit - b'0');
            if at % 2 == 0 { digit * 2 / 10 + digit * 2 % 10 } else { digit }
        })
        .sum();
    card.push_str(&((10 - sum % 10) % 10).to_string());
    card.as_bytes().chunks(4).map(|group| String::from_utf8_lossy(group)).collect::<Vec<_>>().join(" ")
}
