use super::super::{Engine, Outcome};

/// The text with placeholders.
fn redact(text: &str) -> String {
    let Outcome { text, .. } = Engine::shipped().redact(text, None);
    text.into_owned()
}

#[track_caller]
fn assert_table(table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .filter(|(text, expected)| redact(text) != *expected)
        .map(|(text, expected)| format!("{text:?}\n  gave     {:?}\n  expected {expected:?}", redact(text)))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn names_in_running_text() {
    assert_table(&[
        ("Niklas spent a year abroad.", "<PERSON_1> spent a year abroad."),
        ("I read the Schmitz novel.", "I read the <PERSON_1> novel."),
        (
            "Ask Stephanie Barraza and Karen, then Stephanie Barraza again.",
            "Ask <PERSON_1> and <PERSON_2>, then <PERSON_1> again.",
        ),
        ("Karen's desk", "<PERSON_1>'s desk"),
        ("by H. J. Wilson and J. Schmitz", "by <PERSON_1> and <PERSON_2>"),
        ("Vincent van Gogh, Oscar de la Hoya", "<PERSON_1>, <PERSON_2>"),
        ("Anne-Marie Leroux-Petit", "<PERSON_1>"),
        ("Sinéad O'Connor and Ewan McGregor", "<PERSON_1> and <PERSON_2>"),
        ("Jonathan Talon DDS wrote it", "<PERSON_1> wrote it"),
        (
            "our founders: Leehy, Perkins and Copeland.",
            "our founders: <PERSON_1>, <PERSON_2> and <PERSON_3>.",
        ),
        ("Mohammed al-Rashid met Priya Raghunathan", "<PERSON_1> met <PERSON_2>"),
        ("Nguyễn Thị Hương và Trần Văn Minh", "<PERSON_1> và <PERSON_2>"),
        ("Ingþór Sigurðsson", "<PERSON_1>"),
        ("Olga Ivanova and Petra Nováková", "<PERSON_1> and <PERSON_2>"),
        ("Иван Петров пришёл", "<PERSON_1> пришёл"),
    ]);
}

#[test]
fn names_that_are_words_by_what_is_around_them() {
    assert_table(&[
        ("Hi Will,", "Hi <PERSON_1>,"),
        ("Dear Mrs. Young,", "Dear <PERSON_1>,"),
        ("I met with Grace yesterday", "I met with <PERSON_1> yesterday"),
        ("Mark Kowalski called", "<PERSON_1> called"),
        ("I'm Rose, nice to meet you", "I'm <PERSON_1>, nice to meet you"),
        ("Thanks,\nMark", "Thanks,\n<PERSON_1>"),
        ("Her name is Hope.", "Her name is <PERSON_1>."),
        ("Grace Young was here", "<PERSON_1> was here"),
    ]);
    for text in [
        "Will you come? May I? Hope so.",
        "Mark the page; Rose petals; Grace period; Rich text; Bill it.",
        "Jack of all trades",
        "Valentine's Day, Murphy's law",
        "In May and June",
    ] {
        assert_eq!(redact(text), text);
    }
}

#[test]
fn introductions_in_many_languages() {
    for text in [
        "my name is »Xqwzt Brnlf«.",
        "Ich heiße »Xqwzt Brnlf«.",
        "Mein Name ist »Xqwzt«.",
        "je m'appelle »Xqwzt Brnlf«.",
        "Me llamo »Xqwzt«.",
        "mi nombre es »Xqwzt Brnlf«.",
        "Mi chiamo »Xqwzt«.",
        "Meu nome é »Xqwzt Brnlf«.",
        "Mijn naam is »Xqwzt«.",
        "Jag heter »Xqwzt«.",
        "Mitt namn är »Xqwzt«.",
        "Nazywam się »Xqwzt«.",
        "Меня зовут »Ждрынь«.",
        "Liebe »Xqwzt«,",
        "Bonjour »Xqwzt«,",
        "Estimado »Xqwzt Brnlf«:",
        "Sehr geehrte »Frau Dr. Xqwzt«,",
        "Cher »Monsieur Xqwzt«,",
        "Mit freundlichen Grüßen\n»Xqwzt Brnlf«",
        "Cordialement,\n»Xqwzt«",
        "Saludos,\n»Xqwzt Brnlf«",
    ] {
        let expected = text.replace('«', "");
        let (before, rest) = expected.split_once('»').unwrap();
        let name = text.split(['»', '«']).nth(1).unwrap();
        let redacted = redact(&expected.replace('»', ""));
        assert_eq!(redacted, format!("{before}<PERSON_1>{}", &rest[name.len()..]), "{text}");
    }
}

#[test]
fn names_in_small_letters() {
    assert_table(&[
        ("hi, my name is christine fiorentino", "hi, my name is <PERSON_1>"),
        (
            "In case of doubt we add sigrid kowalczyk as guardian",
            "In case of doubt we add <PERSON_1> as guardian",
        ),
        ("why is niklas so impulsive?", "why is <PERSON_1> so impulsive?"),
        ("this is mr. chad farmer", "this is <PERSON_1>"),
    ]);
    for text in ["my name is on the list", "the name of the game", "may i ask what will be", "name: string"] {
        assert_eq!(redact(text), text);
    }
}

#[test]
fn code_and_placeholders_are_no_names() {
    for text in [
        "<PERSON_1> and <ADDRESS_2>, <EMAIL_3>",
        "https://example.com/Niklas/Karen",
        "@Niklas #Karen $Karen niklas_karen Karen_x Karen.toString() Karen::new()",
    ] {
        assert_eq!(redact(text), text);
    }
}

/// At most 0.5 % of their characters, and what is taken is known.
#[test]
fn hard_negatives_are_left() {
    let texts = include_str!("../hard_negatives.txt");
    let (mut chars, mut taken) = (0, Vec::new());
    for text in texts.lines() {
        chars += text.chars().count();
        let (_, findings) = Engine::shipped().inspect(text, None);
        taken.extend(findings.into_iter().map(|finding| &text[finding.start..finding.end]));
    }
    let wrong: usize = taken.iter().map(|text| text.chars().count()).sum();
    assert!(chars > 6_000 && wrong * 200 <= chars, "{wrong} of {chars}: {taken:?}");
}
