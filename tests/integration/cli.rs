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

#[tokio::test]
async fn keys_of_pseudonyms_are_made_once_and_shown_by_id_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let database = Database::new().await;
    let setup = Setup::new(&database);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (key_file, config) = (path("pseudonym.key"), path("assent.toml"));

    let made = run(&setup, &["pseudonyms", "generate", "--out", &key_file]);
    assert!(made.status.success(), "{made:?}");
    let text = std::fs::read_to_string(&key_file).unwrap();
    let words: Vec<_> = text.split_whitespace().collect();
    let (id, secret) = (words[1], words[2]);
    assert_eq!(stdout(&made).trim(), id);
    assert_eq!(std::fs::metadata(&key_file).unwrap().permissions().mode() & 0o777, 0o600);

    // A key is never lost to a second one.
    let again = run(&setup, &["pseudonyms", "generate", "--out", &key_file]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert_eq!(std::fs::read_to_string(&key_file).unwrap(), text);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);

    let printed = stdout(&run(&setup, &["pseudonyms", "generate"]));
    assert!(printed.starts_with("assent-pseudonym-v1 ") && printed.lines().count() == 1);
    assert_ne!(printed, text);

    // A ring of two, from a file and from the environment.
    let ring = format!("{text}{printed}");
    std::fs::write(&key_file, &ring).unwrap();
    std::fs::write(&config, format!("[pseudonym]\nkey_file = \"{key_file}\"\n")).unwrap();
    let other = printed.split_whitespace().nth(1).unwrap();
    let in_env =
        |arguments: &[&str]| setup.command(arguments).env("ASSENT_PSEUDONYM__KEY", &ring).output().unwrap();
    let of_file = ["--config", &config];
    let mut all = Vec::new();
    for listed in
        [run(&setup, &[&["pseudonyms", "list"], &of_file[..]].concat()), in_env(&["pseudonyms", "list"])]
    {
        assert_eq!(stdout(&listed), format!("{id} current\n{other}\n"), "{listed:?}");
        all.push(listed);
    }
    for checked in [run(&setup, &[&["check-config"], &of_file[..]].concat()), in_env(&["check-config"])] {
        assert!(checked.status.success(), "{checked:?}");
        all.push(checked);
    }
    // One that is none is refused.
    let five: String = (0..5).map(|_| stdout(&run(&setup, &["pseudonyms", "generate"]))).collect();
    for (subcommand, ring) in
        [("check-config", &five), ("serve", &five), ("check-config", &format!("{text}{text}"))]
    {
        let refused = setup
            .command(&[subcommand, "--log", "trace"])
            .env("ASSENT_PSEUDONYM__KEY", ring)
            .output()
            .unwrap();
        assert_eq!(refused.status.code(), Some(64), "{subcommand}");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains("pseudonym.key"), "{said}");
        all.push(refused);
    }
    // Broken in any way, a configuration with the key in it does not come back in the error.
    for broken in [
        format!("[pseudonym]\nkey = \"{}\n", text.trim()),
        format!("[pseudonym]\nkey = {}\n", text.trim()),
        format!("[pseudonym]\nkey = [\"{}\"]\n", text.trim()),
        format!("[pseudonym]\nkye = \"{}\"\n", text.trim()),
        format!("[pseudonym]\nkey = \"{} more\"\n", text.trim()),
    ] {
        std::fs::write(&config, broken).unwrap();
        let refused = run(&setup, &[&["check-config"], &of_file[..]].concat());
        assert_eq!(refused.status.code(), Some(64));
        all.push(refused);
    }
    for output in all {
        for bytes in [output.stdout, output.stderr] {
            let said = String::from_utf8_lossy(&bytes).into_owned();
            assert!(!said.contains(&secret[..12]), "a key was printed");
        }
    }
}

#[tokio::test]
async fn redact_shows_what_is_taken_of_a_text() {
    use std::{io::Write as _, process::Stdio};
    let database = Database::new().await;
    let setup = Setup::new(&database);
    let redact = |arguments: &[&str], text: &str| {
        let mut command = setup.command(&[&["redact"], arguments].concat());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let text = "to anna@example.com\nto bob@example.com\n";
    assert_eq!(stdout(&redact(&[], text)), "to <EMAIL_1>\nto <EMAIL_2>\n");
    assert_eq!(stdout(&redact(&["--lines"], text)), "to <EMAIL_1>\nto <EMAIL_1>\n");
    assert_eq!(stdout(&redact(&["--diff"], "x a@b.de\n")), "x [-a@b.de-]{+<EMAIL_1>+}\n");
    assert!(stdout(&redact(&["--list"], "")).lines().any(|entity| entity == "IBAN"));

    let rules = setup.data_dir().join("staff.toml");
    std::fs::create_dir_all(setup.data_dir()).unwrap();
    let rule = |hit: &str| {
        let text = format!(
            "version = \"1\"\n[[rule]]\nname = \"staff\"\nentity = \"STAFF_ID\"\n\
             pattern = 'ACME-[0-9]{{5}}'\nhits = [\"{hit}\"]\nmisses = []\n"
        );
        std::fs::write(&rules, text).unwrap();
    };
    rule("»ACME-12345«");
    let path = rules.to_str().unwrap();
    assert_eq!(stdout(&redact(&["--rules", path], "ask ACME-54321")), "ask <STAFF_ID_1>");
    rule("»ACME-1«");
    let refused = redact(&["--rules", path], "ask ACME-54321");
    assert_eq!(refused.status.code(), Some(64), "{refused:?}");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("staff.toml: rule `staff`"), "{said}");
}
