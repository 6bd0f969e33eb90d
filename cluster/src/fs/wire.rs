//! Files on the wire: messages, and errors as status codes.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange};
use prost::Message as _;
use rainstorm_proto::files as proto;
use tonic::{Code, Status};

use super::error::{FsError, FsErrorKind};
use super::sdfs::FileInfo;

pub(crate) fn attributes_to_proto(attributes: &[(String, String)]) -> Vec<proto::Attribute> {
    let attribute = |(name, value): &(String, String)| proto::Attribute {
        name: name.clone(),
        value: value.clone(),
    };
    attributes.iter().map(attribute).collect()
}

pub(crate) fn attributes_from_proto(attributes: Vec<proto::Attribute>) -> Vec<(String, String)> {
    attributes.into_iter().map(|attribute| (attribute.name, attribute.value)).collect()
}

pub(crate) fn info_to_proto(info: &FileInfo) -> proto::FileInfo {
    proto::FileInfo {
        path: info.path.clone(),
        size: info.size,
        last_modified_ms: info.last_modified_ms,
        etag: info.etag.clone(),
        attributes: attributes_to_proto(&info.attributes),
        chunks: info.chunks,
    }
}

pub(crate) fn info_from_proto(info: proto::FileInfo) -> FileInfo {
    FileInfo {
        path: info.path,
        size: info.size,
        last_modified_ms: info.last_modified_ms,
        etag: info.etag,
        attributes: attributes_from_proto(info.attributes),
        chunks: info.chunks,
    }
}

pub(crate) fn get_to_proto(path: &Path, options: &GetOptions) -> proto::GetRequest {
    use proto::get_request::Range;
    let range = options.range.as_ref().map(|range| match range {
        GetRange::Bounded(range) => {
            Range::Bounded(proto::Bounds { start: range.start, end: range.end })
        }
        GetRange::Offset(offset) => Range::Offset(*offset),
        GetRange::Suffix(suffix) => Range::Suffix(*suffix),
    });
    proto::GetRequest {
        path: path.to_string(),
        if_match: options.if_match.clone().unwrap_or_default(),
        if_none_match: options.if_none_match.clone().unwrap_or_default(),
        if_modified_since_ms: options.if_modified_since.map(|time| time.timestamp_millis()),
        if_unmodified_since_ms: options.if_unmodified_since.map(|time| time.timestamp_millis()),
        range,
    }
}

pub(crate) fn get_from_proto(request: proto::GetRequest) -> Result<(Path, GetOptions), Status> {
    use proto::get_request::Range;
    let time = |ms: Option<i64>| ms.and_then(chrono::DateTime::from_timestamp_millis);
    let some = |text: String| (!text.is_empty()).then_some(text);
    let range = request.range.map(|range| match range {
        Range::Bounded(bounds) => GetRange::Bounded(bounds.start..bounds.end),
        Range::Offset(offset) => GetRange::Offset(offset),
        Range::Suffix(suffix) => GetRange::Suffix(suffix),
    });
    let options = GetOptions {
        if_match: some(request.if_match),
        if_none_match: some(request.if_none_match),
        if_modified_since: time(request.if_modified_since_ms),
        if_unmodified_since: time(request.if_unmodified_since_ms),
        range,
        ..GetOptions::default()
    };
    Ok((parse_path(&request.path)?, options))
}

pub(crate) fn parse_path(path: &str) -> Result<Path, Status> {
    Path::parse(path).map_err(|error| Status::invalid_argument(error.to_string()))
}

/// Tells an error of the store as a status. What the client needs is the code; the message is for
/// people.
pub(crate) fn status(error: &Error) -> Status {
    let cause = std::error::Error::source(error);
    let fs_error = cause.and_then(|cause| cause.downcast_ref::<FsError>());
    let code = match error {
        Error::NotFound { .. } => Code::NotFound,
        Error::AlreadyExists { .. } => Code::AlreadyExists,
        Error::Precondition { .. } => Code::FailedPrecondition,
        Error::NotModified { .. } => Code::Aborted,
        Error::InvalidPath { .. } => Code::InvalidArgument,
        Error::NotSupported { .. } | Error::NotImplemented { .. } => Code::Unimplemented,
        _ => match fs_error {
            Some(FsError::Full { .. }) => Code::ResourceExhausted,
            Some(error) => match error.kind() {
                FsErrorKind::Data => Code::DataLoss,
                FsErrorKind::Invalid => Code::InvalidArgument,
                FsErrorKind::Retry | FsErrorKind::Unavailable => Code::Unavailable,
            },
            None => Code::OutOfRange,
        },
    };
    let message = fs_error.map_or_else(|| error.to_string(), with_causes);
    Status::new(code, message)
}

