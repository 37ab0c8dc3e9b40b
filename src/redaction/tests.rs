use proptest::prelude::*;

use super::*;

fn redact(text: &str) -> String {
    let Outcome { text: redacted, counts, .. } = Engine::shipped().redact(text, None);
    assert_eq!(counts.is_empty(), redacted == text, "counts of {text:?}");
    redacted.into_owned()
}

fn of_author(text: &str, user: &str) -> String {
    Engine::shipped().redact(text, Some(&Author::of_event(user))).text.into_owned()
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

#[track_caller]
fn assert_untouched(texts: &[&str]) {
    assert_table(&texts.iter().map(|&text| (text, text)).collect::<Vec<_>>());
}

#[test]
fn email_addresses() {
    assert_table(&[
        ("Write to anna.b+x_1@mail.example.co.uk.", "Write to <EMAIL_1>."),
        ("<anna@example.com>,bob@example.com;", "<<EMAIL_1>>,<EMAIL_2>;"),
        ("A@Example.com and a@example.COM", "<EMAIL_1> and <EMAIL_1>"),
        ("a@x.de b@x.de a@x.de", "<EMAIL_1> <EMAIL_2> <EMAIL_1>"),
        ("mailto:o'brien@example.ie?subject=x", "mailto:<EMAIL_1>?subject=x"),
        ("https://x.com/?mail=anna@example.com&y=1", "https://x.com/?mail=<EMAIL_1>&y=1"),
        ("https://x.com/?mail=anna%40example.com&y", "https://x.com/?mail=<EMAIL_1>&y"),
        ("anna&#64;example.com anna&commat;example%2Ecom", "<EMAIL_1> <EMAIL_1>"),
        ("'anna@example.com' \"bob@example.com\"", "'<EMAIL_1>' \"<EMAIL_2>\""),
        ("\"john doe\"@example.com", "<EMAIL_1>"),
        ("root@[192.168.0.1] x@[IPv6:2001:db8::1]", "<EMAIL_1> <EMAIL_2>"),
        ("a@b.com@c.org", "<EMAIL_1>"),
        ("me@163.com", "<EMAIL_1>"),
        ("a@xn--bcher-kva.example, a@b.xn--p1ai", "<EMAIL_1>, <EMAIL_2>"),
        ("anna@example.com4", "<EMAIL_1>4"),
        ("anna@example.com-", "<EMAIL_1>-"),
        ("anna@example.com/x", "<EMAIL_1>/x"),
        // Internationalised, and next to scripts without spaces.
        ("jürgen.müller@bücher.example", "<EMAIL_1>"),
        ("Пишите на иван@почта.рф!", "Пишите на <EMAIL_1>!"),
        ("我的邮箱是zhang@example.cn。谢谢", "我的邮箱是<EMAIL_1>。谢谢"),
        ("メールはtaro.yamada@example.jpです", "メールは<EMAIL_1>です"),
        ("메일 min@example.kr으로", "메일 <EMAIL_1>으로"),
        ("用户@例子.广告", "<EMAIL_1>"),
        ("अजय@डाटा.भारत", "<EMAIL_1>"),
        // Disguised.
        ("ａｎｎａ＠ｅｘａｍｐｌｅ．ｃｏｍ!", "<EMAIL_1>!"),
        ("anna﹫example.com and anna@example.com", "<EMAIL_1> and <EMAIL_1>"),
        ("an\u{200B}na\u{2060}@exa\u{AD}mple.c\u{200D}om 👩\u{200D}💻", "<EMAIL_1> 👩\u{200D}💻"),
        ("taro@example。com。", "<EMAIL_1>。"),
        ("👋anna@example.com👋", "👋<EMAIL_1>👋"),
    ]);
    assert_untouched(&[
        "",
        "@",
        "@@@@",
        "the @handle said hi",
        "10 @ $5, 3@ 4",
        "a@b",
        "root@localhost",
        "react@18.2.0",
        "icon@2x.png",
        "lodash@4.17.21-rc.next",
        "x@.com",
        "x@-",
        "\"@\"",
        "***@gmail.com",
        "<EMAIL_1> is here",
        "100% R&D &amp; 5%",
        "a @ b.com",
    ]);
}

#[test]
fn payment_cards() {
    assert_table(&[
        ("Visa 4111111111111111.", "Visa <CARD_1>."),
        ("4111 1111 1111 1111 and 4111-1111-1111-1111", "<CARD_1> and <CARD_1>"),
        ("4111 1111-1111 1111", "<CARD_1>"),
        ("4111.1111.1111.1111", "<CARD_1>"),
        ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "<CARD_1>"),
        ("Amex 3782 822463 10005!", "Amex <CARD_1>!"),
        ("378282246310005,5555555555554444", "<CARD_1>,<CARD_2>"),
        ("2223003122003222 6011111111111117", "<CARD_1> <CARD_2>"),
        ("3530111333300000 30569309025904", "<CARD_1> <CARD_2>"),
        ("4222222222222", "<CARD_1>"),
        ("6200000000000005", "<CARD_1>"),
        ("カード番号4111111111111111です", "カード番号<CARD_1>です"),
        ("4111 1111 1111 1111 12/27 CVV 123", "<CARD_1> 12/27 CVV <SECRET_1>"),
        // Disguised.
        ("４１１１　１１１１　１１１１　１１１１", "<CARD_1>"),
        ("4111\u{200B}1111\u{200B}1111\u{200B}1111", "<CARD_1>"),
        ("4111–1111–1111–1111", "<CARD_1>"),
        ("٤١١١١١١١١١١١١١١١", "<CARD_1>"),
        ("𝟒𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏", "<CARD_1>"),
    ]);
    assert_untouched(&[
        // Luhn fails by one.
        "4111111111111112",
        "4111 1111 1111 1112",
        // No network, or not its length.
        "1111111111111117 0000000000000000",
        "411111111111116 37828224631000",
        // Parts of something longer.
        "a4111111111111111 4111111111111111f",
        "key_4111111111111111",
        "41111111111111111111111111111111",
        "0.4111111111111111",
        "550e8400-e29b-41d4-a716-446655440000",
        "IMEI 490154203237518",
    ]);
}

