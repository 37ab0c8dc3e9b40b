//! A balancer of TCP connections, as there is one in front of collectors: it asks each for its health
//! all the time, and sends new connections to those that say that they serve. Connections that are open
//! stay where they are.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{LOOK, channel, eventually};

/// The balancer; ends when dropped.
pub(crate) struct Balancer {
    pub(crate) addr: String,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    /// By address, whether it serves.
    backends: Mutex<BTreeMap<String, bool>>,
    connections: Mutex<usize>,
}

impl Balancer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let shared = Arc::<Shared>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        tasks.spawn(look_after(Arc::clone(&shared)));
        Self { addr, shared, _tasks: tasks }
    }

    /// Has one more collector, which serves.
    pub(crate) async fn add(&self, grpc: &str) {
        self.shared.backends.lock().unwrap().insert(grpc.to_owned(), false);
        eventually("the balancer's hearing of a collector", || async {
            self.shared.serving().iter().any(|addr| addr == grpc).then_some(())
        })
        .await;
    }

    pub(crate) fn remove(&self, grpc: &str) {
        self.shared.backends.lock().unwrap().remove(grpc);
    }

    /// How many connections were made so far.
    pub(crate) fn connections(&self) -> usize {
        *self.shared.connections.lock().unwrap()
    }
}

impl Shared {
    fn serving(&self) -> Vec<String> {
        let backends = self.backends.lock().unwrap();
        backends.iter().filter(|(_, serves)| **serves).map(|(addr, _)| addr.clone()).collect()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        connections.spawn(forward(client, Arc::clone(&shared)));
    }
}

/// To one of those that serve, in turn; while none does, or none takes it, the connection waits.
async fn forward(mut client: TcpStream, shared: Arc<Shared>) {
    loop {
        let turn = {
            let mut connections = shared.connections.lock().unwrap();
            *connections += 1;
            *connections
        };
        let serving = shared.serving();
        if !serving.is_empty()
            && let Ok(mut server) = TcpStream::connect(&serving[turn % serving.len()]).await
        {
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            drop(copy_bidirectional(&mut client, &mut server).await);
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn look_after(shared: Arc<Shared>) {
    loop {
        let all: Vec<_> = shared.backends.lock().unwrap().keys().cloned().collect();
        for addr in all {
            let serves = tokio::time::timeout(Duration::from_secs(1), serves(&addr)).await.unwrap_or(false);
            if let Some(known) = shared.backends.lock().unwrap().get_mut(&addr) {
                *known = serves;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn serves(addr: &str) -> bool {
    let Ok(channel) = channel(addr).await else { return false };
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
    answer.is_ok_and(|answer| answer.into_inner().status() == ServingStatus::Serving)
}
