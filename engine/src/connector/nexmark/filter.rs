//! Filters on `event_type` that the generator enforces by not generating the other events.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr as LogicalBinary, Expr, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};

use super::Kind;
use crate::{Error, Result};

/// The name of the column that tells an event's type.
pub(super) const EVENT_TYPE: &str = "event_type";

/// Which types of events are generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kinds([bool; 3]);

impl Kinds {
    /// Returns the types for which all the filters hold.
    pub(super) fn of_filters(filters: &[Arc<dyn PhysicalExpr>]) -> Result<Self> {
        let mut kinds = [true; 3];
        for filter in filters {
            let wanted = wanted_kind(filter).ok_or_else(|| {
                Error::Invalid(format!("connector 'nexmark' does not enforce the filter {filter}"))
            })?;
            for (kind, kept) in kinds.iter_mut().enumerate() {
                *kept &= wanted == kind as i64;
            }
        }
        Ok(Self(kinds))
    }

    /// Tells whether events of a type are generated.
    #[inline]
    pub(super) fn contains(self, kind: Kind) -> bool {
        self.0[kind as usize]
    }

    /// Tells whether most events are left out, so that a block makes a small batch.
    pub(super) fn are_rare(self) -> bool {
        !self.contains(Kind::Bid)
    }

    /// Tells whether every event is left out.
    pub(super) fn are_none(self) -> bool {
        self.0 == [false; 3]
    }

    /// Tells whether no event is left out.
    pub(super) fn are_all(self) -> bool {
        self.0 == [true; 3]
    }
}

/// Returns the value that `event_type` is compared with.
fn wanted_kind(filter: &Arc<dyn PhysicalExpr>) -> Option<i64> {
    let binary = filter.downcast_ref::<BinaryExpr>()?;
    if *binary.op() != Operator::Eq {
        return None;
    }
    [(binary.left(), binary.right()), (binary.right(), binary.left())].into_iter().find_map(
        |(column, literal)| {
            let column = column.downcast_ref::<Column>()?;
            let literal = literal.downcast_ref::<Literal>()?;
            (column.name() == EVENT_TYPE).then(|| integer(literal.value()))?
        },
    )
}

/// Tells whether the source enforces a filter over its columns when it gets it in
/// [`SourceSpec::filters`](crate::graph::SourceSpec::filters): `event_type = k` for an integer
/// literal k, either way round.
#[must_use]
pub fn enforces(filter: &Expr) -> bool {
    let Expr::BinaryExpr(LogicalBinary { left, op: Operator::Eq, right }) = filter else {
        return false;
    };
    match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(value, _))
        | (Expr::Literal(value, _), Expr::Column(column)) => {
            column.name == EVENT_TYPE && integer(value).is_some()
        }
        _ => false,
    }
}

/// Returns the integer in a literal.
fn integer(value: &ScalarValue) -> Option<i64> {
    match *value {
        ScalarValue::Int8(value) => value.map(i64::from),
        ScalarValue::Int16(value) => value.map(i64::from),
        ScalarValue::Int32(value) => value.map(i64::from),
        ScalarValue::Int64(value) => value,
        _ => None,
    }
}
