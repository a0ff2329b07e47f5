//! The command line.

/// Runs the command line and says how it ended.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
