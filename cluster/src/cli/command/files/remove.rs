//! Files that go.

use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::paths::{file, is_directory};
use crate::cli::error::{CliError, Result};

/// What a cluster keeps for itself: checkpoints and the catalog.
const OWN_DIRECTORIES: [&str; 2] = ["jobs", "catalog"];

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

/// Removes a file, or a directory where that is asked for.
pub(super) async fn remove(
    store: &dyn ObjectStore,
    path: &Path,
    recursive: bool,
    force: bool,
) -> Result<()> {
    if !force {
        check_not_needed(store, path).await?;
    }
    let inside: BoxStream<'static, object_store::Result<Path>> =
        store.list(Some(path)).map_ok(|meta| meta.location).boxed();
    if recursive {
        let removed = store.delete_stream(inside).try_fold(0_u64, |n, _| async move { Ok(n + 1) });
        if removed.await? > 0 || path.as_ref().is_empty() {
            let _ = store.delete(path).await;
            return Ok(());
        }
    }
    if !recursive && is_directory(store, path).await? {
        let text = format!("/{path} is a directory: remove it and all that is in it with -r");
        return Err(CliError::new(text));
    }
    let path = file(store, path).await?.location;
    Ok(store.delete(&path).await?)
}
