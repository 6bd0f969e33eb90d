use std::collections::BTreeMap;

use object_store::memory::InMemory;

use super::super::lossy_store::{Fate, LossyStore};
use super::super::manifest::StatePlace;
use super::*;

fn open(store: &Arc<InMemory>, writer: &str) -> CheckpointStore {
    CheckpointStore::new(Arc::clone(store) as _, Path::from("jobs/j"), writer)
}

/// Claims the job with a query that every checkpoint fits.
async fn claim(
    store: &CheckpointStore,
    leader_epoch: u64,
    restore: Option<RestorePoint>,
) -> Result<(HeldHead, Option<Manifest>)> {
    store.claim(leader_epoch, restore, |_, _| Ok(())).await
}

fn manifest(generation: u64, epoch: u64) -> Manifest {
    let path = format!("jobs/j/state/{generation}-1-{epoch}-w");
    Manifest {
        format: FORMAT,
        checkpoint: CheckpointRef { generation, attempt: 1, epoch, last: false },
        ancestors: vec![],
        key_groups: 256,
        operators: BTreeMap::new(),
        state: vec![StatePlace::File { path, size_bytes: 1 }],
        sources: BTreeMap::new(),
        sinks: BTreeMap::new(),
    }
}

async fn checkpoint(store: &CheckpointStore, current: &HeldHead, epoch: u64) -> Result<HeldHead> {
    let manifest = manifest(current.head.generation, epoch);
    for path in manifest.files() {
        store.store.put(&Path::from(path), PutPayload::from("s")).await.expect("state");
    }
    store.write_manifest(&manifest).await?;
    store.commit(current, manifest.checkpoint).await
}

async fn names(store: &CheckpointStore) -> Vec<String> {
    let files: Vec<_> = store.store.list(None).try_collect().await.expect("list");
    files.iter().map(|file| file.location.filename().unwrap_or("").to_owned()).collect()
}

#[tokio::test]
async fn the_last_checkpoints_can_be_restored_and_the_others_are_collected() {
    let store = open(&Arc::default(), "a");
    let (mut current, restored) =
        claim(&store, 1, Some(RestorePoint::Latest)).await.expect("claim");
    assert_eq!(restored, None);
    for epoch in 1..=5 {
        current = checkpoint(&store, &current, epoch).await.expect("checkpoint");
    }
    assert_eq!(store.collect_garbage(&current.head).await.expect("collect"), 4);
    let expected =
        ["head", "1-1-3.json", "1-1-4.json", "1-1-5.json", "1-1-3-w", "1-1-4-w", "1-1-5-w"];
    assert_eq!(names(&store).await, expected);
    let restore = Some(RestorePoint::Epoch(Epoch(4)));
    let (current, restored) = claim(&store, 1, restore).await.expect("claim");
    assert_eq!(restored, Some(manifest(1, 4)));
    assert_eq!((current.head.generation, current.head.last_epoch), (2, 5));
    assert_eq!(store.collect_garbage(&current.head).await.expect("collect"), 2);
    let gone = claim(&store, 1, Some(RestorePoint::Epoch(Epoch(5)))).await.expect_err("gone");
    assert_eq!(gone.to_string(), "restore checkpoint 5: it is not kept; there are 3, 4");
}

#[tokio::test]
async fn a_checkpoint_that_does_not_fit_changes_nothing() {
    let store = open(&Arc::default(), "a");
    let (mut current, _) = claim(&store, 1, None).await.expect("claim");
    for epoch in 1..=2 {
        current = checkpoint(&store, &current, epoch).await.expect("checkpoint");
    }
    let restore = Some(RestorePoint::Epoch(Epoch(1)));
    let misfit = |_: &Head, _: &Manifest| Err(Error::Invalid("another query".to_owned()));
    let refused = store.claim(1, restore, misfit).await.expect_err("does not fit");
    assert_eq!(refused.to_string(), "another query");
    assert_eq!(store.head().await.expect("read").expect("head").head, current.head);
}

#[tokio::test]
async fn an_older_generation_commits_nothing() {
    let objects = Arc::default();
    let (old, new) = (open(&objects, "a"), open(&objects, "b"));
    let (current, _) = claim(&old, 1, None).await.expect("claim");
    let current = checkpoint(&old, &current, 1).await.expect("checkpoint");
    let (claimed, restored) = claim(&new, 2, Some(RestorePoint::Latest)).await.expect("claim");
    assert_eq!(restored, Some(manifest(1, 1)));
    let refused = checkpoint(&old, &current, 2).await.expect_err("superseded");
    assert_eq!(refused.to_string(), "the job was taken over: its generation is now 2");
    let now = new.head().await.expect("read").expect("head");
    assert_eq!(now.head, claimed.head);
}

#[tokio::test]
async fn a_job_that_starts_anew_keeps_the_old_checkpoints_until_it_has_one_of_its_own() {
    let store = open(&Arc::default(), "a");
    let (mut current, _) = claim(&store, 1, None).await.expect("claim");
    for epoch in 1..=2 {
        current = checkpoint(&store, &current, epoch).await.expect("checkpoint");
    }
    let (current, restored) = claim(&store, 1, None).await.expect("claim");
    assert_eq!((restored, current.head.last_epoch), (None, 2));
    store.collect_garbage(&current.head).await.expect("collect");
    // It came to nothing, and somebody goes on from where the first run was.
    let (_, restored) = claim(&store, 1, Some(RestorePoint::Latest)).await.expect("claim");
    assert_eq!(restored, Some(manifest(1, 2)));
    let (current, _) = claim(&store, 1, None).await.expect("claim");
    let current = checkpoint(&store, &current, 3).await.expect("checkpoint");
    let current = checkpoint(&store, &current, 4).await.expect("checkpoint");
    let kept = current.head.checkpoints.iter().map(|kept| (kept.generation, kept.epoch));
    assert_eq!(kept.collect::<Vec<_>>(), [(4, 3), (4, 4)]);
}

#[tokio::test]
async fn writes_of_unknown_outcome_are_settled_by_reading_back() {
    let objects = Arc::new(LossyStore::default());
    let store = CheckpointStore::new(Arc::clone(&objects) as _, Path::from("jobs/j"), "a");
    objects.doom(&[Fate::AnswerLost]);
    let (current, _) = claim(&store, 1, None).await.expect("claim");
    // Each checkpoint writes a state file and a manifest before `head`.
    let before = [Fate::Done, Fate::Done];
    for (epoch, fates) in [
        (1, &[Fate::Lost, Fate::Done][..]),
        (2, &[Fate::AnswerLost]),
        (3, &[Fate::Lost, Fate::Lost, Fate::AnswerLost]),
    ] {
        objects.doom(&before);
        objects.doom(fates);
        let current = store.head().await.expect("read").expect("head");
        checkpoint(&store, &current, epoch).await.expect("settled");
    }
    let found = store.head().await.expect("read").expect("head");
    let epochs: Vec<_> = found.head.checkpoints.iter().map(|kept| kept.epoch).collect();
    assert_eq!(epochs, [1, 2, 3], "each is committed once");
    assert_eq!(found.head.generation, current.head.generation);

    objects.doom(&before);
    objects.doom(&[Fate::Lost; WRITE_ATTEMPTS_MAX]);
    let failed = checkpoint(&store, &found, 4).await.expect_err("lost for good");
    assert_eq!(failed.to_string(), "write jobs/j/head");
    let unchanged = store.head().await.expect("read").expect("head");
    assert_eq!(unchanged.head, found.head);
}
