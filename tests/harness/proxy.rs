//! A TCP proxy in front of ClickHouse that can be made to fail.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// After so long without more of it, an answer has ended.
const ANSWER_GAP: Duration = Duration::from_millis(20);

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
    /// The same, but for the first answer to each insert alone: told by its token, its repetition is
    /// answered.
    LoseInsertRepliesOnce,
    /// The same for changes of consent.
    LoseLedgerReplies,
    /// Connections with a change of consent stand still until they are released.
    HoldLedgerInserts,
    /// The first `INSERT INTO events` stands still until it is released; others pass.
    HoldFirstInsert,
}

/// The proxy; ends when dropped.
pub(crate) struct Proxy {
    pub(crate) url: String,
    fault: watch::Sender<Fault>,
    lost: Arc<AtomicUsize>,
    held: watch::Sender<Held>,
    task: JoinHandle<()>,
}

/// Connections that stand still.
#[derive(Clone, Copy, Default)]
struct Held {
    connections: usize,
    released: bool,
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
        let answered = Arc::default();
        let held = watch::Sender::new(Held::default());
        let holder = held.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                connections.spawn(forward(
                    client,
                    server.clone(),
                    faults.clone(),
                    Arc::clone(&counter),
                    Arc::clone(&answered),
                    holder.clone(),
                ));
            }
        });
        Self { url, fault: sender, lost, held, task }
    }

    /// Fails in another way from now on; connections that are open are cut.
    pub(crate) fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// How many connections were made to stand still.
    pub(crate) fn held(&self) -> usize {
        self.held.borrow().connections
    }

    /// Lets those go on that stand still, and those to come.
    pub(crate) fn release(&self) {
        self.held.send_modify(|held| held.released = true);
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
    answered: Arc<Mutex<HashSet<String>>>,
    held: watch::Sender<Held>,
) {
    let fault = *faults.borrow_and_update();
    if fault == Fault::Refuse {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let needle = match fault {
        Fault::LoseInsertReplies | Fault::LoseInsertRepliesOnce | Fault::HoldFirstInsert => {
            Some("INSERT%20INTO%20events")
        }
        Fault::LoseLedgerReplies | Fault::HoldLedgerInserts => Some("INSERT%20INTO%20consent_changes"),
        Fault::None | Fault::Refuse => None,
    };
    let piped = async {
        match needle {
            None => drop(copy_bidirectional(&mut client, &mut server).await),
            Some(needle) if matches!(fault, Fault::HoldLedgerInserts | Fault::HoldFirstInsert) => {
                let most = if fault == Fault::HoldFirstInsert { 1 } else { usize::MAX };
                hold(&mut client, &mut server, needle, most, &held).await;
            }
            Some(needle) => {
                let once = (fault == Fault::LoseInsertRepliesOnce).then_some(&*answered);
                lose_replies(&mut client, &mut server, needle, once, &lost).await;
            }
        }
    };
    tokio::select! {
        () = piped => {}
        _ = faults.changed() => {}
    }
}

/// The token of the insert whose request begins like this.
fn token_of(request: &str) -> Option<String> {
    let (_, rest) = request.split_once("insert_deduplication_token=")?;
    Some(rest.split(['&', ' ']).next()?.to_owned())
}

/// Forwards both ways until a request with the needle was answered; that answer is kept. With `once`,
/// answers to tokens in it pass, and those that are kept are put there.
async fn lose_replies(
    client: &mut TcpStream,
    server: &mut TcpStream,
    needle: &str,
    once: Option<&Mutex<HashSet<String>>>,
    lost: &AtomicUsize,
) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let (needle_plus, needle_plain) = (needle.replace("%20", "+"), needle.replace("%20", " "));
    let mut seen = Vec::new();
    let mut armed = false;
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            read = from_client.read(&mut up) => {
                let Ok(n @ 1..) = read else { return };
                seen.extend_from_slice(&up[..n.min(8 << 10)]);
                let text = String::from_utf8_lossy(&seen);
                // In the address of a request, or in its body.
                armed |= [needle, &needle_plus, &needle_plain].iter().any(|it| text.contains(*it));
                if armed && let Some(answered) = once
                    && let Some(token) = token_of(&text)
                {
                    armed = !answered.lock().unwrap().contains(&token);
                }
                if to_server.write_all(&up[..n]).await.is_err() { return }
            }
            read = from_server.read(&mut down) => {
                let Ok(n @ 1..) = read else { return };
                if armed {
                    // The server has done its work, and may finish its answer. The client will never know.
                    while let Ok(Ok(1..)) =
                        tokio::time::timeout(ANSWER_GAP, from_server.read(&mut down)).await
                    {}
                    if let (Some(answered), Some(token)) = (once, token_of(&String::from_utf8_lossy(&seen))) {
                        answered.lock().unwrap().insert(token);
                    }
                    lost.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                seen.clear();
                if to_client.write_all(&down[..n]).await.is_err() { return }
            }
        }
    }
}

/// Forwards both ways, but for a request with the needle, which waits, unless `most` wait already.
async fn hold(
    client: &mut TcpStream,
    server: &mut TcpStream,
    needle: &str,
    most: usize,
    held: &watch::Sender<Held>,
) {
    let needle = needle.replace("%20", "+");
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            read = from_client.read(&mut up) => {
                let Ok(n @ 1..) = read else { return };
                let text = String::from_utf8_lossy(&up[..n]).replace("%20", "+");
                if text.contains(&needle) && !held.borrow().released && held.borrow().connections < most {
                    held.send_modify(|held| held.connections += 1);
                    let mut released = held.subscribe();
                    let _ = released.wait_for(|held| held.released).await;
                }
                if to_server.write_all(&up[..n]).await.is_err() { return }
            }
            read = from_server.read(&mut down) => {
                let Ok(n @ 1..) = read else { return };
                if to_client.write_all(&down[..n]).await.is_err() { return }
            }
        }
    }
}
