//! The worker's budget for operator state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Error, Result};

/// A number of bytes shared by the tasks of one job on one worker.
#[derive(Debug)]
pub struct MemoryBudget {
    limit_bytes: usize,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    held_bytes: usize,
    peak_bytes: usize,
    /// By what people call that which holds.
    by_holder: BTreeMap<&'static str, usize>,
}

/// Bytes, and what people call that which holds them: an operator mostly.
pub type Holding = (&'static str, usize);

/// Bytes that are held until this is dropped.
#[derive(Debug)]
pub struct Hold {
    budget: Arc<MemoryBudget>,
    holding: Holding,
}

impl Hold {
    /// Counts more for the same holder, for as long as the answer lives.
    ///
    /// # Errors
    /// `Memory` where the sum is over the budget.
    pub fn beside(&self, bytes: usize) -> Result<Self> {
        self.budget.hold(self.holding.0, bytes)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.books().change(&[self.holding], &[]);
    }
}

impl Books {
    fn change(&mut self, before: &[Holding], now: &[Holding]) {
        for (holder, bytes) in before {
            self.held_bytes = self.held_bytes.saturating_sub(*bytes);
            let held = self.by_holder.entry(holder).or_default();
            *held = held.saturating_sub(*bytes);
        }
        for (holder, bytes) in now {
            self.held_bytes += bytes;
            *self.by_holder.entry(holder).or_default() += bytes;
        }
        self.peak_bytes = self.peak_bytes.max(self.held_bytes);
    }
}

impl MemoryBudget {
    /// Makes a budget of `limit_bytes`.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, books: Mutex::default() }
    }

    /// Returns what is held now, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.books().held_bytes
    }

    /// Returns the most that was held at once so far, in bytes.
    #[must_use]
    pub fn peak_bytes(&self) -> usize {
        self.books().peak_bytes
    }

    /// Counts what is held for `holder` beside its state, for as long as the answer lives.
    ///
    /// # Errors
    /// `Memory` where the sum is over the budget.
    pub fn hold(self: &Arc<Self>, holder: &'static str, bytes: usize) -> Result<Hold> {
        let hold = Hold { budget: Arc::clone(self), holding: (holder, bytes) };
        self.change(&[], &[hold.holding])?;
        Ok(hold)
    }

    /// Changes what `holder` holds from `before` to `now` bytes; see [`Self::change`].
    ///
    /// # Errors
    /// `Memory` where the sum is over the budget.
    pub fn resize(&self, holder: &'static str, before: usize, now: usize) -> Result<()> {
        self.change(&[(holder, before)], &[(holder, now)])
    }

    /// Puts what is held `now` in the place of what was `before`.
    ///
    /// # Errors
    /// `Memory` where it has become more and the sum is over the budget. It names what holds most
    /// of all, whoever took the last bytes; the change is counted all the same.
    pub fn change(&self, before: &[Holding], now: &[Holding]) -> Result<()> {
        let sum = |holdings: &[Holding]| holdings.iter().map(|holding| holding.1).sum::<usize>();
        let mut books = self.books();
        books.change(before, now);
        if books.held_bytes <= self.limit_bytes || sum(now) <= sum(before) {
            return Ok(());
        }
        let most = books.by_holder.iter().max_by_key(|(_, bytes)| **bytes);
        let (holder, held_bytes) = most.map_or(("none", 0), |(holder, bytes)| (*holder, *bytes));
        let others = books.held_bytes - held_bytes;
        Err(Error::Memory {
            operator: format!("{holder} (others {others} bytes)"),
            held_bytes,
            budget_bytes: self.limit_bytes,
        })
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Nothing panics while the lock is held, and books are whole after each change.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_most_is_named_whoever_takes_the_last_bytes() {
        let budget = Arc::new(MemoryBudget::new(100));
        budget.change(&[], &[("Source", 10), ("Project", 0)]).unwrap();
        budget.resize("GroupAggregate", 0, 70).unwrap();
        let refused = budget.resize("Source", 10, 40).unwrap_err().to_string();
        assert!(refused.starts_with("GroupAggregate (others 40 bytes) holds 70"), "{refused}");
        budget.resize("Source", 40, 35).unwrap();
        assert_eq!((budget.held_bytes(), budget.peak_bytes()), (105, 110));
    }

    #[test]
    fn what_is_held_beside_state_goes_with_its_hold() {
        let budget = Arc::new(MemoryBudget::new(100));
        let tables = budget.hold("WindowJoin", 60).unwrap();
        let file = tables.beside(30).unwrap();
        assert!(tables.beside(20).unwrap_err().to_string().starts_with("WindowJoin"));
        drop(tables);
        assert_eq!(budget.held_bytes(), 30);
        drop(file);
        assert_eq!(budget.held_bytes(), 0);
    }
}
