//! `rainstorm fs`: the cluster's files.

mod get;
mod paths;
mod put;
mod remove;

use std::fmt::Write as _;
use std::path::Path as LocalPath;
use std::sync::Arc;

use futures::stream::TryStreamExt;
use object_store::path::Path;
use object_store::{GetOptions, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt};
use rainstorm_engine::time::SystemClock;

use self::get::get;
use self::paths::{Entry, entry, expand, file};
use self::put::put;
use self::remove::remove;
use crate::cli::Context;
use crate::cli::args::{Fs, FsCommand, FsTarget};
use crate::cli::error::{CliError, Result};
use crate::cli::output::write_results;
use crate::cli::reach::{check_address, owner};
use crate::fs::{Config, RemoteStore, Sdfs, SdfsStore};
use crate::identity::DataDirectory;

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
        FsCommand::Ls { paths, recursive } if paths.is_empty() => list(store, "/", recursive).await,
        FsCommand::Ls { paths, recursive } => {
            each(&paths, async |path| list(store, path, recursive).await).await
        }
        FsCommand::Put { locals, path, recursive, create } => {
            put(store, &locals, &path, put::How { recursive, create }).await
        }
        FsCommand::Get { paths, recursive } => match paths.as_slice() {
            [paths @ .., last] if !paths.is_empty() => {
                let local = (last != "-").then_some(LocalPath::new(last));
                let paths = expand_all(store, paths).await?;
                match local {
                    Some(local) => get(store, &paths, Some(local), recursive).await,
                    None => each(&paths, async |path| cat(store, path).await).await,
                }
            }
            paths => get(store, &expand_all(store, paths).await?, None, recursive).await,
        },
        FsCommand::Cat { paths } => {
            each(&expand_all(store, &paths).await?, async |path| cat(store, path).await).await
        }
        FsCommand::Rm { paths, recursive, force } => {
            each(&paths, async |text| {
                each(&expand(store, text).await?, async |path| {
                    remove(store, path, recursive, force).await
                })
                .await
            })
            .await
        }
        FsCommand::Stat { paths } => {
            each(&expand_all(store, &paths).await?, async |path| stat(store, path).await).await
        }
    }
}

/// Does something with each, and goes on where one fails.
async fn each<T>(all: &[T], mut work: impl AsyncFnMut(&T) -> Result<()>) -> Result<()> {
    let mut result = Ok(());
    for one in all {
        match work(one).await {
            Ok(()) => {}
            Err(error @ (CliError::OutputClosed | CliError::Interrupted)) => return Err(error),
            // The only one is told by who asked.
            Err(error) if all.len() == 1 => return Err(error),
            Err(error) => {
                error.report();
                result = Err(CliError::Reported);
            }
        }
    }
    result
}

async fn expand_all(store: &dyn ObjectStore, texts: &[String]) -> Result<Vec<Path>> {
    let mut paths = Vec::new();
    for text in texts {
        paths.extend(expand(store, text).await?);
    }
    Ok(paths)
}

/// Lists what is in a directory, a file, or what wildcards match.
async fn list(store: &dyn ObjectStore, text: &str, recursive: bool) -> Result<()> {
    let paths = expand(store, text).await?;
    let mut lines = Vec::new();
    for path in &paths {
        match entry(store, path).await? {
            None => return Err(CliError::new(format!("there is no file or directory /{path}"))),
            Some(Entry::File(meta)) => lines.push(file_line(&meta)),
            Some(Entry::Directory) if recursive => {
                let files = store.list(Some(path)).try_collect::<Vec<_>>().await?;
                lines.extend(files.iter().map(file_line));
            }
            Some(Entry::Directory) if paths.len() > 1 => lines.push(directory_line(path)),
            Some(Entry::Directory) => {
                let listing = store.list_with_delimiter(Some(path)).await?;
                lines.extend(listing.common_prefixes.iter().map(directory_line));
                lines.extend(listing.objects.iter().map(file_line));
            }
        }
    }
    lines.sort();
    lines.dedup();
    write_results(lines.into_iter().map(|(_, line)| line).collect::<String>().as_bytes())
}

fn directory_line(path: &Path) -> (String, String) {
    (path.to_string(), format!("{:>38}  /{path}/\n", ""))
}

