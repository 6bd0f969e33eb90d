//! Job graphs on the wire.
//!
//! [`encode_graph`] and [`decode_graph`] are inverse to each other. Decoding checks everything
//! that running relies on, so that what it returns is a graph that the engine may index into
//! without a second look.

mod aggregate;
mod expression;
mod functions;
mod graph;
mod join;
mod operator;
mod query;
mod schema;
mod validate;
mod window;

pub use functions::functions;
pub use graph::{decode_graph, encode_graph};

use rainstorm_engine::Error;

/// Says that a message does not hold what it must.
fn missing(what: &str) -> Error {
    Error::Invalid(format!("job graph without {what}"))
}

fn index(value: u32) -> usize {
    value as usize
}

fn indices(values: &[u32]) -> Vec<usize> {
    values.iter().map(|value| index(*value)).collect()
}

fn to_wire(values: &[usize]) -> Vec<u32> {
    values.iter().map(|value| *value as u32).collect()
}

#[cfg(test)]
mod tests;
