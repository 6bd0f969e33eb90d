use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int8Array, Int64Array, NullArray, RecordBatch,
    RecordBatchOptions, StringViewArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use bytes::Bytes;
use futures::StreamExt;
use rainstorm_engine::batch::Batch;
use rainstorm_engine::graph::ChangelogMode;
use rainstorm_engine::task::{Message, Receiver, Sender, channel};
use rainstorm_engine::time::Watermark;
use rainstorm_engine::{Epoch, Error};
use rainstorm_proto::worker as proto;
use rainstorm_proto::worker::exchange_request::Message as Request;
use rainstorm_proto::worker::worker_server::{Worker, WorkerServer};
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request as Call, Response, Status, Streaming};

use super::*;

fn rows(range: std::ops::Range<i64>) -> RecordBatch {
    let names: StringViewArray =
        range.clone().map(|value| Some(format!("a name of some length, {value}"))).collect();
    let kinds: DictionaryArray<Int32Type> =
        range.clone().map(|value| ["red", "green", "blue"][value as usize % 3]).collect();
    RecordBatch::try_from_iter([
        ("value", Arc::new(Int64Array::from_iter_values(range)) as ArrayRef),
        ("name", Arc::new(names)),
        ("kind", Arc::new(kinds)),
    ])
    .unwrap()
}

fn check_round_trip(changelog: ChangelogMode, batches: &[Batch]) {
    let schema = batches[0].schema();
    let mut encoder = Encoder::new(&schema, changelog).unwrap();
    let mut decoder = Decoder::new(&schema, changelog);
    for batch in batches {
        let decoded = decoder.decode(encoder.encode(batch).unwrap()).unwrap();
        assert_eq!(decoded.rows(), batch.rows());
        assert_eq!(decoded.weights(), batch.weights());
    }
}

#[test]
fn batches_come_back_with_their_weights_and_dictionaries() {
    let changes = Batch::changes(rows(3..5), Int8Array::from(vec![-1, 1])).unwrap();
    let inserts = [Batch::insert(rows(0..3)), Batch::insert(rows(1..2)), Batch::insert(rows(5..9))];
    check_round_trip(ChangelogMode::AppendOnly, &inserts);
    let [first, second, _] = inserts;
    check_round_trip(ChangelogMode::Retract, &[first, changes, second]);
}

#[test]
fn batches_without_bytes_arrive_at_once() {
    let options = RecordBatchOptions::new().with_row_count(Some(5));
    let none: SchemaRef = Arc::new(Schema::empty());
    let bare = RecordBatch::try_new_with_options(none, vec![], &options).unwrap();
    check_round_trip(
        ChangelogMode::AppendOnly,
        &[Batch::insert(bare.clone()), Batch::insert(bare)],
    );
    let nulls = RecordBatch::try_from_iter([("n", Arc::new(NullArray::new(2)) as ArrayRef)]);
    check_round_trip(ChangelogMode::AppendOnly, &[Batch::insert(nulls.unwrap())]);
}

#[test]
fn damaged_pieces_are_errors() {
    let schema = rows(0..1).schema();
    let decode = |piece: &[u8]| {
        Decoder::new(&schema, ChangelogMode::AppendOnly).decode(Bytes::copy_from_slice(piece))
    };
    let mut encoder = Encoder::new(&schema, ChangelogMode::AppendOnly).unwrap();
    let piece = encoder.encode(&Batch::insert(rows(0..3))).unwrap();
    assert!(decode(&piece[..piece.len() - 8]).is_err());
    assert!(decode(&[piece.as_ref(), &[0, 0, 0, 0]].concat()).is_err());
    assert!(decode(b"no Arrow at all").is_err());
    let later = encoder.encode(&Batch::insert(rows(0..3))).unwrap();
    assert!(decode(&later).is_err(), "the schema comes with the first piece only");
}

#[test]
fn rows_for_the_client_are_a_stream_of_their_own() {
    let batch = Batch::changes(rows(0..2), Int8Array::from(vec![1, -1])).unwrap();
    let streams = encode_rows(&batch.schema(), ChangelogMode::Retract, &batch).unwrap();
    let [stream] = streams.try_into().expect("two rows fit into one message");
    let reader = StreamReader::try_new(std::io::Cursor::new(stream), None).unwrap();
    assert_eq!(reader.schema().fields().last().unwrap().name(), "__weight");
    assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 2);
}