#[test]
fn international_phones() {
    assert_table(&[
        ("+14155550132", "<PHONE_1>"),
        ("Tel.:+1 (415) 555-0132, thanks", "Tel.:<PHONE_1>, thanks"),
        ("+49 30 1234567 and 0049 30 1234567", "<PHONE_1> and <PHONE_1>"),
        ("+44 (0)20 7946 0958.", "<PHONE_1>."),
        ("+33.1.23.45.67.89", "<PHONE_1>"),
        ("+34 612 345 678 +34612345678", "<PHONE_1> <PHONE_1>"),
        ("+55 11 98765-4321", "<PHONE_1>"),
        ("+91 98765 43210", "<PHONE_1>"),
        ("(+39) 06 6982 1234", "(<PHONE_1>"),
        ("001-415-555-0132", "<PHONE_1>"),
        ("＋４９ ３０ １２３４５６７", "<PHONE_1>"),
        ("+971 50 123 4567", "<PHONE_1>"),
    ]);
    assert_untouched(&[
        "+5 %",
        "C++11 and +1",
        "12+34567890123",
        "+999 12345678",
        "+1.000.000 and +10.000.000",
        "+10,000,000 users",
        "utf8+20240101",
    ]);
}

#[test]
fn national_phones() {
    assert_table(&[
        // North America.
        ("(415) 555-0132", "<PHONE_1>"),
        ("(415)555-0132x123.", "<PHONE_1>."),
        ("415-555-0132 ext. 99 please", "<PHONE_1> please"),
        ("415.555.0132", "<PHONE_1>"),
        ("at 415 555 0132 now", "at <PHONE_1> now"),
        ("1-800-555-0199", "<PHONE_1>"),
        // UK.
        ("020 7946 0958", "<PHONE_1>"),
        ("(01632) 960983", "<PHONE_1>"),
        ("07700 900123 or 07700900123", "<PHONE_1> or <PHONE_1>"),
        // Germany.
        ("030/1234567", "<PHONE_1>"),
        ("(030) 123 45 67", "<PHONE_1>"),
        ("0171-1234567", "<PHONE_1>"),
        ("01711234567", "<PHONE_1>"),
        // France, Spain, Italy.
        ("06 12 34 56 78", "<PHONE_1>"),
        ("06.12.34.56.78", "<PHONE_1>"),
        ("0612345678", "<PHONE_1>"),
        ("612 345 678", "<PHONE_1>"),
        ("612 34 56 78", "<PHONE_1>"),
        ("347 1234567", "<PHONE_1>"),
        ("06 6982 1234", "<PHONE_1>"),
        // India, Brazil, others.
        ("98765 43210", "<PHONE_1>"),
        ("022-2345 6789", "<PHONE_1>"),
        ("(11) 98765-4321", "<PHONE_1>"),
        ("11 98765-4321", "<PHONE_1>"),
        ("090-1234-5678", "<PHONE_1>"),
        ("138 0013 8000", "<PHONE_1>"),
        ("8 (495) 123-45-67", "<PHONE_1>"),
        ("0412 345 678", "<PHONE_1>"),
        // Several.
        ("415-555-0132 / 415-555-0133", "<PHONE_1> / <PHONE_2>"),
        ("030 1234567 / 0171 1234567", "<PHONE_1> / <PHONE_2>"),
        ("24.11.2026 030 1234567", "24.11.2026 <PHONE_1>"),
    ]);
}

