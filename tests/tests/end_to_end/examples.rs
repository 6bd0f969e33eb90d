//! Every example runs, and prints the same when it is run again.

use libtest_mimic::{Failed, Trial};

use super::program::{Place, expect_equal, repository, trial};

pub(crate) fn trials() -> Vec<Trial> {
    let folder = std::fs::read_dir(repository().join("sql-examples")).expect("the examples");
    let mut files = folder
        .map(|entry| entry.expect("an entry of a folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect::<Vec<_>>();
    files.sort();
    let name = |path: &std::path::Path| format!("example::{}", path.display());
    files.into_iter().map(|path| trial(name(&path), move || runs_twice(path))).collect()
}

async fn runs_twice(path: std::path::PathBuf) -> Result<(), Failed> {
    let place = Place::new();
    let file = path.to_str().expect("a path of plain characters");
    let first = place.run(["run", file]).await.success()?;
    if first.trim().is_empty() {
        return Err("the example prints nothing".into());
    }
    let second = place.run(["run", file]).await.success()?;
    expect_equal(&second, &first)
}
