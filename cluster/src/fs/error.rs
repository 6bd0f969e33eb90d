//! What can go wrong in the file store.

use std::io;
use std::sync::Arc;

/// The result of a file store's call.
pub(crate) type Result<T, E = FsError> = std::result::Result<T, E>;

/// What went wrong in the file store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FsError {
    /// There is no file at the path. Nothing was changed.
    #[error("file /{path} does not exist")]
    NotFound {
        /// The path.
        path: String,
    },
    /// There is a file already where one was to be created. Nothing was changed.
    #[error("file /{path} exists already")]
    AlreadyExists {
        /// The path.
        path: String,
    },
    /// The file's etag is not the one asked for, or there is no file. Nothing was changed; the
    /// caller reads again and decides anew.
    #[error("file /{path}: {reason}")]
    Precondition {
        /// The path.
        path: String,
        /// What was found.
        reason: String,
    },
    /// The disk is full but for what is held back for reading, deleting and repairing. Nothing
    /// was changed; the caller frees space.
    #[error(
        "disk is full: {needed_bytes} bytes to write, {available_bytes} free of which {reserved_bytes} are held back"
    )]
    Full {
        /// Bytes that were to be written.
        needed_bytes: u64,
        /// Bytes free on the disk.
        available_bytes: u64,
        /// Bytes that are held back.
        reserved_bytes: u64,
    },
    /// What is on disk is not what was written. A damaged chunk fails the reads that need it; a
    /// damaged log keeps the store from opening.
    #[error("{what} is damaged: {reason}")]
    Corrupt {
        /// The file, with the offset where there is one.
        what: String,
        /// What was found.
        reason: String,
    },
    /// A file was written by a newer program. Nothing was changed.
    #[error("{what} has version {found}, newer than this program")]
    Version {
        /// The file.
        what: String,
        /// Its version.
        found: u16,
    },
    /// A call to the operating system failed. Nothing was acknowledged.
    #[error("{context}")]
    Io {
        /// What was being done, as a verb phrase with the path.
        context: String,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The log could not be synced. What it holds is unknown until it is opened again, so no more
    /// writes are taken; reads go on.
    #[error("file store takes no more writes since its log failed: {reason}")]
    Failed {
        /// The failure of the log.
        reason: String,
    },
    /// The request makes no sense. Nothing was changed.
    #[error("{0}")]
    Invalid(String),
    /// Another process's file store failed or cannot be reached. Its kind tells what to do.
    #[error("{reason}")]
    Remote {
        /// What the caller can do.
        kind: FsErrorKind,
        /// What the other process said.
        reason: String,
    },
}

/// What a caller can do about an [`FsError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsErrorKind {
    /// Trying again may succeed.
    Retry,
    /// The request is wrong, or does not fit the file's state.
    Invalid,
    /// Data on disk is wrong.
    Data,
    /// A resource is exhausted or gone for now.
    Unavailable,
}

impl FsError {
    /// Tells what a caller can do about this error.
    #[must_use]
    pub fn kind(&self) -> FsErrorKind {
        match self {
            Self::NotFound { .. } | Self::AlreadyExists { .. } | Self::Precondition { .. } => {
                FsErrorKind::Invalid
            }
            Self::Invalid(_) | Self::Version { .. } => FsErrorKind::Invalid,
            Self::Corrupt { .. } => FsErrorKind::Data,
            Self::Full { .. } | Self::Failed { .. } => FsErrorKind::Unavailable,
            Self::Io { .. } => FsErrorKind::Retry,
            Self::Remote { kind, .. } => *kind,
        }
    }

    pub(crate) fn io(context: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let context = context.into();
        move |source| Self::Io { context, source: Arc::new(source) }
    }

    pub(crate) fn corrupt(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into(), reason: reason.into() }
    }
}

impl From<FsError> for object_store::Error {
    fn from(error: FsError) -> Self {
        match &error {
            FsError::NotFound { path } => {
                Self::NotFound { path: path.clone(), source: Box::new(error) }
            }
            FsError::AlreadyExists { path } => {
                Self::AlreadyExists { path: path.clone(), source: Box::new(error) }
            }
            FsError::Precondition { path, .. } => {
                Self::Precondition { path: path.clone(), source: Box::new(error) }
            }
            _ => Self::Generic { store: "SDFS", source: Box::new(error) },
        }
    }
}
