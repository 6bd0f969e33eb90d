//! Rows between tasks of different processes.
//!
//! Each channel between two subtasks is a gRPC stream of its own from the sender's worker to the
//! receiver's. A sender may have only so many bytes under way as the receiver has granted; the
//! receiver grants more when its task has taken rows off the channel. What has been granted is
//! always read off the connection at once, so that one channel that stands still does not hold
//! up the others of its connection.

mod frames;
mod peers;
mod pieces;
mod receive;
mod send;
#[cfg(test)]
mod tests;

pub(crate) use frames::{Decoder, Encoder, encode_rows, encode_streams};
pub(crate) use peers::{Peer, Peers};
pub use peers::{incoming, tuned};
pub(crate) use pieces::pieces;
pub(crate) use receive::{Replies, receive_channel};
pub(crate) use send::send_channel;

use std::io;

use rainstorm_engine::{Error, Result};
use rainstorm_proto::worker as proto;

/// What a sender may have under way on one channel, in bytes. The last frame may go over it.
const WINDOW_BYTES: u64 = 1 << 20;

/// The greatest size of any message between processes of a cluster and their clients, in bytes,
/// but for those about files. Rows are sent in pieces, so only single rows come near.
pub(crate) const MAX_MESSAGE_BYTES: usize = 1 << 30;

/// Describes a channel, for errors.
fn describe(header: &proto::ExchangeHeader) -> String {
    format!("edge {}, subtask {} to {}", header.edge, header.from, header.to)
}

/// Wraps a failure of the connection. Of what the network layers say, each around the other, the
/// innermost is kept, which is what happened.
fn broken<T>(context: String, status: &tonic::Status) -> Result<T> {
    let first = std::error::Error::source(status);
    let causes = std::iter::successors(first, |cause| cause.source());
    let cause = causes.last().map_or_else(|| status.message().to_owned(), ToString::to_string);
    Err(Error::io(context, io::Error::new(io::ErrorKind::ConnectionReset, cause)))
}
