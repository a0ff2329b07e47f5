//! The `turnpike` binary: everything it does is in the library, so that tests can do it too.

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    turnpike::cli::main()
}