/// Takes one channel on a free port, with what came of it.
struct Loopback {
    peer: Peer,
    received: Receiver,
    outcome: mpsc::UnboundedReceiver<Result<(), Error>>,
    server: tokio::task::JoinHandle<()>,
}

struct OneChannel {
    sender: Arc<Mutex<Option<Sender>>>,
    outcome: mpsc::UnboundedSender<Result<(), Error>>,
    schema: SchemaRef,
}

type Answer<T> = Result<Response<T>, Status>;
type Answers<T> = ReceiverStream<Result<T, Status>>;

fn refuse<T>() -> Answer<T> {
    Err(Status::unimplemented("only channels are served here"))
}

#[tonic::async_trait]
impl Worker for OneChannel {
    type ResultsStream = Answers<proto::ResultsEvent>;
    type ExchangeStream = Answers<proto::ExchangeReply>;

    async fn deploy(&self, _: Call<proto::DeployRequest>) -> Answer<proto::DeployReply> {
        refuse()
    }

    async fn start(&self, _: Call<proto::StartRequest>) -> Answer<proto::StartReply> {
        refuse()
    }

    async fn trigger_checkpoint(
        &self,
        _: Call<proto::TriggerCheckpointRequest>,
    ) -> Answer<proto::TriggerCheckpointReply> {
        refuse()
    }

    async fn end_sources(
        &self,
        _: Call<proto::EndSourcesRequest>,
    ) -> Answer<proto::EndSourcesReply> {
        refuse()
    }

    async fn cancel(&self, _: Call<proto::CancelRequest>) -> Answer<proto::CancelReply> {
        refuse()
    }

    async fn results(&self, _: Call<proto::ResultsRequest>) -> Answer<Self::ResultsStream> {
        refuse()
    }

