//! A directory of this machine as an object store.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read, Write};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
    UploadPart,
};

/// What errors name the store.
const NAME: &str = "local";

/// `object_store`'s local file system, with what it lacks: a put may depend on the etag of what
/// is there, and what has been acknowledged is on the disk, directories included.
///
/// Conditional updates are safe among the users of one `LocalStore`; several processes on one
/// directory need a lock above it.
#[derive(Debug, Clone)]
pub struct LocalStore {
    files: Arc<LocalFileSystem>,
    order: Arc<Mutex<Order>>,
}

/// Serialises the moments at which puts take effect.
#[derive(Debug)]
struct Order {
    /// The modification time given to the last file. Etags are made of inode, size and this, so
    /// it must differ between any two files that may get the same inode.
    last_modified: SystemTime,
}

impl LocalStore {
    /// Opens a directory, making it where it is missing.
    ///
    /// # Errors
    /// `Io` or `Storage` where it cannot be made or opened.
    pub fn open(base: &FilePath) -> crate::Result<Self> {
        let context = || format!("open the directory '{}'", base.display());
        fs::create_dir_all(base).map_err(|error| crate::Error::io(context(), error))?;
        let files = LocalFileSystem::new_with_prefix(base)
            .map_err(|error| crate::Error::storage(context(), error))?;
        let order = Order { last_modified: SystemTime::UNIX_EPOCH };
        Ok(Self { files: Arc::new(files), order: Arc::new(Mutex::new(order)) })
    }

    /// Makes the directory that a file is to be put into.
    async fn make_directory_of(&self, path: &Path) -> Result<()> {
        let path = self.files.path_to_filesystem(path)?;
        blocking(move || make_directory_of(&path)).await
    }

    /// Makes what is at these paths, and that it is there, outlive a crash.
    async fn sync(&self, paths: &[&Path]) -> Result<()> {
        let paths = paths.iter().map(|path| self.files.path_to_filesystem(path));
        let paths = paths.collect::<Result<Vec<_>>>()?;
        blocking(move || {
            for path in paths {
                match File::open(&path).and_then(|file| file.sync_all()) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => sync_directory_of(&path)?,
                }
            }
            Ok(())
        })
        .await
    }
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(generic),
        Err(error) => Err(generic(error)),
    }
}

fn generic(error: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic { store: NAME, source: Box::new(error) }
}

/// Says what is at a path where it has a content that is not a file's: its length, which is all
/// that is read, is not known.
fn special(path: &FilePath) -> std::io::Result<Option<String>> {
    let Ok(metadata) = fs::metadata(path) else { return Ok(None) };
    if metadata.is_dir() {
        return Ok(None);
    }
    if !metadata.is_file() {
        let kind = kind(metadata.file_type());
        return Ok(Some(format!("is {kind}, only files are read")));
    }
    // What the kernel makes up, as in /proc, has no length.
    let has_content = metadata.len() == 0 && File::open(path)?.read(&mut [0])? > 0;
    Ok(has_content.then(|| "has a content without a length, only files are read".to_owned()))
}

#[cfg(unix)]
fn kind(file_type: fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if file_type.is_fifo() {
        "a pipe"
    } else if file_type.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(not(unix))]
fn kind(_file_type: fs::FileType) -> &'static str {
    "a device"
}

/// What became of a put.
enum Outcome {
    Done(String),
    AlreadyExists,
    Changed,
}

