//! Asking a server who it is.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(2);
const ANSWER_MAX_BYTES: u64 = 16 * 1024;
/// Answers from the engine itself, as the user that everything uses; `/ping` does neither.
const QUESTION: &[u8] = b"GET /?query=SELECT%201 HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n";
const NAME_HEADER: &str = "x-clickhouse-server-display-name";

/// Whether the server that listens there answers queries and has the given name, so that another
/// server that was faster with the port is not taken for ours.
pub(super) async fn answers_as(addr: SocketAddr, instance: &str) -> bool {
    match tokio::time::timeout(PATIENCE, ask(addr)).await {
        Ok(Ok(answer)) => is_from(&answer, instance),
        // Not yet there, or not yet ready: both end with time or with the child.
        Ok(Err(_)) | Err(_) => false,
    }
}

async fn ask(addr: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(QUESTION).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX_BYTES).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn is_from(answer: &str, instance: &str) -> bool {
    let mut lines = answer.lines();
    let ok = lines.next().and_then(|status| status.split(' ').nth(1)) == Some("200");
    ok && lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'))
        .any(|(name, value)| name.eq_ignore_ascii_case(NAME_HEADER) && value.trim() == instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_server_counts() {
        let ours = "HTTP/1.0 200 OK\r\nX-ClickHouse-Server-Display-Name: assent-1\r\n\r\n1\n";
        assert!(is_from(ours, "assent-1"));
        assert!(!is_from(ours, "assent-2"));
        assert!(!is_from(
            "HTTP/1.0 200 OK\r\n\r\nX-ClickHouse-Server-Display-Name: assent-1\r\n",
            "assent-1"
        ));
        assert!(!is_from(&ours.replace("200", "500"), "assent-1"));
        assert!(!is_from("", "assent-1"));
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_on_is_no_answer() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        drop(listener);
        assert!(!answers_as(addr, "assent-1").await);
    }
}
