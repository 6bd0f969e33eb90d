//! The Worker service.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use rainstorm_engine::task::{ChannelId, Sender};
use rainstorm_engine::{Epoch, Error};
use rainstorm_proto::worker as proto;
use rainstorm_proto::worker::exchange_request::Message;
use rainstorm_proto::worker::worker_server;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::attempt::Attempt;
use super::{AttemptId, Worker, deploy, results, to_status};
use crate::exchange::{Decoder, Replies, receive_channel};

/// Grants of credit that wait for the connection.
const QUEUED_REPLIES: usize = 4;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[async_trait]
impl worker_server::Worker for Worker {
    type ResultsStream = Answers<proto::ResultsEvent>;
    type ExchangeStream = ReceiverStream<Result<proto::ExchangeReply, Status>>;

    async fn deploy(
        &self,
        request: Request<proto::DeployRequest>,
    ) -> Result<Response<proto::DeployReply>, Status> {
        let request = request.into_inner();
        let id = AttemptId::from_wire(request.attempt.as_ref())?;
        let Some(begin) = self.begin(&id)? else {
            return Ok(Response::new(proto::DeployReply {}));
        };
        if let Some(older) = begin.older {
            older.stop().await;
        }
        match deploy::build(id.clone(), request, &self.shared.config).await {
            Ok(deployment) => {
                let attempt = Arc::new(Attempt::new(deployment, Arc::clone(&self.shared)));
                self.deployed(attempt)?;
                Ok(Response::new(proto::DeployReply {}))
            }
            Err(error) => {
                self.end(&id);
                Err(to_status(&error))
            }
        }
    }

    async fn start(
        &self,
        request: Request<proto::StartRequest>,
    ) -> Result<Response<proto::StartReply>, Status> {
        let id = AttemptId::from_wire(request.get_ref().attempt.as_ref())?;
        self.find(&id)?.start();
        Ok(Response::new(proto::StartReply {}))
    }

    async fn trigger_checkpoint(
        &self,
        request: Request<proto::TriggerCheckpointRequest>,
    ) -> Result<Response<proto::TriggerCheckpointReply>, Status> {
        let request = request.into_inner();
        let id = AttemptId::from_wire(request.attempt.as_ref())?;
        self.find(&id)?.trigger(Epoch(request.epoch));
        Ok(Response::new(proto::TriggerCheckpointReply {}))
    }

    async fn end_sources(
        &self,
        request: Request<proto::EndSourcesRequest>,
    ) -> Result<Response<proto::EndSourcesReply>, Status> {
        let request = request.into_inner();
        let id = AttemptId::from_wire(request.attempt.as_ref())?;
        self.find(&id)?.end_sources(&request.stages);
        Ok(Response::new(proto::EndSourcesReply {}))
    }

    async fn cancel(
        &self,
        request: Request<proto::CancelRequest>,
    ) -> Result<Response<proto::CancelReply>, Status> {
        let id = AttemptId::from_wire(request.get_ref().attempt.as_ref())?;
        if let Some(attempt) = self.end(&id) {
            attempt.stop().await;
        }
        Ok(Response::new(proto::CancelReply {}))
    }

    async fn results(
        &self,
        request: Request<proto::ResultsRequest>,
    ) -> Result<Response<Self::ResultsStream>, Status> {
        let id = AttemptId::from_wire(request.get_ref().attempt.as_ref())?;
        let queue = self.find(&id)?.take_results()?;
        Ok(Response::new(Box::pin(results::stream(queue))))
    }

    async fn exchange(
        &self,
        request: Request<Streaming<proto::ExchangeRequest>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let mut requests = request.into_inner();
        let first = requests.next().await.transpose()?.and_then(|first| first.message);
        let Some(Message::Header(header)) = first else {
            return Err(Status::invalid_argument("a channel without a header"));
        };
        let attempt = self.find(&AttemptId::from_wire(header.attempt.as_ref())?)?;
        let channel = attempt.take_incoming(ChannelId {
            edge: header.edge as usize,
            from: header.from as usize,
            to: header.to as usize,
        })?;
        let (replies, stream) = mpsc::channel(QUEUED_REPLIES);
        tokio::spawn(receive(attempt, header, requests, channel, replies));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Receives a channel until the attempt is stopped.
async fn receive(
    attempt: Arc<Attempt>,
    header: proto::ExchangeHeader,
    mut requests: Streaming<proto::ExchangeRequest>,
    channel: Sender,
    replies: Replies,
) {
    let edge = &attempt.graph().edges[header.edge as usize];
    let decoder = Decoder::new(&edge.schema, edge.changelog);
    let stopping = attempt.stopping();
    tokio::select! {
        () = stopping.cancelled() => {}
        received = receive_channel(&header, &mut requests, channel, decoder, &replies) => {
            match received {
                Ok(()) => {}
                // The task has failed, and says so itself. Until the attempt is stopped the stream
                // stays open, lest the sender's worker take it for a broken connection.
                Err(Error::Closed) => stopping.cancelled().await,
                Err(error) => {
                    attempt.broken(error);
                    stopping.cancelled().await;
                }
            }
        }
    }
}