/// Writes a file beside its place and then puts it there.
fn put(
    path: &FilePath,
    payload: &PutPayload,
    mode: &PutMode,
    order: &Mutex<Order>,
) -> std::io::Result<Outcome> {
    let (temporary, mut file) = create_beside(path)?;
    let result = (|| {
        payload.iter().try_for_each(|part| file.write_all(part))?;
        let etag = stamp(&file, order)?;
        file.sync_all()?;
        let order = order.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = match mode {
            PutMode::Overwrite => fs::rename(&temporary, path).map(|()| Outcome::Done(etag))?,
            PutMode::Create => match fs::hard_link(&temporary, path) {
                Ok(()) => Outcome::Done(etag),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Outcome::AlreadyExists,
                Err(error) => return Err(error),
            },
            PutMode::Update(version) => match fs::metadata(path) {
                Ok(found) if version.e_tag.as_ref() == Some(&etag_of(&found)?) => {
                    fs::rename(&temporary, path).map(|()| Outcome::Done(etag))?
                }
                Ok(_) => Outcome::Changed,
                Err(error) if error.kind() == ErrorKind::NotFound => Outcome::Changed,
                Err(error) => return Err(error),
            },
        };
        drop(order);
        if matches!(outcome, Outcome::Done(_)) {
            sync_directory_of(path)?;
        }
        Ok(outcome)
    })();
    // Gone already where it was renamed.
    let _ = fs::remove_file(&temporary);
    result
}

/// Makes a new file whose name hides it from listings: `#` and digits at the end.
fn create_beside(path: &FilePath) -> std::io::Result<(PathBuf, File)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.as_os_str().to_owned();
    name.push(format!("#{}{number:09}", std::process::id()));
    let temporary = PathBuf::from(name);
    let file = match File::create(&temporary) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_directory_of(path)?;
            File::create(&temporary)?
        }
        other => other?,
    };
    Ok((temporary, file))
}

/// Gives a file a modification time of its own and returns its etag.
fn stamp(file: &File, order: &Mutex<Order>) -> std::io::Result<String> {
    const STEP: Duration = Duration::from_micros(1);
    let written = file.metadata()?.modified()?;
    let mut order = order.lock().unwrap_or_else(PoisonError::into_inner);
    order.last_modified = written.max(order.last_modified + STEP);
    file.set_modified(order.last_modified)?;
    drop(order);
    etag_of(&file.metadata()?)
}

/// Returns the etag under which `object_store` knows a file.
fn etag_of(metadata: &Metadata) -> std::io::Result<String> {
    let since = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(format!("{:x}-{:x}-{:x}", inode(metadata), since.as_micros(), metadata.len()))
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_metadata: &Metadata) -> u64 {
    0
}

/// Makes the directory of a file where it is missing, to outlive a crash.
fn make_directory_of(path: &FilePath) -> std::io::Result<()> {
    let Some(directory) = path.parent() else { return Ok(()) };
    if directory.is_dir() {
        return Ok(());
    }
    make_directory_of(directory)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => sync_directory_of(directory),
    }
}

