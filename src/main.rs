//! The `larder` command. Everything is in the library.

fn main() -> std::process::ExitCode {
    larder::cli::main()
}
