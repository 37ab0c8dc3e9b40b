use std::io::Write as _;

use super::*;

fn load(toml: &str, env: &[(&str, &str)], flags: Vec<(&str, Value)>) -> Result<Config, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(toml.as_bytes()).unwrap();
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(Some(file.path()), env, flags)
}

fn failing_key(toml: &str) -> String {
    match load(toml, &[], vec![]).unwrap_err() {
        ConfigError::Key { key, .. } => key,
        other => panic!("{other}"),
    }
}

#[test]
fn flags_beat_the_environment_and_the_environment_beats_the_file() {
    let toml = "[clickhouse]\nurl = \"http://file:1\"\nuser = \"file\"\ndatabase = \"file\"\n";
    let env = [("ASSENT_CLICKHOUSE__URL", "http://env:1"), ("ASSENT_CLICKHOUSE__USER", "env"), ("HOME", "/")];
    let flags = vec![("clickhouse.url", Value::from("http://flag:1"))];
    let config = load(toml, &env, flags).unwrap();
    assert_eq!(config.clickhouse.url, "http://flag:1");
    assert_eq!(config.clickhouse.user, "env");
    assert_eq!(config.clickhouse.database, "file");
}

#[test]
fn a_variable_has_the_kind_of_its_key() {
    let env = [
        ("ASSENT_CLICKHOUSE__PASSWORD", "0123"),
        ("ASSENT_CLICKHOUSE__USER", "true"),
        ("ASSENT_DELIVERY__MAX_ROWS", "7"),
        ("ASSENT_INGRESS__INSECURE_NO_TLS", "true"),
        ("ASSENT_SPOOL__MAX_BYTES", "20GiB"),
    ];
    let config = load("", &env, vec![]).unwrap();
    assert_eq!(secrecy::ExposeSecret::expose_secret(&config.clickhouse.password.0), "0123");
    assert_eq!(config.clickhouse.user, "true");
    assert_eq!(config.delivery.max_rows, 7);
    assert!(config.ingress.insecure_no_tls);
    assert_eq!(config.spool.max_bytes.0, 20 << 30);
    let error = load("", &[("ASSENT_DELIVERY__MAX_ROWS", "many")], vec![]).unwrap_err().to_string();
    assert!(error.starts_with("delivery.max_rows"), "{error}");
}

#[test]
fn an_error_names_the_path_of_its_key() {
    assert_eq!(failing_key("[ingress]\nmax_text_bytes = \"64 parsecs\"\n"), "ingress.max_text_bytes");
    assert_eq!(failing_key("[spool]\nfsync = \"sometimes\"\n"), "spool.fsync");
    assert_eq!(failing_key("[delivery]\nmax_rows = \"many\"\n"), "delivery.max_rows");
    assert_eq!(failing_key("[consent]\nmax_staleness = \"1ms\"\n"), "consent.max_staleness");
    assert_eq!(failing_key("[local_clickhouse]\nniceness = 20\n"), "local_clickhouse.niceness");
    assert_eq!(failing_key("[policy]\nreload_interval = \"99ms\"\n"), "policy.reload_interval");
    assert_eq!(failing_key("[consent]\nledger_timeout = \"10001ms\"\n"), "consent.ledger_timeout");
    assert_eq!(failing_key("[ingress]\nmax_connection_age = \"0s\"\n"), "ingress.max_connection_age");
    assert_eq!(failing_key("[withdrawal]\nmode = \"forget\"\n"), "withdrawal.mode");
    assert_eq!(failing_key("[withdrawal]\ninterval = \"99ms\"\n"), "withdrawal.interval");
    assert_eq!(failing_key("[withdrawal]\ninterval = \"13h\"\n"), "withdrawal.interval");
    assert_eq!(failing_key("[withdrawal]\nbatch_rows = 0\n"), "withdrawal.batch_rows");
    assert_eq!(failing_key("[withdrawal]\npassword = \"x\"\n"), "withdrawal.password");
    load("[withdrawal]\ndeadline = \"30d\"\nmode = \"future_only\"\nuser = \"w\"\n", &[], vec![]).unwrap();
    load("[consent]\nledger_timeout = \"10s\"\n", &[], vec![]).unwrap();
    for url in ["tcp://x", "x", "http://", "http://user:hunter2@x:8123"] {
        let toml = format!("[clickhouse]\nurl = \"{url}\"\n");
        assert_eq!(failing_key(&toml), "clickhouse.url", "{url}");
        assert!(!load(&toml, &[], vec![]).unwrap_err().to_string().contains("hunter2"));
    }
    for quorum in ["1", "\"most\"", "-1"] {
        assert_eq!(
            failing_key(&format!("[clickhouse]\ninsert_quorum = {quorum}\n")),
            "clickhouse.insert_quorum"
        );
    }
    assert_eq!(failing_key("[clickhouse]\ndurability = \"perhaps\"\n"), "clickhouse.durability");
    assert_eq!(failing_key("[pseudonym]\nkey = \"sesame\"\n"), "pseudonym.key");
    assert_eq!(failing_key("[telemetry]\nlog = \"assent=lo=ud\"\n"), "telemetry.log");
}

