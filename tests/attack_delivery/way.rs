//! The way between collectors and ClickHouse: it can be away, and it can be rough on inserts of events, losing
//! answers, cutting bodies, being late, trickling, and delivering an insert long after its sender gave up.
//!
//! Requests on a connection are told apart by their turns: bytes of the client after bytes of the server
//! are the next request. The client does not send one before the last is answered.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// How long the server may still speak on a connection that nobody listens to.
const DISMISS: Duration = Duration::from_secs(20);
/// A request is whole when nothing of it came for so long. Good enough for one that is to be late anyway.
const WHOLE: Duration = Duration::from_millis(150);

/// How the way is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Everything goes through.
    Clear,
    /// Inserts of events meet faults.
    Rough,
    /// Every insert takes effect, and nobody hears of it.
    Silent,
    /// Connections are cut, and new ones are closed as soon as they are made.
    Away,
}

/// What happens to one insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server has done its work, and nobody hears of it.
    AnswerLost,
    /// The answer is late, at times later than anybody waits.
    AnswerLate,
    /// The connection ends in the middle of the body, as a client that went away does it.
    BodyCut,
    /// The same for the server; the client gets a reset.
    Reset,
    /// The body comes in dribs and drabs.
    Trickle,
    /// The server gets the insert when its sender may have given up, and has sent it again.
    Overtaken,
}

impl Fault {
    const ALL: [Self; 6] =
        [Self::AnswerLost, Self::AnswerLate, Self::BodyCut, Self::Reset, Self::Trickle, Self::Overtaken];

    const fn as_str(self) -> &'static str {
        match self {
            Self::AnswerLost => "answers lost",
            Self::AnswerLate => "answers late",
            Self::BodyCut => "bodies cut",
            Self::Reset => "connections reset",
            Self::Trickle => "bodies in dribs and drabs",
            Self::Overtaken => "inserts delivered late",
        }
    }
}

/// How often things happened.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    inserts: AtomicU64,
    open: AtomicU64,
    faults: [AtomicU64; Fault::ALL.len()],
}