    async fn exchange(
        &self,
        requests: Call<Streaming<proto::ExchangeRequest>>,
    ) -> Answer<Self::ExchangeStream> {
        let mut requests = requests.into_inner();
        let first = requests.next().await.unwrap()?;
        let Some(Request::Header(header)) = first.message else { panic!("{first:?}") };
        let sender = self.sender.lock().await.take().unwrap();
        let decoder = Decoder::new(&self.schema, ChangelogMode::AppendOnly);
        let (replies, stream) = mpsc::channel(4);
        let outcome = self.outcome.clone();
        tokio::spawn(async move {
            let end = receive_channel(&header, &mut requests, sender, decoder, &replies).await;
            let _ = outcome.send(end);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

async fn loopback(capacity_bytes: usize) -> Loopback {
    loopback_of(capacity_bytes, &rows(0..1).schema()).await
}

async fn loopback_of(capacity_bytes: usize, schema: &SchemaRef) -> Loopback {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, received) = channel(capacity_bytes);
    let (outcome_sender, outcome) = mpsc::unbounded_channel();
    let sender = Arc::new(Mutex::new(Some(sender)));
    let service = WorkerServer::new(OneChannel {
        sender,
        outcome: outcome_sender,
        schema: Arc::clone(schema),
    })
    .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let server = tonic::transport::Server::builder().add_service(service);
    let server = server.serve_with_incoming(incoming(listener));
    let server = tokio::spawn(async move { server.await.unwrap() });
    let peer = Peer { worker: "w2".into(), address: address.into() };
    Loopback { peer, received, outcome, server }
}

fn header() -> proto::ExchangeHeader {
    let worker_id = "w1".into();
    proto::ExchangeHeader { attempt: None, edge: 3, from: 0, to: 1, worker_id }
}

fn start_sending(peer: &Peer) -> (Sender, tokio::task::JoinHandle<Result<(), Error>>) {
    let (sender, messages) = channel(1);
    let encoder = Encoder::new(&rows(0..1).schema(), ChangelogMode::AppendOnly).unwrap();
    let peer = peer.clone();
    let client = Peers::default().client(&peer).unwrap();
    let sending = async move { send_channel(client, &peer, header(), encoder, messages).await };
    (sender, tokio::spawn(sending))
}

#[tokio::test]
async fn messages_arrive_in_order_and_the_end_ends_both_sides() {
    let mut loopback = loopback(1 << 20).await;
    let (mut sender, sending) = start_sending(&loopback.peer);
    for message in [
        Message::Data(Batch::insert(rows(0..3))),
        Message::Watermark(Watermark(7)),
        Message::Data(Batch::insert(rows(3..20_000))),
        Message::Barrier(Epoch(2)),
        Message::Idle,
        Message::End,
    ] {
        sender.send(message).await.unwrap();
    }
    let mut received = Vec::new();
    while let Some(message) = loopback.received.recv().await {
        received.push(match message {
            Message::Data(batch) => format!("{} rows", batch.num_rows()),
            other => format!("{other:?}"),
        });
    }
    let expected = [
        "3 rows",
        "Watermark(Watermark(7))",
        "8192 rows",
        "8192 rows",
        "3613 rows",
        "Barrier(Epoch(2))",
        "Idle",
        "End",
    ];
    assert_eq!(received, expected);
    sending.await.unwrap().unwrap();
    loopback.outcome.recv().await.unwrap().unwrap();
}

#[tokio::test]
async fn rows_of_any_size_pass_between_processes() {
    let texts: SchemaRef = Arc::new(Schema::new(vec![Field::new("n", DataType::Utf8View, true)]));
    for (size, count) in [(8 << 10, 8192_usize), (100_000, 200), (2 << 20, 5)] {
        let (mut sender, messages) = channel(1);
        let mut loopback = loopback_of(1 << 20, &texts).await;
        let encoder = Encoder::new(&texts, ChangelogMode::AppendOnly).unwrap();
        let peer = loopback.peer.clone();
        let client = Peers::default().client(&peer).unwrap();
        let sending = async move { send_channel(client, &peer, header(), encoder, messages).await };
        let sending = tokio::spawn(sending);
        let column: StringViewArray = (0..count).map(|_| Some("x".repeat(size))).collect();
        let rows = RecordBatch::try_new(Arc::clone(&texts), vec![Arc::new(column)]).unwrap();
        let feeding = tokio::spawn(async move {
            sender.send(Message::Data(Batch::insert(rows))).await.unwrap();
            sender.send(Message::End).await.unwrap();
        });
        let mut rows = 0;
        while let Some(message) = loopback.received.recv().await {
            if let Message::Data(batch) = message {
                let column = batch.column(0).as_string_view();
                assert!((0..column.len()).all(|row| column.value(row).len() == size));
                rows += batch.num_rows();
            }
        }
        assert_eq!(rows, count, "rows of {size} bytes");
        feeding.await.unwrap();
        sending.await.unwrap().unwrap();
        loopback.outcome.recv().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_receiver_that_stands_still_stops_the_sender_within_its_window() {
    let mut loopback = loopback(1).await;
    let (mut sender, sending) = start_sending(&loopback.peer);
    let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counting = Arc::clone(&sent);
    let filling = tokio::spawn(async move {
        for _ in 0..500 {
            sender.send(Message::Data(Batch::insert(rows(0..1000)))).await.unwrap();
            counting.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
        sender.send(Message::End).await.unwrap();
    });
    // A batch is about 70 KB on the wire: once nothing moves any more, about 15 of 500 have gone.
    let mut before = usize::MAX;
    let mut quiet = 0;
    while quiet < 20 {
        tokio::time::timeout(std::time::Duration::from_millis(10), std::future::pending::<()>())
            .await
            .unwrap_err();
        let now = sent.load(std::sync::atomic::Ordering::SeqCst);
        quiet = if now == before && now > 0 { quiet + 1 } else { 0 };
        before = now;
    }
    assert!(before < 60, "{before} batches were taken from the sender");
    let mut rows = 0;
    while let Some(message) = loopback.received.recv().await {
        if let Message::Data(batch) = message {
            rows += batch.num_rows();
        }
    }
    assert_eq!(rows, 500_000);
    filling.await.unwrap();
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_broken_stream_is_an_error_that_names_the_peer_on_both_sides() {
    let mut loopback = loopback(1 << 20).await;
    let (mut sender, sending) = start_sending(&loopback.peer);
    sender.send(Message::Idle).await.unwrap();
    assert!(matches!(loopback.received.recv().await, Some(Message::Idle)));
    sending.abort();
    let error = loopback.outcome.recv().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "receive rows from worker w1 (edge 3, subtask 0 to 1)");

    let (mut sender, sending) =
        start_sending(&Peer { worker: "w2".into(), address: "127.0.0.1:1".into() });
    let error = sending.await.unwrap().unwrap_err();
    let expected = "send rows to worker w2 at 127.0.0.1:1 (edge 3, subtask 0 to 1)";
    assert_eq!(error.to_string(), expected);
    assert!(matches!(sender.send(Message::Idle).await, Err(Error::Closed)));
    loopback.server.abort();
}
