//! `rainstorm fs`: the cluster's files.

use std::fmt::Write as _;
use std::path::Path as LocalPath;
use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    GetOptions, GetResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutOptions,
};
use rainstorm_engine::time::SystemClock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::cli::Context;
use crate::cli::args::{Fs, FsCommand, FsTarget};
use crate::cli::error::{CliError, Result};
use crate::cli::output::write_results;
use crate::cli::reach::{check_address, owner};
use crate::fs::{Config, RemoteStore, Sdfs, SdfsStore};
use crate::identity::DataDirectory;

/// What a cluster keeps for itself: checkpoints and the catalog.
const OWN_DIRECTORIES: [&str; 2] = ["jobs", "catalog"];
/// What is read of a local file at a time.
const PART_BYTES: usize = 4 << 20;

/// Looks into the cluster's files and copies to and from them.
pub(crate) async fn files(fs: Fs, context: &Context) -> Result<()> {
    let creates = matches!(fs.command, FsCommand::Put { .. });
    let mut operation = context.interrupt.begin();
    let work = async {
        let files = open(&fs.target, creates).await?;
        run(&*files.store, fs.command).await
    };
    operation.or_interrupted(work).await
}

/// The files, and the lock that is held while this process reads them where they lie.
struct Files {
    store: Arc<dyn ObjectStore>,
    _directory: Option<DataDirectory>,
}

async fn open(target: &FsTarget, creates: bool) -> Result<Files> {
    let remote = |address: &str| {
        let store = RemoteStore::connect(address).map_err(|error| CliError::from_error(&error))?;
        Ok(Files { store: Arc::new(store), _directory: None })
    };
    if let Some(master) = &target.master {
        check_address(master)?;
        return remote(master);
    }
    if target.data.is_file() {
        let data = target.data.display();
        return Err(CliError::new(format!("{data} is a file and no data directory")));
    }
    if let Some(owner) = owner(&target.data)? {
        let address = owner.address.ok_or_else(|| {
            let data = target.data.display();
            CliError::new(format!("process that holds {data} cannot be reached yet"))
        })?;
        return remote(&address);
    }
    if !creates && !target.data.exists() {
        return Err(CliError::new(format!(
            "there is no data directory {}: name one with --data DIR, or a cluster with --master",
            target.data.display()
        )));
    }
    let directory =
        DataDirectory::open_files(&target.data).map_err(|error| CliError::from_error(&error))?;
    let config = Config::new(directory.files_path(), Arc::new(SystemClock));
    let fs = Sdfs::open(config).await.map_err(|error| CliError::from_error(&error))?;
    Ok(Files { store: Arc::new(SdfsStore::new(fs)), _directory: Some(directory) })
}

async fn run(store: &dyn ObjectStore, command: FsCommand) -> Result<()> {
    match command {
        FsCommand::Ls { path, recursive } => {
            list(store, path.as_deref().unwrap_or("/"), recursive).await
        }
        FsCommand::Put { local, path, create } => put(store, &local, &path, create).await,
        FsCommand::Get { path, local } => get(store, &path, local.as_deref()).await,
        FsCommand::Cat { path } => cat(store, &path).await,
        FsCommand::Rm { paths, recursive, force } => {
            let mut result = Ok(());
            for path in paths {
                if let Err(error) = remove(store, &path, recursive, force).await {
                    error.report();
                    result = Err(CliError::Reported);
                }
            }
            result
        }
        FsCommand::Stat { path } => stat(store, &path).await,
    }
}

/// Reads a path as people write it: /a/b, a/b or sdfs:///a/b.
fn parse(path: &str) -> Result<Path> {
    let inner = path.strip_prefix("sdfs://").unwrap_or(path).trim_matches('/');
    Path::parse(inner).map_err(|error| CliError::failed(format!("path '{path}'"), &error))
}

async fn list(store: &dyn ObjectStore, text: &str, recursive: bool) -> Result<()> {
    let path = parse(text)?;
    let mut lines = Vec::new();
    if recursive {
        let files = store.list(Some(&path)).try_collect::<Vec<_>>().await?;
        lines.extend(files.iter().map(file_line));
    } else {
        let listing = store.list_with_delimiter(Some(&path)).await?;
        let directories = listing.common_prefixes.iter();
        lines.extend(directories.map(|path| (path.to_string(), format!("{:>38}  /{path}/\n", ""))));
        lines.extend(listing.objects.iter().map(file_line));
    }
    if lines.is_empty() && !path.as_ref().is_empty() {
        // Not a directory: a file, or nothing.
        lines.push(file_line(&store.head(&path).await?));
    }
    lines.sort();
    write_results(lines.into_iter().map(|(_, line)| line).collect::<String>().as_bytes())
}

