//! ORDER BY and LIMIT.

/// LIMIT and OFFSET of rows that come in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSpec {
    /// How many rows are left out first.
    pub offset: u64,
    /// How many rows are passed on after that.
    pub count: u64,
}

/// ORDER BY of rows that end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortSpec {
    /// What the rows are sorted by, the first first.
    pub keys: Vec<SortKey>,
    /// How many of the first rows are wanted at most.
    pub count: u64,
}

/// One column that rows are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortKey {
    /// The column.
    pub column: usize,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST.
    pub nulls_first: bool,
}
