use super::{file::RulesFile, *};

fn entry(toml: &str) -> RuleEntry {
    let text =
        format!("version = \"1\"\n[[rule]]\nname = \"x\"\nentity = \"X\"\nhits = []\nmisses = []\n{toml}");
    RulesFile::parse(&text).unwrap().rules.remove(0)
}

fn found(rule: &str, text: &str) -> Vec<String> {
    let rules = RuleSet::compile(&[entry(rule)]).unwrap();
    let (mut tokens, mut spans) = (Vec::new(), Vec::new());
    super::super::lexer::tokenise(text, &mut tokens);
    rules.find(text, &tokens, &mut spans);
    spans.into_iter().map(|span| text[span.start..span.end].to_owned()).collect()
}

#[test]
fn codes_are_found_where_a_word_begins_and_ends() {
    let rule = r"pattern = '[0-9]{3}-[0-9]{2}-[0-9]{4}'";
    assert_eq!(found(rule, "a 123-45-6789, (123-45-6789)."), ["123-45-6789", "123-45-6789"]);
    for miss in
        ["1123-45-6789", "123-45-67890", "123-45-6789-1", "1-123-45-6789", "x_123-45-6789", "123-45-6789_"]
    {
        assert!(found(rule, miss).is_empty(), "{miss}");
    }
    assert_eq!(found(r"pattern = '[A-Z]{2} ?[0-9]{2}'", "is AB 12 or AB12 or ABC 12"), ["AB 12", "AB12"]);
}

#[test]
fn fixed_beginnings_are_found_in_any_case_that_the_pattern_has() {
    assert_eq!(found(r"pattern = 'ghp_[A-Za-z0-9]{4}'", "x=ghp_ab12 GHP_ab12"), ["ghp_ab12"]);
    let rule = r"
        lead = '(?i:password|пароль|pw)\s*[:=]\s*'
        pattern = '\S{3,20}'";
    assert_eq!(found(rule, "PassWord: hunter2 пароль: крот99 pw=abc"), ["hunter2", "крот99", "abc"]);
}

#[test]
fn what_must_stand_before_is_taken_along() {
    let rule = r"
        before = '@@'
        pattern = '[a-z]{2}[0-9]{2}'";
    assert_eq!(found(rule, "a @@ab12 @ab12 ab12"), ["@@ab12"]);
}

#[test]
fn what_is_near_counts() {
    let rule = r"
        pattern = '[0-9]{9}'
        context = ['passport', 'reisepass*']
        reach_after = 20
        not_after = ['order']";
    assert_eq!(found(rule, "Passport no. 123456789"), ["123456789"]);
    assert_eq!(found(rule, "Reisepassnummer 123456789"), ["123456789"]);
    assert_eq!(found(rule, "123456789 is my passport"), ["123456789"]);
    for miss in ["passports 123456789", "123456789", "passport and order 123456789"] {
        assert!(found(rule, miss).is_empty(), "{miss}");
    }
}

#[test]
fn tokens_of_any_length_are_taken_whole() {
    let rule = r"
        pattern = 'eyJ[A-Za-z0-9_-]{10,40}'
        extend = 'A-Za-z0-9_.-'";
    let long = format!("eyJ{}", "a1".repeat(3_000));
    assert_eq!(found(rule, &format!("x {long} y")), [long.as_str()]);
}

/// Each word of a long run could begin a match that goes on to its end.
#[test]
fn beginnings_within_a_long_run_take_linear_time() {
    let rule = r"
        pattern = 'eyJ[a-z]{4}'
        extend = 'A-Za-z0-9.'";
    let text = "eyJabcd.".repeat(100_000);
    assert_eq!(found(rule, &format!("{text}x")).concat().len(), text.len() + 1);
    let engine = super::super::Engine::shipped();
    for piece in ["eyJabcdefgh.abcd.", "password=abc1.", "token=required.", "Bearer:abcdefghijklmnopq1/"] {
        let _ = engine.redact(&piece.repeat(20_000), None);
    }
}

#[test]
fn a_wrong_rule_is_refused_with_its_name() {
    for (rule, expected) in [
        ("", "give either"),
        ("pattern = '('", "unclosed group"),
        ("pattern = '[0-9]*'", "empty text"),
        ("pattern = '\\pL+'", "Unicode"),
        ("recogniser = 'magic'", "there is no recogniser `magic`; there are: email"),
        ("pattern = '1'\nvalidator = 'magic'", "there is no validator `magic`"),
        ("pattern = '1'\nextend = 'é'", "ASCII"),
        ("pattern = '1'\ncontext = ['']", "lower case"),
        ("pattern = '1'\ncontext = ['Word']", "lower case"),
        (
            "pattern = '[a-z]{500}[a-z]{500}[0-9]{500}[a-z0-9]{900}[a-z0-9]{900}([a-z]{900}){900}'",
            "too large",
        ),
    ] {
        let error = RuleSet::compile(&[entry(rule)]).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "{rule}: {error}");
    }
    let two = [entry("pattern = '1'"), entry("pattern = '2'")];
    assert!(matches!(RuleSet::compile(&two), Err(RulesError::SameName(_))));
}

/// Every shipped rule finds its examples, and nothing in its near misses.
#[test]
fn shipped_rules_do_as_their_examples_say() {
    let engine = super::super::Engine::shipped();
    let mut wrong = Vec::new();
    for (file, text) in super::super::SHIPPED_RULES {
        let rules = RulesFile::parse(text).unwrap();
        assert_eq!(rules.version, super::super::RULES_VERSION, "{file}");
        for rule in rules.rules {
            wrong.extend(engine.check(&rule).into_iter().map(|error| format!("{file}: {error}")));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
