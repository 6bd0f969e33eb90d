//! What is kept of a named script between its runs, beside the checkpoints of its jobs.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use rainstorm_engine::{Error, Result};
use serde::{Deserialize, Serialize};

/// The version of the layout.
const FORMAT: u16 = 1;

/// The settings of a script's last run, and how far the run came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunRecord {
    pub(super) format: u16,
    /// What was set when it was started, apart from what the script itself sets.
    pub(super) settings: BTreeMap<String, String>,
    /// By step: the last checkpoint of the run that finished last. A checkpoint after it is that
    /// of a run which did not finish.
    pub(super) finished: BTreeMap<usize, u64>,
}

impl Default for RunRecord {
    fn default() -> Self {
        Self { format: FORMAT, settings: BTreeMap::new(), finished: BTreeMap::new() }
    }
}

fn path(name: &str) -> Path {
    Path::from("jobs").join(name).join("run")
}

impl RunRecord {
    /// Reads the record of a name; `None` where there is none.
    ///
    /// # Errors
    /// `Storage`, or `Restore` where it is not one.
    pub(super) async fn read(store: &Arc<dyn ObjectStore>, name: &str) -> Result<Option<Self>> {
        let path = path(name);
        let failed = |error| Error::storage(format!("read {path}"), error);
        let found = match store.get(&path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let bytes = found.bytes().await.map_err(failed)?;
        let unlike = |reason: String| Error::Restore { what: path.to_string(), reason };
        let record = serde_json::from_slice::<Self>(&bytes)
            .map_err(|error| unlike(format!("it is not what was written there: {error}")))?;
        if record.format != FORMAT {
            let reason = format!("it has format {}, this build reads {FORMAT}", record.format);
            return Err(unlike(reason));
        }
        Ok(Some(record))
    }

    /// Writes the record of a name.
    ///
    /// # Errors
    /// `Storage`.
    pub(super) async fn write(&self, store: &Arc<dyn ObjectStore>, name: &str) -> Result<()> {
        let path = path(name);
        let body = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::Internal(format!("encode the record of a run: {error}")))?;
        let written = store.put(&path, body.into()).await;
        written.map(drop).map_err(|error| Error::storage(format!("write {path}"), error))
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn a_record_comes_back_as_it_was() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        assert_eq!(RunRecord::read(&store, "copy").await.expect("read"), None);
        let settings = [("parallelism.default".to_owned(), "3".to_owned())].into();
        let record = RunRecord { settings, finished: [(1, 7)].into(), ..RunRecord::default() };
        record.write(&store, "copy").await.expect("write");
        assert_eq!(RunRecord::read(&store, "copy").await.expect("read"), Some(record));
        assert_eq!(RunRecord::read(&store, "other").await.expect("read"), None);
    }
}
