//! Decides from registrations and heartbeats who is in the cluster. Does no I/O and reads no
//! clock: every call is told the time.

use std::collections::BTreeMap;
use std::time::Duration;

use rainstorm_engine::time::TimestampMs;

use super::{Event, Health, Member, NodeId};

/// How long silence is borne.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// Time between two heartbeats of a node. Default 500 ms.
    pub interval: Duration,
    /// Silence after which a node is unreachable: several intervals. Default 2 s; less finds
    /// failures sooner and takes pauses for failures more often.
    pub unreachable_after: Duration,
    /// Silence after which a node is dead: longer than `unreachable_after`. Default 6 s.
    pub dead_after: Duration,
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(500),
            unreachable_after: Duration::from_secs(2),
            dead_after: Duration::from_secs(6),
        }
    }
}

/// The members by their heartbeats.
#[derive(Debug)]
pub struct Heartbeats {
    config: HeartbeatConfig,
    members: BTreeMap<NodeId, Heard>,
}

#[derive(Debug)]
struct Heard {
    member: Member,
    health: Health,
    last_ms: TimestampMs,
}

impl Heartbeats {
    /// Makes an empty membership.
    #[must_use]
    pub fn new(config: HeartbeatConfig) -> Self {
        Self { config, members: BTreeMap::new() }
    }

    /// Takes a registration. The same one again counts as a heartbeat, one of an older
    /// incarnation is ignored, a newer one supersedes.
    pub fn register(&mut self, now: TimestampMs, member: Member, events: &mut Vec<Event>) {
        match self.members.get(&member.id) {
            Some(known) if known.member.incarnation > member.incarnation => {}
            Some(known) if known.member == member => {
                self.heartbeat(now, &member.id, member.incarnation, events);
            }
            _ => {
                events.push(Event::Joined(member.clone()));
                let heard = Heard { member: member.clone(), health: Health::Alive, last_ms: now };
                self.members.insert(member.id, heard);
            }
        }
    }

    /// Takes a heartbeat, and tells whether the node is known; otherwise it has to register.
    pub fn heartbeat(
        &mut self,
        now: TimestampMs,
        id: &NodeId,
        incarnation: u64,
        events: &mut Vec<Event>,
    ) -> bool {
        let Some(heard) = self.members.get_mut(id) else { return false };
        if heard.member.incarnation != incarnation {
            return heard.member.incarnation > incarnation;
        }
        heard.last_ms = now;
        if heard.health == Health::Unreachable {
            heard.health = Health::Alive;
            events.push(Event::Reachable(id.clone()));
        }
        true
    }

    /// Takes a node's farewell.
    pub fn leave(&mut self, id: &NodeId, incarnation: u64, events: &mut Vec<Event>) {
        if self.members.get(id).is_some_and(|heard| heard.member.incarnation == incarnation) {
            self.members.remove(id);
            events.push(Event::Left(id.clone()));
        }
    }

    /// Looks for nodes that have been silent for too long.
    pub fn handle_timeout(&mut self, now: TimestampMs, events: &mut Vec<Event>) {
        let unreachable_ms = self.config.unreachable_after.as_millis() as i64;
        let dead_ms = self.config.dead_after.as_millis() as i64;
        self.members.retain(|id, heard| {
            let silence = now.saturating_sub(heard.last_ms);
            if heard.health == Health::Alive && silence >= unreachable_ms {
                heard.health = Health::Unreachable;
                events.push(Event::Unreachable(id.clone()));
            }
            let dead = silence >= dead_ms;
            if dead {
                events.push(Event::Dead(id.clone()));
            }
            !dead
        });
    }

    /// Lists the members, by id.
    #[must_use]
    pub fn members(&self) -> Vec<(Member, Health)> {
        self.members.values().map(|heard| (heard.member.clone(), heard.health)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::*;

    fn member(incarnation: u64) -> Member {
        Member {
            id: NodeId::new("w1"),
            incarnation,
            address: "127.0.0.1:1".into(),
            slots: 2,
            roles: vec![Role::Worker],
        }
    }

    fn check(heartbeats: &mut Heartbeats, now: TimestampMs, expected: &[Event]) {
        let mut events = Vec::new();
        heartbeats.handle_timeout(now, &mut events);
        assert_eq!(events, expected);
    }

    #[test]
    fn a_silent_node_becomes_unreachable_and_then_dead() {
        let mut heartbeats = Heartbeats::new(HeartbeatConfig::default());
        let id = NodeId::new("w1");
        let mut events = Vec::new();
        heartbeats.register(0, member(1), &mut events);
        assert_eq!(events, [Event::Joined(member(1))]);
        check(&mut heartbeats, 1_999, &[]);
        check(&mut heartbeats, 2_000, &[Event::Unreachable(id.clone())]);
        check(&mut heartbeats, 5_999, &[]);
        check(&mut heartbeats, 6_000, &[Event::Dead(id.clone())]);
        assert!(heartbeats.members().is_empty());
        assert!(!heartbeats.heartbeat(6_001, &id, 1, &mut events), "it has to register again");
    }

    #[test]
    fn an_unreachable_node_that_is_heard_again_is_reachable() {
        let mut heartbeats = Heartbeats::new(HeartbeatConfig::default());
        let id = NodeId::new("w1");
        let mut events = Vec::new();
        heartbeats.register(0, member(1), &mut events);
        check(&mut heartbeats, 2_000, &[Event::Unreachable(id.clone())]);
        events.clear();
        assert!(heartbeats.heartbeat(2_500, &id, 1, &mut events));
        assert_eq!(events, [Event::Reachable(id)]);
        check(&mut heartbeats, 4_000, &[]);
    }

    #[test]
    fn a_newer_incarnation_supersedes_and_an_older_one_is_ignored() {
        let mut heartbeats = Heartbeats::new(HeartbeatConfig::default());
        let id = NodeId::new("w1");
        let mut events = Vec::new();
        heartbeats.register(0, member(1), &mut events);
        heartbeats.register(1, member(2), &mut events);
        heartbeats.register(2, member(1), &mut events);
        heartbeats.leave(&id, 1, &mut events);
        assert_eq!(events, [Event::Joined(member(1)), Event::Joined(member(2))]);
        heartbeats.leave(&id, 2, &mut events);
        assert_eq!(events.last(), Some(&Event::Left(id)));
    }
}
