//! The sending end of a channel to another worker.

use std::future::pending;

use futures::StreamExt;
use prost::Message as _;
use rainstorm_engine::Result;
use rainstorm_engine::task::{Message, Receiver};
use rainstorm_proto::worker as proto;
use rainstorm_proto::worker::exchange_frame::{self, Message as Body};
use rainstorm_proto::worker::exchange_request::Message as Request;
use rainstorm_proto::worker::worker_client::WorkerClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::{Encoder, Peer, broken, describe};

/// Frames that wait for the connection, beside what the connection itself has taken.
const QUEUED_FRAMES: usize = 2;

/// Sends what a task puts into a channel to its receiver on another worker, until the task has
/// sent its end and the receiver has taken it. Where the task goes away without an end, this
/// waits without end, keeping the stream open: the failure is the task's to report, and the
/// receiver's worker must not take it for a broken connection.
///
/// # Errors
/// `Io` where the stream breaks; `Compute` where rows have no encoding.
pub(crate) async fn send_channel(
    client: WorkerClient<Channel>,
    peer: &Peer,
    header: proto::ExchangeHeader,
    encoder: Encoder,
    messages: Receiver,
) -> Result<()> {
    let context =
        format!("send rows to worker {} at {} ({})", peer.worker, peer.address, describe(&header));
    match Stream::open(client, header).await {
        Ok(stream) => stream.run(context, encoder, messages).await,
        Err(status) => broken(context, &status),
    }
}

struct Stream {
    requests: mpsc::Sender<proto::ExchangeRequest>,
    replies: Streaming<proto::ExchangeReply>,
    sequence: u64,
    credit: i64,
}

impl Stream {
    async fn open(
        mut client: WorkerClient<Channel>,
        header: proto::ExchangeHeader,
    ) -> Result<Self, Status> {
        let (requests, queue) = mpsc::channel(QUEUED_FRAMES);
        let header = proto::ExchangeRequest { message: Some(Request::Header(header)) };
        let first = futures::stream::iter([header]);
        let replies = client.exchange(first.chain(ReceiverStream::new(queue))).await?.into_inner();
        Ok(Self { requests, replies, sequence: 0, credit: 0 })
    }

    async fn run(
        mut self,
        context: String,
        mut encoder: Encoder,
        mut messages: Receiver,
    ) -> Result<()> {
        loop {
            let message = tokio::select! {
                biased;
                granted = self.more_credit() => match granted {
                    Ok(()) => continue,
                    Err(status) => return broken(context, &status),
                },
                message = messages.recv(), if self.credit > 0 => message,
            };
            let sent = match message {
                None => pending().await,
                Some(Message::Data(batch)) => {
                    let pieces = encoder.encode_pieces(&batch)?;
                    self.send_all(pieces.into_iter().map(Body::Data)).await
                }
                Some(Message::Watermark(mark)) => self.send(Body::WatermarkMs(mark.0)).await,
                Some(Message::Idle) => self.send(Body::Idle(exchange_frame::Idle {})).await,
                Some(Message::Barrier(epoch)) => self.send(Body::Barrier(epoch.0)).await,
                Some(Message::End) => {
                    let ended = self.finish().await;
                    return ended.or_else(|status| broken(context, &status));
                }
            };
            if let Err(status) = sent {
                return broken(context, &status);
            }
        }
    }

    async fn more_credit(&mut self) -> Result<(), Status> {
        match self.replies.message().await? {
            Some(reply) => {
                self.credit = self.credit.saturating_add_unsigned(reply.credit_bytes);
                Ok(())
            }
            None => Err(Status::unavailable("the receiver has closed the stream")),
        }
    }

    async fn send_all(&mut self, bodies: impl Iterator<Item = Body>) -> Result<(), Status> {
        for body in bodies {
            self.send(body).await?;
        }
        Ok(())
    }

    async fn send(&mut self, body: Body) -> Result<(), Status> {
        let frame = proto::ExchangeFrame { sequence: self.sequence, message: Some(body) };
        self.sequence += 1;
        self.credit -= frame.encoded_len() as i64;
        let request = proto::ExchangeRequest { message: Some(Request::Frame(frame)) };
        if self.requests.send(request).await.is_ok() {
            return Ok(());
        }
        // The connection is gone; the replies know why.
        loop {
            self.more_credit().await?;
        }
    }

    /// Sends the end and waits until the receiver has taken it.
    async fn finish(mut self) -> Result<(), Status> {
        self.send(Body::End(exchange_frame::End {})).await?;
        drop(self.requests);
        while self.replies.message().await?.is_some() {}
        Ok(())
    }
}
