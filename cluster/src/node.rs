//! A worker as part of a process: its listener, its place in the cluster, its end.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;
use rainstorm_engine::connector::ConnectorContext;
use rainstorm_engine::storage::{LocalStore, Storage};
use rainstorm_engine::time::{ClockRef, SystemClock};
use rainstorm_engine::{Error, Result};
use rainstorm_proto::master::RegisterRequest;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tonic::transport::Server;

use crate::codec;
use crate::worker::{self, GrpcMaster, Worker, WorkerConfig};

/// What a worker is started with.
#[derive(Debug, Clone)]
pub struct WorkerNodeConfig {
    /// `HOST:PORT` of the master.
    pub master: String,
    /// Tasks of a stage that run at a time, at least 1.
    pub slots: usize,
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The files of `sdfs://`; checkpoints are there, too.
    pub files: Arc<dyn ObjectStore>,
}

/// A worker that serves and is a member of its cluster.
pub struct WorkerNode {
    id: String,
    address: String,
    worker: Worker,
    master: GrpcMaster,
    membership: JoinHandle<()>,
    server: JoinHandle<()>,
    stop_server: oneshot::Sender<()>,
}

/// A worker registers under a new id with every start, so this never grows.
const INCARNATION: u64 = 1;

impl WorkerNode {
    /// Starts a worker and returns once the master has taken it in, however long that takes.
    ///
    /// # Errors
    /// `Io` where the address cannot be listened on or threads cannot be started, `Invalid`
    /// where the master's address is none.
    pub async fn start(config: WorkerNodeConfig) -> Result<Self> {
        let clock: ClockRef = Arc::new(SystemClock);
        let master = GrpcMaster::new(&config.master, Arc::clone(&clock))?;
        let listen = |error| Error::io(format!("listen on {}", config.listen), error);
        let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?.to_string();
        let id = format!("worker-{}", crate::identity::unique_id().simple());
        let worker = make_worker(&id, &config, clock, &master)?;
        let (stop_server, stopped) = oneshot::channel::<()>();
        let server = worker::tuned(Server::builder()).add_service(worker.service());
        let incoming = worker::incoming(listener);
        let server = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            if let Err(error) = server.serve_with_incoming_shutdown(incoming, stopped).await {
                tracing::error!(error = %error, "the worker's server ended");
            }
        });
        let registration = RegisterRequest {
            worker_id: id.clone(),
            address: address.clone(),
            slots: config.slots as u32,
            incarnation: INCARNATION,
        };
        let registered = Arc::new(Notify::new());
        let membership = {
            let (master, registered) = (master.clone(), Arc::clone(&registered));
            let keep = async move {
                master.keep_registered(registration, || registered.notify_one()).await;
            };
            tokio::spawn(keep)
        };
        let node = Self { id, address, worker, master, membership, server, stop_server };
        registered.notified().await;
        Ok(node)
    }

    /// Returns `HOST:PORT` of the worker's service.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Leaves the cluster, stops all tasks and the server.
    pub async fn stop(self) {
        self.membership.abort();
        if let Err(status) = self.master.leave(&self.id, INCARNATION).await {
            // The master finds out by itself, or is gone as well.
            tracing::debug!(error = %status, "the master did not hear that the worker leaves");
        }
        self.worker.shut_down().await;
        let _ = self.stop_server.send(());
        // Streams between workers may stay open for as long as their other ends do.
        self.server.abort();
    }
}

/// Returns the stores that URLs name: `sdfs://` and `file://`.
///
/// # Errors
/// `Io` where this machine's root directory cannot be opened.
pub fn storage(files: Arc<dyn ObjectStore>) -> Result<Storage> {
    let local: Arc<dyn ObjectStore> = Arc::new(LocalStore::open(Path::new("/"))?);
    Ok(Storage::new([("sdfs".to_owned(), files), ("file".to_owned(), local)]))
}

fn make_worker(
    id: &str,
    config: &WorkerNodeConfig,
    clock: ClockRef,
    master: &GrpcMaster,
) -> Result<Worker> {
    let functions = codec::functions(&clock);
    let connectors = ConnectorContext { storage: storage(Arc::clone(&config.files))?, clock };
    let config = WorkerConfig {
        id: id.to_owned(),
        slots: config.slots,
        state: Arc::clone(&config.files),
        connectors,
        functions,
    };
    Worker::new(config, Arc::new(master.clone()))
}
