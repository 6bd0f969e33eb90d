//! Local files into the cluster.

use std::path::{Path as LocalPath, PathBuf};

use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::each;
use super::paths::{is_directory, parse};
use crate::cli::error::{CliError, Result};

/// What is read of a local file at a time.
const PART_BYTES: usize = 4 << 20;

/// How files are copied.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct How {
    /// Whether directories are, with all that is in them.
    pub(super) recursive: bool,
    /// Whether a file that exists is an error.
    pub(super) create: bool,
}

/// Copies local files to a path: into it where it is a directory, or several are copied.
pub(super) async fn put(
    store: &dyn ObjectStore,
    locals: &[PathBuf],
    text: &str,
    how: How,
) -> Result<()> {
    let path = parse(text)?;
    let into = locals.len() > 1 || text.ends_with('/') || is_directory(store, &path).await?;
    each(locals, async |local| {
        let stdin = *local == LocalPath::new("-");
        // Of `.` the directory's own name.
        let whole = local.canonicalize().unwrap_or_default();
        let target = match local.file_name().or(whole.file_name()) {
            _ if !into => path.clone(),
            Some(name) if !stdin => path.clone().join(name.to_string_lossy().as_ref()),
            _ => {
                let what = if stdin { "standard input" } else { "that" };
                let text =
                    format!("'{text}' is a directory: name the file, for {what} has no name");
                return Err(CliError::new(text));
            }
        };
        if stdin {
            return upload(store, &target, tokio::io::stdin(), how.create).await;
        }
        if !local.is_dir() {
            return put_file(store, local, &target, how).await;
        }
        if !how.recursive {
            let text = "is a directory: copy it and all that is in it with -r";
            return Err(CliError::new(format!("{} {text}", local.display())));
        }
        let files = files_under(local)?;
        each(&files, async |below| {
            let parts = below.iter().map(|part| part.to_string_lossy());
            let target = parts.fold(target.clone(), |path, part| path.join(part.as_ref()));
            put_file(store, &local.join(below), &target, how).await
        })
        .await
    })
    .await
}

async fn put_file(store: &dyn ObjectStore, local: &LocalPath, path: &Path, how: How) -> Result<()> {
    let read = |error| CliError::io(format!("read {}", local.display()), error);
    let file = tokio::fs::File::open(local).await.map_err(read)?;
    upload(store, path, file, how.create).await
}

/// Returns the files in a local directory and below, relative to it, in the order of their names.
fn files_under(directory: &LocalPath) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(below) = directories.pop() {
        let here = directory.join(&below);
        let read = |error| CliError::io(format!("read {}", here.display()), error);
        for item in std::fs::read_dir(&here).map_err(read)? {
            let item = item.map_err(read)?;
            let path = below.join(item.file_name());
            // What a link leads to may contain the link.
            if item.file_type().map_err(read)?.is_dir() {
                directories.push(path);
            } else if item.path().is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
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