fn file_line(meta: &ObjectMeta) -> (String, String) {
    let time = meta.last_modified.format("%Y-%m-%d %H:%M:%S%.3f");
    (meta.location.to_string(), format!("{:>13}  {time}  /{}\n", meta.size, meta.location))
}

async fn put(store: &dyn ObjectStore, local: &LocalPath, text: &str, create: bool) -> Result<()> {
    let name = local.file_name().map(|name| name.to_string_lossy().into_owned());
    let path = match name {
        Some(name) if text.ends_with('/') && name == "-" => {
            return Err(CliError::new(format!(
                "'{text}' is a directory: name the file, for standard input has no name"
            )));
        }
        Some(name) if text.ends_with('/') => parse(&format!("{text}{name}"))?,
        _ => parse(text)?,
    };
    let read = |error| CliError::io(format!("read {}", local.display()), error);
    if local == LocalPath::new("-") {
        upload(store, &path, tokio::io::stdin(), create).await
    } else {
        let file = tokio::fs::File::open(local).await.map_err(read)?;
        if file.metadata().await.map_err(read)?.is_dir() {
            return Err(CliError::new(format!("{} is a directory", local.display())));
        }
        upload(store, &path, file, create).await
    }
}

async fn upload(
    store: &dyn ObjectStore,
    path: &Path,
    mut input: impl AsyncRead + Unpin,
    create: bool,
) -> Result<()> {
    let first = read_part(&mut input).await?;
    if create || first.len() < PART_BYTES {
        // A conditional write is one request, so all of the file is held.
        let mut all = first;
        while all.len() % PART_BYTES == 0 && !all.is_empty() {
            let part = read_part(&mut input).await?;
            if part.is_empty() {
                break;
            }
            all.extend(part);
        }
        let mode = if create { PutMode::Create } else { PutMode::Overwrite };
        store.put_opts(path, all.into(), PutOptions::from(mode)).await?;
        return Ok(());
    }
    let mut target = store.put_multipart(path).await?;
    match upload_parts(&mut *target, first, input).await {
        Ok(()) => {
            target.complete().await?;
            Ok(())
        }
        Err(error) => {
            // What was uploaded is swept in any case.
            let _ = target.abort().await;
            Err(error)
        }
    }
}

async fn upload_parts(
    target: &mut dyn MultipartUpload,
    first: Vec<u8>,
    mut input: impl AsyncRead + Unpin,
) -> Result<()> {
    let mut part = first;
    while !part.is_empty() {
        target.put_part(part.into()).await?;
        part = read_part(&mut input).await?;
    }
    Ok(())
}

