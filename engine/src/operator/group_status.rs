//! What is known of each group beside its key and its aggregates.

use std::time::Duration;

use crate::time::TimestampMs;

/// How often unused groups are looked for, as a part of the time after which they are dropped.
const SWEEPS_PER_TTL: i64 = 4;

/// The status of groups, by id.
#[derive(Default)]
pub(super) struct Groups {
    /// The number of rows, taken-back ones subtracted.
    pub(super) rows: Vec<i64>,
    /// Whether a row was emitted and not taken back.
    pub(super) emitted: Vec<bool>,
    /// Whether it may have changed since the last flush.
    is_dirty: Vec<bool>,
    pub(super) dirty: Vec<u32>,
    expiry: Option<Expiry>,
}

/// When groups were used, for those that are dropped some time later.
struct Expiry {
    ttl_ms: i64,
    /// `None` where it is not known, after a restore.
    used: Vec<Option<TimestampMs>>,
    next_sweep: Option<TimestampMs>,
}

impl Groups {
    /// Starts without groups. Those unused for longer than `ttl` may be dropped.
    pub(super) fn new(ttl: Option<Duration>) -> Self {
        let expiry = ttl.map(|ttl| Expiry {
            ttl_ms: (ttl.as_millis() as i64).max(1),
            used: Vec::new(),
            next_sweep: None,
        });
        Self { expiry, ..Self::default() }
    }

    /// Makes room for ids below `groups`.
    pub(super) fn grow(&mut self, groups: usize) {
        self.rows.resize(groups, 0);
        self.emitted.resize(groups, false);
        self.is_dirty.resize(groups, false);
        if let Some(expiry) = &mut self.expiry {
            expiry.used.resize(groups, None);
        }
    }

    /// Marks groups as changing; returns those whose emitted rows have to be kept for that.
    pub(super) fn touch(&mut self, ids: &[u32]) -> Vec<u32> {
        let mut emitted = Vec::new();
        for id in ids {
            let index = *id as usize;
            if !self.is_dirty[index] {
                self.is_dirty[index] = true;
                self.dirty.push(*id);
                if self.emitted[index] {
                    emitted.push(*id);
                }
            }
        }
        emitted
    }

    /// Marks a group as flushed.
    pub(super) fn settle(&mut self, id: u32, emitted: bool) {
        self.is_dirty[id as usize] = false;
        self.emitted[id as usize] = emitted;
    }

    /// Remembers when groups were used.
    pub(super) fn use_at(&mut self, ids: &[u32], now: TimestampMs) {
        if let Some(expiry) = &mut self.expiry {
            for id in ids {
                expiry.used[*id as usize] = Some(now);
            }
            expiry.plan(now);
        }
    }

    /// Returns when to look for unused groups.
    pub(super) fn next_sweep(&self) -> Option<TimestampMs> {
        self.expiry.as_ref().and_then(|expiry| expiry.next_sweep)
    }

    /// Returns which of the groups in use are to be dropped. They are reset here.
    pub(super) fn sweep(&mut self, live: &[u32], now: TimestampMs) -> Vec<u32> {
        let Some(expiry) = self.expiry.as_mut() else { return Vec::new() };
        let mut expired = Vec::new();
        for id in live {
            let index = *id as usize;
            let used = *expiry.used[index].get_or_insert(now);
            if !self.is_dirty[index] && used.saturating_add(expiry.ttl_ms) <= now {
                expired.push(*id);
                expiry.used[index] = None;
                self.rows[index] = 0;
                self.emitted[index] = false;
            }
        }
        expiry.next_sweep = None;
        if expired.len() < live.len() {
            expiry.plan(now);
        }
        expired
    }

    /// Returns an estimate of the bytes that it holds.
    pub(super) fn memory_bytes(&self) -> usize {
        let used = self.expiry.as_ref().map_or(0, |expiry| expiry.used.capacity());
        self.rows.capacity() * (size_of::<i64>() + 2)
            + self.dirty.capacity() * size_of::<u32>()
            + used * size_of::<Option<TimestampMs>>()
    }
}

impl Expiry {
    fn plan(&mut self, now: TimestampMs) {
        let interval_ms = (self.ttl_ms / SWEEPS_PER_TTL).max(1);
        self.next_sweep.get_or_insert(now.saturating_add(interval_ms));
    }
}
