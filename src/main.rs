//! The door's hinge: everything is in the library.

use std::process::ExitCode;

/// An SDK request allocates a lot, and in small pieces.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(noclobber::cli::main(std::env::args_os()).code())
}
