//! Completion: of keywords and names, and in quotes of what may stand there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rainstorm_engine::connector::{self, datagen, filesystem, nexmark, print};
use reedline::{Completer, CompletionResult, Span, Suggestion};

use super::names::{Known, Names};

const KEYWORDS: &str = "ALTER AND ARRAY AS ASC BETWEEN BIGINT BOOLEAN BY CASE CAST COUNT CREATE \
    CUMULATE DATE DECIMAL DELETE DESC DESCRIBE DESCRIPTOR DISTINCT DOUBLE DROP ELSE END EXECUTE \
    EXISTS EXPLAIN FALSE FILTER FLOAT FOR FROM FULL FUNCTION FUNCTIONS GROUP HAVING HOP HOUR IF IN \
    INNER INSERT INT INTERVAL INTO IS JOBS JOIN KEY LEFT LIKE LIMIT MAP MINUTE NOT NULL OF OFFSET \
    ON OR ORDER OVER OVERWRITE PARTITIONED PRIMARY RESET RIGHT ROW SECOND SELECT SESSION SET SHOW \
    STATEMENT STRING SYSTEM_TIME TABLE TABLES TEMPORARY THEN TIMESTAMP TRUE TUMBLE UNION USING \
    VALUES VARCHAR VIEW VIEWS WATERMARK WHEN WHERE WITH";

/// Keywords that are called.
const CALLED: [&str; 6] = ["CAST", "COUNT", "CUMULATE", "DESCRIPTOR", "HOP", "TUMBLE"];

/// What begins with a backslash.
const COMMANDS: &str = "\\? \\d \\d+ \\df \\dt \\dv \\e \\i \\o \\q \\timing \\x";

/// Completes what stands before the cursor.
pub(super) struct SqlCompleter {
    names: Names,
    /// Whether keys came right behind Tab, as they do where text is pasted.
    is_pasted: Arc<AtomicBool>,
}

impl SqlCompleter {
    pub(super) fn new(names: Names, is_pasted: Arc<AtomicBool>) -> Self {
        Self { names, is_pasted }
    }
}

/// What a part of a text can become.
#[derive(Debug, Default, PartialEq, Eq)]
struct Offer {
    /// Where the part begins.
    start: usize,
    values: Vec<String>,
}

impl Completer for SqlCompleter {
    fn complete(&mut self, line: &str, position: usize) -> CompletionResult {
        let mut offer = if self.is_pasted.load(Ordering::Relaxed) {
            Offer { start: position, values: vec!["\t".to_owned()] }
        } else {
            offer(line, position, &self.names.known())
        };
        let completes = !offer.values.is_empty() && offer.values != ["\t"];
        if offer.values.is_empty() {
            // A menu without values would stay open, and take the next key for a choice.
            offer.values.push(line[offer.start..position].to_owned());
        }
        let suggestion = |value: String| Suggestion {
            append_whitespace: completes && !value.ends_with(['(', '/']),
            value,
            span: Span::new(offer.start, position),
            ..Suggestion::default()
        };
        CompletionResult::fresh(offer.values.into_iter().map(suggestion).collect::<Vec<_>>())
    }
}

