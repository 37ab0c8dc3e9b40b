use super::*;

const SMOKE: &str = include_str!("../../scenarios/smoke.toml");
const THROUGHPUT: &str = include_str!("../../scenarios/throughput.toml");
const OVERLOAD: &str = include_str!("../../scenarios/overload.toml");

#[test]
fn the_shipped_scenarios_can_be_used() {
    let smoke = Scenario::parse(SMOKE).unwrap();
    assert_eq!(smoke.rate, Rate::Events(2_000));
    assert_eq!(smoke.events(), 10_000);
    assert_eq!(smoke.text[2].to, ByteSize(4 << 10));
    let throughput = Scenario::parse(THROUGHPUT).unwrap();
    assert!(throughput.events() > smoke.events());
    let overload = Scenario::parse(OVERLOAD).unwrap();
    assert!(overload.limits.is_some() && overload.calm.is_some() && overload.tenant.len() > 1);
    for (from, to) in [("share = 0.9", "share = 0.8"), ("duration = \"20s\"", "duration = \"0s\"")] {
        let changed = OVERLOAD.replacen(from, to, 1);
        assert_ne!(changed, OVERLOAD, "{from} is not there");
        assert!(Scenario::parse(&changed).is_err(), "{to} was taken");
    }
}

#[test]
fn an_unknown_key_is_an_error() {
    for (extra, whole) in [
        ("colour = 1\n", format!("colour = 1\n{SMOKE}")),
        ("[consent]\nmaybe = 0.1", SMOKE.replace("[consent]", "[consent]\nmaybe = 0.1")),
    ] {
        let error = Scenario::parse(&whole).unwrap_err();
        let ScenarioError::Syntax(why) = error else { panic!("{extra}: {error}") };
        assert!(why.to_string().contains("unknown field"), "{extra}: {why}");
    }
}

#[test]
fn a_value_that_makes_no_sense_is_an_error() {
    for (from, to) in [
        ("rate = \"2000 events/s\"", "rate = 2000"),
        ("rate = \"2000 events/s\"", "rate = \"0 events/s\""),
        ("rate = \"2000 events/s\"", "rate = \"2000/s\""),
        ("rate = \"2000 events/s\"", "rate = \"4000000000 events/s\""),
        ("duration = \"5s\"", "duration = \"0s\""),
        ("duration = \"5s\"", "duration = \"2h\""),
        ("events_per_request = 100", "events_per_request = 0"),
        ("events_per_request = 100", "events_per_request = 10001"),
        ("people = 200", "people = 0"),
        ("compression = \"none\"", "compression = \"lzma\""),
        ("granted = 0.6", "granted = 1.5"),
        ("granted = 0.6", "granted = 0.9"),
        ("affiliates = 0.2", "affiliates = 0.7"),
        ("share = 0.75", "share = 0.5"),
        ("to = \"240B\"", "to = \"10B\""),
        ("to = \"4KiB\"", "to = \"1MiB\""),
    ] {
        let changed = SMOKE.replacen(from, to, 1);
        assert_ne!(changed, SMOKE, "{from} is not there");
        assert!(Scenario::parse(&changed).is_err(), "{to} was taken");
    }
}

#[test]
fn rates_print_as_they_are_written() {
    for text in ["2000 events/s", "20 requests/s"] {
        assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
    }
}
