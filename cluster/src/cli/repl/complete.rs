//! Completion of keywords and names.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::ipc::reader::StreamReader;
use arrow::util::display::array_value_to_string;
use rainstorm_proto::client::ExecuteRequest;
use rainstorm_proto::client::client_client::ClientClient;
use rainstorm_proto::client::execute_event::Event;
use reedline::{Completer, CompletionResult, Span, Suggestion};
use tonic::transport::Channel;

const KEYWORDS: &str = "ALTER AND ARRAY AS ASC BETWEEN BIGINT BOOLEAN BY CASE CAST COUNT CREATE \
    CUMULATE DATE DECIMAL DELETE DESC DESCRIBE DESCRIPTOR DISTINCT DOUBLE DROP ELSE END EXECUTE \
    EXISTS EXPLAIN FALSE FILTER FLOAT FOR FROM FULL FUNCTION FUNCTIONS GROUP HAVING HOP HOUR IF IN \
    INNER INSERT INT INTERVAL INTO IS JOBS JOIN KEY LEFT LIKE LIMIT MAP MINUTE NOT NULL OF OFFSET \
    ON OR ORDER OVER OVERWRITE PARTITIONED PRIMARY RESET RIGHT ROW SECOND SELECT SESSION SET SHOW \
    STATEMENT STRING SYSTEM_TIME TABLE TABLES TEMPORARY THEN TIMESTAMP TRUE TUMBLE UNION USING \
    VALUES VARCHAR VIEW VIEWS WATERMARK WHEN WHERE WITH";

/// Names of tables and views, as last heard. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(Arc<Mutex<BTreeSet<String>>>);

impl Names {
    /// Asks the master for names; where it does not answer, the old ones stay.
    pub(crate) async fn refresh(
        &self,
        client: &mut ClientClient<Channel>,
        request: ExecuteRequest,
    ) {
        let Ok(response) = client.execute(request).await else { return };
        let mut events = response.into_inner();
        let mut names = BTreeSet::new();
        while let Ok(Some(event)) = events.message().await {
            match event.event {
                Some(Event::Rows(rows)) => names.extend(first_column(&rows.batches)),
                Some(Event::Finished(_)) => {
                    *self.0.lock().unwrap_or_else(PoisonError::into_inner) = names;
                    return;
                }
                Some(Event::Failed(_)) => return,
                _ => {}
            }
        }
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

fn first_column(batches: &[u8]) -> Vec<String> {
    let Ok(reader) = StreamReader::try_new(Cursor::new(batches), None) else { return Vec::new() };
    let batches = reader.flatten().filter(|batch| batch.num_columns() > 0);
    let texts = batches.flat_map(|batch| {
        let texts = (0..batch.num_rows()).map(|row| array_value_to_string(batch.column(0), row));
        texts.flatten().collect::<Vec<_>>()
    });
    texts.collect()
}

/// Completes the word before the cursor.
pub(super) struct SqlCompleter {
    names: Names,
}

impl SqlCompleter {
    pub(super) fn new(names: Names) -> Self {
        Self { names }
    }
}

impl Completer for SqlCompleter {
    fn complete(&mut self, line: &str, position: usize) -> CompletionResult {
        let before = &line[..position];
        let start = before
            .rfind(|c: char| !c.is_alphanumeric() && c != '_' && c != '\\')
            .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        let suggestion = |value: String| Suggestion {
            value,
            span: Span::new(start, position),
            append_whitespace: true,
            ..Suggestion::default()
        };
        let word = &before[start..];
        let words = if word.is_empty() && wants_name(before) {
            self.names.all()
        } else {
            candidates(word, &self.names.all())
        };
        CompletionResult::fresh(words.into_iter().map(suggestion).collect::<Vec<_>>())
    }
}

/// Tells whether the name of a table comes next.
fn wants_name(before: &str) -> bool {
    let last = before.split_whitespace().next_back().unwrap_or_default();
    let words = ["FROM", "JOIN", "INTO", "OVERWRITE", "TABLE", "VIEW", "DESCRIBE", "\\d"];
    before.ends_with(char::is_whitespace) && words.iter().any(|it| last.eq_ignore_ascii_case(it))
}

/// Returns names, then keywords, that begin with a word; keywords in the case of the word.
fn candidates(word: &str, names: &[String]) -> Vec<String> {
    if word.is_empty() {
        return Vec::new();
    }
    let begins = |candidate: &str| {
        candidate.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    let lower = word.chars().any(char::is_lowercase);
    let cased = |keyword: &str| if lower { keyword.to_lowercase() } else { keyword.to_owned() };
    let names = names.iter().filter(|name| begins(name)).cloned();
    let keywords = KEYWORDS.split_whitespace().filter(|keyword| begins(keyword)).map(cased);
    names.chain(keywords).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_and_names_are_completed_in_the_case_of_the_word() {
        let names = ["flights".to_owned(), "Fleet".to_owned()];
        assert_eq!(candidates("fl", &names), ["flights", "Fleet", "float"]);
        assert_eq!(candidates("SEL", &names), ["SELECT"]);
        assert_eq!(candidates("sel", &names), ["select"]);
        assert!(candidates("", &names).is_empty());
    }

    #[test]
    fn after_from_all_names_are_offered() {
        let names = Names::default();
        names.0.lock().unwrap().extend(["flights".to_owned(), "airports".to_owned()]);
        let mut completer = SqlCompleter::new(names);
        let mut offered = |line: &str| {
            let result = completer.complete(line, line.len());
            result.suggestions().iter().map(|it| it.value.clone()).collect::<Vec<_>>()
        };
        assert_eq!(offered("SELECT * from "), ["airports", "flights"]);
        assert!(offered("SELECT ").is_empty() && offered("SELECT * FROM flights ").is_empty());
    }

    #[test]
    fn the_word_before_the_cursor_is_replaced() {
        let mut completer = SqlCompleter::new(Names::default());
        let result = completer.complete("SELECT ä, hav", 14);
        let spans: Vec<_> = result.suggestions().iter().map(|it| it.span).collect();
        assert_eq!(spans, [Span::new(11, 14)]);
        let result = completer.complete("(selec", 6);
        assert_eq!(result.suggestions()[0].value, "select");
    }
}
