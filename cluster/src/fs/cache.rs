//! Hot chunks in memory.

use std::hash::Hash;

use bytes::Bytes;
use lru::LruCache;

/// A cache bounded in bytes that one large scan does not empty: a chunk starts on probation, in a
/// quarter of the room, and only one that is asked for again gets into the rest.
#[derive(Debug)]
pub(crate) struct ByteCache<K: Hash + Eq> {
    probation: Segment<K>,
    protected: Segment<K>,
}

#[derive(Debug)]
struct Segment<K: Hash + Eq> {
    entries: LruCache<K, Bytes>,
    held_bytes: usize,
    limit_bytes: usize,
}

impl<K: Hash + Eq + Copy> ByteCache<K> {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        let probation = limit_bytes / 4;
        Self {
            probation: Segment::new(probation),
            protected: Segment::new(limit_bytes - probation),
        }
    }

    /// Returns a cached chunk and remembers that it was asked for.
    pub(crate) fn get(&mut self, key: &K) -> Option<Bytes> {
        if let Some(bytes) = self.protected.entries.get(key) {
            return Some(bytes.clone());
        }
        let bytes = self.probation.remove(key)?;
        for (demoted, bytes) in self.protected.insert(*key, bytes.clone()) {
            self.probation.insert(demoted, bytes);
        }
        Some(bytes)
    }

    /// Takes a chunk that was read from disk.
    pub(crate) fn insert(&mut self, key: K, bytes: Bytes) {
        if !self.protected.entries.contains(&key) {
            self.probation.insert(key, bytes);
        }
    }

    /// Forgets a chunk.
    pub(crate) fn remove(&mut self, key: &K) {
        self.probation.remove(key);
        self.protected.remove(key);
    }

    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.probation.held_bytes + self.protected.held_bytes
    }
}

impl<K: Hash + Eq> Segment<K> {
    fn new(limit_bytes: usize) -> Self {
        Self { entries: LruCache::unbounded(), held_bytes: 0, limit_bytes }
    }

    /// Returns what had to leave.
    fn insert(&mut self, key: K, bytes: Bytes) -> Vec<(K, Bytes)> {
        self.held_bytes += bytes.len();
        if let Some(before) = self.entries.put(key, bytes) {
            self.held_bytes -= before.len();
        }
        let mut left = Vec::new();
        while self.held_bytes > self.limit_bytes {
            let Some((key, bytes)) = self.entries.pop_lru() else { break };
            self.held_bytes -= bytes.len();
            left.push((key, bytes));
        }
        left
    }

    fn remove(&mut self, key: &K) -> Option<Bytes> {
        let bytes = self.entries.pop(key)?;
        self.held_bytes -= bytes.len();
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(length: usize) -> Bytes {
        Bytes::from(vec![7; length])
    }

    #[test]
    fn memory_stays_within_the_limit() {
        let mut cache = ByteCache::new(1000);
        for key in 0..100 {
            cache.insert(key, chunk(60));
            cache.get(&(key / 2));
            assert!(cache.held_bytes() <= 1000);
        }
        cache.insert(500, chunk(5000));
        assert!(cache.held_bytes() <= 1000);
        assert_eq!(cache.get(&500), None);
    }

    #[test]
    fn a_large_scan_leaves_the_hot_chunks() {
        let mut cache = ByteCache::new(1000);
        for key in 0..5 {
            cache.insert(key, chunk(50));
            cache.get(&key);
        }
        for key in 100..1000 {
            cache.insert(key, chunk(50));
        }
        for key in 0..5 {
            assert!(cache.get(&key).is_some(), "chunk {key} was pushed out");
        }
    }
}
