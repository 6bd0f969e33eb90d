//! The master: plans scripts, runs their jobs on the workers, and keeps the files.
//!
//! In the order in which a script meets them:
//!
//! - `client`: takes requests
//! - `sessions`: the shared catalog, settings and temporary objects
//! - `planning`: threads on which queries are planned
//! - `admission`: refuses scripts that could not run as they are meant to
//! - `script`, `events`: runs the steps of a script, and tells the client
//! - `batch`, `show_jobs`: answers that need no job
//! - `jobs`: which jobs there are and how they are doing
//! - `driver`, `lane`: perform what a [`JobManager`](crate::job::JobManager) wants done
//! - `workers`, `service`: where workers are, and what they tell
//! - `convert`: to and from the wire

mod admission;
mod client;
mod convert;
mod driver;
mod events;
mod job_names;
mod jobs;
mod lane;
mod plan_script;
mod planning;
mod run_record;
mod script;
mod service;
mod sessions;
mod show_jobs;
mod workers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStore;
use rainstorm_engine::connector::ConnectorContext;
use rainstorm_engine::time::{ClockRef, SystemClock};
use rainstorm_engine::{Error, Result};
use rainstorm_planner::Planner;
use rainstorm_proto::client::client_server::ClientServer;
use rainstorm_proto::files::files_server;
use rainstorm_proto::master::master_server::MasterServer;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use self::client::ClientFacing;
use self::jobs::Jobs;
use self::planning::Planning;
use self::service::WorkerFacing;
use self::sessions::Sessions;
use self::workers::Workers;
use crate::exchange::MAX_MESSAGE_BYTES;
use crate::fs::{self, FilesServer, Sdfs, SdfsStore};
use crate::identity::{DataDirectory, IdentityError};
use crate::membership::{HeartbeatConfig, MembershipRef, Registration};
use crate::worker;

/// How a master is started.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of its data: files, catalog, checkpoints. One process at a time.
    pub data: PathBuf,
    /// Where it listens; port 0 takes any free one.
    pub listen: SocketAddr,
}

/// What can keep a master from starting. Nothing has been started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory is in use, damaged or cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The files cannot be opened.
    #[error(transparent)]
    Files(#[from] fs::FsError),
    /// Anything else: the address is in use, the catalog cannot be read.
    #[error(transparent)]
    Other(#[from] Error),
}

/// Everything that the master's services share.
struct Shared {
    /// Where this master listens, as `HOST:PORT`.
    address: String,
    clock: ClockRef,
    connectors: ConnectorContext,
    /// Where checkpoints and the catalog are.
    store: Arc<dyn ObjectStore>,
    planner: Planner,
    planning: Planning,
    sessions: Sessions,
    registration: Arc<Registration>,
    workers: Workers,
    jobs: Jobs,
    leader_epoch: u64,
    /// Unique among all masters that ever wrote.
    writer: String,
}

/// A master that runs in this process.
pub struct Master {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
    data: DataDirectory,
}

impl Master {
    /// Opens the data directory and begins to serve.
    ///
    /// # Errors
    /// Where the directory is in use or damaged, or the address is taken.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let mut data = DataDirectory::open(&config.data)?;
        let clock: ClockRef = Arc::new(SystemClock);
        let files =
            Sdfs::open(fs::Config::new(data.path().join("sdfs"), Arc::clone(&clock))).await?;
        let listener = TcpListener::bind(config.listen).await;
        let listener =
            listener.map_err(|error| Error::io(format!("listen on {}", config.listen), error))?;
        let address = listener.local_addr().map_err(|error| Error::io("listen", error))?;
        let shared = Arc::new(share(address, &data, files.clone(), clock).await?);
        tokio::spawn(Arc::clone(&shared.registration).run());
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared), files, stop.clone()));
        data.publish_address(&address.to_string())?;
        Ok(Self { address, shared, stop, serving, data })
    }

    /// Returns where it listens, as `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Returns the files, for a worker in the same process.
    #[must_use]
    pub fn files(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.shared.store)
    }

    /// Returns when all jobs have ended, one way or another.
    pub async fn jobs_ended(&self) {
        self.shared.jobs.all_ended().await;
    }

    /// Stops all jobs and returns when they have stopped.
    pub async fn cancel_jobs(&self) {
        self.shared.jobs.cancel_all().await;
    }

    /// Stops all jobs, closes the files and gives the data directory free.
    pub async fn stop(self) {
        self.cancel_jobs().await;
        self.stop.cancel();
        // Connections of clients that do not go by themselves are cut by the process's end.
        self.serving.abort();
        let _ = self.serving.await;
        drop(self.data);
    }
}

async fn share(
    address: SocketAddr,
    data: &DataDirectory,
    files: Sdfs,
    clock: ClockRef,
) -> Result<Shared> {
    let store: Arc<dyn ObjectStore> = Arc::new(SdfsStore::new(files));
    let planner = Planner::new(&clock);
    let sessions = Sessions::open(Arc::clone(&store), &planner).await?;
    let registration = Arc::new(Registration::new(HeartbeatConfig::default(), Arc::clone(&clock)));
    let workers = Workers::new(Arc::clone(&registration) as MembershipRef);
    let identity = data.identity();
    Ok(Shared {
        address: address.to_string(),
        connectors: ConnectorContext {
            storage: crate::node::storage(Arc::clone(&store))?,
            clock: Arc::clone(&clock),
        },
        clock,
        store,
        planner,
        planning: Planning::start()?,
        sessions,
        registration,
        workers,
        jobs: Jobs::default(),
        leader_epoch: identity.boot,
        writer: format!("{}-{}", identity.node_id, identity.boot),
    })
}

async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    files: Sdfs,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let client = ClientServer::new(ClientFacing(Arc::clone(&shared)))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let master = MasterServer::new(WorkerFacing(shared))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let files = files_server::FilesServer::new(FilesServer::new(files))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    worker::tuned(Server::builder())
        .add_service(client)
        .add_service(master)
        .add_service(files)
        .serve_with_incoming_shutdown(worker::incoming(listener), stop.cancelled_owned())
        .await
}
