//! Where a table's files are, and which they are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::commits::{self, CommitLog};
use super::partition::unescape;
use super::pattern::Pattern;
use crate::storage::Storage;
use crate::{Error, Result};

/// The scheme of files of the machine.
const FILE: &str = "file";

/// The path of a table: a file, a directory or a pattern.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) store: Arc<dyn ObjectStore>,
    /// The file or directory, or the directory that the pattern is relative to.
    pub(super) path: Path,
    pattern: Option<Pattern>,
    scheme: String,
    /// As it was written.
    url: String,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.url).finish()
    }
}

impl Place {
    /// Finds the store of a URL. In those of files `%20` and its like stand for what they do in
    /// URLs.
    pub(super) fn resolve(url: &str, storage: &Storage) -> Result<Self> {
        let (scheme, literal, pattern) = parts(url);
        let (store, path) = storage.resolve(&format!("{scheme}://{literal}"))?;
        Ok(Self { store, path, pattern, scheme: scheme.to_owned(), url: url.to_owned() })
    }

    /// Returns the path as people know it.
    pub(super) fn display(&self, path: &Path) -> String {
        match self.scheme.as_str() {
            FILE => format!("/{path}"),
            scheme => format!("{scheme}:///{path}"),
        }
    }

    /// Returns the URL as it was written.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Tells whether the path has wildcards.
    pub(super) fn is_pattern(&self) -> bool {
        self.pattern.is_some()
    }

    /// Returns the part of a path below this one, or the file's name where it is this one.
    pub(super) fn relative<'a>(&self, path: &'a Path) -> &'a str {
        let below = path.as_ref().strip_prefix(self.path.as_ref()).unwrap_or(path.as_ref());
        match below.trim_start_matches('/') {
            "" => path.filename().unwrap_or_default(),
            below => below,
        }
    }

    /// Lists the table's files by name: those that its commits name, or all where there are no
    /// commits. Names that begin with `_` or `.` are no part of a table.
    pub(super) async fn files(&self) -> Result<Vec<ObjectMeta>> {
        // A table that is overwritten meanwhile may lose files between two looks at it.
        const ATTEMPTS: usize = 4;
        let mut gone = String::new();
        for _ in 0..ATTEMPTS {
            match self.try_files().await? {
                Ok(files) => return Ok(files),
                Err(missing) => gone = missing,
            }
        }
        Err(Error::Invalid(format!("table at '{}' lacks its file '{gone}'", self.url)))
    }

    async fn try_files(&self) -> Result<Result<Vec<ObjectMeta>, String>> {
        if self.pattern.is_none()
            && let Some(file) = self.head(&self.path).await?
        {
            return Ok(Ok(vec![file]));
        }
        let all = self.list(&self.path).await?;
        if self.pattern.is_none() && all.keys().any(|path| commits::number_of(path).is_some()) {
            let log = CommitLog::load(self, all.keys()).await?;
            return Ok(commit_files(&log, &all));
        }
        let mut files = all.into_iter().filter(|(name, _)| self.holds(name));
        let first = files.next().ok_or_else(|| self.nothing())?;
        Ok(Ok(std::iter::once(first).chain(files).map(|(_, meta)| meta).collect()))
    }

    fn holds(&self, name: &str) -> bool {
        !is_hidden(name) && self.pattern.as_ref().is_none_or(|pattern| pattern.matches(name))
    }

    fn nothing(&self) -> Error {
        let url = &self.url;
        let is_file = self.scheme == FILE;
        let no_choice = if url.contains('{') {
            "; '{' and '}' are part of a name and give no choice of names"
        } else {
            ""
        };
        let message = match &self.pattern {
            Some(_) => format!("no file matches '{url}', {}", self.wildcard()),
            None if is_file && url.contains('%') => format!(
                "'{url}' is neither a file nor a directory with files: it stands for '{}', and a \
                    '%' that is part of a name is written %25",
                self.display(&self.path)
            ),
            None => format!("'{url}' is neither a file nor a directory with files"),
        };
        Error::Invalid(message + no_choice)
    }

    /// Says what makes the path a pattern, and how that character is written as part of a name.
    pub(super) fn wildcard(&self) -> String {
        let kinds = [
            ('[', "begins a set of characters", "%5B"),
            ('?', "stands for any character", "%3F"),
            ('*', "stands for any characters", "%2A"),
        ];
        let found = kinds.iter().find(|(wildcard, ..)| self.url.contains(*wildcard));
        let (wildcard, means, code) = found.unwrap_or(&kinds[2]);
        let literal =
            if self.scheme == FILE { (*code).to_owned() } else { format!("[{wildcard}]") };
        format!(
            "a pattern in which '{wildcard}' {means}; a '{wildcard}' that is part of a name is \
                written {literal}"
        )
    }

    /// Returns what is known of a file, or `None` where there is none.
    pub(super) async fn head(&self, path: &Path) -> Result<Option<ObjectMeta>> {
        if path.is_root() {
            return Ok(None);
        }
        match self.store.head(path).await {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(object_store::Error::NotSupported { source }) => {
                Err(Error::Invalid(format!("'{}' {source}", self.display(path))))
            }
            Err(error) => Err(Error::storage(format!("look at '{}'", self.display(path)), error)),
        }
    }

    /// Lists the files below a directory by their names relative to the table.
    pub(super) async fn list(&self, path: &Path) -> Result<BTreeMap<String, ObjectMeta>> {
        let files = self.store.list(Some(path)).try_collect::<Vec<_>>().await;
        let files = files
            .map_err(|error| Error::storage(format!("list '{}'", self.display(path)), error))?;
        Ok(files.into_iter().map(|file| (self.relative(&file.location).to_owned(), file)).collect())
    }
}

/// Takes a URL apart: its scheme, the path before its first wildcard, and what is left of it.
pub(super) fn parts(url: &str) -> (&str, String, Option<Pattern>) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    match Pattern::split(rest) {
        (literal, pattern) if scheme == FILE => {
            (scheme, unescape(&literal), pattern.map(Pattern::unescaped))
        }
        (literal, pattern) => (scheme, literal, pattern),
    }
}

/// Finds the files of the commits, or one that is missing.
fn commit_files(
    log: &CommitLog,
    all: &BTreeMap<String, ObjectMeta>,
) -> Result<Vec<ObjectMeta>, String> {
    let visible = log.visible();
    visible.into_iter().map(|name| all.get(name).cloned().ok_or_else(|| name.to_owned())).collect()
}

/// Tells whether a file, or a folder that it is in, is no part of the table.
pub(super) fn is_hidden(name: &str) -> bool {
    name.split('/').any(|segment| segment.starts_with(['_', '.']))
}
