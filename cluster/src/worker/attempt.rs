//! What of one attempt is on this worker.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use object_store::path::Path;
use rainstorm_engine::graph::JobGraph;
use rainstorm_engine::memory::MemoryBudget;
use rainstorm_engine::task::{
    self, ChannelId, Sender, Task, TaskCommand, TaskEvent, TaskId, TaskMetrics,
};
use rainstorm_engine::{Epoch, Error};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use super::deploy::{Deployment, Outgoing};
use super::results::Item;
use super::{AttemptId, Shared, reporter};
use crate::exchange::{Encoder, send_channel};

/// How long tasks may take to stop on their own.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// What the reporter is told.
pub(super) enum News {
    /// A task says something.
    Task(TaskId, TaskEvent),
    /// Something other than a task has failed.
    Broken(Error),
    /// A checkpoint is wanted.
    Trigger(Epoch),
}

/// One attempt's tasks here, from their deployment until they have stopped.
pub(super) struct Attempt {
    id: AttemptId,
    graph: Arc<JobGraph>,
    state_directory: Path,
    commands: BTreeMap<TaskId, mpsc::UnboundedSender<TaskCommand>>,
    metrics: BTreeMap<TaskId, Arc<TaskMetrics>>,
    memory: Arc<MemoryBudget>,
    parts: Mutex<Parts>,
    /// Who reports what the tasks say. Its queue holds a few events per task and checkpoint.
    news: mpsc::UnboundedSender<News>,
    /// Set when the master wants the attempt gone.
    stop: CancellationToken,
    tasks: TaskTracker,
    shared: Arc<Shared>,
}

/// What is handed out once.
struct Parts {
    tasks: Vec<Task>,
    outgoing: Vec<Outgoing>,
    incoming: HashMap<ChannelId, Sender>,
    results: Option<mpsc::Receiver<Item>>,
    client: Option<Client>,
    queue: Option<mpsc::UnboundedReceiver<News>>,
    started: bool,
    aborts: Vec<AbortHandle>,
}

/// Where the end of the client's rows is said, once all its tasks have ended.
pub(super) struct Client {
    pub(super) sender: mpsc::Sender<Item>,
    pub(super) tasks: BTreeSet<TaskId>,
}

impl Attempt {
    pub(super) fn new(deployment: Deployment, shared: Arc<Shared>) -> Self {
        let (news, queue) = mpsc::unbounded_channel();
        let (results, client) = deployment
            .results
            .map(|queue| (queue.receiver, Client { sender: queue.sender, tasks: queue.tasks }))
            .unzip();
        let parts = Parts {
            tasks: deployment.tasks,
            outgoing: deployment.outgoing,
            incoming: deployment.incoming,
            results,
            client,
            queue: Some(queue),
            started: false,
            aborts: Vec::new(),
        };
        Self {
            id: deployment.id,
            graph: deployment.graph,
            state_directory: deployment.state_directory,
            commands: deployment.commands,
            metrics: deployment.metrics,
            memory: deployment.memory,
            parts: Mutex::new(parts),
            news,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            shared,
        }
    }

    pub(super) fn id(&self) -> &AttemptId {
        &self.id
    }

    pub(super) fn graph(&self) -> &Arc<JobGraph> {
        &self.graph
    }

    pub(super) fn metrics(&self) -> &BTreeMap<TaskId, Arc<TaskMetrics>> {
        &self.metrics
    }

    pub(super) fn memory(&self) -> &MemoryBudget {
        &self.memory
    }

    pub(super) fn state_directory(&self) -> &Path {
        &self.state_directory
    }

    pub(super) fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        // Nothing panics while the lock is held.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the reader's end of the client's rows, once.
    pub(super) fn take_results(&self) -> Result<mpsc::Receiver<Item>, Status> {
        self.parts().results.take().ok_or_else(|| {
            Status::failed_precondition(format!("{} has no rows, or they are being read", self.id))
        })
    }

    /// Returns the task's end of a channel from another worker, once.
    pub(super) fn take_incoming(&self, channel: ChannelId) -> Result<Sender, Status> {
        self.parts().incoming.remove(&channel).ok_or_else(|| {
            Status::failed_precondition(format!("{} does not wait for {channel:?}", self.id))
        })
    }

    /// Begins to report, also before the tasks run: where the attempt is over already, since its
    /// deployment came late, the master says so and it is stopped. Doing so again does nothing.
    pub(super) fn report(self: &Arc<Self>) {
        let (queue, client) = {
            let mut parts = self.parts();
            let Some(queue) = parts.queue.take() else { return };
            (queue, parts.client.take())
        };
        let reporter = reporter::Reporter::new(Arc::clone(self), Arc::clone(&self.shared), client);
        tokio::spawn(reporter.run(queue));
    }