fn offer(text: &str, position: usize, known: &Known) -> Offer {
    let before = &text[..position];
    let line = before.rsplit('\n').next().unwrap_or(before);
    if let Some(quote) = open_quote(before) {
        let start = quote + 1;
        let values = quoted(text, &before[..quote], &before[start..], known);
        return Offer { start, values };
    }
    if let Some(argument) = argument(line.trim_start()) {
        let start = position - argument.1.len();
        return Offer { start, values: of_command(argument, known) };
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '\\';
    let start = before.rfind(|c| !is_word(c));
    let start = start.map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    let (before, word) = before.split_at(start);
    Offer { start, values: of_word(text, before, word, known) }
}

/// Returns where the text begins that the cursor is in, if it is in one.
fn open_quote(before: &str) -> Option<usize> {
    let mut open = None;
    for (at, _) in before.match_indices('\'') {
        open = if open.is_some() { None } else { Some(at) };
    }
    open
}

/// Returns a command and what has been typed of its argument.
fn argument(line: &str) -> Option<(&str, &str)> {
    let (command, argument) = line.split_once(' ')?;
    command.starts_with('\\').then(|| (command, argument.trim_start()))
}

fn of_command((command, argument): (&str, &str), known: &Known) -> Vec<String> {
    match command {
        "\\d" | "\\d+" => beginning(argument, known.tables.keys()),
        "\\i" | "\\o" => paths(argument),
        "\\x" => beginning(argument, ["auto", "off", "on"]),
        "\\timing" => beginning(argument, ["off", "on"]),
        _ => Vec::new(),
    }
}

/// Returns those that begin with a word, whatever the case of their letters.
fn beginning<T: AsRef<str>>(word: &str, all: impl IntoIterator<Item = T>) -> Vec<String> {
    let begins = |candidate: &str| {
        candidate.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    let all = all.into_iter().filter(|candidate| begins(candidate.as_ref()));
    all.map(|candidate| candidate.as_ref().to_owned()).collect()
}

/// Tells whether the name of a table comes next.
fn wants_table(before: &str) -> bool {
    let last = before.split_whitespace().next_back().unwrap_or_default();
    let words = ["FROM", "JOIN", "INTO", "OVERWRITE", "TABLE", "VIEW", "DESCRIBE"];
    before.ends_with(char::is_whitespace) && words.iter().any(|it| last.eq_ignore_ascii_case(it))
}

/// Returns columns, tables, functions and keywords, the latter two in the case of the word.
fn of_word(text: &str, before: &str, word: &str, known: &Known) -> Vec<String> {
    if word.starts_with('\\') {
        return beginning(word, COMMANDS.split_whitespace());
    }
    if wants_table(before) {
        return beginning(word, known.tables.keys());
    }
    if let Some(qualified) = before.strip_suffix('.') {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let table = qualified.rsplit(|c| !is_name(c)).next().unwrap_or_default();
        let own = known.tables.get(table).cloned();
        return beginning(word, own.unwrap_or_else(|| columns(text, known).into_iter().collect()));
    }
    let mut found = beginning(word, columns(text, known));
    if word.is_empty() {
        // Of a place where anything may stand, only what the text is about is of use.
        return if names_tables(text, known) { found } else { Vec::new() };
    }
    found.extend(beginning(word, known.tables.keys()));
    let lower = word.chars().any(char::is_lowercase);
    let cased = |text: String| if lower { text.to_lowercase() } else { text };
    let functions = beginning(word, &known.functions).into_iter();
    let keywords = beginning(word, KEYWORDS.split_whitespace());
    let is_function = |name: &String| !keywords.contains(name);
    found.extend(functions.filter(is_function).map(|name| cased(name) + "("));
    let called = |word: String| if CALLED.contains(&&*word) { word + "(" } else { word };
    found.extend(keywords.into_iter().map(|word| cased(called(word))));
    found
}

/// Returns the words of a text that are tables.
fn tables_of<'a>(text: &str, known: &'a Known) -> Vec<&'a Vec<String>> {
    let words: BTreeSet<_> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let tables = known.tables.iter().filter(|(name, _)| words.contains(name.as_str()));
    tables.map(|(_, columns)| columns).collect()
}

fn names_tables(text: &str, known: &Known) -> bool {
    !tables_of(text, known).is_empty()
}

/// Returns the columns of the tables that a text names; where it names none yet, of all.
fn columns(text: &str, known: &Known) -> BTreeSet<String> {
    let mut tables = tables_of(text, known);
    if tables.is_empty() {
        tables = known.tables.values().collect();
    }
    tables.into_iter().flatten().cloned().collect()
}

/// Returns what can stand in quotes: settings after SET, keys of WITH, and values of both.
fn quoted(text: &str, before: &str, word: &str, known: &Known) -> Vec<String> {
    let before = before.trim_end();
    let closed = |values: Vec<String>| {
        let close = |value: String| if value.ends_with('/') { value } else { value + "'" };
        values.into_iter().map(close).collect::<Vec<_>>()
    };
    let last = before.split_whitespace().next_back().unwrap_or_default();
    if last.eq_ignore_ascii_case("SET") || last.eq_ignore_ascii_case("RESET") {
        return closed(beginning(word, &known.settings));
    }
    if let Some(before) = before.strip_suffix('=') {
        let key = before.trim_end().trim_end_matches('\'').rsplit('\'').next();
        return match key.unwrap_or_default() {
            "path" => closed(paths(word)),
            "connector" => closed(beginning(word, connector::names())),
            "format" => closed(beginning(word, ["csv", "json", "parquet"])),
            "compression" => closed(beginning(word, ["auto", "gzip", "none", "zstd"])),
            "on-error" => closed(beginning(word, ["fail", "skip"])),
            key if key.starts_with("csv.") || key.starts_with("json.") => {
                closed(beginning(word, ["false", "true"]))
            }
            _ => Vec::new(),
        };
    }
    let in_options = before.ends_with(['(', ',']) && before.to_uppercase().contains("WITH");
    if in_options { closed(beginning(word, keys(text))) } else { Vec::new() }
}

/// Returns the options of the connector that a text names, or of all.
fn keys(text: &str) -> BTreeSet<&'static str> {
    let all: [(&str, &[&str]); 4] = [
        ("filesystem", filesystem::OPTIONS),
        ("datagen", datagen::OPTIONS),
        ("nexmark", nexmark::OPTIONS),
        ("print", print::OPTIONS),
    ];
    let named: Vec<_> = all.iter().filter(|it| text.contains(&format!("'{}'", it.0))).collect();
    let chosen = if named.is_empty() { all.iter().collect() } else { named };
    let mut keys: BTreeSet<_> = chosen.iter().flat_map(|(_, keys)| keys.iter().copied()).collect();
    keys.insert("connector");
    keys
}

