//! Random queries: such as the planner should accept.

mod expression;
mod joins;
mod windowed;

use super::expression::Expr;
use super::random::Random;
use super::table::Table;
use super::tree::{Aggregate, Call, Column, Function, Node, Op, Role};
use super::value::Type;

pub(crate) struct Generator<'a> {
    random: &'a mut Random,
    /// Numbers the names.
    named: usize,
}

/// Makes a query.
pub(crate) fn query(random: &mut Random) -> Node {
    let mut generator = Generator { random, named: 0 };
    let root = generator.root();
    finished(root, &mut generator.named)
}

/// Makes sure that a query is a SELECT of columns that have a value of their own.
pub(crate) fn finished(root: Node, named: &mut usize) -> Node {
    let hidden = |column: &Column| column.role == Role::Processing;
    let is_relation = matches!(root.op, Op::Scan(_) | Op::Window { .. });
    if !is_relation && !root.columns.iter().any(hidden) {
        return root;
    }
    let shown = (0..root.columns.len()).filter(|index| !hidden(&root.columns[*index]));
    let shown = shown.collect::<Vec<_>>();
    let columns = shown.iter().map(|index| {
        *named += 1;
        Column { name: format!("c{named}"), ..root.columns[*index].clone() }
    });
    let columns = columns.collect();
    let items = shown.into_iter().map(Expr::Column).collect();
    let op = Op::Select { input: Box::new(root), items, filter: None };
    Node { op, columns, alias: "q0".to_owned(), named: false }
}

