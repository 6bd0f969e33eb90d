//! What DataFusion's planner says, and what is said instead.

mod made;

use rainstorm_engine::wording::sentence::Ours::{self, Made, Words};
use rainstorm_engine::wording::sentence::{filled, holes};

use self::Place::{Clause, Expression};
use self::made::{
    arithmetic, case_types, elements, group_position, logical, no_fields, not_grouped, one_column,
    order_position, set_columns, values_types, window_function, wrong_arguments,
};
use super::words::Described;
use crate::error::SqlErrorCode::{self, Ambiguous, Type, Unsupported};

/// A kind of message.
pub(super) struct Sentence {
    /// DataFusion's words, with holes.
    pub(super) theirs: &'static str,
    code: SqlErrorCode,
    ours: Ours<Described>,
    help: &'static str,
    place: Place,
}

/// Where stands what a message is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// Where DataFusion says, else at the expression that is wrong by itself.
    Expression,
    /// At the clause or construct that our words name: DataFusion says the whole query.
    Clause,
}

const fn said(
    code: SqlErrorCode,
    theirs: &'static str,
    ours: &'static str,
    help: &'static str,
    place: Place,
) -> Sentence {
    Sentence { theirs, code, ours: Words(ours), help, place }
}

const fn made(theirs: &'static str, make: fn(&[&str]) -> Option<Described>) -> Sentence {
    Sentence { theirs, code: Type, ours: Made(make), help: "", place: Expression }
}

const CAST: &str = "write CAST(… AS …) around one of them";
const IN_FROM: &str = "compute it in a query of its own, in FROM";