/// Returns the local files and directories that a path can become, the latter with a slash.
fn paths(typed: &str) -> Vec<String> {
    let typed = typed.trim_start_matches('\'');
    let local = typed.strip_prefix("file://").unwrap_or(typed);
    if local.contains("://") {
        return Vec::new();
    }
    let name = local.rfind('/').map_or(0, |slash| slash + 1);
    let directory = if name == 0 { "." } else { &local[..name] };
    let before = &typed[..typed.len() - (local.len() - name)];
    let Ok(items) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut found = Vec::new();
    for item in items.flatten() {
        let Ok(file) = item.file_name().into_string() else { continue };
        let hidden = file.starts_with('.') && !local[name..].starts_with('.');
        if file.starts_with(&local[name..]) && !hidden {
            let slash = if item.path().is_dir() { "/" } else { "" };
            found.push(format!("{before}{file}{slash}"));
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let flights: &[&str] = &["flight", "airport", "dep_delay"];
        let fleet: &[&str] = &["tail", "model"];
        let tables = [("flights", flights), ("Fleet", fleet)];
        Names::of(&tables, &["FLOOR", "FIRST_VALUE"], &["parallelism.default", "state.ttl"])
    }

    /// Completes at the `|` of a text.
    fn check(text: &str) -> String {
        let position = text.find('|').expect("a cursor");
        let text = text.replace('|', "");
        let names = names();
        let offer = offer(&text, position, &names.known());
        offer.values.join(" ")
    }

    #[test]
    fn keywords_and_names_are_completed_in_the_case_of_the_word() {
        assert_eq!(check("fl|"), "flight Fleet flights floor( float");
        assert_eq!(check("SEL|"), "SELECT");
        assert_eq!(check("sel|"), "select");
        assert_eq!(check("SELECT FIRS|"), "FIRST_VALUE(");
        assert_eq!(check("SELECT cou|"), "count(");
        assert_eq!(check("SELECT |"), "");
    }

    #[test]
    fn after_from_tables_are_offered_and_elsewhere_columns_of_those_that_are_named() {
        assert_eq!(check("SELECT * from |"), "Fleet flights");
        assert_eq!(check("SELECT * from flights JOIN fle|"), "Fleet");
        assert_eq!(check("SELECT | FROM flights"), "airport dep_delay flight");
        assert_eq!(check("SELECT m| FROM flights"), "map minute");
        assert_eq!(check("SELECT Fleet.|, 1 FROM flights"), "tail model");
        assert_eq!(check("SELECT f.d| FROM flights f"), "dep_delay");
        assert_eq!(check("\\d F|"), "Fleet flights");
    }

    #[test]
    fn options_and_settings_are_completed_in_quotes() {
        assert_eq!(check("SET '|"), "parallelism.default' state.ttl'");
        assert_eq!(check("SET 'par|"), "parallelism.default'");
        let with = "CREATE TABLE t (a INT) WITH (";
        assert_eq!(check(&format!("{with}'conn|")), "connector'");
        assert_eq!(check(&format!("{with}'connector' = 'file|")), "filesystem'");
        assert_eq!(
            check(&format!("{with}'connector' = 'datagen', '|")),
            "connector' number-of-rows' rows-per-second' seed'"
        );
        assert_eq!(
            check(&format!("{with}'connector' = 'filesystem', 'format'='|")),
            "csv' json' parquet'"
        );
        assert_eq!(check("SELECT 'fl|"), "");
    }

    #[test]
    fn commands_and_their_arguments_are_completed() {
        assert_eq!(check("\\t|"), "\\timing");
        assert_eq!(check("\\timing o|"), "off on");
        assert_eq!(check("\\x a|"), "auto");
    }

    #[test]
    fn paths_are_completed_from_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path().display();
        std::fs::create_dir(directory.path().join("data")).unwrap();
        for name in ["dates.sql", ".hidden", "other"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        assert_eq!(check(&format!("\\i {here}/da|")), format!("{here}/data/ {here}/dates.sql"));
        assert_eq!(check(&format!("\\o {here}/.|")), format!("{here}/.hidden"));
        let path = format!("WITH ('path' = 'file://{here}/o|");
        assert_eq!(check(&path), format!("file://{here}/other'"));
        assert_eq!(check("WITH ('path' = 'sdfs:///|"), "");
    }

    #[test]
    fn the_word_before_the_cursor_is_replaced() {
        let is_pasted = Arc::new(AtomicBool::new(false));
        let mut completer = SqlCompleter::new(Names::default(), Arc::clone(&is_pasted));
        let result = completer.complete("SELECT ä, hav", 14);
        let spans: Vec<_> = result.suggestions().iter().map(|it| it.span).collect();
        assert_eq!(spans, [Span::new(11, 14)]);
        let result = completer.complete("(selec", 6);
        assert_eq!(result.suggestions()[0].value, "select");
        // What leaves the line as it is.
        let result = completer.complete("nothing", 7);
        let (span, value) = (result.suggestions()[0].span, result.suggestions()[0].value.clone());
        assert_eq!((span, &*value), (Span::new(0, 7), "nothing"));
        is_pasted.store(true, Ordering::Relaxed);
        let result = completer.complete("SEL", 3);
        assert_eq!(result.suggestions()[0].value, "\t");
    }
}
