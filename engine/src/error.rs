//! The crate's one error type.

use std::sync::Arc;

use crate::wording::ComputeFailure;

/// The result of an engine call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong in the engine.
///
/// Every variant documents its cause, the state it leaves behind and what the caller does.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An expression or kernel failed on the rows given to it (division by zero, an overflow, a
    /// cast that does not fit). The task's attempt is over; the job fails with this message,
    /// since the same rows would fail again.
    #[error("{context}")]
    Compute {
        /// What was being done, as a verb phrase.
        context: String,
        /// What DataFusion or Arrow said.
        #[source]
        source: Arc<ComputeFailure>,
    },
    /// A row of an external input does not fit its schema or format, or one of a query does not
    /// fit the table that it goes into. With `'on-error' = 'skip'` rows of inputs are counted and
    /// left out, otherwise the job fails with this message.
    #[error("{location}: {reason}")]
    MalformedRow {
        /// File and line, as in `data/flights.csv:17`, or where the row was to go.
        location: String,
        /// Which field, what was found and what was expected.
        reason: String,
    },
    /// A setting, a WITH option or a graph is not valid. Nothing has been started.
    #[error("{0}")]
    Invalid(String),
    /// A file, directory or object store could not be read or written. What was published before
    /// stays; the caller may try again.
    #[error("{context}")]
    Storage {
        /// What was being done, as a verb phrase with the path.
        context: String,
        /// What the store said.
        #[source]
        source: Arc<object_store::Error>,
    },
    /// A local I/O call failed. The caller may try again.
    #[error("{context}")]
    Io {
        /// What was being done, as a verb phrase.
        context: String,
        /// What the operating system said.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// A checkpoint cannot be read or does not fit the operator that restores from it. The job
    /// is not started; another checkpoint or a changed query is needed.
    #[error("restore {what}: {reason}")]
    Restore {
        /// Operator or file.
        what: String,
        /// What does not fit.
        reason: String,
    },
    /// The worker's memory budget is used up. The job fails; a larger budget, a shorter
    /// `state.ttl` or more workers help.
    #[error(
        "{operator} holds {held_bytes} bytes of state, over the worker's budget of {budget_bytes} bytes"
    )]
    Memory {
        /// The operator that asked for more.
        operator: String,
        /// What it holds.
        held_bytes: usize,
        /// `state.memory-budget`.
        budget_bytes: usize,
    },
    /// The peer of a channel is gone because its task ended or failed. The attempt is over; its
    /// cause is reported by that peer.
    #[error("channel closed by its peer")]
    Closed,
    /// The task was told to stop. Nothing is wrong.
    #[error("cancelled")]
    Cancelled,
    /// An invariant of the engine does not hold. The attempt is over; a bug to report.
    #[error("internal error: {0}")]
    Internal(String),
}

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Trying again may succeed.
    Retry,
    /// The request is wrong and stays wrong.
    Invalid,
    /// The data is wrong.
    Data,
    /// A resource is exhausted or gone for now.
    Unavailable,
    /// A defect of the program.
    Bug,
}

impl Error {
    /// Tells what a caller can do about this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Compute { .. } | Self::MalformedRow { .. } => ErrorKind::Data,
            Self::Invalid(_) | Self::Restore { .. } => ErrorKind::Invalid,
            Self::Storage { .. } | Self::Io { .. } => ErrorKind::Retry,
            Self::Memory { .. } | Self::Closed | Self::Cancelled => ErrorKind::Unavailable,
            Self::Internal(_) => ErrorKind::Bug,
        }
    }

    /// Returns the causes, outer ones first, each told once and without what `object_store` says
    /// around a store's own words.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            next = cause.source();
            let text = cause.to_string();
            // Also where the error came through `std::io`, which hides its type.
            let around = text.strip_prefix("Generic ").and_then(|rest| rest.split_once(" error: "));
            let text = around.map_or(text.as_str(), |(_, own)| own);
            if causes.last().is_none_or(|before| !before.ends_with(text)) {
                causes.push(text.to_owned());
            }
        }
        causes
    }

    /// Wraps a DataFusion error with what was being done. An error of the engine's own that has
    /// only passed through DataFusion, as one of a table that it read, comes out as it was.
    pub fn compute(
        context: impl Into<String>,
        source: impl Into<datafusion::error::DataFusionError>,
    ) -> Self {
        let source = source.into();
        if let datafusion::error::DataFusionError::External(inner) = source.find_root()
            && let Some(own) = inner.downcast_ref::<Self>()
        {
            return own.clone();
        }
        Self::Compute { context: context.into(), source: Arc::new(ComputeFailure(source)) }
    }

    /// Wraps an object store's error with what was being done.
    pub fn storage(context: impl Into<String>, source: object_store::Error) -> Self {
        Self::Storage { context: context.into(), source: Arc::new(source) }
    }

    /// Wraps an I/O error with what was being done.
    pub fn io(context: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { context: context.into(), source: Arc::new(source) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once_and_in_the_stores_words() {
        let full = std::io::Error::other("no space left on device");
        let store = object_store::Error::Generic { store: "local", source: Box::new(full) };
        let error = Error::storage("write 'out/part-0.csv'", store);
        assert_eq!(error.causes(), ["no space left on device"]);

        let full = std::io::Error::other("no space left on device");
        let store = object_store::Error::Generic { store: "local", source: Box::new(full) };
        let error = Error::io("write 'out/part-0.csv'", std::io::Error::from(store));
        assert_eq!(error.causes(), ["no space left on device"]);

        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert_eq!(Error::io("open 'x'", denied).causes(), ["permission denied"]);
        assert!(Error::Closed.causes().is_empty());
    }
}
