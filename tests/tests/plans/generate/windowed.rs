//! Rows that carry a window.

use super::Generator;
use crate::expression::Expr;
use crate::tree::{Bound, Column, Cut, Join, JoinKind, Node, Op, Role, Semi, Window};
use crate::value::Type;

impl Generator<'_> {
    pub(super) fn window(&mut self) -> Window {
        let processing = self.random.percent(20);
        let unit = if processing { 1000 } else { 2000 };
        let cut = match self.random.below(4) {
            0..2 => Cut::Tumble(unit * self.random.between(1, 3)),
            2 => Cut::Hop(unit, unit * self.random.between(2, 3)),
            _ => Cut::Cumulate(unit, unit * self.random.between(2, 3)),
        };
        Window { cut, processing }
    }

    /// Makes rows that carry the start and end of their window.
    pub(super) fn windowed(&mut self, window: Window, depth: usize) -> Node {
        if depth == 0 {
            return self.cut(window, 1);
        }
        match self.random.below(12) {
            0 => self.cut(window, depth),
            1..5 => {
                let rows = self.assigned(window, depth);
                self.window_aggregate(rows)
            }
            5 => {
                let rows = self.assigned(window, depth);
                self.window_distinct(rows)
            }
            6 => {
                let rows = self.windowed(window, depth - 1);
                self.window_aggregate(rows)
            }
            7 => {
                let (left, right) =
                    (self.windowed(window, depth - 1), self.windowed(window, depth - 1));
                self.window_join(left, right)
            }
            8..10 => {
                let (left, right) =
                    (self.windowed(window, depth - 1), self.windowed(window, depth - 1));
                self.semi(left, right)
            }
            10 => {
                let (left, right) =
                    (self.windowed(window, depth - 1), self.windowed(window, depth - 1));
                self.union(left, right)
            }
            _ => {
                let rows = self.windowed(window, depth - 1);
                self.select(rows)
            }
        }
    }

    /// Cuts a stream into windows, for a SELECT to read.
    fn assigned(&mut self, window: Window, depth: usize) -> Node {
        let second = !window.processing && depth > 1 && self.random.percent(35);
        let inner = if second {
            let inner = Window { processing: false, ..self.window() };
            self.windowed(inner, depth - 1)
        } else if self.random.percent(10) {
            let rows = self.stream(depth.min(2), window.processing);
            self.distinct_times(rows)
        } else {
            self.stream(depth.min(2), window.processing)
        };
        let wanted = if window.processing { Role::Processing } else { Role::Event };
        let is_time = |column: &Column| {
            column.role == wanted || (!window.processing && matches!(column.role, Role::Time(_)))
        };
        let (input, time) = if let Some(time) = inner.find(is_time) {
            (inner, time)
        } else {
            let scan = self.scan();
            let time = scan.find(|column| column.role == wanted).unwrap_or_default();
            (scan, time)
        };
        let mut columns = input.columns.clone();
        // Only one window is told of from here on.
        for column in &mut columns {
            if !matches!(column.role, Role::Processing) {
                column.role = Role::Plain;
            }
        }
        let role = [Role::Start(window), Role::End(window), Role::Time(window)];
        let names = ["window_start", "window_end", "window_time"];
        columns.extend(names.into_iter().zip(role).map(|(name, role)| Column {
            name: name.to_owned(),
            of: Type::Time,
            role,
        }));
        self.node(Op::Window { input: Box::new(input), window, time }, columns)
    }

    /// Cuts a stream into windows and selects of it.
    fn cut(&mut self, window: Window, depth: usize) -> Node {
        let rows = self.assigned(window, depth);
        let mut items = Vec::new();
        let mut columns = Vec::new();
        for (index, column) in rows.columns.iter().enumerate() {
            let skipped = column.role == Role::Processing
                || (window.processing && matches!(column.role, Role::Time(_)));
            if !skipped {
                items.push(Expr::Column(index));
                columns.push(self.renamed(column));
            }
        }
        let filter = self.random.percent(40).then(|| self.condition(&rows.columns, 2));
        self.node(Op::Select { input: Box::new(rows), items, filter }, columns)
    }

    fn window_keys(&mut self, rows: &Node) -> Vec<usize> {
        let Some((window, start, end)) = rows.window() else { return Vec::new() };
        let mut keys = vec![start, end];
        if !window.processing && self.random.percent(50) {
            keys.extend(rows.find(|column| column.role == Role::Time(window)));
        }
        for (index, column) in rows.columns.iter().enumerate() {
            if column.role == Role::Plain
                && matches!(column.of, Type::Int | Type::Text | Type::Bool)
                && self.random.percent(25)
            {
                keys.push(index);
            }
        }
        keys
    }

    fn window_aggregate(&mut self, rows: Node) -> Node {
        let keys = self.window_keys(&rows);
        self.grouped(rows, keys)
    }

    fn window_distinct(&mut self, rows: Node) -> Node {
        let items = self.window_keys(&rows);
        let columns = items.iter().map(|item| self.renamed(&rows.columns[*item])).collect();
        self.node(Op::Distinct { input: Box::new(rows), items }, columns)
    }

    /// Makes distinct rows that keep their event time.
    fn distinct_times(&mut self, rows: Node) -> Node {
        let items = (0..rows.columns.len()).filter(|index| {
            let column = &rows.columns[*index];
            column.role == Role::Event || (column.role == Role::Plain && column.of == Type::Int)
        });
        let items = items.collect::<Vec<_>>();
        let columns = items.iter().map(|item| self.renamed(&rows.columns[*item])).collect();
        self.node(Op::Distinct { input: Box::new(rows), items }, columns)
    }

    fn window_join(&mut self, left: Node, right: Node) -> Node {
        let kinds = [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full];
        let kind = *self.random.pick(&kinds);
        let (Some((_, start, end)), Some((_, other_start, other_end))) =
            (left.window(), right.window())
        else {
            return left;
        };
        let pairs = [(start, other_start), (end, other_end)];
        let on = self.equal_columns(&left, &right).into_iter().collect::<Vec<_>>();
        let on = if self.random.percent(85) { on } else { Vec::new() };
        let condition = self.join_condition(&left, &right, 20);
        let (items, columns) = self.joined_columns(&left, &right, kind);
        let (left, right, bound) = (Box::new(left), Box::new(right), Bound::Window(pairs));
        let join = Join { kind, left, right, bound, on, condition, items };
        self.node(Op::Join(join), columns)
    }

    fn semi(&mut self, left: Node, right: Node) -> Node {
        let (Some((_, start, end)), Some((_, other_start, other_end)), Some(on)) =
            (left.window(), right.window(), self.equal_columns(&left, &right))
        else {
            return left;
        };
        let window = [(start, other_start), (end, other_end)];
        let shown =
            (0..left.columns.len()).filter(|index| left.columns[*index].role != Role::Processing);
        let items = shown.collect::<Vec<_>>();
        let columns = items.iter().map(|item| self.renamed(&left.columns[*item])).collect();
        let (left, right) = (Box::new(left), Box::new(right));
        let (is_in, negated) = (self.random.percent(50), self.random.percent(50));
        self.node(Op::Semi(Semi { left, right, window, on, is_in, negated, items }), columns)
    }
}
