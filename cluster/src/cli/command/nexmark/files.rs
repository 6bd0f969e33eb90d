//! The directories of events: those that are read, and the one that is written.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::cli::error::{CliError, Result};

/// Returns how many rows the Parquet files of a directory have.
///
/// # Errors
/// Where the directory or a file of it cannot be read, or it has no files.
pub(super) fn num_rows(directory: &Path) -> Result<u64> {
    let files = visible_files(directory)
        .map_err(|error| CliError::io(format!("read {}", directory.display()), error))?;
    if files.is_empty() {
        return Err(CliError::new(format!("there are no files in {}", directory.display())));
    }
    let mut rows = 0;
    for path in files {
        let failed = |error: &dyn std::error::Error| {
            CliError::failed(format!("read {}", path.display()), error)
        };
        let file = File::open(&path).map_err(|error| failed(&error))?;
        let reader = SerializedFileReader::new(file).map_err(|error| failed(&error))?;
        rows += reader.metadata().file_metadata().num_rows().max(0) as u64;
    }
    Ok(rows)
}

/// Refuses to write into a directory with something in it: it would be read together with the new
/// events.
///
/// # Errors
/// Where something is in the directory, or it cannot be read.
pub(super) fn check_empty(directory: &Path) -> Result<()> {
    match visible_files(directory) {
        Ok(files) if files.is_empty() => Ok(()),
        Ok(_) => Err(CliError::new(format!(
            "directory {} is not empty: remove it or choose another",
            directory.display()
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(CliError::io(format!("read {}", directory.display()), error)),
    }
}

/// Lists the files that a table of the directory has; names that begin with a dot or an underscore
/// are hidden from it.
fn visible_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(['.', '_']) {
            files.push(entry.path());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_not_written_beside_others() {
        let directory = tempfile::tempdir().unwrap();
        assert!(check_empty(&directory.path().join("new")).is_ok());
        assert!(check_empty(directory.path()).is_ok());
        assert!(num_rows(directory.path()).is_err());
        fs::write(directory.path().join("part.parquet"), "x").unwrap();
        assert!(check_empty(directory.path()).is_err());
        assert!(num_rows(directory.path()).is_err());
    }
}