/// Makes a file's entry in its directory outlive a crash.
fn sync_directory_of(path: &FilePath) -> std::io::Result<()> {
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        if !options.attributes.is_empty() {
            return Err(object_store::Error::NotImplemented {
                operation: "put with attributes".to_owned(),
                implementer: self.to_string(),
            });
        }
        let path = self.files.path_to_filesystem(location)?;
        let order = Arc::clone(&self.order);
        let location = location.to_string();
        match blocking(move || put(&path, &payload, &options.mode, &order)).await? {
            Outcome::Done(etag) => Ok(PutResult { e_tag: Some(etag), version: None }),
            Outcome::AlreadyExists => Err(object_store::Error::AlreadyExists {
                path: location,
                source: "a file of this name is there".into(),
            }),
            Outcome::Changed => Err(object_store::Error::Precondition {
                path: location,
                source: "the file is not the one that was expected".into(),
            }),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.make_directory_of(location).await?;
        let upload = self.files.put_multipart_opts(location, options).await?;
        Ok(Box::new(DurableUpload { upload, store: self.clone(), location: location.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        // Files are looked at before they are read.
        if options.head {
            let path = self.files.path_to_filesystem(location)?;
            if let Some(what) = blocking(move || special(&path)).await? {
                return Err(object_store::Error::NotSupported { source: what.into() });
            }
        }
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.files.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.make_directory_of(to).await?;
        self.files.copy_opts(from, to, options).await?;
        self.sync(&[to]).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.make_directory_of(to).await?;
        self.files.rename_opts(from, to, options).await?;
        self.sync(&[to, from]).await
    }
}

/// An upload in parts that is on the disk once it is complete.
#[derive(Debug)]
struct DurableUpload {
    upload: Box<dyn MultipartUpload>,
    store: LocalStore,
    location: Path,
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.upload.complete().await?;
        self.store.sync(&[&self.location]).await?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use object_store::{ObjectStoreExt, UpdateVersion};

    use super::*;

    fn store() -> (tempfile::TempDir, LocalStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStore::open(&directory.path().join("base")).unwrap();
        (directory, store)
    }

    async fn update(store: &LocalStore, path: &Path, etag: &str, text: &str) -> Result<PutResult> {
        let version = UpdateVersion { e_tag: Some(etag.to_owned()), version: None };
        let mode = PutMode::Update(version);
        store.put_opts(path, text.to_owned().into(), mode.into()).await
    }

    async fn text(store: &LocalStore, path: &Path) -> String {
        let bytes = store.get(path).await.unwrap().bytes().await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn an_update_needs_the_etag_of_what_is_there() {
        let (_directory, store) = store();
        let path = Path::from("jobs/head");
        let missing = update(&store, &path, "x", "0").await.unwrap_err();
        assert!(matches!(missing, object_store::Error::Precondition { .. }), "{missing}");

        let first = store.put(&path, "1".into()).await.unwrap().e_tag.unwrap();
        assert_eq!(store.head(&path).await.unwrap().e_tag.as_deref(), Some(first.as_str()));
        let second = update(&store, &path, &first, "2").await.unwrap().e_tag.unwrap();
        assert_eq!(store.head(&path).await.unwrap().e_tag.as_deref(), Some(second.as_str()));
        let stale = update(&store, &path, &first, "3").await.unwrap_err();
        assert!(matches!(stale, object_store::Error::Precondition { .. }), "{stale}");
        assert_eq!(text(&store, &path).await, "2");
    }

    #[tokio::test]
    async fn etags_never_repeat() {
        let (_directory, store) = store();
        let path = Path::from("head");
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let etag = store.put(&path, "same".into()).await.unwrap().e_tag.unwrap();
            assert!(seen.insert(etag), "an etag came back");
        }
    }

    #[tokio::test]
    async fn one_of_many_updates_wins() {
        let (_directory, store) = store();
        let path = Path::from("head");
        let etag = store.put(&path, "0".into()).await.unwrap().e_tag.unwrap();
        let contenders = (0..16).map(|number| {
            let (store, path, etag) = (store.clone(), path.clone(), etag.clone());
            async move { update(&store, &path, &etag, &number.to_string()).await.is_ok() }
        });
        let won = futures::future::join_all(contenders).await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1);
    }

    #[tokio::test]
    async fn a_create_does_not_replace() {
        let (_directory, store) = store();
        let path = Path::from("a/b/c");
        store.put_opts(&path, "1".into(), PutMode::Create.into()).await.unwrap();
        let error = store.put_opts(&path, "2".into(), PutMode::Create.into()).await.unwrap_err();
        assert!(matches!(error, object_store::Error::AlreadyExists { .. }), "{error}");
        assert_eq!(text(&store, &path).await, "1");
        let listed = store.list(None).try_collect::<Vec<_>>().await.unwrap();
        assert_eq!(listed.len(), 1, "nothing but the file remains: {listed:?}");
    }

    #[tokio::test]
    async fn uploads_in_parts_and_renames_arrive() {
        let (_directory, store) = store();
        let path = Path::from("parts/a=1%202/file");
        let mut upload = store.put_multipart(&path).await.unwrap();
        upload.put_part("one ".into()).await.unwrap();
        upload.put_part("two".into()).await.unwrap();
        upload.complete().await.unwrap();
        let to = Path::parse("moved/a=1%202/file").unwrap();
        store.rename(&path, &to).await.unwrap();
        assert_eq!(text(&store, &to).await, "one two");
        let listed = store.list(None).try_collect::<Vec<_>>().await.unwrap();
        assert_eq!(listed.iter().map(|meta| &meta.location).collect::<Vec<_>>(), [&to]);
    }
}
