//! Scalar expressions of a type.

use super::Generator;
use crate::expression::Expr;
use crate::tree::{Column, Role};
use crate::value::{START_MS, Type, Value};

const COMPARISONS: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];

impl Generator<'_> {
    pub(super) fn expression(&mut self, columns: &[Column], of: Type, depth: usize) -> Expr {
        if of == Type::Bool && self.random.percent(60) {
            return self.condition(columns, depth);
        }
        if depth == 0 || self.random.percent(35) {
            return self.column(columns, of);
        }
        let of_type = |this: &mut Self| Box::new(this.expression(columns, of, depth - 1));
        match self.random.below(4) {
            0 => {
                let (a, b) = (of_type(self), of_type(self));
                let otherwise = self.random.percent(70).then_some(b);
                Expr::Case(Box::new(self.condition(columns, depth - 1)), a, otherwise)
            }
            1 => Expr::Coalesce(of_type(self), of_type(self)),
            _ if matches!(of, Type::Int | Type::Float) => {
                let sign = *self.random.pick(&['+', '-']);
                let (a, b) = (of_type(self), of_type(self));
                if self.random.percent(25) {
                    return Expr::Arithmetic('*', a, Box::new(Expr::Literal(self.literal(of), of)));
                }
                Expr::Arithmetic(sign, a, b)
            }
            _ => self.column(columns, of),
        }
    }

    fn column(&mut self, columns: &[Column], of: Type) -> Expr {
        let fits = |column: &Column| column.of == of && column.role != Role::Processing;
        let all = (0..columns.len()).filter(|index| fits(&columns[*index])).collect::<Vec<_>>();
        if all.is_empty() || self.random.percent(15) {
            return Expr::Literal(self.literal(of), of);
        }
        Expr::Column(*self.random.pick(&all))
    }

    fn literal(&mut self, of: Type) -> Value {
        if self.random.percent(6) {
            return Value::Null;
        }
        match of {
            Type::Int => Value::Int(self.random.between(0, 5)),
            Type::Float => Value::Float(self.random.between(0, 8) as f64 / 2.0),
            Type::Text => Value::Text((*self.random.pick(&["a", "b", "z"])).to_owned()),
            Type::Bool => Value::Bool(self.random.percent(50)),
            Type::Time => Value::Time((START_MS + self.random.between(0, 20) * 1000) * 1000),
        }
    }

    pub(super) fn condition(&mut self, columns: &[Column], depth: usize) -> Expr {
        if depth > 0 && self.random.percent(35) {
            let part = |this: &mut Self| Box::new(this.condition(columns, depth - 1));
            return match self.random.below(3) {
                0 => Expr::And(part(self), part(self)),
                1 => Expr::Or(part(self), part(self)),
                _ => Expr::Not(part(self)),
            };
        }
        let of = *self.random.pick(&[Type::Int, Type::Int, Type::Text, Type::Float, Type::Time]);
        let value = Box::new(self.column(columns, of));
        match self.random.below(6) {
            0 => Expr::IsNull(self.random.percent(50), value),
            1 => Expr::Distinct(self.random.percent(50), value, Box::new(self.column(columns, of))),
            2 if of != Type::Float => {
                let list = (0..self.random.between(1, 3)).map(|_| (self.literal(of), of)).collect();
                Expr::InList(self.random.percent(40), value, list)
            }
            _ => {
                let sign = *self.random.pick(&COMPARISONS);
                let other = if of == Type::Time {
                    self.column(columns, of)
                } else {
                    self.expression(columns, of, depth.min(1))
                };
                Expr::Compare(sign, value, Box::new(other))
            }
        }
    }
}
