//! Makes a case that goes wrong small.

use super::case::Case;
use super::generate::finished;
use super::tree::{Node, Op};

/// Runs that are tried at most.
const TRIES: usize = 400;

/// Returns a smaller case of which `goes_wrong` holds as well.
pub(crate) fn smallest(case: &Case, goes_wrong: impl Fn(&Case) -> bool) -> Case {
    let mut best = case.clone();
    let mut tries = 0;
    loop {
        let smaller = candidates(&best).into_iter().find(|candidate| {
            tries += 1;
            tries < TRIES && goes_wrong(candidate)
        });
        match smaller {
            Some(smaller) => best = smaller,
            None => return best,
        }
    }
}

fn candidates(case: &Case) -> Vec<Case> {
    let mut all = Vec::new();
    let mut named = 1000;
    let with = |root: Node| Case { root, ..case.clone() };
    for input in case.root.inputs() {
        all.push(with(finished(input.clone(), &mut named)));
    }
    all.extend(simpler(&case.root).into_iter().map(with));
    for (table, rows) in case.tables.iter().enumerate() {
        for batch in 0..rows.batches.len() {
            let mut without = case.clone();
            without.tables[table].batches.remove(batch);
            // The table to look up has one batch, which may be empty.
            if table != super::table::LOOKUP {
                all.push(without);
            }
            for row in 0..rows.batches[batch].len() {
                let mut without = case.clone();
                without.tables[table].batches[batch].remove(row);
                if !without.tables[table].batches[batch].is_empty() || table == super::table::LOOKUP
                {
                    all.push(without);
                }
            }
        }
    }
    all
}

/// Returns queries with one thing less, whose columns are the same.
fn simpler(node: &Node) -> Vec<Node> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Op) -> bool| {
        let mut changed = node.clone();
        if change(&mut changed.op) {
            all.push(changed);
        }
    };
    with(&|op| match op {
        Op::Select { filter, .. } => filter.take().is_some(),
        Op::Aggregate(aggregate) => aggregate.filter.take().is_some(),
        Op::Join(join) => join.condition.take().is_some(),
        _ => false,
    });
    with(&|op| match op {
        Op::Aggregate(aggregate) => aggregate.having.take().is_some(),
        _ => false,
    });
    with(&|op| match op {
        Op::Select { input, .. } if matches!(input.op, Op::Select { .. }) => {
            let Op::Select { filter, .. } = &mut input.op else { return false };
            filter.take().is_some()
        }
        _ => false,
    });
    for index in 0..node.inputs().len() {
        for input in simpler(node.inputs()[index]) {
            let mut changed = node.clone();
            if let Some(place) = changed.inputs_mut().into_iter().nth(index) {
                *place = input;
            }
            all.push(changed);
        }
    }
    all
}

impl Node {
    fn inputs_mut(&mut self) -> Vec<&mut Self> {
        match &mut self.op {
            Op::Scan(_) => Vec::new(),
            Op::Select { input, .. } | Op::Window { input, .. } | Op::Distinct { input, .. } => {
                vec![input]
            }
            Op::Aggregate(aggregate) => vec![&mut aggregate.input],
            Op::Join(join) => vec![&mut join.left, &mut join.right],
            Op::Semi(semi) => vec![&mut semi.left, &mut semi.right],
            Op::Union(left, right) => vec![left, right],
        }
    }
}
