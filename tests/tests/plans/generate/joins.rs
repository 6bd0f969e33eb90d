//! Joins.

use super::Generator;
use crate::expression::Expr;
use crate::table::{LOOKUP, Table};
use crate::tree::{Bound, Column, Interval, Join, JoinKind, Node, Op, Role};
use crate::value::Type;

impl Generator<'_> {
    /// Finds a column on either side that may equal the other.
    pub(super) fn equal_columns(&mut self, left: &Node, right: &Node) -> Option<(usize, usize)> {
        let of = if self.random.percent(70) { Type::Int } else { Type::Text };
        let mut any = |node: &Node| {
            let fits = |column: &Column| column.role == Role::Plain && column.of == of;
            let all = (0..node.columns.len()).filter(|index| fits(&node.columns[*index]));
            let all = all.collect::<Vec<_>>();
            (!all.is_empty()).then(|| *self.random.pick(&all))
        };
        any(left).zip(any(right))
    }

    pub(super) fn join_condition(
        &mut self,
        left: &Node,
        right: &Node,
        percent: usize,
    ) -> Option<Expr> {
        let both = left.columns.iter().chain(&right.columns).cloned().collect::<Vec<_>>();
        self.random.percent(percent).then(|| self.condition(&both, 1))
    }

    /// Chooses what comes out of a join: of the left side the times and windows, if no NULL can be
    /// among them; what the right side's mean is forgotten.
    pub(super) fn joined_columns(
        &mut self,
        left: &Node,
        right: &Node,
        kind: JoinKind,
    ) -> (Vec<usize>, Vec<Column>) {
        let (mut items, mut columns) = (Vec::new(), Vec::new());
        for (index, column) in left.columns.iter().enumerate() {
            let mut column = self.renamed(column);
            if kind.keeps_right() {
                if column.role == Role::Processing {
                    continue;
                }
                column.role = Role::Plain;
            }
            items.push(index);
            columns.push(column);
        }
        for (index, column) in right.columns.iter().enumerate() {
            if column.role == Role::Plain && self.random.percent(70) {
                items.push(left.columns.len() + index);
                columns.push(self.renamed(column));
            }
        }
        (items, columns)
    }

    pub(super) fn lookup_join(&mut self, left: Node) -> Node {
        let is_time = |column: &Column| column.role == Role::Processing;
        let Some(time) = left.find(is_time) else { return left };
        let right = self.node(Op::Scan(LOOKUP), Table::columns(LOOKUP));
        let Some(key) = self.equal_columns(&left, &right) else { return left };
        let kind = *self.random.pick(&[JoinKind::Inner, JoinKind::Left]);
        let condition = self.join_condition(&left, &right, 15);
        let (items, columns) = self.joined_columns(&left, &right, kind);
        let (left, right, bound) = (Box::new(left), Box::new(right), Bound::Lookup(time));
        let join = Join { kind, left, right, bound, on: vec![key], condition, items };
        self.node(Op::Join(join), columns)
    }

    pub(super) fn interval_join(&mut self, left: Node, right: Node) -> Node {
        let is_time = |column: &Column| column.role == Role::Event;
        let (Some(left_time), Some(right_time), Some(on)) =
            (left.find(is_time), right.find(is_time), self.equal_columns(&left, &right))
        else {
            return left;
        };
        let kinds = [
            JoinKind::Inner,
            JoinKind::Inner,
            JoinKind::Inner,
            JoinKind::Left,
            JoinKind::Right,
            JoinKind::Full,
        ];
        let kind = *self.random.pick(&kinds);
        let lower_ms = self.random.between(-4, 2) * 1000;
        let upper_ms = lower_ms + self.random.between(1, 5) * 1000;
        let strict = self.random.percent(30);
        let interval = Interval { left: left_time, right: right_time, lower_ms, upper_ms, strict };
        let condition = self.join_condition(&left, &right, 15);
        let (items, mut columns) = self.joined_columns(&left, &right, kind);
        if kind.keeps_left() {
            // A row without a partner leaves late: its time is data.
            for column in columns.iter_mut().filter(|column| column.role == Role::Event) {
                column.role = Role::Plain;
            }
        }
        let (left, right, bound) = (Box::new(left), Box::new(right), Bound::Interval(interval));
        let join = Join { kind, left, right, bound, on: vec![on], condition, items };
        self.node(Op::Join(join), columns)
    }
}
