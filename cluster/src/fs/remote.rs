//! The files of another process's node as an `object_store`.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, RenameOptions, RenameTargetMode, Result, UploadPart,
};
use rainstorm_proto::files as proto;
use rainstorm_proto::files::files_client::FilesClient;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::attributes;
use super::error::{FsError, FsErrorKind};
use super::record::etag_text;
use super::sdfs::FileInfo;
use super::store::meta;
use super::wire::{
    attributes_to_proto, error, get_to_proto, info_from_proto, outcome_unknown, pieces,
};

type PutPart = proto::put_request::Part;

/// The files of another process's node, with the semantics of [`super::SdfsStore`]. A write whose
/// answer is lost is settled by reading back. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RemoteStore {
    address: Arc<str>,
    client: FilesClient<Channel>,
}

impl RemoteStore {
    /// Makes the interface to the node at `HOST:PORT`; the first call connects. The current tokio
    /// runtime drives the connection.
    ///
    /// # Errors
    /// `Invalid` where the address is none.
    pub fn connect(address: &str) -> Result<Self, FsError> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| FsError::Invalid(format!("address {address}: {error}")))?;
        Ok(Self::new(address, endpoint.connect_lazy()))
    }

    /// Makes the interface over a connection that exists.
    #[must_use]
    pub fn new(address: &str, channel: Channel) -> Self {
        Self { address: address.into(), client: FilesClient::new(channel) }
    }

    /// Returns what is known of a file, with more detail than `object_store` has.
    ///
    /// # Errors
    /// `NotFound`, or `Generic` where the node cannot be reached.
    pub async fn info(&self, path: &Path) -> Result<FileInfo> {
        let request = proto::HeadRequest { path: path.to_string() };
        let reply = self.client.clone().head(request).await;
        Ok(info_from_proto(
            reply.map_err(|status| error(&status, &self.address, path, path))?.into_inner(),
        ))
    }

    #[cfg(test)]
    pub(crate) fn client(&self) -> FilesClient<Channel> {
        self.client.clone()
    }

    async fn copy_or_move(&self, request: proto::CopyRequest, remove: bool) -> Result<()> {
        let (from, to) = (Path::parse(&request.from)?, Path::parse(&request.to)?);
        let mut client = self.client.clone();
        let copied = if remove { client.rename(request).await } else { client.copy(request).await };
        copied.map_err(|status| error(&status, &self.address, &from, &to))?;
        Ok(())
    }

    /// Reads back whether a write whose answer was lost has been applied.
    async fn settle(&self, path: &Path, etag: &str, status: &Status) -> Result<PutResult> {
        if outcome_unknown(status)
            && let Ok(info) = self.info(path).await
            && info.etag == etag
        {
            return Ok(PutResult { e_tag: Some(info.etag), version: None });
        }
        Err(error(status, &self.address, path, path))
    }

    fn list_stream(&self, request: proto::ListRequest) -> BoxStream<'static, Result<ListPage>> {
        let (mut client, node) = (self.client.clone(), Arc::clone(&self.address));
        let listing = async move {
            let path = Path::parse(&request.prefix)?;
            let replies = client.list(request).await;
            let replies =
                replies.map_err(|status| error(&status, &node, &path, &path))?.into_inner();
            Ok::<_, Error>(replies.map_err(move |status| error(&status, &node, &path, &path)))
        };
        stream::once(listing)
            .try_flatten()
            .map(|reply: Result<proto::ListReply>| {
                let reply = reply?;
                let files = reply.files.into_iter().map(info_from_proto);
                Ok(ListPage {
                    objects: files.map(|info| meta(&info)).collect::<Result<_>>()?,
                    common_prefixes: reply
                        .common_prefixes
                        .into_iter()
                        .map(|path| Ok(Path::parse(path)?))
                        .collect::<Result<_>>()?,
                })
            })
            .boxed()
    }
}

struct ListPage {
    objects: Vec<ObjectMeta>,
    common_prefixes: Vec<Path>,
}

impl fmt::Display for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SDFS at {}", self.address)
    }
}