impl Generator<'_> {
    fn root(&mut self) -> Node {
        match self.random.below(10) {
            0..4 => {
                let window = self.window();
                let rows = self.windowed(window, 2);
                if self.random.percent(30) { self.select(rows) } else { rows }
            }
            4 => self.stream(2, false),
            5..8 => {
                let rows = self.anything();
                self.aggregate(rows)
            }
            8 => {
                let rows = self.anything();
                let inner = self.aggregate(rows);
                let inner = if self.random.percent(40) { self.select(inner) } else { inner };
                self.aggregate(inner)
            }
            _ => {
                let rows = self.anything();
                self.distinct(rows)
            }
        }
    }

    /// Makes rows without regard to their time.
    fn anything(&mut self) -> Node {
        if self.random.percent(50) {
            return self.stream(2, false);
        }
        let window = self.window();
        self.windowed(window, 1)
    }

    /// Makes a stream with an event time and, if that is wanted, a processing time.
    fn stream(&mut self, depth: usize, processing: bool) -> Node {
        if depth == 0 {
            return self.scan();
        }
        match self.random.below(10) {
            0..3 => self.scan(),
            3..6 => {
                let input = self.stream(depth - 1, processing);
                self.select(input)
            }
            6 => {
                let left = self.stream(depth - 1, processing);
                let right = self.stream(depth - 1, processing);
                self.union(left, right)
            }
            7..9 => {
                let left = self.stream(depth - 1, true);
                self.lookup_join(left)
            }
            _ if processing => self.scan(),
            _ => {
                let left = self.stream(depth - 1, false);
                let right = self.stream(depth - 1, false);
                self.interval_join(left, right)
            }
        }
    }

    fn node(&mut self, op: Op, columns: Vec<Column>) -> Node {
        self.named += 1;
        let alias = format!("q{}", self.named);
        Node { op, columns, alias, named: self.random.percent(30) }
    }

    /// Gives a column of an input a name of its own.
    fn renamed(&mut self, column: &Column) -> Column {
        self.named += 1;
        Column { name: format!("c{}", self.named), ..column.clone() }
    }

    fn new_column(&mut self, of: Type) -> Column {
        self.named += 1;
        Column { name: format!("c{}", self.named), of, role: Role::Plain }
    }

    fn scan(&mut self) -> Node {
        let table = self.random.below(2);
        self.node(Op::Scan(table), Table::columns(table))
    }

    /// Computes columns and filters; times and windows are kept.
    fn select(&mut self, input: Node) -> Node {
        let mut items = Vec::new();
        let mut columns = Vec::new();
        for (index, column) in input.columns.iter().enumerate() {
            if column.role != Role::Plain || self.random.percent(70) {
                items.push(Expr::Column(index));
                columns.push(self.renamed(column));
            }
        }
        for of in [Type::Int, *self.random.pick(&[Type::Int, Type::Text, Type::Bool, Type::Float])]
        {
            if of == Type::Int || self.random.percent(30) {
                items.push(self.expression(&input.columns, of, 2));
                columns.push(self.new_column(of));
            }
        }
        let filter = self.random.percent(50).then(|| self.condition(&input.columns, 2));
        self.node(Op::Select { input: Box::new(input), items, filter }, columns)
    }

    /// Puts rows of the same columns together: a number, a text and the times.
    fn union(&mut self, left: Node, right: Node) -> Node {
        let wanted = |node: &Node, is: &dyn Fn(&Column) -> bool| node.find(is);
        let mut pairs = Vec::new();
        let roles: [&dyn Fn(&Column) -> bool; 5] = [
            &|column| column.of == Type::Int && column.role == Role::Plain,
            &|column| column.of == Type::Text,
            &|column| column.role == Role::Event,
            &|column| column.role == Role::Processing,
            &|column| column.of == Type::Float,
        ];
        for is in roles {
            pairs.extend(wanted(&left, is).zip(wanted(&right, is)));
        }
        if let (Some((a, start, end)), Some((b, other_start, other_end))) =
            (left.window(), right.window())
            && a == b
        {
            pairs.extend([(start, other_start), (end, other_end)]);
        }
        let columns = pairs.iter().map(|(l, _)| self.renamed(&left.columns[*l]));
        let columns = columns.collect::<Vec<_>>();
        let side = |this: &mut Self, node: Node, indices: Vec<usize>| {
            let columns = indices.iter().map(|index| this.renamed(&node.columns[*index])).collect();
            let items = indices.into_iter().map(Expr::Column).collect();
            this.node(Op::Select { input: Box::new(node), items, filter: None }, columns)
        };
        let (lefts, rights) = pairs.into_iter().unzip();
        let (left, right) = (side(self, left, lefts), side(self, right, rights));
        self.node(Op::Union(Box::new(left), Box::new(right)), columns)
    }

    /// Groups without windows.
    fn aggregate(&mut self, input: Node) -> Node {
        let plain = |index: &usize| {
            matches!(input.columns[*index].role, Role::Plain | Role::Event)
                && input.columns[*index].of != Type::Float
        };
        let candidates = (0..input.columns.len()).filter(plain).collect::<Vec<_>>();
        let keys = candidates.into_iter().filter(|_| self.random.percent(25)).collect::<Vec<_>>();
        self.grouped(input, keys)
    }

    /// Groups by these columns.
    fn grouped(&mut self, input: Node, keys: Vec<usize>) -> Node {
        let calls = (0..self.random.between(1, 3)).filter_map(|_| self.call(&input));
        let mut calls = calls.collect::<Vec<_>>();
        if calls.is_empty() {
            calls.push(Call { function: Function::Rows, column: 0, filter: None });
        }
        let filter = self.random.percent(30).then(|| self.condition(&input.columns, 1));
        let mut columns =
            keys.iter().map(|key| self.renamed(&input.columns[*key])).collect::<Vec<_>>();
        for call in &calls {
            let of = match call.function {
                Function::Rows | Function::Count | Function::CountDistinct => Type::Int,
                Function::Average => Type::Float,
                _ => input.columns[call.column].of,
            };
            columns.push(self.new_column(of));
        }
        let having =
            (!keys.is_empty() && self.random.percent(20)).then(|| self.condition(&columns, 1));
        let aggregate = Aggregate { input: Box::new(input), filter, keys, calls, having };
        self.node(Op::Aggregate(aggregate), columns)
    }

    fn call(&mut self, input: &Node) -> Option<Call> {
        const ALL: [Function; 7] = [
            Function::Rows,
            Function::Count,
            Function::CountDistinct,
            Function::Sum,
            Function::Min,
            Function::Max,
            Function::Average,
        ];
        let column = self.random.below(input.columns.len());
        let Column { of, role, .. } = input.columns[column];
        let function = *self.random.pick(&ALL);
        let fits = match function {
            Function::Rows => true,
            _ if role != Role::Plain => false,
            Function::Sum | Function::Average => matches!(of, Type::Int | Type::Float),
            Function::Min | Function::Max => of != Type::Bool,
            _ => true,
        };
        let filter = self.random.percent(20).then(|| self.condition(&input.columns, 1));
        fits.then_some(Call { function, column, filter })
    }

    fn distinct(&mut self, input: Node) -> Node {
        let windowed = input.window().filter(|_| self.random.percent(60));
        let mut items = Vec::new();
        for (index, column) in input.columns.iter().enumerate() {
            let is_window = windowed.is_some_and(|(_, start, end)| index == start || index == end);
            let plain = matches!(column.role, Role::Plain | Role::Event);
            if is_window || (plain && self.random.percent(40)) {
                items.push(index);
            }
        }
        if items.is_empty() {
            items.extend(input.find(|column| column.role == Role::Plain));
        }
        if items.is_empty() {
            return input;
        }
        let columns = items.iter().map(|item| self.renamed(&input.columns[*item])).collect();
        self.node(Op::Distinct { input: Box::new(input), items }, columns)
    }
}
