//! The file store against a model, here and over gRPC, with races, sweeps and a full disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyMode, CopyOptions, Error, GetOptions, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, RenameOptions, RenameTargetMode, UpdateVersion,
};
use proptest::prelude::*;
use rainstorm_engine::time::SimulatedClock;
use rainstorm_proto::files as proto;
use tempfile::TempDir;

use super::chunk::CHUNK_BYTES;
use super::disk::{DiskSpace, Space};
use super::{Config, FilesServer, FsError, RemoteStore, Sdfs, SdfsStore};

fn config(directory: &std::path::Path) -> Config {
    let clock = Arc::new(SimulatedClock::new(1_700_000_000_000));
    let mut config = Config::new(directory.to_owned(), clock);
    config.snapshot_after_bytes = 4096;
    config
}

async fn open(directory: &TempDir) -> Sdfs {
    Sdfs::open(config(directory.path())).await.unwrap()
}

/// Serves the files on a free port until the returned task is aborted.
async fn serve(fs: Sdfs) -> RemoteStore {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let service = proto::files_server::FilesServer::new(FilesServer::new(fs));
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(incoming));
    RemoteStore::connect(&address).unwrap()
}

fn content(seed: u8, size: usize) -> Bytes {
    (0..size).map(|at| (at / 3) as u8 ^ seed).collect()
}

#[derive(Debug, Clone)]
enum Op {
    Put(usize, usize, Mode),
    Multipart(usize, Vec<usize>),
    Delete(usize),
    Copy(usize, usize, bool),
    Rename(usize, usize, bool),
    GetRange(usize, u64, u64),
    List(usize),
    Collect,
    Reopen,
}

#[derive(Debug, Clone)]
enum Mode {
    Overwrite,
    Create,
    Update,
    UpdateStale,
}

const PATHS: [&str; 6] = ["a", "a/b", "a/b/c", "a/bc", "b/1", "b/2"];
const PREFIXES: [&str; 5] = ["", "a", "a/b", "b", "c"];

fn op() -> impl Strategy<Value = Op> {
    let path = || 0..PATHS.len();
    let size = || {
        prop_oneof![
            8 => 0..100_usize,
            2 => 32_760..32_780_usize,
            1 => 100_000..200_000_usize,
            1 => CHUNK_BYTES - 2..CHUNK_BYTES + 3,
        ]
    };
    let mode = prop_oneof![
        Just(Mode::Overwrite),
        Just(Mode::Create),
        Just(Mode::Update),
        Just(Mode::UpdateStale)
    ];
    prop_oneof![
        6 => (path(), size(), mode).prop_map(|(path, size, mode)| Op::Put(path, size, mode)),
        1 => (path(), prop::collection::vec(size(), 0..4))
            .prop_map(|(path, parts)| Op::Multipart(path, parts)),
        2 => path().prop_map(Op::Delete),
        2 => (path(), path(), any::<bool>()).prop_map(|(a, b, create)| Op::Copy(a, b, create)),
        2 => (path(), path(), any::<bool>()).prop_map(|(a, b, create)| Op::Rename(a, b, create)),
        3 => (path(), 0..40_000_u64, 1..40_000_u64)
            .prop_map(|(path, start, length)| Op::GetRange(path, start, length)),
        2 => (0..PREFIXES.len()).prop_map(Op::List),
        1 => Just(Op::Collect),
        1 => Just(Op::Reopen),
    ]
}

type Model = BTreeMap<&'static str, Bytes>;

/// What a store answered, in the words of the model.
fn outcome<T>(result: Result<T, Error>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(Error::NotFound { .. }) => "not found",
        Err(Error::AlreadyExists { .. }) => "already exists",
        Err(Error::Precondition { .. }) => "precondition",
        Err(error) => panic!("{error}"),
    }
}

async fn put(store: &dyn ObjectStore, model: &mut Model, path: usize, bytes: Bytes, mode: &Mode) {
    let location = Path::from(PATHS[path]);
    let exists = model.contains_key(PATHS[path]);
    let update = |e_tag| PutMode::Update(UpdateVersion { e_tag, version: None });
    let (mode, expected) = match mode {
        Mode::Overwrite => (PutMode::Overwrite, "ok"),
        Mode::Create => (PutMode::Create, if exists { "already exists" } else { "ok" }),
        Mode::Update if exists => (update(store.head(&location).await.unwrap().e_tag), "ok"),
        Mode::Update | Mode::UpdateStale => (update(Some("stale".into())), "precondition"),
    };
    let result = store.put_opts(&location, bytes.clone().into(), mode.into()).await;
    assert_eq!(outcome(result), expected);
    if expected == "ok" {
        model.insert(PATHS[path], bytes);
    }
}

