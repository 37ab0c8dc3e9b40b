//! Loads files over HTTP, with as little work on this side as can be: the kernel moves them from its page cache into the
//! socket.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use assent::clickhouse::columns::INSERT_COLUMNS;
use tokio::task::JoinSet;

use super::export::NativeFile;

/// How long a single insert may be silent.
const TIMEOUT: Duration = Duration::from_secs(120);
/// An error's text is cut there.
const MAX_ANSWER_BYTES: u64 = 4 << 10;
/// As the collector's inserts are, without its token: nothing is looked up, and nothing is sorted out.
const SETTINGS: &str =
    "&async_insert=0&optimize_on_insert=0&max_partitions_per_insert_block=0&insert_deduplicate=0";

/// Inserts all files, so many at a time; each that comes free takes the next one.
pub(super) async fn load(
    clickhouse: SocketAddr,
    files: &[NativeFile],
    parallel: usize,
) -> anyhow::Result<()> {
    let files: Arc<[NativeFile]> = files.into();
    let next = Arc::new(AtomicUsize::new(0));
    let mut loaders = JoinSet::new();
    for _ in 0..parallel {
        let (files, next) = (Arc::clone(&files), Arc::clone(&next));
        loaders.spawn_blocking(move || {
            while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                insert(clickhouse, file)
                    .with_context(|| format!("{} was not loaded", file.path.display()))?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(loader) = loaders.join_next().await {
        loader.context("a loader failed")??;
    }
    Ok(())
}

fn insert(clickhouse: SocketAddr, file: &NativeFile) -> anyhow::Result<()> {
    let rows = File::open(&file.path)?;
    let mut server = TcpStream::connect(clickhouse)?;
    server.set_read_timeout(Some(TIMEOUT))?;
    server.set_write_timeout(Some(TIMEOUT))?;
    let query = encoded(&format!("INSERT INTO events {INSERT_COLUMNS} FORMAT Native"));
    write!(
        server,
        "POST /?database=assent&query={query}{SETTINGS} HTTP/1.1\r\nHost: {clickhouse}\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n",
        file.bytes
    )?;
    let sent = send(&rows, &server, file.bytes);
    let mut answer = Vec::new();
    // A server that refuses says why, though it has not read everything.
    let heard = server.take(MAX_ANSWER_BYTES).read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    ensure!(answer.is_empty() || answer.starts_with("HTTP/1.1 200 "), "{}", answer.trim());
    let sent = sent.context("cannot send")?;
    heard.context("no answer")?;
    ensure!(sent == file.bytes && !answer.is_empty(), "the server hung up");
    Ok(())
}

/// Moves a file into a socket, by `sendfile`: the standard library's copy goes through this program, 8 KiB at a time.
#[cfg(target_os = "linux")]
fn send(rows: &File, server: &TcpStream, bytes: u64) -> io::Result<u64> {
    let mut sent = 0;
    while sent < bytes {
        let rest = usize::try_from(bytes - sent).unwrap_or(usize::MAX);
        match rustix::fs::sendfile(server, rows, None, rest) {
            Ok(0) => break,
            Ok(moved) => sent += moved as u64,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(sent)
}

#[cfg(not(target_os = "linux"))]
fn send(mut rows: &File, mut server: &TcpStream, _bytes: u64) -> io::Result<u64> {
    io::copy(&mut rows, &mut server)
}

/// As part of a URL.
fn encoded(query: &str) -> String {
    query
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that reads one request and answers; gives what it read.
    fn serve(answer: &'static str) -> (SocketAddr, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let served = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut piece = [0; 1024];
            while !request.ends_with(b"rows") {
                let read = client.read(&mut piece).unwrap();
                request.extend_from_slice(&piece[..read]);
            }
            client.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        (addr, served)
    }

    #[test]
    fn a_file_is_sent_whole_and_a_refusal_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("000.native");
        std::fs::write(&path, "some rows").unwrap();
        let file = NativeFile { path, rows: 1, bytes: 9 };
        let (addr, served) = serve("HTTP/1.1 200 OK\r\n\r\n");
        insert(addr, &file).unwrap();
        let request = served.join().unwrap();
        assert!(request.contains("query=INSERT%20INTO%20events%20%28training_scope%2C"), "{request}");
        assert!(request.ends_with("\r\n\r\nsome rows"), "{request}");
        for refusal in ["HTTP/1.1 500 Internal Server Error\r\n\r\nCode: 252. too many parts", ""] {
            let (addr, served) = serve(refusal);
            let error = insert(addr, &file).unwrap_err().to_string();
            assert!(error.contains(if refusal.is_empty() { "hung up" } else { "Code: 252" }), "{error}");
            served.join().unwrap();
        }
    }
}
