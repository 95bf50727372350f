#![forbid(unsafe_code)]
//! The `larder` command. Everything is in the library.

/// What a full store takes hangs on how its memory is given back and taken anew: see docs/performance.md, "Memory".
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    larder::cli::main()
}
