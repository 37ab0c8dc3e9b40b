use proptest::prelude::*;

use super::*;
use crate::consent::Policy;

const HEAD: &str = "version = \"t\"\neffective_from = \"2026-01-01\"\n";

fn policy(default: &str, rest: &str) -> Policy {
    Policy::parse(&text(default, rest)).unwrap()
}

fn text(default: &str, rest: &str) -> String {
    format!("{HEAD}[default]\nfirst_party = \"{default}\"\naffiliates = \"{default}\"\n{rest}")
}

fn rule(name: &str, first_party: &str) -> String {
    format!("[jurisdictions.{name}]\nfirst_party = \"{first_party}\"\n")
}

fn at(code: &str) -> Jurisdiction {
    Jurisdiction::parse(code).unwrap()
}

fn first(policy: &Policy, code: &str) -> (SilenceMeans, String) {
    let rule = policy.place_rule(at(code), ConsentScope::FirstParty);
    assert_eq!(rule.means, policy.silence(at(code), ConsentScope::FirstParty));
    (rule.means, rule.from.to_string())
}

use SilenceMeans::{OptIn, OptOut};

const UNKNOWN: &str = "the strictest of all rules (the place is unknown)";

#[test]
fn the_narrowest_rule_decides_and_is_named() {
    let policy = policy(
        "opt_in",
        &[rule("EEA", "opt_in"), rule("DE", "opt_out"), rule("DE-BY", "opt_in"), rule("US", "opt_out")]
            .concat(),
    );
    for (place, means, from) in [
        ("DE-BY", OptIn, "jurisdictions.DE-BY"),
        ("DE-BE", OptOut, "jurisdictions.DE (country of DE-BE)"),
        ("DE", OptOut, "jurisdictions.DE"),
        ("FR", OptIn, "jurisdictions.EEA (group of FR)"),
        ("FR-ARA", OptIn, "jurisdictions.EEA (group of FR)"),
        ("US-TX", OptOut, "jurisdictions.US (country of US-TX)"),
        ("JP", OptIn, "default"),
        ("JP-13", OptIn, "default"),
    ] {
        assert_eq!(first(&policy, place), (means, from.to_owned()), "{place}");
    }
}

#[test]
fn of_several_groups_the_strictest_decides_scope_by_scope() {
    let policy = policy(
        "opt_out",
        "[groups]\nNORTH = [\"DK\", \"NO\", \"CA\"]\n\
         [jurisdictions.EEA]\nfirst_party = \"opt_in\"\n\
         [jurisdictions.EU]\nfirst_party = \"opt_out\"\naffiliates = \"opt_out\"\n\
         [jurisdictions.NORTH]\nfirst_party = \"opt_out\"\naffiliates = \"opt_in\"\n",
    );
    for (place, first_party, affiliates) in [
        ("DK", "jurisdictions.EEA (group of DK)", "jurisdictions.NORTH (group of DK)"),
        ("DE", "jurisdictions.EEA (group of DE)", "jurisdictions.EU (group of DE)"),
        ("CA", "jurisdictions.NORTH (group of CA)", "jurisdictions.NORTH (group of CA)"),
        // What no group says is as in the default.
        ("IS", "jurisdictions.EEA (group of IS)", "default"),
    ] {
        let from = ConsentScope::ALL.map(|scope| policy.place_rule(at(place), scope).from.to_string());
        assert_eq!(from, [first_party, affiliates], "{place}");
    }
    assert_eq!(policy.silence(at("DK"), ConsentScope::FirstParty), OptIn);
    assert_eq!(policy.silence(at("DK"), ConsentScope::Affiliates), OptIn);
    assert_eq!(policy.silence(at("CA"), ConsentScope::FirstParty), OptOut);
}

#[test]
fn what_a_rule_leaves_out_is_as_in_the_next_wider_one() {
    let policy = policy(
        "opt_in",
        "[jurisdictions.EU]\naffiliates = \"opt_out\"\n[jurisdictions.DE]\nfirst_party = \"opt_out\"\n\
         [jurisdictions.DE-BY]\nfirst_party = \"opt_in\"\n",
    );
    let affiliates = |code| policy.place_rule(at(code), ConsentScope::Affiliates).from.to_string();
    assert_eq!(affiliates("DE-BY"), "jurisdictions.EU (group of DE)");
    assert_eq!(affiliates("DE"), "jurisdictions.EU (group of DE)");
    assert_eq!(first(&policy, "FR"), (OptIn, "default".to_owned()));
}

