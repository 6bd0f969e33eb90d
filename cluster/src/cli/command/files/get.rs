//! Files out of the cluster.

use std::path::Path as LocalPath;

use futures::stream::TryStreamExt;
use object_store::path::{Path, PathPart};
use object_store::{GetResult, ObjectStore, ObjectStoreExt};
use tokio::io::AsyncWriteExt;

use super::each;
use super::paths::{Entry, entry, file};
use crate::cli::error::{CliError, Result};

/// Copies files, and directories where that is asked for, to a local place: into it where it is a
/// directory; without one here.
pub(super) async fn get(
    store: &dyn ObjectStore,
    paths: &[Path],
    local: Option<&LocalPath>,
    recursive: bool,
) -> Result<()> {
    let local = local.unwrap_or(LocalPath::new(""));
    let into = local.as_os_str().is_empty() || local.is_dir();
    if paths.len() > 1 && !into {
        return Err(CliError::new(format!("{} is not a directory", local.display())));
    }
    each(paths, async |path| {
        let name = path.filename().unwrap_or_default();
        let target = if into { local.join(name) } else { local.to_path_buf() };
        if !matches!(entry(store, path).await?, Some(Entry::Directory)) {
            return get_file(store, path, &target).await;
        }
        if !recursive {
            let text = "is a directory: copy it and all that is in it with -r";
            return Err(CliError::new(format!("/{path} {text}")));
        }
        let files = store.list(Some(path)).map_ok(|meta| meta.location).try_collect::<Vec<_>>();
        each(&files.await?, async |found| {
            let parts = found.prefix_match(path).into_iter().flatten();
            let place =
                parts.fold(target.clone(), |place, part: PathPart<'_>| place.join(part.as_ref()));
            let parent = place.parent().map(LocalPath::to_path_buf).unwrap_or_default();
            let made = tokio::fs::create_dir_all(&parent).await;
            made.map_err(|error| CliError::io(format!("make {}", parent.display()), error))?;
            get_file(store, found, &place).await
        })
        .await
    })
    .await
}

async fn get_file(store: &dyn ObjectStore, path: &Path, target: &LocalPath) -> Result<()> {
    let path = file(store, path).await?.location;
    if let Some(parent) = target.parent().filter(|it| !it.as_os_str().is_empty() && !it.is_dir()) {
        return Err(CliError::new(format!("directory {} does not exist", parent.display())));
    }
    let result = store.get(&path).await?;
    // Written beside its place, so that no half of a file is taken for it.
    let name = path.filename().unwrap_or_default();
    let partial = target.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = save(result, &partial).await;
    let saved = match written {
        Ok(()) => tokio::fs::rename(&partial, target)
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
