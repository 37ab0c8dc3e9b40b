//! A client of this product's own services, for the command line, the demo and the tests.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use crate::ingress::proto::{
    self, collector_service_client::CollectorServiceClient, consent_service_client::ConsentServiceClient,
    privacy_service_client::PrivacyServiceClient,
};

/// How long a collector has to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A call that did not give an answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not one.
    #[error("{addr:?} is not the address of a collector (host:port, or a http:// or https:// URL)")]
    Address {
        /// The address.
        addr: String,
    },
    /// Nobody listens there.
    #[error(
        "no collector answers at {addr}; start one with `assent dev` or `assent serve`, or give --grpc-addr"
    )]
    Unreachable {
        /// The address.
        addr: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// The API key cannot be sent in a header.
    #[error("the API key has characters that a header cannot carry")]
    ApiKey,
    /// The collector refused, or the connection broke.
    #[error("the collector answered {:?}: {}", .0.code(), .0.message())]
    Status(Box<Status>),
}

impl ClientError {
    /// Whether the same request may be answered when it is sent again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Status(status) => {
                // No collector says CANCELLED or INTERNAL. The transport library does, about requests that
                // a collector which stops did not take any more.
                matches!(
                    status.code(),
                    Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Internal
                )
            }
            Self::Unreachable { .. } => true,
            Self::Address { .. } | Self::ApiKey => false,
        }
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// A connection to a collector. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Client {
    collector: CollectorServiceClient<Channel>,
    consent: ConsentServiceClient<Channel>,
    privacy: PrivacyServiceClient<Channel>,
    authorization: Option<MetadataValue<Ascii>>,
}

impl Client {
    /// Connects to `host:port` (plain text) or to a URL.
    ///
    /// # Errors
    /// The address is none, nobody listens there, or the key cannot be sent.
    pub async fn connect(addr: &str, api_key: Option<&SecretString>) -> Result<Self, ClientError> {
        let url = if addr.contains("://") { addr.to_owned() } else { format!("http://{addr}") };
        let bad_address = |_| ClientError::Address { addr: addr.to_owned() };
        let mut endpoint = Endpoint::from_shared(url.clone())
            .map_err(bad_address)?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .tcp_nodelay(true);
        if url.starts_with("https://") {
            endpoint =
                endpoint.tls_config(ClientTlsConfig::new().with_native_roots()).map_err(bad_address)?;
        }
        let channel = endpoint
            .connect()
            .await
            .map_err(|source| ClientError::Unreachable { addr: addr.to_owned(), source })?;
        let authorization = api_key
            .map(|key| format!("Bearer {}", key.expose_secret()).parse())
            .transpose()
            .map_err(|_| ClientError::ApiKey)?;
        Ok(Self {
            collector: CollectorServiceClient::new(channel.clone()),
            consent: ConsentServiceClient::new(channel.clone()),
            privacy: PrivacyServiceClient::new(channel),
            authorization,
        })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }

    /// Sends events; answers when the accepted ones are durable.
    ///
    /// # Errors
    /// The request as a whole was refused, or the connection broke: nobody knows then whether it
    /// was taken, and sending it again is safe.
    pub async fn collect(&self, events: Vec<proto::Event>) -> Result<proto::CollectResponse, ClientError> {
        let request = self.request(proto::CollectRequest { events });
        Ok(self.collector.clone().collect(request).await?.into_inner())
    }

    /// Sets a person's consent for a scope.
    ///
    /// # Errors
    /// It was refused, or could not be made durable.
    pub async fn set_consent(
        &self,
        change: proto::SetConsentRequest,
    ) -> Result<proto::ConsentRecord, ClientError> {
        let request = self.request(change);
        Ok(self.consent.clone().set_consent(request).await?.into_inner().record.unwrap_or_default())
    }

    /// Reads a person's consent.
    ///
    /// # Errors
    /// It was refused, or the ledger could not be read.
    pub async fn get_consent(
        &self,
        query: proto::GetConsentRequest,
    ) -> Result<proto::GetConsentResponse, ClientError> {
        let request = self.request(query);
        Ok(self.consent.clone().get_consent(request).await?.into_inner())
    }

    /// Reads a page of a person's changes.
    ///
    /// # Errors
    /// It was refused, or the ledger could not be read.
    pub async fn consent_history(
        &self,
        query: proto::ListConsentHistoryRequest,
    ) -> Result<proto::ListConsentHistoryResponse, ClientError> {
        let request = self.request(query);
        Ok(self.consent.clone().list_consent_history(request).await?.into_inner())
    }

    /// Asks what would be decided about an event of a person, and why.
    ///
    /// # Errors
    /// It was refused, or the ledger could not be read.
    pub async fn explain_decision(
        &self,
        query: proto::ExplainDecisionRequest,
    ) -> Result<proto::ExplainDecisionResponse, ClientError> {
        let request = self.request(query);
        Ok(self.consent.clone().explain_decision(request).await?.into_inner())
    }

    /// Asks for a person's receipt.
    ///
    /// # Errors
    /// It was refused, or the ledger could not be read.
    pub async fn consent_receipt(&self, user_id: String) -> Result<String, ClientError> {
        let request = self.request(proto::GetConsentReceiptRequest { user_id });
        Ok(self.consent.clone().get_consent_receipt(request).await?.into_inner().receipt_json)
    }

    /// Erases a person.
    ///
    /// # Errors
    /// It was refused, or nobody knows whether it was recorded.
    pub async fn erase_user(&self, request: proto::EraseUserRequest) -> Result<proto::Erasure, ClientError> {
        let request = self.request(request);
        Ok(self.privacy.clone().erase_user(request).await?.into_inner().erasure.unwrap_or_default())
    }

    /// Asks how an erasure stands.
    ///
    /// # Errors
    /// There is none, or it could not be read.
    pub async fn get_erasure(&self, erasure_id: String) -> Result<proto::Erasure, ClientError> {
        let request = self.request(proto::GetErasureRequest { erasure_id });
        Ok(self.privacy.clone().get_erasure(request).await?.into_inner().erasure.unwrap_or_default())
    }

    /// Asks for what is held about a person, and hands it on a piece at a time.
    ///
    /// # Errors
    /// It was refused, or broke off: then what was handed on is not whole. The first error of `take` ends it too.
    pub async fn report_subject<E: From<ClientError>>(
        &self,
        user_id: String,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let request = self.request(proto::ReportSubjectRequest { user_id });
        let answer = self.privacy.clone().report_subject(request).await.map_err(ClientError::from)?;
        let mut pieces = answer.into_inner();
        while let Some(piece) = pieces.message().await.map_err(ClientError::from)? {
            take(&piece.json)?;
        }
        Ok(())
    }
}
