//! For tests: an object store in memory whose writes get lost, or their answers.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives, and so does the answer.
    Done,
    /// It never arrives.
    Lost,
    /// It arrives, but its answer does not.
    AnswerLost,
}

/// Writes meet their fates in turn; after the last one all is well.
#[derive(Debug, Default)]
pub(crate) struct LossyStore {
    inner: InMemory,
    fates: Mutex<VecDeque<Fate>>,
}

impl LossyStore {
    pub(crate) fn doom(&self, fates: &[Fate]) {
        self.fates.lock().expect("not poisoned").extend(fates);
    }
}

impl fmt::Display for LossyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LossyStore")
    }
}

#[async_trait]
impl ObjectStore for LossyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let fate = self.fates.lock().expect("not poisoned").pop_front().unwrap_or(Fate::Done);
        let timeout = || Error::Generic { store: "LossyStore", source: "timed out".into() };
        if fate == Fate::Lost {
            return Err(timeout());
        }
        let result = self.inner.put_opts(location, payload, options).await;
        if fate == Fate::AnswerLost { Err(timeout()) } else { result }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