    /// Lets the tasks run. Doing so again does nothing.
    pub(super) fn start(self: &Arc<Self>) {
        let (tasks, outgoing) = {
            let mut parts = self.parts();
            if std::mem::replace(&mut parts.started, true) {
                return;
            }
            (std::mem::take(&mut parts.tasks), std::mem::take(&mut parts.outgoing))
        };
        let aborts = tasks.into_iter().map(|task| self.spawn_task(task)).collect();
        self.parts().aborts = aborts;
        self.tasks.close();
        for channel in outgoing {
            tokio::spawn(Arc::clone(self).pump(channel));
        }
    }

    fn spawn_task(&self, task: Task) -> AbortHandle {
        let (id, news) = (task.id, self.news.clone());
        let run = self.tasks.track_future(run_task(id, task, news));
        self.shared.compute.spawn(run).abort_handle()
    }

    /// Sends a channel's messages to its receiver's worker until the attempt is stopped.
    async fn pump(self: Arc<Self>, outgoing: Outgoing) {
        let Outgoing { channel, receiver, peer } = outgoing;
        let edge = &self.graph.edges[channel.edge];
        let header = rainstorm_proto::worker::ExchangeHeader {
            attempt: Some(self.id.to_wire()),
            edge: channel.edge as u32,
            from: channel.from as u32,
            to: channel.to as u32,
            worker_id: self.shared.config.id.clone(),
        };
        let send = async {
            let encoder = Encoder::new(&edge.schema, edge.changelog)?;
            let client = self.shared.peers.client(&peer)?;
            send_channel(client, &peer, header, encoder, receiver).await
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            sent = send => if let Err(error) = sent {
                self.broken(error);
            }
        }
    }

    /// Notes that something other than a task has failed.
    pub(super) fn broken(&self, error: Error) {
        // Without a reporter the attempt is over.
        let _ = self.news.send(News::Broken(error));
    }

    /// Lets the sources here send a barrier.
    pub(super) fn trigger(&self, epoch: Epoch) {
        // First the reporter, which counts tasks that have finished as having passed it.
        let _ = self.news.send(News::Trigger(epoch));
        for (task, commands) in &self.commands {
            if self.graph.stage(task.stage).source.is_some() {
                // A task that has finished needs no barrier.
                let _ = commands.send(TaskCommand::Checkpoint(epoch));
            }
        }
    }

    /// Lets the sources of these stages end where they are.
    pub(super) fn end_sources(&self, stages: &[u32]) {
        for (task, commands) in &self.commands {
            if stages.contains(&task.stage.0) {
                // A task that has ended needs no command.
                let _ = commands.send(TaskCommand::End);
            }
        }
    }

    /// Tells the tasks to stop, and leaves streams to other workers open.
    pub(super) fn cancel_tasks(&self) {
        for commands in self.commands.values() {
            // A task that has ended needs no command.
            let _ = commands.send(TaskCommand::Cancel);
        }
    }

    /// Stops everything and returns when the tasks have stopped.
    pub(super) async fn stop(&self) {
        let bytes = self.memory.peak_bytes();
        tracing::info!(job_id = %self.id.job, bytes, "the most memory that was accounted for");
        self.stop.cancel();
        self.cancel_tasks();
        // What was never started goes with its channels.
        let aborts = {
            let mut parts = self.parts();
            parts.tasks.clear();
            parts.outgoing.clear();
            parts.incoming.clear();
            parts.client = None;
            parts.queue = None;
            std::mem::take(&mut parts.aborts)
        };
        self.tasks.close();
        let clock = &self.shared.config.connectors.clock;
        let deadline = clock.now_ms() + STOP_TIMEOUT.as_millis() as i64;
        tokio::select! {
            () = self.tasks.wait() => return,
            () = clock.sleep_until(deadline) => {}
        }
        tracing::warn!(job_id = %self.id.job, "tasks did not stop when told to, dropping them");
        aborts.iter().for_each(AbortHandle::abort);
        self.tasks.wait().await;
    }
}

/// Runs a task and passes on what it says. A panic is its failure and nobody else's.
async fn run_task(id: TaskId, task: Task, news: mpsc::UnboundedSender<News>) {
    let (sender, mut events) = mpsc::unbounded_channel();
    let forward = async {
        while let Some(event) = events.recv().await {
            // Without a reporter the attempt is over.
            let _ = news.send(News::Task(id, event));
        }
    };
    let (ran, ()) = tokio::join!(AssertUnwindSafe(task::run(task, sender)).catch_unwind(), forward);
    if let Err(panic) = ran {
        let error = Error::Internal(format!("a task panicked: {}", panic_message(&*panic)));
        let _ = news.send(News::Task(id, TaskEvent::Failed(error)));
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
