//! Who is in the cluster.
//!
//! [`Membership`] is what the master and the console ask. Today it is filled by [`Registration`]:
//! nodes register with the master and send heartbeats. It advises and never decides correctness.

mod heartbeats;
mod registration;

use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;

pub use heartbeats::{HeartbeatConfig, Heartbeats};
pub use registration::Registration;

/// Names a node of the cluster, the same across its restarts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// Makes an id of a name that is unique in the cluster.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a node does for the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Can lead: takes jobs and runs their control.
    Master,
    /// Runs tasks.
    Worker,
    /// Stores files.
    Storage,
}

/// A node and what it tells about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The node.
    pub id: NodeId,
    /// Grows with every start of the node.
    pub incarnation: u64,
    /// `host:port` of its services.
    pub address: String,
    /// The number of task slots; 0 unless it is a worker.
    pub slots: usize,
    /// What it does, sorted.
    pub roles: Vec<Role>,
}

/// How a member is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answers.
    Alive,
    /// It has not been heard of for a while: nothing new is given to it.
    Unreachable,
}

/// A change of the membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A node is there, or has come back with a new incarnation. What ran on it before is gone.
    Joined(Member),
    /// A node has left on purpose.
    Left(NodeId),
    /// A node has not been heard of for a while: stop giving work to it.
    Unreachable(NodeId),
    /// An unreachable node of the same incarnation has been heard of again.
    Reachable(NodeId),
    /// A node has not been heard of for so long that it is given up: fail over.
    Dead(NodeId),
}

/// Tells who is in the cluster.
pub trait Membership: Send + Sync + fmt::Debug {
    /// Lists the members, by id, with how they are doing.
    fn members(&self) -> Vec<(Member, Health)>;

    /// Returns the members of now together with all events that come after, in order and without
    /// gaps. A subscriber that does not read costs memory for every change of the membership.
    fn subscribe(&self) -> (Vec<(Member, Health)>, mpsc::UnboundedReceiver<Event>);
}

/// A shared [`Membership`].
pub type MembershipRef = Arc<dyn Membership>;
