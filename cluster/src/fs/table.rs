//! All records of a node, in memory and in the order of their paths.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::error::{FsError, Result};
use super::record::Record;
use super::references::References;

/// A change of one path; `None` removes it.
pub(crate) type Change = (Arc<str>, Option<Arc<Record>>);

/// Records by path.
pub(crate) type Records = BTreeMap<Arc<str>, Arc<Record>>;

/// The records, with the references that they hold to chunks.
#[derive(Debug)]
pub(crate) struct Table {
    records: RwLock<Records>,
    references: Arc<References>,
}

/// One page of a listing of a directory.
#[derive(Debug, Default)]
pub(crate) struct DirectoryListing {
    pub(crate) files: Vec<(Arc<str>, Arc<Record>)>,
    pub(crate) directories: Vec<String>,
}

impl Table {
    pub(crate) fn new(records: Records, references: Arc<References>) -> Self {
        references.add(records.values().flat_map(|record| record.chunk_ids()));
        Self { records: RwLock::new(records), references }
    }

    /// Returns a path's record.
    pub(crate) fn get(&self, path: &str) -> Result<Arc<Record>> {
        self.with(path, Arc::clone)
    }

    /// Calls `use_record` while the record is sure to stay, so that its chunks can be pinned.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) fn with<T>(
        &self,
        path: &str,
        use_record: impl FnOnce(&Arc<Record>) -> T,
    ) -> Result<T> {
        let records = self.read();
        let record = records.get(path);
        record.map(use_record).ok_or_else(|| FsError::NotFound { path: path.to_owned() })
    }

    /// Makes changes visible, in order, and moves the references to chunks along.
    pub(crate) fn apply(&self, changes: Vec<Change>) {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        for (path, record) in changes {
            let before = match record {
                Some(record) => {
                    self.references.add(record.chunk_ids());
                    records.insert(path, record)
                }
                None => records.remove(&path),
            };
            if let Some(before) = before {
                self.references.remove(before.chunk_ids());
            }
        }
    }

    /// Returns up to `limit` files below a directory whose paths come after `after`, in order.
    pub(crate) fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<(Arc<str>, Arc<Record>)> {
        let below = directory_prefix(prefix);
        let start = match after {
            Some(after) if after >= below.as_str() => Bound::Excluded(after),
            _ => Bound::Included(below.as_str()),
        };
        self.read()
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(path, _)| path.starts_with(&below))
            .take(limit)
            .map(|(path, record)| (Arc::clone(path), Arc::clone(record)))
            .collect()
    }

    /// Lists what lies directly in a directory, stepping over what lies deeper.
    pub(crate) fn directory(&self, prefix: &str) -> DirectoryListing {
        let below = directory_prefix(prefix);
        let records = self.read();
        let mut listing = DirectoryListing::default();
        let mut start = Bound::Included(below.clone());
        loop {
            let from = start.as_ref().map(String::as_str);
            let Some((path, record)) = records.range::<str, _>((from, Bound::Unbounded)).next()
            else {
                return listing;
            };
            let Some(rest) = path.strip_prefix(&below) else { return listing };
            if let Some((directory, _)) = rest.split_once('/') {
                let directory = format!("{below}{directory}");
                // '0' follows '/': the first path that is not inside the directory.
                start = Bound::Included(format!("{directory}0"));
                listing.directories.push(directory);
            } else {
                listing.files.push((Arc::clone(path), Arc::clone(record)));
                start = Bound::Excluded(path.to_string());
            }
        }
    }

    /// Returns all records, to read while nothing changes.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Records> {
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn directory_prefix(prefix: &str) -> String {
    if prefix.is_empty() { String::new() } else { format!("{prefix}/") }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;
    use crate::fs::record::Content;

    fn table(paths: &[&str]) -> Table {
        let record = Arc::new(Record {
            etag: Uuid::nil(),
            size: 0,
            last_modified_ms: 0,
            content: Content::Inline(Bytes::new()),
            attributes: Vec::new(),
        });
        let records = paths.iter().map(|path| (Arc::from(*path), Arc::clone(&record)));
        Table::new(records.collect(), Arc::default())
    }

    fn page(table: &Table, prefix: &str, after: Option<&str>) -> Vec<String> {
        table.page(prefix, after, 10).into_iter().map(|(path, _)| path.to_string()).collect()
    }

    #[test]
    fn a_prefix_is_whole_segments() {
        let table = table(&["a", "a-b", "a/b", "a/b/c", "a0", "b"]);
        assert_eq!(page(&table, "a", None), ["a/b", "a/b/c"]);
        assert_eq!(page(&table, "a", Some("a/b")), ["a/b/c"]);
        assert_eq!(page(&table, "a", Some("a")), ["a/b", "a/b/c"]);
        assert_eq!(page(&table, "", Some("a/b/c")), ["a0", "b"]);
        assert_eq!(page(&table, "a/b/c", None), Vec::<String>::new());
    }

    #[test]
    fn a_directory_lists_files_and_directories_once() {
        let table = table(&["a/b/1", "a/b/2", "a/b-c/3", "a/d", "a/b", "e"]);
        let listing = table.directory("a");
        let files: Vec<_> = listing.files.iter().map(|(path, _)| &**path).collect();
        assert_eq!(files, ["a/b", "a/d"]);
        assert_eq!(listing.directories, ["a/b-c", "a/b"]);
    }
}
