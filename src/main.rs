#![forbid(unsafe_code)]
//! The `larder` command. Everything is in the library.

/// A store gives back and takes memory all the time, from all threads: see docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    larder::cli::main()
}
