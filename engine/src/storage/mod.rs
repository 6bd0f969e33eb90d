//! Where files are: object stores by URL scheme.

mod local;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;

pub use local::LocalStore;

use crate::{Error, Result};

/// Finds the object store of a URL. Cheap to clone.
#[derive(Clone, Default)]
pub struct Storage {
    stores: Arc<BTreeMap<String, Arc<dyn ObjectStore>>>,
}

impl Storage {
    /// Makes a storage of stores by scheme, as in `sdfs` or `file`.
    #[must_use]
    pub fn new(stores: impl IntoIterator<Item = (String, Arc<dyn ObjectStore>)>) -> Self {
        Self { stores: Arc::new(stores.into_iter().collect()) }
    }

    /// Makes a storage whose `file` scheme is a directory of this machine; `/` gives paths the
    /// meaning that they have everywhere.
    ///
    /// # Errors
    /// `Io` or `Storage` where the directory cannot be made or opened.
    pub fn local(base: &std::path::Path) -> Result<Self> {
        let store: Arc<dyn ObjectStore> = Arc::new(LocalStore::open(base)?);
        Ok(Self::new([("file".to_owned(), store)]))
    }

    /// Returns the store of a URL such as `sdfs:///flights/part-0.csv`, and the path in it.
    ///
    /// # Errors
    /// `Invalid` where there is no scheme, no store for it, or the path is not one.
    pub fn resolve(&self, url: &str) -> Result<(Arc<dyn ObjectStore>, Path)> {
        let (scheme, path) = url
            .split_once("://")
            .ok_or_else(|| Error::Invalid(format!("path '{url}' has no scheme such as file://")))?;
        let store = self.stores.get(scheme).ok_or_else(|| {
            let known = self.stores.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            Error::Invalid(format!("path '{url}': scheme '{scheme}' is none of {known}"))
        })?;
        let path = Path::parse(path.trim_matches('/'))
            .map_err(|error| Error::storage(format!("read the path '{url}'"), error.into()))?;
        Ok((Arc::clone(store), path))
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Storage").field(&self.stores.keys().collect::<Vec<_>>()).finish()
    }
}