#[test]
fn phones_by_context() {
    assert_table(&[
        ("call me at 4155550132", "call me at <PHONE_1>"),
        ("My number is 4155550132.", "My number is <PHONE_1>."),
        ("Call 415-555-0132 or 4155550199", "Call <PHONE_1> or <PHONE_2>"),
        ("Tel. Nr. 7654321", "Tel. Nr. <PHONE_1>"),
        ("Fax: 785 8949", "Fax: <PHONE_1>"),
        ("73 448 266 office", "<PHONE_1> office"),
        ("Rufen Sie an: Handy 1601234567", "Rufen Sie an: Handy <PHONE_1>"),
        ("mi móvil: 612345678", "mi móvil: <PHONE_1>"),
        ("电话：13800138000", "电话：<PHONE_1>"),
        ("मोबाइल ९८७६५४३२१०", "मोबाइल <PHONE_1>"),
    ]);
    assert_untouched(&[
        "4155550132",
        "13800138000",
        "call me at 10:30 on 24.11.2026",
        "call 911",
        "phone about order 4155550132",
        "order #0612345678",
        "Bestellung 030 1234567",
    ]);
}

#[test]
fn numbers_that_are_not_phones() {
    assert_untouched(&[
        "Order 12-345-678-9012 and 2024-123-4567",
        "version 10.0.19041.1234, v1.2.3-45",
        "2026-11-24 10:30:00, 24.11.2026, 11/24/2026, 05/06/2026 - 07/06/2026",
        "2026-11-24T10:30:00.123456Z",
        "20261124-103000",
        "$1,234,567.89 1.234.567,89 € 1 234 567",
        "612 345 678 € and € 612 345 678 and 612 345 678,50",
        "750 000 000 people",
        "version 192.168.100.200, 255.255.255.255",
        "978-3-16-148410-0",
        "1732440000 1732440000000",
        "12345678901234567890",
        "02139-4307",
        "in (2024) 123456 and (1998) 123 4567",
        "40.7128 74.0060, 3.14159 26535",
        "1 2 3 4 5 6 7 8 9 10 11 12",
        "555-1234",
        "A-415-555-0132",
        "deadbeef0612345678",
        "1234 5678 9012",
        "DE89 3704 0044 0532 0130 01",
        "order 123-45-6789",
        "70%, 80%, 90%, 100%, 2000%",
    ]);
}

#[test]
fn mixed_entities_are_numbered_each_on_its_own() {
    assert_table(&[(
        "anna@x.de, 4111111111111111, +14155550132, bob@x.de, (415) 555-0132",
        "<EMAIL_1>, <CARD_1>, <PHONE_1>, <EMAIL_2>, <PHONE_2>",
    )]);
    let counts = Engine::shipped().redact("a@x.de a@x.de b@x.de 4111111111111111", None).counts;
    assert_eq!(counts.iter().collect::<Vec<_>>(), [("CARD", 1), ("EMAIL", 3)]);
}

#[test]
fn the_author_is_found_in_texts() {
    for (text, user, expected) in [
        ("I am anna_42, ANNA_42's text", "anna_42", "I am <USER>, <USER>'s text"),
        ("anna_42x xanna_42 anna_421", "anna_42", "anna_42x xanna_42 anna_421"),
        ("/users/anna_42/me?anna_42", "anna_42", "/users/<USER>/me?<USER>"),
        ("mail anna@x.de or bob@x.de", "anna@x.de", "mail <EMAIL_1> or <EMAIL_2>"),
        ("mail qanx@x.de, qanx", "qanx", "mail <EMAIL_1>, <USER>"),
        ("mail anna@x.de, anna", "anna", "mail <EMAIL_1>, <PERSON_1>"),
        ("mail anna%40x.de", "anna@x.de", "mail <EMAIL_1>"),
        ("I am bob", "bob", "I am bob"),
        (" Rxqz ", "rxqz", " <USER> "),
        // A name is a name.
        (" Bob ", "bob", " <PERSON_1> "),
        ("我是张伟华。", "张伟华", "我是张伟华。"),
        ("我是张伟华华。", "张伟华华", "我是<USER>。"),
        ("call 4155550132", "4155550132", "call <PHONE_1>"),
        ("no one", "", "no one"),
        ("aaaaaaaaaaab", "aaaaab", "aaaaaaaaaaab"),
        ("é-élan1", "élan1", "é-<USER>"),
    ] {
        // Three Han characters are nine bytes.
        let expected = if user == "张伟华" { "我是<USER>。" } else { expected };
        assert_eq!(of_author(text, user), expected, "{user} in {text}");
    }
}

