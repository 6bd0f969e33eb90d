//! The program `rainstorm`: see [`rainstorm_cluster::cli`].

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    rainstorm_cluster::cli::main(std::env::args_os())
}
