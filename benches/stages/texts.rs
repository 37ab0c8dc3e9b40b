//! What people write, made up: the same texts in every run.

use std::ops::RangeInclusive;

/// How many texts a set holds, so that no branch is learnt by heart.
const TEXTS: usize = 64;

/// A script and a manner of writing. They differ in bytes a character and in what a survey of them meets.
#[derive(Clone, Copy)]
pub(crate) enum Language {
    /// ASCII alone, with a small number now and then.
    English,
    /// Two bytes a letter, one a space; typographic dashes and quotes of two and three.
    Russian,
    /// Three bytes a character, with the punctuation of full width.
    Japanese,
}

impl Language {
    pub(crate) const ALL: [Self; 3] = [Self::English, Self::Russian, Self::Japanese];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::English => "english",
            Self::Russian => "russian",
            Self::Japanese => "japanese",
        }
    }

    const fn sentences(self) -> &'static [&'static str] {
        match self {
            Self::English => &[
                "Thanks for getting back to me so quickly. ",
                "I have moved the meeting to Thursday at 10:30, room 4. ",
                "Could you have a look at the second paragraph? ",
                "It's 100% what we agreed on, isn't it? ",
                "The draft is fine, but the tone should be warmer. ",
                "We will ship it in week 47 & tell everybody then. ",
                "Please make this shorter! ",
                "I'd rather not promise anything before the figures are in. ",
                "As discussed, the budget stays at $12,000 for now. ",
                "Let me know what you think (no hurry). ",
            ],
            Self::Russian => &[
                "Спасибо, что так быстро ответили. ",
                "Я перенёс встречу на четверг, на 10:30, в комнату 4. ",
                "Посмотрите, пожалуйста, второй абзац – он слишком длинный. ",
                "Мы договорились именно об этом, не так ли? ",
                "Черновик хороший, но тон должен быть теплее. ",
                "Выпустим это на 47-й неделе и тогда всем расскажем. ",
                "Сделайте, пожалуйста, короче! ",
                "«Бюджет» пока остаётся прежним. ",
            ],
            Self::Japanese => &[
                "早速のご返信ありがとうございます。",
                "会議は木曜日の10時30分に変更しました。",
                "二段落目を見ていただけますか？",
                "下書きは良いのですが、もう少し柔らかい表現にしてください。",
                "第47週に公開して、その時に全員に知らせます。",
                "もっと短くしてください！",
                "数字が出るまでは、何も約束したくありません。",
                "予算は今のところ「そのまま」です。",
            ],
        }
    }

    /// With an e-mail address, a phone number or a card.
    const fn telling_sentences(self) -> &'static [&'static str] {
        match self {
            Self::English => &[
                "Write to anna.b@example.com. ",
                "Call me at (415) 555-0132. ",
                "The card is 4111 1111 1111 1111. ",
            ],
            Self::Russian => {
                &["Пишите на anna.b@example.com. ", "Тел. +7 495 123-45-67. ", "Карта 4111 1111 1111 1111. "]
            }
            Self::Japanese => &[
                "メールはtaro@example.jpです。",
                "電話は090-1234-5678です。",
                "カードは4111111111111111です。",
            ],
        }
    }
}

/// How long the texts of a set are, in bytes, and how many hits each of them holds.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) name: &'static str,
    bytes: (usize, usize),
    hits: usize,
}

impl Size {
    pub(crate) const ALL: [Self; 3] = [
        Self { name: "short", bytes: (20, 240), hits: 1 },
        Self { name: "medium", bytes: (240, 1_000), hits: 2 },
        Self { name: "long", bytes: (4_000, 4_096), hits: 4 },
    ];
}

/// Texts that hold no personal data.
pub(crate) fn clean(language: Language, size: Size) -> Vec<String> {
    set(language, size, 0)
}

/// Texts that each hold some, spread over them.
pub(crate) fn telling(language: Language, size: Size) -> Vec<String> {
    set(language, size, size.hits)
}

/// The bytes of all texts of a set.
pub(crate) fn bytes(texts: &[String]) -> u64 {
    texts.iter().map(|text| text.len() as u64).sum()
}

fn set(language: Language, size: Size, hits: usize) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(5);
    let (least, most) = size.bytes;
    (0..TEXTS).map(|_| one(&mut random, language, least..=most, hits)).collect()
}

/// A text of a length in the range, or as many hits long.
fn one(random: &mut fastrand::Rng, language: Language, bytes: RangeInclusive<usize>, hits: usize) -> String {
    let wanted = random.usize(bytes);
    let mut text = String::with_capacity(wanted + 256);
    let mut told = 0;
    while text.len() < wanted || told < hits {
        let telling = told < hits && text.len() >= wanted * told / hits;
        let sentences = if telling { language.telling_sentences() } else { language.sentences() };
        text.push_str(sentences[random.usize(..sentences.len())]);
        told += usize::from(telling);
    }
    if hits == 0 {
        text.truncate(text.floor_char_boundary(wanted));
    }
    text
}

/// Pieces of which texts are made that cost the redactor the most that we could think of.
pub(crate) const WORST: [(&str, &str); 8] = [
    ("digits", "1234567890 "),
    ("codes", "AA 11 "),
    ("passwords", "password: "),
    ("tokens", "eyJa.eyJ."),
    ("names", "Anna Smith "),
    ("addresses", "a@b "),
    ("dots", "1.1."),
    ("colons", "ab:cd:"),
];
