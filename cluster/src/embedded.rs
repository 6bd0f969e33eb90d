//! A whole cluster in one process: a master, a worker and the files, joined over loopback as they
//! would be over a network.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;

use rainstorm_proto::client::client_client::ClientClient;
use tonic::transport::{Channel, Endpoint};

use crate::exchange::MAX_MESSAGE_BYTES;
use crate::master::{self, Master, StartError};
use crate::node::{WorkerNode, WorkerNodeConfig};

/// How an embedded cluster is started.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of its data. One process at a time.
    pub data: PathBuf,
    /// Tasks of a stage at a time, and compute threads; default: one per core.
    pub slots: Option<usize>,
}

/// A cluster that runs in this process.
pub struct Cluster {
    master: Master,
    worker: WorkerNode,
}

impl Cluster {
    /// Starts a cluster and returns when its worker takes tasks.
    ///
    /// # Errors
    /// Where the data directory is in use or damaged, or something cannot be started.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let master = Master::start(master::Config { data: config.data, listen: loopback }).await?;
        let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
        let slots = config.slots.unwrap_or_else(cores).max(1);
        let worker = WorkerNodeConfig {
            master: master.address(),
            slots,
            listen: loopback,
            files: master.files(),
        };
        let worker = WorkerNode::start(worker).await?;
        Ok(Self { master, worker })
    }

    /// Returns where clients find it, as `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        self.master.address()
    }

    /// Returns a client of it, which connects when it is first used.
    ///
    /// # Panics
    /// Never: the address is one.
    #[must_use]
    pub fn client(&self) -> ClientClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address()));
        let endpoint = endpoint.expect("the address of a listener is a URI's");
        ClientClient::new(endpoint.tcp_nodelay(true).connect_lazy())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Stops all jobs, then worker and master, and gives the data directory free.
    pub async fn stop(self) {
        self.master.cancel_jobs().await;
        self.worker.stop().await;
        self.master.stop().await;
    }
}
