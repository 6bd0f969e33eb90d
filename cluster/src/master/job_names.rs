//! What jobs are called.

use std::collections::BTreeSet;

use rainstorm_engine::{ErrorKind, JobId};

use super::events::Stop;
use crate::identity::unique_id;
use crate::job::Failure;

/// Makes a name for a script that has none.
pub(super) fn made_up() -> String {
    format!("query-{}", short_id())
}

/// Returns an id that is unique among the jobs that people look at.
pub(super) fn short_id() -> String {
    let mut id = unique_id().simple().to_string();
    id.truncate(8);
    id
}

/// Refuses a name that is none.
pub(super) fn check(name: &str) -> Result<(), Stop> {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    if !name.starts_with('.') && name.chars().all(plain) {
        return Ok(());
    }
    let text =
        format!("job name '{name}' has other characters than letters, digits, '-', '_', '.'");
    Err(Failure::new(ErrorKind::Invalid, text).into())
}

/// Returns the ids of a script's jobs, each of which may have a name of its own. Most scripts have
/// one job, which then has the script's name; the number tells those apart that share a name.
pub(super) fn ids(script: &str, own: &[Option<&str>]) -> Vec<JobId> {
    let mut taken = BTreeSet::new();
    let mut ids = Vec::with_capacity(own.len());
    for (name, number) in own.iter().zip(1..) {
        let mut id = name.unwrap_or(script).to_owned();
        while !taken.insert(id.clone()) {
            id = format!("{id}-{number}");
        }
        ids.push(JobId::new(&id));
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_of_one_name_are_numbered() {
        let check = |own: &[Option<&str>], expected: &[&str]| {
            let ids = ids("s", own);
            assert_eq!(ids.iter().map(JobId::as_str).collect::<Vec<_>>(), expected);
        };
        check(&[None, None, None], &["s", "s-2", "s-3"]);
        check(&[Some("s"), Some("b"), Some("b")], &["s", "b", "b-3"]);
        check(&[Some("s-2"), None, None, Some("s-2")], &["s-2", "s", "s-3", "s-2-4"]);
    }
}