/// Tells a status as the error that it was, for a call about `path` at a node. Copies name the
/// target as `existing`.
pub(crate) fn error(status: &Status, node: &str, path: &Path, existing: &Path) -> Error {
    let first = std::error::Error::source(status);
    let connection = std::iter::successors(first, |cause| cause.source()).last();
    let reason = if let Some(cause) = connection {
        format!("the master at {node} cannot be reached: {cause}")
    } else if outcome_unknown(status) {
        format!("file store at {node}: {}", status.message())
    } else {
        status.message().to_owned()
    };
    let remote = |kind| FsError::Remote { kind, reason: reason.clone() };
    let source = Box::new(remote(FsErrorKind::Invalid));
    match status.code() {
        Code::NotFound => Error::NotFound { path: path.to_string(), source },
        Code::AlreadyExists => Error::AlreadyExists { path: existing.to_string(), source },
        Code::FailedPrecondition => Error::Precondition { path: path.to_string(), source },
        Code::Aborted => Error::NotModified { path: path.to_string(), source },
        Code::Unimplemented => Error::NotSupported { source },
        code => {
            let kind = match code {
                Code::InvalidArgument | Code::OutOfRange => FsErrorKind::Invalid,
                Code::DataLoss => FsErrorKind::Data,
                Code::ResourceExhausted => FsErrorKind::Unavailable,
                _ => FsErrorKind::Retry,
            };
            Error::Generic { store: "SDFS", source: Box::new(remote(kind)) }
        }
    }
}

/// Tells whether a request may have been applied although it failed.
pub(crate) fn outcome_unknown(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::Unknown
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Internal
    )
}

/// Cuts a listing into messages, the size of which is bounded as that of a file's pieces is.
pub(crate) fn list_pages(
    files: &[FileInfo],
    common_prefixes: Vec<String>,
) -> Vec<proto::ListReply> {
    let mut pages = vec![proto::ListReply::default()];
    let mut bytes = 0;
    let mut page_for = |pages: &mut Vec<proto::ListReply>, entry_bytes: usize| {
        if bytes > 0 && bytes + entry_bytes > PIECE_BYTES {
            pages.push(proto::ListReply::default());
            bytes = 0;
        }
        bytes += entry_bytes;
        pages.len() - 1
    };
    for info in files.iter().map(info_to_proto) {
        let page = page_for(&mut pages, info.encoded_len() + ENTRY_BYTES);
        pages[page].files.push(info);
    }
    for prefix in common_prefixes {
        let page = page_for(&mut pages, prefix.len() + ENTRY_BYTES);
        pages[page].common_prefixes.push(prefix);
    }
    pages
}

/// What a message needs at most beside an entry's own bytes, to hold it.
const ENTRY_BYTES: usize = 16;

/// The most bytes of a file in one message.
pub(crate) const PIECE_BYTES: usize = 1 << 20;

/// Cuts bytes into pieces that fit into messages.
pub(crate) fn pieces(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        (!bytes.is_empty()).then(|| bytes.split_to(bytes.len().min(PIECE_BYTES)))
    })
}

fn with_causes(error: &FsError) -> String {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message.push_str(": ");
        message.push_str(&error.to_string());
        cause = error.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_of_any_length_is_cut_into_messages_of_a_bounded_size() {
        let file = |number: usize| FileInfo {
            path: format!("a/directory/with/a/long/path/{number:0100}"),
            size: 1,
            last_modified_ms: 1_700_000_000_000,
            etag: "0123456789abcdef0123456789abcdef".to_owned(),
            attributes: Vec::new(),
            chunks: 1,
        };
        let files = (0..45_000).map(file).collect::<Vec<_>>();
        let directories = (0..45_000).map(|number| format!("a/{number:0100}")).collect::<Vec<_>>();
        let pages = list_pages(&files, directories.clone());
        assert!(pages.len() > 10, "{} pages", pages.len());
        assert!(pages.iter().all(|page| page.encoded_len() <= PIECE_BYTES));
        let listed = pages.iter().flat_map(|page| &page.files).map(|file| &file.path);
        assert!(listed.eq(files.iter().map(|file| &file.path)));
        assert!(pages.iter().flat_map(|page| &page.common_prefixes).eq(&directories));
        assert_eq!(list_pages(&[], Vec::new()).len(), 1, "an empty directory is an answer too");
    }
}
