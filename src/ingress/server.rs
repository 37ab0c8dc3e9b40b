//! The gRPC listener: TLS, limits, compression, health and reflection.

use std::{
    future::Future,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use tokio::net::TcpListener;
use tonic::{
    codec::CompressionEncoding,
    transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
};
use tonic_health::server::{HealthReporter, health_reporter};

use crate::{
    config,
    ingress::{
        arrival::{Gate, MAX_CONSENT_REQUEST_BYTES},
        collector::Collector,
        connections::{self, Connections},
        consent::Consent,
        privacy::Privacy,
        proto::{
            FILE_DESCRIPTOR_SET,
            collector_service_server::{CollectorServiceServer, SERVICE_NAME as COLLECTOR},
            consent_service_server::{ConsentServiceServer, SERVICE_NAME as CONSENT},
            privacy_service_server::{PrivacyServiceServer, SERVICE_NAME as PRIVACY},
        },
        status,
    },
};

/// How often an idle connection is asked whether its peer is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long the peer has to answer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may say nothing. A living one answers a ping in time, twice.
const MAX_SILENCE: Duration = Duration::from_secs(90);
/// What clients sent on a connection and nobody has read yet.
const WINDOW_BYTES: u32 = 1 << 20;
/// What a client may send in one piece. The least that HTTP/2 allows, 16 KiB, would cut a request of some hundred
/// events into a dozen, each with a system call and a turn of the connection of its own.
const MAX_FRAME_BYTES: u32 = 128 << 10;
/// The largest request of health and reflection, which are open to everybody: names alone.
const MAX_OPEN_REQUEST_BYTES: usize = 4 << 10;
/// The largest header list; keys and trace context fit many times over.
const MAX_HEADER_LIST_BYTES: u32 = 16 << 10;

/// A listener that could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken, or is not this machine's.
    #[error("cannot listen on {addr}: {source}; give another with --grpc-addr, or port 0 for a free one")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate or key file cannot be read.
    #[error("cannot read {path} (ingress.tls): {source}")]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Certificate and key are not usable, or the connection layer failed.
    #[error("the gRPC listener failed")]
    Transport(#[from] tonic::transport::Error),
    /// The contract's descriptor set is damaged.
    #[error("server reflection could not be set up")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// A listener that is bound and serves nothing yet.
pub struct Bound {
    listener: TcpListener,
    addr: SocketAddr,
}

/// Says which services serve.
#[derive(Clone)]
pub struct Health(HealthReporter);

impl Health {
    /// Sets the collector as a whole and each of its services.
    pub async fn set(&self, serving: bool) {
        let status = if serving {
            tonic_health::ServingStatus::Serving
        } else {
            tonic_health::ServingStatus::NotServing
        };
        for service in ["", COLLECTOR, CONSENT, PRIVACY] {
            self.0.set_service_status(service, status).await;
        }
    }

    /// Ends the streams of those who watch, which would otherwise hold their connections open.
    pub async fn close(&self) {
        let mut reporter = self.0.clone();
        for service in ["", COLLECTOR, CONSENT, PRIVACY] {
            reporter.clear_service_status(service).await;
        }
    }
}

impl Bound {
    /// Binds, so that a port that is taken fails before anything expensive starts.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind(addr: SocketAddr) -> Result<Self, ServerError> {
        let listener = TcpListener::bind(addr).await.map_err(|source| ServerError::Bind { addr, source })?;
        let addr = listener.local_addr().map_err(|source| ServerError::Bind { addr, source })?;
        Ok(Self { listener, addr })
    }

    /// The address, with the port that was picked.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `stop` resolves and every request under way has its answer.
    ///
    /// When `stop` resolves, nobody is let in any more, and every client is told by GOAWAY to make no
    /// more requests on its connection. It is told in two steps, and requests that were on their way
    /// before it could know are answered.
    ///
    /// # Errors
    /// TLS files that cannot be used; a listener that fails.
    pub fn serve<S: Future<Output = ()> + Send>(
        self,
        options: &config::Ingress,
        collector: Collector,
        consent: Consent,
        privacy: Privacy,
        gate: Gate,
        stop: S,
    ) -> Result<(Health, impl Future<Output = Result<(), ServerError>> + Send + use<S>), ServerError> {
        let (reporter, health_service) = health_reporter();
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()?;
        let max_bytes = usize::try_from(options.max_request_bytes.0).unwrap_or(usize::MAX);
        let collector = CollectorServiceServer::new(collector)
            .max_decoding_message_size(max_bytes)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .send_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Zstd);
        let consent = ConsentServiceServer::new(consent)
            .max_decoding_message_size(MAX_CONSENT_REQUEST_BYTES)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .send_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Zstd);
        let privacy = PrivacyServiceServer::new(privacy)
            .max_decoding_message_size(MAX_CONSENT_REQUEST_BYTES)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .send_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Zstd);
        let mut server = Server::builder()
            .max_concurrent_streams(options.max_concurrent_streams)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_frame_size(MAX_FRAME_BYTES)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .http2_max_header_list_size(MAX_HEADER_LIST_BYTES);
        if let Some(age) = options.max_connection_age {
            // Not with a grace: with one, the library closes old connections without a word.
            server = server.max_connection_age(jittered(age.0));
        }
        if let Some(tls) = &options.tls {
            server = server.tls_config(tls_config(tls)?)?;
        }
        let router = server
            .layer(tower::util::MapResponseLayer::new(status::rewrite_unreadable))
            .layer(gate)
            .add_service(health_service.max_decoding_message_size(MAX_OPEN_REQUEST_BYTES))
            .add_service(reflection.max_decoding_message_size(MAX_OPEN_REQUEST_BYTES))
            .add_service(collector)
            .add_service(consent)
            .add_service(privacy);
        connections::raise_open_files(options.max_connections);
        let incoming = TcpIncoming::from(self.listener).with_nodelay(Some(true));
        let incoming = Connections::new(incoming, options.max_connections, MAX_SILENCE);
        let serving = async move {
            router.serve_with_incoming_shutdown(incoming, stop).await.map_err(ServerError::from)
        };
        Ok((Health(reporter), serving))
    }
}

/// A tenth less to a tenth more, so that collectors which started together do not send their clients
/// away together.
pub(super) fn jittered(age: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1_000;
    age * 9 / 10 + age / 5 * u32::try_from(random).unwrap_or(0) / 1_000
}

/// Checks that the certificate and the key can be used.
///
/// # Errors
/// They cannot be read, or do not belong together.
pub fn check_tls(tls: &config::Tls) -> Result<(), ServerError> {
    Server::builder().tls_config(tls_config(tls)?)?;
    Ok(())
}

fn tls_config(tls: &config::Tls) -> Result<ServerTlsConfig, ServerError> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|source| ServerError::TlsFile { path: path.clone(), source })
    };
    let identity = Identity::from_pem(read(&tls.cert_file)?, read(&tls.key_file)?);
    Ok(ServerTlsConfig::new().identity(identity))
}
