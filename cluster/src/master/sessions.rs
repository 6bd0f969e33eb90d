//! The shared catalog and what each session keeps for itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, UpdateVersion};
use rainstorm_engine::{Error, Result};
use rainstorm_planner::Planner;
use rainstorm_planner::catalog::Catalog;
use rainstorm_planner::session::Session;
use rainstorm_planner::settings::Settings;
use tokio::sync::{Mutex, MutexGuard};

/// Sessions that are kept; the one that was used least lately is forgotten first.
const SESSIONS_MAX: usize = 1000;

/// The catalog, which is one object of the store, and the sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    store: Arc<dyn ObjectStore>,
    state: Mutex<State>,
}

/// What is locked while a script is planned.
#[derive(Debug)]
pub(super) struct State {
    catalog: Catalog,
    version: Option<UpdateVersion>,
    own: BTreeMap<String, Own>,
    uses: u64,
}

#[derive(Debug, Clone, Default)]
struct Own {
    temporary: Catalog,
    settings: Settings,
    last_use: u64,
}

fn path() -> Path {
    Path::from("catalog/default")
}

impl Sessions {
    /// Reads the catalog.
    ///
    /// # Errors
    /// `Storage`, or `Restore` where the object is not a catalog.
    pub(super) async fn open(store: Arc<dyn ObjectStore>, planner: &Planner) -> Result<Self> {
        let (catalog, version) = match store.get(&path()).await {
            Ok(found) => {
                let version = UpdateVersion {
                    e_tag: found.meta.e_tag.clone(),
                    version: found.meta.version.clone(),
                };
                let bytes = found.bytes().await;
                let bytes = bytes.map_err(|error| Error::storage("read the catalog", error))?;
                (parse(planner, &bytes)?, Some(version))
            }
            Err(object_store::Error::NotFound { .. }) => (Catalog::default(), None),
            Err(error) => return Err(Error::storage("read the catalog", error)),
        };
        let state = State { catalog, version, own: BTreeMap::new(), uses: 0 };
        Ok(Self { store, state: Mutex::new(state) })
    }

    /// Locks everything and returns it together with the named session.
    pub(super) async fn begin(&self, name: &str) -> (MutexGuard<'_, State>, Session) {
        let mut state = self.state.lock().await;
        state.uses += 1;
        let uses = state.uses;
        let own = state.own.entry(name.to_owned()).or_default();
        own.last_use = uses;
        let (temporary, settings) = (own.temporary.clone(), own.settings.clone());
        let session = Session { catalog: state.catalog.clone(), temporary, settings };
        (state, session)
    }

    /// Keeps what a script has changed.
    ///
    /// # Errors
    /// `Storage` where the catalog cannot be written; then nothing has changed.
    pub(super) async fn keep(
        &self,
        mut state: MutexGuard<'_, State>,
        name: &str,
        session: Session,
    ) -> Result<()> {
        if session.catalog != state.catalog {
            let mode = state.version.clone().map_or(PutMode::Create, PutMode::Update);
            let body = session.catalog.to_script();
            let written = self.store.put_opts(&path(), body.into(), PutOptions::from(mode)).await;
            let written = written.map_err(|error| Error::storage("write the catalog", error))?;
            state.version = Some(written.into());
            state.catalog = session.catalog;
        }
        let last_use = state.uses;
        let own = Own { temporary: session.temporary, settings: session.settings, last_use };
        state.own.insert(name.to_owned(), own);
        if state.own.len() > SESSIONS_MAX
            && let Some(oldest) =
                state.own.iter().min_by_key(|(_, own)| own.last_use).map(|(name, _)| name.clone())
        {
            state.own.remove(&oldest);
        }
        Ok(())
    }
}

fn parse(planner: &Planner, bytes: &[u8]) -> Result<Catalog> {
    let unlike = |reason: String| Error::Restore { what: "the catalog".to_owned(), reason };
    let text = std::str::from_utf8(bytes).map_err(|error| unlike(error.to_string()))?;
    let catalog = planner.catalog(text).map_err(|errors| unlike(errors.to_string()))?;
    for unreadable in catalog.unreadable() {
        let (name, reason) = (&unreadable.name, &unreadable.reason);
        tracing::warn!(name, reason, "a definition could not be read back from the catalog");
    }
    Ok(catalog)
}