impl Tally {
    fn count(&self, fault: Fault) {
        self.faults[fault as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// What happened, by name.
    pub(crate) fn figures(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Fault::ALL.into_iter().map(|fault| (fault.as_str(), self.get(fault)))
    }

    pub(crate) fn get(&self, fault: Fault) -> u64 {
        self.faults[fault as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn inserts(&self) -> u64 {
        self.inserts.load(Ordering::Relaxed)
    }
}

/// The way; ends when dropped.
pub(crate) struct Way {
    pub(crate) url: String,
    pub(crate) tally: Arc<Tally>,
    weather: watch::Sender<Weather>,
    server: watch::Sender<String>,
    task: JoinHandle<()>,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Way {
    /// To a server, `http://host:port`.
    pub(crate) async fn start(server_url: &str, mut rng: Rng) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let weather = watch::Sender::new(Weather::Clear);
        let server = watch::Sender::new(host(server_url));
        let tally = Arc::new(Tally::default());
        let (weathers, servers, counts) = (weather.subscribe(), server.subscribe(), Arc::clone(&tally));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                while connections.try_join_next().is_some() {}
                let connection = Connection {
                    rng: rng.fork(),
                    weather: weathers.clone(),
                    tally: Arc::clone(&counts),
                    fault: None,
                };
                let (server, counts) = (servers.borrow().clone(), Arc::clone(&counts));
                counts.open.fetch_add(1, Ordering::Relaxed);
                connections.spawn(async move {
                    connection.forward(client, server).await;
                    counts.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self { url, tally, weather, server, task }
    }

    pub(crate) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// No connection is open, so that nothing is on its way any more.
    pub(crate) fn is_quiet(&self) -> bool {
        self.tally.open.load(Ordering::Relaxed) == 0
    }

    /// Leads to another address from now on.
    pub(crate) fn lead_to(&self, server_url: &str) {
        self.server.send_replace(host(server_url));
    }
}

fn host(url: &str) -> String {
    url.strip_prefix("http://").unwrap().to_owned()
}

/// Why a connection ends.
#[derive(PartialEq, Eq)]
enum End {
    Gone,
    Reset,
}

struct Connection {
    rng: Rng,
    weather: watch::Receiver<Weather>,
    tally: Arc<Tally>,
    /// Of the request under way.
    fault: Option<Fault>,
}

impl Connection {
    async fn forward(mut self, mut client: TcpStream, server: String) {
        if *self.weather.borrow_and_update() == Weather::Away {
            return;
        }
        let Ok(mut server) = TcpStream::connect(server).await else { return };
        let mut weather = self.weather.clone();
        let end = tokio::select! {
            end = self.run(&mut client, &mut server) => end,
            _ = weather.wait_for(|weather| *weather == Weather::Away) => End::Gone,
        };
        if end == End::Reset {
            let _ = client.set_zero_linger();
        }
        drop(client);
        dismiss(server).await;
    }

    async fn run(&mut self, client: &mut TcpStream, server: &mut TcpStream) -> End {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        let mut answering = true;
        // What is left of the body until it is cut.
        let mut left = usize::MAX;
        loop {
            tokio::select! {
                read = from_client.read(&mut up) => {
                    let Ok(n @ 1..) = read else { return End::Gone };
                    if std::mem::take(&mut answering) {
                        self.fault = self.draw(&up[..n]);
                        left = match self.fault {
                            Some(Fault::BodyCut | Fault::Reset) => self.cut_after(),
                            _ => usize::MAX,
                        };
                    }
                    let piece = &up[..n.min(left)];
                    left -= piece.len();
                    let passed = match self.fault {
                        Some(Fault::Trickle) => self.trickle(&mut to_server, piece).await,
                        Some(Fault::Overtaken) => {
                            let mut whole = piece.to_vec();
                            read_whole(&mut from_client, &mut whole).await;
                            self.tally.count(Fault::Overtaken);
                            self.pause(300..2_500).await;
                            to_server.write_all(&whole).await
                        }
                        _ => to_server.write_all(piece).await,
                    };
                    if passed.is_err() { return End::Gone }
                    if left == 0 {
                        self.tally.count(self.fault.unwrap_or(Fault::BodyCut));
                        return if self.fault == Some(Fault::Reset) { End::Reset } else { End::Gone };
                    }
                }
                read = from_server.read(&mut down) => {
                    let Ok(n @ 1..) = read else { return End::Gone };
                    if !std::mem::replace(&mut answering, true) {
                        match self.fault {
                            Some(fault @ Fault::AnswerLost) => {
                                self.tally.count(fault);
                                return if self.rng.bool() { End::Gone } else { End::Reset };
                            }
                            Some(fault @ Fault::AnswerLate) => {
                                self.tally.count(fault);
                                self.pause(20..1_500).await;
                            }
                            _ => {}
                        }
                    }
                    // Whoever gave up does not hear the answer.
                    if to_client.write_all(&down[..n]).await.is_err() { return End::Gone }
                }
            }
        }
    }

    /// What is to happen to the request that begins so.
    fn draw(&mut self, head: &[u8]) -> Option<Fault> {
        let text = String::from_utf8_lossy(head).replace("%20", "+");
        if !text.lines().next()?.contains("INSERT+INTO+events") {
            return None;
        }
        self.tally.inserts.fetch_add(1, Ordering::Relaxed);
        if *self.weather.borrow() == Weather::Silent {
            return Some(Fault::AnswerLost);
        }
        // Every other fault is the one that matters most.
        let fault = if self.rng.bool() { Some(Fault::AnswerLost) } else { self.rng.choice(Fault::ALL) };
        let is_rough = *self.weather.borrow() == Weather::Rough;
        fault.filter(|fault| {
            // Those that take long are rare, so that others get their turn.
            let percent = match fault {
                Fault::AnswerLate | Fault::Overtaken => 15,
                _ => 45,
            };
            self.rng.u32(..100) < percent && is_rough
        })
    }

    /// Somewhere in a small insert as likely as in a large one.
    fn cut_after(&mut self) -> usize {
        let order = self.rng.u32(4..18);
        self.rng.usize(1..1 << order)
    }

    async fn trickle(
        &mut self,
        to: &mut (impl AsyncWriteExt + Unpin),
        mut piece: &[u8],
    ) -> std::io::Result<()> {
        self.tally.count(Fault::Trickle);
        // Ten drops a piece, so that a large insert arrives some day.
        let most = piece.len() / 5 + 2;
        while !piece.is_empty() {
            let drop = self.rng.usize(1..most).min(piece.len());
            to.write_all(&piece[..drop]).await?;
            to.flush().await?;
            piece = &piece[drop..];
            self.pause(1..40).await;
        }
        Ok(())
    }

    async fn pause(&mut self, millis: std::ops::Range<u64>) {
        tokio::time::sleep(Duration::from_millis(self.rng.u64(millis))).await;
    }
}

/// Reads until nothing comes any more.
async fn read_whole(from: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>) {
    while let Ok(Ok(1..)) = tokio::time::timeout(WHOLE, from.read_buf(into)).await {}
}

/// Lets the server say what it has to say. The engine in the tests can end when a connection is reset while it
/// reports an error (seen with the library, in its HTTP handler's own error path), and with it the attack.
async fn dismiss(mut server: TcpStream) {
    let _ = server.shutdown().await;
    let mut rest = vec![0; 64 << 10];
    let reading = async { while matches!(server.read(&mut rest).await, Ok(1..)) {} };
    let _ = tokio::time::timeout(DISMISS, reading).await;
}
