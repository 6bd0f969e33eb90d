//! The program as people use it: commands, scripts, results, failures.
//!
//! This executable is the program as well: with `program` as its first argument it is `rainstorm`
//! with the arguments after it, so that tests and the child processes of `rainstorm local` are
//! real processes without a second binary.

mod before_end;
mod command_line;
mod examples;
mod four_way;
mod late_failures;
mod memory;
mod nexmark;
mod oracle;
mod program;
mod scripts;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// That of the program, whose memory is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = std::env::args_os().collect::<Vec<_>>();
    if arguments.get(1).is_some_and(|argument| argument == program::AS_PROGRAM) {
        let prefix = [program::AS_PROGRAM.into()];
        return rainstorm_cluster::cli::main_in(arguments.into_iter().skip(1), &prefix);
    }
    let mut trials: Vec<Trial> = Vec::new();
    trials.extend(command_line::trials());
    trials.extend(examples::trials());
    trials.extend(scripts::trials());
    trials.extend(late_failures::trials());
    trials.extend(nexmark::trials());
    trials.extend(four_way::trials());
    trials.extend(memory::trials());
    let mut settings = Arguments::from_args();
    // Each trial is a cluster of its own; more than there are cores only get in each other's way.
    settings.test_threads.get_or_insert(2);
    libtest_mimic::run(&settings, trials).exit_code()
}
