//! Paths of tables' files as absolute URLs.

/// Makes a path a URL: one that has a scheme stays, others are files below `base`.
pub(super) fn absolute_url(path: &str, base: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::absolute_url;

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