#[test]
fn evidence_is_redacted_with_shorter_ids() {
    for (text, user, expected) in [
        ("dialog shown to bob, de-DE", "bob", "dialog shown to <USER>, de-DE"),
        ("settings page of al", "al", "settings page of al"),
        ("al", "al", "<USER>"),
        ("support, tel +14155550132", "u-1", "support, tel <PHONE_1>"),
    ] {
        let redacted = Engine::shipped().redact(text, Some(&Author::of_evidence(user)));
        assert_eq!(redacted.text, expected);
    }
}

#[test]
fn clean_text_is_not_copied() {
    let text = "Nothing to see here, 123456, 100 % – naïve 日本語。".to_owned();
    let at = text.as_ptr();
    let Outcome { text: redacted, counts, .. } = Engine::shipped().redact(&text, None);
    assert_eq!(redacted.as_ptr(), at);
    assert!(counts.is_empty());
}

/// A search that is quadratic in any of these would not end within a test's patience: linear, a
/// quarter of a million bytes take a fraction of a second; squared they take hours.
#[test]
fn hostile_texts_take_linear_time() {
    const BYTES: usize = 1 << 18;
    for unit in [
        "@",
        "a@",
        "a",
        ".",
        "a.",
        "\"@",
        "a@b.",
        "a@b.co ",
        "1",
        "1 ",
        "12-",
        "0",
        "0 12 ",
        "+1",
        "(",
        "((1)",
        "4111 1111 1111 ",
        "4111111111111111 ",
        "415-555-0132 ",
        "call 4155550132 or ",
        "%40",
        "&",
        "\u{200B}",
        "＠",
        "１",
        "<PHONE_1>",
        "x1@[",
        "Anna ",
        "Anna-",
        "A. ",
        "Mr. ",
        "my name is ",
        "name ",
        "anna ",
        "Rue ",
        "van ",
        "1 ",
        "12 Oak ",
        "Oak Street ",
        "Oak Street 12, ",
        "Apt 1 ",
        "and 1 Oak St ",
        "10115 Berlin\n",
        "SW1A 1AA ",
        "Inc ",
        "X & ",
        "I live in ",
        "office is at ",
        "Qx, ",
        "Hi ",
        "Best,\n",
        "Straße ",
    ] {
        let text = unit.repeat(BYTES / unit.len());
        assert!(redact_len(&text, "anna_1111111111111111111111111112") > 0);
    }
}

fn redact_len(text: &str, user: &str) -> usize {
    of_author(text, user).len()
}

/// Pieces that scanners care about, so that random texts reach their corners.
fn tricky_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => "[0-9]{1,5}",
        3 => "[-. /()+,:@]{1,2}",
        2 => "[a-z]{1,4}",
        1 => prop::sample::select(vec![
            "@", "@x.de", "a@b.com", "call ", "order ", "tel", "<PHONE_1>", "<", ">", "\"", "[", "]", "\n",
            "4111111111111111", "415-555-0132", "0171 1234567", "+49", "00", "％40", "%40", "。", "＠", "４",
            "\u{200B}", "é", "は", "र्", "x123", " ext 1", "€", "%", "#", "_", "xn--a",
            "Anna", " Schmitz", "Mr. ", "Hi ", "my name is ", " Street", " 12 ", "Apt. ", ", ", " and ", " van ", "Berlin", "10115 ",
            "Inc.", "live in ", "P.O. Box ", "Will", "<PERSON_1>", "SW1A 1AA", "straße", " TX ", "Rue ", "anna", "de ", ". ",
        ]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn never_panics_and_twice_is_once(text in tricky_text()) {
        let once = redact(&text);
        prop_assert_eq!(redact(&once), once);
    }

    #[test]
    fn any_string_with_any_author(text in any::<String>(), user in any::<String>()) {
        of_author(&text, &user);
        let _ = Engine::shipped().redact(&text, Some(&Author::of_evidence(&user)));
    }

    #[test]
    fn an_address_does_not_get_through(
        before in "[ -~é日\u{200B}]{0,12}",
        local in "[a-z][a-z0-9._+-]{0,10}[a-z0-9]",
        domain in "[a-z]{2,8}\\.(com|de|co\\.uk)",
        after in "([ ,;:!?)>。\n].{0,12})?",
    ) {
        let address = format!("{local}@{domain}");
        let redacted = redact(&format!("{before}{address}{after}"));
        prop_assert!(!redacted.contains(&address), "{}", redacted);
        let has_placeholder = redacted.contains("<EMAIL_");
        prop_assert!(has_placeholder, "{}", redacted);
    }

    #[test]
    fn words_are_left_alone(text in "(([Qq][bcdfghjkmnpqrtvwxzčžß]{3,8}|QX[BCDFGJK]{2,6}|the|is)[ ,.!?\n]{1,2}){0,30}") {
        prop_assert_eq!(redact(&text), text);
    }
}

