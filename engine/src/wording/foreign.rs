//! Words that mean nothing to people who write SQL.

use tracing::debug;

/// Words of those who program with DataFusion and Arrow, each by itself.
const WORDS: &[&str] = &[
    "Accumulator",
    "Arrow",
    "AvgAccumulator",
    "BinaryExpr",
    "DataFusion",
    "DataType",
    "Datatype",
    "Expr",
    "ExprPlanner",
    "FixedSizeList",
    "GroupsAccumulator",
    "InSubquery",
    "Int16",
    "Int32",
    "Int64",
    "Int8",
    "LargeList",
    "LargeUtf8",
    "ListArray",
    "LogicalPlan",
    "MapArray",
    "None",
    "PhysicalExpr",
    "Projection",
    "RecordBatch",
    "RunEndEncoded",
    "ScalarSubquery",
    "ScalarValue",
    "SetComparison",
    "Some",
    "StructArray",
    "UDF",
    "UInt64",
    "Utf8",
    "Utf8View",
    "arrow",
    "ast",
    "coerce",
    "coerced",
    "coercion",
    "datafusion",
    "downcast",
    "expr",
    "physical",
    "plan",
    "schema",
    "sqltorel",
    "udf",
    "usize",
];

/// Tells whether a message is one for programmers.
#[must_use]
pub fn is_foreign(message: &str) -> bool {
    let is_of_name = |c: char| c.is_alphanumeric() || c == '_';
    message.contains("::")
        || message.contains("[TypeSignature")
        || message.split(|c: char| !is_of_name(c)).any(|word| WORDS.contains(&word))
}

/// Returns a message, or what is said instead of one for programmers, who find theirs in the log.
#[must_use]
pub fn in_plain_words(message: String, instead: &str) -> String {
    if !is_foreign(&message) {
        return message;
    }
    debug!(message, "a message is for programmers");
    instead.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_of_programmers_are_foreign() {
        assert!(is_foreign("expr type STRING can't cast to BIGINT in InSubquery"));
        assert!(is_foreign("unsupported ast node in sqltorel: Foo"));
        assert!(!is_foreign("cannot cast 'express' to BIGINT"));
        assert_eq!(in_plain_words("Some(1)".to_owned(), "no"), "no");
    }
}
