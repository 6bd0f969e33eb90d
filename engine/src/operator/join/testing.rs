//! Joins under test, held against DataFusion's batch join.

use std::sync::Arc;

use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};

/// Makes the condition `left > right` of two columns.
pub(crate) fn greater(
    left: &str,
    left_at: usize,
    right: &str,
    right_at: usize,
) -> Arc<dyn PhysicalExpr> {
    let left = Arc::new(Column::new(left, left_at));
    let right = Arc::new(Column::new(right, right_at));
    Arc::new(BinaryExpr::new(left, Operator::Gt, right))
}

pub(crate) mod compare {
    use std::sync::Arc;

    use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray};
    use arrow::datatypes::SchemaRef;
    use datafusion::common::JoinType;
    use datafusion::prelude::SessionContext;

    use crate::OperatorId;
    use crate::batch::Batch;
    use crate::graph::{OperatorNode, OperatorSpec};
    use crate::operator::build;
    use crate::operator::testing::{Harness, context, schema, text};

    /// Key, number, and the window that the row lies in; joins on times use its start.
    const COLUMNS: &str = "k:int n:int ws:ts we:ts";
    const WINDOW_MS: i64 = 10;

    pub(crate) const JOIN_TYPES: [JoinType; 8] = [
        JoinType::Inner,
        JoinType::Left,
        JoinType::Right,
        JoinType::Full,
        JoinType::LeftSemi,
        JoinType::RightSemi,
        JoinType::LeftAnti,
        JoinType::RightAnti,
    ];

    fn sides(join_type: JoinType) -> (bool, bool) {
        match join_type {
            JoinType::LeftSemi | JoinType::LeftAnti => (true, false),
            JoinType::RightSemi | JoinType::RightAnti => (false, true),
            _ => (true, true),
        }
    }

    /// Builds a join of two sides of [`COLUMNS`].
    pub(crate) fn harness(spec: OperatorSpec, join_type: JoinType) -> Harness {
        let right = "rk:int rn:int rws:ts rwe:ts";
        let output = match sides(join_type) {
            (true, true) => format!("{COLUMNS} {right}"),
            (true, false) => COLUMNS.to_owned(),
            _ => right.to_owned(),
        };
        Harness::new(spec, &[COLUMNS, COLUMNS], &output)
    }

    /// Expects that a join of two sides of [`COLUMNS`] is refused.
    pub(crate) fn expect_invalid(spec: OperatorSpec, message: &str) {
        let inputs = vec![schema(COLUMNS), schema(COLUMNS)];
        let output = schema(COLUMNS);
        let node = OperatorNode { id: OperatorId(1), spec, inputs, output };
        let error = build(&node, &context(0, 1)).err().expect("the join is refused");
        assert!(error.to_string().contains(message), "{error}");
    }

    /// A linear congruential generator is random enough to vary a test.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (self.0 >> 33) % bound
        }
    }

    /// Random rows of both sides.
    pub(crate) struct Case {
        sides: [RecordBatch; 2],
    }

    impl Case {
        /// Makes rows with few keys, some of them null, and times in about the order of the rows.
        pub(crate) fn random(seed: u64, rows: usize) -> Self {
            let mut random = Random(seed);
            Self { sides: [0, 1].map(|_| random_rows(&mut random, rows)) }
        }

        /// Cuts a side's rows into as many batches for both sides, of random sizes.
        pub(crate) fn split(&self, side: usize, seed: u64) -> Vec<RecordBatch> {
            const BATCHES: usize = 6;
            let rows = &self.sides[side];
            let mut random = Random(seed * 2 + side as u64);
            let mut cuts: Vec<usize> = (1..BATCHES)
                .map(|_| random.below(rows.num_rows() as u64 + 1) as usize)
                .chain([0, rows.num_rows()])
                .collect();
            cuts.sort_unstable();
            cuts.windows(2).map(|cut| rows.slice(cut[0], cut[1] - cut[0])).collect()
        }

        /// Compares what has come out with what DataFusion says of `l` and `r`.
        pub(crate) async fn check(&self, test: &mut Harness, join_type: JoinType, condition: &str) {
            let mut found = test.lines();
            found.sort();
            assert_eq!(found, self.expected(join_type, condition).await, "{join_type} {condition}");
        }

        /// Returns what DataFusion says of `l` and `r`, sorted.
        pub(crate) async fn expected(&self, join_type: JoinType, condition: &str) -> Vec<String> {
            let context = SessionContext::new();
            context.register_batch("l", self.sides[0].clone()).unwrap();
            context.register_batch("r", self.sides[1].clone()).unwrap();
            let (left, right) = sides(join_type);
            let columns = ["l", "r"].into_iter().zip([left, right]).filter(|(_, shown)| *shown);
            let columns: Vec<_> = columns
                .map(|(side, _)| format!("{side}.k, {side}.n, {side}.ws, {side}.we"))
                .collect();
            let aliased: Vec<_> = columns
                .join(", ")
                .split(", ")
                .enumerate()
                .map(|(index, column)| format!("{column} AS c{index}"))
                .collect();
            let join = match join_type {
                JoinType::LeftSemi => "LEFT SEMI",
                JoinType::RightSemi => "RIGHT SEMI",
                JoinType::LeftAnti => "LEFT ANTI",
                JoinType::RightAnti => "RIGHT ANTI",
                JoinType::Left => "LEFT",
                JoinType::Right => "RIGHT",
                JoinType::Full => "FULL",
                _ => "INNER",
            };
            let sql = format!("SELECT {} FROM l {join} JOIN r ON {condition}", aliased.join(", "));
            let batches = context.sql(&sql).await.unwrap().collect().await.unwrap();
            let mut expected: Vec<String> =
                batches.into_iter().flat_map(|rows| text(&Batch::insert(rows))).collect();
            expected.sort();
            expected
        }
    }

    fn random_rows(random: &mut Random, rows: usize) -> RecordBatch {
        let mut nullable = |bound: u64| {
            (0..rows)
                .map(|_| Some(random.below(bound) as i64).filter(|value| *value > 0))
                .collect::<Int64Array>()
        };
        let (keys, numbers) = (nullable(6), nullable(30));
        let starts: Vec<i64> = (0..rows)
            .map(|row| {
                let time = row as i64 + random.below(8) as i64;
                time / WINDOW_MS * WINDOW_MS
            })
            .collect();
        let ends = starts.iter().map(|start| start + WINDOW_MS);
        let schema: SchemaRef = schema(COLUMNS);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(keys),
            Arc::new(numbers),
            Arc::new(TimestampMillisecondArray::from_iter_values(starts.iter().copied())),
            Arc::new(TimestampMillisecondArray::from_iter_values(ends)),
        ];
        assert!(columns.iter().all(|column| column.len() == rows));
        RecordBatch::try_new(schema, columns).unwrap()
    }
}
