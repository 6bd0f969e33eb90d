use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::rainstorm;

/// A program that says nothing for so long will not say it any more.
const PATIENCE: Duration = Duration::from_mins(1);

/// The program at a terminal of 80 columns.
struct Prompt {
    child: Child,
    keys: ChildStdin,
    screen: ChildStdout,
    /// All that was written to the terminal, less what draws the line that is edited.
    seen: String,
}

/// What a program asks a terminal to tell where its cursor is.
const WHERE: &str = "\u{1b}[6n";

impl Prompt {
    /// Starts it with variables of its environment, as a shell takes them.
    fn start(directory: &Path, variables: &str) -> Self {
        let program = env!("CARGO_BIN_EXE_rainstorm");
        let shell =
            format!("stty rows 24 cols 80; {variables} '{program}'; stty -a; echo status $?");
        let mut command = Command::new("script");
        command.args(["-q", "-e", "-c", &shell, "/dev/null"]).current_dir(directory);
        command.env_remove("COLUMNS").env_remove("RAINSTORM_MASTER").env_remove("PAGER");
        command.env("HOME", directory).env("SHELL", "/bin/sh").env("TERM", "xterm");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let (keys, screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, keys, screen, seen: String::new() }
    }

    async fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).await.unwrap();
    }

    /// Answers the program as a terminal does until it has written `text`.
    async fn shows(&mut self, text: &str) {
        let waited = tokio::time::timeout(PATIENCE, self.reads(text)).await;
        assert!(waited.is_ok(), "{text} does not come after\n{}", self.seen);
    }

    async fn reads(&mut self, text: &str) {
        let mut answered = self.seen.matches(WHERE).count();
        while !self.seen.contains(text) {
            let mut bytes = [0; 4096];
            let count = self.screen.read(&mut bytes).await.unwrap();
            assert!(count > 0, "{text} is missing in\n{}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
            let asked = self.seen.matches(WHERE).count();
            for _ in answered..asked {
                self.press("\u{1b}[1;1R").await;
            }
            answered = asked;
        }
    }

    async fn ends(mut self) -> String {
        self.shows("status 0").await;
        self.child.wait().await.unwrap();
        self.seen
    }
}

const SLOW: &str = "CREATE TABLE slow (n BIGINT) WITH ('connector' = 'datagen',
  'rows-per-second' = '100', 'fields.n.kind' = 'sequence', 'fields.n.start' = '1',
  'fields.n.end' = '200');
CREATE TABLE endless (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100');
";

fn slow() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("slow.sql"), SLOW).unwrap();
    directory
}

#[tokio::test]
async fn all_that_is_typed_while_a_query_runs_is_run_after_it() {
    let place = slow();
    let mut prompt = Prompt::start(place.path(), "");
    prompt.shows("> ").await;
    prompt.press("\\i slow.sql\r").await;
    prompt.shows("table endless created").await;
    prompt.press("SELECT 'counted ' || CAST(count(*) AS STRING) FROM slow;\r").await;
    // More than a terminal keeps of what nobody reads.
    for number in 0..200 {
        prompt.press(&format!("SELECT\t{number} + 1000\r  AS a;\r")).await;
    }
    prompt.press("SELECT 'last' || ' one'").await;
    prompt.shows("SELECT 'last' || ' one'").await;
    prompt.press(";\r").await;
    prompt.shows(" last one\r\n").await;
    prompt.press("\u{4}").await;
    let seen = prompt.ends().await;
    let mut rest = &*seen;
    for row in (0..200).map(|number| format!(" {}\r\n(1 row)", number + 1000)) {
        let at = rest.find(&row).unwrap_or_else(|| panic!("{row} is missing in\n{rest}"));
        rest = &rest[at..];
    }
    assert!(seen.find("counted 200").unwrap() < seen.find(" 1000\r\n").unwrap(), "{seen}");
    // The terminal is left as it was.
    assert!(seen.contains(" echo ") && seen.contains(" icanon"), "{seen}");
}

