//! SQL's types, by their texts.

pub use rainstorm_engine::wording::{identifier_sql, type_sql};

/// Takes the length out of the text of VARCHAR(n) or CHAR(n), with the function that gives a text
/// this length.
pub(crate) fn character_limit(text: &str) -> Option<(&'static str, u64)> {
    let (name, length) = text.strip_suffix(')')?.split_once('(')?;
    let function = match name {
        "VARCHAR" => "left",
        "CHAR" => "rpad",
        _ => return None,
    };
    Some((function, length.parse().ok()?))
}

/// Returns the length in a type's text, such as that of `CHAR(3)` or `VARBINARY(3)`.
pub(crate) fn declared_length(text: &str) -> Option<u64> {
    let (name, length) = text.strip_suffix(')')?.split_once('(')?;
    let has_length = matches!(name, "CHAR" | "VARCHAR" | "BINARY" | "VARBINARY");
    has_length.then(|| length.parse().ok()).flatten()
}

/// Returns how many nanoseconds lie between the times of a type's text, where that is more than
/// between those of its Arrow type.
pub(crate) fn coarser_unit(text: &str) -> Option<u64> {
    let digits = text
        .strip_suffix(')')?
        .split_once('(')
        .filter(|(name, _)| matches!(*name, "TIMESTAMP" | "TIMESTAMP_LTZ"));
    let digits = digits?.1.parse::<u32>().ok()?;
    (digits % 3 != 0 || digits == 0).then(|| 10_u64.pow(9 - digits.min(9)))
}