/// Reads a whole part, or what is left.
async fn read_part(input: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>> {
    let mut part = Vec::new();
    let read = input.take(PART_BYTES as u64).read_to_end(&mut part).await;
    read.map_err(|error| CliError::io("read the local file", error))?;
    Ok(part)
}

async fn get(store: &dyn ObjectStore, text: &str, local: Option<&LocalPath>) -> Result<()> {
    if local == Some(LocalPath::new("-")) {
        return cat(store, text).await;
    }
    let path = find(store, text).await?.location;
    let name = path.filename().unwrap_or_default();
    let target = match local {
        None => LocalPath::new(name).to_path_buf(),
        Some(local) if local.is_dir() => local.join(name),
        Some(local) => local.to_path_buf(),
    };
    if let Some(parent) = target.parent().filter(|it| !it.as_os_str().is_empty() && !it.is_dir()) {
        return Err(CliError::new(format!("directory {} does not exist", parent.display())));
    }
    let result = store.get(&path).await?;
    // Written beside its place, so that no half of a file is taken for it.
    let partial = target.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = save(result, &partial).await;
    let saved = match written {
        Ok(()) => tokio::fs::rename(&partial, &target)
            .await
            .map_err(|error| CliError::io(format!("write {}", target.display()), error)),
        Err(error) => Err(error),
    };
    if saved.is_err() {
        let _ = tokio::fs::remove_file(&partial).await;
    }
    saved
}

async fn save(result: GetResult, target: &LocalPath) -> Result<()> {
    let failed = |error| CliError::io(format!("write {}", target.display()), error);
    let mut file = tokio::fs::File::create(target).await.map_err(failed)?;
    let mut bytes = result.into_stream();
    while let Some(piece) = bytes.try_next().await? {
        file.write_all(&piece).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)
}

async fn cat(store: &dyn ObjectStore, text: &str) -> Result<()> {
    let path = find(store, text).await?.location;
    let mut bytes = store.get(&path).await?.into_stream();
    while let Some(piece) = bytes.try_next().await? {
        write_results(&piece)?;
    }
    Ok(())
}

/// Finds a file.
///
/// # Errors
/// Where there is none, or a directory.
async fn find(store: &dyn ObjectStore, text: &str) -> Result<ObjectMeta> {
    let path = parse(text)?;
    if is_directory(store, &path).await {
        return Err(CliError::new(format!("/{path} is a directory")));
    }
    Ok(store.head(&path).await?)
}

async fn is_directory(store: &dyn ObjectStore, path: &Path) -> bool {
    let is_root = path.as_ref().is_empty();
    is_root || store.head(path).await.is_err() && store.list(Some(path)).next().await.is_some()
}

/// Refuses to remove what the cluster itself needs.
async fn check_not_needed(store: &dyn ObjectStore, path: &Path) -> Result<()> {
    for own in OWN_DIRECTORIES.map(Path::from) {
        let needed = if path.prefix_matches(&own) {
            path
        } else if own.prefix_matches(path) && store.list(Some(&own)).next().await.is_some() {
            &own
        } else {
            continue;
        };
        let text = "is where the cluster keeps what it needs: remove it with --force";
        return Err(CliError::new(format!("/{needed} {text}")));
    }
    Ok(())
}

async fn remove(store: &dyn ObjectStore, text: &str, recursive: bool, force: bool) -> Result<()> {
    let path = parse(text)?;
    if !force {
        check_not_needed(store, &path).await?;
    }
    let inside: BoxStream<'static, object_store::Result<Path>> =
        store.list(Some(&path)).map_ok(|meta| meta.location).boxed();
    if recursive {
        let removed = store.delete_stream(inside).try_fold(0_u64, |n, _| async move { Ok(n + 1) });
        if removed.await? > 0 || path.as_ref().is_empty() {
            let _ = store.delete(&path).await;
            return Ok(());
        }
    }
    if !recursive && is_directory(store, &path).await {
        let text = format!("/{path} is a directory: remove it and all that is in it with -r");
        return Err(CliError::new(text));
    }
    let path = find(store, text).await?.location;
    Ok(store.delete(&path).await?)
}

async fn stat(store: &dyn ObjectStore, text: &str) -> Result<()> {
    let path = find(store, text).await?.location;
    let options = GetOptions::new().with_head(true);
    let GetResult { meta, attributes, .. } = store.get_opts(&path, options).await?;
    let time = meta.last_modified.format("%Y-%m-%d %H:%M:%S%.3f");
    let mut lines = format!(
        "path      /{}\nsize      {}\nmodified  {time}\netag      {}\n",
        meta.location,
        meta.size,
        meta.e_tag.unwrap_or_default()
    );
    for (name, value) in &attributes {
        // Writing into a string does not fail.
        let _ = writeln!(lines, "attribute {name:?} = {}", value.as_ref());
    }
    write_results(lines.as_bytes())
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[test]
    fn paths_are_written_in_several_ways() {
        for text in ["a/b", "/a/b", "sdfs:///a/b", "/a/b/"] {
            assert_eq!(parse(text).unwrap().as_ref(), "a/b");
        }
        assert_eq!(parse("/").unwrap().as_ref(), "");
        assert!(parse("a/../b").is_err());
    }

    #[tokio::test]
    async fn files_go_in_and_come_out_whole() {
        let store = InMemory::new();
        let directory = tempfile::tempdir().unwrap();
        for size in [0, 5, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES] {
            let local = directory.path().join("local");
            let bytes: Vec<u8> = (0..size).map(|at| (at / 7) as u8).collect();
            std::fs::write(&local, &bytes).unwrap();
            for create in [false, true] {
                put(&store, &local, &format!("/to/{create}/{size}/"), create).await.unwrap();
                let path = format!("to/{create}/{size}/local");
                let back = directory.path().join("back");
                get(&store, &path, Some(&back)).await.unwrap();
                assert_eq!(std::fs::read(&back).unwrap(), bytes, "{size} bytes");
                assert!(put(&store, &local, &path, true).await.is_err());
            }
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_cannot_be_removed_or_fetched() {
        let store = InMemory::new();
        let directory = tempfile::tempdir().unwrap();
        assert!(remove(&store, "/nothing", false, false).await.is_err());
        assert!(remove(&store, "/nothing", true, false).await.is_err());
        assert!(get(&store, "/nothing", Some(directory.path())).await.is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_directory_is_removed_only_when_asked_for() {
        let store = InMemory::new();
        for path in ["d/1", "d/e/2", "d2/3"] {
            store.put(&Path::from(path), "x".into()).await.unwrap();
        }
        assert!(remove(&store, "/d", false, false).await.is_err());
        remove(&store, "/d", true, false).await.unwrap();
        let left = store.list(None).map_ok(|meta| meta.location.to_string());
        assert_eq!(left.try_collect::<Vec<_>>().await.unwrap(), ["d2/3"]);
    }
}
