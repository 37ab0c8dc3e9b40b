//! The command line.

use std::process::Output;

use crate::harness::{Database, Setup, event};

fn run(setup: &Setup, arguments: &[&str]) -> Output {
    setup.command(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test]
async fn consent_is_set_and_read_through_a_running_collector() {
    let database = Database::new().await;
    let setup = Setup::new(&database);
    let collector = setup.start_ready().await;
    // It finds the collector of the data folder by itself.
    let set = run(
        &setup,
        &[
            "consent",
            "set",
            "--user",
            "ann",
            "--scope",
            "first-party",
            "--state",
            "granted",
            "--jurisdiction",
            "DE",
        ],
    );
    assert!(set.status.success(), "{set:?}");
    assert!(stdout(&set).contains("first_party granted by user_setting"), "{set:?}");
    let get = stdout(&run(&setup, &["consent", "get", "--user", "ann"]));
    assert!(get.contains("first_party (granted)") && get.contains("affiliates"), "{get}");
    let ids = collector.send(vec![event("ann").jurisdiction("DE")]).await;
    assert_eq!(database.wait_for(&ids).await[0].stamp(), ("first_party", "granted"));
    run(&setup, &["consent", "set", "--user", "ann", "--scope", "first_party", "--state", "denied"]);
    let history = stdout(&run(&setup, &["consent", "history", "--user", "ann"]));
    let lines: Vec<_> = history.lines().collect();
    assert_eq!(lines.len(), 2, "{history}");
    assert!(lines[0].contains("version 2 first_party denied") && lines[1].contains("version 1"), "{history}");
}

#[tokio::test]
async fn nobody_to_call_is_told_with_what_to_do() {
    let database = Database::new().await;
    let setup = Setup::new(&database);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    drop(listener);
    let failed = run(&setup, &["consent", "get", "--user", "ann", "--grpc-addr", &addr]);
    assert_eq!(failed.status.code(), Some(1));
    let said = String::from_utf8(failed.stderr).unwrap();
    assert!(said.contains("assent dev") && said.contains(&addr), "{said}");
}

#[tokio::test]
async fn check_config_prints_what_holds_and_names_the_key_that_is_wrong() {
    let database = Database::new().await;
    let setup = Setup::new(&database);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("assent.toml");
    std::fs::write(&file, "[clickhouse]\npassword = \"hunter2\"\n[delivery]\nmax_age = \"2s\"\n").unwrap();
    let path = file.to_str().unwrap();
    let checked = run(&setup, &["check-config", "--config", path]);
    assert!(checked.status.success(), "{checked:?}");
    let text = stdout(&checked);
    assert!(text.contains("max_age = \"2s\"") && text.contains("********"), "{text}");
    assert!(!text.contains("hunter2") && text.contains("opt-in-everywhere"), "{text}");

    for (toml, key) in [
        ("[spool]\nmax_bytes = \"lots\"\n", "spool.max_bytes"),
        ("[ingress]\nport = 1\n", "ingress"),
        ("[policy]\nfile = \"/nowhere/policy.toml\"\n", "policy.file"),
        ("[ingress.tls]\ncert_file = \"/nowhere/tls.crt\"\nkey_file = \"/nowhere/tls.key\"\n", "ingress.tls"),
        ("[pseudonym]\nkey = \"abc\"\n", "pseudonym.key"),
        ("not toml", "assent.toml"),
    ] {
        std::fs::write(&file, toml).unwrap();
        let refused = run(&setup, &["check-config", "--config", path]);
        assert_eq!(refused.status.code(), Some(64), "{toml}");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains(key), "{toml}: {said}");
    }
}

#[tokio::test]
async fn a_spool_can_be_inspected_while_it_is_in_use_and_must_be_there() {
    let database = Database::new().await;
    let setup = Setup::new(&database);
    let missing = run(&setup, &["spool", "inspect"]);
    assert_eq!(missing.status.code(), Some(1));
    let collector = setup.start_ready().await;
    collector.send(vec![event("ann")]).await;
    let inspected = run(&setup, &["spool", "inspect"]);
    assert!(inspected.status.success());
    assert!(stdout(&inspected).contains("delivered up to"), "{}", stdout(&inspected));
}

#[tokio::test]
async fn a_second_collector_on_the_same_data_is_refused() {
    let database = Database::new().await;
    let setup = Setup::new(&database);
    let _first = setup.start_ready().await;
    let second = run(
        &setup,
        &[
            "serve",
            "--grpc-addr",
            "127.0.0.1:0",
            "--admin-addr",
            "127.0.0.1:0",
            "--clickhouse-url",
            &database.url,
        ],
    );
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("spool"), "{said}");
    // The addresses of the first are still those of the first.
    assert!(setup.data_dir().join("endpoints.json").exists());
}

#[tokio::test]
async fn a_taken_port_is_told_with_the_flag_that_changes_it() {
    let database = Database::new().await;
    let setup = Setup::new(&database);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let refused = run(&setup, &["serve", "--grpc-addr", &addr, "--admin-addr", "127.0.0.1:0"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains(&addr) && said.contains("--grpc-addr"), "{said}");
}
