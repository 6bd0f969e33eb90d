//! A split of a source: how far it has been read, and how long it has had nothing.

use std::time::Duration;

use crate::connector::{SplitReader, SplitState};
use crate::time::TimestampMs;

/// A split with its reader, once it has been opened.
///
/// Whether it is idle is judged by its input: only time counts during which its reader was asked
/// for rows, or had said that there would be none. While the task waits for a full channel, or
/// reads another split, nobody knows what this one has.
pub(crate) struct OpenSplit {
    pub(crate) state: SplitState,
    pub(crate) reader: Option<Box<dyn SplitReader>>,
    pub(crate) rows: u64,
    pub(crate) skipped_rows: u64,
    /// What the reader held when it was asked last.
    pub(crate) reader_bytes: usize,
    /// The reader has nothing before this time.
    not_before: TimestampMs,
    /// When it ends, where its reader has but the split stays open.
    ends_at: Option<TimestampMs>,
    /// Since when the reader has found nothing, less the time in which it was not asked; `None`
    /// where it found rows when it was last asked.
    silent_since: Option<TimestampMs>,
}

impl OpenSplit {
    pub(crate) fn new(state: SplitState) -> Self {
        let not_before = TimestampMs::MIN;
        Self {
            state,
            reader: None,
            rows: 0,
            skipped_rows: 0,
            reader_bytes: 0,
            not_before,
            ends_at: None,
            silent_since: None,
        }
    }

    /// Returns when it may be read.
    pub(crate) fn not_before(&self) -> TimestampMs {
        self.not_before
    }

    /// Tells whether it may be read now.
    pub(crate) fn is_ready(&self, now: TimestampMs) -> bool {
        !self.state.finished && self.not_before <= now
    }

    /// Notes that the reader is asked for rows from now on.
    pub(crate) fn ask(&mut self, now: TimestampMs) {
        let since = *self.silent_since.get_or_insert(now);
        self.forget(now - self.not_before.max(since));
    }

    /// Leaves out a length of time in which the reader was not asked.
    pub(crate) fn forget(&mut self, unasked_ms: i64) {
        // The clock may have been set back.
        self.silent_since = self.silent_since.map(|since| since + unasked_ms.max(0));
    }

    /// Notes that the reader has found rows.
    pub(crate) fn found_rows(&mut self) {
        self.silent_since = None;
    }

    /// Notes that the reader has nothing before a time.
    pub(crate) fn found_none_before(&mut self, time: TimestampMs) {
        self.not_before = time;
    }

    /// Notes where the reader is.
    pub(crate) fn note_position(&mut self) {
        if let Some(reader) = &self.reader {
            self.state.split.position = reader.position();
            self.skipped_rows = reader.skipped_rows();
        }
    }

    /// Closes the reader for good.
    pub(crate) fn finish(&mut self) {
        self.note_position();
        self.reader = None;
        self.reader_bytes = 0;
        self.state.finished = true;
    }

    /// Lets it end some time later, without a row in the meantime.
    pub(crate) fn finish_after(&mut self, stays_open: Duration, now: TimestampMs) {
        let open_ms = i64::try_from(stays_open.as_millis()).unwrap_or(i64::MAX);
        self.note_position();
        self.not_before = now.saturating_add(open_ms);
        self.ends_at = Some(self.not_before);
    }

    /// Ends it where it has stayed open for as long as it is to.
    pub(crate) fn finish_if_due(&mut self, now: TimestampMs) {
        if self.ends_at.is_some_and(|ends_at| ends_at <= now) {
            self.finish();
            self.ends_at = None;
        }
    }

    /// Returns when the split becomes idle, or since when it is, where its reader finds nothing
    /// until then; `None` where nobody knows what it has.
    pub(crate) fn idle_at(
        &self,
        timeout: Duration,
        is_being_read: bool,
        now: TimestampMs,
    ) -> Option<TimestampMs> {
        let timeout_ms = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
        let is_known = is_being_read || self.not_before > now;
        self.silent_since.filter(|_| is_known).map(|since| since.saturating_add(timeout_ms))
    }
}