#[test]
fn an_unknown_key_is_an_error_that_names_it() {
    let error = load("[ingress]\ngrpc_adr = \"127.0.0.1:1\"\n", &[], vec![]).unwrap_err().to_string();
    assert!(error.contains("ingress") && error.contains("grpc_adr"), "{error}");
    let error = load("", &[("ASSENT_SPOOL__MAX_BITES", "1")], vec![]).unwrap_err().to_string();
    assert!(error.contains("spool") && error.contains("max_bites"), "{error}");
}

#[test]
fn no_listener_beyond_loopback_without_keys_and_tls() {
    assert_eq!(failing_key("[ingress]\ngrpc_addr = \"0.0.0.0:50051\"\n"), "ingress.grpc_addr");
    let keys = format!("[[tenants]]\nname = \"acme\"\napi_key_sha256 = [\"{}\"]\n", "ab".repeat(32));
    assert_eq!(
        failing_key(&format!("{keys}[ingress]\ngrpc_addr = \"0.0.0.0:50051\"\n")),
        "ingress.grpc_addr"
    );
    let behind_proxy = format!("{keys}[ingress]\ngrpc_addr = \"0.0.0.0:50051\"\ninsecure_no_tls = true\n");
    load(&behind_proxy, &[], vec![]).unwrap();
    let open = "[ingress]\ngrpc_addr = \"[::]:50051\"\ninsecure_no_tls = true\n";
    assert_eq!(failing_key(open), "ingress.grpc_addr");
    assert_eq!(failing_key("[admin]\naddr = \"0.0.0.0:9464\"\n"), "admin.addr");
}

#[test]
fn a_quorum_is_a_number_or_auto() {
    use crate::clickhouse::InsertQuorum;
    let quorum = |env: &str| {
        load("", &[("ASSENT_CLICKHOUSE__INSERT_QUORUM", env)], vec![]).unwrap().clickhouse.insert_quorum
    };
    assert_eq!(quorum("0"), InsertQuorum::None);
    assert_eq!(quorum("3"), InsertQuorum::Replicas(3));
    assert_eq!(quorum("auto"), InsertQuorum::Auto);
    let printed = toml::to_string(&Config::default()).unwrap();
    assert!(printed.contains("durability = \"fsync\"\ninsert_quorum = 0\n"), "{printed}");
}

#[test]
fn balancers_are_given_time_where_there_may_be_one() {
    let beyond = "[ingress]\ngrpc_addr = \"[::]:1\"\ninsecure_no_tls = true\ninsecure_no_auth = true\n";
    let grace = |toml: &str| load(toml, &[], vec![]).unwrap().ingress.drain_grace();
    assert_eq!(grace(""), Duration::ZERO);
    assert_eq!(grace(beyond), Duration::from_secs(5));
    assert_eq!(grace(&format!("{beyond}drain_grace = \"0s\"\n")), Duration::ZERO);
    assert_eq!(grace("[ingress]\ndrain_grace = \"3s\"\n"), Duration::from_secs(3));
}

#[test]
fn a_key_digest_that_is_none_is_refused() {
    assert!(
        failing_key("[[tenants]]\nname = \"acme\"\napi_key_sha256 = [\"plain-key\"]\n")
            .starts_with("tenants")
    );
}

#[test]
fn the_effective_configuration_hides_secrets_and_can_be_read_back() {
    let toml = "[clickhouse]\npassword = \"hunter2\"\n[pseudonym]\nkey = \"KEY\"\n";
    let key = crate::pipeline::PseudonymKey::generate().unwrap().to_text();
    let toml = &toml.replace("KEY", key.trim());
    let config = load(toml, &[], vec![]).unwrap();
    let printed = toml::to_string(&config).unwrap();
    assert!(!printed.contains("hunter2") && !printed.contains(key.trim()), "{printed}");
    assert!(!format!("{config:?}").contains("hunter2"));
    // With stars for a key it is no configuration any more, and says so.
    assert_eq!(failing_key(&printed), "pseudonym.key");
    load(&printed.replace("key = \"********\"\n", ""), &[], vec![]).unwrap();
}

#[test]
fn the_marks_of_the_way_in_must_make_sense() {
    assert_eq!(failing_key("[ingress]\nmax_in_flight_bytes = \"8MiB\"\n"), "ingress.max_in_flight_bytes");
    load("[ingress]\nmax_in_flight_bytes = \"9MiB\"\n", &[], vec![]).unwrap();
    let events = "[ingress]\nmax_events_per_request = 131073\n";
    assert_eq!(failing_key(events), "ingress.max_events_per_request");
    assert_eq!(failing_key("[ingress]\nmax_connections = 0\n"), "ingress.max_connections");
    assert_eq!(failing_key("[ingress]\nreceive_timeout = \"0s\"\n"), "ingress.receive_timeout");
    for soft in ["10GiB", "11GiB", "0B"] {
        assert_eq!(failing_key(&format!("[spool]\nsoft_bytes = \"{soft}\"\n")), "spool.soft_bytes", "{soft}");
    }
    let config = load("[spool]\nsoft_bytes = \"1GiB\"\n", &[], vec![]).unwrap();
    assert_eq!(config.admission_options().soft_spool_bytes, 1 << 30);
    let config = load("", &[], vec![]).unwrap();
    assert_eq!(config.admission_options().soft_spool_bytes, 8 << 30);
}