#[async_trait]
impl ObjectStore for RemoteStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        use proto::put_header::Condition;
        let condition = match options.mode {
            PutMode::Overwrite => None,
            PutMode::Create => Some(Condition::Create(true)),
            PutMode::Update(version) => {
                let missing = || FsError::Invalid("an update needs the etag of a file".into());
                Some(Condition::IfMatch(version.e_tag.ok_or_else(missing)?))
            }
        };
        let mut header = put_header(location, &options.attributes)?;
        header.condition = condition;
        header.size = Some(payload.content_length() as u64);
        let etag = etag_of(&header);
        let data = payload.into_iter().flat_map(pieces).map(PutPart::Data);
        let commit = PutPart::Commit(proto::PutCommit {});
        let parts = std::iter::once(PutPart::Header(header)).chain(data).chain([commit]);
        let parts = parts.map(|part| proto::PutRequest { part: Some(part) }).collect::<Vec<_>>();
        match self.client.clone().put(stream::iter(parts)).await {
            Ok(reply) => Ok(PutResult { e_tag: Some(reply.into_inner().etag), version: None }),
            Err(status) => self.settle(location, &etag, &status).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let header = put_header(location, &options.attributes)?;
        Ok(Box::new(RemoteUpload::start(self.clone(), location.clone(), header)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if let Some(version) = &options.version {
            let source = format!("SDFS keeps no versions such as {version}").into();
            return Err(Error::NotSupported { source });
        }
        if options.head {
            let info = self.info(location).await?;
            let meta = meta(&info)?;
            options.check_preconditions(&meta)?;
            let attributes = attributes::from_pairs(&info.attributes);
            let payload = GetResultPayload::Stream(stream::empty().boxed());
            return Ok(GetResult { payload, range: 0..info.size, meta, attributes });
        }
        let failed = {
            let (path, node) = (location.clone(), Arc::clone(&self.address));
            move |status: Status| error(&status, &node, &path, &path)
        };
        let request = get_to_proto(location, &options);
        let replies = self.client.clone().get(request).await;
        let mut replies = replies.map_err(&failed)?.into_inner();
        let first = replies.message().await.map_err(&failed)?.and_then(|reply| reply.part);
        let Some(proto::get_reply::Part::Header(header)) = first else {
            return Err(bad_answer("a read has no header"));
        };
        let (Some(info), Some(range)) = (header.info, header.range) else {
            return Err(bad_answer("a read's header is incomplete"));
        };
        let info = info_from_proto(info);
        let data = replies.map(move |reply| match reply.map_err(&failed)?.part {
            Some(proto::get_reply::Part::Data(bytes)) => Ok(bytes),
            _ => Err(bad_answer("a read has more than one header")),
        });
        Ok(GetResult {
            payload: GetResultPayload::Stream(data.boxed()),
            meta: meta(&info)?,
            range: range.start..range.end,
            attributes: attributes::from_pairs(&info.attributes),
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (client, node) = (self.client.clone(), Arc::clone(&self.address));
        let delete = move |location: Result<Path>| {
            let (mut client, node) = (client.clone(), Arc::clone(&node));
            async move {
                let location = location?;
                let request = proto::DeleteRequest { path: location.to_string() };
                let deleted = client.delete(request).await;
                deleted.map_err(|status| error(&status, &node, &location, &location))?;
                Ok(location)
            }
        };
        locations.map(delete).buffered(16).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_with_offset(prefix, &Path::default())
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let request = proto::ListRequest {
            prefix: prefix.map(ToString::to_string).unwrap_or_default(),
            offset: offset.to_string(),
            delimiter: false,
        };
        self.list_stream(request)
            .map_ok(|page| stream::iter(page.objects.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let request = proto::ListRequest {
            prefix: prefix.map(ToString::to_string).unwrap_or_default(),
            offset: String::new(),
            delimiter: true,
        };
        let mut result = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
        let mut pages = self.list_stream(request);
        while let Some(page) = pages.try_next().await? {
            result.objects.extend(page.objects);
            result.common_prefixes.extend(page.common_prefixes);
        }
        Ok(result)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let create = matches!(options.mode, CopyMode::Create);
        self.copy_or_move(copy_request(from, to, create), false).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let create = matches!(options.target_mode, RenameTargetMode::Create);
        self.copy_or_move(copy_request(from, to, create), true).await
    }
}

fn copy_request(from: &Path, to: &Path, create: bool) -> proto::CopyRequest {
    proto::CopyRequest { from: from.to_string(), to: to.to_string(), create }
}

fn put_header(location: &Path, attributes: &object_store::Attributes) -> Result<proto::PutHeader> {
    let request_id = crate::identity::unique_id();
    Ok(proto::PutHeader {
        path: location.to_string(),
        request_id: Bytes::copy_from_slice(request_id.as_bytes()),
        condition: None,
        attributes: attributes_to_proto(&attributes::to_pairs(attributes)?),
        size: None,
    })
}

fn etag_of(header: &proto::PutHeader) -> String {
    let id = uuid::Uuid::from_slice(&header.request_id).expect("a request id has 16 bytes");
    etag_text(id)
}

fn bad_answer(reason: &str) -> Error {
    FsError::Remote { kind: FsErrorKind::Retry, reason: reason.to_owned() }.into()
}

/// A write in progress: one call of Put, fed by the parts in the order in which they were made.
/// Its queue is bounded by the parts that the caller lets wait.
struct RemoteUpload {
    store: RemoteStore,
    path: Path,
    etag: String,
    parts: Option<mpsc::UnboundedSender<(PutPart, oneshot::Sender<()>)>>,
    answer: Option<tokio::task::JoinHandle<Result<proto::PutReply, Status>>>,
}

impl fmt::Debug for RemoteUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteUpload").field("path", &self.path).finish_non_exhaustive()
    }
}

impl RemoteUpload {
    fn start(store: RemoteStore, path: Path, header: proto::PutHeader) -> Self {
        let etag = etag_of(&header);
        let (parts, queue) = mpsc::unbounded_channel::<(PutPart, oneshot::Sender<()>)>();
        let header = stream::iter([proto::PutRequest { part: Some(PutPart::Header(header)) }]);
        let rest = UnboundedReceiverStream::new(queue).map(|(part, taken)| {
            // The connection takes a part only when it has room for it.
            let _ = taken.send(());
            proto::PutRequest { part: Some(part) }
        });
        let mut client = store.client.clone();
        let answer = tokio::spawn(async move {
            client.put(header.chain(rest)).await.map(tonic::Response::into_inner)
        });
        Self { store, path, etag, parts: Some(parts), answer: Some(answer) }
    }

    fn send(&mut self, part: PutPart) -> oneshot::Receiver<()> {
        let (taken, wait) = oneshot::channel();
        if let Some(parts) = &self.parts {
            // Where the call has ended, the waiting fails and complete tells why.
            let _ = parts.send((part, taken));
        }
        wait
    }
}

#[async_trait]
impl MultipartUpload for RemoteUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let data = data.into_iter().flat_map(pieces).collect::<Vec<_>>();
        let waits = data.into_iter().map(|piece| self.send(PutPart::Data(piece)));
        let waits = waits.collect::<Vec<_>>();
        Box::pin(async move {
            for wait in waits {
                // A call that ended early tells why at the end.
                let _ = wait.await;
            }
            Ok(())
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let commit = self.send(PutPart::Commit(proto::PutCommit {}));
        drop((commit, self.parts.take()));
        let answer = self.answer.take().ok_or_else(|| bad_answer("the upload has ended"))?;
        match answer.await? {
            Ok(reply) => Ok(PutResult { e_tag: Some(reply.etag), version: None }),
            Err(status) => self.store.settle(&self.path, &self.etag, &status).await,
        }
    }

    async fn abort(&mut self) -> Result<()> {
        // Without its commit the call ends and leaves nothing.
        self.parts = None;
        if let Some(answer) = self.answer.take() {
            let _ = answer.await;
        }
        Ok(())
    }
}
