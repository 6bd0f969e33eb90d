//! The budget of a job, as DataFusion asks for memory.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryPool, MemoryReservation};

use super::{table, window_memory};
use crate::memory::MemoryBudget;

/// Counts what DataFusion's operators hold in a budget.
#[derive(Debug)]
pub(super) struct BudgetPool {
    memory: Arc<MemoryBudget>,
    reserved_bytes: AtomicUsize,
    /// Who held how much, by what budget, when memory was refused last.
    refusal: Mutex<Option<(String, usize, usize)>>,
}

impl BudgetPool {
    pub(super) fn new(memory: Arc<MemoryBudget>) -> Self {
        Self { memory, reserved_bytes: AtomicUsize::new(0), refusal: Mutex::default() }
    }

    /// Puts what was refused in the place of an error that only says that something was, as
    /// operators do that would rather write to disk.
    pub(super) fn explain(&self, error: DataFusionError) -> DataFusionError {
        if !matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)) {
            return error;
        }
        match self.refusal().clone() {
            Some((operator, held_bytes, budget_bytes)) => {
                let refused = crate::Error::Memory { operator, held_bytes, budget_bytes };
                DataFusionError::External(Box::new(refused))
            }
            None => error,
        }
    }

    fn refusal(&self) -> MutexGuard<'_, Option<(String, usize, usize)>> {
        // It is whole at any time.
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resize(&self, reservation: &MemoryReservation, now: usize) -> crate::Result<()> {
        let operator = operator_name(reservation.consumer().name());
        self.memory.resize(operator, reservation.size(), now)
    }
}

impl fmt::Display for BudgetPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl MemoryPool for BudgetPool {
    fn name(&self) -> &'static str {
        "budget"
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.reserved_bytes.fetch_add(additional, Relaxed);
        // Whoever takes without asking is found out by the next who asks.
        let _ = self.resize(reservation, reservation.size() + additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.reserved_bytes.fetch_sub(shrink, Relaxed);
        let operator = operator_name(reservation.consumer().name());
        // What becomes less is never refused.
        let _ = self.memory.resize(operator, shrink, 0);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let (before, now) = (reservation.size(), reservation.size() + additional);
        if let Err(error) = self.resize(reservation, now) {
            let operator = operator_name(reservation.consumer().name());
            // It is counted although it is refused.
            let _ = self.memory.resize(operator, now, before);
            if let crate::Error::Memory { operator, held_bytes, budget_bytes } = &error {
                *self.refusal() = Some((operator.clone(), *held_bytes, *budget_bytes));
            }
            return Err(DataFusionError::External(Box::new(error)));
        }
        self.reserved_bytes.fetch_add(additional, Relaxed);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.reserved_bytes.load(Relaxed)
    }
}

/// Returns what a user calls the operator that DataFusion names so.
fn operator_name(consumer: &str) -> &'static str {
    const NAMES: &[(&str, &str)] = &[
        ("GroupedHashAggregate", "Aggregate"),
        ("HashJoin", "Join"),
        ("NestedLoopJoin", "Join"),
        ("CrossJoin", "Join"),
        ("SMJ", "Join"),
        ("ExternalSorter", "Sort"),
        ("TopK", "Sort"),
        ("SortPreserving", "Sort"),
        ("Repartition", "Exchange"),
        (window_memory::CONSUMER, "Over"),
        (table::CONSUMER, "Source"),
    ];
    let found = NAMES.iter().find(|(prefix, _)| consumer.starts_with(prefix));
    found.map_or("Batch query", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::MemoryConsumer;

    use super::*;

    #[test]
    fn what_is_refused_is_not_counted_and_names_who_asked() {
        let memory = Arc::new(MemoryBudget::new(100));
        let budget = Arc::new(BudgetPool::new(Arc::clone(&memory)));
        let pool: Arc<dyn MemoryPool> = Arc::clone(&budget) as _;
        let reservation = MemoryConsumer::new("ExternalSorter[3]").register(&pool);
        reservation.try_grow(80).unwrap();
        let refused = reservation.try_grow(30).unwrap_err();
        assert!(refused.to_string().contains("Sort"), "{refused}");
        assert_eq!((memory.held_bytes(), pool.reserved()), (80, 80));
        let cause = DataFusionError::ResourcesExhausted("no disk".to_owned());
        assert_eq!(budget.explain(cause).to_string(), refused.to_string());
        reservation.shrink(50);
        reservation.try_grow(60).unwrap();
        assert_eq!(memory.held_bytes(), 90);
        drop(reservation);
        assert_eq!((memory.held_bytes(), pool.reserved()), (0, 0));
    }
}
