//! Random queries over random rows, against an interpreter of our own and, where their text is
//! plain SQL, DataFusion's batch engine: when the rows have come but not the end, and at the end.
//!
//! `RAINSTORM_PLANS_SEED` and `RAINSTORM_PLANS_CASES` make longer or other runs, with
//! `RAINSTORM_PLANS_ALL` also of what is known to go wrong. A failure shows the seed of its case,
//! and the smallest script found that fails alike.

mod batch;
mod case;
mod engine;
mod expression;
mod generate;
mod interpret;
mod named;
mod random;
mod shrink;
mod table;
mod text;
mod tree;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use self::case::{Case, Difference, Outcome};
use self::random::Random;

const SEED: u64 = 20_240_101;
const CASES: u64 = 1000;
const THREADS: u64 = 2;
/// Differences of one kind that are made small.
const SHRUNK: usize = 20;
/// Of a hundred queries so many may be refused as not supported.
const REFUSED_PERCENT_MAX: u64 = 20;

/// What a run has found.
#[derive(Default)]
struct Found {
    refused: BTreeMap<String, u64>,
    differences: BTreeMap<String, Vec<(u64, Case, Difference)>>,
    count: u64,
}

fn variable(name: &str, otherwise: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(otherwise, |value| value.parse().expect("a whole number"))
}

/// Makes the case of a seed.
fn case_of(seed: u64) -> Case {
    Case::new(&mut Random::new(seed.wrapping_mul(0x1000_0001)))
}

fn check(seeds: impl Iterator<Item = u64>) -> Found {
    let mut found = Found::default();
    for seed in seeds {
        let case = case_of(seed);
        found.count += 1;
        match case.check() {
            Ok(Outcome::Right) => {}
            Ok(Outcome::Refused(message)) => *found.refused.entry(message).or_default() += 1,
            Err(difference) => {
                let alike = found.differences.entry(difference.kind.clone()).or_default();
                alike.push((seed, case, difference));
            }
        }
    }
    found
}

/// Describes differences, the first of each kind and of the same parts made small.
fn report(found: &Found) -> String {
    let mut text = String::new();
    for (kind, alike) in &found.differences {
        let mut shown = BTreeSet::new();
        for (seed, case, _) in alike.iter().take(SHRUNK) {
            let same = |case: &Case| case.check().err().filter(|found| found.kind == *kind);
            let small = shrink::smallest(case, |case| same(case).is_some());
            let parts = tree::parts(&small.root);
            if !shown.insert(parts.clone()) {
                continue;
            }
            let detail = same(&small).map(|difference| difference.detail).unwrap_or_default();
            let script = small.script();
            // Writing into a string does not fail.
            let _ = writeln!(text, "== seed {seed}: {kind}: {parts:?}\n{script}{detail}");
        }
        let _ = writeln!(text, "== {} cases: {kind}", alike.len());
    }
    text
}

/// Runs a function on a thread whose stack is deep enough for planning.
fn on_thread<T: Send + 'static>(
    function: impl FnOnce() -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    let builder = std::thread::Builder::new().stack_size(rainstorm_planner::STACK_BYTES);
    builder.spawn(function).expect("a thread")
}

#[test]
fn random_queries_answer_as_they_have_to() {
    let seed = variable("RAINSTORM_PLANS_SEED", SEED);
    let cases = variable("RAINSTORM_PLANS_CASES", CASES);
    println!("seed {seed}, {cases} cases");
    let threads = (0..THREADS).map(|thread| {
        let seeds = (seed..seed + cases).filter(move |seed| seed % THREADS == thread);
        on_thread(move || check(seeds))
    });
    let mut all = Found::default();
    for thread in threads.collect::<Vec<_>>() {
        let found = thread.join().expect("a thread that ends");
        all.count += found.count;
        for (message, count) in found.refused {
            *all.refused.entry(message).or_default() += count;
        }
        for (kind, alike) in found.differences {
            all.differences.entry(kind).or_default().extend(alike);
        }
    }
    let refused = all.refused.values().sum::<u64>();
    println!("{refused} of {} refused: {:#?}", all.count, all.refused);
    let text = on_thread(move || report(&all)).join().expect("a thread that ends");
    assert!(text.is_empty(), "seed {seed}\n{text}");
    assert!(refused * 100 <= cases * REFUSED_PERCENT_MAX, "{refused} of {cases} were refused");
}
