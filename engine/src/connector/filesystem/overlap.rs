//! Whether two tables may have files in common, by what their paths say.

use std::collections::BTreeMap;

use super::pattern::Pattern;
use super::place;

/// Tells whether two tables may have files in common: one is in the folder of the other, or
/// matches its pattern.
#[must_use]
pub fn overlap(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> bool {
    let (Some(one), Some(other)) = (one.get("path"), other.get("path")) else { return false };
    let (one, other) = (Files::at(one), Files::at(other));
    one.scheme == other.scheme && (one.may_hold(&other) || other.may_hold(&one))
}

/// Where a table's files are.
struct Files<'a> {
    scheme: &'a str,
    folder: Vec<String>,
    pattern: Option<Pattern>,
}

impl<'a> Files<'a> {
    fn at(url: &'a str) -> Self {
        let (scheme, path, pattern) = place::parts(url);
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        Self { scheme, folder: segments.map(str::to_owned).collect(), pattern }
    }

    /// Tells whether files in the folder of another table may be of this one.
    fn may_hold(&self, other: &Self) -> bool {
        let Some(below) = other.folder.strip_prefix(self.folder.as_slice()) else { return false };
        let below: Vec<&str> = below.iter().map(String::as_str).collect();
        self.pattern.as_ref().is_none_or(|pattern| pattern.reaches(&below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(one: &str, other: &str, expected: bool) {
        let at = |path: &str| BTreeMap::from([("path".to_owned(), path.to_owned())]);
        assert_eq!(overlap(&at(one), &at(other)), expected, "{one} {other}");
        assert_eq!(overlap(&at(other), &at(one)), expected, "{other} {one}");
    }

    #[test]
    fn tables_overlap_where_one_holds_files_of_the_other() {
        check("file:///a", "file:///a/", true);
        check("file:///a", "file:///a/b/c.csv", true);
        check("file:///a%20b", "file:///a b", true);
        check("file:///a", "file:///ab", false);
        check("file:///a", "sdfs:///a", false);
        check("sdfs:///a/x", "sdfs:///a/y", false);
    }

    #[test]
    fn a_pattern_overlaps_with_what_it_may_match() {
        check("file:///a/*.csv", "file:///a", true);
        check("file:///a/*.csv", "file:///a/x.csv", true);
        check("file:///a/*.csv", "file:///a/out", false);
        check("file:///a/*/*.csv", "file:///a/out", true);
        check("file:///a/in-?/*.csv", "file:///a/out", false);
        check("file:///a/**", "file:///a/b/c/d", true);
        check("file:///a/b/*.csv", "file:///a", true);
    }
}
