//! The way between one collector and ClickHouse: late, cut, and losing answers.
//!
//! Requests on a connection are told apart by their turns: bytes of the client after bytes of the server
//! are the next request. The client does not send one before the last is answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::faults::{Kind, Plan};

/// How long the server may still speak on a connection that nobody listens to.
const DISMISS: Duration = Duration::from_secs(20);

/// How often things happened, for all proxies of an attack together.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: [[AtomicU64; 4]; Kind::ALL.len()],
    /// All of a collector's connections were cut and none was taken for a while.
    pub(crate) outages: AtomicU64,
}

/// What the tally counts of each kind of request.
#[derive(Clone, Copy)]
pub(crate) enum Done {
    Forwarded,
    Late,
    Lost,
    Cut,
}

impl Tally {
    fn count(&self, kind: Kind, done: Done) {
        if let Some(row) = Kind::ALL.iter().position(|known| *known == kind) {
            self.counts[row][done as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn get(&self, kind: Kind, done: Done) -> u64 {
        let row = Kind::ALL.iter().position(|known| *known == kind);
        row.map_or(0, |row| self.counts[row][done as usize].load(Ordering::Relaxed))
    }
}

/// How the proxy is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Chaotic,
    /// Connections are cut, and new ones are not taken.
    Away,
    /// Everything goes through.
    Calm,
}

/// The proxy; ends when dropped.
pub(crate) struct ChaosProxy {
    pub(crate) url: String,
    mood: watch::Sender<Mood>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl ChaosProxy {
    pub(crate) async fn start(server_url: &str, mut rng: Rng, tally: Arc<Tally>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = server_url.strip_prefix("http://").unwrap().to_owned();
        let mood = watch::Sender::new(Mood::Calm);
        let weather = tokio::spawn(outages(mood.clone(), rng.fork(), Arc::clone(&tally)));
        let moods = mood.subscribe();
        let listening = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                while connections.try_join_next().is_some() {}
                let (rng, server) = (rng.fork(), server.clone());
                connections.spawn(forward(client, server, rng, moods.clone(), Arc::clone(&tally)));
            }
        });
        Self { url, mood, tasks: [weather, listening] }
    }

    pub(crate) fn set_chaotic(&self) {
        self.mood.send_replace(Mood::Chaotic);
    }

    pub(crate) fn set_calm(&self) {
        self.mood.send_replace(Mood::Calm);
    }
}

/// Takes everything away, now and then.
async fn outages(mood: watch::Sender<Mood>, mut rng: Rng, tally: Arc<Tally>) {
    let change = |from, to| {
        mood.send_if_modified(|mood| {
            let applies = *mood == from;
            if applies {
                *mood = to;
            }
            applies
        })
    };
    loop {
        tokio::time::sleep(Duration::from_millis(rng.u64(3_000..12_000))).await;
        if change(Mood::Chaotic, Mood::Away) {
            tally.outages.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(rng.u64(50..700))).await;
            change(Mood::Away, Mood::Chaotic);
        }
    }
}

async fn forward(
    mut client: TcpStream,
    server: String,
    rng: Rng,
    mut mood: watch::Receiver<Mood>,
    tally: Arc<Tally>,
) {
    if *mood.borrow_and_update() == Mood::Away {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let connection = Connection { rng, mood: mood.clone(), tally, kind: Kind::Other, plan: Plan::default() };
    tokio::select! {
        () = connection.run(&mut client, &mut server) => {}
        _ = mood.wait_for(|mood| *mood == Mood::Away) => {}
    }
    drop(client);
    dismiss(server).await;
}

/// The server may finish its sentence. Of a connection that is reset while it reports an error, the local
/// ClickHouse dies (26.7: `Poco::Exception`, "Broken pipe", uncaught), and with it the attack.
async fn dismiss(mut server: TcpStream) {
    let _ = server.shutdown().await;
    let mut rest = vec![0; 64 << 10];
    let reading = async { while matches!(server.read(&mut rest).await, Ok(1..)) {} };
    let _ = tokio::time::timeout(DISMISS, reading).await;
}

struct Connection {
    rng: Rng,
    mood: watch::Receiver<Mood>,
    tally: Arc<Tally>,
    /// Of the request under way.
    kind: Kind,
    plan: Plan,
}

impl Connection {
    async fn run(mut self, client: &mut TcpStream, server: &mut TcpStream) {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        let mut answering = true;
        loop {
            tokio::select! {
                read = from_client.read(&mut up) => {
                    let Ok(n @ 1..) = read else { return };
                    let mut piece = &up[..n];
                    if answering {
                        answering = false;
                        self.next(piece);
                        let head = piece.windows(4).position(|w| w == b"\r\n\r\n").map_or(piece.len(), |at| at + 4);
                        if !pass(&mut to_server, &piece[..head], &mut self.plan.cut_up).await {
                            return self.count(Done::Cut);
                        }
                        piece = &piece[head..];
                    }
                    if piece.is_empty() { continue }
                    if let Some(pause) = self.plan.body_late.take() {
                        self.count(Done::Late);
                        tokio::time::sleep(pause).await;
                    }
                    if !pass(&mut to_server, piece, &mut self.plan.cut_up).await {
                        return self.count(Done::Cut);
                    }
                }
                read = from_server.read(&mut down) => {
                    let Ok(n @ 1..) = read else { return };
                    answering = true;
                    if self.plan.answer_lost {
                        // The server has done its work. The collector will never know.
                        return self.count(Done::Lost);
                    }
                    if let Some(pause) = self.plan.answer_late.take() {
                        self.count(Done::Late);
                        tokio::time::sleep(pause).await;
                    }
                    if !pass(&mut to_client, &down[..n], &mut self.plan.cut_down).await {
                        return self.count(Done::Cut);
                    }
                }
            }
        }
    }

    /// A request begins.
    fn next(&mut self, head: &[u8]) {
        self.kind = Kind::of(head);
        let drawn = Plan::draw(self.kind, &mut self.rng);
        self.plan = if *self.mood.borrow() == Mood::Calm { Plan::default() } else { drawn };
        self.count(Done::Forwarded);
    }

    fn count(&self, done: Done) {
        self.tally.count(self.kind, done);
    }
}

/// Sends a piece on, or as much of it as comes before the cut; says whether the connection goes on.
async fn pass(to: &mut (impl AsyncWriteExt + Unpin), piece: &[u8], cut: &mut Option<usize>) -> bool {
    if let Some(left) = cut {
        if *left < piece.len() {
            let _ = to.write_all(&piece[..*left]).await;
            return false;
        }
        *left -= piece.len();
    }
    to.write_all(piece).await.is_ok()
}
