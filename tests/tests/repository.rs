//! The rules of the house that a program can check.

use std::fs;
use std::path::{Path, PathBuf};

/// No function is longer than this.
const FUNCTION_LINES: usize = 70;
/// A file that has grown past this, tests left out, is two files.
const FILE_LINES: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").into()
}

fn files_under(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).expect("a folder of the repository");
    for entry in entries {
        let path = entry.expect("an entry of a folder").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !matches!(name, "target" | ".git" | "rainstorm-data") {
            files_under(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut paths = Vec::new();
    files_under(&root(), "rs", &mut paths);
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).expect("text"))).collect()
}

/// Returns the lines before a file's unit tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

fn no_complaints(complaints: &[String]) {
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Tells whether a line begins a function, whatever stands before its `fn`.
fn begins_function(line: &str) -> bool {
    let modifiers = ["pub", "const", "async", "unsafe", "extern", "default"];
    let line = line.trim_start();
    let Some((before, _)) = line.split_once("fn ") else { return false };
    before.is_empty()
        || before.ends_with(' ')
            && before.split(' ').filter(|word| !word.is_empty()).all(|word| {
                let word = word.split('(').next().unwrap_or(word);
                modifiers.contains(&word) || word.starts_with('"') || word.ends_with(')')
            })
}

#[test]
fn functions_are_known_by_their_first_line() {
    for line in [
        "fn a() {",
        "    pub fn a() {",
        "pub(crate) async fn a(",
        "    pub(super) fn a(&self) {",
        "pub(in crate::fs) const fn a() {",
        "const fn a() {",
        "pub const unsafe fn a() {",
        "extern \"C\" fn a() {",
    ] {
        assert!(begins_function(line), "{line}");
    }
    for line in
        ["// a fn ", "let a = fn a", "type A = fn (u8);", "    make_fn (1)", "/// Runs fn a"]
    {
        assert!(!begins_function(line), "{line}");
    }
}

#[test]
fn functions_are_short() {
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().collect::<Vec<_>>();
        for (start, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let is_function = begins_function(line);
            let head = lines[start..].iter().find(|line| line.ends_with(['{', ';', '}']));
            if !is_function || head.is_some_and(|head| head.ends_with(';')) {
                continue;
            }
            let closing = format!("{}}}", " ".repeat(indent));
            let length = lines[start..].iter().position(|line| *line == closing).unwrap_or(0) + 1;
            if length > FUNCTION_LINES {
                complaints.push(format!("{}:{}: {length} lines", path.display(), start + 1));
            }
        }
    }
    no_complaints(&complaints);
}

#[test]
fn files_are_short() {
    let long = sources()
        .into_iter()
        .filter(|(path, _)| path.file_name().is_none_or(|name| name != "tests.rs"))
        .map(|(path, text)| (path, without_tests(&text).lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES)
        .map(|(path, lines)| format!("{}: {lines} lines without tests", path.display()))
        .collect::<Vec<_>>();
    no_complaints(&long);
}

#[test]
fn dependencies_point_one_way() {
    let allowed: [(&str, &[&str]); 4] = [
        ("engine", &[]),
        ("proto", &[]),
        ("planner", &["engine"]),
        ("cluster", &["engine", "planner", "proto"]),
    ];
    let mut complaints = Vec::new();
    for (package, allowed) in allowed {
        let manifest = fs::read_to_string(root().join(package).join("Cargo.toml")).expect("text");
        for other in ["engine", "planner", "proto", "cluster", "tests"] {
            let depends = manifest.contains(&format!("\nrainstorm-{other}"));
            if depends && !allowed.contains(&other) {
                complaints.push(format!("{package} depends on {other}"));
            }
        }
    }
    no_complaints(&complaints);
}

/// The planner's modules, each after those that it uses.
const PLANNER_MODULES: &[&str] = &[
    "error",
    "settings",
    "types",
    "interval",
    "options",
    "statement",
    "hint",
    "parse",
    "catalog",
    "session",
    "script",
    "analysis",
    "table_options",
    "stream",
    "resolve",
    "bind",
    "walk",
    "coerce",
    "rewrite",
    "explain",
    "lower",
    "diagnose",
    "expression",
    "query",
    "define",
    "show",
    "restore",
    "planner",
];

#[test]
fn modules_of_the_planner_use_those_before_them() {
    let folder = root().join("planner/src");
    let place = |name: &str| PLANNER_MODULES.iter().position(|known| *known == name);
    let mut complaints = Vec::new();
    let mut paths = Vec::new();
    files_under(&folder, "rs", &mut paths);
    for path in paths.iter().filter(|path| !path.ends_with("lib.rs") && !is_of_tests(path)) {
        let inside = path.strip_prefix(&folder).expect("a file of the folder");
        let module = inside.iter().next().and_then(|first| first.to_str()).unwrap_or_default();
        let module = module.trim_end_matches(".rs");
        let Some(own) = place(module) else {
            complaints.push(format!("{module} has no place among the planner's modules"));
            continue;
        };
        let text = fs::read_to_string(path).expect("text");
        let lines =
            without_tests(&text).lines().filter(|line| !line.trim_start().starts_with("//"));
        for used in lines.flat_map(|line| line.split("crate::").skip(1)) {
            let end = used.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(used.len());
            if place(&used[..end]).is_none_or(|used| used > own) {
                complaints.push(format!("{}: {module} uses {}", path.display(), &used[..end]));
            }
        }
    }
    no_complaints(&complaints);
}

fn is_of_tests(path: &Path) -> bool {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    name == "tests" || name.ends_with("_tests")
}

#[test]
fn only_the_wire_knows_grpc() {
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        let inside = ["engine", "planner"].iter().any(|name| path.starts_with(root().join(name)));
        let knows = text.contains("tonic::") || text.contains("prost::");
        if inside && knows {
            complaints.push(format!("{} uses tonic or prost", path.display()));
        }
    }
    no_complaints(&complaints);
}

#[test]
fn rooms_have_names_that_say_something() {
    let vague = ["utils", "common", "helpers", "misc", "util", "helper"];
    let found = sources()
        .into_iter()
        .filter(|(path, _)| {
            path.iter().filter_map(|part| part.to_str()).any(|part| {
                let stem = part.strip_suffix(".rs").unwrap_or(part);
                vague.contains(&stem)
            })
        })
        .map(|(path, _)| path.display().to_string())
        .collect::<Vec<_>>();
    no_complaints(&found);
}

#[test]
fn nothing_is_left_for_later() {
    // Written apart so that this file does not find itself.
    let marks = ["to\x64o!(", "unimple\x6dented!(", "db\x67!(", "#[ig\x6eore", "thread::sl\x65ep"];
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                complaints.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    no_complaints(&complaints);
}
