//! A TCP proxy in front of ClickHouse that can be made to fail.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// How the proxy fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not at all.
    None,
    /// Connections are closed as soon as they are made.
    Refuse,
    /// The server gets a request that holds `INSERT INTO events`, and the client never gets the
    /// answer.
    LoseInsertReplies,
    /// The same for changes of consent.
    LoseLedgerReplies,
}

/// The proxy; ends when dropped.
pub(crate) struct Proxy {
    pub(crate) url: String,
    fault: watch::Sender<Fault>,
    lost: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub(crate) async fn start(server_url: &str, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = server_url.strip_prefix("http://").unwrap().to_owned();
        let (sender, faults) = watch::channel(fault);
        let lost = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&lost);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                connections.spawn(forward(client, server.clone(), faults.clone(), Arc::clone(&counter)));
            }
        });
        Self { url, fault: sender, lost, task }
    }

    /// Fails in another way from now on; connections that are open are cut.
    pub(crate) fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// How many answers were lost.
    pub(crate) fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }
}

async fn forward(
    mut client: TcpStream,
    server: String,
    mut faults: watch::Receiver<Fault>,
    lost: Arc<AtomicUsize>,
) {
    let fault = *faults.borrow_and_update();
    if fault == Fault::Refuse {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let needle = match fault {
        Fault::LoseInsertReplies => Some("INSERT%20INTO%20events"),
        Fault::LoseLedgerReplies => Some("INSERT%20INTO%20consent_changes"),
        Fault::None | Fault::Refuse => None,
    };
    let piped = async {
        match needle {
            None => drop(copy_bidirectional(&mut client, &mut server).await),
            Some(needle) => lose_replies(&mut client, &mut server, needle, &lost).await,
        }
    };
    tokio::select! {
        () = piped => {}
        _ = faults.changed() => {}
    }
}

/// Forwards both ways until a request with the needle was answered; that answer is kept.
async fn lose_replies(client: &mut TcpStream, server: &mut TcpStream, needle: &str, lost: &AtomicUsize) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let needle_plus = needle.replace("%20", "+");
    let mut seen = Vec::new();
    let mut armed = false;
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            read = from_client.read(&mut up) => {
                let Ok(n @ 1..) = read else { return };
                seen.extend_from_slice(&up[..n.min(8 << 10)]);
                let text = String::from_utf8_lossy(&seen);
                armed |= text.contains(needle) || text.contains(&needle_plus);
                if to_server.write_all(&up[..n]).await.is_err() { return }
            }
            read = from_server.read(&mut down) => {
                let Ok(n @ 1..) = read else { return };
                if armed {
                    // The server has done its work. The client will never know.
                    lost.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                seen.clear();
                if to_client.write_all(&down[..n]).await.is_err() { return }
            }
        }
    }
}
