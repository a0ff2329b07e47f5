//! `turnpike demo`.

use std::process::ExitCode;

/// Arguments of `turnpike demo`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub fn run(_args: Args) -> ExitCode {
    super::fail("`turnpike demo` is not built yet")
}
