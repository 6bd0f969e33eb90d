//! Patterns of paths: `*` and `?` within a name, `[…]` one of several characters, `**` any number
//! of folders.

use super::partition::unescape;

/// A path with wildcards, relative to its store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    segments: Vec<String>,
}

impl Pattern {
    /// Splits a path at its first wildcard: the folder before it, and a pattern where there is
    /// one.
    #[must_use]
    pub fn split(path: &str) -> (String, Option<Self>) {
        let segments = path.split('/').collect::<Vec<_>>();
        let Some(first) = segments.iter().position(|segment| segment.contains(['*', '?', '[']))
        else {
            return (path.to_owned(), None);
        };
        let pattern = segments[first..].iter().map(|segment| (*segment).to_owned()).collect();
        (segments[..first].join("/"), Some(Self { segments: pattern }))
    }

    /// Puts the characters in place of their codes, as in `%20`; wildcards among them are meant as
    /// they are.
    pub(super) fn unescaped(self) -> Self {
        let segment = |segment: String| {
            let codes = [("%2A", "[*]"), ("%3F", "[?]"), ("%5B", "[[]")];
            let literal = codes.iter().fold(segment, |segment, (code, literal)| {
                segment.replace(code, literal).replace(&code.to_lowercase(), literal)
            });
            unescape(&literal)
        };
        Self { segments: self.segments.into_iter().map(segment).collect() }
    }

    /// Tells whether a file of this path matches, or one below a folder of this path may.
    pub(super) fn reaches(&self, path: &[&str]) -> bool {
        reaches_segments(&self.segments, path)
    }

    /// Tells whether a path, relative to the folder before the pattern, matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let segments = path.split('/').collect::<Vec<_>>();
        matches_segments(&self.segments, &segments)
    }
}

fn reaches_segments(pattern: &[String], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some((first, _)), _) if first == "**" => true,
        (Some((first, pattern)), Some((name, path))) => {
            matches_one(first, name) && reaches_segments(pattern, path)
        }
    }
}

fn matches_one(pattern: &str, name: &str) -> bool {
    let [pattern, name] = [pattern, name].map(|text| text.chars().collect::<Vec<_>>());
    matches_name(&pattern, &name)
}

fn matches_segments(pattern: &[String], path: &[&str]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        Some((first, rest)) if first == "**" => {
            (0..=path.len()).any(|skipped| matches_segments(rest, &path[skipped..]))
        }
        Some((first, rest)) => path
            .split_first()
            .is_some_and(|(name, path)| matches_one(first, name) && matches_segments(rest, path)),
    }
}

fn matches_name(pattern: &[char], name: &[char]) -> bool {
    match pattern {
        [] => name.is_empty(),
        ['*', rest @ ..] => (0..=name.len()).any(|skipped| matches_name(rest, &name[skipped..])),
        ['?', rest @ ..] => !name.is_empty() && matches_name(rest, &name[1..]),
        ['[', rest @ ..] if rest.contains(&']') => {
            let close = rest.iter().position(|c| *c == ']').unwrap_or(rest.len());
            let [first, name @ ..] = name else { return false };
            is_one_of(&rest[..close], *first) && matches_name(&rest[close + 1..], name)
        }
        [literal, rest @ ..] => name.first() == Some(literal) && matches_name(rest, &name[1..]),
    }
}

fn is_one_of(set: &[char], found: char) -> bool {
    let (negated, mut set) = match set {
        ['!' | '^', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    let mut contains = false;
    while let [first, rest @ ..] = set {
        let (last, after) = match rest {
            ['-', last, after @ ..] => (last, after),
            _ => (first, rest),
        };
        contains |= (*first..=*last).contains(&found);
        set = after;
    }
    contains != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, path: &str, expected: bool) {
        let (_, pattern) = Pattern::split(pattern);
        assert_eq!(pattern.unwrap().matches(path), expected, "{path}");
    }

    #[test]
    fn wildcards_stay_within_a_name() {
        check("*.csv", "a.csv", true);
        check("*.csv", "b/a.csv", false);
        check("part-?.csv", "part-1.csv", true);
        check("part-?.csv", "part-12.csv", false);
        check("part-[0-3a].csv", "part-2.csv", true);
        check("part-[0-3a].csv", "part-a.csv", true);
        check("part-[0-3a].csv", "part-4.csv", false);
        check("part-[!0-3].csv", "part-4.csv", true);
        check("*/2024-*/x", "a/2024-01/x", true);
    }

    #[test]
    fn two_stars_match_any_number_of_folders() {
        check("**/*.csv", "a.csv", true);
        check("**/*.csv", "x/y/a.csv", true);
        check("**/y/*.csv", "x/z/a.csv", false);
    }

    #[test]
    fn the_folder_before_the_first_wildcard_is_literal() {
        assert_eq!(Pattern::split("a/b.csv"), ("a/b.csv".to_owned(), None));
        assert_eq!(Pattern::split("a/b/*.csv").0, "a/b");
        assert_eq!(Pattern::split("*").0, "");
    }
}
