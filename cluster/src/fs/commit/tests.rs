use bytes::Bytes;

use super::*;
use crate::fs::record::Content;

fn put(path: &str, content: &'static str) -> Operation {
    let record = Record {
        etag: crate::identity::unique_id(),
        size: content.len() as u64,
        last_modified_ms: 0,
        content: Content::Inline(Bytes::from_static(content.as_bytes())),
        attributes: Vec::new(),
    };
    Operation::Put { path: path.into(), record, condition: Condition::Always, pins: vec![] }
}

fn open(directory: &Path) -> Result<(Committer, Vec<String>)> {
    let (committer, table) = Committer::open(directory, u64::MAX, Arc::default())?;
    let records = table.read();
    let contents = records.iter().map(|(path, record)| match &record.content {
        Content::Inline(bytes) => format!("{path}={}", String::from_utf8_lossy(bytes)),
        Content::Chunks(_) => path.to_string(),
    });
    let contents = contents.collect();
    drop(records);
    Ok((committer, contents))
}

/// Applies operations one by one. Returns the log, its length after each, and the contents.
async fn written(directory: &Path) -> (PathBuf, Vec<(u64, Vec<String>)>) {
    let operations = [
        put("a", "1"),
        put("b", "two"),
        put("a", "one"),
        Operation::Delete { path: "b".into() },
        Operation::Copy {
            from: "a".into(),
            to: "c".into(),
            create: true,
            remove: true,
            etag: crate::identity::unique_id(),
            now_ms: 1,
        },
        put("d", "a longer text that is kept in the record"),
    ];
    let mut states = vec![(0, vec![])];
    let mut log = PathBuf::new();
    for operation in operations {
        let (committer, _) = open(directory).unwrap();
        committer.submit(operation).await.unwrap();
        drop(committer);
        log = numbered(&directory.join("records"), "log-").unwrap().pop().unwrap().1;
        let length = fs::metadata(&log).unwrap().len();
        states.push((length, open(directory).unwrap().1));
    }
    (log, states)
}

#[tokio::test]
async fn a_crash_at_any_byte_of_the_log_loses_nothing_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let (log, states) = written(directory.path()).await;
    assert_eq!(states.last().unwrap().1.len(), 2);
    let whole = fs::read(&log).unwrap();
    for length in 0..=whole.len() {
        fs::write(&log, &whole[..length]).unwrap();
        let acknowledged = states.iter().rfind(|(end, _)| *end <= length as u64).unwrap();
        let (committer, contents) = open(directory.path()).unwrap();
        assert_eq!(contents, acknowledged.1, "cut at byte {length}");
        if length % 16 == 0 {
            committer.submit(put("after", "crash")).await.unwrap();
            drop(committer);
            let (_, contents) = open(directory.path()).unwrap();
            assert_eq!(contents.len(), acknowledged.1.len() + 1, "cut at byte {length}");
        }
    }
}

#[tokio::test]
async fn a_damaged_log_is_reported_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = written(directory.path()).await;
    let mut bytes = fs::read(&log).unwrap();
    bytes[HEADER_BYTES + 30] ^= 1;
    fs::write(&log, &bytes).unwrap();
    let error = open(directory.path()).unwrap_err();
    assert!(matches!(error, FsError::Corrupt { .. }), "{error}");
    assert_eq!(fs::read(&log).unwrap(), bytes);
}

#[tokio::test]
async fn a_crash_between_the_steps_of_a_rotation_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (_, states) = written(directory.path()).await;
    let contents = &states.last().unwrap().1;
    let records = directory.path().join("records");
    let last = states.len() as u64 - 1;
    let (committer, table) = Committer::open(directory.path(), u64::MAX, Arc::default()).unwrap();
    {
        let entries = table.read();
        let entries = entries.iter().map(|(path, record)| (&**path, record));
        snapshot::write(&records, last, entries).unwrap();
    }
    drop(committer);
    assert_eq!(open(directory.path()).unwrap().1, *contents);
    Log::create(&records, last + 1).unwrap();
    assert_eq!(open(directory.path()).unwrap().1, *contents);
    assert_eq!(numbered(&records, "log-").unwrap().len(), 1);
    let (committer, _) = open(directory.path()).unwrap();
    committer.submit(put("z", "last")).await.unwrap();
    drop(committer);
    assert_eq!(open(directory.path()).unwrap().1.len(), contents.len() + 1);
}

#[tokio::test]
async fn a_rotation_that_fails_on_the_new_log_loses_nothing_that_is_acknowledged() {
    for steps in [&["open"][..], &["open", "remove"]] {
        let directory = tempfile::tempdir().unwrap();
        let records = directory.path().join("records");
        let (committer, _) = Committer::open(directory.path(), 200, Arc::default()).unwrap();
        let mut acknowledged = Vec::new();
        for number in 0..12 {
            if number == 3 {
                for step in steps {
                    fs::write(records.join(format!("fail-{step}")), "").unwrap();
                }
            }
            let name = format!("file-{number:02}");
            if committer.submit(put(&name, "content")).await.is_ok() {
                acknowledged.push(format!("{name}=content"));
            }
        }
        drop(committer);
        let all = acknowledged.len() == 12;
        assert_eq!(all, steps.len() == 1, "an unknown log ends writing: {acknowledged:?}");
        for step in steps {
            fs::remove_file(records.join(format!("fail-{step}"))).unwrap();
        }
        // Recovered more than once, since recovery removes what it takes for covered.
        for _ in 0..3 {
            let (committer, contents) = open(directory.path()).unwrap();
            assert_eq!(contents, acknowledged, "{steps:?}");
            committer.submit(put("file-00", "content")).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_log_that_went_on_behind_the_next_one_is_read_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let (_, states) = written(directory.path()).await;
    let contents = &states.last().unwrap().1;
    let records = directory.path().join("records");
    {
        let (_committer, table) =
            Committer::open(directory.path(), u64::MAX, Arc::default()).unwrap();
        let entries = table.read();
        let entries = entries.iter().map(|(path, record)| (&**path, record));
        snapshot::write(&records, 3, entries).unwrap();
    }
    Log::create(&records, 4).unwrap();
    for _ in 0..3 {
        assert_eq!(open(directory.path()).unwrap().1, *contents);
    }
}

#[tokio::test]
async fn the_log_is_replaced_by_snapshots() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let (committer, _) = Committer::open(directory.path(), 300, Arc::default()).unwrap();
        committer.submit(put(&format!("file-{round:02}"), "content")).await.unwrap();
    }
    let records = directory.path().join("records");
    assert_eq!(numbered(&records, "snapshot-").unwrap().len(), 1);
    assert_eq!(numbered(&records, "log-").unwrap().len(), 1);
    assert_eq!(open(directory.path()).unwrap().1.len(), 20);
}