#[test]
fn an_unknown_place_gets_the_strictest_rule() {
    let lax = policy("opt_out", "");
    let strict = policy("opt_out", &rule("DE", "opt_in"));
    for code in ["", "UK", "UK-ENG", "ZZ", "XK", "EU", "EL", "XX-1"] {
        assert_eq!(first(&lax, code), (OptOut, UNKNOWN.to_owned()), "{code}");
        assert_eq!(first(&strict, code), (OptIn, UNKNOWN.to_owned()), "{code}");
    }
    assert_eq!(first(&strict, "GB"), (OptOut, "default".to_owned()));
    // The rule of a group of which no country is left counts too.
    let shadowed = policy(
        "opt_out",
        &format!("[groups]\nONE = [\"DE\"]\n{}{}", rule("ONE", "opt_in"), rule("DE", "opt_out")),
    );
    assert_eq!(first(&shadowed, ""), (OptIn, UNKNOWN.to_owned()));
}

#[test]
fn a_file_can_make_free_codes_known() {
    let policy = policy(
        "opt_out",
        &format!(
            "[groups]\nBALKANS = [\"AL\", \"XK\"]\n{}{}{}{}",
            rule("BALKANS", "opt_out"),
            rule("AA", "opt_out"),
            rule("XX-1", "opt_out"),
            rule("DE", "opt_in")
        ),
    );
    assert_eq!(first(&policy, "XK").1, "jurisdictions.BALKANS (group of XK)");
    assert_eq!(first(&policy, "AA").1, "jurisdictions.AA");
    assert_eq!(first(&policy, "XX-1").1, "jurisdictions.XX-1");
    let affiliates = |code| policy.place_rule(at(code), ConsentScope::Affiliates).from;
    assert_eq!(affiliates("XK"), RuleOrigin::Default);
    assert_eq!(affiliates("XX-1"), RuleOrigin::Default);
    // Its neighbours are not.
    assert_eq!(first(&policy, "XX").1, UNKNOWN);
    assert_eq!(first(&policy, "XX-2").1, UNKNOWN);
}

#[test]
fn the_union_can_be_a_place() {
    let policy = policy("opt_out", &[rule("EU", "opt_out"), rule("EEA", "opt_in")].concat());
    assert_eq!(first(&policy, "EU"), (OptOut, "jurisdictions.EU".to_owned()));
    // What the group leaves out is unknown for it.
    assert_eq!(policy.place_rule(at("EU"), ConsentScope::Affiliates).from, RuleOrigin::Strictest);
    assert_eq!(first(&policy, "DE"), (OptIn, "jurisdictions.EEA (group of DE)".to_owned()));
}

#[test]
fn a_group_may_hold_a_built_in_one() {
    let policy =
        policy("opt_out", &format!("[groups]\nGDPR = [\"EEA\", \"GB\", \"DE\"]\n{}", rule("GDPR", "opt_in")));
    for code in ["DE", "IS", "GB"] {
        assert_eq!(first(&policy, code), (OptIn, format!("jurisdictions.GDPR (group of {code})")));
    }
    assert_eq!(first(&policy, "CH"), (OptOut, "default".to_owned()));
}