#[tokio::test]
async fn an_interrupt_ends_the_query_and_drops_what_was_typed_before_it() {
    let place = slow();
    let mut prompt = Prompt::start(place.path(), "");
    prompt.shows("> ").await;
    prompt.press("\\i slow.sql\r").await;
    prompt.shows("table endless created").await;
    prompt.press("SELECT n FROM endless;\r").await;
    prompt.shows("------").await;
    prompt.press("SELECT 'a' || 'b';\r\u{3}SELECT 'c' || 'd';\r").await;
    prompt.shows("note: 1 line was typed ahead and dropped").await;
    prompt.shows(" cd\r\n").await;
    assert!(!prompt.seen.contains(" ab\r\n"), "{}", prompt.seen);
    prompt.press("quit\r").await;
    prompt.ends().await;
}

#[tokio::test]
async fn words_and_commands_do_what_they_say() {
    let place = slow();
    let mut prompt = Prompt::start(place.path(), "EDITOR='sed -i s/3/5/'");
    prompt.shows("> ").await;
    prompt.press("help\r").await;
    prompt.shows("also quit, exit and Ctrl-D").await;
    prompt.press("\\i slow.sql\r").await;
    prompt.shows("table endless created").await;
    prompt.press(".tables\r").await;
    prompt.shows(" slow    | table | datagen\r\n").await;
    // Tab completes what the prompt shows; typed ahead of it, it is text.
    prompt.press("DESCRIBE slo").await;
    prompt.shows("DESCRIBE slo").await;
    prompt.press("\t").await;
    prompt.shows("DESCRIBE slow").await;
    prompt.press(";\r").await;
    prompt.shows("| BIGINT |").await;
    prompt.press("\\d+ slow\r").await;
    prompt.shows(" CREATE TABLE").await;
    prompt.press("\\x\rSELECT 1 AS one, 2 AS two;\r").await;
    prompt.shows("one | 1\r\ntwo | 2\r\n").await;
    prompt.press("\\x off\r\\o r.txt\rSELECT 'in ' || 'a file' AS f;\r\\o\r").await;
    prompt.press("SELECT 3 + 4;\r").await;
    prompt.shows(" 7\r\n").await;
    let written = std::fs::read_to_string(place.path().join("r.txt")).unwrap();
    assert_eq!(written, " f\n-----------\n in a file\n(1 row)\n");
    prompt.press("\\e\r").await;
    prompt.shows(" 9\r\n").await;
    assert!(!prompt.seen.contains("in a file\r\n"), "{}", prompt.seen);
    // A text is pasted with its tabs.
    prompt.press("SELECT 1,\r\t2,\ts\r\tFROM (SELECT 'pasted' || '!' AS s);\r").await;
    prompt.shows("| pasted!\r\n").await;
    // The end of a line that has been begun, and of the one after it.
    prompt.press("SELECT 1\r\u{4}").await;
    prompt.ends().await;
}

#[tokio::test]
async fn long_results_go_through_the_pager_and_short_ones_do_not() {
    let place = slow();
    let mut prompt = Prompt::start(place.path(), "PAGER='sed s/^/paged:/'");
    prompt.shows("> ").await;
    prompt.press("SELECT 1 + 1 AS two;\r").await;
    prompt.shows(" 2\r\n").await;
    assert!(!prompt.seen.contains("paged:"), "{}", prompt.seen);
    prompt.press("\\df\r").await;
    prompt.shows("paged: ABS").await;
    prompt.press("SELECT 3 + 1 AS four;\r").await;
    prompt.shows(" 4\r\n").await;
    prompt.press("quit\r").await;
    prompt.ends().await;
}

#[tokio::test]
async fn jobs_fit_a_terminal_of_80_columns() {
    let place = slow();
    let statements = ["\\i slow.sql", "SELECT count(*) AS c FROM slow", "SHOW JOBS"];
    let arguments: Vec<_> = statements.iter().flat_map(|text| ["-c", text]).collect();
    let mut sql = rainstorm(place.path(), &[&["sql"][..], &arguments].concat());
    let output = sql.env("COLUMNS", "80").output().await.unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("finished") && !shown.contains("record"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
}
