use super::*;

const PORTS: Ports = Ports { http: 8123, tcp: 9000 };

fn layout() -> (tempfile::TempDir, Layout) {
    let root = tempfile::tempdir().unwrap();
    let layout = Layout { root: root.path().to_owned() };
    layout.create().unwrap();
    (root, layout)
}

fn roles() -> Vec<(String, String)> {
    vec![("assent.xml".to_owned(), "<clickhouse><roles/></clickhouse>".to_owned())]
}

/// The text of the only element of that name.
fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    assert_eq!(xml.matches(&open).count(), 1, "{name}");
    xml.split_once(&open).unwrap().1.split_once(&close).unwrap().0
}

#[test]
fn the_server_is_told_its_ports_paths_and_durability() {
    let (_root, layout) = layout();
    write(&layout, PORTS, "assent-1", &[]).unwrap();
    let xml = std::fs::read_to_string(layout.config()).unwrap();
    assert_eq!(element(&xml, "listen_host"), "127.0.0.1");
    assert_eq!(element(&xml, "http_port"), "8123");
    assert_eq!(element(&xml, "tcp_port"), "9000");
    assert_eq!(element(&xml, "display_name"), "assent-1");
    assert_eq!(element(&xml, "path"), format!("{}/", layout.data().display()));
    assert_eq!(element(&xml, "fsync_after_insert"), "1");
    assert_eq!(element(&xml, "fsync_part_directory"), "1");
    assert_eq!(element(&xml, "min_rows_to_fsync_after_merge"), "1");
    assert_eq!(Path::new(element(&xml, "users_config")), layout.root.join("config/users.xml"));
}

#[test]
fn example_users_come_with_the_roles_alone() {
    let (_root, layout) = layout();
    let folder = layout.root.join("config/users.d");
    write(&layout, PORTS, "assent-1", &[]).unwrap();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);

    write(&layout, PORTS, "assent-1", &roles()).unwrap();
    assert_eq!(std::fs::read_to_string(folder.join("assent.xml")).unwrap(), roles()[0].1);
    let users = std::fs::read_to_string(folder.join(EXAMPLE_USERS_FILE)).unwrap();
    for (user, role, _) in EXAMPLE_USERS {
        let user = element(&users, user);
        assert_eq!(element(user, "query"), format!("GRANT {role}"));
        assert!(user.contains(LOOPBACK_ONLY));
    }

    // A file that is no longer given does not linger.
    write(&layout, PORTS, "assent-1", &[]).unwrap();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn nobody_comes_in_from_outside() {
    let xml = users();
    assert!(xml.contains(LOOPBACK_ONLY));
    assert!(!LOOPBACK_ONLY.contains("::/0") && !LOOPBACK_ONLY.contains("0.0.0.0"));
}

#[test]
fn the_user_without_a_password_stays_inside_the_databases() {
    let xml = users();
    let rights: Vec<&str> = xml.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    for beyond in [
        "FILE",
        "URL",
        "REMOTE",
        "S3",
        "SOURCES",
        "DICTIONARY",
        "FUNCTION",
        "BACKUP",
        "ALL",
        "access_management",
    ] {
        assert!(!rights.contains(&beyond), "{beyond}");
    }
    for engine in ["File", "Executable", "SQLite", "URL", "EmbeddedRocksDB"] {
        assert!(!ENGINES.contains(&engine), "{engine}");
    }
}

#[test]
fn a_users_file_cannot_lead_out_of_its_folder() {
    let (_root, layout) = layout();
    for name in ["../users.xml", "", ".xml", "a.txt", "a/b.xml", "a", EXAMPLE_USERS_FILE] {
        let error = write(&layout, PORTS, "assent-1", &[(name.to_owned(), String::new())]).unwrap_err();
        assert!(matches!(error, ConfigError::Name { .. }), "{name:?}");
    }
}

#[test]
fn odd_paths_are_escaped_or_refused() {
    let odd = Layout { root: PathBuf::from("/tmp/R&D <b>") };
    let xml = server(&odd, PORTS, "assent-1").unwrap();
    assert_eq!(element(&xml, "path"), "/tmp/R&amp;D &lt;b&gt;/data/");
    let relative = Layout { root: PathBuf::from("data") };
    assert!(matches!(server(&relative, PORTS, "assent-1"), Err(ConfigError::Path { .. })));
}

#[test]
fn folders_are_for_the_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().unwrap();
    let layout = Layout { root: root.path().join("new/clickhouse") };
    layout.create().unwrap();
    let mode = std::fs::metadata(&layout.root).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
