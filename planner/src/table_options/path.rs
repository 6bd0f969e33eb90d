//! Paths of tables' files as absolute URLs.

/// Makes a path a URL: one that has a scheme stays, others are files below `base`.
pub(crate) fn absolute_url(path: &str, base: &str) -> String {
    if path.contains("://") {
        return path.to_owned();
    }
    let joined = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{}/{path}", base.trim_end_matches('/'))
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let directory = if path.ends_with('/') { "/" } else { "" };
    format!("file:///{}{directory}", parts.join("/"))
}

/// Where tables can be.
const SCHEMES: [&str; 2] = ["file", "sdfs"];

/// Says what is wrong with the scheme of a URL, if anything is.
pub(super) fn wrong_scheme(url: &str) -> Option<String> {
    let (scheme, _) = url.split_once("://")?;
    let known = SCHEMES.join(", ");
    let wrong = !SCHEMES.contains(&scheme);
    wrong.then(|| format!("path '{url}': scheme '{scheme}' is none of {known}"))
}

#[cfg(test)]
mod tests {
    use super::{absolute_url, wrong_scheme};

    #[test]
    fn files_are_local_or_of_the_cluster() {
        assert_eq!(wrong_scheme("file:///x"), None);
        assert_eq!(wrong_scheme("sdfs:///x"), None);
        let wrong = wrong_scheme("s3://x").expect("is wrong");
        assert_eq!(wrong, "path 's3://x': scheme 's3' is none of file, sdfs");
    }

    #[test]
    fn relative_paths_are_below_the_base() {
        for (path, expected) in [
            ("data/flights.csv", "file:///home/u/sql/data/flights.csv"),
            ("./data/*.csv", "file:///home/u/sql/data/*.csv"),
            ("../out/", "file:///home/u/out/"),
            ("/tmp/x.csv", "file:///tmp/x.csv"),
            ("sdfs:///x", "sdfs:///x"),
            ("file:///x", "file:///x"),
        ] {
            assert_eq!(absolute_url(path, "/home/u/sql"), expected);
        }
    }
}