async fn relocate(
    store: &dyn ObjectStore,
    model: &mut Model,
    (from, to): (usize, usize),
    create: bool,
    remove: bool,
) {
    let (source, target) = (Path::from(PATHS[from]), Path::from(PATHS[to]));
    let expected = match (model.get(PATHS[from]), model.contains_key(PATHS[to])) {
        (None, _) => "not found",
        (Some(_), true) if create => "already exists",
        (Some(bytes), _) => {
            let bytes = bytes.clone();
            if remove {
                model.remove(PATHS[from]);
            }
            model.insert(PATHS[to], bytes);
            "ok"
        }
    };
    let result = if remove {
        let target_mode =
            if create { RenameTargetMode::Create } else { RenameTargetMode::Overwrite };
        let options = RenameOptions { target_mode, ..Default::default() };
        store.rename_opts(&source, &target, options).await
    } else {
        let mode = if create { CopyMode::Create } else { CopyMode::Overwrite };
        store.copy_opts(&source, &target, CopyOptions { mode, ..Default::default() }).await
    };
    assert_eq!(outcome(result), expected);
}

async fn get_range(store: &dyn ObjectStore, model: &Model, path: usize, start: u64, length: u64) {
    let result = store.get_range(&Path::from(PATHS[path]), start..start + length).await;
    match model.get(PATHS[path]) {
        None => assert_eq!(outcome(result), "not found"),
        Some(bytes) if start >= bytes.len() as u64 => assert!(result.is_err()),
        Some(bytes) => {
            let end = (start + length).min(bytes.len() as u64);
            assert_eq!(result.unwrap(), bytes.slice(start as usize..end as usize));
        }
    }
}

async fn check_list(store: &dyn ObjectStore, model: &Model, prefix: &str) {
    let below = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let inside = || model.iter().filter(|(path, _)| path.starts_with(&below));
    let location = Path::from(prefix);
    let files = store.list(Some(&location)).try_collect::<Vec<_>>().await.unwrap();
    let files: Vec<_> =
        files.into_iter().map(|meta| (meta.location.to_string(), meta.size)).collect();
    let expected: Vec<_> =
        inside().map(|(path, bytes)| ((*path).to_owned(), bytes.len() as u64)).collect();
    assert_eq!(files, expected);
    let listing = store.list_with_delimiter(Some(&location)).await.unwrap();
    let children = inside().map(|(path, _)| path[below.len()..].split('/').next().unwrap());
    let mut children: Vec<_> = children.map(|child| format!("{below}{child}")).collect();
    children.dedup();
    let mut found: Vec<_> = listing.common_prefixes.iter().map(ToString::to_string).collect();
    found.extend(listing.objects.iter().map(|meta| meta.location.to_string()));
    found.sort();
    found.dedup();
    children.sort();
    children.dedup();
    assert_eq!(found, children);
}

async fn multipart(store: &dyn ObjectStore, model: &mut Model, path: usize, parts: &[usize]) {
    let location = Path::from(PATHS[path]);
    let options = PutMultipartOptions::default();
    let mut upload = store.put_multipart_opts(&location, options).await.unwrap();
    let parts: Vec<_> = (7..).zip(parts).map(|(seed, size)| content(seed, *size)).collect();
    let pending: Vec<_> = parts.iter().map(|part| upload.put_part(part.clone().into())).collect();
    futures::future::try_join_all(pending).await.unwrap();
    upload.complete().await.unwrap();
    model.insert(PATHS[path], parts.concat().into());
}

async fn check_all(store: &dyn ObjectStore, model: &Model) {
    check_list(store, model, "").await;
    for (path, bytes) in model {
        let found = store.get(&Path::from(*path)).await.unwrap().bytes().await.unwrap();
        assert_eq!(found, *bytes, "{path}");
    }
}

async fn check_model(ops: Vec<Op>, remote: bool) {
    let directory = tempfile::tempdir().unwrap();
    let mut fs = open(&directory).await;
    let mut model = Model::new();
    let mut store = interface(&fs, remote).await;
    for (seed, op) in ops.into_iter().enumerate() {
        match op {
            Op::Put(path, size, mode) => {
                put(&*store, &mut model, path, content(seed as u8, size), &mode).await;
            }
            Op::Multipart(path, parts) => multipart(&*store, &mut model, path, &parts).await,
            Op::Delete(path) => {
                store.delete(&Path::from(PATHS[path])).await.unwrap();
                model.remove(PATHS[path]);
            }
            Op::Copy(from, to, create) => {
                relocate(&*store, &mut model, (from, to), create, false).await;
            }
            Op::Rename(from, to, create) => {
                relocate(&*store, &mut model, (from, to), create, true).await;
            }
            Op::GetRange(path, start, length) => {
                get_range(&*store, &model, path, start, length).await;
            }
            Op::List(prefix) => check_list(&*store, &model, PREFIXES[prefix]).await,
            Op::Collect => drop(fs.collect_chunks().await.unwrap()),
            Op::Reopen if remote => {}
            Op::Reopen => {
                drop((store, fs));
                fs = open(&directory).await;
                store = interface(&fs, remote).await;
            }
        }
    }
    check_all(&*store, &model).await;
    if !remote {
        drop((store, fs));
        check_all(&SdfsStore::new(open(&directory).await), &model).await;
    }
}

