//! The SQL of the queries that work.

use crate::cli::error::{CliError, Result};

/// A query of the benchmark.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) name: &'static str,
    /// Its sink and its INSERT, on the tables of the source.
    pub(super) text: &'static str,
}

macro_rules! example {
    ($name:literal) => {
        include_str!(concat!("../../../../../sql-examples/nexmark/", $name, ".sql"))
    };
}

/// Defines the events as generated.
pub(super) const SOURCE: &str = example!("source");
/// Defines the events as files.
pub(super) const SOURCE_PARQUET: &str = example!("source_parquet");
/// Writes the events into files.
pub(super) const WRITE_PARQUET: &str = example!("write_parquet");

macro_rules! queries {
    ($($name:literal)*) => {
        const QUERIES: &[Query] = &[$(Query { name: $name, text: example!($name) }),*];
    };
}

queries!("q0" "q1" "q2" "q5" "q7" "q8" "q10" "q12" "q13" "q14" "q17" "q21" "q22");

/// Returns queries by name; `all` is every one that works.
///
/// # Errors
/// Where a name is not one of them.
pub(super) fn selected(names: &[String]) -> Result<Vec<&'static Query>> {
    let mut selected = Vec::new();
    for name in names {
        if name == "all" {
            selected.extend(QUERIES);
            continue;
        }
        let query = QUERIES.iter().find(|query| query.name.eq_ignore_ascii_case(name));
        selected.push(query.ok_or_else(|| {
            let known = QUERIES.iter().map(|query| query.name).collect::<Vec<_>>().join(", ");
            CliError::new(format!("query '{name}' is none of {known}"))
        })?);
    }
    Ok(selected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_chosen_by_name_and_unknown_ones_refused() {
        assert_eq!(selected(&["all".into()]).unwrap().len(), QUERIES.len());
        assert_eq!(selected(&["q5".into(), "Q0".into()]).unwrap()[1].name, "q0");
        assert!(selected(&["q99".into()]).is_err());
    }
}
