//! SDFS as an `object_store`.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use futures::future::try_join_all;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, RenameOptions, RenameTargetMode, Result, UploadPart,
};

use super::attributes;
use super::commit::Condition;
use super::error::FsError;
use super::record::etag_text;
use super::sdfs::{FileInfo, Sdfs};
use super::upload::{PutTarget, Upload};

/// Files that a listing takes from the table at a time.
const PAGE_FILES: usize = 1024;

/// The files of this process's node. Etags are unique per write; an update of a file that is
/// missing is `Precondition`; deleting one that is missing succeeds.
#[derive(Debug, Clone)]
pub struct SdfsStore {
    fs: Sdfs,
}

impl SdfsStore {
    /// Makes the interface to a node's files.
    #[must_use]
    pub fn new(fs: Sdfs) -> Self {
        Self { fs }
    }
}

impl fmt::Display for SdfsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SDFS")
    }
}

#[async_trait]
impl ObjectStore for SdfsStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let condition = condition(options.mode)?;
        let target = target(location, condition, &options.attributes)?;
        let etag = self.fs.put(payload.into_iter().collect(), target).await?;
        Ok(PutResult { e_tag: Some(etag_text(etag)), version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let target = target(location, Condition::Always, &options.attributes)?;
        Ok(Box::new(SdfsUpload { upload: Some(self.fs.upload(target)) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if let Some(version) = &options.version {
            let source = format!("SDFS keeps no versions such as {version}").into();
            return Err(Error::NotSupported { source });
        }
        let head = options.head;
        let reading = self.fs.read(location.as_ref(), |info| {
            options.check_preconditions(&meta(info)?)?;
            match &options.range {
                None => Ok(0..info.size),
                Some(range) => range
                    .as_range(info.size)
                    .map_err(|source| Error::Generic { store: "SDFS", source: Box::new(source) }),
            }
        })?;
        let bytes = if head { stream::empty().boxed() } else { reading.bytes };
        Ok(GetResult {
            payload: GetResultPayload::Stream(bytes.map_err(Error::from).boxed()),
            meta: meta(&reading.info)?,
            range: reading.range,
            attributes: attributes::from_pairs(&reading.info.attributes),
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let fs = self.fs.clone();
        let delete = move |location: Result<Path>| {
            let fs = fs.clone();
            async move {
                let location = location?;
                fs.delete(location.as_ref()).await?;
                Ok(location)
            }
        };
        locations.map(delete).buffered(64).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_from(prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_from(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (files, directories) = self.fs.directory(prefix.map_or("", Path::as_ref));
        Ok(ListResult {
            common_prefixes: directories
                .into_iter()
                .map(|path| Ok(Path::parse(path)?))
                .collect::<Result<_>>()?,
            objects: files.iter().map(meta).collect::<Result<_>>()?,
        })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let create = matches!(options.mode, CopyMode::Create);
        check_path(to)?;
        Ok(self.fs.copy(from.as_ref(), to.as_ref(), create, false).await?)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let create = matches!(options.target_mode, RenameTargetMode::Create);
        check_path(to)?;
        Ok(self.fs.copy(from.as_ref(), to.as_ref(), create, true).await?)
    }
}

impl SdfsStore {
    fn list_from(
        &self,
        prefix: Option<&Path>,
        offset: Option<&Path>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let fs = self.fs.clone();
        let prefix = prefix.map(ToString::to_string).unwrap_or_default();
        let after = offset.map(ToString::to_string);
        let pages = stream::unfold(Some(after), move |after| {
            let page = after.map(|after| {
                let page = fs.list(&prefix, after.as_deref(), PAGE_FILES);
                let last = page.get(PAGE_FILES - 1).map(|last| Some(last.path.clone()));
                (page, last)
            });
            std::future::ready(page)
        });
        pages.flat_map(|page| stream::iter(page).map(|info| meta(&info))).boxed()
    }
}

/// Returns what `object_store` tells of a file.
pub(crate) fn meta(info: &FileInfo) -> Result<ObjectMeta> {
    Ok(ObjectMeta {
        location: Path::parse(&info.path)?,
        last_modified: DateTime::from_timestamp_millis(info.last_modified_ms).unwrap_or_default(),
        size: info.size,
        e_tag: Some(info.etag.clone()),
        version: None,
    })
}

fn condition(mode: PutMode) -> Result<Condition> {
    match mode {
        PutMode::Overwrite => Ok(Condition::Always),
        PutMode::Create => Ok(Condition::Absent),
        PutMode::Update(version) => {
            let missing = || FsError::Invalid("an update needs the etag of a file".into());
            Ok(Condition::Etag(version.e_tag.ok_or_else(missing)?))
        }
    }
}

fn target(
    location: &Path,
    condition: Condition,
    attributes: &object_store::Attributes,
) -> Result<PutTarget> {
    check_path(location)?;
    Ok(PutTarget {
        path: location.as_ref().into(),
        request_id: crate::identity::unique_id(),
        condition,
        attributes: attributes::to_pairs(attributes)?,
    })
}

/// Refuses the root, which is no file.
pub(crate) fn check_path(path: &Path) -> Result<(), FsError> {
    if path.as_ref().is_empty() {
        return Err(FsError::Invalid("the root is a directory, not a file".into()));
    }
    Ok(())
}

#[derive(Debug)]
struct SdfsUpload {
    /// `None` once it is complete or aborted.
    upload: Option<Upload>,
}

impl SdfsUpload {
    fn ended() -> FsError {
        FsError::Invalid("the upload has ended".into())
    }
}

#[async_trait]
impl MultipartUpload for SdfsUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let Some(upload) = &mut self.upload else {
            return Box::pin(std::future::ready(Err(Self::ended().into())));
        };
        let pieces = data.into_iter().collect::<Vec<Bytes>>();
        let pending = pieces.into_iter().flat_map(|piece| upload.push(piece)).collect::<Vec<_>>();
        Box::pin(async move {
            try_join_all(pending).await?;
            Ok(())
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let mut upload = self.upload.take().ok_or_else(Self::ended)?;
        let etag = upload.complete().await?;
        Ok(PutResult { e_tag: Some(etag_text(etag)), version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload = None;
        Ok(())
    }
}