async fn interface(fs: &Sdfs, remote: bool) -> Box<dyn ObjectStore> {
    if remote { Box::new(serve(fs.clone()).await) } else { Box::new(SdfsStore::new(fs.clone())) }
}

fn run(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_store_is_a_map_through_reopenings(ops in prop::collection::vec(op(), 0..30)) {
        run(check_model(ops, false));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_store_is_the_same_map_over_grpc(ops in prop::collection::vec(op(), 0..30)) {
        run(check_model(ops, true));
    }
}

#[tokio::test]
async fn metadata_and_attributes_are_kept_and_conditions_hold_on_reads() {
    for remote in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let fs = open(&directory).await;
        let store = interface(&fs, remote).await;
        let path = Path::from("dir/file");
        let attributes = Attributes::from_iter([(Attribute::ContentType, "text/csv")]);
        let options = PutOptions { attributes: attributes.clone(), ..Default::default() };
        let etag = store.put_opts(&path, "abc".into(), options).await.unwrap().e_tag;
        let result = store.get_opts(&path, GetOptions::new().with_if_match(etag.clone())).await;
        let result = result.unwrap();
        assert_eq!(result.attributes, attributes);
        assert_eq!(result.meta.last_modified.timestamp_millis(), 1_700_000_000_000);
        assert_eq!((result.meta.size, &result.meta.e_tag), (3, &etag));
        let stale = GetOptions::new().with_if_match(Some("stale"));
        let error = store.get_opts(&path, stale).await.unwrap_err();
        assert!(matches!(error, Error::Precondition { .. }), "{error}");
        let unchanged = GetOptions::new().with_if_none_match(etag.clone());
        let error = store.get_opts(&path, unchanged).await.unwrap_err();
        assert!(matches!(error, Error::NotModified { .. }), "{error}");
        let next = store.put(&path, "abc".into()).await.unwrap().e_tag;
        assert_ne!(etag, next, "the same content has another etag");
        let error = store.head(&Path::from("dir")).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_racing_conditional_writes_one_wins() {
    let directory = tempfile::tempdir().unwrap();
    let store = SdfsStore::new(open(&directory).await);
    let path = Path::from("head");
    let create = |_| {
        let (store, path) = (store.clone(), path.clone());
        async move { store.put_opts(&path, "0".into(), PutMode::Create.into()).await.is_ok() }
    };
    let won = futures::stream::iter(0..20).map(create).buffer_unordered(20);
    assert_eq!(won.filter(|won| std::future::ready(*won)).count().await, 1);
    let increments = (0..8).map(|_| {
        let (store, path) = (store.clone(), path.clone());
        tokio::spawn(async move {
            let mut done = 0;
            while done < 10 {
                done += usize::from(increment(&store, &path).await);
            }
        })
    });
    futures::future::try_join_all(increments).await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "80");
}

async fn increment(store: &SdfsStore, path: &Path) -> bool {
    let read = store.get(path).await.unwrap();
    let version = UpdateVersion { e_tag: read.meta.e_tag.clone(), version: None };
    let number: u32 = String::from_utf8_lossy(&read.bytes().await.unwrap()).parse().unwrap();
    let next = (number + 1).to_string();
    store.put_opts(path, next.into(), PutMode::Update(version).into()).await.is_ok()
}

#[tokio::test]
async fn a_reader_keeps_the_chunks_of_a_file_that_is_removed_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path());
    config.cache_bytes = 0;
    let fs = Sdfs::open(config).await.unwrap();
    let store = SdfsStore::new(fs.clone());
    let bytes = content(3, 5 * CHUNK_BYTES / 2);
    let path = Path::from("big");
    store.put(&path, bytes.clone().into()).await.unwrap();
    assert_eq!(fs.info("big").unwrap().chunks, 3);
    let reading = store.get(&path).await.unwrap();
    store.delete(&path).await.unwrap();
    fs.collect_chunks().await.unwrap();
    assert_eq!(reading.bytes().await.unwrap(), bytes);
    fs.collect_chunks().await.unwrap();
    assert_eq!(num_chunks(&directory), 0);
}

