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
}

#[test]
fn every_scenario_of_the_folder_can_be_used_under_its_name() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let scenario = Scenario::read(&path).unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
        assert_eq!(path.file_stem().unwrap().to_str(), Some(scenario.name.as_str()));
        // What the collector is given is its own configuration, and it would refuse anything else.
        let config = toml::to_string(&scenario.collector).unwrap();
        let config: assent::config::Config = toml::from_str(&config).unwrap();
        assert!(config.ingress.max_connections > scenario.connections, "{}", scenario.name);
        names.push(scenario.name);
    }
    names.sort();
    let expected = [
        "connections",
        "consent-churn",
        "latency",
        "long-texts",
        "overload",
        "single",
        "slow-clients",
        "smoke",
        "soak",
        "streams",
        "throughput",
    ];
    assert_eq!(names, expected);
}

/// Changes a shipped scenario, which must not be taken then.
fn refused(scenario: &str, changes: &[(&str, &str)]) {
    for (from, to) in changes {
        let changed = scenario.replacen(from, to, 1);
        assert_ne!(changed, scenario, "{from} is not there");
        assert!(Scenario::parse(&changed).is_err(), "{to} was taken");
    }
}

#[test]
fn what_goes_on_beside_the_load_is_checked_too() {
    refused(OVERLOAD, &[("share = 0.9", "share = 0.8"), ("duration = \"20s\"", "duration = \"0s\"")]);
    refused(
        include_str!("../../scenarios/slow-clients.toml"),
        &[
            ("writers = 50\n", "writers = 0\n[slow_clients.more]\n"),
            ("writers = 50\nreaders = 50", "writers = 0\nreaders = 0"),
            ("writers = 50", "writers = 1001"),
            ("writers = 50", "writers = 4294967295"),
            ("piece = \"4KiB\"", "piece = \"0B\""),
            ("pause = \"300ms\"", "pause = \"6s\""),
            ("pause = \"300ms\"", "pause = 300"),
        ],
    );
    refused(
        include_str!("../../scenarios/consent-churn.toml"),
        &[
            ("changes_per_second = 200", "changes_per_second = 0"),
            ("changes_per_second = 200", "changes_per_second = 10001"),
            ("changes_per_second = 200", "changes_per_second = 200\nwho = \"all\""),
            ("granted = 0.6\naffiliates = 0.2", "granted = 0.0"),
            ("[consent_churn]", "[[tenant]]\nname = \"one\"\nshare = 1.0\n\n[consent_churn]"),
        ],
    );
    refused(THROUGHPUT, &[("look_every = \"250ms\"", "look_every = \"5ms\""), ("\"250ms\"", "\"6s\"")]);
    let connections = include_str!("../../scenarios/connections.toml");
    refused(connections, &[("connections = 10000", "connections = 20001")]);
    let streams = include_str!("../../scenarios/streams.toml");
    assert_eq!(Scenario::parse(streams).unwrap().call, Call::CollectStream);
    refused(streams, &[("call = \"collect_stream\"", "call = \"stream\"")]);
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
