//! The workers as the master reaches them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rainstorm_proto::worker::worker_client::WorkerClient;
use tonic::transport::{Channel, Endpoint};

use crate::exchange::MAX_MESSAGE_BYTES;
use crate::job::{WorkerId, WorkerSlots};
use crate::membership::{Health, Member, Membership, MembershipRef, Role};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Knows which workers there are and keeps one connection to each.
#[derive(Debug, Clone)]
pub(super) struct Workers {
    membership: MembershipRef,
    channels: Arc<Mutex<BTreeMap<String, Channel>>>,
}

impl Workers {
    pub(super) fn new(membership: MembershipRef) -> Self {
        Self { membership, channels: Arc::default() }
    }

    pub(super) fn membership(&self) -> &dyn Membership {
        self.membership.as_ref()
    }

    /// Lists the workers that take tasks now; `used` tells how many slots jobs use on each.
    pub(super) fn slots(&self, used: &BTreeMap<WorkerId, usize>) -> Vec<WorkerSlots> {
        let alive = self.alive();
        alive
            .map(|member| {
                let worker = WorkerId::new(member.id.as_str());
                let used = used.get(&worker).copied().unwrap_or(0);
                WorkerSlots { worker, slots: member.slots.max(1), used }
            })
            .collect()
    }

    /// Returns the number of slots of all workers that take tasks now.
    pub(super) fn total_slots(&self) -> usize {
        self.alive().map(|member| member.slots).sum()
    }

    /// Returns the address of each worker.
    pub(super) fn addresses(&self) -> BTreeMap<WorkerId, String> {
        let members = self.membership.members().into_iter();
        members.map(|(member, _)| (WorkerId::new(member.id.as_str()), member.address)).collect()
    }

    /// Returns a client of a worker, which connects when it is first used.
    ///
    /// # Errors
    /// A message where the worker is not known or its address is none.
    pub(super) fn client(&self, worker: &WorkerId) -> Result<WorkerClient<Channel>, String> {
        let address = self.addresses().remove(worker);
        let address = address.ok_or_else(|| format!("worker {worker} is not in the cluster"))?;
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = if let Some(channel) = channels.get(&address) {
            channel.clone()
        } else {
            let endpoint = Endpoint::from_shared(format!("http://{address}"))
                .map_err(|_| format!("worker {worker} has no address but '{address}'"))?;
            let channel =
                endpoint.tcp_nodelay(true).connect_timeout(CONNECT_TIMEOUT).connect_lazy();
            channels.insert(address, channel.clone());
            channel
        };
        Ok(WorkerClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    fn alive(&self) -> impl Iterator<Item = Member> {
        let members = self.membership.members().into_iter();
        members
            .filter(|(member, health)| {
                *health == Health::Alive && member.roles.contains(&Role::Worker)
            })
            .map(|(member, _)| member)
    }
}