/// All that is known, what says more before what says less.
pub(super) const KNOWN: &[Sentence] = &[
    said(Type, "nsupported SQL type {}", "there is no type '{0r}'", "", Expression),
    // Calls.
    made("array_element does not support type {}.", elements),
    made("No function matches the given name and argument types '{}({})'.{}", wrong_arguments),
    said(
        Type,
        "[return_type] {} not supported for Null",
        "{0u} does not take NULL",
        "",
        Expression,
    ),
    made("nvalid function '{}'", window_function),
    said(
        Unsupported,
        "Table Functions are not supported",
        "table functions other than TUMBLE, HOP and CUMULATE are not supported",
        "",
        Clause,
    ),
    said(
        Type,
        "ggregate function calls cannot be nested",
        "aggregate functions cannot be nested",
        IN_FROM,
        Expression,
    ),
    said(
        Type,
        "ggregate function calls cannot contain window function calls",
        "a window function cannot be inside an aggregate function",
        IN_FROM,
        Expression,
    ),
    said(
        Type,
        "indow function calls cannot be nested",
        "window functions cannot be nested",
        IN_FROM,
        Expression,
    ),
    said(
        Type,
        "WITHIN GROUP is only supported for ordered-set",
        "WITHIN GROUP is for functions such as PERCENTILE_CONT",
        "",
        Expression,
    ),
    said(
        Type,
        "In an aggregate with DISTINCT, ORDER BY expressions must",
        "an aggregate of DISTINCT values is ordered by these values only",
        "",
        Expression,
    ),
    said(
        Type,
        "rgument {} to grouping function is not in grouping columns",
        "GROUPING takes what the query groups by, not {0c}",
        "",
        Expression,
    ),
    said(Type, "The window {} is not defined", "there is no WINDOW '{0r}'", "", Expression),
    // Groups.
    made("olumn \"{}\" must appear in the GROUP BY clause", not_grouped),
    said(
        Type,
        "HAVING clause references: ",
        "HAVING takes aggregates, and what the query groups by",
        "use WHERE for single rows",
        Clause,
    ),
    made(
        "annot find column with position {} in SELECT clause. Valid columns: 1 to {}",
        group_position,
    ),
    said(
        Type,
        "QUALIFY clause requires window functions",
        "QUALIFY needs a window function in the query",
        "use WHERE for single rows",
        Expression,
    ),
    // Order and number of rows.
    made("column out of bounds, specified: {}, max: {}", order_position),
    said(
        Type,
        "Order by index starts at 1",
        "ORDER BY 0, but columns are numbered from 1",
        "",
        Clause,
    ),
    said(
        Type,
        "For SELECT DISTINCT, ORDER BY expressions {} must appear",
        "ORDER BY of SELECT DISTINCT takes what is selected, not {0c}",
        "",
        Expression,
    ),
    said(Type, "LIMIT must be >=", "LIMIT must not be negative", "", Clause),
    said(Type, "OFFSET must be >=", "OFFSET must not be negative", "", Clause),
    said(
        Type,
        "xpected {} to be an integer or null, but got {}",
        "{0r} takes a whole number, not {1}",
        "",
        Clause,
    ),
    // Conditions.
    said(
        Type,
        "annot create filter with non-boolean predicate '{}' returning {}",
        "a condition is a BOOLEAN, this is {1}",
        "",
        Expression,
    ),
    said(
        Type,
        "oin condition must be boolean type, but got {}",
        "ON takes a BOOLEAN, not {0}",
        "",
        Expression,
    ),
    // Queries in queries.
    made("{} queries have different number of columns", set_columns),
    said(
        Type,
        "Previous inputs were of type {}, but got incompatible type {} on column {}",
        "the queries of UNION differ: column {2r} is {1}, before it is {0}",
        CAST,
        Clause,
    ),
    made("oo many columns! The subquery should only return one column: {}", one_column),
    said(
        Type,
        "expr type {} can't cast to {} in InSubquery",
        "cannot compare {0} with the {1} of the subquery",
        CAST,
        Expression,
    ),
    said(
        Unsupported,
        "orrelated scalar subquery can only be used in",
        "a correlated subquery is not supported at this place",
        IN_FROM,
        Clause,
    ),
    said(
        Unsupported,
        "orrelated scalar subquery in the GROUP BY clause must",
        "a correlated subquery is not supported in GROUP BY",
        IN_FROM,
        Clause,
    ),
    said(
        Type,
        "orrelated scalar subquery must be aggregated to return at most one row",
        "a correlated subquery that stands for one value must be one aggregate, such as MAX(…)",
        "",
        Clause,
    ),
    said(
        Ambiguous,
        "require unique expression names but the expression \"{}\"",
        "there are two columns '{0c}'",
        "give one of them another name with AS",
        Expression,
    ),
    said(Type, "unnest() can only be applied to array", "UNNEST takes an ARRAY", "", Clause),
    // Operators.
    made("data type across values list at row {} column {}. Was {} but found {}", values_types),
    made("ailed to coerce then ({}) and else ({}) to common types", case_types),
    made("annot coerce arithmetic expression {} to valid types", arithmetic),
    said(
        Type,
        "annot get result type for temporal operation {}: ",
        "cannot compute {0}",
        "",
        Expression,
    ),
    said(Type, "argument type for comparison operation {}", "cannot compare {0}", "", Expression),
    said(
        Type,
        "isn't a common type to coerce {} in {} expression",
        "{1r} does not take {0}",
        "",
        Expression,
    ),
    said(
        Type,
        "ommon type for bitwise operation {} BIT_XOR {}",
        "cannot compute {0} XOR {1}",
        "",
        Expression,
    ),
    said(Type, "ommon type for bitwise operation {}", "cannot compute {0}", "", Expression),
    said(
        Type,
        "string type for string concat operation {}",
        "cannot compute {0}",
        "write CAST(… AS STRING)",
        Expression,
    ),
    said(Type, "argument type for regex operation {}", "cannot compare {0}", "", Expression),
    said(
        Type,
        "nary operator '-' only supports",
        "- takes a number or an interval",
        "write CAST(… AS …)",
        Expression,
    ),
    said(
        Type,
        "nary operator '+' only supports",
        "+ takes a number or an interval",
        "write CAST(… AS …)",
        Expression,
    ),
    said(
        Type,
        "nary operator 'NOT' requires a boolean expression, got {}",
        "NOT takes a BOOLEAN, not {0}",
        "write a comparison",
        Expression,
    ),
    said(
        Unsupported,
        "nsupported SQL unary operator BitwiseNot",
        "~ is not supported",
        "",
        Expression,
    ),
    made("for logical boolean operation {}", logical),
    said(
        Type,
        "annot automatically convert {} to {}",
        "cannot make {1} of {0}",
        "write CAST(… AS …)",
        Expression,
    ),
    said(
        Unsupported,
        "nsupported ast node in sqltorel",
        "this expression is not supported at this place",
        "",
        Expression,
    ),
    said(
        Unsupported,
        "Unnest should be rewritten",
        "UNNEST is not supported at this place",
        IN_FROM,
        Clause,
    ),
    said(
        Unsupported,
        "UNNEST with ordinality is not supported",
        "UNNEST … WITH ORDINALITY is not supported",
        "",
        Clause,
    ),
    said(
        Type,
        "NULLS are not permitted for {}",
        "{0u} takes no IGNORE NULLS or RESPECT NULLS",
        "",
        Expression,
    ),
    said(
        Unsupported,
        "unction '{}' does not support named arguments",
        "{0u} takes no arguments by name",
        "",
        Expression,
    ),
    said(
        Unsupported,
        "perator {} is not yet supported",
        "operator {0r} is not supported",
        "",
        Expression,
    ),
    said(
        Unsupported,
        "nsupported binary operator: {}",
        "operator {0u} is not supported",
        "",
        Expression,
    ),
    said(
        Type,
        "an not find compatible types to compare {} with [{}]",
        "cannot compare {0} with ({1})",
        "",
        Expression,
    ),
    said(
        Type,
        "ailed to coerce types {} in {} expression",
        "{1r} does not take {0}",
        "",
        Expression,
    ),
    // Fields.
    said(Type, "ield {} not found in struct", "there is no field '{0r}'", "", Expression),
    made("access field at argument {}: type {} is not Struct", no_fields),
    said(
        Type,
        "nvalid HexStringLiteral '{}'",
        "X'{0r}' has other characters than pairs of 0 to 9 and A to F",
        "",
        Expression,
    ),
];

/// Says in SQL's words what is known, with its place in the table.
pub(super) fn known(message: &str) -> Option<Described> {
    KNOWN.iter().enumerate().find_map(|(index, sentence)| {
        let holes = holes(sentence.theirs, message)?;
        let described = match sentence.ours {
            Words(words) => Described {
                help: Some(sentence.help.to_owned()).filter(|help| !help.is_empty()),
                place: sentence.place,
                ..Described::new(sentence.code, filled(words, &holes))
            },
            Made(make) => make(&holes)?,
        };
        #[cfg(test)]
        hits::add(index);
        let _ = index;
        Some(described)
    })
}

/// Which entries of the table a test has come by.
#[cfg(test)]
pub(super) mod hits {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    thread_local! {
        static HITS: RefCell<BTreeSet<usize>> = const { RefCell::new(BTreeSet::new()) };
    }

    pub(super) fn add(index: usize) {
        HITS.with_borrow_mut(|hits| hits.insert(index));
    }

    pub(in crate::diagnose) fn take() -> BTreeSet<usize> {
        HITS.take()
    }
}
