use super::*;
use crate::clickhouse::local::lock::is_pending;

fn layout() -> (tempfile::TempDir, Layout) {
    let root = tempfile::tempdir().unwrap();
    let layout = Layout { root: root.path().to_owned() };
    layout.create().unwrap();
    (root, layout)
}

/// Options with a shell in place of our own binary. It takes the subcommand for the name of a script
/// in its working directory; a script that is executed itself could still be open for writing in
/// another test's fork.
fn options_for(root: &Path, script: &str) -> LocalOptions {
    let data_dir = root.join("clickhouse");
    std::fs::create_dir(&data_dir).unwrap();
    std::fs::write(data_dir.join(child::SUBCOMMAND), script).unwrap();
    let shell = PathBuf::from("/bin/sh");
    let mut options = LocalOptions::new(data_dir, shell.clone());
    // Not run either, but it spares the look for an engine.
    options.clickhouse_binary = Some(shell);
    options
}

#[tokio::test]
async fn one_server_at_a_time_has_the_data() {
    let (_root, layout) = layout();
    let first = exclusive_console(&layout, Duration::ZERO).await.unwrap();
    let error = exclusive_console(&layout, Duration::ZERO).await.unwrap_err();
    assert!(
        matches!(&error, LocalServerError::InUse { owner: Some(pid), .. } if *pid == std::process::id()),
        "{error}"
    );
    // The child's share outlives the parent's.
    let share = first.try_clone().unwrap();
    drop(first);
    assert!(exclusive_console(&layout, Duration::ZERO).await.is_err());
    drop(share);
    exclusive_console(&layout, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_dead_owner_is_waited_for() {
    let (_root, layout) = layout();
    let held = exclusive_console(&layout, Duration::ZERO).await.unwrap();
    let mut dead = std::process::Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    std::fs::write(layout.owner(), dead.id().to_string()).unwrap();
    let mut waiting = std::pin::pin!(exclusive_console(&layout, Duration::from_secs(60)));
    assert!(is_pending(waiting.as_mut()).await);
    drop(held);
    waiting.await.unwrap();
}

#[tokio::test]
async fn a_server_that_ends_early_is_told_with_its_last_words() {
    let root = tempfile::tempdir().unwrap();
    let options = options_for(root.path(), "echo first; echo 'no more memory' >&2; exit 3");
    let error = LocalServer::start(options).await.unwrap_err();
    let LocalServerError::DiedEarly { status, tail, .. } = &error else { panic!("{error}") };
    assert_eq!(status.code(), Some(3));
    assert_eq!(tail, "first\nno more memory");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_and_killed() {
    let root = tempfile::tempdir().unwrap();
    let mut options = options_for(root.path(), "echo $$; exec cat");
    options.start_timeout = Duration::from_millis(300);
    let error = LocalServer::start(options).await.unwrap_err();
    let LocalServerError::NotReady { tail, .. } = &error else { panic!("{error}") };
    assert!(!is_alive(tail.parse().unwrap()));
}

#[tokio::test]
async fn a_taken_port_is_told_before_anything_runs() {
    let root = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = options_for(root.path(), "exit 3");
    options.http_port = taken.local_addr().unwrap().port();
    let error = LocalServer::start(options).await.unwrap_err();
    assert!(matches!(&error, LocalServerError::Port(PortError::InUse { .. })), "{error}");
}

#[test]
fn a_tail_begins_where_it_was_made() {
    let (_root, layout) = layout();
    std::fs::write(layout.log(), "old\n").unwrap();
    let tail = Tail::from_here(layout.log());
    assert_eq!(tail.read(), "");
    std::fs::write(layout.log(), "old\nnew\n").unwrap();
    assert_eq!(tail.read(), "new");
}

#[test]
fn the_last_lines_skip_empty_ones() {
    assert_eq!(last_lines("a\n\nb\n \nc\n", 2), "b\nc");
    assert_eq!(last_lines("", 2), "");
}
