//! The gRPC service of a node's files.

use std::pin::Pin;

use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use rainstorm_proto::files as proto;
use rainstorm_proto::files::files_server::Files;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use super::attributes;
use super::commit::Condition;
use super::error::FsError;
use super::record::etag_text;
use super::sdfs::Sdfs;
use super::store::{SdfsStore, check_path};
use super::upload::{PutTarget, Upload};
use super::wire::{
    attributes_from_proto, attributes_to_proto, get_from_proto, info_to_proto, list_pages,
    parse_path, pieces, status,
};

/// Files per message of a listing.
const PAGE_FILES: usize = 256;

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves a node's files to other processes.
#[derive(Debug, Clone)]
pub struct FilesServer {
    fs: Sdfs,
    store: SdfsStore,
}

impl FilesServer {
    /// Makes the service; [`proto::files_server::FilesServer`] puts it on the wire.
    #[must_use]
    pub fn new(fs: Sdfs) -> Self {
        Self { store: SdfsStore::new(fs.clone()), fs }
    }
}

#[tonic::async_trait]
impl Files for FilesServer {
    async fn put(
        &self,
        request: Request<Streaming<proto::PutRequest>>,
    ) -> Result<Response<proto::PutReply>, Status> {
        let mut parts = request.into_inner();
        let Some(proto::put_request::Part::Header(header)) = next_part(&mut parts).await? else {
            return Err(Status::invalid_argument("a write starts with its header"));
        };
        if let Some(size) = header.size {
            self.fs.check_space(size).await.map_err(fs_status)?;
        }
        let mut upload = self.fs.upload(put_target(header)?);
        loop {
            match next_part(&mut parts).await? {
                Some(proto::put_request::Part::Data(bytes)) => store(&mut upload, bytes).await?,
                Some(proto::put_request::Part::Commit(_)) => break,
                Some(proto::put_request::Part::Header(_)) => {
                    return Err(Status::invalid_argument("a write has one header"));
                }
                None => return Err(Status::cancelled("the write ended before its commit")),
            }
        }
        let etag = upload.complete().await.map_err(fs_status)?;
        Ok(Response::new(proto::PutReply { etag: etag_text(etag) }))
    }

    type GetStream = Replies<proto::GetReply>;

    async fn get(
        &self,
        request: Request<proto::GetRequest>,
    ) -> Result<Response<Self::GetStream>, Status> {
        let (path, options) = get_from_proto(request.into_inner())?;
        let result = self.store.get_opts(&path, options).await.map_err(|error| status(&error))?;
        let info = proto::FileInfo {
            path: path.to_string(),
            size: result.meta.size,
            last_modified_ms: result.meta.last_modified.timestamp_millis(),
            etag: result.meta.e_tag.clone().unwrap_or_default(),
            attributes: attributes::to_pairs(&result.attributes)
                .map(|pairs| attributes_to_proto(&pairs))
                .map_err(|error| status(&error))?,
            chunks: 0,
        };
        let range = proto::Bounds { start: result.range.start, end: result.range.end };
        let header = proto::GetHeader { info: Some(info), range: Some(range) };
        let header = proto::GetReply { part: Some(proto::get_reply::Part::Header(header)) };
        let data = result.into_stream().map_err(|error| status(&error));
        let data = data.map_ok(|bytes| stream::iter(pieces(bytes).map(Ok))).try_flatten();
        let data = data
            .map_ok(|bytes| proto::GetReply { part: Some(proto::get_reply::Part::Data(bytes)) });
        Ok(Response::new(stream::iter([Ok(header)]).chain(data).boxed()))
    }

    async fn head(
        &self,
        request: Request<proto::HeadRequest>,
    ) -> Result<Response<proto::FileInfo>, Status> {
        let path = parse_path(&request.into_inner().path)?;
        let info = self.fs.info(path.as_ref()).map_err(fs_status)?;
        Ok(Response::new(info_to_proto(&info)))
    }

    type ListStream = Replies<proto::ListReply>;

    async fn list(
        &self,
        request: Request<proto::ListRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let request = request.into_inner();
        let prefix = parse_path(&request.prefix)?.to_string();
        if request.delimiter {
            let (files, common_prefixes) = self.fs.directory(&prefix);
            let pages = list_pages(&files, common_prefixes).into_iter().map(Ok);
            return Ok(Response::new(stream::iter(pages).boxed()));
        }
        let after = (!request.offset.is_empty()).then_some(request.offset);
        let fs = self.fs.clone();
        let pages = stream::unfold(Some(after), move |after| {
            let page = after.map(|after| {
                let page = fs.list(&prefix, after.as_deref(), PAGE_FILES);
                let last = page.get(PAGE_FILES - 1).map(|last| Some(last.path.clone()));
                (stream::iter(list_pages(&page, Vec::new()).into_iter().map(Ok)), last)
            });
            std::future::ready(page)
        });
        Ok(Response::new(pages.flatten().boxed()))
    }

    async fn delete(
        &self,
        request: Request<proto::DeleteRequest>,
    ) -> Result<Response<proto::DeleteReply>, Status> {
        let path = parse_path(&request.into_inner().path)?;
        self.fs.delete(path.as_ref()).await.map_err(fs_status)?;
        Ok(Response::new(proto::DeleteReply {}))
    }

    async fn copy(
        &self,
        request: Request<proto::CopyRequest>,
    ) -> Result<Response<proto::CopyReply>, Status> {
        self.copy_or_move(request.into_inner(), false).await
    }

    async fn rename(
        &self,
        request: Request<proto::CopyRequest>,
    ) -> Result<Response<proto::CopyReply>, Status> {
        self.copy_or_move(request.into_inner(), true).await
    }
}

impl FilesServer {
    async fn copy_or_move(
        &self,
        request: proto::CopyRequest,
        remove: bool,
    ) -> Result<Response<proto::CopyReply>, Status> {
        let (from, to) = (parse_path(&request.from)?, parse_path(&request.to)?);
        check_path(&to).map_err(fs_status)?;
        let copied = self.fs.copy(from.as_ref(), to.as_ref(), request.create, remove).await;
        copied.map_err(fs_status)?;
        Ok(Response::new(proto::CopyReply {}))
    }
}

async fn next_part(
    parts: &mut Streaming<proto::PutRequest>,
) -> Result<Option<proto::put_request::Part>, Status> {
    Ok(parts.message().await?.and_then(|request| request.part))
}

async fn store(upload: &mut Upload, bytes: bytes::Bytes) -> Result<(), Status> {
    for pending in upload.push(bytes) {
        pending.await.map_err(fs_status)?;
    }
    Ok(())
}

fn put_target(header: proto::PutHeader) -> Result<PutTarget, Status> {
    use proto::put_header::Condition as Asked;
    let path: Path = parse_path(&header.path)?;
    check_path(&path).map_err(fs_status)?;
    let request_id = Uuid::from_slice(&header.request_id)
        .map_err(|_| Status::invalid_argument("a request id has 16 bytes"))?;
    let condition = match header.condition {
        Some(Asked::Create(true)) => Condition::Absent,
        Some(Asked::IfMatch(etag)) => Condition::Etag(etag),
        Some(Asked::Create(false)) | None => Condition::Always,
    };
    let attributes = attributes_from_proto(header.attributes);
    Ok(PutTarget { path: path.as_ref().into(), request_id, condition, attributes })
}

fn fs_status(error: FsError) -> Status {
    status(&error.into())
}