#[tokio::test]
async fn chunks_of_an_unfinished_upload_are_swept() {
    let directory = tempfile::tempdir().unwrap();
    let fs = open(&directory).await;
    let store = SdfsStore::new(fs.clone());
    let mut upload = store.put_multipart(&Path::from("part")).await.unwrap();
    upload.put_part(content(1, CHUNK_BYTES).into()).await.unwrap();
    fs.collect_chunks().await.unwrap();
    assert_eq!(num_chunks(&directory), 1);
    drop(upload);
    fs.collect_chunks().await.unwrap();
    assert_eq!(num_chunks(&directory), 0);
}

fn num_chunks(directory: &TempDir) -> usize {
    let groups = std::fs::read_dir(directory.path().join("chunks")).unwrap();
    groups.map(|group| std::fs::read_dir(group.unwrap().path()).unwrap().count()).sum()
}

#[tokio::test]
async fn a_damaged_chunk_fails_the_read_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let store = SdfsStore::new(open(&directory).await);
    let path = Path::from("file");
    store.put(&path, content(1, 100_000).into()).await.unwrap();
    store.put(&Path::from("other"), content(2, 100_000).into()).await.unwrap();
    let hash = blake3::hash(&content(1, 100_000)).to_hex();
    let file = directory.path().join("chunks").join(&hash[..2]).join(&hash[2..]);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[50_000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let error = store.get(&path).await.unwrap().bytes().await.unwrap_err().to_string();
    assert!(error.contains("is damaged"), "{error}");
    store.get(&Path::from("other")).await.unwrap().bytes().await.unwrap();
}

#[derive(Debug)]
struct SmallDisk(AtomicU64);

impl DiskSpace for SmallDisk {
    fn space(&self, _: &std::path::Path) -> std::io::Result<Space> {
        Ok(Space { available_bytes: self.0.load(Ordering::Relaxed), total_bytes: 1_000_000 })
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_before_the_first_byte_and_goes_on_otherwise() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(SmallDisk(AtomicU64::new(500_000)));
    let mut config = config(directory.path());
    config.disk = Arc::<SmallDisk>::clone(&disk);
    let fs = Sdfs::open(config).await.unwrap();
    let remote = serve(fs.clone()).await;
    let store = SdfsStore::new(fs);
    let path = Path::from("file");
    store.put(&path, content(1, 100_000).into()).await.unwrap();
    disk.0.store(100_000, Ordering::Relaxed);
    let error = store.put(&Path::from("more"), content(2, 60_000).into()).await.unwrap_err();
    let Error::Generic { source, .. } = &error else { panic!("{error}") };
    let typed = source.downcast_ref::<FsError>().unwrap();
    assert!(matches!(typed, FsError::Full { reserved_bytes: 50_000, .. }), "{typed}");
    assert_eq!(num_chunks(&directory), 1);
    let error = remote.put(&Path::from("more"), content(2, 60_000).into()).await.unwrap_err();
    assert!(error.to_string().contains("disk is full"), "{error}");
    store.put(&Path::from("small"), content(2, 40_000).into()).await.unwrap();
    disk.0.store(0, Ordering::Relaxed);
    assert!(store.put(&Path::from("tiny"), "x".into()).await.is_err());
    store.get(&path).await.unwrap().bytes().await.unwrap();
    store.delete(&path).await.unwrap();
}

#[tokio::test]
async fn a_repeated_request_is_applied_once_and_a_write_without_its_commit_never() {
    let directory = tempfile::tempdir().unwrap();
    let fs = open(&directory).await;
    let remote = serve(fs.clone()).await;
    let request_id = Bytes::copy_from_slice(crate::identity::unique_id().as_bytes());
    let parts = |commit: bool| {
        use proto::put_request::Part;
        let header = proto::PutHeader {
            path: "once".into(),
            request_id: request_id.clone(),
            condition: Some(proto::put_header::Condition::Create(true)),
            ..Default::default()
        };
        let mut parts = vec![Part::Header(header), Part::Data(Bytes::from_static(b"x"))];
        parts.extend(commit.then_some(Part::Commit(proto::PutCommit {})));
        let parts = parts.into_iter().map(|part| proto::PutRequest { part: Some(part) });
        futures::stream::iter(parts.collect::<Vec<_>>())
    };
    let mut client = remote.client();
    client.put(parts(false)).await.unwrap_err();
    assert!(fs.info("once").is_err());
    let first = client.put(parts(true)).await.unwrap().into_inner();
    let second = client.put(parts(true)).await.unwrap().into_inner();
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_is_an_error_that_names_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let store = RemoteStore::connect(&address).unwrap();
    let error = store.head(&Path::from("file")).await.unwrap_err();
    assert!(error.to_string().contains(&address), "{error}");
}
