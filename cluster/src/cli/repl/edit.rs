//! A statement in the user's editor.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::cli::error::{CliError, Result};
use crate::cli::terminal::Lent;

/// Lets the user edit a text in $VISUAL, $EDITOR or vi, and returns what it has become.
///
/// # Errors
/// Where the editor does not run or says that it failed.
pub(super) fn edit(text: &str) -> Result<String> {
    let path = std::env::temp_dir().join(format!("rainstorm-{}.sql", std::process::id()));
    let edited = edit_file(&path, text);
    let _ = std::fs::remove_file(&path);
    edited
}

fn edit_file(path: &Path, text: &str) -> Result<String> {
    let failed = |error| CliError::io(format!("write {}", path.display()), error);
    let mut file = create(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(failed)?;
    drop(file);
    run(&editor(|name| std::env::var(name).ok()), path)?;
    std::fs::read_to_string(path).map_err(|error| CliError::io("read the statement", error))
}

/// Makes a file that nobody else can read, and takes none that is there already.
fn create(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn editor(variable: impl Fn(&str) -> Option<String>) -> String {
    let set = |name| variable(name).filter(|value| !value.trim().is_empty());
    set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".to_owned())
}

fn run(editor: &str, path: &Path) -> Result<()> {
    let _terminal = Lent::begin();
    // An editor may be given with options.
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(path);
    let status = shell.status().map_err(|error| CliError::io("start the editor", error))?;
    if status.success() {
        Ok(())
    } else {
        Err(CliError::new(format!("editor '{editor}' failed: {status}; EDITOR names another")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_editor_is_the_users() {
        let chosen = |visual: &str, own: &str| {
            editor(|name| Some(if name == "VISUAL" { visual } else { own }.to_owned()))
        };
        assert_eq!(chosen("emacs -nw", "ed"), "emacs -nw");
        assert_eq!(chosen("", "ed"), "ed");
        assert_eq!(chosen("", ""), "vi");
    }

    #[test]
    fn a_text_is_what_the_editor_leaves() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a b.sql");
        std::fs::write(&path, "SELECT 1;\n").unwrap();
        run("sed -i s/1/2/", &path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "SELECT 2;\n");
        assert!(run("false", &path).is_err());
        assert!(create(&path).is_err());
    }
}
