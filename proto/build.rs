//! Generates messages and services from `proto/*.proto`, without an installed protoc.

use std::error::Error;

const FILES: [&str; 5] =
    ["client.proto", "files.proto", "graph.proto", "master.proto", "worker.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
