//! The connections of the listener: so many at once, and none that is dead.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures_util::Stream;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};
use tonic::transport::server::{Connected, TcpIncoming};

use crate::{ingress::arrival, telemetry};

/// How long to wait when the system has no file descriptors or memory for a connection. The
/// transport library would try again at once, for ever.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Open files besides connections: the spool's, ClickHouse's, those of the admin listener.
const OTHER_FILES: u64 = 256;

/// Lets the process open as many files as it may, if it needs more than it was started with. Shells
/// and service managers often give 1,024 where 1,048,576 are allowed, for programs that use `select`.
pub(super) fn raise_open_files(max_connections: u32) {
    let needed = u64::from(max_connections) + OTHER_FILES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return;
    }
    let wanted = maximum.map_or(needed, |maximum| maximum.min(needed));
    if setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_err() || wanted < needed {
        tracing::warn!(
            needed,
            allowed = ?maximum,
            "this process may open fewer files than ingress.max_connections needs: raise the limit (ulimit -n, \
             LimitNOFILE) or lower the setting"
        );
    }
}

/// Accepts connections, and closes those beyond the limit at once.
pub(super) struct Connections {
    incoming: TcpIncoming,
    places: Arc<Semaphore>,
    silence: Duration,
    pause: Option<Pin<Box<Sleep>>>,
    failing: bool,
}

impl Connections {
    /// `silence` is how long a connection may say nothing at all. A living peer answers a ping before that.
    pub(super) fn new(incoming: TcpIncoming, max_connections: u32, silence: Duration) -> Self {
        let places = Arc::new(Semaphore::new(max_connections as usize));
        Self { incoming, places, silence, pause: None, failing: false }
    }
}

impl Stream for Connections {
    type Item = io::Result<Limited<TcpStream>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(cx));
                this.pause = None;
            }
            match ready!(Pin::new(&mut this.incoming).poll_next(cx)) {
                None => return Poll::Ready(None),
                Some(Ok(stream)) => {
                    this.failing = false;
                    match Arc::clone(&this.places).try_acquire_owned() {
                        Ok(place) => {
                            return Poll::Ready(Some(Ok(Limited::new(stream, place, this.silence))));
                        }
                        // Whoever it is tries another collector, or later.
                        Err(_) => telemetry::connection_refused(),
                    }
                }
                // The peer went away before it was accepted.
                Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Some(Err(error)) => {
                    if !std::mem::replace(&mut this.failing, true) {
                        tracing::error!(%error, "connections cannot be accepted; trying on");
                    }
                    this.pause = Some(Box::pin(tokio::time::sleep(ACCEPT_PAUSE)));
                }
            }
        }
    }
}

/// A connection that has a place, until it is closed or has been silent for too long.
pub(super) struct Limited<IO> {
    io: IO,
    silence: Duration,
    last_heard: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    holds: arrival::Connection,
    _place: OwnedSemaphorePermit,
}

impl<IO> Limited<IO> {
    fn new(io: IO, place: OwnedSemaphorePermit, silence: Duration) -> Self {
        telemetry::connections(1.0);
        let holds = arrival::Connection::default();
        Self { io, silence, last_heard: Instant::now(), timer: None, holds, _place: place }
    }
}

impl<IO> Drop for Limited<IO> {
    fn drop(&mut self) {
        telemetry::connections(-1.0);
    }
}

impl<IO> Connected for Limited<IO> {
    type ConnectInfo = arrival::Connection;

    fn connect_info(&self) -> arrival::Connection {
        self.holds.clone()
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Limited<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Poll::Ready(read) = Pin::new(&mut this.io).poll_read(cx, buf) {
            this.last_heard = Instant::now();
            return Poll::Ready(read);
        }
        loop {
            let silence = this.silence;
            let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(silence)));
            ready!(timer.as_mut().poll(cx));
            // It is not set anew with every piece that is read, only when it goes off.
            let left = silence.saturating_sub(this.last_heard.elapsed());
            if left.is_zero() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            this.timer = Some(Box::pin(tokio::time::sleep(left)));
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Limited<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn limited(silence: Duration) -> (Limited<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(64);
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        (Limited::new(ours, place, silence), theirs)
    }

    #[tokio::test]
    async fn a_silent_connection_ends() {
        let (mut ours, _theirs) = limited(Duration::from_millis(20)).await;
        assert_eq!(ours.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_connection_that_speaks_lives_on() {
        let (mut ours, mut theirs) = limited(Duration::from_secs(3_600)).await;
        theirs.write_u8(7).await.unwrap();
        assert_eq!(ours.read_u8().await.unwrap(), 7);
        // The timer goes off early; what was heard since counts, not the timer.
        ours.timer = Some(Box::pin(tokio::time::sleep(Duration::ZERO)));
        let (read, ()) = tokio::join!(ours.read_u8(), async {
            tokio::task::yield_now().await;
            theirs.write_u8(8).await.unwrap();
        });
        assert_eq!(read.unwrap(), 8);
    }
}
