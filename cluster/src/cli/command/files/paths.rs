//! Paths in the cluster, as people write them.

use std::collections::BTreeSet;

use futures::stream::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use rainstorm_engine::connector::filesystem::Pattern;

use crate::cli::error::{CliError, Result};

/// Reads a path: /a/b, a/b or sdfs:///a/b.
pub(super) fn parse(path: &str) -> Result<Path> {
    Path::parse(inner(path)).map_err(|error| CliError::failed(format!("path '{path}'"), &error))
}

fn inner(path: &str) -> &str {
    path.strip_prefix("sdfs://").unwrap_or(path).trim_matches('/')
}

/// Returns the files and directories that a path with or without wildcards names.
///
/// # Errors
/// Where wildcards match nothing. Without them nothing is looked up.
pub(super) async fn expand(store: &dyn ObjectStore, text: &str) -> Result<Vec<Path>> {
    let (folder, Some(pattern)) = Pattern::split(inner(text)) else {
        return Ok(vec![parse(text)?]);
    };
    if let Ok(literal) = parse(text)
        && entry(store, &literal).await?.is_some()
    {
        return Ok(vec![literal]);
    }
    let folder = parse(&folder)?;
    let mut files = store.list(Some(&folder));
    let mut found = BTreeSet::new();
    while let Some(file) = files.try_next().await? {
        let Some(parts) = file.location.prefix_match(&folder) else { continue };
        let mut path = folder.clone();
        let mut below = String::new();
        for part in parts {
            below = format!("{below}{}{}", if below.is_empty() { "" } else { "/" }, part.as_ref());
            path = path.join(part);
            if pattern.matches(&below) {
                found.insert(path.clone());
            }
        }
    }
    if found.is_empty() {
        return Err(CliError::new(format!("no file or directory matches '{text}'")));
    }
    Ok(found.into_iter().collect())
}

/// What is at a path.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    File(ObjectMeta),
    Directory,
}

/// Looks up what is at a path, if there is anything.
pub(super) async fn entry(store: &dyn ObjectStore, path: &Path) -> Result<Option<Entry>> {
    if path.as_ref().is_empty() {
        return Ok(Some(Entry::Directory));
    }
    match store.head(path).await {
        Ok(meta) => return Ok(Some(Entry::File(meta))),
        Err(object_store::Error::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let inside = store.list(Some(path)).next().await.transpose()?;
    Ok(inside.map(|_| Entry::Directory))
}

/// Finds a file.
///
/// # Errors
/// Where there is none, or a directory.
pub(super) async fn file(store: &dyn ObjectStore, path: &Path) -> Result<ObjectMeta> {
    match entry(store, path).await? {
        Some(Entry::File(meta)) => Ok(meta),
        Some(Entry::Directory) => Err(CliError::new(format!("/{path} is a directory"))),
        None => Err(CliError::new(format!("file /{path} does not exist"))),
    }
}

pub(super) async fn is_directory(store: &dyn ObjectStore, path: &Path) -> Result<bool> {
    Ok(matches!(entry(store, path).await?, Some(Entry::Directory)))
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
    async fn wildcards_match_files_and_directories() {
        let store = InMemory::new();
        for path in ["in/a.csv", "in/b.csv", "in/c.json", "in/d/a.csv", "odd/[a].csv"] {
            store.put(&Path::from(path), "x".into()).await.unwrap();
        }
        let names = async |text: &str| match expand(&store, text).await {
            Ok(paths) => paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(CliError::Failed { message, .. }) => message,
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(names("/in/*.csv").await, "in/a.csv in/b.csv");
        assert_eq!(names("sdfs:///in/*").await, "in/a.csv in/b.csv in/c.json in/d");
        assert_eq!(names("i?/**/a.csv").await, "in/a.csv in/d/a.csv");
        assert_eq!(names("/odd/%5Ba%5D.csv").await, "odd/%5Ba%5D.csv");
        assert_eq!(names("/in/none").await, "in/none");
        assert_eq!(names("/out/*").await, "no file or directory matches '/out/*'");
    }
}
