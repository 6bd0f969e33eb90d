//! Connections to other workers, one per address.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rainstorm_engine::{Error, Result};
use rainstorm_proto::worker::worker_client::WorkerClient;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};

use super::MAX_MESSAGE_BYTES;

/// Time between two signs of life on a connection.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Time without an answer to one after which the connection is given up.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// A worker to talk to.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) worker: Arc<str>,
    pub(crate) address: Arc<str>,
}

/// The connections of this process. They are made when first used and again after they broke.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    channels: Mutex<HashMap<Arc<str>, Channel>>,
}

impl Peers {
    /// Returns a client of a worker.
    ///
    /// # Errors
    /// `Invalid` where the address is none.
    pub(crate) fn client(&self, peer: &Peer) -> Result<WorkerClient<Channel>> {
        // Nothing panics while the lock is held.
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = if let Some(channel) = channels.get(&peer.address) {
            channel.clone()
        } else {
            let channel = endpoint(peer)?.connect_lazy();
            channels.insert(Arc::clone(&peer.address), channel.clone());
            channel
        };
        Ok(WorkerClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES))
    }
}

/// Sets a server up for channels between workers: as many on one connection as there are, and a
/// client that is gone without a word is noticed.
#[must_use]
pub fn tuned(server: Server) -> Server {
    server
        .max_concurrent_streams(None)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
}

/// Takes the connections of a listener for a server. Without this a server's small answers, such as
/// credits and single rows, wait for the acknowledgement of what was sent before them: its own
/// setting does not hold for connections that are handed to it.
#[must_use]
pub fn incoming(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}

fn endpoint(peer: &Peer) -> Result<Endpoint> {
    let endpoint = Endpoint::from_shared(format!("http://{}", peer.address)).map_err(|error| {
        Error::Invalid(format!("address '{}' of worker {}: {error}", peer.address, peer.worker))
    })?;
    Ok(endpoint
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT))
}
