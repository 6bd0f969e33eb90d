//! Membership by registration with the master.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rainstorm_engine::time::ClockRef;
use tokio::sync::mpsc;

use super::{Event, Health, HeartbeatConfig, Heartbeats, Member, Membership, NodeId};

/// Drives [`Heartbeats`] by the clock and hands its events to the subscribers.
#[derive(Debug)]
pub struct Registration {
    clock: ClockRef,
    config: HeartbeatConfig,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    heartbeats: Heartbeats,
    subscribers: Vec<mpsc::UnboundedSender<Event>>,
}

impl Registration {
    /// Makes an empty membership; [`run`](Self::run) watches for silence.
    #[must_use]
    pub fn new(config: HeartbeatConfig, clock: ClockRef) -> Self {
        let state = State { heartbeats: Heartbeats::new(config), subscribers: Vec::new() };
        Self { clock, config, state: Mutex::new(state) }
    }

    /// Returns how often nodes are to send heartbeats.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.config.interval
    }

    /// Takes a registration.
    pub fn register(&self, member: Member) {
        let now = self.clock.now_ms();
        self.change(|heartbeats, events| heartbeats.register(now, member, events));
    }

    /// Takes a heartbeat, and tells whether the node is known; otherwise it has to register.
    pub fn heartbeat(&self, id: &NodeId, incarnation: u64) -> bool {
        let now = self.clock.now_ms();
        self.change(|heartbeats, events| heartbeats.heartbeat(now, id, incarnation, events))
    }

    /// Takes a node's farewell.
    pub fn leave(&self, id: &NodeId, incarnation: u64) {
        self.change(|heartbeats, events| heartbeats.leave(id, incarnation, events));
    }

    /// Looks for silent nodes, twice per heartbeat, until nobody else holds the membership.
    pub async fn run(self: Arc<Self>) {
        let this = Arc::downgrade(&self);
        let clock = Arc::clone(&self.clock);
        let step_ms = (self.config.interval.as_millis() as i64 / 2).max(1);
        drop(self);
        loop {
            clock.sleep_until(clock.now_ms().saturating_add(step_ms)).await;
            let Some(this) = this.upgrade() else { return };
            let now = clock.now_ms();
            this.change(|heartbeats, events| heartbeats.handle_timeout(now, events));
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Heartbeats, &mut Vec<Event>) -> T) -> T {
        let mut state = self.lock();
        let mut events = Vec::new();
        let answer = change(&mut state.heartbeats, &mut events);
        for event in events {
            state.subscribers.retain(|subscriber| subscriber.send(event.clone()).is_ok());
        }
        answer
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Membership for Registration {
    fn members(&self) -> Vec<(Member, Health)> {
        self.lock().heartbeats.members()
    }

    fn subscribe(&self) -> (Vec<(Member, Health)>, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.lock();
        state.subscribers.push(sender);
        (state.heartbeats.members(), receiver)
    }
}

#[cfg(test)]
mod tests {
    use rainstorm_engine::time::SimulatedClock;

    use super::super::Role;
    use super::*;

    #[tokio::test]
    async fn subscribers_get_members_and_then_every_event_in_order() {
        let clock = Arc::new(SimulatedClock::new(0));
        let registration =
            Arc::new(Registration::new(HeartbeatConfig::default(), Arc::clone(&clock) as ClockRef));
        let watching = tokio::spawn(Arc::clone(&registration).run());
        let member = |name: &str| Member {
            id: NodeId::new(name),
            incarnation: 1,
            address: "127.0.0.1:1".into(),
            slots: 1,
            roles: vec![Role::Worker],
        };
        registration.register(member("a"));
        let (members, mut events) = registration.subscribe();
        assert_eq!(members, [(member("a"), Health::Alive)]);
        registration.register(member("b"));
        registration.leave(&NodeId::new("b"), 1);
        assert_eq!(events.recv().await, Some(Event::Joined(member("b"))));
        assert_eq!(events.recv().await, Some(Event::Left(NodeId::new("b"))));
        let mut now = 0;
        let mut silent = Vec::new();
        while silent.len() < 2 {
            now += 250;
            clock.advance_to(now);
            tokio::task::yield_now().await;
            silent.extend(events.try_recv());
        }
        assert_eq!(silent[0], Event::Unreachable(NodeId::new("a")));
        assert_eq!(silent[1], Event::Dead(NodeId::new("a")));
        drop(registration);
        clock.advance_to(i64::MAX);
        watching.await.expect("the watch ends by itself");
    }
}
