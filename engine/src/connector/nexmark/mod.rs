//! The source `nexmark`: the events of an online auction, the workload by which streaming SQL
//! systems are compared (Tucker, Tufte, Papadimos, Maier: NEXMark, 2010; distributions as in
//! Apache Beam's generator).
//!
//! Event n is a function of n and the seed alone, whatever the splits and the columns that are
//! read, and every column is generated on its own, straight into Arrow arrays.

mod auction;
mod bid;
mod config;
mod filter;
mod generator;
mod person;
mod price;
mod reader;
mod selection;
#[cfg(test)]
mod tests;
mod texts;

use async_trait::async_trait;

pub use config::OPTIONS;
pub use filter::enforces;

use self::config::Config;
use self::filter::Kinds;
use self::generator::ROUND;
use self::reader::{ColumnPlan, NexmarkReader};
use super::counted::{Counter, Pace, Share, Stay, block_size};
use super::{ConnectorContext, Source, Split, SplitReader};
use crate::Result;
use crate::batch::TARGET_BATCH_ROWS;
use crate::graph::SourceSpec;
use crate::time::ClockRef;

/// A block holds whole rounds and fits a batch.
const FULL_BLOCK: u64 = TARGET_BATCH_ROWS as u64 / ROUND * ROUND;

/// The type of an event, as the column `event_type` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Person = 0,
    Auction = 1,
    Bid = 2,
}

impl Kind {
    /// Returns the type of an event.
    #[inline]
    fn of(event: u64) -> Self {
        match event % ROUND {
            0 => Self::Person,
            1..=generator::AUCTIONS => Self::Auction,
            _ => Self::Bid,
        }
    }
}

/// Generates the events of a table.
#[derive(Debug)]
pub struct NexmarkSource {
    config: Config,
    kinds: Kinds,
    plan: ColumnPlan,
    limit: Option<u64>,
    clock: ClockRef,
}

impl NexmarkSource {
    /// Makes the source of the columns in `spec.schema`.
    ///
    /// # Errors
    /// `Invalid` where an option, a column or a pushed-down filter is not one of nexmark's.
    pub fn new(spec: &SourceSpec, context: &ConnectorContext) -> Result<Self> {
        Ok(Self {
            config: Config::parse(&spec.options)?,
            kinds: Kinds::of_filters(&spec.filters)?,
            plan: ColumnPlan::new(&spec.schema)?,
            limit: spec.limit,
            clock: context.clock.clone(),
        })
    }
}

#[async_trait]
impl Source for NexmarkSource {
    fn bounded(&self) -> bool {
        self.config.events.is_some()
    }

    async fn splits(&self, parallelism: usize) -> Result<Vec<Split>> {
        let block = block_size(self.config.rows_per_second, FULL_BLOCK);
        Ok(Share::splits(self.config.splits.unwrap_or(parallelism), block))
    }

    async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>> {
        let pace = self.config.rows_per_second.map(|rate| Pace::new(rate, self.clock.clone()));
        let clock = self.clock.clone();
        let stay = self.config.open_ms.map(|open_ms| Stay { open_ms, clock, until: None });
        let counter = Counter {
            share: Share::parse(&split.position)?,
            // A filter that no event passes would keep the reader searching for ever.
            end: if self.kinds.are_none() { 0 } else { self.config.events.unwrap_or(u64::MAX) },
            pace,
            stay,
        };
        let config = self.config.clone();
        let plan = self.plan.clone();
        Ok(Box::new(NexmarkReader::new(counter, config, self.kinds, plan, self.limit)))
    }
}