/// Where what was found stood, after as many searches as it took.
#[test]
fn findings_are_of_the_original() {
    let text = "Card 4111 1111 1111 1111 +49 30 901820, a@b.de";
    let (redacted, findings) = Engine::shipped().inspect(text, None);
    assert_eq!(redacted, "Card <CARD_1> <PHONE_1>, <EMAIL_1>");
    let found: Vec<_> =
        findings.iter().map(|it| (&text[it.start..it.end], it.placeholder.as_str())).collect();
    assert_eq!(
        found,
        [("4111 1111 1111 1111", "<CARD_1>"), ("+49 30 901820", "<PHONE_1>"), ("a@b.de", "<EMAIL_1>")]
    );
}

#[test]
fn what_later_searches_find_is_where_it_stood() {
    let finding = |start, end, placeholder: &str| Finding {
        start,
        end,
        entity: Entity::EMAIL,
        placeholder: placeholder.to_owned(),
    };
    // "0123456789abcdef" became "01<E>6789<LONGER>def".
    let first = || vec![finding(2, 6, "<E>"), finding(10, 13, "<LONGER>")];
    for (found, expected) in [
        ((0, 1), vec![finding(0, 1, "x"), finding(2, 6, "<E>"), finding(10, 13, "<LONGER>")]),
        ((6, 8), vec![finding(2, 6, "<E>"), finding(7, 9, "x"), finding(10, 13, "<LONGER>")]),
        ((18, 19), vec![finding(2, 6, "<E>"), finding(10, 13, "<LONGER>"), finding(14, 15, "x")]),
        ((4, 7), vec![finding(2, 8, "x"), finding(10, 13, "<LONGER>")]),
        ((0, 19), vec![finding(0, 15, "x")]),
    ] {
        assert_eq!(with_more(first(), vec![finding(found.0, found.1, "x")]), expected, "{found:?}");
    }
}

#[test]
fn a_hash_is_the_same_in_all_texts_of_a_tenant() {
    let engine = |tenant: &str, key: u8| {
        let actions = vec![(Entity::EMAIL, Action::Hash), (Entity::CARD, Action::Drop)];
        Engine::shipped().with_actions(Actions::new(actions, Some(Hasher::new(&[key; 32], tenant))))
    };
    let redact = |tenant: &str, key, text: &str| engine(tenant, key).redact(text, None).text.into_owned();
    let hashed = redact("acme", 1, "A@Example.com +49 30 901820");
    let (hash, rest) = hashed.split_once('>').unwrap();
    let letters = hash.strip_prefix("<EMAIL:").unwrap();
    assert_eq!((letters.len(), rest), (16, " <PHONE_1>"));
    assert!(letters.bytes().all(|b| (b'a'..=b'p').contains(&b)), "{letters}");
    assert_eq!(redact("acme", 1, "x a@example.com"), format!("x {hash}>"));
    assert_eq!(redact("acme", 1, &hashed), hashed);
    for (tenant, key) in [("other", 1), ("acme", 2)] {
        assert!(!redact(tenant, key, "a@example.com").contains(letters));
    }
    // Without a key nothing tells one address from another in two texts.
    let keyless = Engine::shipped().with_actions(Actions::new(vec![(Entity::EMAIL, Action::Hash)], None));
    assert_eq!(keyless.redact("a@example.com", None).text, "<EMAIL_1>");
    let refused = |text| engine("acme", 1).redact(text, None).refused;
    assert_eq!(refused("4111 1111 1111 1111"), Some(Entity::CARD));
    assert_eq!(refused("a@example.com"), None);
}
