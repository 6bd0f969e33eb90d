//! The way to the master.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rainstorm_engine::time::ClockRef;
use rainstorm_proto::master::master_client::MasterClient;
use rainstorm_proto::master::{HeartbeatRequest, LeaveRequest, RegisterRequest, ReportRequest};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::exchange::MAX_MESSAGE_BYTES;

/// Takes a worker's reports.
#[async_trait]
pub trait MasterLink: Send + Sync {
    /// Delivers a report. One whose outcome is unknown is sent again.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` where the attempt is over; anything else is tried again.
    async fn report(&self, request: ReportRequest) -> Result<(), Status>;
}

/// A master at the other end of a gRPC connection.
#[derive(Debug, Clone)]
pub struct GrpcMaster {
    client: MasterClient<Channel>,
    clock: ClockRef,
}

impl GrpcMaster {
    /// Makes a link to the master at `address` (`host:port`), which connects when first used.
    ///
    /// # Errors
    /// `Invalid` where the address is none.
    pub fn new(address: &str, clock: ClockRef) -> rainstorm_engine::Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| {
            rainstorm_engine::Error::Invalid(format!("address '{address}' of the master: {error}"))
        })?;
        let channel = endpoint
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_secs(5))
            .http2_keep_alive_interval(Duration::from_secs(5))
            .connect_lazy();
        let client = MasterClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self { client, clock })
    }

    /// Keeps a worker a member: registers it, sends heartbeats and registers it again whenever
    /// the master does not know it. Runs until it is dropped; then [`leave`](Self::leave).
    ///
    /// `registered` is told each time the master has taken a registration.
    pub async fn keep_registered(
        &self,
        registration: RegisterRequest,
        registered: impl Fn() + Send,
    ) {
        let mut interval = Duration::from_millis(500);
        let mut known = false;
        let mut warned = false;
        loop {
            let answer = if known {
                self.heartbeat(&registration).await
            } else {
                self.register(&registration).await.map(|asked| {
                    interval = asked.unwrap_or(interval);
                    registered();
                    true
                })
            };
            match answer {
                // One that is not known registers at once.
                Ok(false) if known => {
                    known = false;
                    continue;
                }
                Ok(now_known) => (known, warned) = (now_known, false),
                Err(status) if !warned => {
                    tracing::warn!(
                        error = status.message(),
                        "the master does not answer, trying on"
                    );
                    warned = true;
                }
                Err(_) => {}
            }
            self.clock.sleep_until(self.clock.now_ms() + interval.as_millis() as i64).await;
        }
    }

    /// Says farewell after a clean stop.
    ///
    /// # Errors
    /// Those of the connection; the master finds out by itself.
    pub async fn leave(&self, worker_id: &str, incarnation: u64) -> Result<(), Status> {
        let worker_id = worker_id.to_owned();
        self.client.clone().leave(LeaveRequest { worker_id, incarnation }).await.map(|_| ())
    }

    async fn register(&self, registration: &RegisterRequest) -> Result<Option<Duration>, Status> {
        let reply = self.client.clone().register(registration.clone()).await?.into_inner();
        let interval_ms = reply.heartbeat_interval_ms;
        Ok((interval_ms > 0).then(|| Duration::from_millis(interval_ms)))
    }

    async fn heartbeat(&self, registration: &RegisterRequest) -> Result<bool, Status> {
        let RegisterRequest { worker_id, incarnation, .. } = registration.clone();
        let request = HeartbeatRequest { worker_id, incarnation };
        Ok(!self.client.clone().heartbeat(request).await?.into_inner().unknown)
    }
}

#[async_trait]
impl MasterLink for GrpcMaster {
    async fn report(&self, request: ReportRequest) -> Result<(), Status> {
        match self.client.clone().report(request).await {
            Ok(_) => Ok(()),
            // A master that has started anew knows nothing of the attempt.
            Err(status) if status.code() == Code::NotFound => {
                Err(Status::failed_precondition(status.message()))
            }
            Err(status) => Err(status),
        }
    }
}

#[async_trait]
impl<L: MasterLink + ?Sized> MasterLink for Arc<L> {
    async fn report(&self, request: ReportRequest) -> Result<(), Status> {
        (**self).report(request).await
    }
}
