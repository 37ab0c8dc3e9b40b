//! The admin listener: liveness, readiness and metrics over HTTP.
//!
//! - `/livez`: 200 while the process runs.
//! - `/readyz`: 200 while the spool accepts and the view of consent is fresh, else 503 and why.
//! - `/metrics`: Prometheus text.

use std::{future::Future, net::SocketAddr};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, sync::watch};

/// What the collector can do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the spool takes events.
    pub spool_accepts: bool,
    /// Whether the view of consent is fresh.
    pub consent_fresh: bool,
    /// Whether the collector is stopping.
    pub draining: bool,
}

impl Readiness {
    /// Before anything is known.
    pub const STARTING: Self = Self { spool_accepts: false, consent_fresh: false, draining: false };

    /// Whether clients should be sent here.
    #[must_use]
    pub const fn is_ready(self) -> bool {
        self.spool_accepts && self.consent_fresh && !self.draining
    }
}

/// The listener could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address is taken, or is not this machine's.
    #[error("cannot listen on {addr}: {source}; give another with --admin-addr, or port 0 for a free one")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The listener failed while serving.
    #[error("the admin listener failed")]
    Serve(#[source] std::io::Error),
}

/// A listener that is bound and serves nothing yet.
pub struct Bound {
    listener: TcpListener,
    addr: SocketAddr,
}

#[derive(Clone)]
struct Shared {
    readiness: watch::Receiver<Readiness>,
    metrics: PrometheusHandle,
}

impl Bound {
    /// Binds.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind(addr: SocketAddr) -> Result<Self, AdminError> {
        let listener = TcpListener::bind(addr).await.map_err(|source| AdminError::Bind { addr, source })?;
        let addr = listener.local_addr().map_err(|source| AdminError::Bind { addr, source })?;
        Ok(Self { listener, addr })
    }

    /// The address, with the port that was picked.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `stop` resolves.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn serve(
        self,
        readiness: watch::Receiver<Readiness>,
        metrics: PrometheusHandle,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), AdminError> {
        let app = Router::new()
            .route("/livez", get(async || "alive\n"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(render_metrics))
            .with_state(Shared { readiness, metrics });
        axum::serve(self.listener, app).with_graceful_shutdown(stop).await.map_err(AdminError::Serve)
    }
}

async fn readyz(State(shared): State<Shared>) -> impl IntoResponse {
    let now = *shared.readiness.borrow();
    let status = if now.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = format!(
        "spool_accepts {}\nconsent_fresh {}\ndraining {}\n",
        now.spool_accepts, now.consent_fresh, now.draining
    );
    (status, body)
}

async fn render_metrics(State(shared): State<Shared>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], shared.metrics.render())
}
