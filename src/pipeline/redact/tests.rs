use super::*;

const STAFF: &str = r#"
version = "1"
[[rule]]
name = "staff"
entity = "STAFF_ID"
pattern = 'ACME-[0-9]{5}'
hits = ["ask »ACME-12345«"]
misses = ["ask ACME-1234"]
"#;

fn rules(files: &[&str], actions: &[(&str, Action)]) -> TenantRules {
    TenantRules {
        files: files.iter().map(|text| ("staff.toml".to_owned(), (*text).to_owned())).collect(),
        actions: actions.iter().map(|&(entity, action)| (entity.to_owned(), action)).collect(),
        hasher: None,
    }
}

fn error(rules: &TenantRules) -> String {
    Redactor::with_tenants([("acme", rules)]).unwrap_err().to_string()
}

#[test]
fn a_tenants_rules_are_its_own_and_have_their_own_version() {
    let more = rules(&[STAFF], &[("STAFF_ID", Action::Drop)]);
    let redactor = Redactor::with_tenants([("acme", &more)]).unwrap();
    let found = |tenant: &str| {
        redactor.engine_of(&Tenant::new(tenant)).redact("ACME-12345 a@b.de", None).text.into_owned()
    };
    assert_eq!(found("acme"), "<STAFF_ID_1> <EMAIL_1>");
    assert_eq!(found("other"), "ACME-12345 <EMAIL_1>");

    let records = redactor.records();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].version, RULES_VERSION);
    assert!(records[1].version.starts_with(&format!("{RULES_VERSION}+")), "{}", records[1].version);
    assert!(records[1].body.contains("# STAFF_ID: drop") && records[1].body.contains("name = \"staff\""));

    // Whatever changes what is found or what becomes of it changes the version.
    let versions = [
        rules(&[STAFF], &[("STAFF_ID", Action::Drop)]),
        rules(&[STAFF], &[("STAFF_ID", Action::Hash)]),
        rules(&[STAFF], &[]),
        rules(&[], &[("EMAIL", Action::Hash)]),
        rules(&[&STAFF.replace("{5}", "{5,5}")], &[]),
    ]
    .map(|more| Redactor::with_tenants([("acme", &more)]).unwrap().records().swap_remove(1).version);
    assert_eq!(versions[0], records[1].version);
    let distinct: std::collections::HashSet<_> = versions.iter().collect();
    assert_eq!(distinct.len(), versions.len());
}

#[test]
fn wrong_rules_of_a_tenant_are_refused() {
    for (more, expected) in [
        (rules(&["version = 1"], &[]), "of tenant acme: staff.toml: the rules cannot be read"),
        (rules(&[&STAFF.replace("{5}", "{4}")], &[]), "rule `staff`: `ask »ACME-12345«`: found []"),
        (rules(&[&STAFF.replace("{5}", "{4,5}")], &[]), "rule `staff`: `ask ACME-1234`: found `ACME-1234`"),
        (rules(&[STAFF, STAFF], &[]), "rule `staff`: another rule has this name"),
        (rules(&[&STAFF.replace("STAFF_ID", "staff")], &[]), "entity `staff`: use upper-case letters"),
        (rules(&[STAFF], &[("STAFF", Action::Drop)]), "there is no entity `STAFF`"),
        (rules(&[], &[("STAFF_ID", Action::Drop)]), "there is no entity `STAFF_ID`"),
    ] {
        assert!(error(&more).contains(expected), "{}", error(&more));
    }
}
