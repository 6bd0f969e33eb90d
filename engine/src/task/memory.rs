//! The worker's budget for operator state.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Error, Result};

/// A number of bytes shared by the tasks of one job on one worker.
#[derive(Debug)]
pub struct MemoryBudget {
    limit_bytes: usize,
    held_bytes: AtomicUsize,
}

/// Bytes that are held until this is dropped.
#[derive(Debug)]
pub struct Hold {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl MemoryBudget {
    /// Makes a budget of `limit_bytes`.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, held_bytes: AtomicUsize::new(0) }
    }

    /// Returns what is held now, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Counts what is held for `operator` beside its state, for as long as the answer lives.
    ///
    /// # Errors
    /// `Memory` where the sum is over the budget.
    pub fn hold(self: &Arc<Self>, operator: &str, bytes: usize) -> Result<Hold> {
        let hold = Hold { budget: Arc::clone(self), bytes };
        self.resize(operator, 0, bytes)?;
        Ok(hold)
    }

    /// Changes what `operator` holds from `before` to `now` bytes.
    ///
    /// # Errors
    /// `Memory` where the sum is over the budget; the change is counted all the same.
    pub fn resize(&self, operator: &str, before: usize, now: usize) -> Result<()> {
        let others = self.held_bytes.fetch_sub(before, Ordering::Relaxed).wrapping_sub(before);
        let held = self.held_bytes.fetch_add(now, Ordering::Relaxed).wrapping_add(now);
        if held > self.limit_bytes && now > before {
            return Err(Error::Memory {
                operator: format!("{operator} (others {others} bytes)"),
                held_bytes: now,
                budget_bytes: self.limit_bytes,
            });
        }
        Ok(())
    }
}