#[test]
fn a_name_that_cannot_be_meant_is_refused_with_its_key() {
    let used = rule("G", "opt_in");
    let used = &used;
    for (wrong, key, said) in [
        (rule("UK", "opt_in"), "jurisdictions.UK", "GB"),
        (rule("UK-ENG", "opt_in"), "jurisdictions.UK-ENG", "GB"),
        (rule("EL", "opt_in"), "jurisdictions.EL", "GR"),
        (rule("ZY", "opt_in"), "jurisdictions.ZY", "ISO 3166-1"),
        (rule("de", "opt_in"), "jurisdictions.de", "DE"),
        (rule("Germany", "opt_in"), "jurisdictions.Germany", "nor a group"),
        (rule("EUROPE", "opt_in"), "jurisdictions.EUROPE", "nor a group"),
        ("[jurisdictions.DE]\n".to_owned(), "jurisdictions.DE", "says nothing"),
        ("[jurisdictions.DE]\nfirst_party = \"maybe\"\n".to_owned(), "jurisdictions.DE.first_party", "maybe"),
        (format!("[groups]\nEU = [\"DE\"]\n{}", rule("EU", "opt_in")), "groups.EU", "built in"),
        ("[groups]\nG = [\"DE\"]\n".to_owned(), "groups.G", "no rule"),
        (format!("[groups]\nG = []\n{used}"), "groups.G", "empty"),
        (format!("[groups]\nG = [\"DE\", \"UK\"]\n{used}"), "groups.G[1]", "GB"),
        (format!("[groups]\nG = [\"DE\", \"FR\", \"DE\"]\n{used}"), "groups.G[2]", "twice"),
        (format!("[groups]\nG = [\"US-CA\"]\n{used}"), "groups.G[0]", "countries"),
        (format!("[groups]\nG = [\"\"]\n{used}"), "groups.G[0]", "neither"),
        (
            format!("[groups]\nH = [\"DE\"]\nG = [\"H\"]\n{used}{}", rule("H", "opt_in")),
            "groups.G[0]",
            "neither",
        ),
        (format!("[groups]\nGG = [\"DE\"]\n{}", rule("GG", "opt_in")), "groups.GG", "longer"),
        (format!("[groups]\n\"a b\" = [\"DE\"]\n{used}"), "groups.a b", "letters"),
        (format!("[groups]\nG = \"DE\"\n{used}"), "groups.G", "sequence"),
    ] {
        match Policy::parse(&text("opt_in", &wrong)) {
            Err(PolicyError::Key { key: named, message }) => {
                assert_eq!(named, key, "{message}");
                assert!(message.contains(said), "{key}: {message}");
            }
            other => panic!("{wrong}: {other:?}"),
        }
    }
}

const PLACES: [&str; 9] = ["", "DE", "DE-BY", "FR", "US", "US-CA", "XK", "UK", "EU"];
const NAMES: [&str; 7] = ["EU", "EEA", "MINE", "DE", "DE-BY", "US", "XK"];

fn means() -> impl Strategy<Value = Option<SilenceMeans>> {
    prop_oneof![Just(None), Just(Some(OptIn)), Just(Some(OptOut))]
}

fn partial() -> impl Strategy<Value = PartialRule> {
    (means(), means()).prop_map(|(first_party, affiliates)| PartialRule { first_party, affiliates })
}

fn rules() -> impl Strategy<Value = BTreeMap<String, PartialRule>> {
    proptest::collection::btree_map(
        proptest::sample::select(&NAMES[..]).prop_map(str::to_owned),
        partial(),
        0..7,
    )
    .prop_map(|mut rules| {
        rules.retain(|_, rule| rule.first_party.is_some() || rule.affiliates.is_some());
        rules
    })
}

fn places(default: SilenceMeans, rules: &BTreeMap<String, PartialRule>) -> Places {
    let mut groups = BTreeMap::new();
    if rules.contains_key("MINE") {
        groups.insert("MINE".to_owned(), ["DE", "US", "XK"].map(str::to_owned).to_vec());
    }
    Places::new(Rule { first_party: default, affiliates: OptIn }, &groups, rules).unwrap()
}

proptest! {
    /// Where nobody knows the place, nothing is laxer than anywhere else.
    #[test]
    fn unknown_is_the_strictest(rules in rules(), lax in any::<bool>()) {
        let places = places(if lax { OptOut } else { OptIn }, &rules);
        for scope in ConsentScope::ALL {
            let unknown = places.silence(Jurisdiction::UNKNOWN, scope);
            for code in PLACES {
                prop_assert!(unknown <= places.silence(at(code), scope), "{}", code);
            }
            for rule in rules.values() {
                prop_assert!(rule.of(scope).is_none_or(|means| unknown <= means));
            }
        }
    }

    /// A rule that says no for a country or a part of one widens nothing anywhere, unless the name
    /// was unknown before.
    #[test]
    fn a_no_never_widens(rules in rules(), lax in any::<bool>(), name in proptest::sample::select(&["EU", "EEA", "DE", "DE-BY", "US"][..])) {
        let default = if lax { OptOut } else { OptIn };
        let before = places(default, &rules);
        let mut stricter = rules.clone();
        stricter.insert(name.to_owned(), PartialRule { first_party: Some(OptIn), affiliates: Some(OptIn) });
        let after = places(default, &stricter);
        for scope in ConsentScope::ALL {
            for code in PLACES {
                prop_assert!(after.silence(at(code), scope) <= before.silence(at(code), scope), "{}", code);
            }
        }
    }
}
