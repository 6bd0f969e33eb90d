//! The receiving end of a channel from another worker.

use futures::{Stream, StreamExt};
use prost::Message as _;
use rainstorm_engine::task::{Message, Sender};
use rainstorm_engine::time::Watermark;
use rainstorm_engine::{Epoch, Error, Result};
use rainstorm_proto::worker as proto;
use rainstorm_proto::worker::exchange_frame::Message as Body;
use rainstorm_proto::worker::exchange_request::Message as Request;
use tokio::sync::mpsc;
use tonic::Status;

use super::{Decoder, WINDOW_BYTES, broken, describe};

/// Where credits go.
pub(crate) type Replies = mpsc::Sender<Result<proto::ExchangeReply, Status>>;

/// Puts what another worker sends into a task's channel, until its end. The stream is the
/// caller's, because dropping it early is what the sender takes for a broken connection.
///
/// # Errors
/// `Io` where the stream breaks; `Closed` where the task is gone; `Invalid` or `Compute` where
/// the sender does not keep to the protocol.
pub(crate) async fn receive_channel<S>(
    header: &proto::ExchangeHeader,
    requests: &mut S,
    channel: Sender,
    decoder: Decoder,
    replies: &Replies,
) -> Result<()>
where
    S: Stream<Item = Result<proto::ExchangeRequest, Status>> + Unpin,
{
    grant(replies, WINDOW_BYTES).await;
    // Its bound is what has been granted.
    let (queue, frames) = mpsc::unbounded_channel();
    tokio::try_join!(read(header, requests, queue), forward(frames, channel, decoder, replies))?;
    Ok(())
}

/// Takes frames off the connection as they come.
async fn read<S>(
    header: &proto::ExchangeHeader,
    requests: &mut S,
    queue: mpsc::UnboundedSender<proto::ExchangeFrame>,
) -> Result<()>
where
    S: Stream<Item = Result<proto::ExchangeRequest, Status>> + Unpin,
{
    let context =
        || format!("receive rows from worker {} ({})", header.worker_id, describe(header));
    for expected in 0.. {
        let frame = match requests.next().await {
            Some(Ok(proto::ExchangeRequest { message: Some(Request::Frame(frame)) })) => frame,
            Some(Ok(_)) => return Err(Error::Invalid(format!("{}: no frame", context()))),
            Some(Err(status)) => return broken(context(), &status),
            None => {
                let reason = "the stream ended before its end was sent";
                return broken(context(), &Status::unavailable(reason));
            }
        };
        if frame.sequence != expected {
            let found = frame.sequence;
            let reason = format!("{}: frame {found} in place of {expected}", context());
            return Err(Error::Invalid(reason));
        }
        let last = matches!(frame.message, Some(Body::End(_)));
        // Where the other half has stopped, its error is what counts.
        if queue.send(frame).is_err() || last {
            break;
        }
    }
    Ok(())
}

/// Hands frames on and grants their bytes again once they are taken.
async fn forward(
    mut frames: mpsc::UnboundedReceiver<proto::ExchangeFrame>,
    mut channel: Sender,
    mut decoder: Decoder,
    replies: &Replies,
) -> Result<()> {
    let mut taken = 0;
    while let Some(frame) = frames.recv().await {
        taken += frame.encoded_len() as u64;
        let message = decode(frame, &mut decoder)?;
        channel.send(message).await?;
        if taken >= WINDOW_BYTES / 4 {
            grant(replies, taken).await;
            taken = 0;
        }
    }
    Ok(())
}

fn decode(frame: proto::ExchangeFrame, decoder: &mut Decoder) -> Result<Message> {
    Ok(match frame.message {
        Some(Body::Data(piece)) => Message::Data(decoder.decode(piece)?),
        Some(Body::WatermarkMs(mark)) => Message::Watermark(Watermark(mark)),
        Some(Body::Idle(_)) => Message::Idle,
        Some(Body::Barrier(epoch)) => Message::Barrier(Epoch(epoch)),
        Some(Body::End(_)) => Message::End,
        None => return Err(Error::Invalid("an empty frame of a channel".into())),
    })
}

async fn grant(replies: &Replies, credit_bytes: u64) {
    // Where the sender is gone, reading says so.
    let _ = replies.send(Ok(proto::ExchangeReply { credit_bytes })).await;
}
