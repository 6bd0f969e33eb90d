//! Partition folders: `column=value`, as Hive names them.

use std::fmt::Write;

/// The folder of rows whose value is null or empty.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Returns the folder of a value.
pub(super) fn folder(column: &str, value: Option<&str>) -> String {
    let mut folder = escape(column);
    folder.push('=');
    match value {
        None | Some("") => folder.push_str(NULL),
        Some(value) => folder.push_str(&escape(value)),
    }
    folder
}

/// Returns the columns and values that the folders of a file name.
pub(super) fn values(path: &str) -> impl Iterator<Item = (String, Option<String>)> {
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    folders.split('/').filter_map(|folder| {
        let (column, value) = folder.split_once('=')?;
        Some((unescape(column), (value != NULL).then(|| unescape(value))))
    })
}

fn is_special(byte: u8) -> bool {
    byte.is_ascii_control() || br##""#%'*/:=?\{}[]^<>|~`"##.contains(&byte)
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match u8::try_from(c) {
            Ok(byte) if is_special(byte) => {
                // Writing into a String does not fail.
                let _ = write!(escaped, "%{byte:02X}");
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Puts the characters in place of their codes, as in `%20`.
pub(super) fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = (*first == b'%')
            .then(|| after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: Option<&str>, expected: &str) {
        assert_eq!(folder("k", value), expected);
        let file = format!("{expected}/part.csv");
        let found = values(&file).collect::<Vec<_>>();
        assert_eq!(found, [("k".to_owned(), value.map(str::to_owned))]);
    }

    #[test]
    fn values_survive_in_folders() {
        check(Some("2024-01-01"), "k=2024-01-01");
        check(Some("12:30"), "k=12%3A30");
        check(Some("a/b=c%"), "k=a%2Fb%3Dc%25");
        check(Some("é ü"), "k=é ü");
        check(None, "k=__HIVE_DEFAULT_PARTITION__");
    }

    #[test]
    fn folders_nest() {
        let found = values("day=1/hour=%32/x/part.csv").collect::<Vec<_>>();
        let expected = [("day", "1"), ("hour", "2")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), Some(value.to_owned()))));
    }
}
