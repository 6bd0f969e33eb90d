//! What a query has shown while its sources are held open after their last row.

use std::collections::BTreeMap;
use std::time::Duration;

use libtest_mimic::Failed;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

/// How long a query may take to emit what is due, and how long nothing else may come after it.
const DUE: Duration = Duration::from_mins(1);
const SILENCE: Duration = Duration::from_millis(300);

/// Reads the changes that a program shows as CSV until they come to just the `due` rows, and ends
/// it; fails where they do not, or where others follow.
pub(crate) async fn expect_shown(mut child: Child, due: &[&str]) -> Result<(), Failed> {
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    // The header comes first.
    let mut shown = Shown::default();
    let header = tokio::time::timeout(DUE, lines.next_line()).await;
    let header = header.map_err(|_| shown.missing(due))??;
    while !shown.are(due) {
        let line = tokio::time::timeout(DUE, lines.next_line()).await;
        let line = line.map_err(|_| shown.missing(due))??;
        let line = line.ok_or_else(|| format!("it ended after {header:?}: {shown:?}"))?;
        shown.take(&line)?;
    }
    match tokio::time::timeout(SILENCE, lines.next_line()).await {
        Err(_) => Ok(child.kill().await?),
        // LIMIT has what it wants and ends.
        Ok(Ok(None)) => Ok(()),
        Ok(line) => Err(format!("all rows had come, and then {line:?}").into()),
    }
}

/// Rows with how often they stand.
#[derive(Debug, Default)]
struct Shown {
    rows: BTreeMap<String, i64>,
    count: i64,
}

impl Shown {
    fn take(&mut self, line: &str) -> Result<(), Failed> {
        let (kind, row) = line.split_once(',').ok_or_else(|| Failed::from(line))?;
        let count = self.rows.entry(row.to_owned()).or_default();
        let change = if kind.starts_with('+') { 1 } else { -1 };
        (*count, self.count) = (*count + change, self.count + change);
        if *count == 0 {
            self.rows.remove(row);
        }
        Ok(())
    }

    /// Tells whether the rows are these, which are sorted.
    fn are(&self, due: &[&str]) -> bool {
        let copies = |(row, count): (&String, &i64)| {
            let count = usize::try_from(*count).unwrap_or(0);
            std::iter::repeat_n(row.clone(), count)
        };
        self.count == due.len() as i64 && self.rows.iter().flat_map(copies).eq(due.iter().copied())
    }

    fn missing(&self, due: &[&str]) -> Failed {
        let first = due.iter().find(|row| !self.rows.contains_key(**row));
        let (came, due) = (self.count, due.len());
        format!("{came} of {due} rows came before the end; one that did not: {first:?}").into()
    }
}