fn file_line(meta: &ObjectMeta) -> (String, String) {
    let time = meta.last_modified.format("%Y-%m-%d %H:%M:%S%.3f");
    (meta.location.to_string(), format!("{:>13}  {time}  /{}\n", meta.size, meta.location))
}

async fn cat(store: &dyn ObjectStore, path: &Path) -> Result<()> {
    let path = file(store, path).await?.location;
    let mut bytes = store.get(&path).await?.into_stream();
    while let Some(piece) = bytes.try_next().await? {
        write_results(&piece)?;
    }
    Ok(())
}

async fn stat(store: &dyn ObjectStore, path: &Path) -> Result<()> {
    let path = file(store, path).await?.location;
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
    use std::slice::from_ref;

    use object_store::memory::InMemory;

    use super::paths::parse;
    use super::put::How;
    use super::*;

    const PART_BYTES: usize = 4 << 20;

    fn path(text: &str) -> Vec<Path> {
        vec![parse(text).unwrap()]
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
                let how = How { create, recursive: false };
                put(&store, from_ref(&local), &format!("/to/{create}/{size}/"), how).await.unwrap();
                let to = format!("to/{create}/{size}/local");
                let back = directory.path().join("back");
                get(&store, &path(&to), Some(&back), false).await.unwrap();
                assert_eq!(std::fs::read(&back).unwrap(), bytes, "{size} bytes");
                assert!(
                    put(&store, from_ref(&local), &to, How { create: true, ..how }).await.is_err()
                );
            }
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_cannot_be_removed_or_fetched() {
        let store = InMemory::new();
        let directory = tempfile::tempdir().unwrap();
        assert!(remove(&store, &path("/nothing")[0], false, false).await.is_err());
        assert!(remove(&store, &path("/nothing")[0], true, false).await.is_err());
        assert!(get(&store, &path("/nothing"), Some(directory.path()), true).await.is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_directory_is_removed_only_when_asked_for() {
        let store = InMemory::new();
        for path in ["d/1", "d/e/2", "d2/3"] {
            store.put(&Path::from(path), "x".into()).await.unwrap();
        }
        assert!(remove(&store, &path("/d")[0], false, false).await.is_err());
        remove(&store, &path("/d")[0], true, false).await.unwrap();
        let left = store.list(None).map_ok(|meta| meta.location.to_string());
        assert_eq!(left.try_collect::<Vec<_>>().await.unwrap(), ["d2/3"]);
    }

    #[tokio::test]
    async fn directories_are_copied_whole_both_ways() {
        let store = InMemory::new();
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        std::fs::create_dir_all(here.join("d/e/f")).unwrap();
        for name in ["d/1", "d/e/2", "d/e/f/3", "g"] {
            std::fs::write(here.join(name), name).unwrap();
        }
        let locals = [here.join("d"), here.join("g")];
        assert!(put(&store, &locals, "/to", How::default()).await.is_err());
        let how = How { recursive: true, create: false };
        put(&store, &locals, "/to", how).await.unwrap();
        put(&store, &locals[..1], "/as", how).await.unwrap();
        let listed = store.list(None).map_ok(|meta| meta.location.to_string());
        let mut listed = listed.try_collect::<Vec<_>>().await.unwrap();
        listed.sort();
        let expected = ["as/1", "as/e/2", "as/e/f/3", "to/d/1", "to/d/e/2", "to/d/e/f/3", "to/g"];
        assert_eq!(listed, expected);
        std::fs::create_dir(here.join("back")).unwrap();
        let back = here.join("back");
        let both = [path("/to/d"), path("/to/g")].concat();
        assert!(get(&store, &both, Some(&back), false).await.is_err());
        get(&store, &both, Some(&back), true).await.unwrap();
        get(&store, &path("/as"), Some(&here.join("new")), true).await.unwrap();
        for name in ["d/1", "d/e/2", "d/e/f/3", "g"] {
            assert_eq!(std::fs::read_to_string(back.join(name)).unwrap(), name);
        }
        assert_eq!(std::fs::read_to_string(here.join("new/e/f/3")).unwrap(), "d/e/f/3");
        assert!(get(&store, &both, Some(LocalPath::new("g")), true).await.is_err());
    }
}
