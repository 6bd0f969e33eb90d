//! Messages of libraries, taken apart by what is the same in each of their kind.

use super::with_sql_types;

/// What is said in place of a message.
pub enum Ours<T: 'static> {
    /// Words with holes of theirs: `{0}` with SQL's names of types, `{0r}` as it is, `{0u}` in
    /// capitals, `{0q}` without quotes around it, `{0c}` the last of names with dots.
    Words(&'static str),
    /// Words that depend on what is in the holes. `None` where it is another message after all.
    Made(fn(&[&str]) -> Option<T>),
}

/// Finds what stands in the holes `{}` of a pattern. What comes before its first words and after its
/// last ones is left out, unless there is a hole at the end: that takes the rest.
#[must_use]
pub fn holes<'m>(pattern: &str, message: &'m str) -> Option<Vec<&'m str>> {
    let mut pieces = pattern.split("{}");
    let (_, mut rest) = message.split_once(pieces.next()?)?;
    let mut found = Vec::new();
    for piece in pieces {
        let (hole, after) = match piece {
            "" => (rest.trim_end_matches('.'), ""),
            piece => rest.split_once(piece)?,
        };
        found.push(hole);
        rest = after;
    }
    Some(found)
}

/// Puts what stood in the holes of a message into words.
#[must_use]
pub fn filled(words: &str, holes: &[&str]) -> String {
    let mut out = String::with_capacity(words.len());
    let mut rest = words;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((which, after)) = after.split_once('}') else { break };
        out.push_str(before);
        let digits = which.trim_end_matches(char::is_alphabetic);
        let hole = digits.parse::<usize>().ok().and_then(|index| holes.get(index).copied());
        out.push_str(&shown(hole.unwrap_or_default(), &which[digits.len()..]));
        rest = after;
    }
    out.push_str(rest);
    out
}

fn shown(hole: &str, how: &str) -> String {
    match how {
        "r" => hole.to_owned(),
        "u" => hole.to_uppercase(),
        "q" => hole.trim_matches(['"', '`', '\'']).to_owned(),
        "c" => hole.rsplit_once('.').map_or(hole, |(_, name)| name).to_owned(),
        _ => with_sql_types(hole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_what_differs_between_messages() {
        assert_eq!(holes("cast {} to {}", "Error: cast 1 to Int8."), Some(vec!["1", "Int8"]));
        assert_eq!(holes("field {} not found", "field a not found in b"), Some(vec!["a"]));
        assert_eq!(holes("no holes", "there are no holes here"), Some(vec![]));
        assert_eq!(holes("cast {} to {}", "something else"), None);
    }

    #[test]
    fn words_show_holes_as_they_say() {
        let holes = ["Int64", "t.a", "\"x\""];
        assert_eq!(filled("{0} {0r} {0u} {1c} {2q}!", &holes), "BIGINT Int64 INT64 a x!");
    }
}
